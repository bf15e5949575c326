"""The largest people or assets in a sum, known only to their holder, for the dominance rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xbcompute.core.schema import SUBJECT, Batch, Column, Schema
from xbcompute.disclosure.dominance import check_dominance


class LargestUnits:
    """Collects, for each group and non-negative column, what each row or subject adds to the sum."""

    def __init__(self, groups: int, columns: Sequence[Column], schema: Schema) -> None:
        self._groups = groups
        self._columns = columns
        self._schema = schema
        self._totals = np.zeros((groups, len(columns)))
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

    def check(self, groups: Sequence[str]) -> None:
        """Refuse a sum in which one or two units stand out.

        Raises:
            RefusedError: naming column and group.
        """
        if self._keys:
            self._compact()
            self._take(self._keys[0] % self._groups, self._amounts[0])
        for g, group in enumerate(groups):
            for index, column in enumerate(self._columns):
                first, second = self._top[g, index].tolist()
                check_dominance(
                    f"{column.name} in {group}", float(self._totals[g, index]), first, second, self._schema.limits
                )

    def _take(self, group: NDArray[Any], amounts: NDArray[Any]) -> None:
        for g in range(self._groups):
            mine = amounts[group == g]
            self._totals[g] += mine.sum(axis=0)
            both = np.concatenate([self._top[g].T, mine])
            self._top[g] = np.sort(np.partition(both, len(both) - 2, axis=0)[-2:], axis=0)[::-1].T

    def _compact(self) -> None:
        keys, inverse = np.unique(np.concatenate(self._keys), return_inverse=True)
        amounts = np.zeros((len(keys), len(self._columns)))
        np.add.at(amounts, inverse, np.concatenate(self._amounts))
        self._keys, self._amounts = [keys], [amounts]
