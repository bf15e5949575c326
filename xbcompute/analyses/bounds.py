"""Public bounds of sums, with room for the rounding of the additions."""

from __future__ import annotations


def sum_bound(rows: float, value: float) -> float:
    """What ``rows`` values of at most ``value`` cannot exceed when float64 adds them up."""
    return rows * value * (1 + 1e-9)
