"""What all regressions share: the columns on a common scale, and a first round that says whether a fit is allowed.

Number columns and interactions with numbers are taken about their pooled mean on the [−1, 1] scale, indicators about
the base level, so that a fit is as well conditioned as the columns allow, however wide their bounds are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xbcompute.analyses.bounds import sum_bound
from xbcompute.analyses.corners import Corners
from xbcompute.analyses.counting import CellCounts, rows_in, subject_column
from xbcompute.analyses.design import INTERCEPT, build_design, column_of
from xbcompute.analyses.inference import Information, unpack
from xbcompute.analyses.outcome import Binary, Measured
from xbcompute.core.arrays import ArraySpec, Opened
from xbcompute.core.errors import InputError
from xbcompute.core.schema import Batch, Rows, Schema
from xbcompute.disclosure.models import check_cells, check_own_size, check_size
from xbcompute.specs.analysis import Regression, terms

FloatArray = NDArray[Any]

VARIATION_MIN = 1e-9
"""Least mean square of a column on the [−1, 1] scale about its centre that fixed-point sums still resolve."""

OPENED_FIRST = (
    Opened("counts", (), "rows and subjects used, rows dropped", "使用的行数与对象数、剔除的行数"),
    Opened("cells", ("levels", "outcome"), "people in each level by outcome", "各水平与结局交叉的人数"),
    Opened("sums", ("p",), "sums of the number columns", "数值列的总和"),
)


@dataclass(frozen=True)
class First:
    """What the first round opened: rows, dropped rows, distinct subjects, and the pooled centre of each column.

    ``outcome`` is the mean of the outcome, on the [−1, 1] scale where it is measured.
    """

    n: int
    n_dropped: int
    subjects: int
    outcome: float
    centre: FloatArray


class Regressors:
    """The right-hand side of a regression: intercept, columns, offset.

    Raises:
        InputError: as :func:`~xbcompute.analyses.design.build_design`, and ``design.offset``.
    """

    def __init__(self, spec: Regression, schema: Schema, outcome: Binary | Measured) -> None:
        if spec.outcome in (*terms(spec.covariates), spec.offset, spec.exposure):
            raise InputError("design.outcome", f"outcome {spec.outcome}: it is among the covariates as well.")
        self.schema = schema
        self.outcome = outcome
        self.design = build_design(spec.covariates, schema.columns, spec.reference)
        self._offset = _number(schema, spec.offset, "offset")
        self._exposure = _number(schema, spec.exposure, "exposure", positive=True)
        extra = [name for name, _ in (self._offset, self._exposure) if name]
        self.uses = tuple(dict.fromkeys((outcome.name, *self.design.uses, *extra)))
        self.has_offset = bool(extra)
        self._corners = Corners(self.design)
        self.names = (INTERCEPT, *self.design.names)
        self._summed = np.array([bool(column.numbers) for column in self.design.columns], dtype=bool)
        self._levels = {":".join(part): part for part in self.design.categories}

    @property
    def q(self) -> int:
        """Coefficients, intercept included."""
        return len(self.names)

    def offset_bounds(self) -> tuple[float, float]:
        """Bounds of what is added to the linear predictor."""
        low, high = self._offset[1]
        return (low, high) if self._exposure[0] is None else _shift((low, high), self._exposure[1])

    def offset(self, batch: Batch) -> FloatArray | float:
        """What is added to the linear predictor of each row.

        Raises:
            InputError: a value out of bounds (``design.value``).
        """
        total: FloatArray | float = 0.0
        for (name, (lower, upper)), log in ((self._offset, False), (self._exposure, True)):
            if name is None:
                continue
            values = np.asarray(batch[name], dtype=np.float64)
            if values.size and not (values.min() >= lower and values.max() <= upper):
                raise InputError("design.value", f"column {name}: a value is missing or outside its declared bounds.")
            total = total + (np.log(values) if log else values)
        return total

    def rows(self, batch: Batch, centre: FloatArray) -> FloatArray:
        """The (rows, q) matrix: ones, then the scaled columns about ``centre``."""
        matrix = np.empty((rows_in(batch), self.q), order="F")
        matrix[:, 0] = 1.0
        np.subtract(self.design.scaled(batch), centre, out=matrix[:, 1:])
        return matrix

    def reach(self, centre: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Least and greatest value of each column of :meth:`rows`, (q,) each."""
        return np.concatenate([[1.0], -1 - centre]), np.concatenate([[1.0], 1 - centre])

    def predictor_bounds(self, gamma: FloatArray, centre: FloatArray) -> tuple[float, float]:
        """Bounds of the linear predictor ``rows @ gamma + offset``: public functions of the state."""
        low, high = self._corners.bounds(gamma[1:], centre)
        offset = self.offset_bounds()
        return float(gamma[0]) + low + offset[0], float(gamma[0]) + high + offset[1]

    def restore(self, gamma: FloatArray, cov: FloatArray, centre: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Coefficients and covariance in the columns' own units."""
        back = np.eye(self.q)
        back[0, 1:] = -centre
        return self.design.restore(back @ gamma, back @ cov @ back.T)

    def information(self, packed: NDArray[Any]) -> Information:
        """The factored information of all coefficients.

        Raises:
            InputError: ``model.constant``, ``model.collinear``.
        """
        matrix = unpack(packed, self.q)
        for name, square in zip(self.names[1:], np.diag(matrix)[1:], strict=True):
            if square <= VARIATION_MIN * matrix[0, 0]:
                raise InputError(
                    "model.constant",
                    f"column {name}: it does not vary in these rows, or its bounds are far wider than its values.",
                    todo="Leave it out of the covariates, or declare narrower bounds.",
                )
        return Information(self.names, matrix)

    # The first round

    def first_layout(self) -> dict[str, ArraySpec]:
        """Counts, joint levels (by outcome where it has two values), sums of number columns and outcome."""
        rows_max = float(self.schema.rows_max)
        layout = {
            "n": ArraySpec((), rows_max, integer=True, role="cells"),
            "n_dropped": ArraySpec((), rows_max, integer=True, role="cells"),
        }
        if self.schema.subjects == "many":
            layout["subjects"] = ArraySpec((), rows_max, integer=True, role="cells")
        for name, shape in self._cell_shapes().items():
            layout[f"cells/{name}"] = ArraySpec(shape, rows_max, integer=True, role="cells")
        layout["outcome"] = ArraySpec(
            (), sum_bound(rows_max, 1), integer=isinstance(self.outcome, Binary), role="model"
        )
        layout["sums"] = ArraySpec((int(self._summed.sum()),), sum_bound(rows_max, 1), role="model")
        return layout

    def first(self, rows: Rows) -> dict[str, NDArray[Any]]:
        """One holder's part of :meth:`first_layout`.

        Raises:
            RefusedError: too few rows for so many coefficients at this holder (policy C4.10).
        """
        check_own_size(rows.n, self.q, self.schema.limits)
        subjects = {"subjects": (1,)} if self.schema.subjects == "many" else {}
        cells = CellCounts({**self._cell_shapes(), **subjects}, self.schema)
        sums = np.zeros(int(self._summed.sum()))
        outcome = 0.0
        for batch in rows.batches((*self.uses, *subject_column(self.schema))):
            y = self.outcome.read(batch)
            self.offset(batch)
            length = len(y)
            for name, part in self._levels.items():
                codes = [batch[column] for column in part]
                cells.add(name, [*codes, *self._outcome_codes(y)], batch, length)
            if isinstance(self.outcome, Binary):
                cells.add(self.outcome.name, self._outcome_codes(y), batch, length)
            if subjects:
                cells.add("subjects", [np.zeros(length, dtype=np.int64)], batch, length)
            sums += self.design.scaled(batch)[:, self._summed].sum(axis=0)
            outcome += float(self.scaled_outcome(y).sum())
        tables = cells.tables()
        total: dict[str, NDArray[Any]] = {"n": np.array(rows.n), "n_dropped": np.array(rows.n_dropped)}
        if subjects:
            total["subjects"] = tables.pop("subjects").reshape(())
        total |= {f"cells/{name}": table for name, table in tables.items()}
        count = isinstance(self.outcome, Binary)
        return total | {"outcome": np.array(round(outcome) if count else outcome), "sums": sums}

    def scaled_outcome(self, y: FloatArray) -> FloatArray:
        """The outcome on [−1, 1] where it is measured; 0 and 1 stay."""
        if isinstance(self.outcome, Binary):
            return y
        middle, half = self.outcome_scale()
        return (y - middle) / half

    def outcome_scale(self) -> tuple[float, float]:
        """Middle and half width of a measured outcome's bounds."""
        if isinstance(self.outcome, Binary):
            return 0.0, 1.0
        return (self.outcome.lower + self.outcome.upper) / 2, (self.outcome.upper - self.outcome.lower) / 2

    def check_first(self, total: dict[str, Any]) -> First:
        """The first round's facts, once a fit of this size and these cells is known to be allowed and possible.

        Raises:
            InputError: ``model.rows``, ``model.empty_level``, ``model.separable``. RefusedError: policy C4.10.
        """
        limits = self.schema.limits
        n = int(total["n"])
        if n <= self.q:
            raise InputError("model.rows", f"{n} complete rows cannot carry {self.q} coefficients.")
        check_size(n, self.q, limits)
        for name in self._cell_shapes():
            table = np.asarray(total[f"cells/{name}"])
            self._check_table(name, table)
            check_cells(name, table, limits)
        centre = np.full(len(self.design.columns), -1.0)
        centre[self._summed] = np.asarray(total["sums"]) / n
        subjects = int(total["subjects"]) if "subjects" in total else n
        return First(n, int(total["n_dropped"]), subjects, float(total["outcome"]) / n, centre)

    def _check_table(self, name: str, table: NDArray[Any]) -> None:
        by_outcome = isinstance(self.outcome, Binary)
        if name == self.outcome.name:
            if not table.all():
                raise InputError("model.constant", f"outcome {name}: all rows have the same value.")
            return
        if not (table.sum(axis=-1) if by_outcome else table).all():
            raise InputError(
                "model.empty_level",
                f"column {name}: a level has no row at any holder.",
                todo="Leave the level out of the column's levels at every holder, or recode it.",
            )
        if not table.all():
            raise InputError(
                "model.separable",
                f"column {name}: a level has only one value of the outcome, so its coefficient is infinite.",
                todo="Merge levels with 'recode', or leave the column out.",
            )

    def _cell_shapes(self) -> dict[str, tuple[int, ...]]:
        two = (2,) if isinstance(self.outcome, Binary) else ()
        shapes = {
            name: (*(len(self.design.levels[column]) for column in part), *two) for name, part in self._levels.items()
        }
        return shapes | ({self.outcome.name: two} if two else {})

    def _outcome_codes(self, y: FloatArray) -> list[NDArray[Any]]:
        return [y.astype(np.int64)] if isinstance(self.outcome, Binary) else []


def _number(
    schema: Schema, name: str | None, role: str, *, positive: bool = False
) -> tuple[str | None, tuple[float, float]]:
    if name is None:
        return None, (0.0, 0.0)
    column = column_of(schema.columns, name, role=role)
    if column.type != "number" or column.lower is None or column.upper is None:
        raise InputError("design.offset", f"{role} {name}: must be a number with declared bounds.")
    if positive and column.lower <= 0:
        raise InputError(
            "design.offset", f"{role} {name}: its logarithm is taken.", todo="Declare a lower bound above 0."
        )
    return name, (column.lower, column.upper)


def _shift(offset: tuple[float, float], exposure: tuple[float, float]) -> tuple[float, float]:
    return offset[0] + float(np.log(exposure[0])), offset[1] + float(np.log(exposure[1]))
