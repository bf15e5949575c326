"""Columns made from others: the order to make them in, their levels, and their bounds by interval arithmetic."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from xbcompute.core.errors import InputError
from xbcompute.core.schema import Column
from xbcompute.specs.study import Derivation

MARGIN = 2.0**-50
"""Relative widening of a logarithm's bounds: two libraries may differ in the last bits of a value on the bound."""

_ELEMENTWISE: Mapping[str, tuple[Callable[[float], float], float, bool]] = {
    "log": (math.log, 0.0, False),
    "log1p": (math.log1p, -1.0, False),
    "sqrt": (math.sqrt, 0.0, True),
}
"""Function, lower end of its domain, whether that end belongs to it."""


def derivation_order(steps: Sequence[Derivation], registered: Iterable[str], needed: set[str]) -> list[Derivation]:
    """The steps that make ``needed`` columns, each after those it is made from.

    Raises:
        InputError: a name is taken, a source does not exist, or steps go in a circle.
    """
    known = set(registered)
    by_name: dict[str, Derivation] = {}
    for step in steps:
        if step.name in known or step.name in by_name:
            raise InputError(
                "derive.name",
                f"study.toml: derive '{step.name}': a column of this name exists already.",
                todo="Choose another name.",
            )
        by_name[step.name] = step
    order: list[Derivation] = []
    visiting: set[str] = set()

    def visit(step: Derivation) -> None:
        if step in order:
            return
        if step.name in visiting:
            raise InputError("derive.circle", f"study.toml: derive '{step.name}': it is made from itself.")
        visiting.add(step.name)
        for source in step.sources:
            if source in by_name:
                visit(by_name[source])
        order.append(step)

    for name in sorted(needed & set(by_name), key=list(by_name).index):
        visit(by_name[name])
    return order


def derived_column(step: Derivation, columns: Mapping[str, Column]) -> Column:
    """The public facts of one derived column from those of its sources.

    Raises:
        InputError: naming the step for a type that does not fit, a domain left, or a level without a mapping.
    """
    sources = [columns[name] for name in step.sources]
    if step.fn == "cut":
        return Column(step.name, "category", levels=cut_labels(_numeric(step, sources)))
    if step.fn == "recode":
        return Column(step.name, "category", levels=tuple(dict.fromkeys(recoded_levels(step, sources[0]))))
    if step.fn == "difference" and all(source.type == "date" for source in sources):
        (a, b), (c, d) = _bounds(step, sources[0]), _bounds(step, sources[1])
        return Column(step.name, "number", a - d, b - c, unit="days")
    _numeric(step, sources)
    lower, upper = _interval(step, sources)
    if not (math.isfinite(lower) and math.isfinite(upper)):
        raise _fault(step, "derive.domain", "its bounds are not finite numbers.")
    units = {source.unit for source in sources}
    kept = units.pop() if step.fn in ("sum", "difference") and len(units) == 1 else ""
    return Column(step.name, "number", lower, upper, unit=kept)


def recoded_levels(step: Derivation, source: Column) -> tuple[str, ...]:
    """The new level of each level of ``source``, in the source's order.

    New levels stand in the order of the source's levels and not of the map's keys: a study travels as canonical
    JSON, which does not keep the order of keys, and every holder must arrive at the same levels.
    """
    if source.type != "category":
        raise _fault(step, "derive.type", f"'recode' needs a category and '{source.name}' is a {source.type}.")
    mapping = step.map or {}
    for level in mapping:
        if level not in source.levels:
            raise _fault(step, "derive.level", f"'map' names '{level}', which is no level of '{source.name}'.")
    for level in source.levels:
        if level not in mapping:
            raise _fault(step, "derive.level", f"level '{level}' of '{source.name}' has no entry in 'map'.")
        if not mapping[level]:
            raise _fault(step, "derive.level", f"level '{level}' of '{source.name}' is mapped to an empty text.")
    return tuple(mapping[level] for level in source.levels)


def cut_labels(step: Derivation) -> tuple[str, ...]:
    """Labels of the right-closed intervals: those given, otherwise as ``(0, 3]``."""
    if step.labels is not None:
        if len(set(step.labels)) != len(step.labels):
            raise _fault(step, "derive.labels", "a label stands twice in 'labels'.")
        return step.labels
    shown = [_edge(edge) for edge in step.edges or ()]
    return tuple(f"({low}, {high}]" for low, high in itertools.pairwise(shown))


def _edge(edge: float) -> str:
    return str(int(edge)) if math.isfinite(edge) and edge == int(edge) and abs(edge) < 1e15 else repr(edge)


def _numeric(step: Derivation, sources: Sequence[Column]) -> Derivation:
    for source in sources:
        if source.type != "number":
            raise _fault(step, "derive.type", f"'{step.fn}' needs numbers and '{source.name}' is a {source.type}.")
    return step


def _interval(step: Derivation, sources: Sequence[Column]) -> tuple[float, float]:
    ends = [_bounds(step, source) for source in sources]
    if step.fn == "sum":
        return _added(low for low, _ in ends), _added(high for _, high in ends)
    (low, high), rest = ends[0], ends[1:]
    if step.fn == "difference":
        return low - rest[0][1], high - rest[0][0]
    if step.fn == "ratio":
        below, above = rest[0]
        if below <= 0 <= above:
            raise _fault(step, "derive.domain", f"the bounds of the denominator '{step.sources[1]}' include 0.")
        corners = [a / b for a in (low, high) for b in (below, above)]
        return min(corners), max(corners)
    function, edge, closed = _ELEMENTWISE[step.fn]
    if low < edge or (low == edge and not closed):
        relation = "at least" if closed else "greater than"
        raise _fault(
            step,
            "derive.domain",
            f"'{step.fn}' needs values {relation} {edge:g}; '{sources[0].name}' may be as low as {low:g}.",
        )
    ends_after = function(low), function(high)
    if step.fn == "sqrt":  # correctly rounded everywhere
        return ends_after
    return ends_after[0] - abs(ends_after[0]) * MARGIN, ends_after[1] + abs(ends_after[1]) * MARGIN


def _added(values: Iterable[float]) -> float:
    # Left to right, as the rows are added: rounding is monotone, so no row's sum leaves these bounds.
    total = 0.0
    for value in values:
        total += value
    return total


def _bounds(step: Derivation, source: Column) -> tuple[float, float]:
    if source.lower is None or source.upper is None:
        raise _fault(step, "derive.bounds", f"'{step.fn}' needs bounds on '{source.name}', which has none.")
    return source.lower, source.upper


def _fault(step: Derivation, code: str, text: str) -> InputError:
    return InputError(code, f"study.toml: derive '{step.name}': {text}", todo="Correct the derivation or the column.")


def derive_columns(
    steps: Sequence[Derivation], columns: Mapping[str, Column], *, taken: Iterable[str], needed: set[str]
) -> dict[str, Column]:
    """The derived columns that ``needed`` names, directly or through others, in the order to make them in."""
    known = dict(columns)
    made: dict[str, Column] = {}
    for step in derivation_order(steps, taken, needed):
        made[step.name] = known[step.name] = replace(derived_column(step, known), name=step.name)
    return made
