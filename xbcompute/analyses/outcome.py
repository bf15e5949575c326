"""The outcome of a regression as numbers, with its public bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xbcompute.analyses.design import column_of
from xbcompute.core.errors import InputError
from xbcompute.core.schema import Batch, Column, Schema
from xbcompute.specs.analysis import Logistic, Regression

FloatArray = NDArray[Any]


@dataclass(frozen=True)
class Measured:
    """A number with bounds ``lower < upper``."""

    name: str
    lower: float
    upper: float
    whole: bool = False

    def read(self, batch: Batch) -> FloatArray:
        """The values.

        Raises:
            InputError: a value is missing, out of bounds, or not whole where it must be (``outcome.value``).
        """
        values: FloatArray = np.asarray(batch[self.name], dtype=np.float64)
        if values.size and not (values.min() >= self.lower and values.max() <= self.upper):
            raise _bad_value(self.name, "is missing or outside its declared bounds")
        if self.whole and not np.array_equal(np.rint(values), values):
            raise _bad_value(self.name, "is not a whole number")
        return values


@dataclass(frozen=True)
class Binary:
    """Two values, of which ``positive`` counts as 1; ``shown`` is how a result names it.

    ``others`` are the numbers that count as 0; None means that every other level of a category does.
    """

    name: str
    positive: float
    shown: str | int | float
    others: tuple[float, ...] | None

    def read(self, batch: Batch) -> FloatArray:
        """0 and 1.

        Raises:
            InputError: a value that is neither (``outcome.value``).
        """
        values = np.asarray(batch[self.name])
        positive = values == self.positive
        if self.others is not None and not np.all(positive | np.isin(values, self.others)):
            raise _bad_value(self.name, "is neither of the outcome's two values")
        indicator: FloatArray = positive.astype(np.float64)
        return indicator


def measured(spec: Regression, schema: Schema, *, whole: bool = False) -> Measured:
    """The outcome of a linear model or, ``whole`` and never negative, of counts.

    Raises:
        InputError: it is no number, or lacks usable bounds (``outcome.column``).
    """
    column = column_of(schema.columns, spec.outcome, role="outcome")
    if column.type not in ("number", "date") or column.lower is None or column.upper is None:
        raise InputError(
            "outcome.column",
            f"outcome {spec.outcome}: a {spec.__class__.__name__.lower()} model needs a number with declared bounds.",
            todo="Choose such a column.",
        )
    if not (np.isfinite(column.lower) and np.isfinite(column.upper) and column.lower < column.upper):
        raise InputError("outcome.column", f"outcome {spec.outcome}: its bounds leave no room for different values.")
    if whole and column.lower < 0:
        raise InputError(
            "outcome.column", f"outcome {spec.outcome}: counts are never negative.", todo="Declare a lower bound of 0."
        )
    return Measured(spec.outcome, column.lower, column.upper, whole)


def binary(spec: Logistic, schema: Schema) -> Binary:
    """The outcome of a logistic model: a category, or a number with two values.

    A number without ``positive`` must be 0 or 1. With it, the other value is a bound of the column (or 0 beside 1).

    Raises:
        InputError: ``outcome.column``, ``outcome.positive``.
    """
    column = column_of(schema.columns, spec.outcome, role="outcome")
    if column.type == "category":
        return _category(spec, column)
    if column.type != "number":
        raise InputError("outcome.column", f"outcome {spec.outcome}: a logistic model needs a category or 0 and 1.")
    positive = 1 if spec.positive is None else spec.positive
    if isinstance(positive, str):
        raise InputError(
            "outcome.positive", f"outcome {spec.outcome}: it is a number, and 'positive' names a level.", todo="Name 1."
        )
    known = {column.lower, column.upper} if spec.positive is not None else set()
    others = {float(value) for value in known | ({0.0} if positive == 1 else set()) if value is not None}
    return Binary(spec.outcome, float(positive), positive, tuple(sorted(others - {float(positive)})))


def _category(spec: Logistic, column: Column) -> Binary:
    if spec.positive is None:
        if len(column.levels) != 2:
            raise InputError(
                "outcome.positive",
                f"outcome {spec.outcome}: it has {len(column.levels)} levels.",
                todo="Say with 'positive' which one counts as 1.",
            )
        return Binary(spec.outcome, 1, column.levels[1], None)
    if str(spec.positive) not in column.levels:
        raise InputError(
            "outcome.positive",
            f"outcome {spec.outcome}: 'positive' is none of its levels.",
            todo=f"Name one of {', '.join(column.levels)}.",
        )
    return Binary(spec.outcome, column.levels.index(str(spec.positive)), str(spec.positive), None)


def _bad_value(name: str, what: str) -> InputError:
    return InputError("outcome.value", f"outcome {name}: a value {what}.", todo="Check the data and the bounds.")
