"""Cox's proportional hazards model over holders: Newton's method on sums.

Covariates are mapped to [−1, 1] by their public bounds. ``cox_site`` gives every site its own baseline hazard,
``cox_shared`` one to all; either turns the opened sums into a log-likelihood with its derivatives. The first of them is
at β = 0 (the null log-likelihood), the last one at the estimates, where the sums of the tests are opened too.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Final

import numpy as np

from xbcompute.analyses.cox_likelihood import Sums
from xbcompute.analyses.cox_rows import CoxRows
from xbcompute.analyses.cox_shared import SharedBaseline
from xbcompute.analyses.cox_site import SiteBaseline
from xbcompute.analyses.cox_state import Baseline, CoxState, Floats
from xbcompute.analyses.cox_tests import proportional_hazards
from xbcompute.analyses.envelope import envelope
from xbcompute.analyses.inference import Information, coefficient_table, likelihood_ratio
from xbcompute.core.arrays import Contribution, Layout, Leakage
from xbcompute.core.errors import InputError
from xbcompute.core.schema import Rows, Schema
from xbcompute.disclosure.models import check_own_size, check_size
from xbcompute.engines.base import Done
from xbcompute.specs.analysis import Cox as CoxSpec

ITERATIONS_MAX: Final = 25
COEFFICIENT_MAX: Final = 20.0
"""Largest |β| on covariates in [−1, 1]: a hazard ratio of e⁴⁰ between the two ends of a column."""

CLOSE: Final = 3e-5
"""Newton decrement (distance to the optimum in standard errors) from which the next round should be the last."""

SETTLED: Final = 3e-9
"""Newton decrement at which the tests and the covariance are taken; the last step removes what is left."""

_FLAT: Final = 1e-3
"""Share of the information at β = 0 below which a coefficient that still grows has no finite estimate."""


class Cox:
    """An :class:`~xbcompute.engines.base.Iterative` analysis; oracle: a pooled fit, with the party as stratum where
    every site has its own baseline.

    Raises:
        InputError: as :meth:`~xbcompute.analyses.cox_rows.CoxRows.of`; ``cox.unit``.
    """

    state_type = CoxState

    def __init__(self, spec: CoxSpec, schema: Schema) -> None:
        self._spec = spec
        self._setting = CoxRows.of(spec, schema)
        self._baseline: Baseline = (
            SharedBaseline(self._setting, spec.ties, spec.unit, spec.id)
            if spec.baseline == "shared"
            else SiteBaseline(self._setting, spec.ties)
        )

    def start(self, schema: Schema) -> CoxState:
        """β = 0."""
        zero = np.zeros(len(self._setting.design.columns))
        grid = np.zeros((2, 0, 0), dtype=np.int64)
        return CoxState(self._baseline.first_stage, 0, zero, zero, 0.0, 0.0, zero, 0, 0, 0, 0.0, 0, grid, zero)

    def layout(self, state: CoxState) -> Layout:
        """What the baseline opens at ``state``."""
        return self._baseline.layout(state)

    def local(self, rows: Rows, state: CoxState) -> Contribution:
        """One pass over this holder's rows, largest time first.

        Raises:
            InputError: a value out of bounds. RefusedError: too few rows for so many coefficients (policy C4.10).
        """
        check_own_size(rows.n, len(state.beta), self._setting.schema.limits)
        return self._baseline.local(rows, state)

    def combine(self, total: Contribution, state: CoxState) -> CoxState | Done:
        """The next Newton step, or the result.

        Raises:
            InputError: ``cox.no_events``, ``model.empty_level``, ``model.separable``, ``model.constant``,
                ``model.collinear``, ``cox.monotone``, ``cox.iterations``; each names the column.
            RefusedError: policy C4.10; ``cox.shared``, ``cox.shared_scalars``.
        """
        if "n" in total:
            check_size(int(total["n"]), len(state.beta), self._setting.schema.limits)
            counted = replace(state, n=int(total["n"]), n_dropped=int(total["n_dropped"]))
            state = self._baseline.counted(total, counted)
        if state.stage == "counts":
            self._baseline.check_next(state)
            return replace(state, stage="null")
        sums = self._baseline.sums(total, state)
        if state.stage != "null" and sums.loglik < state.loglik_last - 1e-9 * (1 + abs(sums.loglik)):
            back = replace(state, beta=state.beta_last)
            return self._next(back, (state.beta - state.beta_last) / 2, "newton", state.loglik_last)
        information = self._information(sums, state)
        precision = 1 / np.diag(information.inverse)
        if state.stage == "null":
            state = self._baseline.covariates(total, state)
            state = replace(state, loglik_null=sums.loglik, precision_null=precision)
        step = information.solve(sums.gradient)
        decrement = math.sqrt(max(float(sums.gradient @ step), 0.0))
        if state.stage == "final" and decrement <= SETTLED:
            return Done(self._result(total, replace(state, beta=state.beta + step), sums, information))
        growing = (precision < _FLAT * state.precision_null) & (np.abs(step) > 0.1) & (step * state.beta > 0)
        if growing.any():
            raise self._monotone(np.where(growing, state.beta, 0))
        close = decrement <= CLOSE and float(np.abs(step).max()) <= 1e-3
        return self._next(state, step, "final" if close else "newton", sums.loglik)

    def reveals(self) -> Leakage:
        """What the baseline opens."""
        return self._baseline.reveals(ITERATIONS_MAX + 1)

    def _information(self, sums: Sums, state: CoxState) -> Information:
        try:
            return Information(self._setting.design.names, sums.information)
        except InputError as error:
            if state.stage == "null":
                raise
            # The columns were independent at β = 0: what became singular is a likelihood that has gone flat.
            raise self._monotone(state.beta) from error

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
            if np.abs(beta).max() <= COEFFICIENT_MAX and np.abs(beta).sum() <= self._baseline.predictor_max:
                following = replace(
                    state,
                    stage=stage,
                    iteration=state.iteration + 1,
                    beta=beta,
                    beta_last=state.beta,
                    loglik_last=loglik,
                )
                self._baseline.check_next(following)
                return following
            stage, step = "newton", step / 2
        raise self._monotone(whole)

    def _monotone(self, beta: Floats) -> InputError:
        name = self._setting.design.names[int(np.argmax(np.abs(beta)))]
        return InputError(
            "cox.monotone",
            f"column {name}: its coefficient has no finite estimate, or is too large where the declared bounds are −1 "
            "and 1: the column tells those with events from those without.",
            todo="Leave it out, join levels, or declare bounds that are closer to its values.",
        )

    def _result(self, total: Contribution, state: CoxState, sums: Sums, information: Information) -> dict[str, Any]:
        names, limits = self._setting.design.names, self._setting.schema.limits
        coef, cov = self._setting.design.restore(state.beta, information.inverse)
        p = len(names)
        notes = information.notes()
        ph_test = self._ph_test(total, state, sums, information, notes)
        between = self._baseline.heterogeneity(total, notes)
        return {
            **envelope("cox", limits, n=state.n, n_dropped=state.n_dropped, notes=notes),
            "events": state.events,
            "baseline": self._spec.baseline,
            "ties": self._spec.ties,
            **coefficient_table(names, coef, cov, self._spec.ci_level, exponentiate=True),
            "loglik": sums.loglik,
            "loglik_null": state.loglik_null,
            "lr": likelihood_ratio(sums.loglik, state.loglik_null, p),
            "aic": 2 * p - 2 * sums.loglik,
            "df_resid": state.n - p,
            "iterations": state.iteration,
            "converged": True,
            "ph_test": ph_test,
            "heterogeneity": between,
        }

    def _ph_test(
        self, total: Contribution, state: CoxState, sums: Sums, information: Information, notes: list[str]
    ) -> dict[str, Any] | None:
        if not state.timed:
            notes.append("No test of proportional hazards: an event time at or near zero has no logarithm.")
            return None
        spread = self._baseline.spread(total, state)
        names = self._setting.design.names
        test = proportional_hazards(names, sums.weighted, information.inverse, spread, state.events)
        if test is None:
            notes.append("No test of proportional hazards: all events fall on one time.")
        return test
