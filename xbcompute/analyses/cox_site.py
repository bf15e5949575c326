"""A baseline hazard of its own at every site: the partial likelihood is a sum of the sites' own.

Each round opens one log-likelihood, one score and one information matrix; the first one also the counts that output
checks need, the last one the sums of the tests in ``cox_tests``.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xbcompute.analyses.cox_likelihood import PREDICTOR_MAX, Sums, Ties, partial_likelihood
from xbcompute.analyses.cox_rows import CoxRows, Tally
from xbcompute.analyses.cox_state import SLACK, CoxState
from xbcompute.analyses.cox_tests import heterogeneity, site_score
from xbcompute.analyses.inference import pack, unpack
from xbcompute.core.arrays import ArraySpec, Contribution, Leakage, Opened
from xbcompute.core.schema import Rows

_ONCE: Final = (
    Opened("n, n_dropped", (2,), "rows used, rows dropped", "使用的行数、剔除的行数"),
    Opened("cells", ("levels", 2), "rows censored and with an event, by level", "各水平的删失数与事件数"),
    Opened("log_time", (), "sum of the logarithms of event times", "事件时间对数之和"),
    Opened("no_log_time", (), "sites with an event time too near zero", "有事件时间过近于零的站点数"),
    Opened("weighted_gradient", ("p",), "score weighted by log time", "按对数时间加权的得分"),
    Opened("log_time_spread", (), "spread of the logarithms", "对数时间的离差平方和"),
    Opened("site_score", (), "score statistic, summed over sites", "各站点得分统计量之和"),
    Opened("site_rank, far_site", (2,), "ranks and overflow marks, summed over sites", "各站点秩与越界标记之和"),
)
_EACH_ROUND: Final = (
    Opened("loglik", (), "partial log-likelihood, summed over sites", "各站点偏对数似然之和"),
    Opened("gradient", ("p",), "its gradient at the round's coefficients", "其在本轮系数处的梯度"),
    Opened("information", ("p(p+1)/2",), "its information matrix, upper triangle", "其信息矩阵的上三角"),
)


class SiteBaseline:
    """See :class:`~xbcompute.analyses.cox_state.Baseline`."""

    first_stage = "null"
    predictor_max = PREDICTOR_MAX

    def __init__(self, setting: CoxRows, ties: Ties) -> None:
        self._setting = setting
        self._ties = ties

    def layout(self, state: CoxState) -> dict[str, ArraySpec]:
        """Shapes and bounds; with |z| ≤ 1 an event adds at most 2Σ|β| + log n, 2 and 1 to the three sums."""
        n, p = self._setting.schema.rows_max, len(state.beta)
        reach = 2 * float(np.abs(state.beta).sum()) + math.log(n) + 1
        layout = {
            "loglik": ArraySpec((), SLACK * n * reach, role="model"),
            "gradient": ArraySpec((p,), SLACK * 2 * n, role="model"),
            "information": ArraySpec((p * (p + 1) // 2,), SLACK * n, role="model"),
        }
        if state.stage == "null":
            layout |= self._setting.counts_layout()
            layout["log_time"] = ArraySpec((), SLACK * n * self._setting.log_time.width, role="model")
            layout["no_log_time"] = ArraySpec((), 1, integer=True, role="model")
        if state.stage == "final":
            layout["site_score"] = ArraySpec((), _score_max(n, p), role="model")
            layout["site_rank"] = ArraySpec((), p, integer=True, role="model")
            layout["far_site"] = ArraySpec((), 1, integer=True, role="model")
        if state.stage == "final" and state.timed:
            width = self._setting.log_time.width
            layout["weighted_gradient"] = ArraySpec((p,), SLACK * 2 * n * width, role="model")
            layout["log_time_spread"] = ArraySpec((), SLACK * n * width**2, role="model")
        return layout

    def local(self, rows: Rows, state: CoxState) -> dict[str, NDArray[Any]]:
        """One pass over this holder's rows, largest time first."""
        setting = self._setting
        timed = state.stage == "final" and state.timed == 1
        tally = Tally(setting, state.mean_log_time, cells=state.stage == "null")
        sums = partial_likelihood(
            setting.batches(rows, tally if state.stage != "newton" else None),
            state.beta,
            ties=self._ties,
            transform=(lambda time: setting.log_time(time) - state.mean_log_time) if timed else None,
        )
        arrays: dict[str, NDArray[Any]] = {
            "loglik": np.array(sums.loglik),
            "gradient": sums.gradient,
            "information": pack(sums.information),
        }
        if state.stage == "null":
            arrays |= setting.counts(rows, tally)
            arrays["log_time"] = np.array(tally.log_time)
            arrays["no_log_time"] = np.array(int(tally.no_log_time))
        if state.stage == "final":
            score, rank = site_score(sums.gradient, sums.information, tally.events)
            far = score > _score_max(setting.schema.rows_max, len(state.beta))
            arrays["site_score"] = np.array(0.0 if far else score)
            arrays["site_rank"] = np.array(rank)
            arrays["far_site"] = np.array(int(far))
        if timed:
            arrays["weighted_gradient"] = sums.weighted
            arrays["log_time_spread"] = np.array(tally.spread)
        return arrays

    def counted(self, total: Contribution, state: CoxState) -> CoxState:
        """See :meth:`~xbcompute.analyses.cox_rows.CoxRows.check_counts` for what it raises."""
        events = self._setting.check_counts(total)
        mean, timed = float(total["log_time"]) / events, int(total["no_log_time"] == 0)
        return replace(state, events=events, mean_log_time=mean, timed=timed)

    def check_next(self, state: CoxState) -> None:
        """A session's count of opened scalars is all that limits the rounds."""

    def sums(self, total: Contribution, state: CoxState) -> Sums:
        """The sums as they came."""
        p = len(state.beta)
        weighted = total["weighted_gradient"] if "weighted_gradient" in total else np.zeros(p)
        information = unpack(np.asarray(total["information"]), p)
        return Sums(float(total["loglik"]), np.asarray(total["gradient"]), information, np.asarray(weighted))

    def covariates(self, total: Contribution, state: CoxState) -> CoxState:
        """Nothing more."""
        return state

    def spread(self, total: Contribution, state: CoxState) -> float:
        """As opened in the last round."""
        return float(total["log_time_spread"])

    def heterogeneity(self, total: Contribution, notes: list[str]) -> dict[str, Any] | None:
        """From the sums of the sites' score statistics and ranks."""
        if int(total["far_site"]):
            notes.append("No heterogeneity statistic: a site lies further from the joint fit than it can express.")
            return None
        p = np.asarray(total["gradient"]).size
        result = heterogeneity(float(total["site_score"]), int(total["site_rank"]), p)
        if result is None:
            notes.append("No heterogeneity statistic: the sites together have no more information than one.")
        return result

    def reveals(self, rounds_max: int) -> Leakage:
        """Counts, each round's log-likelihood, score and information, the sums of the tests."""
        return Leakage(once=_ONCE, each_round=_EACH_ROUND, rounds_max=rounds_max)


def _score_max(rows_max: int, size: int) -> float:
    """Public bound of a site's score statistic: about twice a log-likelihood difference, it seldom exceeds the rows."""
    return 4.0 * (rows_max + size)
