"""The Kaplan–Meier estimate and the log-rank test from counts on a grid of times, as lifelines computes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True)
class Curve:
    """One group's estimate; every array is as long as the grid.

    ``at_risk`` is the number just before each time. ``median`` is the first time with a survival of at most one half,
    None if there is none.
    """

    survival: Floats
    se: Floats
    lower: Floats
    upper: Floats
    at_risk: Counts
    median: float | None


def at_risk(events: Counts, censored: Counts) -> Counts:
    """Numbers at risk just before each time; counts along the first axis."""
    left = events + censored
    remaining: Counts = left.sum(axis=0) - np.cumsum(left, axis=0) + left
    return remaining


def curve(times: Floats, events: Counts, censored: Counts, ci_level: float) -> Curve:
    """The curve of one group, with Greenwood's standard errors and log-log (exponential Greenwood) limits.

    Those who leave at a time leave after its events. Where survival is 0 the limits are 0 and the standard error is 0,
    where it is still 1 they are 1.
    """
    risk = at_risk(events, censored)
    n, d = risk.astype(np.float64), events.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        # In logarithms, as lifelines does: a survival of exactly one half decides the median.
        steps = np.where(n > 0, np.log(n - d) - np.log(n), 0.0)
        survival = np.exp(np.cumsum(steps))
        spread = d / (n * (n - d))
        variance = np.cumsum(np.where(np.isfinite(spread), spread, 0.0))
        log_survival = np.log(survival)
        width = special.ndtri((1 + ci_level) / 2) * np.sqrt(variance) / log_survival
        lower = np.exp(-np.exp(np.log(-log_survival) - width))
        upper = np.exp(-np.exp(np.log(-log_survival) + width))
    untouched = survival >= 1.0
    reached = np.flatnonzero(survival <= 0.5)
    return Curve(
        survival=survival,
        se=survival * np.sqrt(variance),
        lower=np.where(untouched, 1.0, lower),
        upper=np.where(untouched, 1.0, upper),
        at_risk=risk,
        median=float(times[reached[0]]) if reached.size else None,
    )


def logrank(events: Counts, censored: Counts) -> tuple[float, int]:
    """Statistic and degrees of freedom of the log-rank test; counts are (times, groups), two groups or more.

    Raises:
        ValueError: fewer than two groups.
    """
    groups = events.shape[1]
    if groups < 2:
        raise ValueError("a log-rank test needs two groups or more")
    n = at_risk(events, censored).astype(np.float64)
    total, deaths = n.sum(axis=1), events.sum(axis=1).astype(np.float64)
    some = deaths > 0
    share = n[some] / total[some, None]
    observed_less_expected = events[some].sum(axis=0) - (share * deaths[some, None]).sum(axis=0)
    alone = np.where(total[some] > 1, total[some] - 1, 1.0)
    factor = deaths[some] * (total[some] - deaths[some]) / alone
    factor[total[some] <= 1] = 0.0
    covariance = np.diag((share * factor[:, None]).sum(axis=0)) - (share * factor[:, None]).T @ share
    part = observed_less_expected[:-1]
    statistic = float(part @ np.linalg.pinv(covariance[:-1, :-1], hermitian=True) @ part)
    return statistic, groups - 1
