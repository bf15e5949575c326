"""Logistic and Poisson regression over four holders against statsmodels on the pooled rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
import statsmodels.formula.api as smf

from tests.support.closeness import same_coefficients, same_covariance, same_statistic
from tests.support.federated import Way, federation, run
from tests.support.frames import ACTG175, GBSG2, RANDHIE, actg175, chosen, gbsg2, randhie
from xbcompute.analyses import build
from xbcompute.core.schema import Column, Limits
from xbcompute.specs.analysis import Logistic, Poisson

Case = tuple[pd.DataFrame, dict[str, Column], str, tuple[str, ...]]
CASES: dict[str, Case] = {
    "gbsg2": (
        gbsg2(),
        chosen(GBSG2, "horTh", "age", "tsize", "tgrade", "pnodes", "cens"),
        "cens",
        ("horTh", "age", "tsize", "tgrade", "pnodes", "age:horTh"),
    ),
    "gbsg2 with very wide bounds": (
        gbsg2(),
        chosen(GBSG2, "horTh", "age", "progrec", "cens") | {"age": Column("age", "number", 0, 200)},
        "cens",
        ("age", "progrec", "horTh", "age:progrec"),
    ),
    "actg175": (
        actg175(),
        chosen(ACTG175, "age", "wtkg", "karnof", "drugs", "gender", "cd40", "cd80", "arms", "cens"),
        "cens",
        ("age", "wtkg", "karnof", "drugs", "gender", "cd40", "cd80", "arms", "gender:arms", "age:cd40"),
    ),
    "actg175 complete cases": (
        actg175(),
        chosen(ACTG175, "age", "arms", "cd420", "cd496", "cens"),
        "cens",
        ("age", "arms", "cd420", "cd496"),
    ),
    "randhie": (
        randhie(),
        chosen(RANDHIE, "seen", "lncoins", "idp", "lpi", "fmde", "physlm", "disea", "hlthg", "hlthf", "hlthp"),
        "seen",
        ("lncoins", "idp", "lpi", "fmde", "physlm", "disea", "hlthg", "hlthf", "hlthp"),
    ),
}


def pooled(frame: pd.DataFrame, outcome: str, covariates: tuple[str, ...], family: str, **options: Any) -> Any:
    """statsmodels' fit, converged to the last digits."""
    model = {"logistic": smf.logit, "poisson": smf.poisson}[family]
    fit = model(f"{outcome} ~ {' + '.join(covariates)}", frame, **options)
    first = fit.fit(method="newton", tol=1e-10, maxiter=200, disp=0)
    return fit.fit(start_params=first.params, method="newton", tol=1e-14, maxiter=20, disp=0, warn_convergence=False)


@pytest.mark.parametrize("way", ["exact", "fixed"])
@pytest.mark.parametrize("case", CASES)
def test_logistic_equals_the_pooled_fit(case: str, way: Way) -> None:
    frame, columns, outcome, covariates = CASES[case]
    complete = frame[list(columns)].dropna()
    fed = federation(frame, columns)
    spec = Logistic(id="l", kind="logistic", outcome=outcome, covariates=covariates)
    done = run(build(spec, fed.schema), fed, way=way)
    theirs = pooled(complete, outcome, covariates, "logistic")
    ours = done.result
    assert (ours["n"], ours["n_dropped"]) == (len(complete), len(frame) - len(complete))
    same_coefficients(ours, theirs.params, theirs.bse)
    same_covariance(ours, theirs.cov_params(), list(theirs.params.index))
    same_statistic(ours["loglik"], theirs.llf)
    same_statistic(ours["aic"], theirs.aic)
    assert ours["df_resid"] == theirs.df_resid
    share = complete[outcome].mean()
    null = len(complete) * (share * np.log(share) + (1 - share) * np.log(1 - share))
    same_statistic(ours["loglik_null"], null)
    same_statistic(ours["lr"]["statistic"], 2 * (theirs.llf - null))
    assert ours["lr"]["df"] == theirs.df_model
    low, high = theirs.conf_int().T.to_numpy()
    for index, name in enumerate(theirs.params.index):
        same_statistic(ours["ci_lower"][name], low[index])
        same_statistic(ours["exp_ci_upper"][name], np.exp(high[index]))
        assert ours["p"][name] == pytest.approx(theirs.pvalues[name], rel=1e-6, abs=1e-300)


@pytest.mark.parametrize("way", ["clear", "masked"])
def test_the_engines_give_the_same_fit(way: Way) -> None:
    frame, columns, outcome, covariates = CASES["gbsg2"]
    fed = federation(frame, columns)
    spec = Logistic(id="l", kind="logistic", outcome=outcome, covariates=covariates)
    theirs = pooled(frame, outcome, covariates, "logistic")
    same_coefficients(run(build(spec, fed.schema), fed, way=way).result, theirs.params, theirs.bse)


