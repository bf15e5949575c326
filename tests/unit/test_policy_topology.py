"""Which party topologies bear which protocol: C4.1, C4.2, C4.3."""

from __future__ import annotations

import itertools

import pytest

from xbcompute.core.parties import Jurisdiction, Party, PartyId, Role
from xbcompute.policy.topology import Topology, adversaries, breaks, refusals
from xbcompute.specs.card import Card, find_card

MASKED, SHAMIR, RING, TWO = (find_card(name) for name in ("masked-sum", "shamir", "ring-dealer", "two-party"))


def party(name: str, where: str, role: Role = "holder", group: str | None = None) -> Party:
    return Party(PartyId(name), Jurisdiction(where), group or name, frozenset({role}))


def parties(text: str, groups: dict[str, str] | None = None) -> tuple[Party, ...]:
    """``"CN CN SG"`` as p0, p1, p2."""
    return tuple(party(f"p{i}", where, group=(groups or {}).get(f"p{i}")) for i, where in enumerate(text.split()))


def among(holders: tuple[Party, ...], *, compute: tuple[Party, ...] = (), dealers: tuple[Party, ...] = ()) -> Topology:
    return Topology(holders, compute or holders, dealers, ())


def refused(card: Card, text: str, origin: str = "CN", groups: dict[str, str] | None = None) -> tuple[str, ...]:
    return refusals(card, among(parties(text, groups)), origin=origin, private=True)


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("CN CN SG SG", ()),
        ("CN CN CN", ()),
        ("SG SG SG", ()),
        ("CN CN CN SG SG", ()),
        ("CN CN", ("C4.3",)),
        ("CN SG", ("C4.3",)),
        ("CN CN SG", ("C4.3",)),
        ("CN CN SG SG MY", ("C4.3",)),
        ("CN", ("C4.3",)),
    ],
)
def test_a_sum_needs_three_contributors_and_two_groups_in_each_jurisdiction(text: str, rules: tuple[str, ...]) -> None:
    assert refused(MASKED, text) == rules


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("CN CN SG SG", {"p2": "g", "p3": "g"}),
        ("CN CN SG SG", {"p0": "g", "p1": "g"}),
        ("CN CN CN", {"p0": "g", "p1": "g"}),
        ("CN CN SG SG", {"p0": "g", "p2": "g"}),
    ],
)
def test_two_identities_of_one_control_group_are_one_party(text: str, groups: dict[str, str]) -> None:
    assert refused(MASKED, text, groups=groups) == ("C4.1", "C4.3")


def test_a_group_that_spans_the_border_does_not_count_for_either_side() -> None:
    assert refused(MASKED, "CN CN CN SG SG SG", groups={"p0": "g", "p3": "g"}) == ()
    assert refused(MASKED, "CN CN CN SG SG", groups={"p0": "g", "p3": "g"}) == ("C4.1", "C4.3")


def test_three_nodes_protect_the_origin_that_runs_two_of_them() -> None:
    """Two shares rebuild; CN, CN, SG: one foreign share is less than two, two foreign shares are not."""
    assert refused(SHAMIR, "CN CN SG", "CN") == ()
    assert refused(SHAMIR, "CN CN SG", "SG") == ("C4.2",)


def test_two_party_computation_protects_both_origins() -> None:
    assert refused(TWO, "CN SG", "CN") == ()
    assert refused(TWO, "CN SG", "SG") == ()


def test_no_honest_majority_split_protects_both_origins() -> None:
    """n ≤ 2k − 2 against n ≥ 2k − 1, looked for among all splits up to eleven nodes."""
    for nodes in range(3, 12):
        for chinese in range(1, nodes):
            text = " ".join(["CN"] * chinese + ["SG"] * (nodes - chinese))
            assert any(refused(SHAMIR, text, origin) for origin in ("CN", "SG")), text


def test_one_origin_and_enough_nodes_at_home_pass() -> None:
    for chinese, foreign in itertools.product(range(1, 6), range(1, 5)):
        nodes = chinese + foreign
        passes = nodes >= 3 and foreign < (nodes - 1) // 2 + 1
        text = " ".join(["CN"] * chinese + ["SG"] * foreign)
        assert (refused(SHAMIR, text, "CN") == ()) is passes, text


def test_inputs_that_need_no_protection_are_not_held_to_c4_2() -> None:
    topology = among(parties("CN CN SG"))
    assert refusals(SHAMIR, topology, origin="SG", private=False) == ()


