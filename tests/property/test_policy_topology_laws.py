"""Laws of the coalition check over random topologies."""

from __future__ import annotations

import dataclasses
import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from xbcompute.core.parties import Jurisdiction, Party, PartyId
from xbcompute.policy.topology import Topology, adversaries, breaks, refusals
from xbcompute.specs.card import Card, shipped_cards

CARDS = st.sampled_from([card for card in shipped_cards() if card.on_shares or card.threshold == "sum"])
SOME = settings(max_examples=150, deadline=None)


@st.composite
def topologies(draw: st.DrawFn) -> Topology:
    def some(prefix: str, least: int, most: int) -> tuple[Party, ...]:
        found = []
        for number in range(draw(st.integers(least, most))):
            where = draw(st.sampled_from(["CN", "SG", "HK"]))
            group = draw(st.sampled_from([f"{prefix}{number}"] * 3 + ["shared"]))
            found.append(Party(PartyId(f"{prefix}{number}"), Jurisdiction(where), group, frozenset()))
        return tuple(found)

    holders, compute = some("h", 1, 5), some("c", 0, 4)
    return Topology(holders, compute or holders, some("d", 0, 2), ())


def ok(card: Card, topology: Topology, origin: str, rulings: tuple[frozenset[str], ...] = ()) -> bool:
    return not refusals(card, topology, origin=origin, private=True, rulings=rulings)


@SOME
@given(CARDS, topologies(), st.sampled_from(["CN", "SG"]))
def test_joining_two_parties_in_one_group_admits_nothing_new(card: Card, topology: Topology, origin: str) -> None:
    if ok(card, topology, origin):
        return
    parties = {p.id: p for p in (*topology.holders, *topology.compute, *topology.dealers)}
    for one, other in itertools.combinations(sorted(parties), 2):
        old, new = parties[other].control_group, parties[one].control_group

        def moved(group: tuple[Party, ...], old: str = old, new: str = new) -> tuple[Party, ...]:
            return tuple(dataclasses.replace(p, control_group=new) if p.control_group == old else p for p in group)

        merged = Topology(moved(topology.holders), moved(topology.compute), moved(topology.dealers), ())
        assert not ok(card, merged, origin)


@SOME
@given(CARDS, topologies(), st.sampled_from(["CN", "SG"]), st.data())
def test_a_ruling_refuses_nothing_that_was_admitted(
    card: Card, topology: Topology, origin: str, data: st.DataObject
) -> None:
    names = sorted({str(p.id) for p in (*topology.compute, *topology.dealers)})
    pair = frozenset(data.draw(st.lists(st.sampled_from(names), min_size=2, max_size=2)))
    if ok(card, topology, origin):
        assert ok(card, topology, origin, (pair,))


@SOME
@given(CARDS, topologies())
def test_an_admitted_card_has_no_foreign_side_that_reaches_its_threshold(card: Card, topology: Topology) -> None:
    """The statement of C4.2 itself, checked against every coalition inside the foreign side."""
    if not card.on_shares or not ok(card, topology, "CN"):
        return
    nodes = (*topology.compute, *(topology.dealers if card.parties.dealers_min else ()))
    compute, dealers = [p.id for p in topology.compute], [p.id for p in topology.dealers]
    (side,) = adversaries(nodes, "CN", ())
    assert {p.id for p in nodes if p.jurisdiction != "CN"} <= side
    for size in range(len(side) + 1):
        for coalition in itertools.combinations(sorted(side), size):
            assert not breaks(card, coalition, compute, dealers)


@SOME
@given(topologies(), st.sampled_from(["CN", "SG"]))
def test_an_admitted_sum_hides_two_groups_from_every_other_side(topology: Topology, origin: str) -> None:
    """Whoever acts together outside one jurisdiction, two groups inside it stay unknown to them one by one."""
    masked = next(card for card in shipped_cards() if card.id == "masked-sum")
    if not ok(masked, topology, origin):
        return
    for inside in {p.jurisdiction for p in topology.holders}:
        outside = {p.control_group for p in topology.holders if p.jurisdiction != inside}
        hidden = {p.control_group for p in topology.holders if p.jurisdiction == inside} - outside
        assert len(hidden) >= 2
