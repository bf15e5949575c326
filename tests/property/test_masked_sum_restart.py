"""Laws of the restart rule: it refuses what some adversary could subtract, and says nothing else."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xbcompute.core.errors import InputError, RefusedError
from xbcompute.core.parties import PartyId
from xbcompute.engines.masked_sum import check_restart

PEOPLE = [PartyId(f"p{i}") for i in range(8)]
RUNS = st.frozensets(st.sampled_from(PEOPLE), min_size=3)
GROUPS = st.lists(st.sampled_from("uvwxyz"), min_size=8, max_size=8).map(lambda g: dict(zip(PEOPLE, g, strict=True)))
PLACES = st.lists(st.sampled_from(["CN", "SG"]), min_size=8, max_size=8).map(
    lambda g: dict(zip(PEOPLE, g, strict=True))
)


def allowed(
    previous: list[frozenset[PartyId]],
    now: frozenset[PartyId],
    groups: dict[PartyId, str],
    places: dict[PartyId, str],
) -> bool:
    try:
        check_restart(previous, now, groups, places)
    except RefusedError as error:
        assert error.code == "masked_sum.restart"
        return False
    return True


def isolates(runs: list[frozenset[PartyId]], adversary: set[PartyId], groups: dict[PartyId, str]) -> bool:
    """Whether some combination with small weights leaves exactly one group outside the adversary."""
    for weights in product(range(-2, 3), repeat=len(runs)):
        left = {
            groups[p]
            for p in PEOPLE
            if p not in adversary and sum(w * int(p in r) for w, r in zip(weights, runs, strict=True)) != 0
        }
        if len(left) == 1:
            return True
    return False


@settings(max_examples=300, deadline=None)
@given(st.lists(RUNS, min_size=1, max_size=3), RUNS, GROUPS, PLACES)
def test_whatever_is_allowed_no_adversary_can_combine(
    previous: list[frozenset[PartyId]], now: frozenset[PartyId], groups: dict[PartyId, str], places: dict[PartyId, str]
) -> None:
    if all(run == now for run in previous) or not allowed(previous, now, groups, places):
        return
    runs = [*previous, now]
    adversaries = [{p for p in PEOPLE if groups[p] == group} for group in set(groups.values())]
    adversaries += [{p for p in PEOPLE if places[p] != place} for place in set(places.values())]
    for adversary in adversaries:
        assert not isolates(runs, adversary, groups)


@settings(max_examples=200, deadline=None)
@given(st.lists(RUNS, min_size=1, max_size=3), RUNS, RUNS, GROUPS, PLACES)
def test_a_longer_history_never_allows_more(
    previous: list[frozenset[PartyId]],
    more: frozenset[PartyId],
    now: frozenset[PartyId],
    groups: dict[PartyId, str],
    places: dict[PartyId, str],
) -> None:
    if allowed([*previous, more], now, groups, places):
        assert allowed(previous, now, groups, places)


@settings(max_examples=50, deadline=None)
@given(RUNS, GROUPS, PLACES)
def test_the_same_participants_may_always_go_on(
    run: frozenset[PartyId], groups: dict[PartyId, str], places: dict[PartyId, str]
) -> None:
    check_restart([], run, groups, places)
    check_restart([run, run], run, groups, places)


FOUR = frozenset(PartyId(p) for p in ("cn-1", "cn-2", "sg-1", "sg-2"))
MORE = frozenset(PartyId(p) for p in ("cn-3", "cn-4", "sg-3", "sg-4"))
OWN_GROUP: dict[PartyId, str] = {party: party for party in [*FOUR, *MORE]}
PLACE: dict[PartyId, str] = {party: party[:2] for party in OWN_GROUP}


@pytest.mark.parametrize(
    ("added", "groups", "fine"),
    [
        ({"cn-3"}, {}, False),
        ({"cn-3", "sg-3"}, {}, False),
        ({"cn-3", "cn-4"}, {}, False),
        ({"cn-3", "cn-4", "sg-3"}, {}, False),
        ({"cn-3", "cn-4", "sg-3", "sg-4"}, {}, True),
        ({"cn-3", "cn-4", "sg-3", "sg-4"}, {"cn-4": "cn-3"}, False),
        ({"cn-3", "cn-4", "sg-3", "sg-4"}, {"cn-4": "sg-4"}, True),
    ],
)
def test_parties_join_or_leave_in_groups_that_a_sum_of_their_own_could_have(
    added: set[str], groups: dict[str, str], fine: bool
) -> None:
    owners = OWN_GROUP | {PartyId(party): group for party, group in groups.items()}
    larger = FOUR | {PartyId(party) for party in added}
    assert allowed([FOUR], larger, owners, PLACE) is fine
    assert allowed([larger], FOUR, owners, PLACE) is fine


def test_an_exchange_of_one_for_another_is_refused() -> None:
    assert not allowed([FOUR], (FOUR - {PartyId("sg-2")}) | {PartyId("sg-3")}, OWN_GROUP, PLACE)


def test_disjoint_runs_are_fine() -> None:
    assert allowed([FOUR], MORE, OWN_GROUP, PLACE)


@pytest.mark.parametrize("missing", ["groups", "places"])
def test_a_party_of_which_nothing_is_known_is_an_input_error(missing: str) -> None:
    groups, places = dict(OWN_GROUP), dict(PLACE)
    (groups if missing == "groups" else places).pop(PartyId("cn-1"))
    with pytest.raises(InputError, match="cn-1"):
        check_restart([FOUR], MORE, groups, places)


def test_weights_need_not_be_whole() -> None:
    """The rank test covers every rational weight: halves of three totals give the sum over u."""
    u, v, w = ({PartyId(f"{k}{i}") for i in range(4)} for k in "uvw")
    groups = {party: party for party in u | v | w}
    places = dict.fromkeys(groups, "CN")
    runs = [frozenset(u | v), frozenset(v | w), frozenset(u | w)]
    check_restart(runs[:2], runs[2], groups, places)
    half = Fraction(1, 2)
    assert [half * (p in runs[0]) - half * (p in runs[1]) + half * (p in runs[2]) for p in sorted(u)] == [1] * 4
    single = {PartyId("u0")}
    with pytest.raises(RefusedError):
        check_restart([*runs[:2], frozenset(u | w | v)], frozenset(u | w) - single, groups, places)


def test_everyone_outside_a_jurisdiction_together_must_not_single_out_one_inside() -> None:
    """Four runs, pairwise fine; who knows all SG contributions finds cn5 in second + third - first - fourth."""
    cn, sg = ({PartyId(f"{place}{i}") for i in range(1, 10)} for place in ("cn", "sg"))
    groups: dict[PartyId, str] = {party: party for party in cn | sg}
    places: dict[PartyId, str] = {party: party[:2] for party in cn | sg}

    def run(cn_out: str, sg_out: str) -> frozenset[PartyId]:
        return frozenset(cn | sg) - {PartyId(f"cn{i}") for i in cn_out} - {PartyId(f"sg{i}") for i in sg_out}

    runs = [run("", ""), run("12", "123"), run("34", "456"), run("12345", "789")]
    for index, later in enumerate(runs):
        for earlier in runs[:index]:
            check_restart([earlier], later, groups, places)
    with pytest.raises(RefusedError, match="known to all parties outside cn, of group cn5"):
        check_restart(runs[:3], runs[3], groups, places)
    check_restart(runs[:3], run("123456", "789"), groups, places)
