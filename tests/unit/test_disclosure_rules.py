"""Dominance, differencing, model rules, curve merging and the checks of a session."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from xbcompute.core.arrays import ArraySpec, Layout
from xbcompute.core.errors import InputError, RefusedError
from xbcompute.core.parties import Jurisdiction, PartyId
from xbcompute.core.schema import HolderFacts, Limits, Schema
from xbcompute.disclosure.differencing import check_differencing, conflict
from xbcompute.disclosure.dominance import check_dominance, dominated
from xbcompute.disclosure.models import check_cells, check_own_size, check_size
from xbcompute.disclosure.release import SessionChecks
from xbcompute.disclosure.survival import merge_intervals, merged_counts

LIMITS = Limits()


@pytest.mark.parametrize(
    ("total", "first", "second", "bad"),
    [
        (100.0, 50.0, 10.0, False),
        (100.0, 50.1, 10.0, True),
        (100.0, 48.0, 47.5, True),  # what is left is under 10 % of the largest
        (100.0, 48.0, 47.0, False),
        (0.0, 0.0, 0.0, False),
        (7.0, 7.0, 0.0, True),
    ],
)
def test_dominance(total: float, first: float, second: float, bad: bool) -> None:
    assert dominated(total, first, second, LIMITS) is bad
    if bad:
        with pytest.raises(RefusedError) as caught:
            check_dominance("cost in all", total, first, second, LIMITS)
        assert caught.value.code == "disclosure.dominance"
        assert "cost in all" in caught.value.text


@pytest.mark.parametrize("amounts", [(1.0, -1.0, 0.0), (1.0, 0.2, 0.3), (float("nan"), 0.0, 0.0)])
def test_dominance_of_what_is_no_sum_of_amounts(amounts: tuple[float, float, float]) -> None:
    with pytest.raises(InputError):
        dominated(*amounts, LIMITS)


def population(*members: int) -> Any:
    return np.sort(np.array([f"{m:016d}" for m in members], dtype="S16"))


def test_differencing_names_the_first_earlier_study_that_is_too_close() -> None:
    base = population(*range(100))
    assert conflict(base, [("same", base)], 10) is None
    assert conflict(base, [("ten apart", population(*range(10, 100)))], 10) is None
    assert conflict(base, [("far", population(*range(500))), ("near", population(*range(3, 100)))], 10) == "near"
    assert conflict(base, [("swapped", population(*range(1, 101)))], 10) == "swapped"
    assert conflict(base, [("empty", population())], 10) is None
    assert conflict(population(*range(3)), [("empty", population())], 10) == "empty"
    with pytest.raises(RefusedError) as caught:
        check_differencing(base, [("near", population(*range(3, 100)).tobytes())], 10)
    assert caught.value.code == "disclosure.differencing"
    assert "'near'" in caught.value.text
    assert "3" not in caught.value.text


@pytest.mark.parametrize("bad", [b"x" * 17, population(1, 2)[::-1], np.array([b"a" * 16] * 2), np.zeros(3)])
def test_differencing_refuses_what_is_no_population(bad: Any) -> None:
    with pytest.raises(InputError):
        conflict(bad, [("a", population(1))], 10)


def test_model_sizes() -> None:
    check_own_size(30, 10, LIMITS)
    check_size(30, 10, LIMITS)
    for n, p, check in ((29, 10, check_own_size), (29, 10, check_size), (12, 3, check_size), (10, 10, check_size)):
        with pytest.raises(RefusedError):
            check(n, p, LIMITS)
        check(n, p, Limits(model_rules=False))
    with pytest.raises(RefusedError) as caught:
        check_own_size(7, 4, LIMITS)
    assert "7" not in caught.value.text


def test_model_cells() -> None:
    check_cells("stage", np.array([[10, 0], [30, 99]]), LIMITS)
    with pytest.raises(RefusedError, match="column stage"):
        check_cells("stage", np.array([[9, 40], [30, 99]]), LIMITS)
    check_cells("stage", np.array([[9, 40]]), Limits(model_rules=False))


ME, CN, SG = PartyId("a"), Jurisdiction("CN"), Jurisdiction("SG")


def session(*rows_min: int | None, own_rows: int | None = None, **limits: Any) -> SessionChecks:
    places = [CN, CN, SG, SG]
    holders = tuple(
        HolderFacts(PartyId("abcd"[k]), places[k], 200, least) for k, least in enumerate(rows_min or (50, 50, 60, 60))
    )
    return SessionChecks(Schema({}, holders, Limits(**{"cell_scope": "pooled", **limits})), ME, own_rows)


def opens(size: int) -> tuple[Layout, dict[str, Any]]:
    return {"information": ArraySpec((size,), 10.0, role="model")}, {"information": np.zeros(size)}


@pytest.mark.parametrize(
    ("checks", "bound"),
    [
        (session(50, 50, 60, 60), 100),
        (session(50, 50, 30, 30), 60),
        (session(50, 50, 60, 60, own_rows=20), 70),  # where left 20 of at least 50 rows
        (session(50, 50, 60, 60, own_rows=170), 100),
        (session(None, 50, 60, 60, own_rows=35), 35),
        (session(None, None, None, None, own_rows=35), 35),
        (session(None, None, None, None), 0),
    ],
)
def test_opened_model_scalars_are_a_running_total(checks: SessionChecks, bound: int) -> None:
    half = bound // 2
    checks.contribution("one", *opens(half))
    checks.contribution("two", *opens(bound - half))
    assert checks.opened == bound
    with pytest.raises(RefusedError) as caught:
        checks.contribution("three", *opens(1))
    assert caught.value.code == "model.scalars"
    assert "'three'" in caught.value.text
    assert checks.opened == bound


def test_without_model_rules_scalars_are_counted_and_not_bounded() -> None:
    checks = session(model_rules=False)
    checks.contribution("one", *opens(10_000))
    assert checks.opened == 10_000


LAYOUT: Layout = {
    "cells": ArraySpec((2,), 200, integer=True, role="cells"),
    "sums": ArraySpec((2,), 1.0),
    "whole": ArraySpec((), 5, integer=True),
}
GOOD: dict[str, Any] = {"cells": np.array([10, 0]), "sums": np.array([0.5, -1.0]), "whole": np.array(-5)}


@pytest.mark.parametrize(
    "change",
    [
        {"cells": np.array([10, 0, 0])},
        {"cells": np.array([-1, 11])},
        {"cells": np.array([10.5, 0.0])},
        {"cells": np.array([201, 0])},
        {"sums": np.array([np.nan, 0.0])},
        {"sums": np.array([np.inf, 0.0])},
        {"sums": np.array([1.0 + 1e-12, 0.0])},
        {"sums": np.array(["a", "b"])},
        {"whole": np.array(0.5)},
        {"extra": np.array(1)},
    ],
)
def test_contributions_that_are_not_what_the_layout_says(change: dict[str, Any]) -> None:
    checks = session()
    checks.contribution("a", LAYOUT, GOOD)
    with pytest.raises(RefusedError) as caught:
        checks.contribution("a", LAYOUT, GOOD | change)
    assert caught.value.code == "disclosure.check"
    with pytest.raises(RefusedError):
        checks.contribution("a", LAYOUT, {"cells": GOOD["cells"]})


def test_totals_within_the_holders_bounds_only() -> None:
    checks = session()
    good = {"cells": np.array([800, 3]), "sums": np.array([4.0, -4.0]), "whole": np.array(20)}
    checks.total("a", LAYOUT, good)
    for change in (
        {"cells": np.array([801, 0])},
        {"cells": np.array([-1, 0])},
        {"sums": np.array([4.1, 0.0])},
        {"sums": np.array([np.nan, 0.0])},
        {"whole": np.array(21)},
        {"more": np.array(1)},
    ):
        with pytest.raises(RefusedError) as caught:
            checks.total("a", LAYOUT, good | change)
        assert caught.value.code == "disclosure.check"


def test_own_small_cells_under_holder_scope() -> None:
    small = GOOD | {"cells": np.array([9, 20])}
    session(cell_scope="pooled").contribution("a", LAYOUT, small)
    with pytest.raises(RefusedError) as caught:
        session(cell_scope="holder").contribution("a", LAYOUT, small)
    assert caught.value.code == "disclosure.cell"


def column(*values: int) -> Any:
    return np.array(values)[:, None]


def test_intervals_merge_from_the_left() -> None:
    events, censored = column(0, 4, 6, 12, 3, 20, 2), column(0, 0, 10, 3, 7, 0, 0)
    ends = merge_intervals(events, censored, 10)
    assert ends.tolist() == [2, 4, 6]
    assert merged_counts(events, ends)[:, 0].tolist() == [10, 15, 22]
    assert merged_counts(censored, ends)[:, 0].tolist() == [10, 10, 0]


def test_a_remainder_whose_leavers_are_few_takes_earlier_intervals_along() -> None:
    events, censored = column(10, 10, 10, 0), column(10, 10, 0, 3)
    ends = merge_intervals(events, censored, 10)
    assert ends.tolist() == [0, 3]
    assert merged_counts(censored, ends)[:, 0].tolist() == [10, 13]


def test_all_curves_must_allow_an_interval() -> None:
    events = np.array([[10, 1], [10, 9], [10, 10]])
    assert merge_intervals(events, np.zeros_like(events), 10).tolist() == [1, 2]


def test_nothing_merges_where_nothing_is_small() -> None:
    events = column(0, 1, 0)
    assert merge_intervals(events, events, 1).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("events", "censored"),
    [(column(3, 6), column(0, 0)), (column(10, 10), column(0, 3)), (column(0, 0), column(50, 50))],
)
def test_a_curve_with_too_few_is_refused(events: Any, censored: Any) -> None:
    with pytest.raises(RefusedError) as caught:
        merge_intervals(events, censored, 10)
    assert caught.value.code == "disclosure.events"


@pytest.mark.parametrize("events", [np.array([1, 2]), np.zeros((0, 1), dtype=int), np.array([[-1]])])
def test_counts_that_are_no_curves(events: Any) -> None:
    with pytest.raises(InputError):
        merge_intervals(events, events, 10)
