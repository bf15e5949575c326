"""Counts that several analyses of one study show of the same two columns: together they must not give one away.

Each result hides small counts as if all its margins were known. Two results over the same columns may still hide
different cells, or one may show the margin another hides (policy C4.10: complementary suppression spans a study).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from xbcompute.core.errors import RefusedError
from xbcompute.core.schema import Limits
from xbcompute.disclosure.cells import intervals
from xbcompute.specs.analysis import Compare, Describe, KaplanMeier, Table
from xbcompute.specs.study import Study

Levels: TypeAlias = dict[str, int | None]
"""What is shown of one column's levels; None is withheld."""
Pair: TypeAlias = tuple[str, str]
Cells: TypeAlias = dict[tuple[str, str], int | None]


class _Shown:
    """Everything a study's results show of single columns and of pairs."""

    def __init__(self) -> None:
        self.columns: dict[str, Levels] = {}
        self.pairs: dict[Pair, Cells] = {}

    def level(self, column: str, level: str, value: int | None) -> None:
        known = self.columns.setdefault(column, {})
        known[level] = value if known.get(level) is None else known[level]

    def cell(self, first: str, second: str, levels: tuple[str, str], value: int | None) -> None:
        if first > second:
            first, second, levels = second, first, (levels[1], levels[0])
        known = self.pairs.setdefault((first, second), {})
        known[levels] = value if known.get(levels) is None else known[levels]


def audit_study(study: Study, results: Mapping[str, Mapping[str, Any]], limits: Limits) -> None:
    """Refuse a study whose results, taken together, pin a withheld count down. Run by every node before release.

    With ``missing = "analysis"`` the analyses count different people, and their counts are not put together.

    Raises:
        RefusedError: ``disclosure.study``, naming the columns and no number.
    """
    if study.study.data.missing != "study":
        return
    shown = _collect(study, results)
    totals = {result["n"] for result in results.values() if result.get("n") is not None}
    total = totals.pop() if len(totals) == 1 else None
    while _complete_margins(shown):
        pass
    for pair, cells in shown.pairs.items():
        if not _safe(pair, cells, shown.columns, total, limits.cell_min):
            raise RefusedError(
                "disclosure.study",
                f"columns '{pair[0]}' and '{pair[1]}': analyses of this study together show a withheld count.",
                todo="Ask for one table of the two columns in a study.",
            )


def _collect(study: Study, results: Mapping[str, Mapping[str, Any]]) -> _Shown:
    shown = _Shown()
    for analysis in study.analysis:
        result = results.get(analysis.id)
        if result is None:
            continue
        match analysis:
            case Table():
                _collect_table(shown, analysis, result)
            case Describe():
                for column, levels in _described(analysis, result):
                    for (group, level), value in levels.items():
                        if analysis.by is None:
                            shown.level(column, level, value)
                        else:
                            shown.cell(analysis.by, column, (group, level), value)
                if analysis.by is not None:
                    for group in _groups(result):
                        shown.level(analysis.by, group, next(iter(result[group].values()))["n"])
            case KaplanMeier() if analysis.by is not None:
                for group, risk in result["at_risk"].items():
                    shown.level(analysis.by, group, risk[0] if risk else None)
            case Compare():
                for group, found in result["groups"].items():
                    shown.level(analysis.by, group, found["n"])
            case _:
                pass
    return shown


def _collect_table(shown: _Shown, analysis: Table, result: Mapping[str, Any]) -> None:
    for row, line, margin in zip(result["rows"], result["counts"], result["row_totals"], strict=True):
        shown.level(analysis.rows, row, margin)
        for column, value in zip(result["columns"], line, strict=True):
            shown.cell(analysis.rows, analysis.columns, (row, column), value)
    for column, margin in zip(result["columns"], result["column_totals"], strict=True):
        shown.level(analysis.columns, column, margin)


def _described(analysis: Describe, result: Mapping[str, Any]) -> Iterator[tuple[str, Cells]]:
    for column in analysis.columns:
        cells: Cells = {}
        for group in _groups(result):
            for level, value in result[group][column].get("levels", {}).items():
                cells[group, level] = value
        if cells:
            yield column, cells


def _groups(result: Mapping[str, Any]) -> list[str]:
    return [key for key, value in result.items() if isinstance(value, Mapping)]


def _complete_margins(shown: _Shown) -> bool:
    """Fill in margins that fully shown lines add up to; whether any was."""
    filled = False
    for pair, cells in shown.pairs.items():
        for axis, column in enumerate(pair):
            lines: dict[str, list[int | None]] = {}
            for levels, value in cells.items():
                lines.setdefault(levels[axis], []).append(value)
            for level, values in lines.items():
                whole = [value for value in values if value is not None]
                if len(whole) == len(values) and shown.columns.get(column, {}).get(level) is None:
                    shown.level(column, level, sum(whole))
                    filled = True
    return filled


def _safe(pair: Pair, cells: Cells, columns: Mapping[str, Levels], total: int | None, cell_min: int) -> bool:
    rows, across = (list(dict.fromkeys(levels[axis] for levels in cells)) for axis in (0, 1))
    entries = [[*(cells.get((row, column)) for column in across), columns.get(pair[0], {}).get(row)] for row in rows]
    entries.append([*(columns.get(pair[1], {}).get(column) for column in across), total])
    hidden = np.array([[value is None for value in line] for line in entries])
    if not hidden[:-1, :-1].any():
        return True
    whole = np.array([[value or 0 for value in line] for line in entries], dtype=np.int64)
    for (i, j), low, high in intervals(whole, hidden) or []:
        if i < len(rows) and j < len(across) and high - low < cell_min - 0.5:
            return False
    return True
