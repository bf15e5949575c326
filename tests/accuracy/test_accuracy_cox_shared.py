"""Cox models whose sites share one baseline equal lifelines and statsmodels on pooled rows at the grid's times."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from lifelines.statistics import proportional_hazard_test
from statsmodels.duration.hazard_regression import PHReg

from tests.support.federated import OPEN, Way, codes, federation, run
from tests.support.survival import actg175, cox_spec
from xbcompute.analyses.cox import Cox
from xbcompute.analyses.design import build_design
from xbcompute.core.schema import Limits

UNIT = 125.0
COVARIATES = ("arms", "age", "cd40", "symptom")


def _data(strata: tuple[str, ...]) -> tuple[pd.DataFrame, Any, pd.DataFrame, Any]:
    frame, columns = actg175()
    design = build_design(COVARIATES, columns)
    x = design.matrix({name: codes(frame[name], columns[name]) for name in design.uses})
    pooled = pd.DataFrame(x, columns=list(design.names))
    pooled = (pooled - pooled.mean()) / pooled.std()
    stratum = codes(frame["history"], columns["history"]) if strata else np.zeros(len(frame), dtype=int)
    return frame, columns, pooled, (stratum, pd.DataFrame(x).std().to_numpy())


@pytest.mark.parametrize("strata", [(), ("history",)])
@pytest.mark.parametrize("way", ["exact", "fixed"])
def test_efron_fit_is_that_of_lifelines(strata: tuple[str, ...], way: Way) -> None:
    frame, columns, pooled, (stratum, scale) = _data(strata)
    holders = federation(frame, columns, limits=OPEN)
    spec = cox_spec(COVARIATES, time="days", event="cens", baseline="shared", unit=UNIT, strata=strata)
    ours = run(Cox(spec, holders.schema), holders, way=way).result
    rows = pooled.assign(time=np.ceil(frame["days"] / UNIT) * UNIT, event=frame["cens"] == "failed", stratum=stratum)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitter = CoxPHFitter().fit(
            rows, "time", "event", strata="stratum", fit_options={"precision": 1e-22, "r_precision": 0.0}
        )
        ph = proportional_hazard_test(fitter, rows, time_transform="log").summary
    for index, name in enumerate(ours["names"]):
        se = fitter.standard_errors_[name] / scale[index]
        value = fitter.params_[name] / scale[index]
        assert abs(ours["coef"][name] - value) <= 1e-8 * max(abs(value), se)
        assert ours["se"][name] == pytest.approx(se, rel=1e-6)
        statistic = ph.loc[name, "test_statistic"]
        assert abs(ours["ph_test"][name]["statistic"] - statistic) <= 1e-8 * max(statistic, 1)
    assert ours["loglik"] == pytest.approx(fitter.log_likelihood_, rel=1e-10)
    assert ours["loglik_null"] == pytest.approx(fitter._ll_null_, rel=1e-10)
    assert ours["heterogeneity"] is None
    assert any("share one baseline" in note for note in ours["notes"])


def test_breslow_fit_is_that_of_statsmodels() -> None:
    frame, columns, pooled, (_, scale) = _data(())
    holders = federation(frame, columns, limits=OPEN)
    spec = cox_spec(COVARIATES, time="days", event="cens", baseline="shared", unit=UNIT, ties="breslow")
    ours = run(Cox(spec, holders.schema), holders).result
    time = np.ceil(frame["days"] / UNIT) * UNIT
    model = PHReg(time, pooled.to_numpy(), status=(frame["cens"] == "failed").astype(int), ties="breslow")
    beta = np.zeros(pooled.shape[1])
    for _ in range(12):
        beta = beta - np.linalg.solve(model.hessian(beta), model.score(beta))
    se = np.sqrt(np.diag(np.linalg.inv(-model.hessian(beta)))) / scale
    for index, name in enumerate(ours["names"]):
        value = beta[index] / scale[index]
        assert abs(ours["coef"][name] - value) <= 1e-8 * max(abs(value), se[index])
        assert ours["se"][name] == pytest.approx(se[index], rel=1e-6)
    assert ours["loglik"] == pytest.approx(model.loglike(beta), rel=1e-10)


def test_a_coarse_grid_and_one_covariate_pass_the_rules() -> None:
    frame, columns, *_ = _data(())
    holders = federation(frame, columns, limits=Limits(cell_min=10, cell_scope="pooled"))
    spec = cox_spec(("symptom",), time="days", event="cens", baseline="shared", unit=300.0)
    assert run(Cox(spec, holders.schema), holders).result["converged"]
