"""Ordinary least squares on sums: centres, cross products about them, then the residuals' own sums.

The last round refines the solution of the normal equations and gives the residual sum of squares without the
cancellation that ``y'y − b'X'y`` suffers when the fit is close.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xbcompute.analyses.bounds import sum_bound
from xbcompute.analyses.envelope import envelope
from xbcompute.analyses.inference import coefficient_table, likelihood_ratio, pack, robust_table, unpack
from xbcompute.analyses.outcome import measured
from xbcompute.analyses.regression import OPENED_FIRST, VARIATION_MIN, Regressors
from xbcompute.core.arrays import ArraySpec, Contribution, Leakage, Opened
from xbcompute.core.errors import InputError
from xbcompute.core.schema import Batch, Rows, Schema
from xbcompute.engines.base import Done
from xbcompute.specs.analysis import Linear as LinearSpec


@dataclass(frozen=True)
class LinearState:
    """``phase``: first, cross or residual. ``gamma`` fits the outcome on [−1, 1] about its mean ``outcome``.

    ``total`` is the outcome's sum of squares, ``spread`` a public bound of the residuals'.
    """

    phase: str
    n: int
    n_dropped: int
    subjects: int
    outcome: float
    centre: NDArray[np.float64]
    gamma: NDArray[np.float64]
    cross: NDArray[np.float64]
    total: float
    spread: float


class Linear:
    """Ordinary least squares; an :class:`~xbcompute.engines.base.Iterative`.

    Raises:
        InputError: as :class:`~xbcompute.analyses.regression.Regressors` and ``outcome.column``.
    """

    state_type = LinearState

    def __init__(self, spec: LinearSpec, schema: Schema) -> None:
        if spec.exposure is not None:
            raise InputError("design.offset", f"{spec.id}: 'exposure' belongs to counts.", todo="Use 'offset'.")
        self.spec = spec
        self.regressors = Regressors(spec, schema, measured(spec, schema))

    def start(self, schema: Schema) -> LinearState:
        """Nothing known yet."""
        p, q = len(self.regressors.design.columns), self.regressors.q
        return LinearState("first", 0, 0, 0, 0.0, np.zeros(p), np.zeros(q), np.zeros(q * (q + 1) // 2), 0.0, 0.0)

    def layout(self, state: LinearState) -> Mapping[str, ArraySpec]:
        """See :class:`LinearState` for the phases."""
        if state.phase == "first":
            return self.regressors.first_layout()
        rows_max, q = float(self.regressors.schema.rows_max), self.regressors.q
        low, high = self.regressors.reach(state.centre)
        reach = float(np.maximum(np.abs(low), np.abs(high)).max())
        triangle = (q * (q + 1) // 2,)
        if state.phase == "cross":
            y = self._outcome_max(state)
            return {
                "xx": ArraySpec(triangle, sum_bound(rows_max, reach**2), role="model"),
                "xy": ArraySpec((q,), sum_bound(rows_max, reach * y), role="model"),
                "yy": ArraySpec((), sum_bound(rows_max, y**2), role="model"),
            }
        # The pooled sum of squares bounds every holder's, far below what the columns' bounds say of a close fit.
        layout = {
            "xy": ArraySpec((q,), reach * math.sqrt(rows_max * state.spread), role="model"),
            "yy": ArraySpec((), state.spread, role="model"),
        }
        if self.spec.robust:
            layout["meat"] = ArraySpec(triangle, reach**2 * state.spread, role="model")
        return layout

    def local(self, rows: Rows, state: LinearState) -> Contribution:
        """Sums over this holder's rows of products with the outcome less ``gamma``'s prediction."""
        if state.phase == "first":
            return self.regressors.first(rows)
        q = self.regressors.q
        xy, yy, square = np.zeros(q), 0.0, np.zeros((q, q))
        for batch in rows.batches(self.regressors.uses):
            x = self.regressors.rows(batch, state.centre)
            y = self._outcome(batch) - state.outcome - x @ state.gamma
            xy += x.T @ y
            yy += float(y @ y)
            if state.phase == "cross":
                square += x.T @ x
            elif self.spec.robust:
                square += x.T @ (x * (y**2)[:, None])
        sums = {"xy": xy, "yy": np.array(yy)}
        if state.phase == "cross":
            return {"xx": pack(square)} | sums
        return sums | ({"meat": pack(square)} if self.spec.robust else {})

    def combine(self, total: Contribution, state: LinearState) -> LinearState | Done:
        """The next round, or the fitted model.

        Raises:
            InputError: ``model.collinear``, ``model.constant``, ``model.exact``. RefusedError: policy C4.10.
        """
        if state.phase == "first":
            first = self.regressors.check_first(dict(total))
            return replace(
                state,
                phase="cross",
                n=first.n,
                n_dropped=first.n_dropped,
                subjects=first.subjects,
                outcome=first.outcome,
                centre=first.centre,
            )
        if state.phase == "cross":
            cross = np.asarray(total["xx"])
            xy, squares = np.asarray(total["xy"]), float(total["yy"])
            gamma = self.regressors.information(cross).solve(xy)
            if squares <= VARIATION_MIN**2 * state.n:
                raise InputError("model.constant", f"outcome {self.spec.outcome}: all rows have the same value.")
            # The slack covers what cancellation and fixed point may take from a difference of large numbers.
            spread = 1.001 * max(squares - float(gamma @ xy), 0.0) + 1e-6 * squares
            return replace(state, phase="residual", gamma=gamma, cross=cross, total=squares, spread=spread)
        return Done(self._result(total, state))

    def reveals(self) -> Leakage:
        """Counts, sums, cross products, and the residuals' sums; never a residual."""
        q = self.regressors.q
        opened = [
            *OPENED_FIRST,
            Opened("xx", (q * (q + 1) // 2,), "cross products of the columns", "各列的交叉乘积"),
            Opened("xy", (q,), "products with the outcome, then with the residuals", "与结局（其后与残差）的乘积之和"),
            Opened("yy", (), "sum of squares of the outcome, then of the residuals", "结局（其后残差）的平方和"),
        ]
        if self.spec.robust:
            opened.append(Opened("meat", (q * (q + 1) // 2,), "outer products of the score", "得分外积（稳健标准误）"))
        return Leakage(tuple(opened), (), 3)

    def _outcome(self, batch: Batch) -> NDArray[Any]:
        values = self.regressors.outcome.read(batch) - self.regressors.offset(batch)
        return self.regressors.scaled_outcome(values)

    def _outcome_max(self, state: LinearState) -> float:
        _, half = self.regressors.outcome_scale()
        return 1 + abs(state.outcome) + max(abs(bound) for bound in self.regressors.offset_bounds()) / half

    def _result(self, total: Contribution, state: LinearState) -> dict[str, Any]:
        regressors, spec = self.regressors, self.spec
        information = regressors.information(state.cross)
        refined = information.solve(np.asarray(total["xy"]))
        rss = float(total["yy"]) - float(refined @ np.asarray(total["xy"]))
        n, q = state.n, regressors.q
        if not rss > 0:
            raise InputError(
                "model.exact", f"outcome {spec.outcome}: the covariates determine it exactly.", todo="Leave them out."
            )
        middle, half = regressors.outcome_scale()
        variance = rss / (n - q)
        bread = information.inverse
        gamma = (state.gamma + refined) * half
        gamma[0] += middle + half * state.outcome
        coef, cov = regressors.restore(gamma, bread * variance * half**2, state.centre)
        notes = information.notes()
        if regressors.schema.subjects == "many":
            notes.append("Rows of one subject are treated as independent.")
        result = envelope(spec.kind, regressors.schema.limits, n=n, n_dropped=state.n_dropped, notes=notes)
        if regressors.schema.subjects == "many":
            result["subjects"] = state.subjects
        result |= coefficient_table(regressors.names, coef, cov, spec.ci_level, df=n - q)
        loglik, loglik_null = (_loglik(n, value * half**2) for value in (rss, state.total))
        result |= {
            "sigma": half * math.sqrt(variance),
            "r_squared": 1 - rss / state.total,
            "loglik": loglik,
            "loglik_null": loglik_null,
            "lr": likelihood_ratio(loglik, loglik_null, q - 1),
            "aic": -2 * loglik + 2 * q,
            "df_resid": n - q,
            "iterations": 1,
            "converged": True,
        }
        if spec.robust is not None:
            _, robust = regressors.restore(gamma, bread @ unpack(total["meat"], q) @ bread * half**2, state.centre)
            result["robust"] = robust_table(spec.robust, regressors.names, coef, robust, n=n, ci_level=spec.ci_level)
        return result


def _loglik(n: int, squares: float) -> float:
    return -n / 2 * (math.log(2 * math.pi) + math.log(squares / n) + 1)
