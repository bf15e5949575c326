"""Laws of the survival analyses over random rows: ties, strata, one-event sites, missing values, interactions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lifelines import KaplanMeierFitter
from lifelines.statistics import multivariate_logrank_test

from tests.support.federated import ArrayRows, Federation, category, codes, federation, generator, number, run
from tests.support.survival import cox_spec, km_spec, partial_likelihood_by_definition
from xbcompute.analyses.cox import Cox
from xbcompute.analyses.design import build_design
from xbcompute.analyses.kaplan_meier import KaplanMeier
from xbcompute.core.errors import InputError, RefusedError
from xbcompute.core.schema import Limits

COLUMNS = {
    "time": number("time", 0, 60),
    "event": number("event", 0, 1),
    "x": number("x", -6, 6),
    "y": number("y", 0, 1),
    "arm": category("arm", "a", "b"),
    "ward": category("ward", "east", "west", "none"),
}
IMPOSSIBLE = {
    "model.separable",
    "model.empty_level",
    "model.constant",
    "model.collinear",
    "cox.monotone",
    "cox.no_events",
}
SLOW = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def frames(draw: st.DrawFn) -> tuple[pd.DataFrame, Any]:
    """Rows and the site of each; small sites may have one event, one row or none."""
    rows = draw(st.integers(30, 110))
    rng = generator(draw(st.integers(0, 2**32 - 1)))
    coarse = draw(st.sampled_from([0.1, 1.0, 5.0, 20.0]))
    x, y = rng.normal(size=rows).clip(-6, 6), rng.random(rows)
    arm = rng.choice(["a", "b"], rows)
    hazard = np.exp(draw(st.floats(-1, 1)) * x + draw(st.floats(-1, 1)) * (arm == "b"))
    time = (np.ceil(rng.exponential(15 / hazard) / coarse) * coarse).clip(0, 60)
    frame = pd.DataFrame(
        {
            "time": time,
            "event": (rng.random(rows) < draw(st.sampled_from([0.3, 0.7, 1.0]))).astype(float),
            "x": x,
            "y": np.round(y, 1),
            "arm": arm,
            "ward": rng.choice(["east", "west"], rows),
        }
    )
    for name in ("x", "y"):
        frame.loc[rng.random(rows) < draw(st.sampled_from([0.0, 0.1])), name] = np.nan
    site = rng.choice(4, rows, p=draw(st.sampled_from([(0.25,) * 4, (0.5, 0.45, 0.05, 0.0), (0.97, 0.01, 0.01, 0.01)])))
    return frame, site


def _pooled_estimate(frame: pd.DataFrame, site: Any, covariates: tuple[str, ...], ties: str, by_ward: bool) -> Any:
    """Newton's method on the definition, rows stratified by site; (β, information, log-likelihoods, n)."""
    kept = frame.notna().all(axis=1).to_numpy()
    rows = frame[kept]
    design = build_design(covariates, COLUMNS)
    z = design.scaled({name: codes(rows[name], COLUMNS[name]) for name in design.uses})
    stratum = site[kept] * 10 + (codes(rows["ward"], COLUMNS["ward"]) if by_ward else 0)
    time, event = rows["time"].to_numpy(), rows["event"].to_numpy()
    beta = np.zeros(z.shape[1])
    null = partial_likelihood_by_definition(time, event, z, stratum, beta, ties)[0]
    for _ in range(40):
        loglik, g, information, _ = partial_likelihood_by_definition(time, event, z, stratum, beta, ties)
        step = np.linalg.solve(information, g)
        beta = beta + step
        if np.abs(step).max() < 1e-12:
            break
    coef, cov = design.restore(beta, np.linalg.inv(information))
    return coef, np.sqrt(np.diag(cov)), loglik, null, int(kept.sum())


@SLOW
@given(
    frames(),
    st.sampled_from([("x",), ("x", "y"), ("x", "arm"), ("x", "y", "arm", "x:arm"), ("x", "arm", "x:arm")]),
    st.sampled_from(["efron", "breslow"]),
    st.booleans(),
)
def test_a_cox_fit_is_the_pooled_one_by_definition_or_names_the_column(
    data: tuple[pd.DataFrame, Any], covariates: tuple[str, ...], ties: str, by_ward: bool
) -> None:
    frame, site = data
    holders = federation(frame, COLUMNS, owner=site)
    spec = cox_spec(covariates, ties=ties, strata=("ward",) if by_ward else ())
    try:
        ours = run(Cox(spec, holders.schema), holders).result
    except InputError as error:
        assert error.code in IMPOSSIBLE
        assert "column" in error.text
        return
    coef, se, loglik, null, n = _pooled_estimate(frame, site, covariates, ties, by_ward)
    for index, name in enumerate(ours["names"]):
        assert abs(ours["coef"][name] - coef[index]) <= 1e-8 * max(abs(coef[index]), se[index])
        assert ours["se"][name] == pytest.approx(se[index], rel=1e-6)
    assert ours["loglik"] == pytest.approx(loglik, rel=1e-9, abs=1e-9)
    assert ours["loglik_null"] == pytest.approx(null, rel=1e-9, abs=1e-9)
    assert (ours["n"], ours["n_dropped"]) == (n, len(frame) - n)


