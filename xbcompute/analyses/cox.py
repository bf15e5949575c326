"""Cox's proportional hazards model with a baseline hazard of its own at every site.

The partial likelihood is then a sum of the sites' own, so each round opens one log-likelihood, one score and one
information matrix, all on covariates mapped to [−1, 1] by their public bounds: Newton's method on the total gives the
estimates of a pooled fit stratified by site. The first round is at β = 0 (the null log-likelihood, and the counts that
output checks need); the last one, at the estimates, adds the sums of the tests in ``cox_tests``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xbcompute.analyses.cox_likelihood import PREDICTOR_MAX, partial_likelihood
from xbcompute.analyses.cox_rows import CoxRows, Tally
from xbcompute.analyses.cox_tests import heterogeneity, proportional_hazards, site_score
from xbcompute.analyses.envelope import envelope
from xbcompute.analyses.inference import Information, coefficient_table, likelihood_ratio, pack, unpack
from xbcompute.core.arrays import ArraySpec, Contribution, Layout, Leakage, Opened
from xbcompute.core.errors import InputError, RefusedError
from xbcompute.core.schema import Rows, Schema
from xbcompute.disclosure.models import check_own_size, check_size
from xbcompute.engines.base import Done
from xbcompute.specs.analysis import Cox as CoxSpec

Floats = NDArray[np.float64]

ITERATIONS_MAX: Final = 25
COEFFICIENT_MAX: Final = 20.0
"""Largest |β| on covariates in [−1, 1]: a hazard ratio of e⁴⁰ between the two ends of a column."""

CLOSE: Final = 3e-5
"""Newton decrement (distance to the optimum in standard errors) from which the next round should be the last."""

SETTLED: Final = 3e-9
"""Newton decrement at which the tests and the covariance are taken; the last step removes what is left."""

_FLAT: Final = 1e-3
"""Share of the information at β = 0 below which a coefficient that still grows has no finite estimate."""

_SLACK: Final = 1.001
"""Bounds are those of exact arithmetic; this is room for rounding."""

_OPENED_ONCE = (
    Opened("n, n_dropped", (2,), "rows used, rows dropped", "使用的行数、剔除的行数"),
    Opened("cells", ("levels", 2), "rows censored and with an event, by level", "各水平的删失数与事件数"),
    Opened("log_time", (), "sum of the logarithms of event times", "事件时间对数之和"),
    Opened("no_log_time", (), "sites with an event time too near zero", "有事件时间过近于零的站点数"),
    Opened("weighted_gradient", ("p",), "score weighted by log time", "按对数时间加权的得分"),
    Opened("log_time_spread", (), "spread of the logarithms", "对数时间的离差平方和"),
    Opened("site_score", (), "score statistic, summed over sites", "各站点得分统计量之和"),
    Opened("site_rank, far_site", (2,), "ranks and overflow marks, summed over sites", "各站点秩与越界标记之和"),
)
_OPENED_EACH_ROUND = (
    Opened("loglik", (), "partial log-likelihood, summed over sites", "各站点偏对数似然之和"),
    Opened("gradient", ("p",), "its gradient at the round's coefficients", "其在本轮系数处的梯度"),
    Opened("information", ("p(p+1)/2",), "its information matrix, upper triangle", "其信息矩阵的上三角"),
)


@dataclass(frozen=True)
class CoxState:
    """Where the fit stands. ``stage`` is ``null`` (first round), ``newton`` or ``final``.

    ``beta`` is on the [−1, 1] scale, reached from ``beta_last`` with log-likelihood ``loglik_last``.
    ``precision_null`` is, for each coefficient, the information about it at β = 0 with the others unknown.
    ``mean_log_time`` is over the events; ``timed`` is 1 where every event time has a usable logarithm.
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


