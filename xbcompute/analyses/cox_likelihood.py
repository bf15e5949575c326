"""The partial log-likelihood of proportional hazards with its derivatives, in one pass over rows sorted by time.

For a row with covariates z, linear predictor η = z·β and weight w = exp(η), let R(t) be the risk set at an event time t
(of the row's stratum), d the events at t, S0, S1, S2 the sums over R(t) of w, w·z, w·zzᵀ, and T0, T1, T2 the same sums
over the events at t. With g running over (d−l)/d, l = 0 … d−1 (Efron), or d times g = 1 (Breslow, where tied events
are not taken out), the time t contributes

    Σ_events η − Σ_l log D_l,      D_l = (S0 − T0) + g·T0        to the log-likelihood,
    Σ_events z − Σ_l m_l,          m_l = ((S1 − T1) + g·T1)/D_l  to the gradient,
    Σ_l ((S2 − T2) + g·T2)/D_l − Σ_l m_l·m_lᵀ                    to the information.

Rows come largest time first, so that each sum over R(t) is a running sum: nothing is held but one sum a stratum, and a
batch may end anywhere. The second-moment term is not accumulated time by time: each row enters it once, with the sum of
1/D over the event times it is at risk at, which makes it one matrix product.

Sources: Efron (1977), Breslow (1974); Therneau and Grambsch (2000), chapter 3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xbcompute.core.errors import InputError

Ties: TypeAlias = Literal["efron", "breslow"]
Floats: TypeAlias = NDArray[np.float64]

PREDICTOR_MAX = 300.0
"""Largest Σ|β| on covariates in [−1, 1] that is evaluated: centred η stays within ±600, where exp is finite."""

_BLOCK = 4096
"""Rows handled at a time: ten covariates of them stay in a core's cache, and their products start no BLAS threads."""


@dataclass(frozen=True)
class SurvivalBatch:
    """Rows with times that never increase, from one batch to the next either.

    ``z`` is (n, p), covariates in [−1, 1]; ``event`` is bool; ``stratum`` holds whole numbers (None: one stratum).
    """

    time: Floats
    event: NDArray[np.bool_]
    z: Floats
    stratum: NDArray[np.int64] | None = None


@dataclass
class Sums:
    """What one evaluation gives, over all event times of all strata; additive over holders.

    ``information`` is minus the matrix of second derivatives. ``weighted`` is the gradient with each event time's part
    multiplied by the transform of that time (zero where none was asked for).
    """

    loglik: float
    gradient: Floats
    information: Floats
    weighted: Floats

    @classmethod
    def zero(cls, size: int) -> Sums:
        """The sums of no rows, for ``size`` coefficients."""
        return cls(0.0, np.zeros(size), np.zeros((size, size)), np.zeros(size))


@dataclass
class _RiskSet:
    """Running sums over the rows of one stratum seen so far."""

    s0: float
    s1: Floats
    s2: Floats


@dataclass
class _Pass:
    """One evaluation under way."""

    beta: Floats
    ties: Ties
    transform: Callable[[Floats], Floats] | None
    sums: Sums
    risk: dict[int, _RiskSet] = field(default_factory=dict)

    def risk_set(self, stratum: int) -> _RiskSet:
        size = self.beta.size
        return self.risk.setdefault(stratum, _RiskSet(0.0, np.zeros(size), np.zeros((size, size))))


def partial_likelihood(
    batches: Iterable[SurvivalBatch],
    beta: Floats,
    *,
    ties: Ties,
    transform: Callable[[Floats], Floats] | None = None,
) -> Sums:
    """Log-likelihood, gradient and information at ``beta`` (p,); run by each holder on its own rows.

    Every stratum of every holder has its own baseline hazard. ``transform`` maps event times to the weights of
    :attr:`Sums.weighted`.

    Raises:
        InputError: Σ|β| is beyond :data:`PREDICTOR_MAX`, or times increase from one row to the next.
    """
    if not float(np.abs(beta).sum()) <= PREDICTOR_MAX:
        raise InputError("cox.predictor", "the linear predictor leaves the range in which it can be evaluated.")
    run = _Pass(beta, ties, transform, Sums.zero(beta.size))
    centre: Floats | None = None
    for batch in _whole_ties(batches):
        if centre is None:
            # The likelihood does not change with a shift of z, and second moments about a mean keep their digits.
            centre = batch.z.mean(axis=0)
        for stratum, part in _by_stratum(batch):
            for cut in _cuts(_group_starts(part.time), part.time.size):
                z = np.ascontiguousarray((part.z[cut] - centre).T)
                _add(run, run.risk_set(stratum), part.time[cut], part.event[cut], z)
    return run.sums


