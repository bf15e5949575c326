"""Who takes part, and which protocols their control groups and jurisdictions can bear (policy C4.1–C4.3).

Control groups, not identities, are parties. Two kinds of adversary are looked at: each control group, and for each
origin J of private inputs every compute party and dealer outside J acting together. A side is closed under control
groups: who owns one of the colluders colludes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from xbcompute.core.parties import Party, PartyId
from xbcompute.specs.card import Card
from xbcompute.specs.federation import Federation
from xbcompute.specs.study import Study


@dataclass(frozen=True)
class Topology:
    """The parties of one study: ``receivers`` are its recipients and its lead; ``compute`` are the compute parties,
    or the holders themselves where the federation names none.
    """

    holders: tuple[Party, ...]
    compute: tuple[Party, ...]
    dealers: tuple[Party, ...]
    receivers: tuple[Party, ...]

    def foreign_jurisdictions(self, jurisdiction: str) -> frozenset[str]:
        """Jurisdictions, other than this one, of parties that would see or hold something of the study."""
        everyone = (*self.holders, *self.compute, *self.receivers)
        return frozenset(party.jurisdiction for party in everyone) - {jurisdiction}


def topology(study: Study, federation: Federation) -> Topology:
    """The parties that take part in ``study``."""
    parties = federation.parties
    header = study.study
    named = {*header.recipients, header.lead}
    holders = tuple(party for party in parties if "holder" in party.roles)
    compute = tuple(party for party in parties if "compute" in party.roles)
    return Topology(
        holders=holders,
        compute=compute or holders,
        dealers=tuple(party for party in parties if "dealer" in party.roles),
        receivers=tuple(party for party in parties if party.id in named),
    )


def breaks(card: Card, coalition: Iterable[PartyId], compute: Iterable[PartyId], dealers: Iterable[PartyId]) -> bool:
    """Whether ``coalition`` reaches the threshold of ``card`` and could rebuild inputs from shares.

    ``majority``: t + 1 of m compute parties, t = (m − 1) // 2 corruptions tolerated. ``all``: every compute party.
    ``all_or_dealer``: every compute party, or a dealer with any compute party.
    """
    members, nodes = frozenset(coalition), frozenset(compute)
    inside = len(members & nodes)
    if card.threshold == "majority":
        return inside >= (len(nodes) - 1) // 2 + 1
    if card.threshold == "all":
        return inside >= len(nodes)
    if card.threshold == "all_or_dealer":
        return inside >= len(nodes) or (inside > 0 and bool(members & frozenset(dealers)))
    return False


def adversaries(
    nodes: Iterable[Party], origin: str, rulings: Iterable[frozenset[str]]
) -> tuple[frozenset[PartyId], ...]:
    """The sides an origin's inputs must be safe from: everyone outside it, split by recorded non-collusion rulings.

    A ruling names exactly two entities; a side that holds both becomes two sides, each without one of them. Only the
    named entity is taken out: others of its control group stay.
    """
    nodes = tuple(nodes)
    outside = {party.control_group for party in nodes if party.jurisdiction != origin}
    sides = [frozenset(party.id for party in nodes if party.control_group in outside)]
    for pair in rulings:
        if len(pair) == 2:
            sides = [
                part
                for side in sides
                for part in ([side - {name} for name in sorted(pair)] if pair <= side else [side])
            ]
    return tuple(dict.fromkeys(sides))


def groups_of(parties: Iterable[Party]) -> dict[str, frozenset[PartyId]]:
    """Control groups and their parties."""
    groups: dict[str, set[PartyId]] = {}
    for party in parties:
        groups.setdefault(party.control_group, set()).add(party.id)
    return {group: frozenset(members) for group, members in groups.items()}


def refusals(
    card: Card, parties: Topology, *, origin: str, private: bool, rulings: Iterable[frozenset[str]] = ()
) -> tuple[str, ...]:
    """Ids of the rules by which these parties cannot use ``card``; empty when they can.

    ``origin`` is where this holder's inputs come from, ``private`` whether they need protection (G3 and above).
    """
    found: list[str] = []
    contributors = groups_of(parties.holders)
    need = card.parties
    if len(contributors) < len(parties.holders) and not _enough(card, parties):
        found.append("C4.1")
    if card.threshold == "sum":
        if not _enough(card, parties):
            found.append("C4.3")
    elif len(contributors) < need.contributors_min:
        found.append("CARD-PARTIES")
    if need.contributors_max is not None and len(parties.holders) > need.contributors_max:
        found.append("CARD-PARTIES")
    if card.family == "P7":
        found.append("C4.5")
    if card.family == "P8" and not card.on_shares:
        found.append("C4.7")
    if card.on_shares:
        found.extend(_share_refusals(card, parties, origin=origin, private=private, rulings=rulings))
    return tuple(dict.fromkeys(found))


def _enough(card: Card, parties: Topology) -> bool:
    """Whether contributors suffice in total and, in each jurisdiction, in groups that nobody outside controls."""
    spans: dict[str, set[str]] = {}
    for party in parties.holders:
        spans.setdefault(party.control_group, set()).add(party.jurisdiction)
    if len(spans) < card.parties.contributors_min:
        return False
    return all(
        sum(1 for where in spans.values() if where == {jurisdiction}) >= card.parties.groups_per_jurisdiction_min
        for jurisdiction in {party.jurisdiction for party in parties.holders}
    )


def _share_refusals(
    card: Card, parties: Topology, *, origin: str, private: bool, rulings: Iterable[frozenset[str]]
) -> Iterable[str]:
    need = card.parties
    nodes = {party.id: party for party in (*parties.compute, *(parties.dealers if need.dealers_min else ()))}
    compute = [party.id for party in parties.compute]
    dealers = [party.id for party in parties.dealers]
    too_many = need.compute_max is not None and len(compute) > need.compute_max
    if len(compute) < need.compute_min or too_many or len(dealers) < need.dealers_min:
        yield "CARD-PARTIES"
        return
    if any(breaks(card, members, compute, dealers) for members in groups_of(nodes.values()).values()):
        yield "C4.1"
        yield "C4.2"
    if private and any(breaks(card, side, compute, dealers) for side in adversaries(nodes.values(), origin, rulings)):
        yield "C4.2"
