"""The state of a Cox fit, and what its two kinds of baseline have to provide."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from xbcompute.analyses.cox_likelihood import Sums
from xbcompute.core.arrays import ArraySpec, Contribution, Leakage
from xbcompute.core.schema import Rows

Floats = NDArray[np.float64]

SLACK: Final = 1.001
"""Bounds are those of exact arithmetic; this is room for rounding."""


@dataclass(frozen=True)
class CoxState:
    """Where the fit stands. ``stage`` is ``counts`` (shared baseline only), ``null`` (β = 0), ``newton`` or ``final``.

    ``beta`` is on the [−1, 1] scale, reached from ``beta_last`` with log-likelihood ``loglik_last``.
    ``precision_null`` is, for each coefficient, the information about it at β = 0 with the others unknown.
    ``mean_log_time`` is over the events; ``timed`` is 1 where every event time has a usable logarithm.
    ``grid`` holds events and leavers (2, strata, intervals), ``covariates`` the events' sum of z (p,): shared
    baseline only, otherwise empty.
    """

    stage: str
    iteration: int
    beta: Floats
    beta_last: Floats
    loglik_last: float
    loglik_null: float
    precision_null: Floats
    n: int
    n_dropped: int
    events: int
    mean_log_time: float
    timed: int
    grid: NDArray[np.int64]
    covariates: Floats


class Baseline(Protocol):
    """How sums over holders give a log-likelihood with its derivatives."""

    first_stage: str
    predictor_max: float
    """Largest Σ|β| for which the sums keep their digits."""

    def layout(self, state: CoxState) -> dict[str, ArraySpec]:
        """What :meth:`local` returns."""

    def local(self, rows: Rows, state: CoxState) -> dict[str, NDArray[Any]]:
        """One holder's part."""

    def counted(self, total: Contribution, state: CoxState) -> CoxState:
        """The state with the counts of the first round, once they allow a fit."""

    def check_next(self, state: CoxState) -> None:
        """Refuse to open sums at ``state``."""

    def sums(self, total: Contribution, state: CoxState) -> Sums:
        """The pooled log-likelihood and derivatives at ``state``; ``weighted`` in the final stage."""

    def covariates(self, total: Contribution, state: CoxState) -> CoxState:
        """The state with what the round at β = 0 opens once."""

    def spread(self, total: Contribution, state: CoxState) -> float:
        """Sum of squares of the events' log times about their mean."""

    def heterogeneity(self, total: Contribution, notes: list[str]) -> dict[str, Any] | None:
        """The statistic between sites, or None and a note."""

    def reveals(self, rounds_max: int) -> Leakage:
        """What contributors learn."""