def test_one_group_with_the_threshold_is_refused_whatever_the_grade() -> None:
    topology = among(parties("CN SG", {"p0": "g", "p1": "g"}))
    assert refusals(TWO, topology, origin="CN", private=False) == ("C4.1", "C4.2")


@pytest.mark.parametrize("text", ["CN", "CN SG SG", "CN CN SG SG"])
def test_two_party_is_for_exactly_two(text: str) -> None:
    assert refused(TWO, text) == ("CARD-PARTIES",)


def test_ring_needs_a_dealer() -> None:
    assert refused(RING, "CN SG") == ("CARD-PARTIES",)


HOLDERS = parties("CN SG")
HK = party("hk", "HK", "dealer")
SG_DEALER = party("sgd", "SG", "dealer")


@pytest.mark.parametrize("origin", ["CN", "SG"])
def test_a_dealer_in_hong_kong_is_foreign_to_both(origin: str) -> None:
    topology = among(HOLDERS, dealers=(HK,))
    assert refusals(RING, topology, origin=origin, private=True) == ("C4.2",)


@pytest.mark.parametrize(("origin", "foreigner"), [("CN", "p1"), ("SG", "p0")])
def test_a_ruling_on_two_named_foreign_entities_lets_the_dealer_pass(origin: str, foreigner: str) -> None:
    topology = among(HOLDERS, dealers=(HK,))
    ruling = frozenset({foreigner, "hk"})
    assert refusals(RING, topology, origin=origin, private=True, rulings=(ruling,)) == ()


@pytest.mark.parametrize(
    "ruling",
    [frozenset({"p0", "hk"}), frozenset({"hk"}), frozenset({"p1"}), frozenset({"p0", "p1", "hk"}), frozenset()],
)
def test_a_ruling_about_others_changes_nothing(ruling: frozenset[str]) -> None:
    topology = among(HOLDERS, dealers=(HK,))
    assert refusals(RING, topology, origin="CN", private=True, rulings=(ruling,)) == ("C4.2",)


def test_a_ruling_does_not_cover_a_sister_of_the_named_entity() -> None:
    """Two Singapore compute parties of one group: that one of them does not collude says nothing of the other."""
    holders = (party("c", "CN"), party("s1", "SG", group="g"), party("s2", "SG", group="g"))
    topology = among(holders, dealers=(HK,))
    ruling = frozenset({"s1", "hk"})
    assert "C4.2" in refusals(RING, topology, origin="CN", private=True, rulings=(ruling,))


def test_a_dealer_at_home_protects_its_own_origin_only() -> None:
    topology = among(HOLDERS, dealers=(SG_DEALER,))
    assert refusals(RING, topology, origin="SG", private=True) == ()
    assert refusals(RING, topology, origin="CN", private=True) == ("C4.2",)


def test_a_dealer_of_a_compute_partys_group_is_refused() -> None:
    dealer = party("d", "SG", "dealer", group="p1")
    assert "C4.1" in refusals(RING, among(HOLDERS, dealers=(dealer,)), origin="SG", private=False)


def test_outsiders_bring_their_group_along() -> None:
    nodes = (party("a", "CN", group="g"), party("b", "CN"), party("c", "SG", group="g"))
    assert adversaries(nodes, "CN", ()) == (frozenset({"a", "c"}),)


@pytest.mark.parametrize(
    ("card", "coalition", "reaches"),
    [
        (SHAMIR, "p0", False),
        (SHAMIR, "p0 p1", True),
        (TWO, "p0 p1", False),
        (TWO, "p0 p1 p2", True),
        (RING, "p0 p1", False),
        (RING, "p0 p1 p2", True),
        (RING, "p0 d", True),
        (RING, "d", False),
        (MASKED, "p0 p1 p2", False),
    ],
)
def test_what_reaches_the_threshold(card: Card, coalition: str, reaches: bool) -> None:
    members = [PartyId(name) for name in coalition.split()]
    assert breaks(card, members, map(PartyId, ("p0", "p1", "p2")), (PartyId("d"),)) is reaches


def test_psi_is_for_two_holders() -> None:
    psi = find_card("psi")
    assert refused(psi, "CN SG") == ()
    assert refused(psi, "CN CN SG") == ("CARD-PARTIES",)
    assert refused(psi, "CN SG", groups={"p0": "g", "p1": "g"}) == ("C4.1", "CARD-PARTIES")


def test_clear_aggregates_need_nobody_else() -> None:
    assert refused(find_card("clear-aggregate"), "CN") == ()
