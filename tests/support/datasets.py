"""Small registered datasets, studies and schemas for tests of sources."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from xbcompute.core.parties import Jurisdiction, Party, PartyId
from xbcompute.core.schema import Limits, Rows, Schema
from xbcompute.node.sources import Prepared, open_source, prepare
from xbcompute.specs.schema import column_facts, join_schema
from xbcompute.specs.site import Dataset
from xbcompute.specs.study import Study, parse_study

NUMBER = {"type": "number", "bounds": [-1000.0, 1000.0]}
COLUMNS: dict[str, Any] = {
    "time": {"type": "number", "bounds": [0.0, 100.0], "unit": "months"},
    "event": {"type": "number"},
    "stage": {"type": "category", "levels": ["I", "II", "III"]},
    "seen": {"type": "date", "bounds": ["2020-01-01", "2025-01-01"]},
    "age": {"type": "number", "bounds": [18, 100], "unit": "years"},
}


def dataset(source: str, columns: dict[str, Any] | None = None, **more: Any) -> Dataset:
    body = {"id": "d", "source": source, "origin": "CN", "subjects": "pid", "rows_max": 10_000}
    return Dataset.model_validate({**body, "columns": columns or COLUMNS, **more})


def describe(*columns: str, id: str = "a") -> dict[str, Any]:
    return {"id": id, "kind": "describe", "columns": list(columns)}


def study(*analyses: dict[str, Any], **data: Any) -> Study:
    header = {"id": "s", "title": "t", "industry": "biomed", "purpose": "p", "lead": "here", "recipients": ["here"]}
    asked = list(analyses) or [describe("time", "stage")]
    return parse_study({"study": {**header, "data": {"dataset": "d", **data}}, "analysis": asked})


def holder(name: str = "here", jurisdiction: str = "CN") -> Party:
    return Party(PartyId(name), Jurisdiction(jurisdiction), name, frozenset({"holder"}))


def schema(question: Study, *datasets: Dataset, cell_min: int = 10) -> Schema:
    holders = [holder(f"p{k}") if len(datasets) > 1 else holder() for k in range(len(datasets))]
    facts = {party.id: column_facts(d) for party, d in zip(holders, datasets, strict=True)}
    return join_schema(question, facts, holders, Limits(cell_min=cell_min))


def prepared(
    base: Path, registered: Dataset, question: Study, *, budget: int = 1 << 30, cell_min: int = 10
) -> Prepared:
    source = open_source(registered, base)
    try:
        return prepare(source, registered, question, schema(question, registered, cell_min=cell_min), budget=budget)
    except BaseException:
        source.close()
        raise


def collect(rows: Rows, columns: Sequence[str], *, descending: str | None = None) -> dict[str, NDArray[Any]]:
    batches = list(rows.batches(columns, descending=descending))
    return {name: np.concatenate([batch[name] for batch in batches] or [np.empty(0)]) for name in columns}


def write(frame: pd.DataFrame, folder: Path, kind: str) -> str:
    """Store ``frame`` as ``kind`` in ``folder``; gives what ``source`` in site.toml would say."""
    if kind == "csv":
        frame.to_csv(folder / "rows.csv", index=False)
        return "rows.csv"
    if kind == "parquet":
        frame.to_parquet(folder / "rows.parquet", index=False)
        return "rows.parquet"
    with duckdb.connect(str(folder / "rows.duckdb")) as connection:
        connection.register("frame", frame)
        connection.execute('CREATE TABLE "the rows" AS SELECT * FROM frame')
    return "duckdb://rows.duckdb?table=the%20rows"
