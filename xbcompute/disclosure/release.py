"""The three moments of output checking at one holder: before a contribution leaves, after opening, before release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from xbcompute.core.arrays import ArraySpec, Contribution, Layout
from xbcompute.core.errors import RefusedError
from xbcompute.core.parties import PartyId
from xbcompute.core.schema import Limits, Schema
from xbcompute.disclosure.cells import own_cells
from xbcompute.disclosure.models import ModelBudget
from xbcompute.disclosure.shown import check_shown

SLACK = 1e-6
"""Relative room for the rounding of sums of numbers that are no counts."""


class SessionChecks:
    """A :class:`~xbcompute.core.ports.ReleaseCheck` for one session at one holder; keeps the count of opened scalars.

    ``own_rows`` are the rows of this holder's population, if known: they replace a larger ``rows_min``.
    """

    def __init__(self, schema: Schema, me: PartyId, own_rows: int | None = None) -> None:
        self._schema = schema
        self._budget = ModelBudget(schema, me, own_rows)

    @property
    def opened(self) -> int:
        """Model scalars opened so far."""
        return self._budget.opened

    def contribution(self, analysis: str, layout: Layout, mine: Contribution) -> None:
        """Before a contribution leaves: its form, its bounds, own small cells under holder scope, opened scalars.

        Raises:
            RefusedError: ``disclosure.contribution``, ``disclosure.cell`` or ``model.scalars``; no number of this
                holder is in the text.
        """
        if set(mine) != set(layout):
            raise _no("contribution", analysis, "it has other arrays than its layout")
        for name, spec in layout.items():
            wrong = _wrong_form(spec, np.asarray(mine[name]), spec.bound)
            if wrong:
                raise _no("contribution", analysis, f"array '{name}' {wrong}")
            if spec.role == "cells" and not _are_counts(np.asarray(mine[name])):
                raise _no("contribution", analysis, f"array '{name}' holds cells that are no counts")
        own_cells(analysis, layout, mine, self._schema.limits)
        self._budget.spend(analysis, layout)

    def total(self, analysis: str, layout: Layout, total: Contribution) -> None:
        """After a total was opened: its form, and cells that can be counts. A wrapped or forged sum stops here.

        Raises:
            RefusedError: ``disclosure.total``.
        """
        if set(total) != set(layout):
            raise _no("total", analysis, "it has other arrays than its layout")
        holders = len(self._schema.holders)
        for name, spec in layout.items():
            array = np.asarray(total[name])
            bound = holders * spec.bound * (1.0 if spec.integer else 1.0 + SLACK)
            wrong = _wrong_form(spec, array, bound)
            if wrong:
                raise _no("total", analysis, f"array '{name}' {wrong}")
            if spec.role == "cells" and not _are_counts(array):
                raise _no("total", analysis, f"array '{name}' holds cells that are no counts")


def audit_result(result: Mapping[str, Any], kind: str, limits: Limits) -> None:
    """Before release: walk over a finished result without knowing how it was made, and refuse what must not be shown.

    Run by every node. Refused are: any shown count from 1 to ``cell_min - 1``; a withheld count that is not listed in
    ``suppressed`` or that the shown ones pin down; chi-square beside a withheld cell; a curve that says more than its
    counts; minimum, maximum, residuals, fitted rows; too few residual degrees of freedom; kinds not known here.

    Raises:
        RefusedError: ``disclosure.result``, naming the place and no number.
    """
    check_shown(result, kind, limits)


def _wrong_form(spec: ArraySpec, array: np.ndarray[Any, Any], bound: float) -> str:
    if array.shape != spec.shape or array.dtype.kind not in "iuf":
        return "has another shape or type than its layout"
    if not array.size:
        return ""
    if array.dtype.kind == "f" and not bool(np.isfinite(array).all()):
        return "holds a value that is not finite"
    if array.min().item() < -bound or array.max().item() > bound:  # Python compares int with float exactly
        return "exceeds its bound"
    if spec.integer and array.dtype.kind == "f" and not bool((array == np.rint(array)).all()):
        return "holds a value that is not whole"
    return ""


def _are_counts(array: np.ndarray[Any, Any]) -> bool:
    if array.dtype.kind == "f" and not bool((array == np.rint(array)).all()):
        return False
    return not array.size or bool(array.min() >= 0)


def _no(moment: str, analysis: str, what: str) -> RefusedError:
    return RefusedError("disclosure.check", f"analysis '{analysis}': its {moment} is refused: {what}.")
