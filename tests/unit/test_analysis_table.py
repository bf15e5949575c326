"""Contingency tables: counts, margins, withheld cells, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support.federated import OPEN, category, federation, number, run
from xbcompute.analyses import build
from xbcompute.core.errors import InputError, RefusedError
from xbcompute.core.schema import Limits
from xbcompute.specs.analysis import Table

COLUMNS = {"g": category("g", "a", "b", "c"), "h": category("h", "no", "yes", "unknown")}
SPEC = Table(id="t", kind="table", rows="g", columns="h")
RULES = Limits(cell_min=10, cell_scope="pooled")


def frame(counts: list[list[int]]) -> pd.DataFrame:
    rows = [
        (g, h)
        for g, line in zip("abc", counts, strict=True)
        for h, count in zip(("no", "yes", "unknown"), line, strict=True)
        for _ in range(count)
    ]
    return pd.DataFrame(rows, columns=["g", "h"])


def table(counts: list[list[int]], limits: Limits = RULES) -> dict[str, Any]:
    fed = federation(frame(counts), COLUMNS, limits=limits)
    return dict(run(build(SPEC, fed.schema), fed).result)


def test_counts_and_margins() -> None:
    counts = [[40, 30, 20], [25, 35, 45], [50, 15, 10]]
    result = table(counts)
    assert result["counts"] == counts
    assert (result["rows"], result["columns"]) == (["a", "b", "c"], ["no", "yes", "unknown"])
    assert (result["row_totals"], result["column_totals"], result["n"]) == ([90, 105, 75], [115, 80, 75], 270)
    assert (result["kind"], result["n_dropped"], result["suppressed"]) == ("table", 0, [])
    assert set(result["chi2"]) == {"statistic", "df", "p"}


def test_a_cell_of_nine_is_withheld_with_others_and_takes_chi_square_along() -> None:
    result = table([[40, 30, 20], [25, 35, 45], [50, 15, 9]])
    assert result["counts"][2][2] is None
    withheld = [path for path in result["suppressed"] if path.startswith("counts.")]
    assert "counts.2.2" in withheld
    assert len(withheld) >= 4
    for path in withheld:
        _, row, column = path.split(".")
        assert result["counts"][int(row)][int(column)] is None
    assert sum(cell is None for line in result["counts"] for cell in line) == len(withheld)
    assert "chi2" not in result
    assert any("chi-square" in note for note in result["notes"])


def test_a_cell_of_ten_is_shown() -> None:
    assert table([[40, 30, 20], [25, 35, 45], [50, 15, 10]])["counts"][2][2] == 10


def test_a_cell_of_zero_is_shown() -> None:
    result = table([[40, 30, 20], [25, 35, 45], [50, 15, 0]])
    assert result["counts"][2][2] == 0
    assert result["suppressed"] == []


def test_a_table_that_no_withholding_protects_is_refused() -> None:
    with pytest.raises(RefusedError) as caught:
        table([[2, 0, 1], [0, 1, 0], [1, 0, 2]])
    assert caught.value.code == "disclosure.table"


@pytest.mark.parametrize(
    ("counts", "named"), [([[40, 30, 0], [25, 35, 0], [50, 15, 0]], "h"), ([[4, 3, 9], [0, 0, 0], [5, 1, 1]], "g")]
)
def test_a_level_without_rows_is_named(counts: list[list[int]], named: str) -> None:
    with pytest.raises(InputError, match=f"column {named}") as caught:
        table(counts)
    assert caught.value.code == "table.empty_level"


def test_distinct_subjects_are_counted_and_chi_square_left_out() -> None:
    data = frame([[40, 30, 20], [25, 35, 45], [50, 15, 10]]).assign(pid=lambda d: d.index % 60)
    fed = federation(data, COLUMNS, subject="pid", owner=(data["pid"] % 4).to_numpy(), limits=OPEN)
    result = run(build(SPEC, fed.schema), fed).result
    distinct = data.groupby(["g", "h"])["pid"].nunique().unstack()[["no", "yes", "unknown"]]
    assert result["counts"] == distinct.to_numpy().tolist()
    assert result["row_totals"] == data.groupby("g")["pid"].nunique().tolist()
    assert result["n"] == 60
    assert "chi2" not in result


def test_dropped_rows_are_counted() -> None:
    data = frame([[40, 30, 20], [25, 35, 45], [50, 15, 10]])
    data.loc[:11, "h"] = np.nan
    fed = federation(data, COLUMNS, limits=RULES)
    assert run(build(SPEC, fed.schema), fed, way="masked").result["n_dropped"] == 12


@pytest.mark.parametrize("keys", [{"rows": "x"}, {"columns": "one"}, {"rows": "h"}, {"rows": "nowhere"}])
def test_only_two_different_categories_are_crossed(keys: dict[str, str]) -> None:
    schema = federation(frame([[9, 9, 9]] * 3), COLUMNS).schema
    columns = {**schema.columns, "x": number("x", 0, 1), "one": category("one", "a")}
    with pytest.raises(InputError) as caught:
        build(SPEC.model_copy(update=keys), schema.__class__(columns, schema.holders, schema.limits))
    assert caught.value.code in ("table.column", "design.column")