class Cox:
    """An :class:`~xbcompute.engines.base.Iterative` analysis; oracle: a pooled fit with the party as stratum.

    Raises:
        InputError: as :meth:`~xbcompute.analyses.cox_rows.CoxRows.of`. RefusedError: ``cox.shared``.
    """

    state_type = CoxState

    def __init__(self, spec: CoxSpec, schema: Schema) -> None:
        if spec.baseline == "shared":
            raise RefusedError(
                "cox.shared",
                f"{spec.id}: a baseline shared by all sites needs 'unit' and, under a protocol that opens sums, "
                "at least the minimum cell of events and of leavers in every interval: risk-set sums at neighbouring "
                "times subtract to single rows.",
                todo="Use baseline = 'site', or a protocol that pools the rows in shares.",
            )
        self._spec = spec
        self._setting = CoxRows.of(spec, schema)

    def start(self, schema: Schema) -> CoxState:
        """β = 0."""
        zero = np.zeros(len(self._setting.design.columns))
        return CoxState("null", 0, zero, zero, 0.0, 0.0, zero, 0, 0, 0, 0.0, 0)

    def layout(self, state: CoxState) -> Layout:
        """Shapes and bounds; with |z| ≤ 1 an event adds at most 2Σ|β| + log n, 2 and 1 to the three sums."""
        setting = self._setting
        n, p = setting.schema.rows_max, len(state.beta)
        reach = 2 * float(np.abs(state.beta).sum()) + math.log(n) + 1
        layout = {
            "loglik": ArraySpec((), _SLACK * n * reach, role="model"),
            "gradient": ArraySpec((p,), _SLACK * 2 * n, role="model"),
            "information": ArraySpec((p * (p + 1) // 2,), _SLACK * n, role="model"),
        }
        if state.stage == "null":
            layout |= setting.counts_layout()
        if state.stage == "final":
            layout["site_score"] = ArraySpec((), _score_max(n, p), role="model")
            layout["site_rank"] = ArraySpec((), p, integer=True, role="model")
            layout["far_site"] = ArraySpec((), 1, integer=True, role="model")
        if state.stage == "final" and state.timed:
            width = setting.log_time.width
            layout["weighted_gradient"] = ArraySpec((p,), _SLACK * 2 * n * width, role="model")
            layout["log_time_spread"] = ArraySpec((), _SLACK * n * width**2, role="model")
        return layout

    def local(self, rows: Rows, state: CoxState) -> Contribution:
        """One pass over this holder's rows, largest time first.

        Raises:
            InputError: a value out of bounds. RefusedError: too few rows for so many coefficients (policy C4.10).
        """
        setting = self._setting
        p = len(state.beta)
        check_own_size(rows.n, p, setting.schema.limits)
        timed = state.stage == "final" and state.timed == 1
        tally = Tally(setting, state.mean_log_time, cells=state.stage == "null")
        sums = partial_likelihood(
            setting.batches(rows, tally if state.stage != "newton" else None),
            state.beta,
            ties=self._spec.ties,
            transform=(lambda time: setting.log_time(time) - state.mean_log_time) if timed else None,
        )
        arrays: dict[str, NDArray[Any]] = {
            "loglik": np.array(sums.loglik),
            "gradient": sums.gradient,
            "information": pack(sums.information),
        }
        if state.stage == "null":
            arrays |= setting.counts(rows, tally)
        if state.stage == "final":
            score, rank = site_score(sums.gradient, sums.information, tally.events)
            far = score > _score_max(setting.schema.rows_max, p)
            arrays["site_score"] = np.array(0.0 if far else score)
            arrays["site_rank"] = np.array(rank)
            arrays["far_site"] = np.array(int(far))
        if timed:
            arrays["weighted_gradient"] = sums.weighted
            arrays["log_time_spread"] = np.array(tally.spread)
        return arrays

    def combine(self, total: Contribution, state: CoxState) -> CoxState | Done:
        """The next Newton step, or the result.

        Raises:
            InputError: ``cox.no_events``, ``model.empty_level``, ``model.separable``, ``model.constant``,
                ``model.collinear``, ``cox.monotone``, ``cox.iterations``; each names the column.
            RefusedError: policy C4.10.
        """
        names = self._setting.design.names
        loglik, gradient = float(total["loglik"]), np.asarray(total["gradient"])
        first = state.stage == "null"
        if first:
            state = self._counted(total, state, loglik)
        elif loglik < state.loglik_last - 1e-9 * (1 + abs(loglik)):
            back = replace(state, beta=state.beta_last)
            return self._next(back, (state.beta - state.beta_last) / 2, "newton", state.loglik_last)
        try:
            information = Information(names, unpack(np.asarray(total["information"]), len(names)))
        except InputError as error:
            if first:
                raise
            # The columns were independent at β = 0: what became singular is a likelihood that has gone flat.
            raise self._monotone(state.beta) from error
        precision = 1 / np.diag(information.inverse)
        if first:
            state = replace(state, precision_null=precision)
        step = information.solve(gradient)
        decrement = math.sqrt(max(float(gradient @ step), 0.0))
        if state.stage == "final" and decrement <= SETTLED:
            return Done(self._result(total, replace(state, beta=state.beta + step), information))
        growing = (precision < _FLAT * state.precision_null) & (np.abs(step) > 0.1) & (step * state.beta > 0)
        if growing.any():
            raise self._monotone(np.where(growing, state.beta, 0))
        close = decrement <= CLOSE and float(np.abs(step).max()) <= 1e-3
        return self._next(state, step, "final" if close else "newton", loglik)

    def reveals(self) -> Leakage:
        """Counts, then each round's log-likelihood, score and information, then the sums of the tests."""
        return Leakage(once=_OPENED_ONCE, each_round=_OPENED_EACH_ROUND, rounds_max=ITERATIONS_MAX + 1)

    def _counted(self, total: Contribution, state: CoxState, loglik: float) -> CoxState:
        setting = self._setting
        check_size(int(total["n"]), len(state.beta), setting.schema.limits)
        events = setting.check_counts(total)
        return replace(
            state,
            loglik_null=loglik,
            n=int(total["n"]),
            n_dropped=int(total["n_dropped"]),
            events=events,
            mean_log_time=float(total["log_time"]) / events,
            timed=int(total["no_log_time"] == 0),
        )

    def _next(self, state: CoxState, step: Floats, stage: str, loglik: float) -> CoxState:
        """The state after ``step``, halved until exp(η) stays within its bound."""
        if state.iteration >= ITERATIONS_MAX:
            moving = self._setting.design.names[int(np.argmax(np.abs(step)))]
            raise InputError(
                "cox.iterations",
                f"column {moving}: its coefficient has not converged in {ITERATIONS_MAX} steps.",
                todo="Leave the column out, or join levels of it that have few events.",
            )
        whole = state.beta + step
        for _ in range(6):
            beta = state.beta + step
            if np.abs(beta).max() <= COEFFICIENT_MAX and np.abs(beta).sum() <= PREDICTOR_MAX:
                return replace(
                    state,
                    stage=stage,
                    iteration=state.iteration + 1,
                    beta=beta,
                    beta_last=state.beta,
                    loglik_last=loglik,
                )
            stage, step = "newton", step / 2
        raise self._monotone(whole)

    def _monotone(self, beta: Floats) -> InputError:
        name = self._setting.design.names[int(np.argmax(np.abs(beta)))]
        return InputError(
            "cox.monotone",
            f"column {name}: its coefficient has no finite estimate, or exceeds {COEFFICIENT_MAX:.0f} where the "
            "declared bounds are −1 and 1: the column tells those with events from those without.",
            todo="Leave it out, join levels, or declare bounds that are closer to its values.",
        )

    def _result(self, total: Contribution, state: CoxState, information: Information) -> dict[str, Any]:
        setting = self._setting
        names = setting.design.names
        coef, cov = setting.design.restore(state.beta, information.inverse)
        loglik, p = float(total["loglik"]), len(names)
        notes = information.notes()
        tests = {"ph_test": self._ph_test(total, state, information, notes), "heterogeneity": _between(total, p, notes)}
        return {
            **envelope("cox", setting.schema.limits, n=state.n, n_dropped=state.n_dropped, notes=notes),
            "events": state.events,
            "baseline": self._spec.baseline,
            "ties": self._spec.ties,
            **coefficient_table(names, coef, cov, self._spec.ci_level, exponentiate=True),
            "loglik": loglik,
            "loglik_null": state.loglik_null,
            "lr": likelihood_ratio(loglik, state.loglik_null, p),
            "aic": 2 * p - 2 * loglik,
            "df_resid": state.n - p,
            "iterations": state.iteration,
            "converged": True,
            **tests,
        }

    def _ph_test(
        self, total: Contribution, state: CoxState, information: Information, notes: list[str]
    ) -> dict[str, Any] | None:
        if not state.timed:
            notes.append("No test of proportional hazards: an event time at or near zero has no logarithm.")
            return None
        names = self._setting.design.names
        weighted, spread = np.asarray(total["weighted_gradient"]), float(total["log_time_spread"])
        test = proportional_hazards(names, weighted, information.inverse, spread, state.events)
        if test is None:
            notes.append("No test of proportional hazards: all events fall on one time.")
        return test


def _score_max(rows_max: int, size: int) -> float:
    """Public bound of a site's score statistic: about twice a log-likelihood difference, it seldom exceeds the rows."""
    return 4.0 * (rows_max + size)


def _between(total: Contribution, size: int, notes: list[str]) -> dict[str, Any] | None:
    if int(total["far_site"]):
        notes.append("No heterogeneity statistic: a site lies further from the joint fit than it can express.")
        return None
    result = heterogeneity(float(total["site_score"]), int(total["site_rank"]), size)
    if result is None:
        notes.append("No heterogeneity statistic: the sites together have no more information than one.")
    return result
