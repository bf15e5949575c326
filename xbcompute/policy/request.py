"""Everything one party's finding reads, gathered beforehand: a finding looks at nothing else."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from xbcompute.core.errors import InputError
from xbcompute.core.parties import PartyId
from xbcompute.specs.card import Card, shipped_cards
from xbcompute.specs.federation import Federation, PartySpec
from xbcompute.specs.pack import LoadedPack, load_pack, shipped_pack_ids
from xbcompute.specs.site import Dataset, Site
from xbcompute.specs.study import Study


@dataclass(frozen=True)
class People:
    """Distinct natural persons; one in both kinds counts as sensitive."""

    sensitive: int = 0
    non_sensitive: int = 0

    def __add__(self, other: People) -> People:
        return People(self.sensitive + other.sensitive, self.non_sensitive + other.non_sensitive)

    def plain(self) -> dict[str, int]:
        """As a decision shows them."""
        return {"sensitive": self.sensitive, "non_sensitive": self.non_sensitive}


@dataclass(frozen=True)
class Request:
    """The question to one party.

    ``packs`` are those the site lists, ``missing_packs`` the listed ones that do not exist; ``signers`` says which
    parties signed each pack (by id). ``people`` are the persons this job would count at this party, ``counted`` those
    counted before in this calendar year. ``differences``: for each earlier opening of the same dataset, the number of
    persons by which the populations differ. ``noise_kinds``: analysis kinds for which a noise mechanism is built.
    ``epsilon_spent``: ε of this dataset in this calendar year.
    """

    study: Study
    federation: Federation
    site: Site
    now: dt.datetime
    packs: tuple[LoadedPack, ...]
    missing_packs: tuple[str, ...] = ()
    signers: Mapping[str, frozenset[PartyId]] = field(default_factory=dict)
    people: People = People()
    counted: People = People()
    differences: Mapping[str, int] = field(default_factory=dict)
    noise_kinds: frozenset[str] = frozenset()
    epsilon_spent: float = 0.0
    cards: tuple[Card, ...] = field(default_factory=shipped_cards)

    @property
    def party(self) -> PartyId:
        """Whose finding this is."""
        return PartyId(self.site.site.party)

    @property
    def party_spec(self) -> PartySpec:
        """This party in the federation.

        Raises:
            InputError: the federation does not know it.
        """
        found = self.federation.find(self.party)
        if found is None:
            raise InputError("site.party", f"{self.party} is no party of federation '{self.federation.id}'.")
        return found

    @property
    def is_holder(self) -> bool:
        """Whether this party holds data of the study."""
        return "holder" in self.party_spec.roles

    @property
    def dataset(self) -> Dataset:
        """The study's dataset at this holder.

        Raises:
            InputError: it is not registered.
        """
        found = self.site.find_dataset(self.study.study.data.dataset)
        if found is None:
            raise InputError(
                "dataset.missing",
                f"{self.party}: no dataset '{self.study.study.data.dataset}' is registered.",
                todo="Register it in site.toml under this id.",
            )
        return found


def load_site_packs(site: Site, directory: Path | None = None) -> tuple[tuple[LoadedPack, ...], tuple[str, ...]]:
    """The packs a site lists, and the ids it lists that are no shipped pack; a pack named by path must exist.

    Raises:
        InputError: a pack file is malformed, or named by path and missing.
    """
    loaded: list[LoadedPack] = []
    missing: list[str] = []
    for name in site.site.packs:
        if name.endswith(".toml") or "/" in name or name in shipped_pack_ids():
            loaded.append(load_pack(name, beside=directory))
        else:
            missing.append(name)
    return tuple(loaded), tuple(missing)


def general_pack() -> LoadedPack:
    """The project's own rules, which hold everywhere and come with the code."""
    return load_pack("general")
