"""Dominance: a sum of non-negative values in which one or two units stand out says too much about them."""

from __future__ import annotations

import math

from xbcompute.core.errors import InputError, RefusedError
from xbcompute.core.schema import Limits


def dominated(total: float, first: float, second: float, limits: Limits) -> bool:
    """Whether the largest unit exceeds its share, or the second could guess it to within p percent.

    ``first`` and ``second`` are the largest amounts of single units in ``total``, all non-negative. Share rule:
    first ≤ ``dominance_share`` · total. p% rule: total − first − second ≥ p/100 · first. A total of 0 is not
    dominated. Passing at each holder suffices for the sum over holders (policy C4.10).

    Raises:
        InputError: the amounts are negative, not finite, or do not fit together.
    """
    if not all(math.isfinite(amount) and amount >= 0 for amount in (total, first, second)) or second > first:
        raise InputError("disclosure.amounts", "dominance is tested on non-negative, finite amounts, largest first.")
    if total <= 0:
        return False
    rest = max(total - first - second, 0.0)
    return first > limits.dominance_share * total or rest < limits.dominance_p / 100 * first


def check_dominance(what: str, total: float, first: float, second: float, limits: Limits) -> None:
    """Refuse a dominated sum; ``what`` names column and group.

    Raises:
        RefusedError: ``disclosure.dominance``, with no number. InputError: as :func:`dominated`.
    """
    if dominated(total, first, second, limits):
        raise RefusedError(
            "disclosure.dominance",
            f"{what}: one or two units make up too much of this holder's sum.",
            todo="Use larger groups, or leave the column out.",
        )