def test_gbsg2_opens_fewer_scalars_than_a_jurisdiction_has_rows() -> None:
    frame, columns, outcome, covariates = CASES["gbsg2"]
    limits = Limits(cell_min=10, cell_scope="pooled")
    fed = federation(frame, columns, limits=limits, rows_max=200, rows_min=150)
    spec = Logistic(id="l", kind="logistic", outcome=outcome, covariates=covariates)
    done = run(build(spec, fed.schema), fed)
    assert len(done.result["names"]) == 8
    assert done.scalars("model") <= 300


@pytest.mark.parametrize("kind", ["hc0", "hc1"])
def test_robust_standard_errors(kind: str) -> None:
    frame, columns, outcome, covariates = CASES["gbsg2"]
    fed = federation(frame, columns)
    spec = Logistic.model_validate(
        {"id": "l", "kind": "logistic", "outcome": outcome, "covariates": covariates, "robust": kind}
    )
    ours = run(build(spec, fed.schema), fed, way="fixed").result
    theirs = smf.logit(f"{outcome} ~ {' + '.join(covariates)}", frame).fit(
        method="newton", tol=1e-12, disp=0, cov_type="HC0"
    )
    # statsmodels leaves n / (n − q) out of HC1 for maximum-likelihood models.
    factor = np.sqrt(len(frame) / (len(frame) - len(theirs.params))) if kind == "hc1" else 1.0
    for name, se in theirs.bse.items():
        assert ours["robust"]["se"][name] == pytest.approx(se * factor, rel=1e-6)
        same_statistic(ours["robust"]["z"][name], theirs.params[name] / (se * factor))


def test_an_offset_shifts_the_predictor() -> None:
    frame = gbsg2().assign(shift=lambda d: d["tsize"] / 30 - 1)
    columns = chosen(GBSG2, "age", "horTh", "cens") | {"shift": Column("shift", "number", -2, 8)}
    fed = federation(frame, columns)
    spec = Logistic(id="l", kind="logistic", outcome="cens", covariates=("age", "horTh"), offset="shift")
    ours = run(build(spec, fed.schema), fed, way="fixed").result
    binomial = sm.families.Binomial()
    theirs = smf.glm("cens ~ age + horTh", frame, family=binomial, offset=frame["shift"]).fit(tol=1e-14)
    null = smf.glm("cens ~ 1", frame, family=binomial, offset=frame["shift"]).fit(tol=1e-14)
    same_coefficients(ours, theirs.params, theirs.bse)
    same_statistic(ours["loglik"], theirs.llf)
    same_statistic(ours["loglik_null"], null.llf)


@pytest.mark.parametrize("way", ["exact", "fixed"])
def test_poisson_equals_the_pooled_fit(way: Way) -> None:
    names = ("lncoins", "idp", "lpi", "fmde", "physlm", "disea", "hlthg", "hlthf", "hlthp")
    fed = federation(randhie(), chosen(RANDHIE, "mdvis", *names))
    ours = run(
        build(Poisson(id="p", kind="poisson", outcome="mdvis", covariates=names), fed.schema), fed, way=way
    ).result
    theirs = pooled(randhie(), "mdvis", names, "poisson")
    same_coefficients(ours, theirs.params, theirs.bse)
    same_statistic(ours["loglik"], theirs.llf)
    same_statistic(ours["aic"], theirs.aic)
    same_statistic(ours["loglik_null"], smf.poisson("mdvis ~ 1", randhie()).fit(disp=0, tol=1e-12).llf)


def test_poisson_with_exposure_and_offset() -> None:
    frame = randhie()[:3000].assign(shift=lambda d: d["disea"] / 100)
    columns = chosen(RANDHIE, "mdvis", "lncoins", "physlm", "years") | {"shift": Column("shift", "number", 0, 1)}
    fed = federation(frame, columns)
    spec = Poisson(
        id="p", kind="poisson", outcome="mdvis", covariates=("lncoins", "physlm"), exposure="years", offset="shift"
    )
    ours = run(build(spec, fed.schema), fed, way="fixed").result
    options = {"exposure": frame["years"], "offset": frame["shift"]}
    theirs = pooled(frame, "mdvis", ("lncoins", "physlm"), "poisson", **options)
    same_coefficients(ours, theirs.params, theirs.bse)
    same_statistic(ours["loglik"], theirs.llf)
    same_statistic(ours["loglik_null"], smf.poisson("mdvis ~ 1", frame, **options).fit(disp=0, tol=1e-12).llf)
