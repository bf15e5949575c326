"""What one holder adds to a sum, and what is public about it beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, TypeAlias

from numpy.typing import NDArray

Contribution: TypeAlias = Mapping[str, NDArray[Any]]
"""Named arrays, float64 or int64; a total has the same names and shapes."""

ArrayRole: TypeAlias = Literal["cells", "model", "sum"]


@dataclass(frozen=True)
class ArraySpec:
    """The public form of one array of a contribution.

    ``bound``: no element of one holder's array exceeds it in absolute value; a public number, since the
    fixed-point scale comes from it. ``integer``: values are whole numbers and sums are exact.
    ``role``: ``cells`` are counts of people or assets (minimum cell applies), ``model`` are scalars of a fit
    (policy C4.10 counts them), ``sum`` are totals of measured values.
    """

    shape: tuple[int, ...]
    bound: float
    integer: bool = False
    role: ArrayRole = "sum"

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)


Layout: TypeAlias = Mapping[str, ArraySpec]
"""Names in the order in which they are laid out in a vector."""


@dataclass(frozen=True)
class Opened:
    """One array that every contributor learns in a round, in words (zh and en) and shape."""

    name: str
    shape: tuple[int | str, ...]
    en: str
    zh: str


@dataclass(frozen=True)
class Leakage:
    """What an analysis opens: once, and in each of at most ``rounds_max`` rounds."""

    once: tuple[Opened, ...]
    each_round: tuple[Opened, ...]
    rounds_max: int
