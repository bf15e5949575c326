"""Merging the time grid of survival curves until no interval shows a few people."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xbcompute.core.errors import InputError, RefusedError


def merge_intervals(events: NDArray[Any], censored: NDArray[Any], cell_min: int) -> NDArray[np.int64]:
    """The last interval of each merged one, so that ``(ends[i-1], ends[i]]`` may be shown for every curve.

    ``events`` and ``censored`` are (intervals, curves). From left to right, intervals join until in each curve events
    are ≥ ``cell_min`` and leavers (censored) 0 or ≥ ``cell_min``; the remainder joins the last one, and that one those
    before it while its leavers are too few. Survival, numbers at risk and tests come from the merged counts only:
    S(t)/S(t−1) rebuilds a count. With a minimum of 1 nothing is small, and nothing merges.

    Raises:
        InputError: the counts are no counts of one shape.
        RefusedError: ``disclosure.events``, a curve has too few events or leavers even as one interval.
    """
    events, censored = np.asarray(events), np.asarray(censored)
    if events.ndim != 2 or events.shape != censored.shape or not events.size or min(events.min(), censored.min()) < 0:
        raise InputError("disclosure.counts", "events and censored are counts of the same intervals and curves.")
    if cell_min <= 1:
        return np.arange(events.shape[0], dtype=np.int64)
    ends: list[int] = []
    start = 0
    for stop in range(events.shape[0]):
        if _may_show(events[start : stop + 1], censored[start : stop + 1], cell_min):
            ends.append(stop)
            start = stop + 1
    last = events.shape[0] - 1
    if ends and start <= last:
        ends[-1] = last
    while ends:
        begin = ends[-2] + 1 if len(ends) > 1 else 0
        if _may_show(events[begin : last + 1], censored[begin : last + 1], cell_min):
            return np.array(ends, dtype=np.int64)
        ends.pop()
        if ends:
            ends[-1] = last
    raise RefusedError(
        "disclosure.events",
        "a survival curve has fewer events, or leavers, than the minimum cell: there is no curve to show.",
        todo="Leave out 'by', use coarser groups, or a longer follow-up.",
    )


def merged_counts(counts: NDArray[Any], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """``counts`` (intervals, curves) summed within the merged intervals that end at ``ends``."""
    starts = np.concatenate([[0], ends[:-1] + 1])
    merged: NDArray[np.int64] = np.add.reduceat(np.asarray(counts, dtype=np.int64), starts, axis=0)
    return merged


def _may_show(events: NDArray[Any], censored: NDArray[Any], cell_min: int) -> bool:
    died, left = events.sum(axis=0), censored.sum(axis=0)
    return bool((died >= cell_min).all() and ((left == 0) | (left >= cell_min)).all())