def _whole_ties(batches: Iterable[SurvivalBatch]) -> Iterator[SurvivalBatch]:
    """The same rows, cut so that no time stands in two batches."""
    pending: SurvivalBatch | None = None
    for batch in batches:
        time = batch.time
        if time.size == 0:
            continue
        if np.any(time[1:] > time[:-1]) or (pending is not None and time[0] > pending.time[-1]):
            raise InputError("cox.order", "rows of a survival analysis must come sorted, largest time first.")
        begin = 0
        if pending is not None:
            begin = time.size - int(np.searchsorted(time[::-1], pending.time[-1], side="left"))
            pending = _joined(pending, _slice(batch, slice(0, begin)))
            if begin == time.size:
                continue
            yield pending
        end = time.size - int(np.searchsorted(time[::-1], time[-1], side="right"))
        if end > begin:
            yield _slice(batch, slice(begin, end))
        pending = _slice(batch, slice(end, None))
    if pending is not None:
        yield pending


def _joined(first: SurvivalBatch, second: SurvivalBatch) -> SurvivalBatch:
    stratum = None
    if first.stratum is not None and second.stratum is not None:
        stratum = np.concatenate([first.stratum, second.stratum])
    return SurvivalBatch(
        np.concatenate([first.time, second.time]),
        np.concatenate([first.event, second.event]),
        np.concatenate([first.z, second.z]),
        stratum,
    )


def _slice(batch: SurvivalBatch, rows: slice | NDArray[np.int64]) -> SurvivalBatch:
    return SurvivalBatch(
        batch.time[rows], batch.event[rows], batch.z[rows], None if batch.stratum is None else batch.stratum[rows]
    )


def _by_stratum(batch: SurvivalBatch) -> Iterator[tuple[int, SurvivalBatch]]:
    if batch.stratum is None:
        yield 0, batch
        return
    order = np.argsort(batch.stratum, kind="stable")
    codes, starts = np.unique(batch.stratum[order], return_index=True)
    for code, rows in zip(codes, np.split(order, starts[1:]), strict=True):
        yield int(code), _slice(batch, rows)


def _group_starts(time: Floats) -> NDArray[np.int64]:
    return np.concatenate([[0], np.flatnonzero(time[1:] != time[:-1]) + 1]).astype(np.int64)


def _cuts(starts: NDArray[np.int64], rows: int) -> Iterator[slice]:
    """Slices of about :data:`_BLOCK` rows that begin where a time begins."""
    begin = 0
    while begin < rows:
        position = int(np.searchsorted(starts, begin + _BLOCK, side="left"))
        end = int(starts[position]) if position < starts.size else rows
        yield slice(begin, end)
        begin = end


@dataclass(frozen=True)
class _Block:
    """Whole times of one stratum: ``z`` and ``weighted`` (w·z) are (p, n); a group is the rows of one time.

    ``event`` is 0 or 1, ``starts`` each group's first row, ``deaths`` its number of events.
    """

    time: Floats
    event: Floats
    z: Floats
    eta: Floats
    weight: Floats
    weighted: Floats
    starts: NDArray[np.int64]
    deaths: NDArray[np.int64]


def _add(run: _Pass, risk: _RiskSet, time: Floats, event: NDArray[np.bool_], z: Floats) -> None:
    """Take whole times of one stratum in; ``z`` is (p, n)."""
    eta = run.beta @ z
    weight = np.exp(eta)
    starts = _group_starts(time)
    deaths = np.add.reduceat(event.astype(np.int64), starts)
    block = _Block(time, event.astype(np.float64), z, eta, weight, z * weight, starts, deaths)
    if deaths.any():
        run.sums.information += (block.weighted * _at_event_times(run, risk, block)) @ z.T
    risk.s0 += float(weight.sum())
    risk.s1 += block.weighted.sum(axis=1)
    risk.s2 += block.weighted @ z.T


