"""What every ``Summation`` must do, run for each engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from tests.support.summing import STATE, Federation
from xbcompute.core.arrays import ArraySpec, Contribution, Layout
from xbcompute.core.errors import InputError, IntegrityError, XbError
from xbcompute.core.parties import PartyId
from xbcompute.core.ports import Summation
from xbcompute.engines import fixed_point
from xbcompute.engines.clear import Clear, sum_contributions

Make = Callable[[Federation, str], Summation]


def masked_sum(federation: Federation, party: str) -> Summation:
    return federation.engine(party)


def clear(federation: Federation, party: str) -> Summation:
    return Clear(federation.taps[PartyId(party)], federation.admission(party, card="clear-aggregate"))


@pytest.fixture(params=[clear, masked_sum], ids=lambda make: make.__name__)
def make(request: pytest.FixtureRequest) -> Make:
    chosen: Make = request.param
    return chosen


LAYOUTS: dict[str, Layout] = {
    "counts": {"n": ArraySpec((3,), 1e6, integer=True, role="cells")},
    "matrix and scalar": {"xx": ArraySpec((3, 2), 5.0), "loglik": ArraySpec((), 1e4, role="model")},
    "mixed": {"x": ArraySpec((5,), 1e-3), "n": ArraySpec((1, 1, 2), 10, integer=True), "none": ArraySpec((0,), 1.0)},
    "larger than a block": {"x": ArraySpec((70_001,), 3.0), "n": ArraySpec((66_000,), 5, integer=True)},
}


def contribution(layout: Layout, seed: int) -> Contribution:
    random = np.random.default_rng(seed)  # noqa: TID251
    return {
        name: random.integers(-int(spec.bound), int(spec.bound) + 1, spec.shape)
        if spec.integer
        else random.uniform(-spec.bound, spec.bound, spec.shape) + np.zeros(spec.shape)
        for name, spec in layout.items()
    }


def rounds(
    make: Make, names: str, layouts: Mapping[int, Layout], *, timeout: float = 30.0
) -> tuple[Federation, dict[str, Any]]:
    federation = Federation(names, timeout=timeout)

    def party(name: str) -> Callable[[], list[Contribution]]:
        engine = make(federation, name)
        return lambda: [
            engine.total(layout, contribution(layout, ord(name) + number), round=number, state=STATE)
            for number, layout in layouts.items()
        ]

    return federation, federation.run({name: party(name) for name in names})


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("names", ["abc", "abcdefg"])
def test_the_total_is_the_sum_and_the_same_at_every_party(make: Make, names: str, layout: Layout) -> None:
    _, ended = rounds(make, names, {1: layout})
    oracle = sum_contributions(layout, [contribution(layout, ord(name) + 1) for name in names])
    first = ended[names[0]][0]
    assert list(first) == list(layout)
    for name, spec in layout.items():
        assert first[name].shape == spec.shape
        assert first[name].dtype == (np.int64 if spec.integer else np.float64)
        error = np.max(np.abs(first[name] - oracle[name]), initial=0)
        assert error <= 2 * fixed_point.max_abs_error(spec, len(names)) + len(names) * spec.bound * 1e-15
        assert all(np.array_equal(totals[0][name], first[name]) for totals in ended.values())
        if spec.integer:
            assert np.array_equal(first[name], oracle[name])


def test_rounds_follow_each_other_with_changing_layouts(make: Make) -> None:
    layouts = {1: LAYOUTS["mixed"], 2: LAYOUTS["counts"], 7: LAYOUTS["mixed"]}
    _, ended = rounds(make, "abcd", layouts)
    for totals in ended.values():
        assert np.array_equal(
            totals[1]["n"], sum_contributions(layouts[2], [contribution(layouts[2], ord(n) + 2) for n in "abcd"])["n"]
        )
        assert len(totals) == 3


def test_the_contribution_is_left_as_it_was(make: Make) -> None:
    federation, layout = Federation("abc"), LAYOUTS["mixed"]
    given = {name: contribution(layout, ord(name)) for name in "abc"}
    federation.run({n: lambda n=n: make(federation, n).total(layout, given[n], round=1, state=STATE) for n in "abc"})  # type: ignore[misc]
    for name in "abc":
        assert all(np.array_equal(given[name][key], contribution(layout, ord(name))[key]) for key in layout)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -5.5])
def test_a_bad_value_is_an_input_error_and_nothing_of_it_is_sent(make: Make, bad: float) -> None:
    layout = LAYOUTS["matrix and scalar"]
    federation = Federation("abc", timeout=0.05)
    mine = {**contribution(layout, 1), "xx": np.full((3, 2), bad)}
    with pytest.raises(InputError, match="xx"):
        make(federation, "a").total(layout, mine, round=1, state=STATE)
    assert not federation.taps[PartyId("a")].sent


def test_a_round_never_comes_again(make: Make) -> None:
    federation, layout = Federation("abc"), LAYOUTS["counts"]

    def party(name: str) -> Callable[[], Any]:
        def work() -> list[str]:
            engine = make(federation, name)
            engine.total(layout, contribution(layout, 1), round=3, state=STATE)
            codes = []
            for number in (3, 2, 0, -1):
                with pytest.raises(IntegrityError, match="not after") as caught:
                    engine.total(layout, contribution(layout, 1), round=number, state=STATE)
                codes.append(caught.value.code)
            return codes

        return work

    ended = federation.run({name: party(name) for name in "abc"})
    assert all(len(set(codes)) == 1 and codes[0].endswith(".round") for codes in ended.values())


def test_a_missing_party_ends_the_round_with_a_peer_error(make: Make) -> None:
    federation, layout = Federation("abc"), LAYOUTS["counts"]

    def gone() -> None:
        return None

    def party(name: str) -> Callable[[], Contribution]:
        return lambda: make(federation, name).total(layout, contribution(layout, 1), round=1, state=STATE)

    ended = federation.run({"a": party("a"), "b": party("b"), "c": gone})
    for name in "ab":
        assert isinstance(ended[name], XbError)
        assert ended[name].code == "peer.silent"


def test_parties_that_mean_different_layouts_do_not_add_them_up(make: Make) -> None:
    federation = Federation("abc")

    def party(name: str, bound: float) -> Callable[[], Contribution]:
        layout = {"x": ArraySpec((2,), bound)}
        return lambda: make(federation, name).total(layout, {"x": np.ones(2)}, round=1, state=STATE)

    ended = federation.run({"a": party("a", 1.0), "b": party("b", 1.0), "c": party("c", 2.0)})
    assert all(isinstance(end, IntegrityError) for end in ended.values())
