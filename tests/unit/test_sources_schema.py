"""Facts of several holders become one schema, or an error that names who and what disagrees."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from tests.support.datasets import COLUMNS, dataset, describe, holder, schema, study
from xbcompute.core.errors import InputError
from xbcompute.core.schema import Limits
from xbcompute.specs.schema import column_facts, join_schema


def with_column(**change: Any) -> dict[str, Any]:
    return {**COLUMNS, **change}


def test_bounds_are_the_union_and_dates_are_days() -> None:
    wide = dataset("b.csv", with_column(age={"type": "number", "bounds": [10, 90], "unit": "years"}), rows_max=77)
    joined = schema(study(describe("age", "seen", "stage")), dataset("a.csv", rows_min=5), wide)
    assert (joined.columns["age"].lower, joined.columns["age"].upper) == (10, 100)
    assert joined.columns["age"].unit == "years"
    assert joined.columns["seen"].lower == 18262.0  # 2020-01-01
    assert joined.columns["stage"].levels == ("I", "II", "III")
    assert [(h.party, h.rows_max, h.rows_min) for h in joined.holders] == [("p0", 10_000, 5), ("p1", 77, None)]
    assert joined.rows_max == 10_000


def test_facts_are_json_and_hold_nothing_local() -> None:
    local = dataset(
        "secret-folder/x.csv", {"age": {"type": "number", "bounds": [0, 1], "from": "LOCAL", "tags": ["T"]}}
    )
    text = json.dumps(column_facts(local))
    for word in ("secret-folder", "LOCAL", 'T"', "pid"):
        assert word not in text
    assert set(column_facts(dataset("a.csv"), ["age"])["columns"]) == {"age"}


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ({"stage": {"type": "category", "levels": ["I", "II", "IV"]}}, "schema.level", ["stage", "'IV'", "p1"]),
        ({"stage": {"type": "category", "levels": ["I", "II"]}}, "schema.level", ["stage", "'III'", "p1"]),
        ({"stage": {"type": "category", "levels": ["II", "I", "III"]}}, "schema.level_order", ["stage", "'II'", "p1"]),
        (
            {"stage": {"type": "number", "bounds": [0, 1]}},
            "schema.differs",
            ["stage", "category", "number", "p0", "p1"],
        ),
        ({"age": {"type": "number", "bounds": [0, 1], "unit": "months"}}, "schema.differs", ["age", "years", "months"]),
        ({"age": {"type": "number", "unit": "years"}}, "schema.bounds", ["p1", "age"]),
    ],
)
def test_holders_that_disagree(change: dict[str, Any], code: str, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        schema(study(describe("age", "stage")), dataset("a.csv"), dataset("b.csv", with_column(**change)))
    assert caught.value.code == code
    for word in words:
        assert word in caught.value.text


def test_subjects_must_be_counted_alike() -> None:
    with pytest.raises(InputError) as caught:
        schema(study(), dataset("a.csv"), dataset("b.csv", rows_per_subject="many"))
    assert caught.value.code == "schema.subjects"
    assert "p1" in caught.value.text


def test_a_column_that_one_holder_lacks() -> None:
    less = {name: spec for name, spec in COLUMNS.items() if name != "stage"}
    with pytest.raises(InputError, match="p1: dataset 'd' has no column 'stage'"):
        schema(study(), dataset("a.csv"), dataset("b.csv", less))


def test_facts_of_a_party_that_is_no_holder_and_malformed_facts() -> None:
    facts = {holder("x").id: column_facts(dataset("a.csv"))}
    with pytest.raises(InputError, match="x, y"):
        join_schema(study(), facts, [holder("y")], Limits())
    bad: dict[str, Any] = {**column_facts(dataset("a.csv")), "rows_max": "many"}
    with pytest.raises(InputError, match="column facts of x: rows_max"):
        join_schema(study(), {holder("x").id: bad}, [holder("x")], Limits())


def test_events_and_binary_outcomes_need_no_bounds_but_times_do() -> None:
    km = {"id": "km", "kind": "kaplan_meier", "time": "time", "event": "event"}
    logistic = {"id": "lr", "kind": "logistic", "outcome": "event", "covariates": ["age", "age:stage"]}
    assert schema(study(km, logistic), dataset("a.csv")).columns["event"].lower is None
    with pytest.raises(InputError, match="here: column 'event', which analysis 'km' measures"):
        schema(study({**km, "time": "event", "event": "age"}), dataset("a.csv"))


def test_text_cannot_be_analysed() -> None:
    with pytest.raises(InputError, match="analysis 'a': column 'note' is text"):
        schema(study(describe("note")), dataset("a.csv", with_column(note={"type": "text"})))


def derived(*steps: dict[str, Any], show: str = "new") -> Any:
    columns = with_column(
        one={"type": "number", "bounds": [1, 4], "unit": "g"},
        two={"type": "number", "bounds": [2, 8], "unit": "g"},
        zero={"type": "number", "bounds": [0, 9]},
        left={"type": "date", "bounds": ["2020-01-01", "2020-01-31"]},
    )
    return schema(study(describe(show), derive=list(steps)), dataset("a.csv", columns)).columns[show]


@pytest.mark.parametrize(
    ("of", "fn", "lower", "upper", "unit"),
    [
        ("one", "log", 0.0, math.log(4), ""),
        ("zero", "log1p", 0.0, math.log(10), ""),
        ("zero", "sqrt", 0.0, 3.0, ""),
        (["one", "two"], "sum", 3.0, 12.0, "g"),
        (["one", "two"], "difference", -7.0, 2.0, "g"),
        (["one", "two"], "ratio", 1 / 8, 2.0, ""),
        (["left", "seen"], "difference", -1827.0, 30.0, "days"),
    ],
)
def test_interval_arithmetic(of: Any, fn: str, lower: float, upper: float, unit: str) -> None:
    column = derived({"name": "new", "of": of, "fn": fn})
    assert column.lower == pytest.approx(lower, rel=1e-14)
    assert column.upper == pytest.approx(upper, rel=1e-14)
    assert column.lower <= lower
    assert column.upper >= upper
    assert column.unit == unit


def test_cut_and_recode_make_categories() -> None:
    cut = derived({"name": "new", "of": "one", "fn": "cut", "edges": [-math.inf, 1, 2.5, math.inf]})
    assert cut.levels == ("(-inf, 1]", "(1, 2.5]", "(2.5, inf]")
    named = derived({"name": "new", "of": "one", "fn": "cut", "edges": [0, 2, 4], "labels": ["low", "high"]})
    assert named.levels == ("low", "high")
    recode = {"name": "new", "of": "stage", "fn": "recode", "map": {"III": "late", "I": "early", "II": "early"}}
    assert derived(recode).levels == ("early", "late")


def test_recode_does_not_depend_on_the_order_of_the_map() -> None:
    steps = [{"name": "new", "of": "stage", "fn": "recode", "map": {"I": "b", "II": "a", "III": "b"}}]
    question = study(describe("new"), derive=steps)
    travelled = type(question).model_validate(json.loads(json.dumps(question.plain(), sort_keys=True)))
    assert schema(question, dataset("a.csv")).columns == schema(travelled, dataset("a.csv")).columns


def test_derived_from_derived_in_any_order_of_steps() -> None:
    column = derived(
        {"name": "new", "of": ["half", "one"], "fn": "sum"}, {"name": "half", "of": ["one", "two"], "fn": "ratio"}
    )
    assert (column.lower, column.upper) == (1.125, 6.0)


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ([{"name": "new", "of": "zero", "fn": "log"}], "derive.domain"),
        ([{"name": "new", "of": ["one", "zero"], "fn": "ratio"}], "derive.domain"),
        (
            [{"name": "new", "of": ["one", "two"], "fn": "difference"}, {"name": "x", "of": "new", "fn": "sqrt"}],
            "derive.domain",
        ),
        ([{"name": "new", "of": "event", "fn": "sqrt"}], "schema.bounds"),
        ([{"name": "new", "of": "stage", "fn": "log"}], "derive.type"),
        ([{"name": "new", "of": "one", "fn": "recode", "map": {"1": "a"}}], "derive.type"),
        ([{"name": "new", "of": "stage", "fn": "recode", "map": {"I": "a", "II": "b"}}], "derive.level"),
        (
            [{"name": "new", "of": "stage", "fn": "recode", "map": {"I": "a", "II": "b", "III": "c", "X": "d"}}],
            "derive.level",
        ),
        ([{"name": "new", "of": "one", "fn": "cut", "edges": [0, 1, 2], "labels": ["a", "a"]}], "derive.labels"),
        ([{"name": "age", "of": "one", "fn": "log"}], "derive.name"),
        (
            [{"name": "new", "of": ["b", "one"], "fn": "sum"}, {"name": "b", "of": ["new", "one"], "fn": "sum"}],
            "derive.circle",
        ),
    ],
)
def test_derivations_that_cannot_be(steps: list[dict[str, Any]], code: str) -> None:
    show = "x" if steps[-1]["name"] == "x" else steps[0]["name"]
    with pytest.raises(InputError) as caught:
        derived(*steps, show=show)
    assert caught.value.code in (code, "column.missing" if code == "derive.circle" else code)


@pytest.mark.parametrize(
    ("condition", "code"),
    [
        ({"column": "stage", "op": "=", "value": "IV"}, "where.level"),
        ({"column": "stage", "op": "in", "value": ["I", "IV"]}, "where.level"),
        ({"column": "stage", "op": "<", "value": "II"}, "where.op"),
        ({"column": "age", "op": "=", "value": "old"}, "where.value"),
        ({"column": "age", "op": "=", "value": True}, "where.value"),
        ({"column": "seen", "op": ">", "value": "last week"}, "where.value"),
        ({"column": "seen", "op": ">", "value": 5}, "where.value"),
        ({"column": "age", "op": "in", "value": []}, "where.value"),
        ({"column": "height", "op": "=", "value": 1}, "column.missing"),
    ],
)
def test_conditions_that_do_not_fit(condition: dict[str, Any], code: str) -> None:
    with pytest.raises(InputError) as caught:
        schema(study(where=[condition]), dataset("a.csv"))
    assert caught.value.code == code


def test_where_narrows_no_bound() -> None:
    question = study(describe("age"), where=[{"column": "age", "op": ">", "value": 50}])
    assert schema(question, dataset("a.csv")).columns["age"].lower == 18
