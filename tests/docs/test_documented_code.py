"""The code that the README and the how-to show runs and prints what they say; so do the helpers it uses."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xbcompute.core.arrays import ArraySpec, Contribution, Layout, Leakage
from xbcompute.core.errors import InputError
from xbcompute.core.schema import Column, Rows, Schema
from xbcompute.engines.base import Done
from xbcompute.testing.holders import ArrayRows, run_over_holders

ROOT = Path(__file__).parents[2]
PYTHON = re.compile(r"^```python\n(.*?)^```\n+(?:```text\n(.*?)^```)?", re.M | re.S)


def blocks(name: str) -> list[tuple[str, str]]:
    return PYTHON.findall((ROOT / name).read_text(encoding="utf-8"))


def printed(code: str) -> str:
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "documented", "exec", dont_inherit=True), {"__name__": "documented"})
    return out.getvalue()


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_analysis_in_the_readme_runs(name: str) -> None:
    code, shown = next(block for block in blocks(name) if "run_over_holders" in block[0])
    said, is_said = eval(shown), eval(printed(code))
    assert is_said["n"] == said["n"] == 9
    assert is_said["geometric_mean"] == pytest.approx(said["geometric_mean"], rel=1e-12)
    values = [12.0, 85.0, 240.0, 33.0, 61.0, 150.0, 18.0, 97.0, 410.0]
    assert is_said["geometric_mean"] == pytest.approx(np.exp(np.mean(np.log(values))), rel=1e-12)


def test_the_analysis_in_the_readme_is_short() -> None:
    code, _ = next(block for block in blocks("README.md") if "run_over_holders" in block[0])
    body = code[code.index("class GeometricMean") : code.index("ferritin =")]
    assert len([line for line in body.splitlines() if line.strip()]) <= 20


def test_the_analysis_in_the_how_to_runs() -> None:
    ((code, _),) = blocks("docs/how-to/write-an-analysis.md")
    values = [31.0, 44.0, 70.0, 52.0, 63.0, 27.0, 81.0, 66.0, 49.0]
    said = printed(code)
    assert said.endswith("2 rounds\n")
    assert float(re.findall(r"'sd': ([0-9.]+)", said)[0]) == pytest.approx(np.std(values, ddof=1), rel=1e-12)


def test_the_python_of_other_pages_compiles() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    found = [(page, code) for page in pages for code, _ in PYTHON.findall(page.read_text(encoding="utf-8"))]
    assert len(found) > 8
    for page, code in found:
        compile(code, str(page), "exec", dont_inherit=True)


@dataclass(frozen=True)
class Nothing:
    """A state without fields."""


class Count:
    """Rows; wrong on purpose where ``broken`` says how."""

    state_type = Nothing

    def __init__(self, schema: Schema, broken: str = "") -> None:
        self.rows_max = schema.rows_max
        self.broken = broken

    def start(self, schema: Schema) -> Nothing:
        return Nothing()

    def layout(self, state: Nothing) -> Layout:
        return {"n": ArraySpec((), self.rows_max, integer=True, role="cells")}

    def local(self, rows: Rows, state: Nothing) -> Contribution:
        return {"n": np.array(rows.n + (10**6 if self.broken == "bound" else 0))}

    def combine(self, total: Contribution, state: Nothing) -> Nothing | Done:
        if self.broken == "endless":
            return state
        return Done({"n": int(total["n"]), "own": id(self) if self.broken == "differs" else 0})

    def reveals(self) -> Leakage:
        return Leakage((), (), 1)


AGE = Column("age", "number", lower=0.0, upper=120.0)
SEX = Column("sex", "category", levels=("f", "m"))
HOLDERS = {"a": {"age": [1.0, 2.0]}, "b": {"age": [3.0]}, "c": {"age": [4.0, 5.0, 6.0]}}


@pytest.mark.parametrize("protocol", ["masked-sum", "clear-aggregate"])
def test_holders_come_to_one_total(protocol: Any) -> None:
    trial = run_over_holders(Count, [AGE], HOLDERS, protocol=protocol)
    assert trial.result["n"] == 6
    assert [int(total["n"]) for total in trial.opened] == [6]


@pytest.mark.parametrize(
    ("broken", "code"),
    [("bound", "contribution.out_of_bound"), ("endless", "holders.rounds"), ("differs", "holders.differ")],
)
def test_a_wrong_analysis_is_told_what_is_wrong(broken: str, code: str) -> None:
    with pytest.raises(InputError) as error:
        run_over_holders(lambda schema: Count(schema, broken), [AGE], HOLDERS, rounds_max=5)
    assert error.value.code == code


@pytest.mark.parametrize(
    ("columns", "holders", "code"),
    [
        ([AGE], {"a": HOLDERS["a"], "b": HOLDERS["b"]}, "holders.few"),
        ([AGE, SEX], HOLDERS, "holders.column"),
        ([AGE, SEX], {**HOLDERS, "a": {"age": [1.0], "sex": [0, 1]}}, "holders.length"),
    ],
)
def test_holders_that_do_not_fit_are_refused(columns: Sequence[Column], holders: Any, code: str) -> None:
    with pytest.raises(InputError) as error:
        run_over_holders(Count, columns, holders)
    assert error.value.code == code


def test_rows_come_in_batches_in_the_order_asked_for() -> None:
    rows = ArrayRows({"age": np.arange(3000.0), "sex": np.arange(3000) % 2}, {"age": AGE, "sex": SEX})
    batches = list(rows.batches(["age", "sex"], descending="age"))
    assert len(batches) == 3 and rows.n == 3000 and rows.n_dropped == 0
    assert np.array_equal(np.concatenate([b["age"] for b in batches]), np.arange(3000.0)[::-1])
    assert batches[0]["sex"].dtype == np.int32
