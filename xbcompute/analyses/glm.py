"""Generalised linear models by Newton's method on sums: logistic and Poisson regression.

Rounds: counts and centres · (with an offset: the model without covariates) · ``full`` rounds that open log-likelihood,
score and information · ``score`` rounds that open the score alone and step with the last information, once that
converges fast · a last ``full`` round at the estimate · with ``robust``, the score's outer products. Every opened
number counts (policy C4.10), and a score costs q numbers where the information costs q·(q + 1)/2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xbcompute.analyses.bounds import sum_bound
from xbcompute.analyses.envelope import envelope
from xbcompute.analyses.families import Bernoulli, Counts, Family
from xbcompute.analyses.inference import Information, coefficient_table, likelihood_ratio, pack, robust_table, unpack
from xbcompute.analyses.outcome import Binary, binary, measured
from xbcompute.analyses.regression import OPENED_FIRST, Regressors
from xbcompute.core.arrays import ArraySpec, Contribution, Leakage, Opened
from xbcompute.core.errors import InputError
from xbcompute.core.schema import Rows, Schema
from xbcompute.engines.base import Done
from xbcompute.specs.analysis import Logistic, Poisson

STEPS_MAX = 25
HALVINGS_MAX = 12
COEFFICIENT_MAX = 20.0
"""On the [−1, 1] scale; beyond it the likelihood has no maximum in practice."""

SCORE_BELOW = 1e-2
"""Newton decrement from which the last information is good enough to step with."""

DONE_BELOW = 1e-16
"""Newton decrement, the squared distance to the estimate in standard errors, at which a fit has ended."""

POLISHED_BELOW = 1e-20
"""The same before a last full round, whose information then belongs to the estimate."""


@dataclass(frozen=True)
class GlmState:
    """Where a fit stands. ``gamma`` is the point of this round, ``kept`` the last accepted one with ``info``.

    ``phase``: first, null, full, score or robust. ``loglik`` belongs to ``kept``.
    """

    phase: str
    step: int
    halvings: int
    n: int
    n_dropped: int
    subjects: int
    mean: float
    centre: NDArray[np.float64]
    gamma: NDArray[np.float64]
    kept: NDArray[np.float64]
    info: NDArray[np.float64]
    loglik: float | None
    loglik_null: float | None


class Glm:
    """Logistic or Poisson regression; an :class:`~xbcompute.engines.base.Iterative`.

    Raises:
        InputError: as :class:`~xbcompute.analyses.regression.Regressors` and the outcome's own errors.
    """

    state_type = GlmState

    def __init__(self, spec: Logistic | Poisson, schema: Schema) -> None:
        self.spec = spec
        self.family: Family
        if isinstance(spec, Logistic):
            outcome = binary(spec, schema)
            self.family = Bernoulli()
            self.regressors = Regressors(spec, schema, outcome)
        else:
            counted = measured(spec, schema, whole=True)
            self.family = Counts(counted.upper)
            self.regressors = Regressors(spec, schema, counted)

    def start(self, schema: Schema) -> GlmState:
        """Nothing known yet."""
        p, q = len(self.regressors.design.columns), self.regressors.q
        zeros = np.zeros(q)
        return GlmState("first", 0, 0, 0, 0, 0, 0.0, np.zeros(p), zeros, zeros, np.zeros(q * (q + 1) // 2), None, None)

    def layout(self, state: GlmState) -> Mapping[str, ArraySpec]:
        """See the module's docstring for what each phase opens."""
        if state.phase == "first":
            return self.regressors.first_layout()
        rows_max = float(self.regressors.schema.rows_max)
        q = 1 if state.phase == "null" else self.regressors.q
        eta = self.regressors.predictor_bounds(state.gamma, state.centre)
        residual, weight, loglik = self.family.bounds(eta)
        low, high = self.regressors.reach(state.centre)
        reach = float(np.maximum(np.abs(low), np.abs(high))[:q].max())
        score = ArraySpec((q,), sum_bound(rows_max, residual * reach), role="model")
        if state.phase == "score":
            return {"score": score}
        triangle = (q * (q + 1) // 2,)
        if state.phase == "robust":
            return {"meat": ArraySpec(triangle, sum_bound(rows_max, (residual * reach) ** 2), role="model")}
        return {
            "loglik": ArraySpec((), sum_bound(rows_max, loglik), role="model"),
            "score": score,
            "info": ArraySpec(triangle, sum_bound(rows_max, weight * reach**2), role="model"),
        }

    def local(self, rows: Rows, state: GlmState) -> Contribution:
        """Sums over this holder's rows at ``state.gamma``."""
        if state.phase == "first":
            return self.regressors.first(rows)
        q = 1 if state.phase == "null" else self.regressors.q
        loglik, score, square = 0.0, np.zeros(q), np.zeros((q, q))
        for batch in rows.batches(self.regressors.uses):
            y = self.regressors.outcome.read(batch)
            x = self.regressors.rows(batch, state.centre)
            eta = x @ state.gamma + self.regressors.offset(batch)
            residual = y - self.family.mean(eta)
            x = x[:, :q]
            score += x.T @ residual
            if state.phase == "score":
                continue
            weight = residual**2 if state.phase == "robust" else self.family.weight(eta)
            square += x.T @ (x * weight[:, None])
            if state.phase != "robust":
                loglik += self.family.loglik(y, eta)
        if state.phase == "score":
            return {"score": score}
        if state.phase == "robust":
            return {"meat": pack(square)}
        return {"loglik": np.array(loglik), "score": score, "info": pack(square)}

    def combine(self, total: Contribution, state: GlmState) -> GlmState | Done:
        """The next point, or the fitted model.

        Raises:
            InputError: ``model.separable``, ``model.collinear``, ``model.constant``, ``model.no_convergence``.
            RefusedError: policy C4.10.
        """
        if state.phase == "first":
            return self._after_first(dict(total), state)
        if state.phase == "robust":
            return Done(self._result(state, unpack(total["meat"], self.regressors.q)))
        if state.step >= STEPS_MAX:
            raise self._no_convergence(state)
        if state.phase == "null":
            return self._after_null(total, state)
        if state.phase == "score":
            return self._after_score(total, state)
        return self._after_full(total, state)

    def reveals(self) -> Leakage:
        """Counts and sums once; then what Newton's method reads."""
        q = self.regressors.q
        each = (
            Opened("loglik", (), "log-likelihood of the current model", "当前模型的对数似然"),
            Opened("score", (q,), "its gradient", "其梯度"),
            Opened("info", (q * (q + 1) // 2,), "its information matrix", "其信息矩阵"),
        )
        meat = Opened("meat", (q * (q + 1) // 2,), "outer products of the score, if robust", "得分外积（稳健标准误）")
        once = (*OPENED_FIRST, meat) if self.spec.robust else OPENED_FIRST
        return Leakage(once, each, 1 + 2 * STEPS_MAX)

    # Transitions

    def _after_first(self, total: dict[str, Any], state: GlmState) -> GlmState:
        first = self.regressors.check_first(total)
        mean = first.outcome
        if not isinstance(self.regressors.outcome, Binary):
            middle, half = self.regressors.outcome_scale()
            mean = middle + half * mean
        if not mean > 0:
            raise InputError("model.constant", f"outcome {self.spec.outcome}: every count is zero.")
        gamma = np.zeros(self.regressors.q)
        low, high = self.regressors.offset_bounds()
        gamma[0] = self.family.start(mean) - (low + high) / 2
        return replace(
            state,
            phase="null" if self.regressors.has_offset else "full",
            n=first.n,
            n_dropped=first.n_dropped,
            subjects=first.subjects,
            mean=mean,
            centre=first.centre,
            gamma=gamma,
            kept=gamma,
        )

    def _after_null(self, total: Contribution, state: GlmState) -> GlmState:
        loglik, score, info = float(total["loglik"]), float(total["score"][0]), float(total["info"][0])
        if _fell(loglik, state.loglik):
            return self._halved(state)
        move = score / info
        gamma = state.gamma.copy()
        gamma[0] += move
        if score * move > DONE_BELOW:
            step = replace(state, step=state.step + 1, halvings=0, kept=state.gamma, gamma=gamma, loglik=loglik)
            return self._within(step)
        return replace(state, phase="full", step=0, halvings=0, gamma=gamma, kept=gamma, loglik=None)

    def _after_full(self, total: Contribution, state: GlmState) -> GlmState | Done:
        loglik = float(total["loglik"])
        if _fell(loglik, state.loglik):
            return self._halved(state)
        self._check_reach(state.gamma)
        null = loglik if state.loglik_null is None else state.loglik_null
        information = self._information(total["info"], state)
        score = np.asarray(total["score"])
        move = information.solve(score)
        decrement = float(score @ move)
        moved = replace(
            state,
            step=state.step + 1,
            halvings=0,
            kept=state.gamma,
            gamma=state.gamma + move,
            info=np.asarray(total["info"]),
            loglik=loglik,
            loglik_null=null,
        )
        if decrement <= DONE_BELOW:
            if self.spec.robust:
                return replace(moved, phase="robust")
            return Done(self._result(moved, None))
        return self._within(replace(moved, phase="score" if decrement <= SCORE_BELOW else "full"))

    def _after_score(self, total: Contribution, state: GlmState) -> GlmState:
        matrix = unpack(state.info, self.regressors.q)
        score = np.asarray(total["score"])
        move = self.regressors.information(state.info).solve(score)
        decrement = float(score @ move)
        away = state.gamma - state.kept
        first = float(away @ matrix @ away)
        # A step with an information that is sqrt(first) standard errors old shrinks the distance by about that much.
        ready = decrement * first <= POLISHED_BELOW or decrement > first
        phase = "full" if ready else "score"
        return self._within(replace(state, phase=phase, step=state.step + 1, gamma=state.gamma + move))

    def _information(self, packed: NDArray[Any], state: GlmState) -> Information:
        """The information of a full round; singular at the first it is the columns' fault, later the outcome's."""
        try:
            return self.regressors.information(packed)
        except InputError:
            if state.loglik is None:
                raise
            raise self._separable(state.gamma) from None

    def _halved(self, state: GlmState) -> GlmState:
        if state.halvings >= HALVINGS_MAX:
            raise self._no_convergence(state)
        return replace(state, step=state.step + 1, halvings=state.halvings + 1, gamma=(state.gamma + state.kept) / 2)

    def _within(self, state: GlmState) -> GlmState:
        """The step cut in half until the predictor's public bound is one that sums can carry."""
        most = self.family.predictor_max(state.mean)
        gamma = state.gamma
        for _ in range(HALVINGS_MAX):
            if self.regressors.predictor_bounds(gamma, state.centre)[1] <= most:
                return replace(state, gamma=gamma)
            gamma = (gamma + state.kept) / 2
        raise self._no_convergence(state)

    def _check_reach(self, gamma: NDArray[Any]) -> None:
        if len(gamma) > 1 and np.abs(gamma[1:]).max() > COEFFICIENT_MAX:
            raise self._separable(gamma)

    def _separable(self, gamma: NDArray[Any]) -> InputError:
        return InputError(
            "model.separable",
            f"column {self.regressors.names[1 + int(np.abs(gamma[1:]).argmax())]}: its coefficient grows without end "
            f"(limit {COEFFICIENT_MAX:g} on the [-1, 1] scale of its bounds).",
            todo="It may separate the outcome, or its declared bounds are far wider than its values.",
        )

    def _no_convergence(self, state: GlmState) -> InputError:
        away = np.abs(state.gamma - state.kept)[1:]
        name = self.regressors.names[1 + int(away.argmax())] if state.phase != "null" else "Intercept"
        return InputError(
            "model.no_convergence",
            f"column {name}: the fit did not settle in {STEPS_MAX} steps.",
            todo="Look for levels or values that determine the outcome, and for bounds far wider than the values.",
        )

    def _result(self, state: GlmState, meat: NDArray[Any] | None) -> dict[str, Any]:
        assert state.loglik is not None
        assert state.loglik_null is not None
        regressors, limits = self.regressors, self.regressors.schema.limits
        matrix, last = unpack(state.info, regressors.q), state.gamma - state.kept
        information = regressors.information(state.info)
        bread = information.inverse
        coef, cov = regressors.restore(state.gamma, bread, state.centre)
        loglik = state.loglik + float(last @ matrix @ last) / 2
        notes = information.notes()
        if regressors.schema.subjects == "many":
            notes.append("Rows of one subject are treated as independent.")
        result = envelope(self.spec.kind, limits, n=state.n, n_dropped=state.n_dropped, notes=notes)
        if regressors.schema.subjects == "many":
            result["subjects"] = state.subjects
        if isinstance(regressors.outcome, Binary):
            result["positive"] = regressors.outcome.shown
        result |= coefficient_table(regressors.names, coef, cov, self.spec.ci_level, exponentiate=True)
        result |= {
            "loglik": loglik,
            "loglik_null": state.loglik_null,
            "lr": likelihood_ratio(loglik, state.loglik_null, regressors.q - 1),
            "aic": -2 * loglik + 2 * regressors.q,
            "df_resid": state.n - regressors.q,
            "iterations": state.step,
            "converged": True,
        }
        if meat is not None and self.spec.robust is not None:
            _, cov = regressors.restore(state.gamma, bread @ meat @ bread, state.centre)
            result["robust"] = robust_table(
                self.spec.robust, regressors.names, coef, cov, n=state.n, ci_level=self.spec.ci_level
            )
        return result


def _fell(loglik: float, before: float | None) -> bool:
    return before is not None and loglik < before - 1e-11 * max(1.0, abs(before))
