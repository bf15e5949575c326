"""Studies with other parties, roles, grades and files than the examples give the pooled answer or say why not."""

from __future__ import annotations

import datetime as dt
import math
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf
from scipy.stats import chi2_contingency

import xbcompute as xb
from tests.support.closeness import same_coefficients, same_statistic
from tests.support.federated import generator
from tests.support.folders import ANONYMISED, FLEET, FOUR, PUBLIC, Draft, category, number, results, whole
from xbcompute.core.errors import InputError, RefusedError

COLUMNS = {
    "hours": number(0, 40_000, unit="h"),
    "cycles": number(0, 20_000),
    "shop": category("line", "base"),
    "finding": category("none", "wear", "crack"),
    "gap": number(0, 500),
}
MEANS = {"id": "means", "kind": "describe", "columns": ["hours", "finding"], "by": "shop"}
TABLE = {"id": "table", "kind": "table", "rows": "finding", "columns": "shop"}
MODEL = {"id": "model", "kind": "linear", "outcome": "cycles", "covariates": ["hours", "shop"]}


def removals(n: int = 600) -> pd.DataFrame:
    rng = generator(7)
    frame = pd.DataFrame(
        {
            "hours": rng.gamma(4, 2_000, n).round(0).clip(0, 40_000),
            "shop": rng.choice(["line", "base"], n),
            "finding": rng.choice(["none", "wear", "crack"], n, p=[0.5, 0.3, 0.2]),
            "gap": rng.uniform(0, 500, n).round(1),
        }
    )
    frame["cycles"] = (frame["hours"] / 2.2 + 300 * (frame["shop"] == "base") + rng.normal(0, 90, n)).clip(0).round(0)
    frame.loc[rng.random(n) < 0.12, "gap"] = np.nan
    return frame


def check(joint: dict[str, Any], rows: pd.DataFrame) -> None:
    for shop, group in rows.groupby("shop"):
        same_statistic(joint["means"][shop]["hours"]["mean"], float(group["hours"].mean()))
        same_statistic(joint["means"][shop]["hours"]["sd"], float(group["hours"].std()))
        assert joint["means"][shop]["finding"]["levels"] == {
            level: int((group["finding"] == level).sum()) for level in ("none", "wear", "crack")
        }
    counts = pd.crosstab(rows["finding"], rows["shop"])
    order = counts.loc[["none", "wear", "crack"], ["line", "base"]]
    assert joint["table"]["counts"] == order.to_numpy().tolist()
    same_statistic(joint["table"]["chi2"]["statistic"], chi2_contingency(order, correction=False).statistic)
    truth = smf.ols("cycles ~ hours + C(shop, levels=['line', 'base'])", rows).fit()
    names = ["Intercept", "shop[T.base]", "hours"]
    same_coefficients(
        joint["model"], dict(zip(names, truth.params, strict=True)), dict(zip(names, truth.bse, strict=True))
    )


def test_a_lead_and_recipients_that_hold_nothing(tmp_path: Path) -> None:
    rows = removals()
    draft = Draft(rows, COLUMNS, MEANS, TABLE, MODEL).header(lead="broker", recipients=["reader"])
    until = dt.date(2027, 12, 31)
    draft.add_party("broker", "CN", "compute", listed_partner_until=until)
    draft.add_party("reader", "SG", "recipient", listed_partner_until=until)
    draft.add_party("hk-neutral", "HK", "dealer").add_party("watchdog", "CN", "supervisor")
    draft.every(consent={"purposes": ["outcome_research"], "recipients": [*FOUR, "reader", "broker"], "export": True})
    ran = whole(draft, tmp_path / "f")
    check(ran["results"], rows)
    assert ran["decision"]["protocol"] == "masked-sum"
    assert set(ran["ledger"]) >= {*FOUR, "broker", "reader"}
    assert all(entry["verified"] for entry in ran["ledger"].values())
    masked = {crossing["from"] for crossing in ran["crossings"] if crossing["kind"] == "masked"}
    assert masked == set(FOUR)


def test_a_recipient_that_is_no_listed_partner_gets_nothing(tmp_path: Path) -> None:
    draft = Draft(removals(200), COLUMNS, MEANS).header(recipients=["reader"]).add_party("reader", "SG", "recipient")
    with pytest.raises(RefusedError, match="X03"):
        whole(draft, tmp_path / "f")