def _at_event_times(run: _Pass, risk: _RiskSet, block: _Block) -> Floats:
    """Add every term of this block but its own rows' second moments; gives the factor of each row in those."""
    sums, event = run.sums, block.event
    has_event = block.deaths > 0
    counts = np.diff(block.starts, append=block.time.size)
    starts, d = block.starts[has_event], block.deaths[has_event]
    s0, s1 = _running(risk, block, starts + counts[has_event])
    tied = None
    if run.ties == "efron" and int(d.max()) > 1:
        # From one event time's first row to the next one's there are no events but its own.
        tied = np.add.reduceat(block.weight * event, starts), np.add.reduceat(block.weighted * event, starts, axis=1)
    terms = tie_terms(run.ties, d, (s0, s1), tied)

    sums.loglik += float(block.eta @ event) - terms.log_risk
    sums.gradient += block.z @ event - terms.means.sum(axis=1)
    sums.information += risk.s2 * float(terms.hazard.sum()) - terms.outer
    if run.transform is not None:
        u = run.transform(block.time[starts])
        sums.weighted += block.z @ (event * _to_rows(u, has_event, counts)) - terms.means @ u

    # A row is at risk at its own time and at every later group, since later groups have smaller times.
    later = np.concatenate([np.cumsum(terms.hazard[::-1])[::-1], [0.0]])
    factor: Floats = np.repeat(later[np.cumsum(has_event) - has_event], counts)
    if terms.own is not terms.hazard:
        factor -= event * _to_rows(terms.hazard - terms.own, has_event, counts)
    return factor


def _to_rows(values: Floats, has_event: NDArray[np.bool_], counts: NDArray[np.int64]) -> Floats:
    """A value for each event time, at every row of that time; 0 at rows of other times."""
    spread = np.zeros(has_event.size)
    spread[has_event] = values
    return np.repeat(spread, counts)


def _running(risk: _RiskSet, block: _Block, ends: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """S0 (groups,) and S1 (p, groups) over all rows up to each of ``ends``."""
    if ends.size * 8 > block.weight.size:
        s0 = np.cumsum(block.weight)[ends - 1]
        s1 = np.cumsum(block.weighted, axis=1)[:, ends - 1]
    else:
        begins = np.concatenate([[0], ends[:-1]])
        s0 = np.cumsum(np.add.reduceat(block.weight[: ends[-1]], begins))
        s1 = np.cumsum(np.add.reduceat(block.weighted[:, : ends[-1]], begins, axis=1), axis=1)
    return s0 + risk.s0, s1 + risk.s1[:, None]


@dataclass(frozen=True)
class TieTerms:
    """Sums over l for each event time: ``hazard`` Σ 1/D and ``own`` Σ g/D (groups,), ``means`` Σ m (p, groups);
    over all event times: ``log_risk`` Σ log D and ``outer`` Σ m·mᵀ (p, p).
    """

    hazard: Floats
    own: Floats
    means: Floats
    log_risk: float
    outer: Floats


def tie_terms(
    ties: Ties, d: NDArray[np.int64], risk: tuple[Floats, Floats], tied: tuple[Floats, Floats] | None
) -> TieTerms:
    """The terms of event times with ``d`` events, from (S0, S1) and (T0, T1): (groups,) and (p, groups) each.

    ``tied`` is not needed by Breslow's method, nor where no time has two events.
    """
    return _single(d, *risk) if ties == "breslow" or tied is None else _efron(d, risk, tied)


def _single(d: NDArray[np.int64], s0: Floats, s1: Floats) -> TieTerms:
    """Breslow's terms; Efron's too where no time has two events."""
    mean = s1 / s0
    hazard = d / s0
    return TieTerms(hazard, hazard, mean * d, float(d @ np.log(s0)), (mean * d) @ mean.T)


def _efron(d: NDArray[np.int64], risk: tuple[Floats, Floats], tied: tuple[Floats, Floats]) -> TieTerms:
    """Efron's terms from (S0, S1) and (T0, T1)."""
    # Everything is divided by S0, so that squares of D stay in range whatever η is.
    s0, s1 = risk
    t0, t1 = tied[0] / s0, tied[1] / s0
    r0, r1 = np.maximum(1.0 - t0, 0.0), s1 / s0 - t1
    first = np.concatenate([[0], np.cumsum(d)[:-1]])
    g = 1.0 - (np.arange(int(d.sum())) - np.repeat(first, d)) / np.repeat(d, d)
    scaled = np.repeat(r0, d) + g * np.repeat(t0, d)
    inverse = 1.0 / scaled
    square = inverse * inverse
    k0, k1 = np.add.reduceat(inverse, first), np.add.reduceat(g * inverse, first)
    c0, c1 = np.add.reduceat(square, first), np.add.reduceat(g * square, first)
    c2 = np.add.reduceat(g * g * square, first)
    cross = (r1 * c1) @ t1.T
    outer = (r1 * c0) @ r1.T + cross + cross.T + (t1 * c2) @ t1.T
    log_risk = float(d @ np.log(s0) + np.log(scaled).sum())
    return TieTerms(k0 / s0, k1 / s0, r1 * k0 + t1 * k1, log_risk, outer)
