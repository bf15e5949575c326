"""Counts over joint levels, of rows or of distinct subjects, from batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray

from xbcompute.core.schema import SUBJECT, Batch, Schema

IntArray = NDArray[np.int64]


class CellCounts:
    """Named tables of counts, filled batch by batch.

    Where a subject may have several rows a cell counts the distinct subjects that have a row in it, so the cells of
    a table may add up to more than the number of subjects.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], schema: Schema) -> None:
        self._shapes = dict(shapes)
        self._distinct = schema.subjects == "many"
        self._counts = {name: np.zeros(prod(shape), dtype=np.int64) for name, shape in shapes.items()}
        self._seen = {name: np.zeros(0, dtype=np.int64) for name in shapes}

    def add(self, name: str, codes: Sequence[NDArray[np.integer]], batch: Batch, length: int) -> None:
        """Count the ``length`` rows of ``batch`` in the cells that ``codes`` (one array an axis) name."""
        shape = self._shapes[name]
        cells = np.zeros(length, dtype=np.int64)
        for axis, size in zip(codes, shape, strict=True):
            cells = cells * size + axis
        if self._distinct:
            keys = np.asarray(batch[SUBJECT], dtype=np.int64) * prod(shape) + cells
            self._seen[name] = np.union1d(self._seen[name], keys)
        else:
            self._counts[name] += np.bincount(cells, minlength=prod(shape))

    def tables(self) -> dict[str, IntArray]:
        """The counts, each in its shape."""
        if self._distinct:
            for name, keys in self._seen.items():
                size = max(len(self._counts[name]), 1)
                self._counts[name] = np.bincount(keys % size, minlength=size).astype(np.int64)
        return {name: self._counts[name].reshape(shape) for name, shape in self._shapes.items()}


def subject_column(schema: Schema) -> tuple[str, ...]:
    """What a batch must hold beside its columns so that subjects can be told apart."""
    return (SUBJECT,) if schema.subjects == "many" else ()


def rows_in(batch: Batch) -> int:
    """Rows of a batch."""
    return len(next(iter(batch.values())))