@pytest.mark.parametrize(
    ("parties", "grade", "industry", "verdict", "protocol"),
    [
        ({"wang": "CN", "zhao": "CN", "qian": "CN"}, None, "biomed", "PERMIT_WITH_CONDITIONS", "masked-sum"),
        ({"op-a": "CN", "op-b": "SG", "op-c": "SG"}, FLEET, "aviation", "PERMIT", "clear-aggregate"),
        ({"left": "CN", "right": "SG"}, ANONYMISED, "biomed", "PERMIT_WITH_CONDITIONS", "clear-aggregate"),
        ({"alone": "SG"}, PUBLIC, "biomed", "PERMIT", "clear-aggregate"),
    ],
    ids=["one jurisdiction", "fleets", "anonymised", "public and alone"],
)
def test_other_parties_and_grades(
    parties: dict[str, str], grade: Any, industry: str, verdict: str, protocol: str, tmp_path: Path
) -> None:
    rows = removals()
    draft = Draft(rows, COLUMNS, MEANS, TABLE, MODEL, parties=parties, grade=grade, industry=industry)
    ran = whole(draft, tmp_path / "f")
    assert (ran["decision"]["verdict"], ran["decision"]["protocol"]) == (verdict, protocol)
    check(ran["results"], rows)


def test_a_public_study_needs_no_approval_and_uneven_sites_are_fine(tmp_path: Path) -> None:
    rows = removals()
    owner = np.digitize(np.arange(len(rows)), [20, 60, 200])
    draft = Draft(rows, COLUMNS, MEANS, TABLE, MODEL, owner=owner, grade=PUBLIC)
    for site in draft.sites.values():
        del site["approval"], site["evidence"]
    check(results(draft.header(protocol={"prefer": ["masked-sum"]}), tmp_path / "f"), rows)


def test_analyses_may_have_their_own_complete_cases(tmp_path: Path) -> None:
    rows = removals()
    gaps = {"id": "gaps", "kind": "describe", "columns": ["gap"]}
    joint = results(Draft(rows, COLUMNS, MEANS, TABLE, MODEL, gaps, missing="analysis"), tmp_path / "a")
    check(joint, rows)
    assert joint["gaps"]["n"] == rows["gap"].notna().sum()
    assert joint["gaps"]["n_dropped"] == rows["gap"].isna().sum()
    same_statistic(joint["gaps"]["all"]["gap"]["mean"], float(rows["gap"].mean()))


def test_populations_that_differ_by_a_few_are_not_compared(tmp_path: Path) -> None:
    rows = removals(300)
    rows["gap"] = rows["gap"].fillna(1.0)
    rows.loc[:3, "gap"] = np.nan
    gaps = {"id": "gaps", "kind": "describe", "columns": ["gap"]}
    with pytest.raises(RefusedError, match=r"means.+gaps"):
        results(Draft(rows, COLUMNS, MEANS, gaps, missing="analysis"), tmp_path / "f")


def test_with_many_rows_a_subject_counts_are_of_subjects(tmp_path: Path) -> None:
    rows = removals()
    rows["engine"] = [f"e{place % 4}-{place // 12}" for place in range(len(rows))]
    draft = Draft(rows, COLUMNS, MEANS, TABLE, subjects="engine").every(rows_per_subject="many")
    joint = results(draft, tmp_path / "f")
    assert joint["means"]["n"] == rows["engine"].nunique()
    for shop, group in rows.groupby("shop"):
        assert joint["means"][shop]["hours"]["n"] == group["engine"].nunique()
        same_statistic(joint["means"][shop]["hours"]["mean"], float(group["hours"].mean()))
    people = rows.groupby(["finding", "shop"])["engine"].nunique()
    order = [[int(people[finding, shop]) for shop in ("line", "base")] for finding in ("none", "wear", "crack")]
    shown = [[value if value >= 10 else None for value in line] for line in order]
    for ours, theirs in zip(joint["table"]["counts"], shown, strict=True):
        assert all(a in (None, b) for a, b in zip(ours, theirs, strict=True))
    assert "chi2" not in joint["table"]


