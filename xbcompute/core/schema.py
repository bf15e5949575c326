"""The public facts of a study's columns and holders, and the rows a holder sees."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from numpy.typing import NDArray

from xbcompute.core.parties import Jurisdiction, PartyId

ColumnType: TypeAlias = Literal["number", "category", "date", "text"]


@dataclass(frozen=True)
class Column:
    """A column as the study sees it: the union of the holders' bounds, or the levels they all share.

    ``lower`` and ``upper`` are public bounds in the column's unit (dates: days since 1970-01-01).
    """

    name: str
    type: ColumnType
    lower: float | None = None
    upper: float | None = None
    levels: tuple[str, ...] = ()
    unit: str = ""


@dataclass(frozen=True)
class HolderFacts:
    """What is public about one holder's rows."""

    party: PartyId
    jurisdiction: Jurisdiction
    rows_max: int
    rows_min: int | None = None


@dataclass(frozen=True)
class Limits:
    """What the joined decision allows, as far as analyses and output checks read it.

    ``model_rules`` is False only where C4.10 is waived (grades G0 and G1).
    """

    cell_min: int = 10
    cell_scope: Literal["holder", "pooled"] = "holder"
    model_rules: bool = True
    dominance_share: float = 0.5
    dominance_p: float = 10.0
    df_min: int = 10
    epsilon_release: float | None = None
    epsilon_year: float | None = None
    retention: str | None = None


@dataclass(frozen=True)
class Schema:
    """Everything public that an analysis may read before it starts.

    ``subjects`` is ``many`` when one person or asset may have several rows: cells then count distinct subjects.
    """

    columns: Mapping[str, Column]
    holders: tuple[HolderFacts, ...]
    limits: Limits
    subjects: Literal["one", "many"] = "one"

    @property
    def rows_max(self) -> int:
        """Largest public bound on one holder's rows."""
        return max(holder.rows_max for holder in self.holders)


Batch: TypeAlias = Mapping[str, NDArray[Any]]
"""Columns of equal length: float64 for numbers and dates, int32 codes into ``levels`` for categories."""

SUBJECT = "*subject"
"""Name under which a batch holds int64 codes of distinct subjects, if asked for."""


class Rows(Protocol):
    """One holder's complete cases for one analysis; may be read any number of times."""

    @property
    def n(self) -> int:
        """Rows kept."""

    @property
    def n_dropped(self) -> int:
        """Rows left out because a needed value is missing."""

    def batches(self, columns: Sequence[str], *, descending: str | None = None) -> Iterator[Batch]:
        """The columns in batches; ``descending`` names a column the rows are sorted by, largest first."""
