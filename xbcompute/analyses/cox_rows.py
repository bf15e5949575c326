"""How a Cox model reads one holder's rows, and what it counts beside the likelihood."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xbcompute.analyses.counting import CellCounts, rows_in
from xbcompute.analyses.cox_likelihood import SurvivalBatch
from xbcompute.analyses.cox_tests import LogTime
from xbcompute.analyses.design import Design, build_design, column_of
from xbcompute.analyses.survival_data import Outcome, outcome
from xbcompute.core.arrays import ArraySpec
from xbcompute.core.errors import InputError
from xbcompute.core.schema import Batch, Rows, Schema
from xbcompute.disclosure.models import check_cells
from xbcompute.specs.analysis import Cox as CoxSpec

Arrays = dict[str, NDArray[Any]]

_ROWS = 1 << 15


@dataclass(frozen=True)
class CoxRows:
    """The public side of a Cox model's data; ``strata`` are names and numbers of levels."""

    schema: Schema
    design: Design
    outcome: Outcome
    log_time: LogTime
    strata: tuple[tuple[str, int], ...]

    @classmethod
    def of(cls, spec: CoxSpec, schema: Schema) -> CoxRows:
        """From the study's columns.

        Raises:
            InputError: as :func:`~xbcompute.analyses.design.build_design` and
                :func:`~xbcompute.analyses.survival_data.outcome`, ``cox.strata``, ``design.outcome``.
        """
        for name in (spec.time, spec.event):
            if name in {part for term in spec.covariates for part in term.split(":")} | set(spec.strata):
                raise InputError(
                    "design.outcome", f"column {name}: it is the outcome and a covariate or stratum as well."
                )
        design = build_design(spec.covariates, schema.columns, spec.reference)
        result = outcome(spec, schema)
        strata = tuple((name, _levels(schema, name)) for name in spec.strata)
        return cls(schema, design, result, LogTime.of_bounds(result.time.lower, result.upper), strata)

    def batches(self, rows: Rows, tally: Tally | None = None) -> Iterator[SurvivalBatch]:
        """The rows, largest time first; ``tally`` sees each batch on its way."""
        time_name, event_name = self.outcome.time.name, self.outcome.event.name
        strata = [name for name, _ in self.strata]
        names = tuple(dict.fromkeys((*self.design.uses, time_name, event_name, *strata)))
        for batch in _small(rows.batches(names, descending=time_name)):
            time, event = self.outcome.read(batch)
            stratum: NDArray[np.int64] | None = None
            for name, levels in self.strata:
                code = np.asarray(batch[name], dtype=np.int64)
                stratum = code if stratum is None else stratum * levels + code
            if tally is not None:
                tally.take(batch, time, event)
            yield SurvivalBatch(time, event, self.design.scaled(batch), stratum)

    # The first round

    def counts_layout(self) -> dict[str, ArraySpec]:
        """Counts that decide whether a fit is allowed."""
        n = self.schema.rows_max
        whole = {name: ArraySpec((), n, integer=True, role="cells") for name in ("n", "n_dropped")}
        cells = {
            f"cells/{name}": ArraySpec(shape, n, integer=True, role="cells")
            for name, shape in self.cell_shapes().items()
        }
        return whole | cells

    def counts(self, rows: Rows, tally: Tally) -> Arrays:
        """One holder's part of :meth:`counts_layout`, after a pass."""
        cells = {f"cells/{name}": table for name, table in tally.cells.tables().items()}
        return cells | {
            "n": np.array(rows.n),
            "n_dropped": np.array(rows.n_dropped),
        }

    def check_counts(self, total: Any) -> int:
        """The number of events, once every level has rows and events enough.

        Raises:
            InputError: ``cox.no_events``, ``model.empty_level``, ``model.separable``. RefusedError: policy C4.10.
        """
        name = self.outcome.event.name
        outcomes = np.asarray(total[f"cells/{name}"])
        if outcomes[1] == 0:
            raise InputError(
                "cox.no_events",
                f"event column {name}: no row of any holder has an event.",
                todo="Check 'event' and 'event_value'.",
            )
        for part in self.design.categories:
            self._check_levels(part, np.asarray(total[f"cells/{':'.join(part)}"]))
        for name in self.cell_shapes():
            check_cells(name, np.asarray(total[f"cells/{name}"]), self.schema.limits)
        return int(outcomes[1])

    def cell_shapes(self) -> dict[str, tuple[int, ...]]:
        """Tables of the first round; the last axis is censored, event."""
        levels = self.design.levels
        shapes = {":".join(part): (*(len(levels[name]) for name in part), 2) for part in self.design.categories}
        return shapes | {self.outcome.event.name: (2,)}

    def _check_levels(self, part: tuple[str, ...], table: NDArray[np.int64]) -> None:
        for index in np.ndindex(table.shape[:-1]):
            levels = [f"{name}[{self.design.levels[name][code]}]" for name, code in zip(part, index, strict=True)]
            label = ":".join(levels)
            if not table[index].any():
                raise InputError(
                    "model.empty_level",
                    f"column {label}: this level has no row at any holder.",
                    todo="Leave the level out of the column's levels at every holder, or recode it.",
                )
            if table[index][1] == 0:
                raise InputError(
                    "model.separable",
                    f"column {label}: this level has no event, so its coefficient is infinite.",
                    todo="Merge levels with 'recode', or leave the column out.",
                )


class Tally:
    """What one pass counts: cells (first round only), events, and their times about ``mean_log_time``."""

    def __init__(self, setting: CoxRows, mean_log_time: float, *, cells: bool) -> None:
        self._setting = setting
        self._mean = mean_log_time
        self._count_cells = cells
        self.cells = CellCounts(setting.cell_shapes(), setting.schema)
        self.events = 0
        self.log_time = 0.0
        self.spread = 0.0
        self.no_log_time = False

    def take(self, batch: Any, time: NDArray[np.float64], event: NDArray[np.bool_]) -> None:
        """Count one batch."""
        died = time[event]
        usable = self._setting.log_time.usable(died)
        u = self._setting.log_time(died[usable])
        self.events += died.size
        self.no_log_time |= not bool(usable.all())
        self.log_time += float(u.sum())
        self.spread += float(((u - self._mean) ** 2).sum())
        if self._count_cells:
            code = event.astype(np.int64)
            for part in self._setting.design.categories:
                self.cells.add(":".join(part), [*(batch[name] for name in part), code], batch, time.size)
            self.cells.add(self._setting.outcome.event.name, [code], batch, time.size)


def _small(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same rows, at most :data:`_ROWS` at a time, so that arrays made from them stay near the processor."""
    for batch in batches:
        for begin in range(0, rows_in(batch), _ROWS):
            yield {name: values[begin : begin + _ROWS] for name, values in batch.items()}


def _levels(schema: Schema, name: str) -> int:
    column = column_of(schema.columns, name, role="stratum column")
    if column.type != "category":
        raise InputError(
            "cox.strata",
            f"stratum column {name}: must be a category.",
            todo="Derive a category from it with fn = 'cut'.",
        )
    return len(column.levels)
