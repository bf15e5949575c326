"""Kaplan–Meier curves and the log-rank test over holders equal lifelines on the merged times."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from lifelines import KaplanMeierFitter
from lifelines.statistics import multivariate_logrank_test

from tests.support.federated import OPEN, Federation, Way, federation, run
from tests.support.survival import actg175, gbsg2, km_spec, lung
from xbcompute.analyses.kaplan_meier import ALL, KaplanMeier
from xbcompute.core.schema import Limits
from xbcompute.specs.analysis import KaplanMeier as KaplanMeierSpec

Case = tuple[KaplanMeierSpec, Federation, pd.DataFrame]


def _case(spec: KaplanMeierSpec, data: tuple[Any, ...], event: str, limits: Limits) -> Case:
    frame, columns = data[0], data[1]
    used = {name: columns[name] for name in spec.columns_used()}
    pooled = pd.DataFrame(
        {
            "time": frame[spec.time].to_numpy(dtype=float),
            "event": (frame[spec.event].astype(str) == event).to_numpy(),
            "group": frame[spec.by].to_numpy() if spec.by else ALL,
        }
    )
    return spec, federation(frame, used, limits=limits, owner=data[2] if len(data) > 2 else None), pooled


PEOPLE = Limits(cell_min=10, cell_scope="pooled")
CASES: dict[str, Case] = {
    "gbsg2": _case(km_spec(event="cens", by="horTh", unit=180.0), gbsg2(), "1", PEOPLE),
    "gbsg2 fine": _case(km_spec(event="cens", by="tgrade", unit=7.0), gbsg2(), "1", OPEN),
    "gbsg2 one curve": _case(km_spec(event="cens", unit=0.5, ci_level=0.9), gbsg2(), "1", OPEN),
    "lung": _case(km_spec(by="sex", unit=30.0), lung(), "1", PEOPLE),
    "actg175": _case(km_spec(time="days", event="cens", by="arms", unit=1.0), actg175(), "failed", PEOPLE),
    "actg175 reversed": _case(
        km_spec(time="days", event="cens", event_value="censored", by="history", unit=30.0), actg175(), "censored", OPEN
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_curves_are_those_of_lifelines_on_the_merged_times(name: str) -> None:
    spec, holders, pooled = CASES[name]
    ours = run(KaplanMeier(spec, holders.schema), holders).result
    grid = np.array(ours["time"])
    assert spec.unit is not None
    assert ours["grid"] == {"unit": spec.unit, "merged": ours["time"]}
    merged = grid[np.searchsorted(grid, np.ceil(pooled["time"] / spec.unit) * spec.unit)]
    groups = list(ours["survival"])
    assert sorted(groups) == sorted(pooled["group"].unique())
    for group in groups:
        rows = (pooled["group"] == group).to_numpy()
        fitter = KaplanMeierFitter(alpha=1 - spec.ci_level).fit(merged[rows], pooled["event"][rows])
        table = fitter.event_table.reindex(grid)
        # lifelines has a row for each time of the group; on the others nobody of the group leaves.
        survival = fitter.survival_function_at_times(grid).to_numpy()
        limits = fitter.confidence_interval_.reindex(grid, method="ffill").to_numpy()
        np.testing.assert_allclose(ours["survival"][group], survival, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(ours["ci_lower"][group], limits[:, 0], rtol=1e-10, atol=1e-14)
        np.testing.assert_allclose(ours["ci_upper"][group], limits[:, 1], rtol=1e-10, atol=1e-14)
        greenwood = np.sqrt(fitter._cumulative_sq_.reindex(grid, method="ffill").to_numpy()) * survival
        np.testing.assert_allclose(ours["se"][group], greenwood, rtol=1e-10, atol=1e-14)
        assert ours["events"][group] == table["observed"].fillna(0).astype(int).tolist()
        assert ours["censored"][group] == table["censored"].fillna(0).astype(int).tolist()
        assert ours["at_risk"][group] == [int((merged[rows] >= moment).sum()) for moment in grid]
        median = fitter.median_survival_time_
        assert ours["median"][group] == (None if np.isinf(median) else median)
    if spec.by:
        reference = multivariate_logrank_test(merged, pooled["group"], pooled["event"])
        assert ours["logrank"]["df"] == len(groups) - 1
        assert ours["logrank"]["statistic"] == pytest.approx(reference.test_statistic, rel=1e-10)
        assert ours["logrank"]["p"] == pytest.approx(reference.p_value, rel=1e-8)
    else:
        assert "logrank" not in ours


@pytest.mark.parametrize("name", ["gbsg2", "lung", "actg175"])
def test_every_shown_interval_has_events_and_no_few_leavers(name: str) -> None:
    spec, holders, _ = CASES[name]
    ours = run(KaplanMeier(spec, holders.schema), holders).result
    for group in ours["events"]:
        assert min(ours["events"][group]) >= 10
        assert all(count == 0 or count >= 10 for count in ours["censored"][group])


@pytest.mark.parametrize("way", ["fixed", "clear", "masked"])
def test_counts_are_exact_by_every_engine(way: Way) -> None:
    spec, holders, _ = CASES["actg175"]
    exact = run(KaplanMeier(spec, holders.schema), holders)
    other = run(KaplanMeier(spec, holders.schema), holders, way=way)
    assert other.result == exact.result
    assert len(other.opened) == 1
