"""The minimum cell: which counts of a table may be shown, so that no withheld one can be worked out from the rest.

A count from 1 to ``cell_min - 1`` is withheld, zero is shown. Further cells are withheld by the hypercube method
(Repsilber 1994, as in τ-ARGUS): each small count gets a rectangle of withheld cells around which its value can move
up and down without changing anything shown. Linear programs then check the outcome without knowing how it was found.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xbcompute.core.arrays import Contribution, Layout
from xbcompute.core.errors import InputError, RefusedError
from xbcompute.core.schema import Limits

Mask = NDArray[np.bool_]
_TOTAL_COST = 1e6
"""A withheld margin costs a reader more than any cell."""
_TRIED_MAX = 24
"""Withheld counts up to which each is tried on its own."""


@dataclass(frozen=True)
class Protection:
    """What of a table with margins is withheld; the grand total is always shown."""

    cells: Mask
    rows: Mask
    columns: Mask


def small(counts: NDArray[Any], cell_min: int) -> Mask:
    """Where a count is from 1 to ``cell_min - 1``."""
    found: Mask = (counts > 0) & (counts < cell_min)
    return found


def suppress_table(counts: NDArray[Any], cell_min: int) -> Mask:
    """Where cells of a one- or two-dimensional table are withheld, given that all margins ≥ ``cell_min`` are shown.

    Raises:
        RefusedError: as :func:`protect`, which also says which margins are withheld.
    """
    return protect(counts, cell_min).cells


def protect(
    counts: NDArray[Any],
    cell_min: int,
    *,
    rows: NDArray[Any] | None = None,
    columns: NDArray[Any] | None = None,
) -> Protection:
    """What is withheld of ``counts`` and its margins. Shape (n,), (1, n) or (n, 1) is a list with its total.

    Rule: a withheld count lies, by everything shown and for all a reader knows, in an interval at least ``cell_min``
    wide; that of a small count reaches to both sides of it. ``rows`` and ``columns`` are the margins shown where they
    are no sums of cells (distinct subjects): small ones are withheld too, the rule is kept for the sums.

    Raises:
        InputError: ``counts`` are not counts in one or two dimensions.
        RefusedError: no choice keeps the rule (``disclosure.table``).
    """
    counts = np.asarray(counts)
    if counts.ndim not in (1, 2) or counts.dtype.kind not in "iu" or (counts.size and counts.min() < 0):
        raise InputError("disclosure.counts", "a table of counts needs one or two dimensions of whole numbers ≥ 0.")
    if counts.ndim == 1 or 1 in counts.shape:
        line = _list_mask(counts.reshape(-1), cell_min)
        none = np.zeros(1, dtype=bool)
        # Of the two margins of a table that is one line, one repeats the cells and the other is the total.
        upright = counts.ndim == 2 and counts.shape[1] == 1
        return Protection(line.reshape(counts.shape), line if upright else none, none if upright else line)
    whole = extended(counts)
    hidden = small(whole, cell_min)
    for given, place in ((rows, np.s_[:-1, -1]), (columns, np.s_[-1, :-1])):
        if given is not None:
            hidden[place] |= small(np.asarray(given), cell_min)
    if hidden[-1, -1]:
        raise _refused()
    primary = hidden.copy()
    if not all(_enclose(whole, hidden, i, j, cell_min) for i, j in np.argwhere(primary).tolist()):
        hidden = _withhold_most(whole, primary, cell_min)
    if unsafe_entries(whole, hidden, cell_min):
        raise _refused()
    return Protection(hidden[:-1, :-1], hidden[:-1, -1], hidden[-1, :-1])


def extended(counts: NDArray[Any]) -> NDArray[np.int64]:
    """The table with its row totals as a last column, column totals as a last row, and the total in the corner."""
    cells = counts.astype(np.int64)
    wide = np.concatenate([cells, cells.sum(axis=1, keepdims=True)], axis=1)
    return np.concatenate([wide, wide.sum(axis=0, keepdims=True)], axis=0)


Interval = tuple[tuple[int, int], float, float]
"""Place in an extended table, least and greatest value (``inf`` where there is none)."""


def intervals(whole: NDArray[np.int64], hidden: Mask) -> list[Interval] | None:
    """Between what and what each withheld entry of an extended table lies, by everything that is shown.

    Values of withheld entries are not read: unknowns are non-negative and rows and columns add up. Linear programs
    (HiGHS); such a system is totally unimodular, so bounds over whole numbers are the same. None if the shown counts
    fit no table.
    """
    places = [(int(i), int(j)) for i, j in np.argwhere(hidden)]
    if not places:
        return []
    number = {place: k for k, place in enumerate(places)}
    height, width = whole.shape
    equations, right = [], []
    lines = [[(i, j) for j in range(width)] for i in range(height)]
    lines += [[(i, j) for i in range(height)] for j in range(width)]
    for line in lines:
        signed = [(place, 1.0 if k < len(line) - 1 else -1.0) for k, place in enumerate(line)]
        row = np.zeros(len(places))
        shown = 0.0
        for place, sign in signed:
            if place in number:
                row[number[place]] = sign
            else:
                shown += sign * float(whole[place])
        if row.any():
            equations.append(row)
            right.append(-shown)
    matrix, values = np.array(equations), np.array(right)
    found: list[Interval] = []
    for place in places:
        low, high = (_extreme(matrix, values, number[place], sign) for sign in (1.0, -1.0))
        if low is None or high is None:
            return None
        found.append((place, low, high))
    return found


def unsafe_entries(whole: NDArray[np.int64], hidden: Mask, cell_min: int) -> list[tuple[int, int]]:
    """Withheld entries of an extended table that break the rule of :func:`protect`."""
    bad = []
    found = intervals(whole, hidden)
    if found is None:
        raise _refused()  # cannot be: the entries themselves fit
    for place, low, high in found:
        value = int(whole[place])
        inside = low < value < high or not 0 < value < cell_min
        if high - low < cell_min - 0.5 or not inside:
            bad.append(place)
    return bad


def own_cells(analysis: str, layout: Layout, mine: Contribution, limits: Limits) -> None:
    """Under ``cell_scope = "holder"``: refuse a contribution that holds a small non-zero count of this holder.

    Raises:
        RefusedError: ``disclosure.cell``, naming the analysis and no number.
    """
    if limits.cell_scope != "holder":
        return
    for name, spec in layout.items():
        if spec.role == "cells" and bool(small(np.asarray(mine[name]), limits.cell_min).any()):
            raise RefusedError(
                "disclosure.cell",
                f"analysis '{analysis}': a cell of '{name}' at this holder is below the minimum.",
                todo="Use coarser levels or intervals, or fewer columns.",
            )


def _refused() -> RefusedError:
    return RefusedError(
        "disclosure.table",
        "a small count could be worked out from the totals, whatever else is withheld.",
        todo="Use coarser levels.",
    )


def _list_mask(counts: NDArray[Any], cell_min: int) -> Mask:
    """Withheld entries of a list whose total is shown."""
    hidden = small(counts, cell_min)
    total = int(counts.sum())
    if 0 < total < cell_min:
        raise _refused()
    if not hidden.any():
        return hidden
    # Any withheld entry may be as low as 0 and as high as the sum of all withheld ones.
    rest = np.flatnonzero(~hidden)
    for k in rest[np.argsort(counts[rest], kind="stable")]:
        if int(hidden.sum()) > 1 and int(counts[hidden].sum()) >= cell_min:
            break
        if counts[k] > 0:
            hidden[k] = True
    if int(hidden.sum()) < 2 or int(counts[hidden].sum()) < cell_min:
        raise _refused()
    return hidden


def _withhold_most(whole: NDArray[np.int64], primary: Mask, cell_min: int) -> Mask:
    """Where zeros leave no rectangle: all counts but the total, less those that may be shown after all."""
    hidden = whole > 0
    hidden[-1, -1] = False
    if hidden.sum() > _TRIED_MAX or unsafe_entries(whole, hidden, cell_min):
        return hidden
    spare = [(int(i), int(j)) for i, j in np.argwhere(hidden & ~primary)]
    for place in sorted(spare, key=lambda at: (-whole[at], at)):
        hidden[place] = False
        if unsafe_entries(whole, hidden, cell_min):
            hidden[place] = True
    return hidden


def _enclose(whole: NDArray[np.int64], hidden: Mask, i: int, j: int, cell_min: int) -> bool:
    """Withhold the cheapest rectangle through (i, j) around which its value can move enough; False if there is none."""
    height, width = whole.shape
    down_rows, across = _directions(height, i), _directions(width, j)
    best: tuple[float, int, int] | None = None
    cost = whole.astype(np.float64) + 1.0
    cost[:, -1] += _TOTAL_COST * (1.0 + whole[-1, -1])
    cost[-1, :] += _TOTAL_COST * (1.0 + whole[-1, -1])
    cost[hidden] = 0.0
    for k in range(height):
        for m in range(width):
            if k == i or m == j or (k == height - 1 and m == width - 1):
                continue
            if (i, m) == (height - 1, width - 1) or (k, j) == (height - 1, width - 1):
                continue
            moves = [(1.0, whole[i, j]), (across[m], whole[i, m]), (down_rows[k], whole[k, j])]
            moves.append((across[m] * down_rows[k], whole[k, m]))
            up = min((float(value) for step, value in moves if step < 0), default=np.inf)
            down = min(float(value) for step, value in moves if step > 0)
            if up < 1 or down < 1 or up + down < cell_min:
                continue
            price = float(cost[i, m] + cost[k, j] + cost[k, m])
            if best is None or price < best[0]:
                best = (price, k, m)
    if best is None:
        return False
    _, k, m = best
    hidden[i, m] = hidden[k, j] = hidden[k, m] = True
    return True


def _directions(length: int, own: int) -> list[float]:
    """How each entry of a line must move when the own one rises by 1 and the others stay; a total moves along."""
    mine_is_total = own == length - 1
    return [1.0 if mine_is_total or k == length - 1 else -1.0 for k in range(length)]


def _extreme(matrix: NDArray[np.float64], values: NDArray[np.float64], k: int, sign: float) -> float | None:
    from scipy.optimize import linprog  # slow to import, and most results withhold nothing

    goal = np.zeros(matrix.shape[1])
    goal[k] = sign
    solved = linprog(goal, A_eq=matrix, b_eq=values, bounds=(0, None), method="highs")
    if solved.status == 3:  # unbounded
        return sign * -np.inf
    if solved.status == 2:  # infeasible
        return None
    if solved.status != 0:
        raise _refused()  # cannot tell, so no
    return round(sign * float(solved.fun or 0.0), 6)
