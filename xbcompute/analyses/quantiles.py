"""Quantiles from counts on a public grid, so that no one's value is read off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xbcompute.core.schema import Schema

BINS_MIN: Final = 8
BINS_MAX: Final = 100


def edges_of(schema: Schema) -> NDArray[Any]:
    """Edges of equal bins over [−1, 1]: about two minimum cells of the holders' greatest rows in each."""
    rows = sum(holder.rows_max for holder in schema.holders)
    bins = min(max(rows // (2 * max(schema.limits.cell_min, 1)), BINS_MIN), BINS_MAX)
    return np.linspace(-1.0, 1.0, bins + 1)


def merged_bins(edges: NDArray[Any], counts: NDArray[Any], cell_min: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Edges and counts once neighbours are merged from the left until each bin holds at least ``cell_min``.

    A remainder joins the last bin.
    """
    least = max(cell_min, 1)
    ends, merged, current = [edges[0]], list[int](), 0
    for index, count in enumerate(counts.tolist()):
        current += count
        if current >= least:
            ends.append(edges[index + 1])
            merged.append(current)
            current = 0
    if merged:
        ends[-1] = edges[-1] if current else ends[-1]
        merged[-1] += current
    return np.array(ends), np.array(merged)


def interpolated(edges: NDArray[Any], counts: NDArray[Any], quantiles: Sequence[float]) -> NDArray[Any]:
    """Each quantile, linear within its bin; counts are positive."""
    cumulative = np.concatenate([[0.0], np.cumsum(counts)])
    values: NDArray[Any] = np.interp(np.asarray(quantiles) * cumulative[-1], cumulative, edges)
    return values
