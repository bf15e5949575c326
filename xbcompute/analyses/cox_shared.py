"""One baseline hazard for all sites, on a grid of intervals: the holders' sums add up to sums over joint risk sets.

A time t becomes unit·ceil(t/unit). For each interval (and stratum) the holders open the sums of w, w·z and w·zzᵀ over
those with an event and over those who leave without one; risk-set sums are their running totals. Sums at neighbouring
times subtract to the people between them, so nothing is opened unless every interval's events and leavers are none or
enough, and no more numbers are opened of an interval's events, or leavers, than there are people among them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xbcompute.analyses.cox_likelihood import Sums, Ties, tie_terms
from xbcompute.analyses.cox_rows import CoxRows, Tally
from xbcompute.analyses.cox_state import SLACK, CoxState
from xbcompute.analyses.inference import unpack
from xbcompute.core.arrays import ArraySpec, Contribution, Leakage, Opened
from xbcompute.core.errors import InputError, RefusedError
from xbcompute.core.schema import Rows
from xbcompute.disclosure.cells import small

Floats = NDArray[np.float64]

CELLS_MAX: Final = 100_000
"""Most intervals times strata."""

_ONCE: Final = (
    Opened("n, n_dropped", (2,), "rows used, rows dropped", "使用的行数、剔除的行数"),
    Opened("cells", ("levels", 2), "rows censored and with an event, by level", "各水平的删失数与事件数"),
    Opened("grid", (2, "strata", "intervals"), "events and leavers in each interval", "各时间区间的事件数与离开数"),
    Opened("covariates", ("p",), "sum of the covariates of those with an event", "发生事件者协变量之和"),
    Opened("covariates_by_time", ("strata", "intervals", "p"), "the same by interval", "按时间区间的同一总和"),
)
_EACH_ROUND: Final = (
    Opened(
        "sums",
        (2, "strata", "intervals", "1+p+p(p+1)/2"),
        "sums of the relative hazard, times covariates and their products, over each interval's events and leavers",
        "各区间事件者与离开者的相对风险、其与协变量及协变量乘积之积的总和",
    ),
)


class SharedBaseline:
    """See :class:`~xbcompute.analyses.cox_state.Baseline`; oracle: a pooled fit on the times of the grid.

    Raises:
        InputError: ``cox.unit``, no unit, or one too fine for the bounds of the time column.
    """

    first_stage = "counts"
    predictor_max = 10.0

    def __init__(self, setting: CoxRows, ties: Ties, unit: float | None, name: str) -> None:
        if unit is None:
            raise InputError(
                "cox.unit",
                f"{name}: a baseline shared by all sites needs the key 'unit'.",
                todo="Give the width of an interval in the unit of the time column, or use baseline = 'site'.",
            )
        self._setting = setting
        self._ties = ties
        self._unit = unit
        self._name = name
        self._strata = math.prod(levels for _, levels in setting.strata)
        self._intervals = math.ceil(setting.outcome.upper / unit) + 1
        if self._strata * self._intervals > CELLS_MAX:
            raise InputError(
                "cox.unit",
                f"{name}: the bounds of {setting.outcome.time.name} hold too many intervals of 'unit'.",
                todo="Use a larger unit, or bounds that are closer to the column's values.",
            )

    def layout(self, state: CoxState) -> dict[str, ArraySpec]:
        """Shapes and bounds; with |z| ≤ 1 a row adds at most exp(Σ|β|) to each sum."""
        n, p = self._setting.schema.rows_max, len(state.beta)
        cells = (self._strata, self._intervals)
        if state.stage == "counts":
            grid = ArraySpec((2, *cells), n, integer=True, role="cells")
            return self._setting.counts_layout() | {"grid": grid}
        largest = math.exp(float(np.abs(state.beta).sum()))
        layout = {"sums": ArraySpec((2, *cells, _width(p)), SLACK * n * largest, role="model")}
        if state.stage == "null":
            layout["covariates"] = ArraySpec((p,), SLACK * n, role="model")
        if state.stage == "final":
            layout["covariates_by_time"] = ArraySpec((*cells, p), SLACK * n, role="model")
        return layout

    def local(self, rows: Rows, state: CoxState) -> dict[str, NDArray[Any]]:
        """One pass over this holder's rows."""
        p, size = len(state.beta), self._strata * self._intervals
        tally = Tally(self._setting, 0.0, cells=True)
        grid = np.zeros(2 * size, dtype=np.int64)
        sums = np.zeros((_width(p), 2 * size))
        covariates = np.zeros((p, size))
        rows_, columns = np.triu_indices(p)
        for batch in self._setting.batches(rows, tally if state.stage == "counts" else None):
            interval = np.ceil(batch.time / self._unit).astype(np.int64)
            cell = interval if batch.stratum is None else batch.stratum * self._intervals + interval
            place = np.where(batch.event, cell, size + cell)
            if state.stage == "counts":
                grid += np.bincount(place, minlength=2 * size)
                continue
            weight = np.exp(batch.z @ state.beta)
            z = batch.z.T
            products = np.concatenate([np.ones((1, weight.size)), z, z[rows_] * z[columns]]) * weight
            for index, values in enumerate(products):
                sums[index] += np.bincount(place, values, minlength=2 * size)
            for index, values in enumerate(z[:, batch.event]):
                covariates[index] += np.bincount(cell[batch.event], values, minlength=size)
        cells = (self._strata, self._intervals)
        if state.stage == "counts":
            return self._setting.counts(rows, tally) | {"grid": grid.reshape(2, *cells)}
        arrays: dict[str, NDArray[Any]] = {"sums": np.ascontiguousarray(sums.T).reshape(2, *cells, _width(p))}
        if state.stage == "null":
            arrays["covariates"] = covariates.sum(axis=1)
        if state.stage == "final":
            arrays["covariates_by_time"] = np.ascontiguousarray(covariates.T).reshape(*cells, p)
        return arrays

    def counted(self, total: Contribution, state: CoxState) -> CoxState:
        """The counts, if every interval may be shown.

        Raises:
            RefusedError: ``cox.shared``. And as :meth:`~xbcompute.analyses.cox_rows.CoxRows.check_counts`.
        """
        events = self._setting.check_counts(total)
        grid = np.asarray(total["grid"], dtype=np.int64)
        if small(grid, self._setting.schema.limits.cell_min).any():
            raise RefusedError(
                "cox.shared",
                f"{self._name}: a baseline shared by all sites needs, under a protocol that opens sums, none or at "
                "least the minimum cell of events and of leavers in every interval: risk-set sums at neighbouring "
                "times subtract to single rows.",
                todo="Use a larger 'unit', baseline = 'site', or a protocol that pools the rows in shares.",
            )
        timed = int(not grid[0, :, 0].any())
        mean = float((grid[0] * self._log_times()).sum()) / events
        return replace(state, events=events, grid=grid, timed=timed, mean_log_time=mean)

    def check_next(self, state: CoxState) -> None:
        """Refuse a round that would open more numbers of an interval's events, or leavers, than there are people.

        Raises:
            RefusedError: ``cox.shared_scalars``.
        """
        p = len(state.beta)
        least = int(state.grid[state.grid > 0].min())
        if self._setting.schema.limits.model_rules and (state.iteration + 1) * _width(p) + p > least:
            raise RefusedError(
                "cox.shared_scalars",
                f"{self._name}: the fit would open more numbers of an interval than there are people in it.",
                todo="Use a larger 'unit', fewer covariates, or baseline = 'site'.",
            )

    def sums(self, total: Contribution, state: CoxState) -> Sums:
        """The partial likelihood over joint risk sets."""
        p = len(state.beta)
        opened = np.asarray(total["sums"])
        # Those at risk at a time are all whose interval is that one or a later one.
        at_risk = np.cumsum((opened[0] + opened[1])[:, ::-1], axis=1)[:, ::-1]
        some = state.grid[0] > 0
        risk, tied, d = at_risk[some], opened[0][some], state.grid[0][some]
        terms = tie_terms(self._ties, d, (risk[:, 0], risk[:, 1 : p + 1].T), (tied[:, 0], tied[:, 1 : p + 1].T))
        second = terms.hazard @ risk[:, p + 1 :] - (terms.hazard - terms.own) @ tied[:, p + 1 :]
        covariates = np.asarray(total["covariates"]) if state.stage == "null" else state.covariates
        weighted = np.zeros(p)
        if state.stage == "final" and state.timed:
            u = np.broadcast_to(self._log_times(), state.grid[0].shape)[some] - state.mean_log_time
            weighted = u @ np.asarray(total["covariates_by_time"])[some] - terms.means @ u
        return Sums(
            float(state.beta @ covariates) - terms.log_risk,
            covariates - terms.means.sum(axis=1),
            unpack(second, p) - terms.outer,
            weighted,
        )

    def covariates(self, total: Contribution, state: CoxState) -> CoxState:
        """Their sum over those with an event does not depend on β."""
        return replace(state, covariates=np.asarray(total["covariates"]))

    def spread(self, total: Contribution, state: CoxState) -> float:
        """From the counts."""
        return float((state.grid[0] * (self._log_times() - state.mean_log_time) ** 2).sum())

    def heterogeneity(self, total: Contribution, notes: list[str]) -> dict[str, Any] | None:
        """Sites are not told apart."""
        notes.append(f"Times are the right ends of intervals of {self._unit:g}; sites share one baseline hazard.")
        return None

    def reveals(self, rounds_max: int) -> Leakage:
        """Counts by interval, then each round's sums by interval."""
        return Leakage(once=_ONCE, each_round=_EACH_ROUND, rounds_max=rounds_max + 1)

    def _log_times(self) -> Floats:
        """Logarithms of the intervals' ends in units, (intervals,); that of time 0 is never used, and 0."""
        return np.log(np.maximum(np.arange(self._intervals), 1)).astype(np.float64)


def _width(size: int) -> int:
    return 1 + size + size * (size + 1) // 2
