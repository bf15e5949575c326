"""The grade lattice: a chain from public to core data, joined by maximum (policy C2)."""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterable


@functools.total_ordering
class Grade(enum.Enum):
    """A grade; ``G5s`` is G5 with special diseases or children under 14."""

    G0 = "G0"
    G1 = "G1"
    G2 = "G2"
    G3 = "G3"
    G4 = "G4"
    G5 = "G5"
    G5S = "G5s"
    G6 = "G6"
    G7 = "G7"
    G8 = "G8"

    @property
    def rank(self) -> int:
        """Position in the chain, 0 for public."""
        return _RANK[self]

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Grade):
            return NotImplemented
        return self.rank < other.rank

    @staticmethod
    def join(grades: Iterable[Grade]) -> Grade:
        """The maximum of ``grades`` (rule R-MAX); G0 of nothing."""
        return max(grades, default=Grade.G0)


_RANK = {grade: position for position, grade in enumerate(Grade)}
