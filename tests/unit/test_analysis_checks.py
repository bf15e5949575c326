"""Regressions, descriptions and tables pass every output check on the demonstration's data, as a node runs them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.federated import federation, run
from tests.support.frames import GBSG2, chosen, gbsg2
from xbcompute.analyses import build
from xbcompute.core.errors import RefusedError
from xbcompute.core.schema import Limits
from xbcompute.disclosure.release import SessionChecks, audit_result
from xbcompute.engines.base import Done
from xbcompute.engines.clear import sum_contributions
from xbcompute.specs.analysis import AnalysisSpec, Describe, Linear, Logistic, Table

COVARIATES = ("horTh", "age", "tsize", "tgrade", "pnodes", "age:horTh")
SPECS: dict[str, AnalysisSpec] = {
    "logistic": Logistic(id="a", kind="logistic", outcome="cens", covariates=COVARIATES),
    "linear": Linear(id="a", kind="linear", outcome="time", covariates=COVARIATES, robust="hc1"),
    "describe": Describe(id="a", kind="describe", columns=("age", "tgrade", "pnodes"), by="horTh", quantiles=(0.5,)),
    "table": Table(id="a", kind="table", rows="tgrade", columns="horTh"),
}
LIMITS = Limits(cell_min=10, cell_scope="pooled")


def checked(spec: AnalysisSpec, rows_min: int) -> dict[str, Any]:
    """The result, with the three moments of output checking at the first holder."""
    columns = {name: GBSG2[name] for name in spec.columns_used()}
    fed = federation(gbsg2(), columns, limits=LIMITS, rows_max=200, rows_min=rows_min)
    analysis, checks = build(spec, fed.schema), SessionChecks(fed.schema, fed.schema.holders[0].party)
    state = analysis.start(fed.schema)
    for _ in range(60):
        layout = analysis.layout(state)
        parts = [analysis.local(rows, state) for rows in fed.rows]
        checks.contribution("a", layout, parts[0])
        total = sum_contributions(layout, parts)
        checks.total("a", layout, total)
        state = analysis.combine(total, state)
        if isinstance(state, Done):
            audit_result(state.result, spec.kind, LIMITS)
            return dict(state.result)
    raise AssertionError("the analysis did not end")


@pytest.mark.parametrize("kind", SPECS)
def test_the_demonstrations_data_pass(kind: str) -> None:
    result = checked(SPECS[kind], rows_min=150)
    assert result["kind"] == kind
    assert result["n"] == 686
    assert result["suppressed"] == []


@pytest.mark.parametrize("kind", ["logistic", "linear"])
def test_more_scalars_than_rows_are_refused(kind: str) -> None:
    with pytest.raises(RefusedError) as caught:
        checked(SPECS[kind], rows_min=40)
    assert caught.value.code == "model.scalars"


def test_withheld_groups_levels_and_cells_pass_the_audit() -> None:
    frame = gbsg2().copy()
    rare = np.flatnonzero(frame["tgrade"] == "I")[9:]
    frame.loc[rare, "tgrade"] = "II"
    columns = chosen(GBSG2, "age", "tgrade", "horTh")
    fed = federation(frame, columns, limits=LIMITS)
    for spec in (
        Table(id="a", kind="table", rows="tgrade", columns="horTh"),
        Describe(id="a", kind="describe", columns=("age", "horTh"), by="tgrade", quantiles=(0.25,)),
        Describe(id="a", kind="describe", columns=("age", "tgrade"), by="horTh"),
    ):
        result = run(build(spec, fed.schema), fed).result
        assert result["suppressed"]
        audit_result(result, spec.kind, LIMITS)
