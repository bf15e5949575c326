"""Tests beside a Cox model, from sums over holders: proportional hazards, and heterogeneity between sites.

Proportional hazards (Grambsch and Therneau 1994, in the form lifelines uses): with s the Schoenfeld residuals at the
D events, u the logarithm of their times, V the covariance of the coefficients,

    T_j = D·((V·Σ (u − ū)·s)_j)² / (V_jj·Σ (u − ū)²),    chi-square with one degree of freedom.

The sums run over all events of all strata; Σ (u − ū)·s is the score with each event time's part weighted by u − ū.

Heterogeneity: with g_i and I_i the score and information of site i at the pooled estimate, one Newton step of site i's
own fit ends at β̂ + I_i⁻¹·g_i, and

    Q = Σ_i g_iᵀ·I_i⁻¹·g_i = Σ_i (β_i − β̂)ᵀ·I_i·(β_i − β̂)

is Cochran's Q of those estimates (Rao's score statistic for "every site its own coefficients"): chi-square with
Σ_i rank(I_i) − p degrees of freedom where the sites agree. Only the sums over the sites are opened.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xbcompute.analyses.inference import chi_square

Floats = NDArray[np.float64]

FLOOR = 1e-9
"""Times below this share of the upper bound have no usable logarithm."""

RANK_MIN = 1e-9
"""Scaled eigenvalues below this share of the largest count as zero."""

SPREAD_MIN = 1e-8
"""Variance of the events' log times below which they count as one time: less is within the rounding of sums."""

VARIES_MIN = 1e-12
"""Information about a coefficient, for each event on covariates in [−1, 1], below which it is rounding."""


@dataclass(frozen=True)
class LogTime:
    """The transform u = log(t/upper) for the times of one column, and its public range.

    ``floor`` is the least time with a usable logarithm: the declared lower bound, or a small share of the upper one.
    """

    upper: float
    floor: float

    @classmethod
    def of_bounds(cls, lower: float | None, upper: float) -> LogTime:
        """From the declared bounds of the time column."""
        return cls(upper, lower if lower is not None and lower > 0 else upper * FLOOR)

    @property
    def width(self) -> float:
        """u lies in [−width, 0]; at least 1, so that bounds made of it are not 0."""
        return max(math.log(self.upper / self.floor), 1.0)

    def usable(self, time: Floats) -> NDArray[np.bool_]:
        """Whether each time has a logarithm in range."""
        result: NDArray[np.bool_] = time >= self.floor
        return result

    def __call__(self, time: Floats) -> Floats:
        """u of usable times."""
        result: Floats = np.log(time / self.upper)
        return result


def proportional_hazards(
    names: Sequence[str], weighted_score: Floats, cov: Floats, spread: float, events: int
) -> dict[str, Any] | None:
    """The test for each coefficient; None where all events fall on one time."""
    if spread <= SPREAD_MIN * events:
        return None
    shift = cov @ weighted_score
    statistics = events * shift**2 / (np.diag(cov) * spread)
    return {name: chi_square(float(value), 1) for name, value in zip(names, statistics, strict=True)}


def site_score(gradient: Floats, information: Floats, events: int) -> tuple[float, int]:
    """gᵀ·I⁻·g and the rank of I, at one holder.

    I may be singular (a site without one level, or with one event): the score has no part in the directions that the
    site says nothing about, so the generalised inverse gives the statistic of the others.
    """
    diagonal = np.diag(information)
    # Rounding leaves a column that does not vary within a site's strata with a diagonal near zero, not at zero.
    used = diagonal > VARIES_MIN * max(events, 1)
    if not used.any():
        return 0.0, 0
    scale = 1 / np.sqrt(diagonal[used])
    values, vectors = np.linalg.eigh(information[np.ix_(used, used)] * np.outer(scale, scale))
    kept = values > RANK_MIN * values[-1]
    parts = vectors[:, kept].T @ (gradient[used] * scale)
    return float((parts**2 / values[kept]).sum()), int(kept.sum())


def heterogeneity(statistic: float, ranks: int, size: int) -> dict[str, Any] | None:
    """``Q``, ``df``, ``p`` and ``i2`` = max(0, (Q − df)/Q); None where the sites say no more than one would."""
    df = ranks - size
    if df <= 0:
        return None
    test = chi_square(statistic, df)
    return {"Q": statistic, "df": df, "p": test["p"], "i2": max(0.0, 1 - df / statistic) if statistic > 0 else 0.0}
