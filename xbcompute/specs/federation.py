"""``federation.toml``: the agreed parties, their keys and addresses, and the packs they signed."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from xbcompute.core.parties import Jurisdiction, Party, PartyId, Role
from xbcompute.specs.base import Identifier, Name, Sha256Text, Spec

JurisdictionCode = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
SigningKey = Annotated[str, StringConstraints(pattern=r"^ed25519:[A-Za-z0-9+/]{43}=$")]


class Bilingual(Spec):
    """A text in both languages."""

    zh: Name
    en: Name


class PartySpec(Spec):
    """A legal entity of the federation; address, certificate and signing key are made up in simulation."""

    id: Identifier
    name: Bilingual | None = None
    jurisdiction: JurisdictionCode
    control_group: Name | None = None
    roles: Annotated[tuple[Role, ...], Field(min_length=1)]
    address: Name | None = None
    certificate: Name | None = None
    signing_key: SigningKey | None = None

    @property
    def party(self) -> Party:
        """The same in the vocabulary of ``core``."""
        return Party(
            id=PartyId(self.id),
            jurisdiction=Jurisdiction(self.jurisdiction),
            control_group=self.control_group or self.id,
            roles=frozenset(self.roles),
        )


class PackPin(Spec):
    """A pack the federation agreed on: its digest and each party's signature over it."""

    id: Identifier
    version: Name
    sha256: Sha256Text
    signatures: dict[str, Name] = Field(default_factory=dict)


class FederationHeader(Spec):
    """The ``[federation]`` table."""

    id: Identifier


class Federation(Spec):
    """The whole file."""

    federation: FederationHeader
    party: Annotated[tuple[PartySpec, ...], Field(min_length=1)]
    pack: tuple[PackPin, ...] = ()

    @model_validator(mode="after")
    def _unique(self) -> Federation:
        ids = [p.id for p in self.party]
        if len(set(ids)) != len(ids):
            raise PydanticCustomError("party", "two parties have the same id")
        packs = [p.id for p in self.pack]
        if len(set(packs)) != len(packs):
            raise PydanticCustomError("pack", "two packs have the same id")
        return self

    @property
    def id(self) -> str:
        """The federation's id."""
        return self.federation.id

    @property
    def parties(self) -> tuple[Party, ...]:
        """All parties, sorted by id."""
        return tuple(sorted((p.party for p in self.party), key=lambda party: party.id))

    def holders(self) -> tuple[Party, ...]:
        """Parties that hold data, sorted by id."""
        return tuple(party for party in self.parties if "holder" in party.roles)

    def find(self, party: str) -> PartySpec | None:
        """The party with this id."""
        return next((p for p in self.party if p.id == party), None)