@SLOW
@given(frames(), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_the_order_of_rows_and_the_size_of_batches_change_nothing(
    data: tuple[pd.DataFrame, Any], batch: int, seed: int
) -> None:
    frame, site = data
    spec = cox_spec(("x", "y"), strata=("ward",))
    holders = federation(frame, COLUMNS, owner=site)
    order = generator(seed).permutation(len(frame))
    shuffled = federation(frame.iloc[order].reset_index(drop=True), COLUMNS, owner=site[order])
    small = Federation(
        shuffled.schema, tuple(ArrayRows(rows._columns, rows.n_dropped, batch) for rows in shuffled.rows)
    )
    try:
        first = run(Cox(spec, holders.schema), holders).result
    except InputError as error:
        with pytest.raises(InputError) as caught:
            run(Cox(spec, small.schema), small)
        assert caught.value.code == error.code
        return
    second = run(Cox(spec, small.schema), small).result
    for key in ("coef", "se"):
        assert second[key] == pytest.approx(first[key], rel=1e-8, abs=1e-10)
    assert second["loglik"] == pytest.approx(first["loglik"], rel=1e-11)
    assert (second["heterogeneity"] is None) == (first["heterogeneity"] is None)


@SLOW
@given(frames())
def test_fixed_point_keeps_the_tolerances(data: tuple[pd.DataFrame, Any]) -> None:
    frame, site = data
    holders = federation(frame, COLUMNS, owner=site)
    spec = cox_spec(("x", "arm"))
    try:
        exact = run(Cox(spec, holders.schema), holders).result
    except InputError:
        return
    fixed = run(Cox(spec, holders.schema), holders, way="fixed").result
    for name in exact["names"]:
        assert abs(fixed["coef"][name] - exact["coef"][name]) <= 1e-8 * max(abs(exact["coef"][name]), exact["se"][name])
        assert fixed["se"][name] == pytest.approx(exact["se"][name], rel=1e-6)
        if exact["ph_test"] is not None:
            ours, theirs = fixed["ph_test"][name]["statistic"], exact["ph_test"][name]["statistic"]
            assert abs(ours - theirs) <= 1e-8 * max(abs(theirs), 1)
    if exact["heterogeneity"] is not None:
        q = exact["heterogeneity"]["Q"]
        assert abs(fixed["heterogeneity"]["Q"] - q) <= 1e-8 * max(q, 1)


@SLOW
@given(frames(), st.sampled_from([1, 3, 5, 10]), st.sampled_from([0.7, 5.0, 30.0]), st.booleans())
def test_curves_are_lifelines_on_times_that_show_no_few_people(
    data: tuple[pd.DataFrame, Any], cell_min: int, unit: float, by: bool
) -> None:
    frame, site = data
    limits = Limits(cell_min=cell_min, cell_scope="pooled")
    used = {name: COLUMNS[name] for name in ("time", "event", "arm")}
    holders = federation(frame, used, owner=site, limits=limits)
    try:
        ours = run(KaplanMeier(km_spec(unit=unit, by="arm" if by else None), holders.schema), holders).result
    except RefusedError as error:
        assert error.code == "disclosure.events"
        return
    except InputError as error:
        assert error.code == "kaplan_meier.group"
        return
    grid = np.array(ours["time"])
    merged = grid[np.searchsorted(grid, np.ceil(frame["time"].to_numpy() / unit) * unit)]
    for group in ours["survival"]:
        rows = (frame["arm"] == group).to_numpy() if by else np.ones(len(frame), dtype=bool)
        fitter = KaplanMeierFitter().fit(merged[rows], frame["event"][rows])
        np.testing.assert_allclose(
            ours["survival"][group], fitter.survival_function_at_times(grid), rtol=1e-11, atol=1e-13
        )
        assert sum(ours["events"][group]) == int(frame["event"][rows].sum())
        if cell_min > 1:
            assert min(ours["events"][group]) >= cell_min
            assert all(count == 0 or count >= cell_min for count in ours["censored"][group])
    if by:
        statistic = multivariate_logrank_test(merged, frame["arm"], frame["event"]).test_statistic
        assert ours["logrank"]["statistic"] == pytest.approx(statistic, rel=1e-9, abs=1e-9)
