"""Survival analyses under the limits of the demo: what output checking says of each round and of the result."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.federated import Federation, federation
from tests.support.survival import cox_spec, gbsg2, km_spec
from xbcompute.analyses import build
from xbcompute.core.errors import RefusedError
from xbcompute.core.schema import Limits
from xbcompute.disclosure.release import SessionChecks, audit_result
from xbcompute.engines.base import Done
from xbcompute.engines.clear import sum_contributions
from xbcompute.specs.analysis import Cox, KaplanMeier

COVARIATES = ("horTh", "age", "tsize", "tgrade", "log_nodes", "age:horTh")


def _holders(limits: Limits, rows_min: int = 150) -> Federation:
    frame, columns = gbsg2()
    return federation(frame, columns, limits=limits, rows_max=200, rows_min=rows_min)


def _checked(spec: KaplanMeier | Cox, holders: Federation) -> tuple[dict[str, Any], int]:
    """The result, and the model scalars opened, with every check that a node makes."""
    checks = [SessionChecks(holders.schema, holder.party) for holder in holders.schema.holders]
    analysis = build(spec, holders.schema)
    state = analysis.start(holders.schema)
    while True:
        layout = analysis.layout(state)
        parts = [analysis.local(rows, state) for rows in holders.rows]
        for check, part in zip(checks, parts, strict=True):
            check.contribution(spec.id, layout, part)
        total = sum_contributions(layout, parts)
        for check in checks:
            check.total(spec.id, layout, total)
        state = analysis.combine(total, state)
        if isinstance(state, Done):
            audit_result(state.result, spec.kind, holders.schema.limits)
            return dict(state.result), checks[0].opened


def test_the_demos_model_and_curves_pass_every_check() -> None:
    holders = _holders(Limits(cell_min=10, cell_scope="pooled"))
    model, opened = _checked(cox_spec(COVARIATES, event="cens"), holders)
    assert len(model["names"]) == 7
    assert opened <= 300  # two holders of a jurisdiction with rows_min 150 each
    curves, opened = _checked(km_spec(event="cens", by="horTh", unit=180.0), holders)
    assert opened == 0
    assert len(curves["time"]) >= 4


def test_without_the_merging_rule_fine_curves_are_open() -> None:
    holders = _holders(Limits(cell_min=1, cell_scope="pooled", model_rules=False))
    curves, _ = _checked(km_spec(event="cens", by="horTh", unit=30.0), holders)
    assert len(curves["time"]) == 101


def test_more_model_scalars_than_rows_are_refused_before_they_are_opened() -> None:
    with pytest.raises(RefusedError) as caught:
        _checked(cox_spec(COVARIATES, event="cens"), _holders(Limits(cell_min=10, cell_scope="pooled"), rows_min=60))
    assert caught.value.code == "model.scalars"


def test_small_cells_of_a_holder_are_refused_under_holder_scope() -> None:
    with pytest.raises(RefusedError) as caught:
        _checked(km_spec(event="cens", by="horTh", unit=180.0), _holders(Limits(cell_min=10, cell_scope="holder")))
    assert caught.value.code == "disclosure.cell"


def test_a_level_with_few_events_is_refused() -> None:
    frame, columns = gbsg2()
    rare = (frame["tgrade"] == "I") & (frame["cens"] == 1)
    frame.loc[np.flatnonzero(rare)[9:], "cens"] = 0
    holders = federation(frame, columns, limits=Limits(cell_min=10, cell_scope="pooled"), rows_max=200, rows_min=150)
    with pytest.raises(RefusedError) as caught:
        _checked(cox_spec(COVARIATES, event="cens"), holders)
    assert caught.value.code == "model.cells"
    assert "tgrade" in caught.value.text


def test_too_few_rows_for_the_coefficients_are_refused() -> None:
    frame, columns = gbsg2()
    holders = federation(frame.iloc[:80], columns, limits=Limits(cell_min=1, cell_scope="pooled"), rows_max=200)
    with pytest.raises(RefusedError) as caught:
        _checked(cox_spec(COVARIATES, event="cens"), holders)
    assert caught.value.code == "model.rows_holder"


def test_a_curve_with_fewer_events_than_the_minimum_is_refused() -> None:
    frame, columns = gbsg2()
    frame.loc[frame["horTh"] == "yes", "cens"] = 0
    holders = federation(frame, columns, limits=Limits(cell_min=10, cell_scope="pooled"))
    with pytest.raises(RefusedError) as caught:
        _checked(km_spec(event="cens", by="horTh", unit=180.0), holders)
    assert caught.value.code == "disclosure.events"
