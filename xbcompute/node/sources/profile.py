"""A proposed grade for each column of a file, with reasons, before it is registered. A person confirms every line.

What is recognised is recognised by its name or by the form of its values; what is not stays ``unknown``, which policy
treats as important data and holds. No value of the file is in what comes back.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from xbcompute.core.grades import Grade
from xbcompute.node.sources.opening import Source, open_source
from xbcompute.node.sources.signs import AGE, SIGNS, Industry
from xbcompute.specs.base import parse
from xbcompute.specs.site import Dataset
from xbcompute.specs.wording import Wording

SAMPLE = 2000
"""Values of a column that are looked at for their form."""
MOST = 0.9
"""The share of looked-at values that must have a form for it to count."""
UNIQUE = 0.95
"""The share of distinct values from which text names its row."""
CHILD = 14
PI_ORDER = ("none", "anonymised", "deidentified", "personal", "sensitive")


UNKNOWN = Wording(
    zh="没有识别出来：由人定级，此前不予使用", en="not recognised: a person grades it, and until then it is not used"
)
TEXT = Wording(
    zh="文本几乎每行不同，可能指向一人或一物",
    en="text that differs in almost every row and may name a person or an asset",
)
DATES = Wording(zh="日期：与其他列合起来可能指向一人", en="a date: with other columns it may point to one person")
CHILDREN = Wording(zh="有未满十四岁的年龄", en="has ages under fourteen")
_DATE = r"\d{4}[-/]\d{1,2}[-/]\d{1,2}.*"


@dataclass(frozen=True)
class ColumnProfile:
    """What is proposed for one column; ``grade`` is None where nothing was recognised."""

    name: str
    kind: str
    pi: str
    grade: Grade | None
    tags: tuple[str, ...]
    reasons: tuple[Wording, ...]
    keys: tuple[tuple[str, object], ...] = ()

    def plain(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "name": self.name,
            "type": self.kind,
            "pi": self.pi,
            "grade": None if self.grade is None else self.grade.value,
            "tags": list(self.tags),
            "reasons": [reason.plain() for reason in self.reasons],
        }


@dataclass(frozen=True)
class Profile:
    """All columns, and the dataset keys that follow from them; ``confirmed`` is what only a person can make true."""

    rows: int
    industry: Industry
    columns: tuple[ColumnProfile, ...]
    confirmed: Literal[False] = False

    @property
    def unknown(self) -> tuple[str, ...]:
        """Columns that were not recognised."""
        return tuple(column.name for column in self.columns if column.grade is None)

    def keys(self) -> dict[str, object]:
        """The grade keys proposed for ``site.toml``: the strictest over all columns, ``unknown`` where one is."""
        worst = max((PI_ORDER.index(column.pi) for column in self.columns if column.grade is not None), default=0)
        proposed: dict[str, object] = {"cn_grade": "general", "important_source": "none"}
        proposed["pi"] = "unknown" if self.unknown else PI_ORDER[worst]
        if self.industry == "biomed":
            proposed |= {"health_level": "none", "hgr": "none", "special_disease": False, "minors_under14": False}
        for key, value in (pair for column in self.columns for pair in column.keys):
            before = proposed.get(key)
            numbers = isinstance(value, int) and isinstance(before, int) and not isinstance(value, bool)
            proposed[key] = max(before, value) if numbers else value  # type: ignore[call-overload]
        return proposed

    def plain(self) -> dict[str, Any]:
        """JSON-ready form."""
        return {
            "rows": self.rows,
            "industry": self.industry,
            "columns": [column.plain() for column in self.columns],
            "dataset": self.keys(),
            "unknown": list(self.unknown),
            "confirmed": self.confirmed,
        }


def profile(file: Path, industry: Industry) -> Profile:
    """The proposal for a CSV or Parquet file.

    Raises:
        InputError: the file cannot be read.
    """
    body = {
        "id": file.stem,
        "source": file.name,
        "origin": "CN",
        "subjects": "-",
        "rows_max": 1,
        "columns": {"column": {"type": "text"}},
    }
    with open_source(parse(Dataset, body, file.name), file.parent) as source:
        rows = int(source.one(f"SELECT count(*) FROM {source.relation}")[0])  # noqa: S608 - quoted by the source
        columns = tuple(_column(source, name, industry) for name in source.columns)
    return Profile(rows, industry, columns)


def _column(source: Source, name: str, industry: Industry) -> ColumnProfile:
    sql, kind = source.columns[name]
    text = f"trim(CAST({sql} AS VARCHAR))"
    query = f"SELECT {text} FROM {source.relation} WHERE {sql} IS NOT NULL AND {text} <> ''"  # noqa: S608 - as above
    values = [str(row[0]) for row in source.table(f"{query} LIMIT {SAMPLE}")]
    signs = [sign for sign in SIGNS if sign.industry in (None, industry)]
    shown = _kind(values, kind)
    found = [sign for sign in signs if re.search(sign.name, name.lower())]
    found += [sign for sign in signs if sign.form is not None and sign not in found and _formed(values, sign.form)]
    if not found:
        return _unnamed(name, shown, values)
    first = max(found, key=lambda sign: (sign.grade, -SIGNS.index(sign)))
    tags = tuple(dict.fromkeys(sign.tag for sign in found))
    reasons = tuple(dict.fromkeys(sign.text for sign in found))
    keys = tuple(pair for sign in found for pair in sign.keys)
    if re.search(AGE, name.lower()) and any(_number(value) < CHILD for value in values):
        return ColumnProfile(
            name, shown, "sensitive", Grade.G5S, tags, (*reasons, CHILDREN), (*keys, ("minors_under14", True))
        )
    personal = max((sign.pi for sign in found), key=PI_ORDER.index)
    return ColumnProfile(name, shown, personal, first.grade, tags, reasons, keys)


def _unnamed(name: str, kind: str, values: list[str]) -> ColumnProfile:
    if kind == "date":
        return ColumnProfile(name, kind, "deidentified", Grade.G3, ("quasi_identifier",), (DATES,))
    if kind == "text" and values and len(set(values)) >= UNIQUE * len(values):
        return ColumnProfile(name, kind, "personal", Grade.G4, ("identifier",), (TEXT,))
    return ColumnProfile(name, kind, "unknown", None, (), (UNKNOWN,))


def _kind(values: list[str], stored: str) -> str:
    if stored in ("date", "moment", "zoned") or _formed(values, _DATE):
        return "date"
    if stored in ("whole", "number") or (values and all(_number(value) < float("inf") for value in values)):
        return "number"
    return "category" if len(set(values)) <= max(2, len(values) // 20) else "text"


def _formed(values: list[str], form: str) -> bool:
    pattern = re.compile(form)
    return bool(values) and sum(pattern.fullmatch(value) is not None for value in values) >= MOST * len(values)


def _number(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return float("inf")


def site_lines(found: Profile) -> Iterator[str]:
    """The proposal as lines for ``site.toml``, each to be confirmed by a person."""
    yield "# proposed by xbcompute data profile; a person confirms or changes every line"
    for key, value in found.keys().items():
        shown = str(value).lower() if isinstance(value, bool) else (value if isinstance(value, int) else f'"{value}"')
        yield f"{key} = {shown}"
    if found.unknown:
        yield f'# {len(found.unknown)} columns were not recognised; while pi is "unknown" every study is held'
