"""Descriptions: shapes, groups, withheld groups and levels, dominance, quantiles from bins."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support.federated import OPEN, Way, category, federation, generator, number, run
from tests.support.frames import GBSG2, chosen, gbsg2
from xbcompute.analyses import build
from xbcompute.analyses.quantiles import interpolated, merged_bins
from xbcompute.core.errors import InputError, RefusedError
from xbcompute.core.schema import Column, Limits
from xbcompute.disclosure.release import audit_result
from xbcompute.specs.analysis import Describe

RULES = Limits(cell_min=10, cell_scope="pooled")


def described(frame: pd.DataFrame, declared: dict[str, Column], **keys: Any) -> dict[str, Any]:
    spec = Describe.model_validate({"id": "d", "kind": "describe"} | keys)
    fed = federation(frame, {name: declared[name] for name in spec.columns_used()}, limits=RULES)
    return dict(run(build(spec, fed.schema), fed, way="fixed").result)


def test_shape_without_groups() -> None:
    result = described(gbsg2(), GBSG2, columns=("age", "tgrade"), quantiles=(0.25, 0.5))
    assert list(result) == ["kind", "n", "n_dropped", "suppressed", "cell_scope", "notes", "all"]
    assert set(result["all"]["age"]) == {"n", "missing", "mean", "sd", "quantiles"}
    assert set(result["all"]["age"]["quantiles"]) == {"0.25", "0.5"}
    assert result["all"]["tgrade"] == {"n": 686, "missing": 0, "levels": {"I": 81, "II": 444, "III": 161}}
    assert not {"min", "max"} & set(json.dumps(result).replace('"', " ").split())


def test_a_small_group_is_withheld_and_one_more_so_that_it_stays_so() -> None:
    random = generator(2)
    frame = pd.DataFrame({"g": ["a"] * 100 + ["b"] * 60 + ["c"] * 9, "x": random.uniform(1, 5, 169)})
    columns = {"g": category("g", "a", "b", "c"), "x": number("x", 0, 10)}
    result = described(frame, columns, columns=("x",), by="g", quantiles=(0.5,))
    assert result["n"] == 169
    assert result["a"]["x"]["n"] == 100
    for group in ("b", "c"):
        assert result[group]["x"] | {"missing": 0} == {
            "n": None,
            "missing": 0,
            "mean": None,
            "sd": None,
            "quantiles": {"0.5": None},
        }
        assert {f"{group}.x.{key}" for key in ("n", "mean", "sd", "quantiles.0.5")} <= set(result["suppressed"])
    assert all(not path.startswith("a.") for path in result["suppressed"])
    assert any("withheld" in note for note in result["notes"])


def test_a_small_level_is_withheld_with_another() -> None:
    frame = pd.DataFrame({"g": ["a"] * 100 + ["b"] * 60 + ["c"] * 9})
    result = described(frame, {"g": category("g", "a", "b", "c")}, columns=("g",))
    assert result["all"]["g"]["levels"] == {"a": 100, "b": None, "c": None}
    assert result["suppressed"] == ["all.g.levels.b", "all.g.levels.c"]


def test_missing_rows_are_those_of_the_whole_analysis() -> None:
    frame = gbsg2().copy()
    frame.loc[:19, "age"] = np.nan
    result = described(frame, GBSG2, columns=("age", "tsize"))
    assert (result["n"], result["n_dropped"]) == (666, 20)
    assert result["all"]["tsize"]["missing"] == 20
    assert result["all"]["tsize"]["mean"] == pytest.approx(frame["tsize"][20:].mean(), rel=1e-12)
    frame.loc[3:, "age"] = gbsg2()["age"]
    withheld = described(frame, GBSG2, columns=("age",))
    assert withheld["n_dropped"] is None
    assert withheld["all"]["age"]["missing"] is None
    assert {"n_dropped", "all.age.missing"} <= set(withheld["suppressed"])


@pytest.mark.parametrize("giant", [400.0, 180.0])
def test_a_sum_that_one_person_dominates_does_not_leave(giant: float) -> None:
    frame = pd.DataFrame({"x": np.r_[np.full(80, 1.0), giant]})
    with pytest.raises(RefusedError, match="x in all") as caught:
        described(frame, {"x": number("x", 0, 500)}, columns=("x",))
    assert caught.value.code == "disclosure.dominance"
    assert str(int(giant)) not in str(caught.value)


def test_a_mean_is_withheld_where_a_holder_has_two_people_in_a_group() -> None:
    frame = pd.DataFrame({"g": ["a"] * 100 + ["b"] * 40, "x": np.linspace(10, 20, 140)})
    owner = np.r_[np.arange(100) % 4, np.zeros(38, dtype=int), 1, 1]
    spec = Describe(id="d", kind="describe", columns=("x",), by="g", quantiles=(0.5,))
    fed = federation(frame, {"g": category("g", "a", "b"), "x": number("x", 0, 50)}, owner=owner, limits=RULES)
    done = run(build(spec, fed.schema), fed)
    assert done.result["a"]["x"]["mean"] == pytest.approx(frame["x"][:100].mean())
    assert (done.result["b"]["x"]["n"], done.result["b"]["x"]["mean"], done.result["b"]["x"]["sd"]) == (40, None, None)
    assert done.result["suppressed"] == ["b.x.mean", "b.x.sd"]
    assert any("make up most" in note for note in done.result["notes"])
    audit_result(done.result, "describe", RULES)
    kept_back = build(spec, fed.schema).local(fed.rows[1], build(spec, fed.schema).start(fed.schema))
    assert kept_back["sums"][1, 0] == 0.0
    assert kept_back["withheld"][1, 0] == 1


def test_dominance_is_of_subjects_where_they_have_several_rows() -> None:
    # Each row is small, but one subject at the first holder has most of them.
    frame = pd.DataFrame({"pid": [0] * 60 + list(range(4, 84)), "x": np.full(140, 2.0)})
    assert (frame["pid"] % 4 == 0).sum() == 80  # 21 subjects
    spec = Describe(id="d", kind="describe", columns=("x",))
    fed = federation(frame, {"x": number("x", 0, 5)}, subject="pid", owner=(frame["pid"] % 4).to_numpy(), limits=RULES)
    with pytest.raises(RefusedError) as caught:
        run(build(spec, fed.schema), fed)
    assert caught.value.code == "disclosure.dominance"


def test_columns_that_may_be_negative_have_no_dominance() -> None:
    frame = pd.DataFrame({"x": np.r_[np.full(80, 1.0), 400.0]})
    assert described(frame, {"x": number("x", -500, 500)}, columns=("x",))["all"]["x"]["mean"] is not None


def test_distinct_subjects_are_counted_and_means_are_over_rows() -> None:
    frame = gbsg2().assign(pid=lambda d: d.index // 2)
    spec = Describe(id="d", kind="describe", columns=("age", "tgrade"), by="horTh")
    columns = chosen(GBSG2, "age", "tgrade", "horTh")
    fed = federation(frame, columns, subject="pid", owner=(frame["pid"] % 4).to_numpy(), limits=RULES)
    result = run(build(spec, fed.schema), fed).result
    assert result["n"] == 343
    for name, part in frame.groupby("horTh"):
        group = str(name)
        assert result[group]["age"]["n"] == part["pid"].nunique()
        assert result[group]["age"]["mean"] == pytest.approx(part["age"].mean(), rel=1e-12)
        assert result[group]["age"]["sd"] == pytest.approx(part["age"].std(), rel=1e-10)
    assert any("distinct" in note for note in result["notes"])


def test_dates_have_a_mean_and_no_dominance() -> None:
    days = Column("day", "date", 18_000.0, 19_000.0)
    frame = pd.DataFrame({"day": np.linspace(18_010, 18_900, 50)})
    assert described(frame, {"day": days}, columns=("day",))["all"]["day"]["mean"] == pytest.approx(18_455)


@pytest.mark.parametrize(
    ("columns", "keys", "code"),
    [
        ({"x": Column("x", "text")}, {"columns": ("x",)}, "describe.column"),
        ({"x": Column("x", "number")}, {"columns": ("x",)}, "describe.column"),
        ({"x": number("x", 1, 1)}, {"columns": ("x",)}, "describe.column"),
        ({"x": number("x", 0, 1)}, {"columns": ("x", "x")}, "describe.column"),
        ({"x": number("x", 0, 1)}, {"columns": ("y",)}, "design.column"),
        ({"x": number("x", 0, 1), "g": number("g", 0, 1)}, {"columns": ("x",), "by": "g"}, "table.column"),
        ({"g": category("g", "a", "b")}, {"columns": ("g",), "by": "g"}, "describe.group"),
        ({"x": number("x", 0, 1), "g": category("g", "y", "n")}, {"columns": ("x",), "by": "g"}, "describe.group"),
    ],
)
def test_columns_that_cannot_be_described(columns: dict[str, Column], keys: dict[str, Any], code: str) -> None:
    schema = dataclasses.replace(federation(gbsg2(), chosen(GBSG2, "age")).schema, columns=columns)
    with pytest.raises(InputError) as caught:
        build(Describe.model_validate({"id": "d", "kind": "describe"} | keys), schema)
    assert caught.value.code == code


def test_a_level_without_rows_is_named() -> None:
    columns = {"g": category("g", "a", "b"), "x": number("x", 0, 1)}
    frame = pd.DataFrame({"g": ["a"] * 40, "x": np.linspace(0, 1, 40)})
    for keys in ({"columns": ("g",)}, {"columns": ("x",), "by": "g"}):
        with pytest.raises(InputError, match="column g: the level b") as caught:
            described(frame, columns, **keys)
        assert caught.value.code == "table.empty_level"


def test_a_value_out_of_bounds_is_refused_without_being_shown() -> None:
    with pytest.raises(InputError, match="column x") as caught:
        described(pd.DataFrame({"x": [0.5, 77.25] * 20}), {"x": number("x", 0, 50)}, columns=("x",))
    assert caught.value.code == "describe.value"
    assert "77" not in str(caught.value)


@pytest.mark.parametrize("way", ["exact", "clear", "masked"])
def test_every_engine_gives_the_same_description(way: Way) -> None:
    spec = Describe(id="d", kind="describe", columns=("age", "tgrade"), by="horTh", quantiles=(0.5,))
    fed = federation(gbsg2(), chosen(GBSG2, "age", "tgrade", "horTh"), limits=OPEN)
    result = run(build(spec, fed.schema), fed, way=way).result
    assert result["yes"]["age"]["mean"] == pytest.approx(gbsg2().query("horTh == 'yes'")["age"].mean(), rel=1e-12)


def test_bins_are_merged_from_the_left_and_a_remainder_joins_the_last() -> None:
    edges = np.linspace(0, 6, 7)
    ends, counts = merged_bins(edges, np.array([3, 4, 3, 12, 0, 2]), 10)
    assert ends.tolist() == [0, 3, 6]
    assert counts.tolist() == [10, 14]
    ends, counts = merged_bins(edges, np.array([12, 0, 0, 12, 0, 0]), 10)
    assert ends.tolist() == [0, 1, 4]
    assert interpolated(ends, counts, [0.25, 0.5, 0.75]).tolist() == [0.5, 1.0, 2.5]
