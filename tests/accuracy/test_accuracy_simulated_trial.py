"""A study folder with columns, parties and conditions of its own gives the pooled answer, whatever stores the rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf
from lifelines import KaplanMeierFitter
from scipy.special import xlogy
from scipy.stats import chi2, chi2_contingency
from statsmodels.duration.hazard_regression import PHReg

from tests.support.closeness import same_coefficients, same_covariance, same_statistic
from tests.support.folders import Draft, results
from tests.support.trial import COLUMNS, DERIVE, FIVE, WHERE, chosen, cox_by_site, frame, logrank, merged

STUDY: list[dict[str, Any]] = [
    {"id": "everybody", "kind": "describe", "columns": ["age", "seen", "root", "both", "apart", "share", "log_visits"]},
    {
        "id": "by-arm",
        "kind": "describe",
        "columns": ["dose", "band", "centre"],
        "by": "treated",
        "quantiles": [0.25, 0.5, 0.75],
    },
    {"id": "bands", "kind": "table", "rows": "band", "columns": "treated"},
    {
        "id": "score",
        "kind": "linear",
        "outcome": "score",
        "covariates": ["age", "log_dose", "arm", "age:arm"],
        "robust": "hc1",
    },
    {"id": "death", "kind": "logistic", "outcome": "outcome", "covariates": ["age", "arm"], "ci_level": 0.9},
    {"id": "life", "kind": "logistic", "outcome": "outcome", "positive": "alive", "covariates": ["age", "centre"]},
    {"id": "visits", "kind": "poisson", "outcome": "visits", "covariates": ["age", "centre"], "exposure": "months"},
    {"id": "whole", "kind": "kaplan_meier", "time": "days", "event": "outcome", "unit": 50},
    {
        "id": "arms",
        "kind": "kaplan_meier",
        "time": "days",
        "event": "outcome",
        "event_value": "dead",
        "by": "treated",
        "unit": 100,
    },
]
HAZARDS: list[dict[str, Any]] = [
    {
        "id": "efron",
        "kind": "cox",
        "time": "days",
        "event": "outcome",
        "covariates": ["age", "arm", "age:centre"],
        "reference": {"arm": "drug", "centre": "y"},
    },
    {
        "id": "strata",
        "kind": "cox",
        "time": "days",
        "event": "outcome",
        "event_value": "alive",
        "covariates": ["age", "log_dose"],
        "strata": ["treated"],
    },
    {
        "id": "breslow",
        "kind": "cox",
        "time": "days",
        "event": "outcome",
        "covariates": ["age", "treated"],
        "ties": "breslow",
    },
]


def _draft(*analyses: dict[str, Any], kind: str = "csv") -> Draft:
    draft = Draft(frame(), COLUMNS, *analyses, parties=FIVE, kind=kind, where=WHERE, derive=DERIVE)
    return draft.header(lead="gamma", recipients=["beta"])


@pytest.fixture(scope="module")
def pooled() -> pd.DataFrame:
    rows = frame()
    return chosen(rows.assign(site=np.arange(len(rows)) % 5))


@pytest.fixture(scope="module")
def joint(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return results(_draft(*STUDY), tmp_path_factory.mktemp("csv") / "s")


@pytest.fixture(scope="module")
def hazards(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return results(_draft(*HAZARDS, STUDY[1], kind="parquet"), tmp_path_factory.mktemp("parquet") / "s")


def test_counts_are_of_the_complete_cases_that_meet_the_conditions(joint: dict[str, Any], pooled: pd.DataFrame) -> None:
    complete = pooled.dropna()
    assert {result["n"] for result in joint.values()} == {len(complete)}
    for result in joint.values():
        assert result["suppressed"] == [] and result["cell_scope"] == "pooled"
        assert isinstance(result["notes"], list)


def test_descriptions(joint: dict[str, Any], pooled: pd.DataFrame) -> None:
    for name, body in joint["everybody"]["all"].items():
        assert body["n"] == len(pooled)
        same_statistic(body["mean"], float(pooled[name].mean()), name)
        same_statistic(body["sd"], float(pooled[name].std()), name)
        assert not {"min", "max", "minimum", "maximum"} & set(body)
    for level, group in pooled.groupby("treated"):
        body = joint["by-arm"][level]
        same_statistic(body["dose"]["mean"], float(group["dose"].mean()))
        assert body["band"]["levels"] == group["band"].value_counts().reindex(["low", "mid", "high"]).to_dict()
        assert body["centre"]["levels"] == group["centre"].value_counts().to_dict()
        quartiles = body["dose"]["quantiles"]
        assert list(quartiles) == ["0.25", "0.5", "0.75"]
        assert np.abs(np.array([*quartiles.values()]) - group["dose"].quantile([0.25, 0.5, 0.75])).max() < 5


def test_table(joint: dict[str, Any], pooled: pd.DataFrame) -> None:
    counts = pd.crosstab(pooled["band"], pooled["treated"])
    assert joint["bands"]["rows"] == ["low", "mid", "high"]
    assert joint["bands"]["columns"] == ["no", "yes"]
    assert joint["bands"]["counts"] == counts.to_numpy().tolist()
    assert joint["bands"]["row_totals"] == counts.sum(axis=1).tolist()
    assert joint["bands"]["column_totals"] == counts.sum().tolist()
    test = chi2_contingency(counts, correction=False)
    same_statistic(joint["bands"]["chi2"]["statistic"], test.statistic)
    same_statistic(joint["bands"]["chi2"]["p"], test.pvalue)
    assert joint["bands"]["chi2"]["df"] == 2


def test_linear(joint: dict[str, Any], pooled: pd.DataFrame) -> None:
    model = smf.ols("score ~ age * C(arm, levels=['placebo', 'drug', 'both']) + log_dose", pooled).fit()
    names = [_plain(name) for name in model.params.index]
    result = joint["score"]
    same_coefficients(result, dict(zip(names, model.params, strict=True)), dict(zip(names, model.bse, strict=True)))
    same_covariance(result, model.cov_params(), names)
    same_statistic(result["loglik"], model.llf)
    same_statistic(result["aic"], model.aic)
    assert result["df_resid"] == model.df_resid
    for name, p in zip(names, model.pvalues, strict=True):
        same_statistic(result["p"][name], p)
    limits = model.conf_int().to_numpy()
    for name, (low, high) in zip(names, limits, strict=True):
        assert result["ci_lower"][name] == pytest.approx(low, abs=1e-6 * (high - low))
        assert result["ci_upper"][name] == pytest.approx(high, abs=1e-6 * (high - low))
    robust = model.get_robustcov_results("HC1")
    for name, se in zip(names, robust.bse, strict=True):
        assert result["robust"]["se"][name] == pytest.approx(se, rel=1e-6)


def test_logistic_of_a_category(joint: dict[str, Any], pooled: pd.DataFrame) -> None:
    dead = pooled.assign(y=(pooled["outcome"] == "dead").astype(float))
    model = smf.logit("y ~ age + C(arm, levels=['placebo', 'drug', 'both'])", dead).fit(disp=False, tol=1e-14)
    names = [_plain(name) for name in model.params.index]
    result = joint["death"]
    same_coefficients(result, dict(zip(names, model.params, strict=True)), dict(zip(names, model.bse, strict=True)))
    same_statistic(result["loglik"], model.llf)
    null = float(xlogy(dead["y"].sum(), dead["y"].mean()) + xlogy((1 - dead["y"]).sum(), 1 - dead["y"].mean()))
    same_statistic(result["loglik_null"], null)
    same_statistic(result["lr"]["statistic"], 2 * (model.llf - null))
    same_statistic(result["lr"]["p"], float(chi2.sf(2 * (model.llf - null), 3)))
    assert result["lr"]["df"] == 3 and result["ci_level"] == 0.9 and result["converged"] is True
    assert result["exp_coef"]["age"] == pytest.approx(np.exp(model.params["age"]), rel=1e-8)
    low, high = model.conf_int(alpha=0.1).loc["age"]
    assert result["exp_ci_lower"]["age"] == pytest.approx(np.exp(low), rel=1e-6)
    assert result["exp_ci_upper"]["age"] == pytest.approx(np.exp(high), rel=1e-6)


def test_logistic_of_the_other_level(joint: dict[str, Any], pooled: pd.DataFrame) -> None:
    alive = pooled.assign(y=(pooled["outcome"] == "alive").astype(float))
    model = smf.logit("y ~ age + centre", alive).fit(disp=False, tol=1e-14)
    same_coefficients(joint["life"], dict(model.params), dict(model.bse))


def test_poisson_with_exposure(joint: dict[str, Any], pooled: pd.DataFrame) -> None:
    model = smf.glm("visits ~ age + centre", pooled, family=sm.families.Poisson(), exposure=pooled["months"]).fit(
        tol=1e-14, maxiter=100
    )
    same_coefficients(joint["visits"], dict(model.params), dict(model.bse))
    same_statistic(joint["visits"]["loglik"], model.llf)


@pytest.mark.parametrize(("analysis", "by"), [("whole", None), ("arms", "treated")])
def test_kaplan_meier(joint: dict[str, Any], pooled: pd.DataFrame, analysis: str, by: str | None) -> None:
    result = joint[analysis]
    ends = result["time"]
    times = merged(pooled["days"], ends)
    dead = (pooled["outcome"] == "dead").to_numpy()
    groups = pooled[by].to_numpy() if by else np.full(len(pooled), "all")
    assert result["grid"]["unit"] == {"whole": 50, "arms": 100}[analysis]
    for name in np.unique(groups):
        mine = groups == name
        fit = KaplanMeierFitter().fit(times[mine], dead[mine])
        survival = fit.survival_function_at_times(ends).to_numpy()
        table = fit.event_table.reindex(ends)
        limits = fit.confidence_interval_survival_function_.reindex(ends).to_numpy()
        for curve in (result[name], {key: result[key][name] for key in result[name]}):
            assert np.abs(np.array(curve["survival"]) - survival).max() <= 1e-12
            assert curve["at_risk"] == table["at_risk"].tolist()
            assert curve["events"] == table["observed"].tolist()
            assert curve["censored"] == table["censored"].tolist()
            assert min(curve["events"]) >= 10
            assert np.abs(np.array([curve["ci_lower"], curve["ci_upper"]]).T - limits).max() <= 1e-9
            assert curve["median"] == fit.median_survival_time_
    if by is None:
        assert "logrank" not in result
    else:
        statistic, p = logrank(times, groups, dead)
        same_statistic(result["logrank"]["statistic"], statistic)
        same_statistic(result["logrank"]["p"], p)
        assert result["logrank"]["df"] == 1


def test_cox_efron_with_references_and_an_interaction(hazards: dict[str, Any], pooled: pd.DataFrame) -> None:
    x = {
        "age": pooled["age"],
        "arm[T.placebo]": (pooled["arm"] == "placebo") * 1.0,
        "arm[T.both]": (pooled["arm"] == "both") * 1.0,
        "age:centre[T.x]": pooled["age"] * (pooled["centre"] == "x"),
    }
    coef, se, fit = cox_by_site(x, pooled["days"], pooled["outcome"] == "dead", pooled["site"])
    result = hazards["efron"]
    same_coefficients(result, coef, se)
    same_covariance(result, fit.variance_matrix_, list(coef))
    same_statistic(result["loglik"], fit.log_likelihood_)
    same_statistic(result["lr"]["statistic"], fit.log_likelihood_ratio_test().test_statistic)
    assert result["events"] == int((pooled["outcome"] == "dead").sum())
    assert set(result["ph_test"]) == set(result["names"]) == set(coef)
    assert {"Q", "df", "p", "i2"} == set(result["heterogeneity"])


def test_cox_with_strata_and_another_event(hazards: dict[str, Any], pooled: pd.DataFrame) -> None:
    both = pooled["site"].astype(str) + pooled["treated"]
    x = {"age": pooled["age"], "log_dose": pooled["log_dose"]}
    coef, se, _ = cox_by_site(x, pooled["days"], pooled["outcome"] == "alive", both)
    same_coefficients(hazards["strata"], coef, se)


def test_cox_breslow(hazards: dict[str, Any], pooled: pd.DataFrame) -> None:
    x = np.column_stack([pooled["age"], (pooled["treated"] == "yes") * 1.0])
    dead = (pooled["outcome"] == "dead").to_numpy() * 1.0
    model = PHReg(pooled["days"], x, status=dead, strata=pooled["site"].to_numpy(), ties="breslow")
    fit = model.fit(method="newton", tol=1e-14, maxiter=100, disp=False)
    names = ["age", "treated[T.yes]"]
    same_coefficients(
        hazards["breslow"], dict(zip(names, fit.params, strict=True)), dict(zip(names, fit.bse, strict=True))
    )


def test_parquet_and_duckdb_give_what_csv_gives(joint: dict[str, Any], hazards: dict[str, Any], tmp_path: Path) -> None:
    stored = results(_draft(STUDY[1], STUDY[2], STUDY[4], kind="duckdb"), tmp_path / "s")
    assert _same(stored["by-arm"], joint["by-arm"]) and _same(hazards["by-arm"], joint["by-arm"])
    assert stored["bands"] == joint["bands"]
    assert _same(stored["death"]["coef"], joint["death"]["coef"])


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return list(a) == list(b) and all(_same(a[key], b[key]) for key in a)
    return a == pytest.approx(b, rel=1e-9) if isinstance(a, float) else bool(a == b)


def _plain(name: str) -> str:
    return name.replace("C(arm, levels=['placebo', 'drug', 'both'])", "arm")
