"""From the holders' registered columns to the one public schema a study runs on, or the first disagreement by name."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from xbcompute.core.errors import InputError
from xbcompute.core.parties import Party, PartyId
from xbcompute.core.schema import SUBJECT, Column, ColumnType, HolderFacts, Limits, Schema
from xbcompute.specs.analysis import (
    AnalysisSpec,
    Compare,
    Cox,
    Describe,
    Histogram,
    KaplanMeier,
    Logistic,
    Rate,
    Regression,
    Weibull,
    terms,
)
from xbcompute.specs.base import SHANGHAI, Count, Number, Positive, Spec, parse
from xbcompute.specs.derive import derive_columns
from xbcompute.specs.load import no_column
from xbcompute.specs.site import ColumnSpec, Dataset
from xbcompute.specs.study import Condition, Study

_EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - wall time at UTC+8, as SHANGHAI says


class ColumnFacts(Spec):
    """What is public about one registered column; dates as days since 1970-01-01."""

    type: ColumnType
    levels: tuple[str, ...] = ()
    lower: Number | None = None
    upper: Number | None = None
    unit: str = ""


class DatasetFacts(Spec):
    """What is public about one holder's dataset."""

    dataset: str
    rows_max: Positive
    rows_min: Count | None = None
    subjects: Literal["one", "many"]
    columns: dict[str, ColumnFacts]


def days(moment: dt.datetime) -> float:
    """Days from 1970-01-01 to ``moment`` by the wall clock at UTC+8; without a time zone it is taken to be there."""
    if moment.tzinfo is not None:
        moment = moment.astimezone(SHANGHAI).replace(tzinfo=None)
    return (moment - _EPOCH) / dt.timedelta(days=1)


def column_facts(dataset: Dataset, columns: Iterable[str] | None = None) -> dict[str, Any]:
    """The public facts of ``dataset`` as a JSON object: type, levels, bounds and unit of each column, bounds on rows.

    Local column names, tags, source and grades are not among them. ``columns`` limits the facts to those a study
    uses; a name that is not registered is left out, and :func:`join_schema` names it.
    """
    wanted = None if columns is None else set(columns)
    facts = DatasetFacts(
        dataset=dataset.id,
        rows_max=dataset.rows_max,
        rows_min=dataset.rows_min,
        subjects=dataset.rows_per_subject,
        columns={
            name: _facts_of(column) for name, column in dataset.columns.items() if wanted is None or name in wanted
        },
    )
    return facts.plain()


def join_schema(
    study: Study, facts: Mapping[PartyId, Mapping[str, Any]], holders: Sequence[Party], limits: Limits
) -> Schema:
    """The schema of a horizontal study: union of the holders' bounds, the levels they share, derived columns.

    ``facts`` has :func:`column_facts` of every holder and of nobody else. Equal at every node that has the same
    arguments. Conditions of ``where`` are checked and narrow no bound.

    Raises:
        InputError: naming holder, column and level for the first disagreement, missing column, missing bound,
            condition that does not fit or derivation that leaves its domain.
    """
    if study.study.partition == "vertical":
        raise InputError(
            "schema.partition",
            f"study '{study.id}' is vertical: its parties hold different columns, and no engine here carries that.",
            todo="A vertical study can be decided ('xbcompute policy decide'); only horizontal ones run.",
        )
    if set(facts) != {holder.id for holder in holders} or not holders:
        wrong = sorted(set(facts) ^ {holder.id for holder in holders})
        raise InputError("schema.holders", f"column facts and holders differ: {', '.join(wrong) or 'no holder'}.")
    ordered = sorted(holders, key=lambda holder: holder.id)
    read = {holder.id: parse(DatasetFacts, facts[holder.id], f"column facts of {holder.id}") for holder in ordered}
    subjects = _same_subjects(read)
    columns = {name: _joined(name, read) for name in study.source_columns()}
    _check_derive_bounds(study, columns, read)
    columns |= derive_columns(study.study.data.derive, columns, taken=_registered(read), needed=set(study.columns()))
    for condition in study.study.data.where:
        check_condition(condition, columns)
    for analysis in study.analysis:
        _check_analysis(analysis, columns, read)
    return Schema(
        columns=columns,
        holders=tuple(
            HolderFacts(holder.id, holder.jurisdiction, read[holder.id].rows_max, read[holder.id].rows_min)
            for holder in ordered
        ),
        limits=limits,
        subjects=subjects,
    )


def check_condition(condition: Condition, columns: Mapping[str, Column]) -> tuple[float | str, ...]:
    """The values of a condition in the column's own form: numbers, days, level codes (as float) or texts.

    Raises:
        InputError: the column or level does not exist, or operator or value do not fit the column's type.
    """
    column = columns[condition.column]
    values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    if not values:
        raise InputError("where.value", f"study.toml: where on '{column.name}': the list of values is empty.")
    if column.type in ("category", "text") and condition.op not in ("=", "!=", "in"):
        raise InputError(
            "where.op",
            f"study.toml: where on '{column.name}': '{condition.op}' does not fit a {column.type} column.",
            todo="Use =, != or in.",
        )
    return tuple(_condition_value(column, value) for value in values)


