"""Who takes part: the words for legal entities and what they do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NewType

PartyId = NewType("PartyId", str)
Jurisdiction = NewType("Jurisdiction", str)
Role = Literal["holder", "compute", "dealer", "recipient", "supervisor"]
ROLES: tuple[Role, ...] = ("holder", "compute", "dealer", "recipient", "supervisor")


@dataclass(frozen=True)
class Party:
    """A legal entity; two parties of one control group count as one adversary (policy C4.1)."""

    id: PartyId
    jurisdiction: Jurisdiction
    control_group: str
    roles: frozenset[Role]
