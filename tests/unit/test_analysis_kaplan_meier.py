"""Kaplan–Meier analyses: the grid, what is opened, what is refused, and curves at their edges."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.support.federated import Federation, category, federation, number, run
from tests.support.survival import km_spec
from xbcompute.analyses.kaplan_meier import KaplanMeier
from xbcompute.analyses.survival_curve import curve, logrank
from xbcompute.core.canonical import dumps
from xbcompute.core.errors import InputError
from xbcompute.core.schema import Column, Limits, Schema
from xbcompute.engines.base import Iterative

COLUMNS = {
    "time": number("time", 0, 10),
    "event": number("event", 0, 1),
    "group": category("group", "a", "b"),
    "state": category("state", "alive", "relapse", "dead"),
    "note": Column("note", "text"),
}


def _frame(**columns: list[Any]) -> pd.DataFrame:
    size = len(next(iter(columns.values())))
    rest: dict[str, list[Any]] = {"event": [1] * size, "group": ["a", "b"] * (size // 2) + ["a"] * (size % 2)}
    return pd.DataFrame(rest | {"state": ["dead"] * size} | columns)


def _holders(frame: pd.DataFrame, limits: Limits | None = None, **columns: Column) -> Federation:
    used = {name: COLUMNS[name] for name in ("time", "event", "group", "state")} | columns
    return federation(frame, used, parties=("cn-1", "sg-1"), limits=limits or Limits(1, "pooled", model_rules=False))


def _run(frame: pd.DataFrame, limits: Limits | None = None, **keys: Any) -> dict[str, Any]:
    holders = _holders(frame, limits)
    return dict(run(KaplanMeier(km_spec(**{"unit": 1.0} | keys), holders.schema), holders).result)


def test_it_is_an_iterative_analysis() -> None:
    holders = _holders(_frame(time=[1.0, 2.0]))
    assert isinstance(KaplanMeier(km_spec(unit=1.0), holders.schema), Iterative)


def test_times_go_up_to_the_end_of_their_interval_and_zero_stays() -> None:
    holders = _holders(_frame(time=[0.0, 0.1, 1.0, 1.0001, 9.5, 10.0], event=[1, 1, 1, 1, 0, 1]))
    ran = run(KaplanMeier(km_spec(unit=2.0), holders.schema), holders)
    ((layout, total),) = ran.opened
    assert layout["events"].shape == (6, 1)
    assert total["events"][:, 0].tolist() == [1, 3, 0, 0, 0, 1]
    assert total["censored"][:, 0].tolist() == [0, 0, 0, 0, 0, 1]


def test_an_event_at_time_zero_is_on_the_curve() -> None:
    result = _run(_frame(time=[0.0, 0.0, 3.0, 5.0], event=[1, 1, 1, 0]))
    assert result["time"][0] == 0.0
    assert result["survival"]["all"][0] == pytest.approx(0.5)
    assert result["median"]["all"] == 0.0


def test_everything_opened_is_a_count_bounded_by_the_public_rows() -> None:
    holders = _holders(_frame(time=[1.0, 2.0, 3.0]))
    analysis = KaplanMeier(km_spec(by="group", unit=1.0), holders.schema)
    layout = analysis.layout(analysis.start(holders.schema))
    assert {(spec.role, spec.integer, spec.bound) for spec in layout.values()} == {("cells", True, 2)}
    assert analysis.reveals().rounds_max == 1
    assert {opened.name for opened in analysis.reveals().once} == set(layout)


def test_a_small_number_of_dropped_rows_is_withheld() -> None:
    frame = _frame(time=[*np.linspace(0.5, 9.5, 60), None, None, None])
    result = _run(frame, Limits(cell_min=10, cell_scope="pooled"))
    assert result["n"] == 60
    assert result["n_dropped"] is None and result["suppressed"] == ["n_dropped"]


def test_the_result_is_json_with_arrays_of_equal_length() -> None:
    result = _run(_frame(time=[1.0, 1.0, 2.0, 4.0, 4.0, 6.0]), by="group")
    assert json.loads(dumps(result)) == result
    assert result["kind"] == "kaplan_meier" and result["cell_scope"] == "pooled"
    for key in ("survival", "se", "ci_lower", "ci_upper", "at_risk", "events", "censored"):
        assert list(result[key]) == ["a", "b"]
        assert {len(values) for values in result[key].values()} == {len(result["time"])}
    assert any("merged from 10 of 1" in note for note in result["notes"])


def test_one_level_of_a_category_is_the_event() -> None:
    frame = _frame(time=[1.0, 2.0, 3.0, 4.0], state=["dead", "relapse", "alive", "dead"])
    result = _run(frame, event="state", event_value="dead")
    assert sum(result["events"]["all"]) == 2 and sum(result["censored"]["all"]) == 2


def test_an_event_value_other_than_one_may_be_named() -> None:
    frame = _frame(time=[1.0, 2.0, 3.0, 4.0], event=[2, 1, 1, 2])
    holders = _holders(frame, event=number("event", 1, 2))
    result = run(KaplanMeier(km_spec(unit=1.0, event_value=2), holders.schema), holders).result
    assert sum(result["events"]["all"]) == 2


@pytest.mark.parametrize(
    ("keys", "code", "word"),
    [
        ({"unit": None}, "kaplan_meier.unit", "unit"),
        ({"unit": 1e-5}, "kaplan_meier.unit", "time"),
        ({"by": "event"}, "kaplan_meier.by", "event"),
        ({"by": "elsewhere"}, "design.column", "elsewhere"),
        ({"time": "group"}, "survival.time", "group"),
        ({"time": "endless"}, "survival.time", "endless"),
        ({"event": "note"}, "survival.event", "note"),
        ({"event": "state"}, "survival.event_value", "state"),
        ({"event": "state", "event_value": "gone"}, "survival.event_value", "state"),
        ({"event_value": "yes"}, "survival.event_value", "event"),
    ],
)
def test_wrong_keys_are_named_before_anything_is_opened(keys: dict[str, Any], code: str, word: str) -> None:
    schema = Schema(COLUMNS | {"endless": Column("endless", "number")}, (), Limits())
    with pytest.raises(InputError, match=word) as caught:
        KaplanMeier(km_spec(**{"unit": 1.0} | keys), schema)
    assert caught.value.code == code
    assert caught.value.todo


def test_several_rows_a_subject_are_refused() -> None:
    with pytest.raises(InputError, match="one row a subject") as caught:
        KaplanMeier(km_spec(unit=1.0), Schema(COLUMNS, (), Limits(), subjects="many"))
    assert caught.value.code == "survival.subjects"


@pytest.mark.parametrize(
    ("column", "values", "code"),
    [
        ("time", [1.0, -0.5], "survival.negative"),
        ("time", [1.0, 10.5], "survival.time"),
        ("event", [1, 2], "survival.event"),
        ("event", [1, 0.5], "survival.event"),
    ],
)
def test_a_wrong_value_is_named_by_its_column_and_not_shown(column: str, values: list[Any], code: str) -> None:
    frame = _frame(**{"time": [1.0, 2.0]} | {column: values})
    holders = _holders(frame)
    analysis = KaplanMeier(km_spec(unit=1.0), holders.schema)
    with pytest.raises(InputError, match=f"column {column}") as caught:
        for rows in holders.rows:
            analysis.local(rows, analysis.start(holders.schema))
    assert caught.value.code == code
    assert str(values[1]) not in str(caught.value)


def test_a_level_without_rows_is_an_error_that_names_it() -> None:
    with pytest.raises(InputError, match="level 'b'") as caught:
        _run(_frame(time=[1.0, 2.0, 3.0], group=["a", "a", "a"]), by="group")
    assert caught.value.code == "kaplan_meier.group"


def test_a_curve_that_ends_at_zero_has_limits_zero_and_no_infinities() -> None:
    shown = curve(np.array([1.0, 2.0]), np.array([1, 2]), np.array([0, 0]), 0.95)
    assert shown.survival.tolist() == pytest.approx([2 / 3, 0.0])
    assert (shown.lower[1], shown.upper[1], shown.se[1]) == (0.0, 0.0, 0.0)


def test_a_curve_before_its_first_event_is_one() -> None:
    shown = curve(np.array([1.0, 2.0]), np.array([0, 1]), np.array([1, 3]), 0.95)
    assert (shown.survival[0], shown.lower[0], shown.upper[0], shown.se[0]) == (1.0, 1.0, 1.0, 0.0)
    assert shown.median is None


def test_one_group_has_no_logrank_test() -> None:
    with pytest.raises(ValueError, match="two groups"):
        logrank(np.ones((3, 1), dtype=np.int64), np.zeros((3, 1), dtype=np.int64))


def test_a_curve_stands_under_its_group_and_under_the_names_of_its_parts() -> None:
    result = _run(_frame(time=[1.0, 2.0, 3.0, 4.0]), by="group")
    assert set(result["a"]) == {"survival", "se", "ci_lower", "ci_upper", "at_risk", "events", "censored", "median"}
    assert all(result[key][name] == part for name in ("a", "b") for key, part in result[name].items())


def test_a_level_with_the_name_of_a_part_of_the_result_is_refused() -> None:
    groups = category("group", "a", "survival")
    holders = _holders(_frame(time=[1.0, 2.0], group=["a", "survival"]), group=groups)
    with pytest.raises(InputError, match="a level is called survival") as error:
        KaplanMeier(km_spec(unit=1.0, by="group"), holders.schema)
    assert error.value.code == "kaplan_meier.by"
