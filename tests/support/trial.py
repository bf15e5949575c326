"""A made-up trial with every kind of column, and what its analyses give on the pooled rows."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from lifelines import CoxPHFitter
from lifelines.statistics import multivariate_logrank_test
from numpy.typing import NDArray

from tests.support.federated import generator
from tests.support.folders import category, number

FIVE = {"alpha": "CN", "beta": "CN", "gamma": "SG", "delta": "SG", "epsilon": "SG"}
COLUMNS: dict[str, Any] = {
    "age": number(18, 110, unit="years"),
    "dose": number(0.1, 500, unit="mg"),
    "arm": category("placebo", "drug", "both"),
    "centre": category("x", "y"),
    "seen": {"type": "date", "bounds": [dt.date(2021, 1, 1), dt.date(2025, 1, 1)]},
    "days": number(0, 2000, unit="days"),
    "outcome": category("alive", "dead"),
    "visits": number(0, 50),
    "months": number(0.5, 60),
    "score": number(-50, 100, **{"from": "Score (raw), 分"}),
    "note": {"type": "text"},
}
WHERE = [
    {"column": "age", "op": ">=", "value": 40},
    {"column": "age", "op": "<", "value": 85},
    {"column": "dose", "op": "<=", "value": 200},
    {"column": "months", "op": ">", "value": 1.5},
    {"column": "visits", "op": "!=", "value": 7},
    {"column": "arm", "op": "in", "value": ["placebo", "drug", "both"]},
    {"column": "seen", "op": "<", "value": dt.date(2023, 10, 1)},
    {"column": "seen", "op": ">=", "value": "2022-01-05"},
    {"column": "note", "op": "=", "value": 'x, "quoted"\n苏州'},
]
DERIVE = [
    {"name": "log_dose", "of": "dose", "fn": "log"},
    {"name": "log_visits", "of": "visits", "fn": "log1p"},
    {"name": "root", "of": "days", "fn": "sqrt"},
    {
        "name": "band",
        "of": "age",
        "fn": "cut",
        "edges": [-math.inf, 55, 65, math.inf],
        "labels": ["low", "mid", "high"],
    },
    {"name": "treated", "of": "arm", "fn": "recode", "map": {"placebo": "no", "drug": "yes", "both": "yes"}},
    {"name": "both", "of": ["age", "dose"], "fn": "sum"},
    {"name": "apart", "of": ["age", "months"], "fn": "difference"},
    {"name": "share", "of": ["dose", "age"], "fn": "ratio"},
]


def frame(n: int = 760) -> pd.DataFrame:
    """The rows as a hospital has them: local names, missing values, text that CSV has to quote."""
    rng = generator(20261124)
    made = pd.DataFrame(
        {
            "age": rng.normal(60, 10, n).clip(20, 100).round(1),
            "dose": rng.gamma(2, 20, n).round(2).clip(0.1, 400),
            "arm": rng.choice(["placebo", "drug", "both"], n),
            "centre": rng.choice(["x", "y"], n),
            "seen": (pd.to_datetime("2022-01-01") + pd.to_timedelta(rng.integers(0, 700, n), unit="D")).strftime(
                "%Y-%m-%d"
            ),
            "visits": rng.poisson(2, n).astype(float),
            "months": rng.uniform(1, 30, n).round(1),
            "note": ['x, "quoted"\n苏州'] * (n - 20) + ["other"] * 20,
        }
    )
    risk = np.exp(0.02 * (made["age"] - 60) - 0.4 * (made["arm"] == "drug"))
    made["days"] = np.ceil(rng.exponential(400 / risk)).clip(1, 1900)
    made["outcome"] = np.where(rng.random(n) < 0.65, "dead", "alive")
    made["Score (raw), 分"] = (
        2 + 0.1 * made["age"] - 0.01 * made["dose"] + 1.5 * (made["arm"] == "drug") + rng.normal(0, 1, n)
    ).round(3)
    made.loc[rng.random(n) < 0.08, "dose"] = np.nan
    return made


def chosen(rows: pd.DataFrame) -> pd.DataFrame:
    """The complete cases that meet :data:`WHERE`, with the columns of :data:`DERIVE`, under their registered names."""
    kept = rows.rename(columns={"Score (raw), 分": "score"})
    kept = kept[
        (kept["age"] >= 40)
        & (kept["age"] < 85)
        & (kept["dose"] <= 200)
        & (kept["months"] > 1.5)
        & (kept["visits"] != 7)
        & (kept["seen"] < "2023-10-01")
        & (kept["seen"] >= "2022-01-05")
        & (kept["note"] != "other")
    ]
    return kept.assign(
        log_dose=np.log(kept["dose"]),
        log_visits=np.log1p(kept["visits"]),
        root=np.sqrt(kept["days"]),
        band=pd.cut(kept["age"], [-np.inf, 55, 65, np.inf], labels=["low", "mid", "high"]),
        treated=np.where(kept["arm"] == "placebo", "no", "yes"),
        both=kept["age"] + kept["dose"],
        apart=kept["age"] - kept["months"],
        share=kept["dose"] / kept["age"],
        seen=(pd.to_datetime(kept["seen"]) - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1),
    )


def cox_by_site(
    x: Mapping[str, Any], time: Any, event: Any, site: Any
) -> tuple[dict[str, float], dict[str, float], CoxPHFitter]:
    """Coefficients and standard errors of lifelines (Efron), stratified by ``site``, fitted tightly."""
    data = pd.DataFrame({**x, "T": np.asarray(time), "E": np.asarray(event), "site": np.asarray(site)})
    fitter = CoxPHFitter()
    fitter.fit(data, "T", "E", strata=["site"], fit_options={"precision": 1e-22, "r_precision": 0.0})
    return dict(fitter.params_), dict(fitter.standard_errors_), fitter


def merged(times: Any, ends: Sequence[float]) -> NDArray[np.float64]:
    """Each time moved to the end of the interval it lies in."""
    grid = np.asarray(ends, dtype=float)
    return np.asarray(grid[np.searchsorted(grid, np.asarray(times, dtype=float))])


def logrank(times: Any, groups: Any, events: Any) -> tuple[float, float]:
    """Statistic and p of lifelines."""
    test = multivariate_logrank_test(np.asarray(times), np.asarray(groups), np.asarray(events))
    return float(test.test_statistic), float(test.p_value)
