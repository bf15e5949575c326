"""The design matrix: covariate terms to named columns with public bounds.

Names, coding and the rule for redundant columns are those of patsy and statsmodels: treatment coding against the first
level (or ``reference``), ``tgrade[T.III]``, ``age:horTh[T.yes]``; a factor whose margin is not in the model gets a
column for every level, ``age:horTh[no]``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xbcompute.core.errors import InputError
from xbcompute.core.schema import Batch, Column

INTERCEPT = "Intercept"
FloatArray = NDArray[Any]


@dataclass(frozen=True)
class Indicator:
    """1 where the category ``column`` has the level with this code, otherwise 0."""

    column: str
    code: int


@dataclass(frozen=True)
class DesignColumn:
    """A product of numbers and indicators; ``lower`` and ``upper`` bound it wherever its columns keep their bounds."""

    name: str
    term: str
    numbers: tuple[str, ...]
    indicators: tuple[Indicator, ...]
    lower: float
    upper: float


@dataclass(frozen=True)
class Design:
    """Columns of a design matrix without intercept, and the affine map of each to [−1, 1].

    On that scale a column is ``z = (x − middle) / half``. ``bounds`` are those of the number columns used.
    """

    columns: tuple[DesignColumn, ...]
    bounds: Mapping[str, tuple[float, float]]
    levels: Mapping[str, tuple[str, ...]]

    @property
    def names(self) -> tuple[str, ...]:
        """Coefficient names, in the order of the matrix."""
        return tuple(column.name for column in self.columns)

    @property
    def uses(self) -> tuple[str, ...]:
        """Columns a batch must hold."""
        return (*self.bounds, *self.levels)

    @property
    def categories(self) -> tuple[tuple[str, ...], ...]:
        """The categorical part of every term that has one, each once: whose joint levels need rows."""
        parts = (tuple(indicator.column for indicator in column.indicators) for column in self.columns)
        return tuple(dict.fromkeys(part for part in parts if part))

    @cached_property
    def middle(self) -> FloatArray:
        """Middle of each column's bounds, (p,)."""
        return np.array([(column.lower + column.upper) / 2 for column in self.columns], dtype=np.float64)

    @cached_property
    def half(self) -> FloatArray:
        """Half the width of each column's bounds, (p,); positive."""
        return np.array([(column.upper - column.lower) / 2 for column in self.columns], dtype=np.float64)

    def matrix(self, batch: Batch) -> FloatArray:
        """The (rows, p) matrix in the columns' own units.

        Raises:
            InputError: a number is missing or outside the bounds of its column (``design.value``).
        """
        numbers = {name: self._number(batch, name) for name in self.bounds}
        rows = len(next(iter(batch.values())))
        matrix = np.ones((rows, len(self.columns)), dtype=np.float64, order="F")
        for index, column in enumerate(self.columns):
            out = matrix[:, index]
            for name in column.numbers:
                out *= numbers[name]
            for indicator in column.indicators:
                out *= batch[indicator.column] == indicator.code
        return matrix

    def scaled(self, batch: Batch) -> FloatArray:
        """The (rows, p) matrix with every column mapped to [−1, 1]."""
        matrix = self.matrix(batch)
        matrix -= self.middle
        matrix /= self.half
        return matrix

    def restore(self, gamma: FloatArray, cov: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Coefficients and covariance in the columns' own units, from a fit on the [−1, 1] scale.

        With p + 1 coefficients the first is the intercept, and stays the first.
        """
        back = self._back(len(gamma) == len(self.columns) + 1)
        return back @ gamma, back @ cov @ back.T

    def _back(self, intercept: bool) -> FloatArray:
        slopes = np.diag(1 / self.half)
        if not intercept:
            return slopes
        back = np.zeros((len(self.columns) + 1,) * 2)
        back[0, 0] = 1.0
        back[0, 1:] = -self.middle / self.half
        back[1:, 1:] = slopes
        return back

    def _number(self, batch: Batch, name: str) -> FloatArray:
        values: FloatArray = np.asarray(batch[name], dtype=np.float64)
        lower, upper = self.bounds[name]
        # A NaN compares False, so this catches it as well.
        if values.size and not (values.min() >= lower and values.max() <= upper):
            raise InputError(
                "design.value",
                f"column {name}: a value is missing or outside its declared bounds.",
                todo="Check the data, or declare wider bounds.",
            )
        return values


def build_design(
    covariates: Sequence[str], columns: Mapping[str, Column], reference: Mapping[str, str] | None = None
) -> Design:
    """The design of ``covariates``; ``a:b`` is an interaction of any types, ``reference`` names base levels.

    Raises:
        InputError: ``design.column`` (unknown or textual), ``design.bounds`` (none, or of width zero),
            ``design.levels`` (fewer than two), ``design.duplicate``, ``design.reference``, ``design.margin``
            (an interaction of categories none of whose margins is in the model).
    """
    reference = dict(reference or {})
    terms = [tuple(term.split(":")) for term in covariates]
    _check_terms(terms, columns)
    used = {name: columns[name] for name in dict.fromkeys(name for term in terms for name in term)}
    for name, level in reference.items():
        if name not in used or used[name].type != "category" or level not in used[name].levels:
            raise InputError(
                "design.reference",
                f"reference {name}: this is no category among the covariates with such a level.",
                todo="Name a categorical covariate and one of its levels.",
            )
    full = _full_factors(terms, used)
    return Design(
        columns=tuple(column for term in terms for column in _expand(term, used, reference, full[term])),
        bounds={name: _bounds(column) for name, column in used.items() if column.type != "category"},
        levels={name: column.levels for name, column in used.items() if column.type == "category"},
    )


def column_of(columns: Mapping[str, Column], name: str, *, role: str) -> Column:
    """The column called ``name``.

    Raises:
        InputError: it is not part of the study's schema (``design.column``).
    """
    if name not in columns:
        raise InputError(
            "design.column", f"{role} {name}: no such column.", todo="Name a registered or derived column."
        )
    return columns[name]


def _check_terms(terms: Sequence[tuple[str, ...]], columns: Mapping[str, Column]) -> None:
    seen: set[frozenset[str]] = set()
    for term in terms:
        written = ":".join(term)
        for name in term:
            if column_of(columns, name, role="covariate").type == "text":
                raise InputError("design.column", f"covariate {name}: a text column cannot be a covariate.")
        if len(set(term)) < len(term) or frozenset(term) in seen:
            raise InputError("design.duplicate", f"covariate {written}: named twice.", todo="Name each term once.")
        seen.add(frozenset(term))


def _full_factors(terms: Sequence[tuple[str, ...]], used: Mapping[str, Column]) -> dict[tuple[str, ...], set[str]]:
    """The categories of each term that get a column for every level, as patsy decides it.

    Terms of fewer factors come first. A term with all levels of a category spans the term without it as well.
    """
    spanned = {frozenset[str]()}
    full: dict[tuple[str, ...], set[str]] = {}
    for term in sorted(terms, key=len):
        categories = [name for name in term if used[name].type == "category"]
        numbers = frozenset(term) - set(categories)
        full[term] = {name for name in categories if frozenset(term) - {name} not in spanned}
        if len(full[term]) > 1:
            margins = [":".join(other for other in term if other != name) for name in term if name in full[term]]
            raise InputError(
                "design.margin",
                f"covariate {':'.join(term)}: the model lacks the terms it is an interaction of.",
                todo=f"Add {' and '.join(margins)} to the covariates.",
            )
        for size in range(len(categories) + 1):
            spanned |= {numbers | frozenset(part) for part in combinations(categories, size)}
    return full


def _expand(
    term: tuple[str, ...], used: Mapping[str, Column], reference: Mapping[str, str], full: set[str]
) -> list[DesignColumn]:
    categories = [name for name in term if used[name].type == "category"]
    codes = [_codes(name, used[name], reference.get(name), name in full) for name in categories]
    numbers = tuple(name for name in term if name not in categories)
    made = []
    for combination in product(*reversed(codes)):  # the leftmost factor varies fastest, as in patsy
        chosen = dict(zip(categories, reversed(combination), strict=True))
        label = ":".join(name if name in numbers else _label(name, used, chosen[name], name in full) for name in term)
        lower, upper = _product_bounds([_bounds(used[name]) for name in numbers], len(categories) > 0)
        indicators = tuple(Indicator(name, chosen[name]) for name in categories)
        made.append(DesignColumn(label, ":".join(term), numbers, indicators, lower, upper))
    return made


def _codes(name: str, column: Column, reference: str | None, full: bool) -> list[int]:
    if len(column.levels) < 2:
        raise InputError("design.levels", f"covariate {name}: a category needs at least two levels.")
    base = column.levels.index(reference) if reference is not None else 0
    return [code for code in range(len(column.levels)) if full or code != base]


def _label(name: str, used: Mapping[str, Column], code: int, full: bool) -> str:
    return f"{name}[{'' if full else 'T.'}{used[name].levels[code]}]"


def _bounds(column: Column) -> tuple[float, float]:
    if column.lower is None or column.upper is None:
        raise InputError(
            "design.bounds", f"covariate {column.name}: a number needs declared bounds.", todo="Declare bounds."
        )
    if not (np.isfinite(column.lower) and np.isfinite(column.upper) and column.lower < column.upper):
        raise InputError(
            "design.bounds",
            f"covariate {column.name}: its bounds leave no room for two different values.",
            todo="Declare finite bounds, the lower one smaller.",
        )
    return column.lower, column.upper


def _product_bounds(factors: Sequence[tuple[float, float]], indicated: bool) -> tuple[float, float]:
    lower, upper = 1.0, 1.0
    for low, high in factors:
        corners = (lower * low, lower * high, upper * low, upper * high)
        lower, upper = min(corners), max(corners)
    return (min(lower, 0.0), max(upper, 0.0)) if indicated else (lower, upper)
