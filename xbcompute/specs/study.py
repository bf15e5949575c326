"""``study.toml``: the question."""

from __future__ import annotations

import datetime as dt
import math
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, Strict, field_serializer, model_validator
from pydantic_core import PydanticCustomError

from xbcompute.core.canonical import digest
from xbcompute.specs.analysis import AnalysisSpec
from xbcompute.specs.base import Identifier, Name, Number, Spec, Text, Window, parse

Scalar = Annotated[bool, Strict()] | Annotated[int, Strict()] | Annotated[float, Strict()] | Annotated[str, Strict()]


def _date_as_text(value: Any) -> Any:
    """TOML's own dates in ISO 8601 form, alone or in a list: a date may be written with or without quotes."""
    if isinstance(value, list | tuple):
        return [_date_as_text(item) for item in value]
    return value.isoformat() if isinstance(value, dt.date) else value


class Condition(Spec):
    """One condition of ``where``; rows that do not meet it are not part of the study."""

    column: Name
    op: Literal["=", "!=", "<", "<=", ">", ">=", "in"]
    value: Annotated[Scalar | tuple[Scalar, ...], BeforeValidator(_date_as_text)]

    @model_validator(mode="after")
    def _list_for_in(self) -> Condition:
        if (self.op == "in") != isinstance(self.value, tuple):
            raise PydanticCustomError("where", "op 'in' takes a list of values, every other op takes one value")
        return self


class Derivation(Spec):
    """A column made from others; ``of`` is one column, or a list for sum, difference and ratio.

    ``cut`` makes a category from ``edges`` (right-closed intervals; ``inf`` allowed; optional ``labels``),
    ``recode`` maps levels to new levels through ``map``.
    """

    name: Name
    of: Name | tuple[Name, ...]
    fn: Literal["log", "log1p", "sqrt", "cut", "recode", "sum", "difference", "ratio"]
    edges: tuple[Annotated[float, Field(allow_inf_nan=True)], ...] | None = None
    labels: tuple[Name, ...] | None = None
    map: dict[str, str] | None = None

    @field_serializer("edges", when_used="json")
    def _edges_as_text(self, edges: tuple[float, ...] | None) -> list[float | str] | None:
        return (
            None
            if edges is None
            else [edge if math.isfinite(edge) else ("inf" if edge > 0 else "-inf") for edge in edges]
        )

    @property
    def sources(self) -> tuple[str, ...]:
        """The columns it is made from."""
        return (self.of,) if isinstance(self.of, str) else self.of

    @model_validator(mode="after")
    def _arguments(self) -> Derivation:
        needs_list = self.fn in ("sum", "difference", "ratio")
        if needs_list == isinstance(self.of, str):
            raise PydanticCustomError(
                "derive", "'of' is a list for sum, difference and ratio, and one column otherwise"
            )
        if self.fn in ("difference", "ratio") and len(self.sources) != 2:
            raise PydanticCustomError("derive", "difference and ratio take exactly two columns")
        if (self.fn == "cut") != (self.edges is not None):
            raise PydanticCustomError("derive", "'edges' goes with fn 'cut' and only with it")
        if (self.fn == "recode") != (self.map is not None):
            raise PydanticCustomError("derive", "'map' goes with fn 'recode' and only with it")
        if self.edges is not None:
            if len(self.edges) < 2 or any(math.isnan(e) for e in self.edges):
                raise PydanticCustomError("derive", "'edges' needs at least two numbers")
            if any(not a < b for a, b in zip(self.edges, self.edges[1:], strict=False)):
                raise PydanticCustomError("derive", "'edges' must increase")
            if self.labels is not None and len(self.labels) != len(self.edges) - 1:
                raise PydanticCustomError("derive", "'labels' needs one label for each interval")
        elif self.labels is not None:
            raise PydanticCustomError("derive", "'labels' goes with fn 'cut' and only with it")
        return self


class StudyData(Spec):
    """Which registered dataset, which rows, which made columns."""

    dataset: Name
    where: tuple[Condition, ...] = ()
    derive: tuple[Derivation, ...] = ()
    missing: Literal["study", "analysis"] = "study"


class Wish(Spec):
    """Protocols the researcher would like; policy may refuse them and never weakens for them."""

    prefer: tuple[Identifier, ...] = ()


class Privacy(Spec):
    """Differential privacy asked for, for each release."""

    epsilon: Annotated[Number, Field(gt=0)]
    delta: Annotated[Number, Field(ge=0, lt=1)] = 0.0


class Link(Spec):
    """Vertical studies: the key column of each party."""

    on: dict[str, Name | tuple[Name, ...]]


class StudyHeader(Spec):
    """The ``[study]`` table."""

    id: Identifier
    title: Text
    industry: Name
    purpose: Name
    lead: Identifier
    recipients: Annotated[tuple[Identifier, ...], Field(min_length=1)]
    partition: Literal["horizontal", "vertical"] = "horizontal"
    sandbox: Annotated[bool, Strict()] = False
    period: Window | None = None
    data: StudyData
    protocol: Wish = Wish()
    privacy: Privacy | None = None
    link: Link | None = None


class Study(Spec):
    """A question, as one file states it."""

    study: StudyHeader
    analysis: Annotated[tuple[AnalysisSpec, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        ids = [a.id for a in self.analysis]
        if len(set(ids)) != len(ids):
            raise PydanticCustomError("analysis", "two analyses have the same id")
        if self.study.partition == "vertical" and self.study.link is None:
            raise PydanticCustomError("link", "a vertical study needs [study.link]")
        return self

    @property
    def id(self) -> str:
        """The study's id."""
        return self.study.id

    @property
    def digest(self) -> str:
        """``sha256:…`` of the canonical form: every key counts, defaults included."""
        return digest(self.plain())

    def columns(self) -> tuple[str, ...]:
        """Columns the analyses and ``where`` name, without interactions or derivation, in first-seen order."""
        names: dict[str, None] = {}
        for analysis in self.analysis:
            names.update(dict.fromkeys(analysis.columns_used()))
        names.update(dict.fromkeys(c.column for c in self.study.data.where))
        return tuple(names)

    def source_columns(self) -> tuple[str, ...]:
        """Registered columns the study needs: derived ones are replaced by what they are made from."""
        derived = {d.name: d for d in self.study.data.derive}
        names: dict[str, None] = {}

        def visit(name: str, depth: int) -> None:
            if name in derived and depth <= len(derived):
                for source in derived[name].sources:
                    visit(source, depth + 1)
            else:
                names[name] = None

        for name in self.columns():
            visit(name, 0)
        return tuple(names)


def parse_study(data: dict[str, Any], file: str = "study.toml") -> Study:
    """A study from the tables of its file."""
    return parse(Study, data, file)
