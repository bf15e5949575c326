"""Kaplan–Meier curves and the log-rank test on a grid of intervals.

A time t becomes unit·ceil(t/unit), so that a time of 0 stands in an interval of its own. One round opens the events and
the censored rows of each interval and group; intervals then merge until each shows enough people, and everything in the
result comes from the merged intervals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xbcompute.analyses.design import column_of
from xbcompute.analyses.envelope import envelope
from xbcompute.analyses.inference import chi_square
from xbcompute.analyses.survival_curve import curve, logrank
from xbcompute.analyses.survival_data import outcome
from xbcompute.core.arrays import ArraySpec, Contribution, Layout, Leakage, Opened
from xbcompute.core.errors import InputError
from xbcompute.core.schema import Rows, Schema
from xbcompute.disclosure.survival import merge_intervals, merged_counts
from xbcompute.engines.base import Done
from xbcompute.specs.analysis import KaplanMeier as KaplanMeierSpec

INTERVALS_MAX: Final = 100_000
"""Most intervals a grid may have: more is a unit that does not fit the column's bounds."""

ALL: Final = "all"
"""Name of the only group where no ``by`` is given."""

CURVE: Final = ("survival", "se", "ci_lower", "ci_upper", "at_risk", "events", "censored", "median")
"""What a curve has. A result holds it both ways round: ``survival.GROUP`` and ``GROUP.survival``."""

GROUP_NAMES_TAKEN: Final = frozenset(
    {*CURVE, "time", "grid", "logrank", "ci_level", "kind", "n", "n_dropped", "suppressed", "cell_scope", "notes"}
)
"""Groups are keys of the result beside these."""


@dataclass(frozen=True)
class CurvesState:
    """Nothing but the public grid: intervals 0 … ``intervals`` − 1 end at their number times ``unit``."""

    unit: float
    intervals: int


