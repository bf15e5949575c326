"""A run's JSON becomes results with tables, attributes and honest marks."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from xbcompute.client.kinds import CoxModel, CrossTable, KaplanMeier, LinearModel, LogisticModel, Model
from xbcompute.client.result import Result
from xbcompute.client.results import Run
from xbcompute.client.table import SUPPRESSED, Table, format_p
from xbcompute.core.errors import InputError

SAMPLE = Path(__file__).parent / "data" / "gbsg2_run.json"


@pytest.fixture
def body() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(SAMPLE.read_text(encoding="utf-8"))
    return loaded


@pytest.fixture
def run(body: dict[str, Any]) -> Run:
    return Run(body)


def test_a_run_is_a_mapping_in_the_order_of_the_study(run: Run) -> None:
    assert list(run) == ["baseline", "grade", "km", "cox"]
    assert len(run) == 4
    assert isinstance(run["cox"], CoxModel)
    assert isinstance(run["km"], KaplanMeier)
    with pytest.raises(KeyError, match="there are: baseline, grade, km, cox"):
        run["kaplan"]


def test_json_goes_round_unchanged(run: Run, body: dict[str, Any], tmp_path: Path) -> None:
    run.save(tmp_path / "run.json")
    assert json.loads(run.to_json()) == body
    assert Run.load(tmp_path / "run.json").to_dict() == body


def test_a_run_keeps_its_own_copy(body: dict[str, Any]) -> None:
    run = Run(body)
    body["results"]["cox"]["coef"]["age"] = 99.0
    run.to_dict()["results"]["cox"]["coef"]["age"] = 99.0
    assert run["cox"].coef["age"] < 0


def test_what_is_not_a_run_is_named(body: dict[str, Any], tmp_path: Path) -> None:
    del body["ledger"]
    with pytest.raises(InputError, match="'ledger'"):
        Run(body)
    (tmp_path / "list.json").write_text("[]", encoding="utf-8")
    for name in ("list.json", "absent.json"):
        with pytest.raises(InputError, match=name):
            Run.load(tmp_path / name)
    with pytest.raises(InputError, match="'cell_scope'"):
        Result("x", {"kind": "table", "n": 1, "n_dropped": 0, "suppressed": [], "notes": []})


def test_json_names_are_attributes(run: Run) -> None:
    cox = run["cox"]
    assert cox.n == 686
    assert cox["events"] == cox.events == 299
    assert "coef" in dir(cox)
    with pytest.raises(AttributeError, match=r"has no 'hazard'; it has: .*coef"):
        cox.hazard  # noqa: B018
    assert not hasattr(cox, "_unknown")


def test_cox_summary_has_lifelines_columns(run: Run, body: dict[str, Any]) -> None:
    summary = run["cox"].summary
    assert summary.columns == (
        "coef",
        "exp(coef)",
        "se(coef)",
        "coef lower 95%",
        "coef upper 95%",
        "exp(coef) lower 95%",
        "exp(coef) upper 95%",
        "z",
        "p",
    )
    assert summary["coef"] == body["results"]["cox"]["coef"]
    assert summary["exp(coef) upper 95%"]["tgrade[T.III]"] == body["results"]["cox"]["exp_ci_upper"]["tgrade[T.III]"]
    frame = summary.to_pandas()
    assert frame.loc["age", "coef"] == body["results"]["cox"]["coef"]["age"]
    assert frame.index.name == "covariate"


def model(kind: str, **more: Any) -> dict[str, Any]:
    names = ["Intercept", "x"]
    numbers = {key: dict.fromkeys(names, 0.25) for key in ("coef", "se", "z", "t", "p", "ci_lower", "ci_upper")}
    head = {"kind": kind, "n": 40, "n_dropped": 0, "suppressed": [], "cell_scope": "holder", "notes": []}
    return {**head, "names": names, **numbers, "ci_level": 0.95, **more}


def test_other_models_have_statsmodels_columns() -> None:
    logistic, linear = LogisticModel("m", model("logistic")), LinearModel("m", model("linear"))
    assert logistic.summary.columns == ("coef", "std err", "z", "P>|z|", "[0.025", "0.975]")
    assert linear.summary.columns == ("coef", "std err", "t", "P>|t|", "[0.025", "0.975]")
    assert Model("m", model("linear", ci_level=0.9)).summary.columns[-2:] == ("[0.05", "0.95]")


def test_ratios_exist_only_where_they_mean_something(run: Run) -> None:
    cox = run["cox"]
    assert isinstance(cox, Model)
    assert cox.ratios.columns == ("hazard ratio", "lower 95%", "upper 95%", "p")
    with pytest.raises(InputError, match="no ratios"):
        LinearModel("m", model("linear")).ratios  # noqa: B018


def test_kaplan_meier_summary_and_curve(run: Run) -> None:
    km = run["km"]
    assert isinstance(km, KaplanMeier)
    assert km.summary["n"] == {"no": 440, "yes": 246}
    assert km.summary["events"] == {"no": 205, "yes": 94}
    assert km.summary["median"]["yes"] is None
    assert km.summary.columns[-1] == "S(2700)"
    assert "median not reached: yes" in repr(km)
    rows = list(km.curve("no"))
    assert [row["time"] for row in rows] == km.time
    assert rows[0]["at_risk"] == 440


def test_a_suppressed_number_is_marked_and_never_invented(body: dict[str, Any]) -> None:
    km = copy.deepcopy(body["results"]["km"])
    km["events"]["yes"][1] = None
    km["suppressed"] = ["events.yes.1"]
    summary = KaplanMeier("km", km).summary
    assert summary["events"]["yes"] is SUPPRESSED
    assert summary["events"]["no"] == 205
    assert "suppressed" in str(summary)
    table = copy.deepcopy(body["results"]["grade"])
    table["counts"][0][1] = None
    table.update(suppressed=["counts.0.1"], chi2=None)
    cross = CrossTable("grade", table)
    assert cross.summary["yes"]["I"] is SUPPRESSED
    assert cross.summary["no"]["I"] == 48
    assert "1 number was suppressed." in repr(cross)
    assert "chi-square" not in repr(cross)
    assert cross.summary.to_pandas()["yes"].isna().to_dict() == {"I": True, "II": False, "III": False, "total": False}


def test_withheld_dropped_rows_show_in_the_heading(body: dict[str, Any]) -> None:
    table = body["results"]["grade"] | {"n_dropped": None, "suppressed": ["n_dropped"]}
    assert CrossTable("grade", table).heading() == "grade (table), n = 686, dropped = suppressed"


def test_describe_has_a_row_a_group_and_column(run: Run) -> None:
    summary = run["baseline"].summary
    assert summary.index is not None
    assert summary.index[0] == "no · age"
    assert summary["n"]["yes · pnodes"] == 246


def test_levels_and_quantiles_of_describe(body: dict[str, Any]) -> None:
    lone = {key: body["results"]["baseline"][key] for key in ("n", "n_dropped", "suppressed", "cell_scope", "notes")}
    result = {
        "kind": "describe",
        **lone,
        "all": {
            "age": {"n": 686, "missing": 0, "mean": 53.0, "sd": 10.1, "quantiles": {"0.5": 53.2}},
            "tgrade": {"n": 686, "missing": 0, "levels": {"I": 81, "II": None}},
        },
        "suppressed": ["all.tgrade.levels.II"],
    }
    summary = Run({**body, "results": {"d": result}})["d"].summary
    assert summary.columns == ("n", "missing", "mean", "sd", "q50")
    assert summary["q50"]["age"] == 53.2
    assert summary["n"]["tgrade = I"] == 81
    assert summary["n"]["tgrade = II"] is SUPPRESSED


def test_an_unknown_kind_still_shows_every_number() -> None:
    body = {"kind": "rate", "n": 9, "n_dropped": 0, "suppressed": [], "cell_scope": "odd", "notes": [{"en": "Note."}]}
    result = Result("r", {**body, "rate": 0.5, "by": {"a": [1, 2]}})
    assert result.summary["value"] == {"rate": 0.5, "by.a.0": 1, "by.a.1": 2}
    assert repr(result).endswith("Cell scope: odd.\nNote.")
    with pytest.raises(InputError, match="no plot"):
        result.plot()


def test_every_result_states_suppression_and_cell_scope(run: Run) -> None:
    for result in run.values():
        assert "Nothing was suppressed." in repr(result)
        assert "Cell scope: pooled" in repr(result)
        assert "Cell scope: pooled" in result._repr_html_()


def test_crossings_ledger_and_decision(run: Run, body: dict[str, Any]) -> None:
    assert sum(row["bytes"] for row in run.crossings if isinstance(row["bytes"], int)) == sum(
        item["bytes"] for item in body["crossings"]
    )
    assert run.ledger["verified"] == dict.fromkeys(body["ledger"], "yes")
    assert run.verified
    assert run.decision["verdict"] == run.decision.verdict == "PERMIT_WITH_CONDITIONS"
    assert run.decision.runs
    for reason in body["decision"]["reasons"]:
        assert reason["zh"] in str(run.decision)
        assert reason["en"] in str(run.decision)
    assert "people counted: sensitive 0 → 172" in str(run.decision)
    assert "no differential privacy" in repr(run).lower()
    body["ledger"]["sg-centre-1"]["verified"] = False
    bad = Run(body)
    assert not bad.verified
    assert "DID NOT VERIFY" in repr(bad)


def test_a_table_prints_aligned_and_wraps() -> None:
    table = Table(
        columns=("值", "name", "p"),
        rows=((1.5, "一", 0.0004), (None, "two", 0.5)),
        index=("甲", "b"),
        kinds={"p": "p", "name": "text"},
    )
    lines = str(table).splitlines()
    assert lines == ["       值  name       p", "甲  1.500  一    <0.001", "b       –  two    0.500"]
    assert len(table.to_text(width=16).split("\n\n")) == 2
    assert "<td style='text-align:left'>一</td>" in table._repr_html_()


def test_html_is_escaped() -> None:
    table = Table(columns=("<b>",), rows=(("<script>",),), kinds={"<b>": "text"}, title="<i>")
    assert "<script>" not in table._repr_html_()
    assert "<b>" not in table._repr_html_()


def test_tables_refuse_ragged_rows_and_unknown_columns() -> None:
    with pytest.raises(InputError, match="one cell a column"):
        Table(columns=("a", "b"), rows=((1,),))
    with pytest.raises(InputError, match="one name a row"):
        Table(columns=("a",), rows=((1,),), index=("x", "y"))
    with pytest.raises(KeyError, match="there are: a"):
        Table(columns=("a",), rows=((1,),))["b"]


@pytest.mark.parametrize(("value", "text"), [(0.00099, "<0.001"), (0.001, "0.001"), (0.0494, "0.049"), (1.0, "1.000")])
def test_p_values(value: float, text: str) -> None:
    assert format_p(value) == text


def test_without_pandas_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(InputError, match=r"xbcompute\[examples\]"):
        Table(columns=("a",), rows=((1,),)).to_pandas()
