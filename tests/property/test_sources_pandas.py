"""Sources against pandas on random data, and derived columns against numpy and their own bounds."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.datasets import collect, dataset, describe, prepared, schema, study

FEW = settings(max_examples=25, deadline=None)
LEVELS = ["a", "b", "c"]

rows = st.lists(
    st.tuples(
        st.one_of(st.none(), st.floats(-50, 50)),
        st.one_of(st.none(), st.sampled_from(LEVELS)),
        st.one_of(st.none(), st.integers(0, 9)),
    ),
    min_size=1,
    max_size=40,
)
conditions = st.lists(
    st.one_of(
        st.builds(
            lambda op, v: {"column": "x", "op": op, "value": v},
            st.sampled_from(["<", "<=", ">", ">=", "=", "!="]),
            st.floats(-50, 50),
        ),
        st.builds(lambda v: {"column": "g", "op": "in", "value": v}, st.lists(st.sampled_from(LEVELS), min_size=1)),
        st.builds(lambda v: {"column": "k", "op": "!=", "value": v}, st.integers(0, 9)),
    ),
    max_size=2,
)
OPS: dict[str, Any] = {"<": "lt", "<=": "le", ">": "gt", ">=": "ge", "=": "eq", "!=": "ne"}


@FEW
@given(
    rows=rows, where=conditions, missing=st.sampled_from(["study", "analysis"]), budget=st.sampled_from([1, 1 << 20])
)
def test_where_and_complete_cases_are_pandas(rows: Any, where: Any, missing: str, budget: int) -> None:
    frame = pd.DataFrame(rows, columns=["x", "g", "k"]).assign(pid=range(len(rows)))
    columns = {
        "x": {"type": "number", "bounds": [-50, 50]},
        "g": {"type": "category", "levels": LEVELS},
        "k": {"type": "number", "bounds": [0, 9]},
    }
    question = study(describe("x", "g"), describe("k", id="b"), where=where, missing=missing)
    keep = pd.Series(True, index=frame.index)
    for item in where:
        column = frame[item["column"]]
        met = column.isin(item["value"]) if item["op"] == "in" else getattr(column, OPS[item["op"]])(item["value"])
        keep &= met & column.notna()
    chosen = frame[keep]
    with tempfile.TemporaryDirectory() as folder:
        frame.to_csv(Path(folder) / "rows.csv", index=False)
        got = prepared(Path(folder), dataset("rows.csv", columns), question, budget=budget, cell_min=1)
        for used in (["x", "g"], ["k"]):
            want = chosen.dropna(subset=["x", "g", "k"] if missing == "study" else used)
            mine = got.rows(used)
            assert mine.n == len(want)
            assert mine.n_dropped == len(chosen) - len(want)
            values = collect(mine, used)
            for name in used:
                expected = want[name].map(LEVELS.index) if name == "g" else want[name]
                assert values[name].tolist() == expected.tolist()
        got.close()


values = st.lists(st.floats(0.001, 900), min_size=1, max_size=30)


@FEW
@given(values=values)
def test_derived_values_are_numpys_and_within_the_public_bounds(values: list[float]) -> None:
    low, high = min(values), max(values) + 1e-9
    a = np.array(values)
    b = np.array(values[::-1])
    columns = {name: {"type": "number", "bounds": [low, math.nextafter(high, math.inf)]} for name in ("a", "b")}
    steps: list[dict[str, Any]] = [{"name": fn, "of": "a", "fn": fn} for fn in ("log", "log1p", "sqrt")]
    steps += [{"name": fn, "of": ["a", "b"], "fn": fn} for fn in ("sum", "difference", "ratio")]
    steps.append({"name": "cut", "of": "a", "fn": "cut", "edges": [-math.inf, 0.5, 1, 100, math.inf]})
    names = [step["name"] for step in steps]
    question = study(describe(*names), derive=steps)
    with tempfile.TemporaryDirectory() as folder:
        pd.DataFrame({"pid": range(a.size), "a": a, "b": b}).to_csv(Path(folder) / "rows.csv", index=False)
        registered = dataset("rows.csv", columns)
        got = prepared(Path(folder), registered, question)
        made = collect(got.rows(names), names)
        got.close()
    oracle = {
        "log": np.log(a),
        "log1p": np.log1p(a),
        "sqrt": np.sqrt(a),
        "sum": a + b,
        "difference": a - b,
        "ratio": a / b,
    }
    joined = schema(question, registered)
    for name, want in oracle.items():
        np.testing.assert_allclose(made[name], want, rtol=1e-14, atol=1e-300)
        column = joined.columns[name]
        assert column.lower is not None
        assert column.upper is not None
        assert made[name].min() >= column.lower
        assert made[name].max() <= column.upper
    assert made["cut"].tolist() == pd.cut(pd.Series(a), [-np.inf, 0.5, 1, 100, np.inf]).cat.codes.tolist()


@FEW
@given(st.floats(1e-300, 1e-3))
def test_log1p_keeps_the_digits_of_small_values(value: float) -> None:
    columns = {"a": {"type": "number", "bounds": [0, 1]}}
    question = study(describe("l"), derive=[{"name": "l", "of": "a", "fn": "log1p"}])
    with tempfile.TemporaryDirectory() as folder:
        pd.DataFrame({"pid": [0], "a": [value]}).to_parquet(Path(folder) / "rows.parquet")
        got = prepared(Path(folder), dataset("rows.parquet", columns), question)
        assert collect(got.rows(["l"]), ["l"])["l"][0] == np.float64(math.log1p(value)) or math.isclose(
            collect(got.rows(["l"]), ["l"])["l"][0], math.log1p(value), rel_tol=1e-15
        )
        got.close()
