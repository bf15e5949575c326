"""A contingency table of two categories, with the chi-square test where no cell is withheld."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xbcompute.analyses.counting import CellCounts, rows_in, subject_column
from xbcompute.analyses.design import column_of
from xbcompute.analyses.envelope import envelope
from xbcompute.analyses.inference import chi_square
from xbcompute.core.arrays import ArraySpec, Contribution, Leakage, Opened
from xbcompute.core.errors import InputError
from xbcompute.core.schema import Column, Rows, Schema
from xbcompute.disclosure.cells import Protection, protect
from xbcompute.engines.base import Done
from xbcompute.specs.analysis import Table as TableSpec


@dataclass(frozen=True)
class TableState:
    """A table has one round, so nothing to remember."""

    step: int = 0


class Table:
    """Counts of rows by columns; an :class:`~xbcompute.engines.base.Iterative`.

    Raises:
        InputError: ``table.column`` a variable is no category of at least two levels, or is named twice.
    """

    state_type = TableState

    def __init__(self, spec: TableSpec, schema: Schema) -> None:
        self.spec = spec
        self.schema = schema
        self.rows = levelled(schema, spec.rows)
        self.columns = levelled(schema, spec.columns)
        if spec.rows == spec.columns:
            raise InputError("table.column", f"table {spec.id}: {spec.rows} is crossed with itself.")

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the table."""
        return len(self.rows.levels), len(self.columns.levels)

    def start(self, schema: Schema) -> TableState:
        """Nothing known yet."""
        return TableState()

    def layout(self, state: TableState) -> Mapping[str, ArraySpec]:
        """The cells; with several rows a subject also the margins, which are then no sums of cells."""
        most = float(self.schema.rows_max)
        shapes = {"n_dropped": (), "cells": self.shape} | (self._margins() if self._many else {})
        return {name: ArraySpec(shape, most, integer=True, role="cells") for name, shape in shapes.items()}

    def local(self, rows: Rows, state: TableState) -> Contribution:
        """This holder's counts, of rows or of distinct subjects."""
        counts = CellCounts({"cells": self.shape} | (self._margins() if self._many else {}), self.schema)
        for batch in rows.batches((self.spec.rows, self.spec.columns, *subject_column(self.schema))):
            row, column, length = batch[self.spec.rows], batch[self.spec.columns], rows_in(batch)
            counts.add("cells", [row, column], batch, length)
            if self._many:
                counts.add("row_totals", [row], batch, length)
                counts.add("column_totals", [column], batch, length)
                counts.add("n", [], batch, length)
        return {"n_dropped": np.array(rows.n_dropped), **counts.tables()}

    def combine(self, total: Contribution, state: TableState) -> Done:
        """The table.

        Raises:
            InputError: a level without any row (``table.empty_level``). RefusedError: no choice of withheld cells
                protects the small ones (``disclosure.table``).
        """
        cells = np.asarray(total["cells"])
        margins = {
            "row_totals": np.asarray(total["row_totals"]) if self._many else cells.sum(axis=1),
            "column_totals": np.asarray(total["column_totals"]) if self._many else cells.sum(axis=0),
        }
        for variable, counts in ((self.rows, margins["row_totals"]), (self.columns, margins["column_totals"])):
            require_levels(variable, counts)
        shown = margins if self._many else {"row_totals": None, "column_totals": None}
        hidden = protect(cells, self.schema.limits.cell_min, rows=shown["row_totals"], columns=shown["column_totals"])
        return Done(self._result(total, cells, margins, hidden))

    def reveals(self) -> Leakage:
        """The counts, before small ones are withheld from the result."""
        return Leakage((Opened("cells", self.shape, "people in each cell", "各单元格人数"),), (), 1)

    @property
    def _many(self) -> bool:
        return self.schema.subjects == "many"

    def _margins(self) -> dict[str, tuple[int, ...]]:
        return {"row_totals": self.shape[:1], "column_totals": self.shape[1:], "n": ()}

    def _result(
        self, total: Contribution, cells: NDArray[Any], margins: Mapping[str, NDArray[Any]], hidden: Protection
    ) -> dict[str, Any]:
        suppressed: list[str] = []
        counts = withhold(cells, hidden.cells, "counts", suppressed)
        totals = {
            name: withhold(margins[name], mask, name, suppressed)
            for name, mask in (("row_totals", hidden.rows), ("column_totals", hidden.columns))
        }
        notes = ["Cells count distinct subjects."] if self._many else []
        n = int(total["n"]) if self._many else int(cells.sum())
        result = envelope(
            "table",
            self.schema.limits,
            n=n,
            n_dropped=int(total["n_dropped"]),
            suppressed=suppressed,
            notes=notes,
        )
        result |= {
            "rows": list(self.rows.levels),
            "columns": list(self.columns.levels),
            "counts": counts,
            **totals,
        }
        if suppressed:
            result["notes"].append("No chi-square test, since a cell is withheld.")
        elif self._many:
            result["notes"].append("No chi-square test, since a subject may stand in several cells.")
        else:
            expected = np.outer(margins["row_totals"], margins["column_totals"]) / n
            df = (self.shape[0] - 1) * (self.shape[1] - 1)
            result["chi2"] = chi_square(float(((cells - expected) ** 2 / expected).sum()), df)
        return result


def levelled(schema: Schema, name: str) -> Column:
    """The category called ``name``.

    Raises:
        InputError: it is no category, or has fewer than two levels (``table.column``).
    """
    column = column_of(schema.columns, name, role="column")
    if column.type != "category" or len(column.levels) < 2:
        raise InputError(
            "table.column",
            f"column {name}: must be a category with at least two levels.",
            todo="Make one with 'cut', or choose another column.",
        )
    return column


def require_levels(column: Column, counts: NDArray[Any]) -> None:
    """Refuse a level that no row has.

    Raises:
        InputError: naming column and level (``table.empty_level``).
    """
    for level, count in zip(column.levels, counts.tolist(), strict=True):
        if not count:
            raise InputError(
                "table.empty_level",
                f"column {column.name}: the level {level} has no row at any holder.",
                todo="Leave it out of the column's levels at every holder, or recode it.",
            )


def withhold(values: NDArray[Any], hidden: NDArray[Any], path: str, suppressed: list[str]) -> Any:
    """Nested lists of ``values`` with null where ``hidden``; each such path is appended to ``suppressed``."""
    shown = values.astype(object)
    for index in np.argwhere(hidden):
        shown[tuple(index)] = None
        suppressed.append(".".join([path, *map(str, index)]))
    return shown.tolist()
