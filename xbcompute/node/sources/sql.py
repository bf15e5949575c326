"""SQL text for one pass over a source: strict typing, derivation and conditions, with every name and value quoted.

Columns get names of our own (``v0``, ``v1`` …), so no name from a file or study becomes an identifier. In the typed
form NULL is a missing value, NaN (numbers, dates) and -1 (categories) a value that is not what its column declares.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from xbcompute.core.errors import InputError
from xbcompute.core.schema import Column
from xbcompute.specs.derive import recoded_levels
from xbcompute.specs.schema import check_condition
from xbcompute.specs.site import ColumnSpec
from xbcompute.specs.study import Condition, Derivation

Kind: TypeAlias = Literal["text", "whole", "number", "boolean", "date", "moment", "zoned", "uuid", "other"]
"""How a source stores a column."""

NAN = "'NaN'::DOUBLE"
MISSING = ("", "NA", "NaN", "nan")
"""Texts that stand for a missing value, unless they are a declared level."""

_DATE = r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?)?"
_DAY_US = "86400000000.0"
_UTC8_US = "28800000000"


def literal(text: str) -> str:
    """``text`` as an SQL string.

    Raises:
        InputError: it holds a NUL character, which SQL text cannot.
    """
    return "'" + _printable(text).replace("'", "''") + "'"


def identifier(name: str) -> str:
    """``name`` as a quoted SQL identifier; raises as :func:`literal`."""
    return '"' + _printable(name).replace('"', '""') + '"'


def _printable(text: str) -> str:
    if "\x00" in text:
        raise InputError("source.text", "a name or level holds a NUL character.", todo="Take it out of the file.")
    return text


def number(value: float) -> str:
    """``value`` as an SQL DOUBLE that reads back to the same bits."""
    return f"'{'-' if value < 0 else ''}Infinity'::DOUBLE" if math.isinf(value) else f"'{value!r}'::DOUBLE"


def kind_of(sql_type: str) -> Kind:
    """The kind of a DuckDB type name."""
    head = sql_type.split("(", maxsplit=1)[0].strip().upper()
    if sql_type.endswith("]"):
        return "other"
    if head in ("VARCHAR", "ENUM"):
        return "text"
    if head.removeprefix("U") in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT"):
        return "whole"
    if head in ("FLOAT", "DOUBLE", "DECIMAL"):
        return "number"
    if head == "TIMESTAMP WITH TIME ZONE" or head.startswith("TIMESTAMPTZ"):
        return "zoned"
    if head.startswith("TIMESTAMP"):
        return "moment"
    return {"BOOLEAN": "boolean", "DATE": "date", "UUID": "uuid"}.get(head, "other")  # type: ignore[return-value]


def typed(spec: ColumnSpec, source: str, kind: Kind) -> str | None:
    """The expression that gives a column its declared type; None when its stored kind cannot have it."""
    if spec.type == "number":
        return _number(source, kind)
    if spec.type == "date":
        return _date(source, kind)
    if kind == "other":
        return None
    if spec.type == "text":
        return f"nullif(CAST({source} AS VARCHAR), '')"
    return _category(spec.levels, source)


def subject(source: str, kind: Kind) -> str | None:
    """The expression for the subject as text; None when the stored kind cannot identify anybody."""
    if kind not in ("text", "whole", "uuid"):
        return None
    text = f"CAST({source} AS VARCHAR)"
    return f"CASE WHEN {text} NOT IN {_texts(MISSING)} THEN {text} END"


def _texts(texts: Sequence[str]) -> str:
    return "(" + ", ".join(literal(text) for text in texts) + ")"


def _number(source: str, kind: Kind) -> str | None:
    if kind in ("whole", "number"):
        return f"CASE WHEN NOT isnan({source}::DOUBLE) THEN {source}::DOUBLE END"
    if kind == "text":
        # DuckDB reads 1_000 as a number; a file that holds it more likely holds a slip of the keyboard.
        cast = f"coalesce(try_cast({source} AS DOUBLE), {NAN})"
        return (
            f"CASE WHEN {source} IS NULL OR trim({source}) IN {_texts(MISSING)} THEN NULL "
            f"WHEN contains({source}, '_') THEN {NAN} ELSE {cast} END"
        )
    return None


def _date(source: str, kind: Kind) -> str | None:
    if kind in ("date", "moment"):
        moment = f"CAST({source} AS TIMESTAMP)"
    elif kind == "zoned":
        moment = f"CAST({source} AS TIMESTAMP WITH TIME ZONE)"
        return (
            f"CASE WHEN isfinite({moment}) THEN (epoch_us({moment}) + {_UTC8_US}) / {_DAY_US} "
            f"WHEN {source} IS NOT NULL THEN {NAN} END"
        )
    elif kind == "text":
        days = f"epoch_us(try_cast({source} AS TIMESTAMP)) / {_DAY_US}"
        return (
            f"CASE WHEN {source} IS NULL OR trim({source}) IN {_texts(MISSING)} THEN NULL "
            f"WHEN NOT regexp_full_match({source}, '{_DATE}') THEN {NAN} ELSE coalesce({days}, {NAN}) END"
        )
    else:
        return None
    return f"CASE WHEN isfinite({moment}) THEN epoch_us({moment}) / {_DAY_US} WHEN {source} IS NOT NULL THEN {NAN} END"


def _category(levels: Sequence[str], source: str) -> str:
    text = f"CAST({source} AS VARCHAR)"
    missing = [mark for mark in MISSING if mark not in levels]
    code = f"enum_code(try_cast({text} AS ENUM {_texts(levels)}))::INTEGER"
    return f"CASE WHEN {source} IS NULL OR {text} IN {_texts(missing)} THEN NULL ELSE coalesce({code}, -1) END"


def derived(step: Derivation, names: Mapping[str, str], columns: Mapping[str, Column]) -> str:
    """The expression of a derived column; ``names`` gives the SQL names of its sources."""
    parts = [names[source] for source in step.sources]
    x = parts[0]
    match step.fn:
        case "log":
            return f"ln({x})"
        case "log1p":
            # Kahan: ln(1 + x) loses the digits of a small x, x / ((1 + x) - 1) gives them back.
            u = f"(1.0::DOUBLE + {x})"
            return f"CASE WHEN {u} = 1.0 THEN {x} ELSE ln({u}) * {x} / ({u} - 1.0) END"
        case "sqrt":
            return f"sqrt({x})"
        case "sum":
            return "(" + " + ".join(parts) + ")"
        case "difference":
            return f"({x} - {parts[1]})"
        case "ratio":
            return f"({x} / {parts[1]})"
        case "recode":
            new = recoded_levels(step, columns[step.sources[0]])
            codes = [columns[step.name].levels.index(level) for level in new]
            return f"CASE {x} " + " ".join(f"WHEN {old} THEN {code}" for old, code in enumerate(codes)) + " END"
        case "cut":
            edges = [number(edge) for edge in step.edges or ()]
            bins = " ".join(
                f"WHEN {x} > {low} AND {x} <= {high} THEN {code}"
                for code, (low, high) in enumerate(itertools.pairwise(edges))
            )
            return f"CASE WHEN {x} IS NULL THEN NULL {bins} ELSE -1 END"


def condition(where: Condition, names: Mapping[str, str], columns: Mapping[str, Column]) -> str:
    """One condition of ``where``; a missing value meets none."""
    values = [literal(v) if isinstance(v, str) else number(v) for v in check_condition(where, columns)]
    name = names[where.column]
    if where.op == "in":
        return f"{name} IN ({', '.join(values)})"
    return f"{name} {'<>' if where.op == '!=' else where.op} {values[0]}"
