"""Ordinary least squares over four holders against statsmodels on the pooled rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from tests.support.closeness import same_coefficients, same_covariance, same_statistic
from tests.support.federated import Way, federation, generator, run
from tests.support.frames import ACTG175, GBSG2, actg175, chosen, gbsg2
from xbcompute.analyses import build
from xbcompute.core.schema import Column
from xbcompute.specs.analysis import Linear

Case = tuple[pd.DataFrame, dict[str, Column], str, tuple[str, ...]]
CASES: dict[str, Case] = {
    "gbsg2": (
        gbsg2(),
        chosen(GBSG2, "progrec", "horTh", "age", "tsize", "tgrade", "pnodes"),
        "progrec",
        ("horTh", "age", "tsize", "tgrade", "pnodes", "age:horTh", "tgrade:horTh"),
    ),
    "actg175": (
        actg175(),
        chosen(ACTG175, "cd496", "age", "wtkg", "arms", "gender", "cd40", "cd420", "cd80"),
        "cd496",
        ("age", "wtkg", "arms", "gender", "cd40", "cd420", "cd80", "cd40:cd420", "arms:cd40"),
    ),
}


@pytest.mark.parametrize("way", ["exact", "fixed", "masked"])
@pytest.mark.parametrize("case", CASES)
def test_linear_equals_the_pooled_fit(case: str, way: Way) -> None:
    frame, columns, outcome, covariates = CASES[case]
    complete = frame[list(columns)].dropna()
    fed = federation(frame, columns)
    spec = Linear(id="l", kind="linear", outcome=outcome, covariates=covariates)
    ours = run(build(spec, fed.schema), fed, way=way).result
    theirs = smf.ols(f"{outcome} ~ {' + '.join(covariates)}", complete).fit()
    null = smf.ols(f"{outcome} ~ 1", complete).fit()
    assert (ours["n"], ours["n_dropped"]) == (len(complete), len(frame) - len(complete))
    same_coefficients(ours, theirs.params, theirs.bse)
    same_covariance(ours, theirs.cov_params(), list(theirs.params.index))
    for key, value in {
        "loglik": theirs.llf,
        "loglik_null": null.llf,
        "aic": theirs.aic,
        "r_squared": theirs.rsquared,
        "sigma": np.sqrt(theirs.scale),
    }.items():
        same_statistic(ours[key], value, key)
    same_statistic(ours["lr"]["statistic"], 2 * (theirs.llf - null.llf))
    assert ours["df_resid"] == theirs.df_resid
    low, high = theirs.conf_int().T.to_numpy()
    for index, name in enumerate(theirs.params.index):
        assert abs(ours["ci_lower"][name] - low[index]) <= 1e-8 * max(abs(low[index]), theirs.bse.iloc[index])
        assert abs(ours["ci_upper"][name] - high[index]) <= 1e-8 * max(abs(high[index]), theirs.bse.iloc[index])
        assert ours["p"][name] == pytest.approx(theirs.pvalues.iloc[index], rel=1e-6, abs=1e-300)


@pytest.mark.parametrize("kind", ["hc0", "hc1"])
def test_robust_standard_errors(kind: str) -> None:
    frame, columns, outcome, covariates = CASES["gbsg2"]
    fed = federation(frame, columns)
    spec = Linear.model_validate(
        {"id": "l", "kind": "linear", "outcome": outcome, "covariates": covariates, "robust": kind}
    )
    ours = run(build(spec, fed.schema), fed, way="fixed").result
    theirs = smf.ols(f"{outcome} ~ {' + '.join(covariates)}", frame).fit(cov_type=kind.upper())
    for name, se in theirs.bse.items():
        assert ours["robust"]["se"][name] == pytest.approx(se, rel=1e-6)
        same_statistic(ours["robust"]["z"][name], theirs.tvalues[name])
        assert ours["robust"]["p"][name] == pytest.approx(theirs.pvalues[name], rel=1e-6, abs=1e-300)


def test_an_offset_is_taken_from_the_outcome() -> None:
    frame, columns = gbsg2(), chosen(GBSG2, "time", "age", "horTh", "tsize")
    fed = federation(frame, columns)
    spec = Linear(id="l", kind="linear", outcome="time", covariates=("age", "horTh"), offset="tsize")
    ours = run(build(spec, fed.schema), fed).result
    theirs = smf.ols("I(time - tsize) ~ age + horTh", frame).fit()
    same_coefficients(ours, theirs.params, theirs.bse)


@pytest.mark.parametrize("way", ["exact", "fixed"])
def test_a_close_fit_with_correlated_columns_keeps_its_digits(way: Way) -> None:
    random = generator(3)
    a = random.uniform(1000, 1010, 800)
    b = a + random.normal(0, 0.01, 800).clip(-0.5, 0.5)
    frame = pd.DataFrame({"a": a, "b": b, "y": 3 * a - 2 * b + random.normal(0, 1e-4, 800)})
    columns = {name: Column(name, "number", low, high) for name, low, high in [("a", 900, 1100), ("b", 900, 1100)]}
    fed = federation(frame, columns | {"y": Column("y", "number", 0, 2000)})
    ours = run(
        build(Linear(id="l", kind="linear", outcome="y", covariates=("a", "b")), fed.schema), fed, way=way
    ).result
    # The reference is fitted about the means, where float64 suffices.
    centred = frame - frame.mean()
    theirs = smf.ols("y ~ a + b", centred).fit()
    for name in ("a", "b"):
        assert abs(ours["coef"][name] - theirs.params[name]) <= 1e-8 * max(abs(theirs.params[name]), theirs.bse[name])
        assert ours["se"][name] == pytest.approx(theirs.bse[name], rel=1e-6)
