"""The last look at a finished result: what passes, and each thing that must not be shown."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from xbcompute.core.errors import RefusedError
from xbcompute.core.schema import Limits
from xbcompute.disclosure.release import audit_result

LIMITS = Limits(cell_scope="pooled")
HEAD: dict[str, Any] = {"n": 200, "n_dropped": 0, "suppressed": [], "cell_scope": "pooled", "notes": []}


def table() -> dict[str, Any]:
    return HEAD | {
        "kind": "table",
        "rows": ["a", "b"],
        "columns": ["x", "y"],
        "counts": [[30, 40], [50, 80]],
        "row_totals": [70, 130],
        "column_totals": [80, 120],
        "chi2": {"statistic": 1.0, "df": 1, "p": 0.3},
    }


def describe() -> dict[str, Any]:
    age = {"n": 200, "missing": 0, "mean": 50.0, "sd": 9.0, "quantiles": {"0.5": 49.0}}
    stage = {"n": 200, "missing": 0, "levels": {"I": 60, "II": 140}}
    return HEAD | {"kind": "describe", "all": {"age": age, "stage": stage}}


def kaplan_meier() -> dict[str, Any]:
    events, censored = [20, 30, 10], [10, 0, 130]
    risk, survival, now = [], [], 1.0
    left = 200
    for died, gone in zip(events, censored, strict=True):
        risk.append(left)
        now *= 1 - died / left
        survival.append(now)
        left -= died + gone
    flat = [0.1] * 3
    curve = {"survival": survival, "se": flat, "ci_lower": flat, "ci_upper": flat}
    counts = {"at_risk": risk, "events": events, "censored": censored}
    return (
        HEAD
        | {
            "kind": "kaplan_meier",
            "time": [1.0, 2.0, 3.0],
            "grid": {"unit": 1, "merged": [1, 2, 3]},
            "all": {**curve, **counts, "median": None},
        }
        | {key: {"all": value} for key, value in {**curve, **counts, "median": None}.items()}
    )


def cox() -> dict[str, Any]:
    return HEAD | {
        "kind": "cox",
        "events": 80,
        "df_resid": 190,
        "coef": {"age": 0.1, "max": 2.0},
        "names": ["age", "max"],
    }


def simple(kind: str, **body: Any) -> dict[str, Any]:
    return HEAD | {"kind": kind} | body


GOOD: list[Callable[[], dict[str, Any]]] = [
    table,
    describe,
    kaplan_meier,
    cox,
    lambda: simple("histogram", edges=[0, 1, 2], counts=[0, 200]),
    lambda: simple(
        "compare", groups={"a": {"n": 100, "mean": 1.0, "sd": 1.0}, "b": {"n": 100, "mean": 1.0, "sd": 1.0}}
    ),
    lambda: simple("rate", events={"all": 12}, exposure={"all": 3.5}),
    lambda: simple("correlation", names=["a", "b"], matrix=[[1, 0], [0, 1]]),
    lambda: simple("linear", df_resid=10),
]


@pytest.mark.parametrize("make", GOOD)
def test_good_results_pass(make: Callable[[], dict[str, Any]]) -> None:
    result = make()
    audit_result(result, result["kind"], LIMITS)


def put(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(result: dict[str, Any]) -> None:
        *way, last = path.split("/")
        at: Any = result
        for step in way:
            at = at[int(step) if isinstance(at, list) else step]
        at[int(last) if isinstance(at, list) else last] = value

    return change


def withheld_row(result: dict[str, Any]) -> None:
    result["counts"] = [[None, None], [50, 80]]
    result["suppressed"] = ["counts.0.0", "counts.0.1"]
    del result["chi2"]


def withheld_level(result: dict[str, Any]) -> None:
    result["all"]["stage"]["levels"] = {"I": None, "II": 140}
    result["suppressed"] = ["all.stage.levels.I"]


def withheld_n(result: dict[str, Any]) -> None:
    result["all"]["age"]["n"] = None
    result["suppressed"] = ["all.age.n"]


def hidden_events(result: dict[str, Any]) -> None:
    result["events"]["all"] = [None, 30, 10]
    result["suppressed"] = ["events.all.0"]


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (table, put("n", 7)),
        (table, put("n", None)),
        (table, put("n_dropped", 3)),
        (table, put("n_dropped", None)),
        (table, put("cell_scope", "holder")),
        (table, put("suppressed", None)),
        (table, put("kind", "histogram")),
        (table, put("counts/0/0", 9)),
        (table, put("counts/0/0", -30)),
        (table, put("counts/0/0", 30.5)),
        (table, put("counts/0/0", True)),
        (table, put("counts/0/0", "30")),
        (table, put("counts/0/0", None)),
        (table, put("row_totals/0", 9)),
        (table, put("column_totals/1", 1)),
        (table, put("suppressed", ["counts.0.0"])),
        (table, withheld_row),
        (table, put("max", 99)),
        (table, put("fitted", [1.0])),
        (describe, put("all/age/n", 9)),
        (describe, put("all/age/missing", 4)),
        (describe, put("all/age/max", 99.0)),
        (describe, put("all/age/min", 1.0)),
        (describe, put("all/stage/levels/I", 9)),
        (describe, put("all", 5)),
        (describe, withheld_level),
        (describe, withheld_n),
        (kaplan_meier, put("events/all/0", 9)),
        (kaplan_meier, put("censored/all/0", 1)),
        (kaplan_meier, put("at_risk/all/2", 5)),
        (kaplan_meier, put("at_risk/all/1", 169)),
        (kaplan_meier, put("survival/all/1", 0.73)),
        (kaplan_meier, put("survival/all", [0.9, 0.8])),
        (kaplan_meier, put("time", [1.0, 2.0])),
        (kaplan_meier, put("grid/merged", [0.5, 1, 2, 3])),
        (kaplan_meier, hidden_events),
        (kaplan_meier, put("all", {"survival": [0.9, 0.8, 0.7]})),
        (kaplan_meier, put("median/all", 2.0)),
        (kaplan_meier, put("residuals", [0.1])),
        (cox, put("events", 4)),
        (cox, put("df_resid", 9)),
        (cox, put("residuals", [0.1])),
        (GOOD[4], put("counts", [3, 197])),
        (GOOD[5], put("groups/a/n", 3)),
        (GOOD[5], put("groups/a/max", 3.0)),
        (GOOD[6], put("events/all", 2)),
    ],
)
def test_what_must_not_be_shown(make: Callable[[], dict[str, Any]], change: Callable[[dict[str, Any]], None]) -> None:
    result = copy.deepcopy(make())
    kind = result["kind"]
    change(result)
    with pytest.raises(RefusedError) as caught:
        audit_result(result, kind, LIMITS)
    assert caught.value.code == "disclosure.result"


def test_a_properly_suppressed_table_and_small_n_dropped_pass() -> None:
    result = table()
    result["counts"] = [[None, None], [None, None]]
    result["suppressed"] = ["n_dropped", "counts.0.0", "counts.0.1", "counts.1.0", "counts.1.1"]
    result["n_dropped"] = None
    with pytest.raises(RefusedError, match="chi2"):
        audit_result(result, "table", LIMITS)
    del result["chi2"]
    audit_result(result, "table", LIMITS)


def test_tables_of_distinct_subjects_whose_cells_do_not_add_up_pass() -> None:
    result = table()
    del result["chi2"]
    result["counts"] = [[None, None], [None, 90]]
    result["row_totals"] = [70, 80]
    result["suppressed"] = ["counts.0.0", "counts.0.1", "counts.1.0"]
    audit_result(result, "table", LIMITS)


@pytest.mark.parametrize("kind", ["extract", "train", "predict", "unheard_of"])
def test_kinds_that_are_not_known_here_are_refused(kind: str) -> None:
    with pytest.raises(RefusedError):
        audit_result(HEAD | {"kind": kind}, kind, LIMITS)


def test_coefficients_may_have_any_name() -> None:
    audit_result(cox() | {"coef": {"n": 0.5, "events": -3.0, "counts": 1.0, "min": 2.0}}, "cox", LIMITS)


def test_open_data_shows_everything() -> None:
    result = table() | {
        "n": 4,
        "n_dropped": 1,
        "counts": [[1, 1], [1, 1]],
        "row_totals": [2, 2],
        "column_totals": [2, 2],
    }
    audit_result(result, "table", Limits(cell_min=1, cell_scope="pooled", model_rules=False))