def _condition_value(column: Column, value: bool | int | float | str) -> float | str:
    place = f"study.toml: where on '{column.name}'"
    if column.type == "number":
        if isinstance(value, (bool, str)) or not math.isfinite(value):
            raise InputError("where.value", f"{place}: a number column is compared with numbers.")
        return float(value)
    if column.type == "category" and isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # levels are text; where they are numbers, one writes them as such
    if not isinstance(value, str):
        raise InputError("where.value", f"{place}: a {column.type} column is compared with text.")
    if column.type == "category":
        if value not in column.levels:
            raise InputError(
                "where.level", f"{place}: '{value}' is no level of it.", todo=f"Levels: {', '.join(column.levels)}."
            )
        return float(column.levels.index(value))
    if column.type == "date":
        try:
            return days(dt.datetime.fromisoformat(value))
        except ValueError:
            raise InputError("where.value", f"{place}: '{value}' is not a date in ISO 8601 form.") from None
    return value


def _facts_of(column: ColumnSpec) -> ColumnFacts:
    lower = upper = None
    if column.bounds is not None:
        lower, upper = (days(end) if isinstance(end, dt.datetime) else float(end) for end in column.bounds)
    return ColumnFacts(type=column.type, levels=column.levels, lower=lower, upper=upper, unit=column.unit)


def _same_subjects(read: Mapping[PartyId, DatasetFacts]) -> Literal["one", "many"]:
    (first, facts), *others = read.items()
    for party, other in others:
        if other.subjects != facts.subjects:
            raise InputError(
                "schema.subjects",
                f"rows_per_subject is '{facts.subjects}' at {first} and '{other.subjects}' at {party}.",
                todo="Register the datasets alike.",
            )
    return facts.subjects


def _registered(read: Mapping[PartyId, DatasetFacts]) -> set[str]:
    return {name for facts in read.values() for name in facts.columns} | {SUBJECT}


def _check_derive_bounds(study: Study, columns: Mapping[str, Column], read: Mapping[PartyId, DatasetFacts]) -> None:
    for step in study.study.data.derive:
        if step.fn in ("cut", "recode"):
            continue
        for name in step.sources:
            if name in columns and columns[name].type in ("number", "date") and columns[name].lower is None:
                raise _no_bounds(name, f"derive '{step.name}' computes with", read)


def _no_bounds(name: str, user: str, read: Mapping[PartyId, DatasetFacts]) -> InputError:
    lacking = next(
        party for party, facts in read.items() if name in facts.columns and facts.columns[name].lower is None
    )
    return InputError(
        "schema.bounds",
        f"{lacking}: column '{name}', which {user}, has no bounds.",
        todo="Declare bounds = [lower, upper] for it in site.toml.",
    )


def _joined(name: str, read: Mapping[PartyId, DatasetFacts]) -> Column:
    for party, facts in read.items():
        if name not in facts.columns:
            raise no_column(party, facts.dataset, name)
    (first, reference), *others = ((party, facts.columns[name]) for party, facts in read.items())
    for party, other in others:
        for fact, mine, theirs in (("type", reference.type, other.type), ("unit", reference.unit, other.unit)):
            if mine != theirs:
                raise InputError(
                    "schema.differs",
                    f"column '{name}': {fact} is '{mine}' at {first} and '{theirs}' at {party}.",
                    todo="Register the column alike at every holder.",
                )
        if other.levels != reference.levels:
            raise _level_error(name, first, reference.levels, party, other.levels)
    every = [facts.columns[name] for facts in read.values()]
    lows = [facts.lower for facts in every if facts.lower is not None]
    highs = [facts.upper for facts in every if facts.upper is not None]
    bounded = len(lows) == len(highs) == len(every)
    return Column(
        name=name,
        type=reference.type,
        lower=min(lows) if bounded else None,
        upper=max(highs) if bounded else None,
        levels=reference.levels,
        unit="days" if reference.type == "date" else reference.unit,
    )


def _level_error(
    name: str, first: PartyId, mine: tuple[str, ...], party: PartyId, theirs: tuple[str, ...]
) -> InputError:
    todo = "Levels and their order must agree at every holder."
    for level in theirs:
        if level not in mine:
            return InputError(
                "schema.level", f"column '{name}': level '{level}' of {party} is none of {first}.", todo=todo
            )
    for level in mine:
        if level not in theirs:
            return InputError("schema.level", f"column '{name}': {party} lacks level '{level}' of {first}.", todo=todo)
    moved = next(a for a, b in zip(theirs, mine, strict=True) if a != b)
    return InputError(
        "schema.level_order",
        f"column '{name}': level '{moved}' of {party} stands at another place than at {first}.",
        todo=todo,
    )


def measured_columns(analysis: AnalysisSpec) -> tuple[str, ...]:
    """Columns whose values, where they are numbers or dates, scale fixed point and so need public bounds.

    Events and binary outcomes are compared with one value and need none.
    """
    match analysis:
        case Describe():
            return analysis.columns
        case Histogram() | Compare():
            return (analysis.column,)
        case Regression():
            skipped = {analysis.outcome} if isinstance(analysis, Logistic) else set()
            return tuple(name for name in analysis.columns_used() if name not in skipped)
        case KaplanMeier():
            return (analysis.time,)
        case Cox() | Weibull():
            return tuple(dict.fromkeys((analysis.time, *terms(analysis.covariates))))
        case Rate():
            return (analysis.events, analysis.exposure)
        case _:
            return analysis.columns_used()


def _check_analysis(
    analysis: AnalysisSpec, columns: Mapping[str, Column], read: Mapping[PartyId, DatasetFacts]
) -> None:
    for name in analysis.columns_used():
        if columns[name].type == "text":
            raise InputError(
                "schema.text",
                f"analysis '{analysis.id}': column '{name}' is text, which nothing can be computed from.",
                todo="Register it as a category with its levels.",
            )
    for name in measured_columns(analysis):
        column = columns[name]
        if column.type == "category" or column.lower is not None:
            continue
        raise _no_bounds(name, f"analysis '{analysis.id}' measures", read)
