"""Cox models over holders equal lifelines (Efron) and statsmodels (Breslow) fitted on the pooled rows by site."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter
from lifelines.statistics import proportional_hazard_test
from numpy.typing import NDArray
from statsmodels.duration.hazard_regression import PHReg

from tests.support.federated import Federation, Way, codes, federation, run
from tests.support.survival import actg175, cox_spec, gbsg2, lung, partial_likelihood_by_definition
from xbcompute.analyses.cox import Cox
from xbcompute.analyses.design import build_design
from xbcompute.core.schema import Column
from xbcompute.specs.analysis import Cox as CoxSpec


@dataclass(frozen=True)
class Case:
    """A study's data, pooled and federated; ``strata`` is site and further strata in one code."""

    spec: CoxSpec
    federation: Federation
    time: NDArray[Any]
    event: NDArray[Any]
    x: pd.DataFrame
    strata: NDArray[Any]
    site: NDArray[Any]


def _case(spec: CoxSpec, frame: pd.DataFrame, columns: dict[str, Column], owner: NDArray[Any], event: str) -> Case:
    kept = frame[list(columns)].notna().all(axis=1).to_numpy()
    rows, site = frame[kept], owner[kept]
    design = build_design(spec.covariates, columns, spec.reference)
    x = design.matrix({name: codes(rows[name], columns[name]) for name in design.uses})
    strata = site * 100
    for name in spec.strata:
        strata = strata * 10 + codes(rows[name], columns[name])
    return Case(
        spec,
        federation(frame, columns, owner=owner),
        rows[spec.time].to_numpy(dtype=float),
        (rows[spec.event].astype(str) == event).to_numpy(),
        pd.DataFrame(x, columns=list(design.names)),
        strata,
        site,
    )


def _cases() -> dict[str, Case]:
    breast, breast_columns = gbsg2()
    lungs, lung_columns, lung_site = lung()
    aids, aids_columns = actg175()
    terms = ("horTh", "age", "tsize", "tgrade", "log_nodes", "age:horTh")
    turn = np.arange(len(breast)) % 4
    centres = np.searchsorted([300, 1200, 1900], np.arange(len(aids)))
    return {
        "gbsg2": _case(cox_spec(terms, event="cens", reference={"tgrade": "II"}), breast, breast_columns, turn, "1"),
        "lung": _case(cox_spec(("sex", "age", "ph.ecog", "wt.loss")), lungs, lung_columns, lung_site, "1"),
        "lung by sex": _case(
            cox_spec(("age", "ph.ecog", "wt.loss"), strata=("sex",)), lungs, lung_columns, lung_site, "1"
        ),
        "actg175": _case(
            cox_spec(("arms", "symptom", "age", "cd40", "karnof", "cd40:symptom"), time="days", event="cens"),
            aids,
            aids_columns,
            centres,
            "failed",
        ),
        "actg175 by history": _case(
            cox_spec(("arms", "age", "cd40"), time="days", event="cens", strata=("history", "symptom"), ci_level=0.9),
            aids,
            aids_columns,
            centres,
            "failed",
        ),
    }


CASES = _cases()


@pytest.fixture(scope="module")
def lifelines_fits() -> dict[str, Any]:
    fits = {}
    for name, case in CASES.items():
        scale = case.x.std()
        frame = (case.x - case.x.mean()) / scale
        frame = frame.assign(time=case.time, event=case.event, strata=case.strata)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitter = CoxPHFitter(alpha=1 - case.spec.ci_level).fit(
                frame, "time", "event", strata="strata", fit_options={"precision": 1e-22, "r_precision": 0.0}
            )
            fits[name] = (fitter, scale, proportional_hazard_test(fitter, frame, time_transform="log"))
    return fits


def _close(ours: float, reference: float, scale: float, tolerance: float = 1e-8) -> None:
    assert abs(ours - reference) <= tolerance * max(abs(reference), scale), (ours, reference)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("way", ["exact", "fixed"])
def test_efron_fit_is_that_of_lifelines_stratified_by_site(name: str, way: Way, lifelines_fits: dict[str, Any]) -> None:
    case = CASES[name]
    fitter, scale, ph = lifelines_fits[name]
    ours = run(Cox(case.spec, case.federation.schema), case.federation, way=way).result
    assert ours["names"] == list(case.x.columns)
    table = fitter.summary
    level = f"{case.spec.ci_level * 100:g}%"
    for column in ours["names"]:
        se = fitter.standard_errors_[column] / scale[column]
        _close(ours["coef"][column], fitter.params_[column] / scale[column], se)
        _close(ours["se"][column], se, se, 1e-6)
        _close(ours["z"][column], table.loc[column, "z"], 1)
        _close(ours["p"][column], table.loc[column, "p"], 1)
        for ours_key, theirs in (("ci_lower", f"coef lower {level}"), ("ci_upper", f"coef upper {level}")):
            _close(ours[ours_key][column], table.loc[column, theirs] / scale[column], se, 1e-7)
            _close(ours[f"exp_{ours_key}"][column], np.exp(table.loc[column, theirs] / scale[column]), 1, 1e-6)
        _close(ours["exp_coef"][column], np.exp(fitter.params_[column] / scale[column]), 1, 1e-7)
        _close(ours["ph_test"][column]["statistic"], ph.summary.loc[column, "test_statistic"], 1)
        _close(ours["ph_test"][column]["p"], ph.summary.loc[column, "p"], 1)
    inverse_scale = np.diag(1 / scale)
    cov = inverse_scale @ fitter.variance_matrix_.to_numpy() @ inverse_scale
    np.testing.assert_allclose(np.array(ours["cov"]), cov, atol=float(np.abs(cov).max()) * 1e-12, rtol=1e-6)
    _close(ours["loglik"], fitter.log_likelihood_, 1)
    _close(ours["loglik_null"], fitter._ll_null_, 1)
    _close(ours["lr"]["statistic"], fitter.log_likelihood_ratio_test().test_statistic, 1)
    _close(ours["aic"], fitter.AIC_partial_, 1)
    assert (ours["n"], ours["events"]) == (len(case.time), int(case.event.sum()))
    assert ours["lr"]["df"] == len(ours["names"])