class KaplanMeier:
    """An :class:`~xbcompute.engines.base.Iterative` analysis of one round; oracle: lifelines on the merged times.

    Raises:
        InputError: ``kaplan_meier.unit`` (none, or too fine for the column's bounds), ``kaplan_meier.by``, and as
            :func:`~xbcompute.analyses.survival_data.outcome`.
    """

    state_type = CurvesState

    def __init__(self, spec: KaplanMeierSpec, schema: Schema) -> None:
        if spec.unit is None:
            raise InputError(
                "kaplan_meier.unit",
                f"{spec.id}: key 'unit' is missing; counts at every single time would show single people.",
                todo="Give the width of an interval in the unit of the time column, such as unit = 30 for days.",
            )
        self._spec = spec
        self._schema = schema
        self._outcome = outcome(spec, schema)
        self._groups = _groups(spec, schema)
        self._grid = CurvesState(spec.unit, math.ceil(self._outcome.upper / spec.unit) + 1)
        if self._grid.intervals > INTERVALS_MAX:
            raise InputError(
                "kaplan_meier.unit",
                f"{spec.id}: the bounds of {spec.time} hold more than {INTERVALS_MAX} intervals of 'unit'.",
                todo="Use a larger unit, or bounds that are closer to the column's values.",
            )

    def start(self, schema: Schema) -> CurvesState:
        """The grid."""
        return self._grid

    def layout(self, state: CurvesState) -> Layout:
        """Events and censored, (intervals, groups) each, and the rows dropped."""
        shape = (state.intervals, len(self._groups))
        counts = ArraySpec(shape, self._schema.rows_max, integer=True, role="cells")
        dropped = ArraySpec((), self._schema.rows_max, integer=True, role="cells")
        return {"events": counts, "censored": counts, "n_dropped": dropped}

    def local(self, rows: Rows, state: CurvesState) -> Contribution:
        """This holder's counts.

        Raises:
            InputError: a time is negative or out of bounds, an event neither 0 nor 1.
        """
        shape = (2, state.intervals, len(self._groups))
        counts = np.zeros(math.prod(shape), dtype=np.int64)
        by = self._spec.by
        names = tuple(dict.fromkeys((self._outcome.time.name, self._outcome.event.name, *((by,) if by else ()))))
        for batch in rows.batches(names):
            time, event = self._outcome.read(batch)
            interval = np.ceil(time / state.unit).astype(np.int64)
            group = np.asarray(batch[by], dtype=np.int64) if by else np.zeros(time.size, dtype=np.int64)
            cell = (event * shape[1] + interval) * shape[2] + group
            counts += np.bincount(cell, minlength=counts.size)
        censored, events = counts.reshape(shape)
        return {"events": events, "censored": censored, "n_dropped": np.array(rows.n_dropped)}

    def combine(self, total: Contribution, state: CurvesState) -> Done:
        """Merged intervals, and everything a reader sees from them.

        Raises:
            InputError: ``kaplan_meier.group``, a group has no rows. RefusedError: a curve has too few events.
        """
        events, censored = np.asarray(total["events"]), np.asarray(total["censored"])
        for name, people in zip(self._groups, (events + censored).sum(axis=0), strict=True):
            if people == 0:
                raise InputError(
                    "kaplan_meier.group",
                    f"column {self._spec.by}: no row has the level '{name}'."
                    if self._spec.by
                    else "there are no rows.",
                    todo="Leave the level out of the column's levels at every holder, or recode it.",
                )
        ends = merge_intervals(events, censored, self._schema.limits.cell_min)
        times: NDArray[np.float64] = (ends * state.unit).astype(np.float64)
        events, censored = merged_counts(events, ends), merged_counts(censored, ends)
        result = envelope(
            "kaplan_meier",
            self._schema.limits,
            n=int((events + censored).sum()),
            n_dropped=int(total["n_dropped"]),
            notes=[_coarseness(len(times), state)],
        )
        result |= {"time": times.tolist(), "grid": {"unit": state.unit, "merged": times.tolist()}}
        result |= {"ci_level": self._spec.ci_level}
        shown = {
            name: _shown(times, events[:, index], censored[:, index], self._spec.ci_level)
            for index, name in enumerate(self._groups)
        }
        result |= {key: {name: group[key] for name, group in shown.items()} for key in CURVE} | shown
        if len(self._groups) > 1:
            result["logrank"] = chi_square(*logrank(events, censored))
        return Done(result)

    def reveals(self) -> Leakage:
        """Counts on the grid of ``unit``, which is finer than what a release shows."""
        shape = ("intervals", "groups")
        return Leakage(
            once=(
                Opened("events", shape, "events in each interval of 'unit', by group", "各时间区间与组别的事件数"),
                Opened("censored", shape, "rows censored in each interval, by group", "各时间区间与组别的删失数"),
                Opened("n_dropped", (), "rows left out because a value is missing", "因缺失值剔除的行数"),
            ),
            each_round=(),
            rounds_max=1,
        )


def _shown(
    times: NDArray[np.float64], events: NDArray[np.int64], censored: NDArray[np.int64], ci_level: float
) -> dict[str, Any]:
    estimate = curve(times, events, censored, ci_level)
    return {
        "survival": estimate.survival.tolist(),
        "se": estimate.se.tolist(),
        "ci_lower": estimate.lower.tolist(),
        "ci_upper": estimate.upper.tolist(),
        "at_risk": estimate.at_risk.tolist(),
        "events": events.tolist(),
        "censored": censored.tolist(),
        "median": estimate.median,
    }


def _coarseness(merged: int, state: CurvesState) -> str:
    return (
        f"Times are the right ends of {merged} intervals, merged from {state.intervals - 1} of {state.unit:g}: within "
        "an interval the curve does not say when people left, and the median is an interval's end."
    )


def _groups(spec: KaplanMeierSpec, schema: Schema) -> tuple[str, ...]:
    if spec.by is None:
        return (ALL,)
    by = column_of(schema.columns, spec.by, role="grouping column")
    if by.type != "category" or len(by.levels) < 2:
        raise InputError(
            "kaplan_meier.by",
            f"grouping column {by.name}: must be a category of two levels or more.",
            todo="Derive a category from it with fn = 'cut', or leave 'by' out.",
        )
    taken = GROUP_NAMES_TAKEN.intersection(by.levels)
    if taken:
        raise InputError(
            "kaplan_meier.by",
            f"column {by.name}: a level is called {', '.join(sorted(taken))}, as a part of every result is.",
            todo="Rename the level with 'recode'.",
        )
    return by.levels
