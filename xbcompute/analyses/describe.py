"""Counts, means, standard deviations, quantiles and levels of columns, by group.

Round one opens counts, sums and, for quantiles, a histogram on a public grid; round two the squares about the pooled
means of the groups.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xbcompute.analyses.bounds import sum_bound
from xbcompute.analyses.counting import CellCounts, rows_in, subject_column
from xbcompute.analyses.design import column_of
from xbcompute.analyses.envelope import envelope
from xbcompute.analyses.quantiles import edges_of, interpolated, merged_bins
from xbcompute.analyses.table import levelled, require_levels, withhold
from xbcompute.analyses.units import LargestUnits
from xbcompute.core.arrays import ArraySpec, Contribution, Leakage, Opened
from xbcompute.core.errors import InputError
from xbcompute.core.schema import Batch, Column, Rows, Schema
from xbcompute.disclosure.cells import suppress_table
from xbcompute.engines.base import Done
from xbcompute.specs.analysis import Describe as DescribeSpec

GROUP_NAMES_TAKEN: Final = frozenset({"kind", "n", "n_dropped", "suppressed", "cell_scope", "notes"})
"""Groups are keys of the result beside these."""


@dataclass(frozen=True)
class DescribeState:
    """``phase``: first or squares. ``rows`` are the groups' rows, ``groups`` their people, ``means`` on [−1, 1].

    ``withheld`` counts the holders that kept their part of a mean back, for few people make it up.
    ``levels`` and ``bins`` are the opened counts of all columns, one table after the other.
    """

    phase: str
    n: int
    n_dropped: int
    rows: NDArray[np.int64]
    groups: NDArray[np.int64]
    means: NDArray[np.float64]
    withheld: NDArray[np.int64]
    levels: NDArray[np.int64]
    bins: NDArray[np.int64]


class Describe:
    """Describes columns; an :class:`~xbcompute.engines.base.Iterative`.

    Raises:
        InputError: ``describe.column`` (a text, or a number without usable bounds), ``describe.group``,
            ``table.column``.
    """

    state_type = DescribeState

    def __init__(self, spec: DescribeSpec, schema: Schema) -> None:
        self.spec = spec
        self.schema = schema
        self.by = levelled(schema, spec.by) if spec.by else None
        if spec.by in spec.columns:
            raise InputError("describe.group", f"{spec.id}: {spec.by} is described by itself.")
        if len(set(spec.columns)) < len(spec.columns):
            raise InputError("describe.column", f"{spec.id}: a column is named twice.")
        self.groups = self.by.levels if self.by else ("all",)
        taken = GROUP_NAMES_TAKEN.intersection(self.groups)
        if taken:
            raise InputError(
                "describe.group",
                f"column {spec.by}: a level is called {', '.join(sorted(taken))}, as a part of every result is.",
                todo="Rename the level with 'recode'.",
            )
        columns = [_described(schema, name) for name in spec.columns]
        self.numbers = [column for column in columns if column.type != "category"]
        self.categories = [column for column in columns if column.type == "category"]
        self._low = np.array([column.lower for column in self.numbers], dtype=np.float64)
        self._high = np.array([column.upper for column in self.numbers], dtype=np.float64)
        self._edges = edges_of(schema) if spec.quantiles and self.numbers else np.zeros(1)

    def start(self, schema: Schema) -> DescribeState:
        """Nothing known yet."""
        none = np.zeros(0, dtype=np.int64)
        return DescribeState("first", 0, 0, none, none, np.zeros((0, 0)), none, none, none)

    def layout(self, state: DescribeState) -> Mapping[str, ArraySpec]:
        """Counts and sums, then squares."""
        most, (g, p) = float(self.schema.rows_max), (len(self.groups), len(self.numbers))
        if state.phase == "squares":
            return {"squares": ArraySpec((g, p), sum_bound(most, 4))}
        counts = {"n_dropped": (), "rows": (g,)} | self._cell_shapes()
        layout = {name: ArraySpec(shape, most, integer=True, role="cells") for name, shape in counts.items()}
        if p:
            layout["withheld"] = ArraySpec((g, p), 1.0, integer=True)
            layout["sums"] = ArraySpec((g, p), sum_bound(most, 1))
        return layout

    def local(self, rows: Rows, state: DescribeState) -> Contribution:
        """This holder's counts and sums; a sum that one or two people or assets dominate does not leave.

        Raises:
            InputError: a value out of bounds (``describe.value``). RefusedError: dominance (policy C4.10).
        """
        if state.phase == "squares":
            return {"squares": self._squares(rows, state)}
        cells = CellCounts(self._cell_shapes(), self.schema)
        g, p = len(self.groups), len(self.numbers)
        counted, sums = np.zeros(g, dtype=np.int64), np.zeros((g, p))
        largest = LargestUnits(g, [column for column in self.numbers if _additive(column)], self.schema)
        for batch in rows.batches((*self.spec.columns_used(), *subject_column(self.schema))):
            length, group = rows_in(batch), self._group(batch)
            counted += np.bincount(group, minlength=g)
            if self.schema.subjects == "many":
                cells.add("n", [], batch, length)
            cells.add("groups", [group], batch, length)
            for column in self.categories:
                cells.add(f"levels/{column.name}", [group, batch[column.name]], batch, length)
            z = self._scaled(batch)
            for index, column in enumerate(self.numbers):
                sums[:, index] += np.bincount(group, weights=z[:, index], minlength=g)
                if self.spec.quantiles:
                    bins = np.searchsorted(self._edges, z[:, index], side="right") - 1
                    cells.add(f"bins/{column.name}", [group, np.minimum(bins, len(self._edges) - 2)], batch, length)
            largest.add(group, batch)
        withheld = np.zeros((g, p), dtype=np.int64)
        withheld[:, [_additive(column) for column in self.numbers]] = largest.withheld(self.groups)
        sums[withheld > 0] = 0.0
        total: dict[str, Any] = {"n_dropped": np.array(rows.n_dropped), "rows": counted, **cells.tables()}
        return total | ({"withheld": withheld, "sums": sums} if p else {})

    def combine(self, total: Contribution, state: DescribeState) -> DescribeState | Done:
        """The second round, or the description.

        Raises:
            InputError: no complete row (``describe.rows``), a level without any (``table.empty_level``).
        """
        if state.phase == "squares":
            return Done(self._result(state, np.asarray(total["squares"])))
        groups, rows = np.asarray(total["groups"]), np.asarray(total["rows"])
        if not rows.sum():
            raise InputError("describe.rows", f"{self.spec.id}: no complete row at any holder.")
        if self.by:
            require_levels(self.by, groups)
        for column in self.categories:
            require_levels(column, np.asarray(total[f"levels/{column.name}"]).sum(axis=0))
        p = len(self.numbers)
        means = np.asarray(total["sums"]) / np.maximum(rows, 1)[:, None] if p else np.zeros((len(groups), 0))
        n = int(total["n"]) if self.schema.subjects == "many" else int(groups.sum())
        following = DescribeState(
            "squares",
            n,
            int(total["n_dropped"]),
            rows,
            groups,
            means,
            np.asarray(total["withheld"]) if p else np.zeros((len(groups), 0), dtype=np.int64),
            _joined([total[f"levels/{column.name}"] for column in self.categories]),
            _joined([total[f"bins/{column.name}"] for column in self.numbers if self.spec.quantiles]),
        )
        return following if p else Done(self._result(following, np.zeros((len(groups), 0))))

    def reveals(self) -> Leakage:
        """What the two rounds open, before small cells are withheld from the result."""
        g, p = len(self.groups), len(self.numbers)
        opened = [
            Opened("groups", (g,), "people in each group, by level of described categories", "各组（及各水平）人数"),
            Opened("withheld", (g, p), "holders that kept their part of a sum back", "保留其部分不予汇总的持有方数"),
            Opened("sums", (g, p), "sums of the number columns", "数值列的总和"),
            Opened("squares", (g, p), "their squares about the pooled means", "关于合并均值的平方和"),
        ]
        if self.spec.quantiles:
            opened.append(Opened("bins", (g, p, len(self._edges) - 1), "people in each bin", "各分箱人数"))
        return Leakage(tuple(opened), (), 2)

    # One holder

    def _cell_shapes(self) -> dict[str, tuple[int, ...]]:
        g = len(self.groups)
        shapes: dict[str, tuple[int, ...]] = {"groups": (g,)}
        if self.schema.subjects == "many":
            shapes["n"] = ()
        shapes |= {f"levels/{column.name}": (g, len(column.levels)) for column in self.categories}
        if self.spec.quantiles:
            shapes |= {f"bins/{column.name}": (g, len(self._edges) - 1) for column in self.numbers}
        return shapes

    def _group(self, batch: Batch) -> NDArray[Any]:
        return np.asarray(batch[self.by.name]) if self.by else np.zeros(rows_in(batch), dtype=np.int64)

    def _scaled(self, batch: Batch) -> NDArray[Any]:
        z = np.empty((rows_in(batch), len(self.numbers)), order="F")
        for index, column in enumerate(self.numbers):
            z[:, index] = batch[column.name]
            low, high = self._low[index], self._high[index]
            if len(z) and not (z[:, index].min() >= low and z[:, index].max() <= high):
                raise InputError(
                    "describe.value",
                    f"column {column.name}: a value is missing or outside its declared bounds.",
                    todo="Check the data, or declare wider bounds.",
                )
        return (z - (self._low + self._high) / 2) / ((self._high - self._low) / 2)

    def _squares(self, rows: Rows, state: DescribeState) -> NDArray[Any]:
        squares = np.zeros((len(self.groups), len(self.numbers)))
        for batch in rows.batches(self.spec.columns_used()):
            group = self._group(batch)
            away = (self._scaled(batch) - state.means[group]) ** 2
            for index in range(len(self.numbers)):
                squares[:, index] += np.bincount(group, weights=away[:, index], minlength=len(self.groups))
        squares[state.withheld > 0] = 0.0
        return squares

    # The result

    def _result(self, state: DescribeState, squares: NDArray[Any]) -> dict[str, Any]:
        limits, suppressed = self.schema.limits, list[str]()
        hidden = suppress_table(state.groups, limits.cell_min)
        people = dict(zip(self.groups, withhold(state.groups, hidden, "", []), strict=True))
        half, middle = (self._high - self._low) / 2, (self._high + self._low) / 2
        body: dict[str, dict[str, Any]] = {group: {} for group in self.groups}
        missing = state.n_dropped if not 0 < state.n_dropped < limits.cell_min else None
        for name in self.spec.columns:
            for group in self.groups:
                body[group][name] = {"n": people[group], "missing": missing}
                suppressed += [f"{group}.{name}.{key}" for key, value in body[group][name].items() if value is None]
        for index, column in enumerate(self.numbers):
            counts = self._bins(state, index)
            for g, group in enumerate(self.groups):
                cell, path = body[group][column.name], f"{group}.{column.name}"
                numbers: dict[str, Any] = {"mean": None, "sd": None}
                if hidden[g] or state.withheld[g, index]:
                    suppressed += [f"{path}.mean", f"{path}.sd"]
                else:
                    numbers["mean"] = float(middle[index] + half[index] * state.means[g, index])
                    if state.rows[g] > 1:
                        numbers["sd"] = float(half[index] * np.sqrt(squares[g, index] / (state.rows[g] - 1)))
                if self.spec.quantiles:
                    numbers["quantiles"] = dict.fromkeys(map(str, self.spec.quantiles))
                    if hidden[g]:
                        suppressed += [f"{path}.quantiles.{q}" for q in self.spec.quantiles]
                    else:
                        ends, merged = merged_bins(self._edges, counts[g], limits.cell_min)
                        values = middle[index] + half[index] * interpolated(ends, merged, self.spec.quantiles)
                        numbers["quantiles"] = dict(zip(map(str, self.spec.quantiles), values.tolist(), strict=True))
                cell |= numbers
        self._levels(state, hidden, body, suppressed)
        result = envelope(
            "describe",
            limits,
            n=state.n,
            n_dropped=state.n_dropped,
            suppressed=suppressed,
            notes=self._notes(state, hidden),
        )
        return result | body

    def _levels(
        self, state: DescribeState, hidden: NDArray[Any], body: dict[str, dict[str, Any]], suppressed: list[str]
    ) -> None:
        start = 0
        for column in self.categories:
            size = len(self.groups) * len(column.levels)
            counts = state.levels[start : start + size].reshape(len(self.groups), -1)
            start += size
            # As a table of groups by levels: another analysis of the study may show the levels' totals.
            small = suppress_table(counts, self.schema.limits.cell_min) | hidden[:, None]
            for g, group in enumerate(self.groups):
                shown = withhold(counts[g], small[g], "", [])
                body[group][column.name]["levels"] = dict(zip(column.levels, shown, strict=True))
                withheld = [level for level, value in zip(column.levels, shown, strict=True) if value is None]
                suppressed += [f"{group}.{column.name}.levels.{level}" for level in withheld]

    def _bins(self, state: DescribeState, index: int) -> NDArray[Any]:
        width = len(self._edges) - 1
        size = len(self.groups) * width
        return state.bins[index * size : (index + 1) * size].reshape(len(self.groups), -1)

    def _notes(self, state: DescribeState, hidden: NDArray[Any]) -> list[str]:
        notes = []
        if self.schema.subjects == "many":
            notes.append("n counts distinct subjects; means and standard deviations are over rows.")
        if self.spec.quantiles and self.numbers:
            least = max(self.schema.limits.cell_min, 1)
            notes.append(
                f"Quantiles are interpolated: {len(self._edges) - 1} equal bins over each column's bounds, "
                f"merged from left to right until each holds at least {least} people."
            )
        if state.n_dropped:
            notes.append("'missing' counts the rows left out of the whole analysis: any of its columns was missing.")
        if state.withheld.any():
            notes.append("A mean is withheld where, at some holder, one or two of a few people make up most of it.")
        if hidden.any():
            notes.append("A group below the minimum cell is withheld, and another where it could be worked out.")
        return notes


def _described(schema: Schema, name: str) -> Column:
    column = column_of(schema.columns, name, role="column")
    if column.type == "category":
        return levelled(schema, name)
    low, high = column.lower, column.upper
    if column.type == "text" or low is None or high is None or not -math.inf < low < high < math.inf:
        raise InputError(
            "describe.column",
            f"column {name}: must be a category, or a number with declared bounds of positive width.",
            todo="Choose another column, or declare its bounds.",
        )
    return column


def _additive(column: Column) -> bool:
    """Whether the column is a non-negative amount, of which one person or asset may hold most."""
    return column.type == "number" and column.lower is not None and column.lower >= 0


def _joined(tables: list[NDArray[Any]]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(0, dtype=np.int64), *(np.asarray(table).ravel() for table in tables)])
