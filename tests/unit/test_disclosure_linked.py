"""Results of the analyses themselves pass the last look, and several of one study are looked at together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support.datasets import study
from tests.support.federated import category, federation, generator, number, run
from xbcompute import analyses
from xbcompute.core.errors import RefusedError
from xbcompute.core.schema import Limits
from xbcompute.disclosure.linked import audit_study
from xbcompute.disclosure.release import audit_result

POOLED = Limits(cell_min=10, cell_scope="pooled")
COLUMNS = {
    "a": category("a", "x", "y", "z"),
    "b": category("b", "u", "v"),
    "t": number("t", 0, 100),
    "e": number("e", 0, 1),
}
TABLE = {"id": "tab", "kind": "table", "rows": "a", "columns": "b"}
TURNED = {"id": "turned", "kind": "table", "rows": "b", "columns": "a"}
BY_A = {"id": "by", "kind": "describe", "columns": ["b"], "by": "a"}
BY_B = {"id": "byb", "kind": "describe", "columns": ["t"], "by": "b", "quantiles": [0.5]}
LEVELS = {"id": "lev", "kind": "describe", "columns": ["a", "b"]}
CURVES = {"id": "km", "kind": "kaplan_meier", "time": "t", "event": "e", "by": "b", "unit": 5}


def frame(cells: Any) -> pd.DataFrame:
    rows = [
        (a, b) for a, line in zip("xyz", cells, strict=True) for b, n in zip("uv", line, strict=True) for _ in range(n)
    ]
    draw = generator(5)
    made = pd.DataFrame(rows, columns=["a", "b"])
    return made.assign(t=draw.uniform(20, 100, len(made)), e=draw.integers(0, 2, len(made)))


def results(cells: Any, *asked: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    question = study(*asked)
    fed = federation(frame(cells), COLUMNS, limits=POOLED)
    return question, {spec.id: dict(run(analyses.build(spec, fed.schema), fed).result) for spec in question.analysis}


@pytest.mark.parametrize(
    "cells", [[[40, 50], [60, 70], [80, 90]], [[4, 50], [60, 70], [80, 90]], [[4, 3], [60, 70], [80, 90]]]
)
def test_what_the_analyses_make_passes(cells: Any) -> None:
    question, found = results(cells, TABLE, BY_A, BY_B, LEVELS, CURVES)
    for spec in question.analysis:
        audit_result(found[spec.id], spec.kind, POOLED)
    audit_study(question, found, POOLED)
    small = np.array(cells)[np.array(cells) < 10].size
    assert sum(value is None for line in found["tab"]["counts"] for value in line) >= 2 * min(small, 1)


def test_two_tables_that_hide_different_cells_of_the_same_columns() -> None:
    question, found = results([[4, 50], [60, 70], [80, 90]], TABLE, TURNED)
    audit_study(question, found, POOLED)
    # Another choice of cells is as safe on its own, and gives the small one away beside the first.
    turned = found["turned"]
    turned["counts"] = [[None, 60, None], [None, 70, None]]
    turned["suppressed"] = ["counts.0.0", "counts.0.2", "counts.1.0", "counts.1.2"]
    audit_result(turned, "table", POOLED)
    with pytest.raises(RefusedError) as caught:
        audit_study(question, found, POOLED)
    assert caught.value.code == "disclosure.study"
    assert "'a' and 'b'" in caught.value.text


def test_a_margin_hidden_in_one_result_and_shown_by_another() -> None:
    question, found = results([[4, 3], [60, 70], [80, 90]], TABLE, LEVELS)
    hidden = found["tab"]["row_totals"]
    assert hidden[0] is None
    assert hidden.count(None) == 2
    audit_study(question, found, POOLED)
    found["lev"]["all"]["a"]["levels"] = {"x": 7, "y": 130, "z": 170}
    with pytest.raises(RefusedError):
        audit_study(question, found, POOLED)


def test_populations_that_differ_are_not_put_together() -> None:
    question, found = results([[4, 50], [60, 70], [80, 90]], TABLE, TURNED)
    found["turned"]["counts"] = [[None, 60, None], [None, 70, None]]
    audit_study(study(TABLE, TURNED, missing="analysis"), found, POOLED)
    with pytest.raises(RefusedError):
        audit_study(question, found, POOLED)
