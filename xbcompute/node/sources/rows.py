"""The rows of one analysis as batches: from arrays in memory, or read anew from the source in each pass."""

# ruff: noqa: S608 - SQL text holds names of our own making (v0, v1 …) only
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xbcompute.core.errors import InputError
from xbcompute.core.schema import SUBJECT, Batch
from xbcompute.node.sources.opening import Source

BATCH: Final = 1 << 16
"""Rows of a batch at most."""


class CachedRows:
    """Rows whose columns are arrays in memory; batches are read-only views of them.

    ``subjects`` gives the int64 codes when first asked for. A sorted order is made once and kept until another
    column is asked for.
    """

    def __init__(
        self, columns: Mapping[str, NDArray[Any]], n: int, n_dropped: int, subjects: Callable[[], NDArray[np.int64]]
    ) -> None:
        self._columns = dict(columns)
        self._n = n
        self._n_dropped = n_dropped
        self._subjects = subjects
        self._sorted_by: str | None = None
        self._sorted: dict[str, NDArray[Any]] = {}
        self._order: NDArray[np.intp] = np.empty(0, dtype=np.intp)

    @property
    def n(self) -> int:
        """Rows kept."""
        return self._n

    @property
    def n_dropped(self) -> int:
        """Rows left out because a needed value is missing."""
        return self._n_dropped

    def batches(self, columns: Sequence[str], *, descending: str | None = None) -> Iterator[Batch]:
        """See :class:`~xbcompute.core.schema.Rows`. Rows with equal values stay in the source's order."""
        check_columns(columns, descending, self._columns)
        arrays = {name: self._array(name, descending) for name in columns}
        for start in range(0, self._n, BATCH):
            yield {name: array[start : start + BATCH] for name, array in arrays.items()}

    def _array(self, name: str, descending: str | None) -> NDArray[Any]:
        if name == SUBJECT and name not in self._columns:
            self._columns[name] = read_only(self._subjects())
        if descending is None:
            return self._columns[name]
        if descending != self._sorted_by:
            self._sorted_by, self._sorted = descending, {}
            self._order = np.argsort(-self._columns[descending], kind="stable")
        if name not in self._sorted:
            self._sorted[name] = read_only(self._columns[name][self._order])
        return self._sorted[name]


class StreamedRows:
    """Rows read from the source in each pass, for datasets beyond the memory budget.

    ``relation`` is the SQL of the rows with columns ``row`` (their number in the source's order), ``s`` (subject) and
    those of ``names``; ``people`` is the table of subject codes, or None when each row is its own subject.
    """

    def __init__(
        self, source: Source, relation: str, names: Mapping[str, str], *, people: str | None, n: int, n_dropped: int
    ) -> None:
        self._source = source
        self._relation = relation
        self._names = names
        self._people = people
        self._n = n
        self._n_dropped = n_dropped

    @property
    def n(self) -> int:
        """Rows kept."""
        return self._n

    @property
    def n_dropped(self) -> int:
        """Rows left out because a needed value is missing."""
        return self._n_dropped

    def batches(self, columns: Sequence[str], *, descending: str | None = None) -> Iterator[Batch]:
        """See :class:`~xbcompute.core.schema.Rows`. Rows with equal values stay in the source's order."""
        check_columns(columns, descending, self._names)
        self._source.check_unchanged()
        query = self._query(list(dict.fromkeys(columns)), descending)
        cursor = self._source.connection.cursor()
        seen = 0
        try:
            reader = self._source.guarded(lambda: arrow_reader(cursor, query))
            while (batch := self._next(reader)) is not None:
                seen += batch.num_rows
                yield {name: batch.column(k).to_numpy() for k, name in enumerate(dict.fromkeys(columns))}
        finally:
            cursor.close()
        if seen != self._n:
            raise InputError(
                "source.changed", f"{self._source.shown}: the rows changed while a study was reading them."
            )

    def _next(self, reader: Any) -> Any:
        return self._source.guarded(lambda: next((batch for batch in reader if batch.num_rows), None))

    def _query(self, columns: list[str], descending: str | None) -> str:
        needs_subject = SUBJECT in columns
        codes = "row - 1" if self._people is None else "code"
        shown = ", ".join(f"{codes} AS subject_code" if name == SUBJECT else self._names[name] for name in columns)
        joined = f" JOIN {self._people} USING (s)" if needs_subject and self._people else ""
        order = ""
        if descending is not None:
            order = f" ORDER BY {self._names[descending]} DESC, row"
        elif joined:
            order = " ORDER BY row"
        return f"SELECT {shown} FROM ({self._relation}){joined}{order}"


def check_columns(columns: Sequence[str], descending: str | None, known: Mapping[str, Any]) -> None:
    """Refuse columns outside those of the analysis: their missing values were not looked at.

    Raises:
        InputError: naming the column.
    """
    if not columns:
        raise InputError("rows.columns", "a pass over rows names at least one column.")
    for name in (*columns, *((descending,) if descending is not None else ())):
        if name not in known and (name != SUBJECT or name == descending):
            raise InputError("rows.columns", f"column '{name}' is not one this analysis uses.")


def read_only(array: NDArray[Any]) -> NDArray[Any]:
    """``array`` itself, closed to writing: an analysis must not change what the next pass reads."""
    array.setflags(write=False)
    return array


def arrow_reader(cursor: Any, query: str) -> Any:
    """The rows of ``query`` as Arrow batches, streaming, by the name this DuckDB has for it."""
    relation = cursor.sql(query)
    return (getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader)(BATCH)