@pytest.mark.parametrize("name", CASES)
def test_breslow_fit_is_that_of_statsmodels_stratified_by_site(name: str) -> None:
    case = CASES[name]
    scale = case.x.std().to_numpy()
    x = (case.x.to_numpy() - case.x.to_numpy().mean(axis=0)) / scale
    model = PHReg(case.time, x, status=case.event.astype(int), strata=case.strata, ties="breslow")
    beta = np.zeros(x.shape[1])
    for _ in range(12):
        beta = beta - np.linalg.solve(model.hessian(beta), model.score(beta))
    cov = np.linalg.inv(-model.hessian(beta)) / np.outer(scale, scale)
    spec = case.spec.model_copy(update={"ties": "breslow"})
    ours = run(Cox(spec, case.federation.schema), case.federation).result
    for index, column in enumerate(ours["names"]):
        se = float(np.sqrt(cov[index, index]))
        _close(ours["coef"][column], beta[index] / scale[index], se)
        _close(ours["se"][column], se, se, 1e-6)
    _close(ours["loglik"], model.loglike(beta), 1)
    _close(ours["loglik_null"], model.loglike(np.zeros_like(beta)), 1)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("ties", ["efron", "breslow"])
def test_heterogeneity_is_the_score_form_of_cochrans_q(name: str, ties: str) -> None:
    case = CASES[name]
    spec = case.spec.model_copy(update={"ties": ties})
    ours = run(Cox(spec, case.federation.schema), case.federation).result
    beta = np.array(list(ours["coef"].values()))
    x = case.x.to_numpy() - case.x.to_numpy().mean(axis=0)
    q, ranks = 0.0, 0
    for site in np.unique(case.site):
        rows = case.site == site
        _, g, information, _ = partial_likelihood_by_definition(
            case.time[rows], case.event[rows], x[rows], case.strata[rows], beta, ties
        )
        scale = 1 / np.sqrt(np.diag(information))
        inverse = np.linalg.pinv(information * np.outer(scale, scale), hermitian=True) * np.outer(scale, scale)
        q += float(g @ inverse @ g)
        ranks += int(np.linalg.matrix_rank(information * np.outer(scale, scale), hermitian=True))
    between = ours["heterogeneity"]
    assert between["df"] == ranks - len(beta)
    _close(between["Q"], q, 1, 1e-7)
    _close(between["i2"], max(0.0, 1 - between["df"] / q), 1, 1e-7)


def test_heterogeneity_is_near_cochrans_q_of_the_sites_own_fits() -> None:
    case = CASES["actg175 by history"]
    ours = run(Cox(case.spec, case.federation.schema), case.federation).result
    x = (case.x - case.x.mean()) / case.x.std()
    coefs, weights = [], []
    for site in np.unique(case.site):
        rows = case.site == site
        frame = x[rows].assign(time=case.time[rows], event=case.event[rows], strata=case.strata[rows])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fitter = CoxPHFitter().fit(frame, "time", "event", strata="strata")
        coefs.append(fitter.params_.to_numpy())
        weights.append(np.linalg.inv(fitter.variance_matrix_.to_numpy()))
    pooled = np.linalg.solve(sum(weights), sum(w @ b for w, b in zip(weights, coefs, strict=True)))
    q = sum((b - pooled) @ w @ (b - pooled) for w, b in zip(weights, coefs, strict=True))
    assert ours["heterogeneity"]["Q"] == pytest.approx(q, rel=0.1)


@pytest.mark.parametrize("way", ["clear", "masked"])
def test_engines_keep_the_tolerances(way: Way) -> None:
    case = CASES["gbsg2"]
    exact = run(Cox(case.spec, case.federation.schema), case.federation).result
    ours = run(Cox(case.spec, case.federation.schema), case.federation, way=way).result
    for column in ours["names"]:
        _close(ours["coef"][column], exact["coef"][column], exact["se"][column])
        _close(ours["se"][column], exact["se"][column], exact["se"][column], 1e-6)
        _close(ours["ph_test"][column]["statistic"], exact["ph_test"][column]["statistic"], 1)
    _close(ours["heterogeneity"]["Q"], exact["heterogeneity"]["Q"], 1)
    _close(ours["loglik"], exact["loglik"], 1)


def test_the_demos_model_opens_fewer_scalars_than_a_jurisdiction_holds_rows() -> None:
    case = CASES["gbsg2"]
    opened = run(Cox(case.spec, case.federation.schema), case.federation)
    assert opened.result["iterations"] <= 6
    assert opened.scalars("model") <= 150 + 150  # policy C4.10: the sum of the two holders' rows_min
