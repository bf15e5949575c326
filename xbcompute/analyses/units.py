"""The largest people or assets in a sum, known only to their holder, for the dominance rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xbcompute.core.schema import SUBJECT, Batch, Column, Schema
from xbcompute.disclosure.dominance import check_dominance, dominated


class LargestUnits:
    """Collects, for each group and non-negative column, what each row or subject adds to the sum."""

    def __init__(self, groups: int, columns: Sequence[Column], schema: Schema) -> None:
        self._groups = groups
        self._columns = columns
        self._schema = schema
        self._totals = np.zeros((groups, len(columns)))
        self._units = np.zeros(groups, dtype=np.int64)
        self._top = np.zeros((groups, len(columns), 2))
        self._keys: list[NDArray[Any]] = []
        self._amounts: list[NDArray[Any]] = []

    def add(self, group: NDArray[Any], batch: Batch) -> None:
        """Take one batch in."""
        if not self._columns:
            return
        amounts = np.column_stack([batch[column.name] for column in self._columns])
        if self._schema.subjects == "many":
            self._keys.append(np.asarray(batch[SUBJECT], dtype=np.int64) * self._groups + group)
            self._amounts.append(amounts)
            self._compact()
        else:
            self._take(group, amounts)

    def withheld(self, groups: Sequence[str]) -> NDArray[np.int64]:
        """1 where a group has fewer units here than the minimum cell and one or two of them stand out, else 0.

        Such a sum must not leave; shape (groups, columns).

        Raises:
            RefusedError: one or two units stand out among many, naming column and group.
        """
        if self._keys:
            self._compact()
            self._take(self._keys[0] % self._groups, self._amounts[0])
        limits = self._schema.limits
        marks = np.zeros((self._groups, len(self._columns)), dtype=np.int64)
        for g, group in enumerate(groups):
            for index, column in enumerate(self._columns):
                total, (first, second) = float(self._totals[g, index]), self._top[g, index].tolist()
                if self._units[g] < limits.cell_min:
                    marks[g, index] = dominated(total, first, second, limits)
                else:
                    check_dominance(f"{column.name} in {group}", total, first, second, limits)
        return marks

    def _take(self, group: NDArray[Any], amounts: NDArray[Any]) -> None:
        for g in range(self._groups):
            mine = amounts[group == g]
            self._units[g] += len(mine)
            self._totals[g] += mine.sum(axis=0)
            both = np.concatenate([self._top[g].T, mine])
            self._top[g] = np.sort(np.partition(both, len(both) - 2, axis=0)[-2:], axis=0)[::-1].T

    def _compact(self) -> None:
        keys, inverse = np.unique(np.concatenate(self._keys), return_inverse=True)
        amounts = np.zeros((len(keys), len(self._columns)))
        np.add.at(amounts, inverse, np.concatenate(self._amounts))
        self._keys, self._amounts = [keys], [amounts]
