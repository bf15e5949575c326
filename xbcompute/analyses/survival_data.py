"""Times and events as every analysis of survival reads them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xbcompute.analyses.design import column_of
from xbcompute.core.errors import InputError
from xbcompute.core.schema import Batch, Column, Schema
from xbcompute.specs.analysis import Survival

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Outcome:
    """Which column is the time, which the event, and what counts as an event.

    ``value`` is the event's number, or its code where the event column is a category. ``binary``: the event column
    must hold nothing but 0 and 1.
    """

    time: Column
    event: Column
    value: float
    binary: bool

    @property
    def upper(self) -> float:
        """Public upper bound of the times."""
        assert self.time.upper is not None  # outcome() refuses a time without bounds
        return self.time.upper

    def read(self, batch: Batch) -> tuple[Floats, NDArray[np.bool_]]:
        """Times, and whether each ended in an event.

        Raises:
            InputError: ``survival.negative``, ``survival.time`` (missing or out of bounds), ``survival.event``
                (a value that is neither 0 nor 1).
        """
        time: Floats = np.asarray(batch[self.time.name], dtype=np.float64)
        if time.size and not time.min() >= 0:
            raise InputError(
                "survival.negative",
                f"time column {self.time.name}: a time is negative or missing.",
                todo="Times count from each subject's own start; correct the column at the holder.",
            )
        if time.size and not (time.max() <= self.upper and time.min() >= (self.time.lower or 0.0)):
            raise InputError(
                "survival.time",
                f"time column {self.time.name}: a time is outside the column's declared bounds.",
                todo="Check the data, or declare wider bounds.",
            )
        values = np.asarray(batch[self.event.name])
        event: NDArray[np.bool_] = values == self.value
        if self.binary and not np.all(event | (values == 0)):
            raise InputError(
                "survival.event",
                f"event column {self.event.name}: a value is neither 0 nor 1.",
                todo="Recode the column, or name the value that is an event with 'event_value'.",
            )
        return time, event


def outcome(spec: Survival, schema: Schema) -> Outcome:
    """The outcome that ``spec`` names; run at the start, from public facts only.

    Raises:
        InputError: ``survival.subjects`` (several rows a subject), ``survival.time`` (no number, or no upper bound),
            ``survival.event`` (no number or category), ``survival.event_value``.
    """
    if schema.subjects == "many":
        raise InputError(
            "survival.subjects",
            f"{spec.id}: survival analyses need one row a subject, and a dataset has rows_per_subject = 'many'.",
            todo="Register a dataset with one row a subject.",
        )
    time = column_of(schema.columns, spec.time, role="time column")
    event = column_of(schema.columns, spec.event, role="event column")
    if time.type != "number" or time.upper is None or not (np.isfinite(time.upper) and time.upper > 0):
        raise InputError(
            "survival.time",
            f"time column {spec.time}: must be a number with declared bounds and a positive upper one.",
            todo="Declare bounds for the column in site.toml.",
        )
    return Outcome(time, event, _event_value(spec, event), event.type == "number" and spec.event_value in (None, 1))


def _event_value(spec: Survival, event: Column) -> float:
    if event.type == "category":
        if spec.event_value is None:
            if len(event.levels) != 2:
                raise InputError(
                    "survival.event_value",
                    f"event column {event.name}: has not two levels, so it is not clear which one is the event.",
                    todo="Name it with 'event_value'.",
                )
            return 1.0
        if str(spec.event_value) not in event.levels:
            raise InputError(
                "survival.event_value",
                f"{spec.id}: event_value is no level of the column {event.name}.",
                todo=f"Name one of: {', '.join(event.levels)}.",
            )
        return float(event.levels.index(str(spec.event_value)))
    if event.type != "number":
        raise InputError(
            "survival.event",
            f"event column {event.name}: must be a number or a category.",
            todo="Name another column, or register this one with its levels.",
        )
    if isinstance(spec.event_value, str):
        raise InputError(
            "survival.event_value",
            f"{spec.id}: event_value is a text, and the column {event.name} holds numbers.",
            todo="Give the number that is an event.",
        )
    return 1.0 if spec.event_value is None else float(spec.event_value)
