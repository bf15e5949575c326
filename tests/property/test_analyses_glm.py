"""Regressions over any split of any frame equal the pooled fit, in exact and in fixed-point sums."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.formula.api as smf
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.closeness import same_coefficients, same_statistic
from tests.support.federated import OPEN, category, federation, generator, number, run
from xbcompute.analyses import build
from xbcompute.analyses.corners import Corners
from xbcompute.analyses.design import build_design
from xbcompute.core.errors import InputError
from xbcompute.core.schema import Column
from xbcompute.specs.analysis import Linear, Logistic, Poisson

TERMS = ("x", "w", "g", "h", "x:w", "x:h", "w:g", "h:g", "g:x")
terms = st.lists(st.sampled_from(TERMS), min_size=1, max_size=5, unique_by=lambda term: frozenset(term.split(":")))


@st.composite
def cases(draw: st.DrawFn) -> tuple[pd.DataFrame, dict[str, Column], tuple[str, ...], Any]:
    """A frame with a true model, its columns with bounds of any width, terms, and each row's holder."""
    random = generator(draw(st.integers(0, 2**32 - 1)))
    n = draw(st.integers(120, 400))
    scale, shift = 10.0 ** draw(st.integers(-2, 3)), draw(st.sampled_from([0.0, 3.0, -5.0]))
    x = random.normal(size=n).clip(-3, 3)
    frame = pd.DataFrame(
        {
            "x": scale * (x + shift),
            "w": random.uniform(0, 5, n).round(draw(st.integers(0, 6))),
            "g": random.choice(["a", "b", "c"], n, p=[0.5, 0.3, 0.2]),
            "h": random.choice(["no", "yes"], n),
        }
    )
    eta = 0.4 * x - 0.1 * frame["w"] + 0.3 * (frame["h"] == "yes") + 0.2 * (frame["g"] == "c")
    frame["y"] = (random.uniform(size=n) < 1 / (1 + np.exp(-eta))).astype(float)
    frame["m"] = eta + random.normal(size=n) * 10.0 ** draw(st.integers(-2, 1))
    frame["k"] = random.poisson(np.exp(eta)).clip(0, 60).astype(float)
    wide = draw(st.sampled_from([1.0, 3.0, 20.0]))
    columns = {
        "x": number("x", scale * (shift - 3 * wide), scale * (shift + 3 * wide)),
        "w": number("w", 0, 5 * wide),
        "g": category("g", "a", "b", "c"),
        "h": category("h", "no", "yes"),
        "y": number("y", 0, 1),
        "m": number("m", -100 * wide, 100 * wide),
        "k": number("k", 0, 60 * wide),
    }
    missing = draw(st.integers(0, 12))
    frame.loc[random.choice(n, missing, replace=False), "w"] = np.nan
    owner = random.choice(4, n, p=draw(st.sampled_from([[0.25] * 4, [0.7, 0.1, 0.1, 0.1], [0.5, 0.5, 0.0, 0.0]])))
    return frame, columns, tuple(draw(terms)), owner


def check(case: tuple[pd.DataFrame, dict[str, Column], tuple[str, ...], Any], kind: str, way: Any) -> None:
    frame, columns, covariates, owner = case
    outcome = {"linear": "m", "logistic": "y", "poisson": "k"}[kind]
    model: Any = {"linear": Linear, "logistic": Logistic, "poisson": Poisson}[kind]
    spec = model(id="a", kind=kind, outcome=outcome, covariates=covariates)
    needed = {name: columns[name] for name in spec.columns_used()}
    try:
        build_design(covariates, needed)
    except InputError as error:
        assert error.code == "design.margin"
        return
    complete = frame[list(needed)].dropna()
    x = build_design(covariates, needed)
    fed = federation(frame, needed, owner=owner, limits=OPEN)
    try:
        result = run(build(spec, fed.schema), fed, way=way).result
    except InputError as error:
        # Interactions of wide bounds may pass the public limit of coefficients; that is an error, not a number.
        assert error.code in ("model.separable", "model.no_convergence", "model.collinear")
        assert any(name in error.text for name in (*x.names, *spec.columns_used()))
        return
    formula = f"{outcome} ~ {' + '.join(covariates)}"
    if kind == "linear":
        fit = smf.ols(formula, complete).fit()
    else:
        # Coefficients of unscaled columns lose digits in the reference itself, which therefore starts at our answer.
        start = [
            result["coef"][name]
            for name in (smf.logit if kind == "logistic" else smf.poisson)(formula, complete).exog_names
        ]
        fit = (smf.logit if kind == "logistic" else smf.poisson)(formula, complete).fit(
            start_params=start, method="newton", tol=1e-14, maxiter=3, disp=0, warn_convergence=False
        )
    assert (result["n"], result["n_dropped"]) == (len(complete), len(frame) - len(complete))
    same_coefficients(result, fit.params, fit.bse)
    same_statistic(result["loglik"], fit.llf)


@settings(deadline=None, max_examples=40)
@given(cases(), st.sampled_from(["exact", "fixed"]))
def test_linear_equals_the_pooled_fit(case: Any, way: Any) -> None:
    check(case, "linear", way)


@settings(deadline=None, max_examples=40)
@given(cases(), st.sampled_from(["exact", "fixed"]))
def test_logistic_equals_the_pooled_fit(case: Any, way: Any) -> None:
    check(case, "logistic", way)


@settings(deadline=None, max_examples=30)
@given(cases(), st.sampled_from(["exact", "fixed"]))
def test_poisson_equals_the_pooled_fit(case: Any, way: Any) -> None:
    check(case, "poisson", way)


@settings(deadline=None, max_examples=30)
@given(cases())
def test_every_design_column_stays_within_its_public_bounds(case: Any) -> None:
    frame, columns, covariates, _ = case
    fed = federation(frame, {name: columns[name] for name in ("x", "w", "g", "h")})
    try:
        design = build_design(covariates, columns)
    except InputError:
        return
    for rows in fed.rows:
        for batch in rows.batches(("x", "w", "g", "h")):
            assert np.abs(design.scaled(batch)).max(initial=0) <= 1 + 1e-12


@settings(deadline=None, max_examples=30)
@given(cases(), st.lists(st.floats(-3, 3), min_size=30, max_size=30))
def test_the_predictor_keeps_its_public_bounds_and_reaches_them_at_a_corner(case: Any, slopes: list[float]) -> None:
    _, columns, covariates, _ = case
    try:
        design = build_design(covariates, columns)
    except InputError:
        return
    gamma, centre = np.array(slopes[: len(design.columns)]), np.array(slopes[::-1][: len(design.columns)])
    low, high = Corners(design).bounds(gamma, centre)
    corners = {
        name: np.array(values)
        for name, values in zip(
            ("x", "w", "g", "h"),
            zip(
                *product(
                    (columns["x"].lower, columns["x"].upper),
                    (columns["w"].lower, columns["w"].upper),
                    range(3),
                    range(2),
                ),
                strict=True,
            ),
            strict=True,
        )
    }
    values = (design.scaled(corners) - centre) @ gamma
    np.testing.assert_allclose([low, high], [values.min(), values.max()], rtol=1e-9, atol=1e-9)
    random = generator(1)
    inside = {
        "x": random.uniform(columns["x"].lower, columns["x"].upper, 200),
        "w": random.uniform(columns["w"].lower, columns["w"].upper, 200),
        "g": random.integers(0, 3, 200),
        "h": random.integers(0, 2, 200),
    }
    eta = (design.scaled(inside) - centre) @ gamma
    assert low - 1e-9 <= eta.min()
    assert eta.max() <= high + 1e-9
