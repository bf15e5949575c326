"""The minimum cell: what is withheld in lists and tables, and that it cannot be worked out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from xbcompute.core.arrays import ArraySpec
from xbcompute.core.errors import InputError, RefusedError
from xbcompute.core.schema import Limits
from xbcompute.disclosure.cells import extended, intervals, own_cells, protect, suppress_table, unsafe_entries


def mask(counts: Any, cell_min: int = 10) -> list[Any]:
    hidden: list[Any] = suppress_table(np.array(counts), cell_min).astype(int).tolist()
    return hidden


def test_nothing_small_nothing_withheld() -> None:
    assert mask([[10, 20], [30, 0]]) == [[0, 0], [0, 0]]
    assert mask([10, 0, 99]) == [0, 0, 0]
    assert mask([[1, 2], [3, 4]], cell_min=1) == [[0, 0], [0, 0]]


def test_nine_is_withheld_and_ten_is_not() -> None:
    assert mask([9, 30, 40]) == [1, 1, 0]
    assert mask([10, 30, 40]) == [0, 0, 0]


def test_one_small_cell_of_a_2x2_takes_the_whole_table_along() -> None:
    assert mask([[3, 47], [60, 90]]) == [[1, 1], [1, 1]]


def test_a_rectangle_of_the_cheapest_cells_is_withheld() -> None:
    assert mask([[3, 20, 90], [25, 30, 90], [90, 90, 90]]) == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]


def test_small_counts_protect_each_other_in_a_list() -> None:
    assert mask([6, 7, 50]) == [1, 1, 0]  # together 13: each may be 0 to 13
    assert mask([4, 5, 12, 50]) == [1, 1, 1, 0]  # together 9: not wide enough


def test_lines_written_as_tables_are_lists() -> None:
    assert mask([[9, 30, 40]]) == [[1, 1, 0]]
    assert mask([[9], [30], [40]]) == [[1], [1], [0]]
    across = protect(np.array([[9, 30, 40]]), 10)
    assert (across.rows.tolist(), across.columns.tolist()) == ([False], [True, True, False])
    upright = protect(np.array([[9], [30], [40]]), 10)
    assert (upright.rows.tolist(), upright.columns.tolist()) == ([True, True, False], [False])


def test_a_small_margin_is_withheld_with_a_second_one() -> None:
    found = protect(np.array([[2, 3, 1], [40, 50, 60], [70, 80, 90]]), 10)
    assert found.cells[0].all()
    assert found.rows.tolist() == [True, True, False]
    assert not found.columns.any()


def test_zeros_that_leave_no_rectangle() -> None:
    counts = np.array([[3, 0], [0, 50]])
    found = protect(counts, 10)
    assert found.cells.tolist() == [[True, False], [False, True]]
    assert found.rows.tolist() == found.columns.tolist() == [True, True]


def test_margins_of_distinct_subjects_are_tested_themselves() -> None:
    counts = np.array([[6, 6], [40, 50]])
    assert not protect(counts, 10).rows[0]
    assert protect(counts, 10, rows=np.array([7, 80]), columns=np.array([44, 52])).rows[0]


@pytest.mark.parametrize("counts", [[[4, 5]], [3, 0], [[2, 3], [1, 3]], [9]])
def test_a_total_that_is_itself_small_is_refused(counts: Any) -> None:
    with pytest.raises(RefusedError) as caught:
        mask(counts)
    assert caught.value.code == "disclosure.table"


def test_one_small_count_and_zeros_only_cannot_be_protected() -> None:
    with pytest.raises(RefusedError):
        mask([12, 0, 0, 0, 0], cell_min=13)


@pytest.mark.parametrize("counts", [np.array([1.5]), np.array([-1, 30]), np.zeros((2, 2, 2), dtype=int)])
def test_what_is_no_table_of_counts(counts: Any) -> None:
    with pytest.raises(InputError):
        suppress_table(counts, 10)


def test_intervals_are_those_of_the_2x2() -> None:
    whole = extended(np.array([[3, 47], [60, 90]]))
    hidden = np.zeros((3, 3), dtype=bool)
    hidden[:2, :2] = True
    found = {place: (low, high) for place, low, high in intervals(whole, hidden) or []}
    assert found == {(0, 0): (0, 50), (0, 1): (0, 50), (1, 0): (13, 63), (1, 1): (87, 137)}


def test_the_audit_sees_a_cell_that_margins_give_away() -> None:
    whole = extended(np.array([[3, 47], [60, 90]]))
    hidden = np.zeros((3, 3), dtype=bool)
    hidden[0, 0] = True
    assert unsafe_entries(whole, hidden, 10) == [(0, 0)]
    hidden[0, 1] = True  # its row may move, its column does not
    assert unsafe_entries(whole, hidden, 10) == [(0, 0), (0, 1)]


def test_intervals_of_counts_that_fit_no_table() -> None:
    whole = np.array([[30, 0, 10], [20, 20, 40], [50, 20, 50]])
    hidden = np.zeros((3, 3), dtype=bool)
    hidden[0, 1] = True
    assert intervals(whole, hidden) is None


def test_own_cells_only_under_holder_scope() -> None:
    layout = {
        "cells": ArraySpec((2,), 100, integer=True, role="cells"),
        "x": ArraySpec((2,), 100, integer=True, role="model"),
    }
    mine = {"cells": np.array([0, 9]), "x": np.array([1, 2])}
    own_cells("t", layout, mine, Limits(cell_scope="pooled"))
    own_cells("t", layout, mine, Limits(cell_min=9))
    own_cells("t", layout, {**mine, "cells": np.array([0, 10])}, Limits())
    with pytest.raises(RefusedError) as caught:
        own_cells("t", layout, mine, Limits())
    assert caught.value.code == "disclosure.cell"
    assert "'t'" in caught.value.text
    assert "9" not in caught.value.text