def test_small_cells_are_withheld_and_listed(tmp_path: Path) -> None:
    rows = removals()
    few = rows.index[rows["finding"] == "crack"][:-9]
    rows.loc[few, "finding"] = "wear"
    table = results(Draft(rows, COLUMNS, TABLE), tmp_path / "f")["table"]
    assert None in table["counts"][2]
    assert all(value is None or value >= 10 for line in table["counts"] for value in line)
    assert "chi2" not in table
    for path in table["suppressed"]:
        found: Any = table
        for step in path.split("."):
            found = found[int(step)] if isinstance(found, list) else found[step]
        assert found is None


def test_files_as_people_really_save_them(tmp_path: Path) -> None:
    """Byte order marks, other line ends, quotes, blanks around numbers, another order of columns, marks for missing."""
    rows = removals(400)
    folder = Draft(rows, COLUMNS, MEANS, {"id": "gaps", "kind": "describe", "columns": ["gap"]}).write(tmp_path / "f")
    for place, party in enumerate(FOUR):
        file = folder / "sites" / party / "rows.csv"
        frame = pd.read_csv(file, dtype=str, keep_default_na=False)[["pid", *sorted(COLUMNS)]].assign(extra="a, b")
        frame["gap"] = frame["gap"].replace("", ["", "NA", "NaN", "nan"][place])
        frame["hours"] = [f" {float(value):.3e} " if float(value) < 1e3 else value for value in frame["hours"]]
        text = frame.to_csv(index=False, lineterminator="\r\n", quoting=1 if place % 2 else 0)
        file.write_bytes(text.encode("utf-8-sig" if place else "utf-8"))
    with xb.simulate(folder, in_process=True) as federation:
        joint = federation.run()
    kept = rows[rows["gap"].notna()]
    assert joint["gaps"].n == len(kept)
    assert joint["gaps"].n_dropped == rows["gap"].isna().sum()
    same_statistic(joint["gaps"]["all"]["gap"]["mean"], float(kept["gap"].mean()))
    assert joint["means"]["line"]["hours"]["n"] == (kept["shop"] == "line").sum()


@pytest.mark.parametrize(
    ("analysis", "column"),
    [
        ({**MODEL, "covariates": ["hours", "minutes"]}, "minutes"),
        ({"id": "l", "kind": "logistic", "outcome": "shop", "covariates": ["hours", "sign"]}, "sign"),
    ],
    ids=["collinear", "separable"],
)
def test_a_model_without_one_answer_names_the_column(analysis: dict[str, Any], column: str, tmp_path: Path) -> None:
    rows = removals(400)
    rows["minutes"] = rows["hours"] * 60
    rows["sign"] = np.where(rows["shop"] == "base", "plus", "minus")
    columns = {**COLUMNS, "minutes": number(0, 2_400_000), "sign": category("minus", "plus")}
    with pytest.raises((InputError, RefusedError), match=column):
        results(Draft(rows, columns, analysis, grade=PUBLIC), tmp_path / "f")


def test_open_ended_bands_and_a_model_on_them(tmp_path: Path) -> None:
    rows = removals()
    band = {"name": "band", "of": "hours", "fn": "cut", "edges": [-math.inf, 5_000, 10_000, math.inf]}
    study = Draft(
        rows,
        COLUMNS,
        {"id": "model", "kind": "linear", "outcome": "cycles", "covariates": ["band", "shop"]},
        {"id": "bands", "kind": "describe", "columns": ["band"]},
        derive=[band],
    )
    joint = results(study, tmp_path / "f")
    cut = pd.cut(rows["hours"], [-np.inf, 5_000, 10_000, np.inf])
    levels = joint["bands"]["all"]["band"]["levels"]
    assert sorted(levels.values()) == sorted(cut.value_counts())
    truth = smf.ols("cycles ~ b + C(shop, levels=['line', 'base'])", rows.assign(b=cut.cat.codes.astype(str))).fit()
    assert sorted(joint["model"]["coef"].values()) == pytest.approx(sorted(truth.params), rel=1e-8)


def test_nothing_of_a_simulation_in_process_goes_on_after_it(tmp_path: Path) -> None:
    draft = Draft(removals(200), COLUMNS, MEANS)
    draft.dataset("sg-centre-1")["columns"]["hours"] = number(0, 10)
    with pytest.raises(InputError, match=r"sg-centre-1.+'hours'"):
        results(draft, tmp_path / "f")
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("xbcompute-")]
