"""What a fitted model may open: enough rows a coefficient, no small cell, fewer numbers than people (policy C4.10)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from xbcompute.core.arrays import Layout
from xbcompute.core.errors import RefusedError
from xbcompute.core.parties import Jurisdiction, PartyId
from xbcompute.core.schema import Limits, Schema
from xbcompute.disclosure.cells import small

ROWS_PER_COEFFICIENT = 3


def check_own_size(n: int, coefficients: int, limits: Limits) -> None:
    """Refuse a fit with more coefficients than a third of this holder's rows.

    Raises:
        RefusedError: ``model.rows_holder``, without the holder's number of rows.
    """
    if limits.model_rules and n < ROWS_PER_COEFFICIENT * coefficients:
        raise RefusedError(
            "model.rows_holder",
            f"this holder has too few rows for {coefficients} coefficients (policy C4.10: three rows a coefficient).",
            todo="Use fewer covariates or coarser levels.",
        )


def check_size(n: int, coefficients: int, limits: Limits) -> None:
    """Refuse a fit with too few pooled rows: three a coefficient, and ``df_min`` residual degrees of freedom.

    A saturated model fails the second test.

    Raises:
        RefusedError: ``model.size``.
    """
    if limits.model_rules and (n < ROWS_PER_COEFFICIENT * coefficients or n - coefficients < limits.df_min):
        raise RefusedError(
            "model.size",
            f"too few rows for {coefficients} coefficients (policy C4.10: three rows a coefficient, "
            f"{limits.df_min} residual degrees of freedom).",
            todo="Use fewer covariates or coarser levels.",
        )


def check_cells(name: str, table: NDArray[Any], limits: Limits) -> None:
    """Refuse a fit in which a level, or a level by outcome or event, has some people and fewer than the minimum.

    ``name`` names the column. A cell of zero is not small: the analyses refuse it where it makes a fit impossible.

    Raises:
        RefusedError: ``model.cells``.
    """
    if limits.model_rules and bool(small(np.asarray(table), limits.cell_min).any()):
        raise RefusedError(
            "model.cells",
            f"column {name}: a level, or a level by outcome, has fewer people than the minimum cell.",
            todo="Use coarser levels (recode), or leave the column out.",
        )


class ModelBudget:
    """The running total of model scalars a session opens, held below the number of rows in each jurisdiction.

    Fewer equations than people: the bound of a jurisdiction is the sum of its holders' public ``rows_min``, the bound
    at a holder without one its own rows. ``own_rows`` are the rows of this holder's population: where ``where`` or
    missing values leave fewer than the declared ``rows_min``, they count instead, and this holder is the one to refuse.
    """

    def __init__(self, schema: Schema, me: PartyId, own_rows: int | None) -> None:
        self._limits = schema.limits
        self._opened = 0
        bounds: dict[Jurisdiction, int] = {}
        own_bound = None
        for holder in schema.holders:
            least = holder.rows_min
            if holder.party == me and own_rows is not None:
                if least is None:
                    own_bound = own_rows
                else:
                    least = min(least, own_rows)
            if least is not None:
                bounds[holder.jurisdiction] = bounds.get(holder.jurisdiction, 0) + least
        limits = [*bounds.values(), *([own_bound] if own_bound is not None else [])]
        self._bound = min(limits, default=0)

    @property
    def opened(self) -> int:
        """Model scalars opened so far."""
        return self._opened

    def spend(self, analysis: str, layout: Layout) -> None:
        """Count the model scalars of a round about to be opened.

        Raises:
            RefusedError: ``model.scalars``, before anything is counted.
        """
        size = sum(spec.size for spec in layout.values() if spec.role == "model")
        if self._limits.model_rules and size and self._opened + size > self._bound:
            raise RefusedError(
                "model.scalars",
                f"analysis '{analysis}': the study would open more numbers of models than rows_min allows.",
                todo="Ask for fewer or smaller models in one study, or declare a larger rows_min where it is true.",
            )
        self._opened += size
