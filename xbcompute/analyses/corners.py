"""Exact public bounds of a linear predictor over everything the declared columns allow.

A predictor is multilinear: in each number, with the rest held, it is a straight line, so its extremes lie where every
number is at a bound. Columns that share no term add up independently, so each such block is searched on its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xbcompute.analyses.design import Design

CORNERS_MAX: Final = 4096
"""Corners of a block up to which it is searched; beyond, each of its columns is bounded by itself."""


class Corners:
    """The corners of a design's blocks, on the [−1, 1] scale."""

    def __init__(self, design: Design) -> None:
        self._blocks: list[tuple[NDArray[Any], NDArray[Any]]] = []
        for names in _blocks(design):
            inside = [
                index
                for index, column in enumerate(design.columns)
                if names.issuperset(column.numbers) and names.issuperset(part.column for part in column.indicators)
            ]
            corners = _corners(design, sorted(names))
            if len(corners) <= CORNERS_MAX:
                self._blocks.append((np.array(inside), corners[:, inside]))
            else:
                self._blocks += [(np.array([index]), np.array([[-1.0], [1.0]])) for index in inside]

    def bounds(self, slopes: NDArray[Any], centre: NDArray[Any]) -> tuple[float, float]:
        """Least and greatest ``(z − centre) @ slopes`` over the design's public bounds."""
        low = high = 0.0
        for inside, corners in self._blocks:
            values = (corners - centre[inside]) @ slopes[inside]
            low, high = low + float(values.min()), high + float(values.max())
        return low, high


def _blocks(design: Design) -> list[set[str]]:
    blocks: list[set[str]] = []
    for column in design.columns:
        names = {*column.numbers, *(part.column for part in column.indicators)}
        touching = [block for block in blocks if block & names]
        blocks = [block for block in blocks if not block & names] + [names.union(*touching)]
    return blocks


def _corners(design: Design, names: Sequence[str]) -> NDArray[Any]:
    """Every combination of bounds and levels of ``names`` as rows of the scaled design; stops beyond the limit."""
    choices = [design.bounds.get(name) or tuple(range(len(design.levels[name]))) for name in names]
    count = int(np.prod([len(choice) for choice in choices], dtype=np.float64))
    if count > CORNERS_MAX:
        return np.zeros((CORNERS_MAX + 1, 0))
    rows = np.array(list(product(*choices)))
    batch = {name: rows[:, k] for k, name in enumerate(names)}
    rest = {name: np.full(len(rows), bounds[0]) for name, bounds in design.bounds.items()}
    rest |= {name: np.zeros(len(rows)) for name in design.levels}
    return design.scaled(rest | batch)
