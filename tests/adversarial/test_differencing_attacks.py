"""Attacks by arithmetic: what an attacker with all released numbers tries, and where it stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import linprog

from tests.support.datasets import dataset, describe, prepared, study
from xbcompute.core.errors import RefusedError
from xbcompute.core.schema import Limits
from xbcompute.disclosure.cells import protect
from xbcompute.disclosure.differencing import check_differencing
from xbcompute.disclosure.release import audit_result
from xbcompute.disclosure.survival import merge_intervals, merged_counts

KEY = b"key of this holder, 32 bytes ..."
COLUMNS = {"age": {"type": "number", "bounds": [0, 120]}, "sick": {"type": "category", "levels": ["no", "yes"]}}


def people_of(folder: Path, frame: pd.DataFrame, **data: Any) -> Any:
    frame.to_csv(folder / "rows.csv", index=False)
    made = prepared(folder, dataset("rows.csv", COLUMNS), study(describe("age", "sick"), **data))
    found = made.people(KEY)
    made.close()
    return found


def patients(n: int = 120) -> pd.DataFrame:
    return pd.DataFrame(
        {"pid": [f"p{k}" for k in range(n)], "age": np.arange(n) % 90 + 1, "sick": ["no", "yes"] * (n // 2)}
    )


def test_a_second_study_that_leaves_three_people_out_is_refused(tmp_path: Path) -> None:
    """mean · n of both studies would give the sum of the three."""
    everyone = people_of(tmp_path, patients())
    without_three = people_of(tmp_path, patients().drop(index=[5, 6, 7]))
    assert everyone.size - without_three.size == 3
    with pytest.raises(RefusedError, match="'first'"):
        check_differencing(without_three, [("first", everyone)], 10)


def test_where_and_missing_values_move_the_population_too(tmp_path: Path) -> None:
    frame = patients()
    everyone = people_of(tmp_path, frame)
    chosen = people_of(tmp_path, frame, where=[{"column": "age", "op": "!=", "value": 90}])
    assert 0 < everyone.size - chosen.size < 10
    with pytest.raises(RefusedError):
        check_differencing(chosen, [("first", everyone)], 10)
    frame.loc[:4, "age"] = np.nan
    with pytest.raises(RefusedError):
        check_differencing(people_of(tmp_path, frame), [("first", everyone)], 10)


def test_swapping_a_few_people_at_equal_size_is_refused(tmp_path: Path) -> None:
    frame = patients()
    first = people_of(tmp_path, frame)
    frame.loc[0, "pid"] = "new"
    assert people_of(tmp_path, frame).size == first.size
    with pytest.raises(RefusedError):
        check_differencing(people_of(tmp_path, frame), [("first", first)], 10)


def test_renumbered_rows_are_the_same_people(tmp_path: Path) -> None:
    check_differencing(people_of(tmp_path, patients().iloc[::-1]), [("first", people_of(tmp_path, patients()))], 10)


def range_of(equations: list[tuple[list[float], float]], k: int) -> tuple[float, float]:
    """The attacker's own solver: bounds on unknown ``k``, given equations over non-negative unknowns."""
    matrix, right = [row for row, _ in equations], [value for _, value in equations]
    ends = []
    for sign in (1.0, -1.0):
        goal = [sign if j == k else 0.0 for j in range(len(matrix[0]))]
        ends.append(sign * float(linprog(goal, A_eq=matrix, b_eq=right, bounds=(0, None)).fun or 0.0))
    return ends[0], ends[1]


def test_margins_do_not_give_a_small_cell_of_a_2x2_back() -> None:
    counts = np.array([[4, 46], [60, 90]])
    hidden = protect(counts, 10).cells
    equations = []
    for axis in (0, 1):
        for line in range(2):
            place = np.s_[line, :] if axis else np.s_[:, line]
            unknown = np.zeros((2, 2))
            unknown[place] = hidden[place]
            shown = counts[place][~hidden[place]].sum()
            equations.append((unknown.reshape(-1).tolist(), float(counts[place].sum() - shown)))
    low, high = range_of(equations, 0)
    assert low < 4 < high
    assert high - low >= 10


def test_withholding_only_the_small_cell_is_caught_before_release() -> None:
    """A node that trusts another's suppression still looks: 50 − 46 = 4."""
    result = {
        "kind": "table",
        "n": 200,
        "n_dropped": 0,
        "cell_scope": "pooled",
        "notes": [],
        "suppressed": ["counts.0.0"],
        "counts": [[None, 46], [60, 90]],
        "row_totals": [50, 150],
        "column_totals": [64, 136],
    }
    with pytest.raises(RefusedError, match="pin down"):
        audit_result(result, "table", Limits(cell_scope="pooled"))


def test_a_table_and_the_margins_that_describe_shows() -> None:
    """describe gives level counts, which are the table's margins: hiding margins in the table alone protects nobody.

    So the choice of cells is made as if all margins were known, and small margins are small level counts in both.
    """
    counts = np.array([[3, 50], [40, 70], [4, 80]])
    found = protect(counts, 10)
    assert not found.rows.any()
    assert not found.columns.any()
    equations = []
    for axis in (0, 1):
        for line in range(counts.shape[1 - axis]):
            place = np.s_[line, :] if axis else np.s_[:, line]
            unknown = np.zeros(counts.shape)
            unknown[place] = found.cells[place]
            equations.append((unknown.reshape(-1).tolist(), float((counts[place] * found.cells[place]).sum())))
    for row in (0, 2):
        low, high = range_of(equations, row * 2)
        assert low < counts[row, 0] < high
        assert high - low >= 10


def test_a_curve_gives_no_count_below_the_minimum_back() -> None:
    """d(t) = n(t) · (1 − S(t)/S(t−1)): rebuilt from the merged curve, every count is one that may be shown."""
    draw = np.random.default_rng(11)  # noqa: TID251
    events, censored = draw.integers(0, 4, (60, 2)), draw.integers(0, 3, (60, 2))
    assert ((events > 0) & (events < 10)).any()
    ends = merge_intervals(events, censored, 10)
    died, left = merged_counts(events, ends), merged_counts(censored, ends)
    gone = died + left
    for group in range(2):
        risk = gone[:, group].sum() - np.cumsum(gone[:, group]) + gone[:, group]
        survival = np.cumprod(1 - died[:, group] / risk)
        rebuilt = risk * (1 - survival / np.concatenate([[1.0], survival[:-1]]))
        assert np.allclose(rebuilt[np.isfinite(rebuilt)], died[:, group][np.isfinite(rebuilt)])
        assert (np.rint(rebuilt[np.isfinite(rebuilt)]) >= 10).all()
        leavers = risk[:-1] - rebuilt[:-1] - risk[1:]
        assert all(count < 0.5 or count > 9.5 for count in leavers)


def test_a_finer_curve_with_withheld_counts_is_caught_before_release() -> None:
    survival = [0.98, 0.9]
    flat = {"all": [0.1, 0.1]}
    result = {
        "kind": "kaplan_meier",
        "n": 200,
        "n_dropped": 0,
        "cell_scope": "pooled",
        "notes": [],
        "time": [1, 2],
        "survival": {"all": survival},
        **dict.fromkeys(("se", "ci_lower", "ci_upper"), flat),
        "at_risk": {"all": [200, 196]},
        "events": {"all": [None, 16]},
        "censored": {"all": [0, 180]},
        "suppressed": ["events.all.0"],
    }
    with pytest.raises(RefusedError, match="survival"):
        audit_result(result, "kaplan_meier", Limits(cell_scope="pooled"))
