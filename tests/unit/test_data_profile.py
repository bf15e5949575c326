"""Proposed grades: what is recognised and why, what is not, and that no value of the file is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from xbcompute.core.errors import InputError
from xbcompute.node.sources.profile import Profile, profile, site_lines
from xbcompute.node.sources.signs import SIGNS, Industry

CANARY = "zqxcanary"
ROWS = 40


def profiled(tmp_path: Path, columns: dict[str, list[Any]], industry: Industry = "biomed") -> Profile:
    pd.DataFrame(columns).to_csv(tmp_path / "rows.csv", index=False)
    return profile(tmp_path / "rows.csv", industry)


def one(tmp_path: Path, name: str, values: list[Any], industry: Industry = "biomed") -> Any:
    return profiled(tmp_path, {name: values}, industry).columns[0]


@pytest.mark.parametrize(
    ("name", "tag", "grade"),
    [
        ("rs429358", "genetic", "G7"),
        ("brca1", "genetic", "G7"),
        ("基因型", "genetic", "G7"),
        ("hiv_status", "special_disease", "G5s"),
        ("diagnosis", "health", "G5"),
        ("住院号", "identifier", "G4"),
        ("PATIENT_ID", "identifier", "G4"),
        ("home_phone", "contact", "G4"),
        ("姓名", "name", "G4"),
        ("longitude", "position", "G4"),
        ("sex", "quasi_identifier", "G3"),
        ("出生日期", "quasi_identifier", "G3"),
    ],
)
def test_names_give_a_column_away(tmp_path: Path, name: str, tag: str, grade: str) -> None:
    column = one(tmp_path, name, ["a", "b"] * 20)
    assert tag in column.tags
    assert column.grade.value == grade
    assert column.reasons


@pytest.mark.parametrize(
    ("values", "tag"),
    [
        (["A/G", "C/C"], "genetic"),
        (["32010119900307451X", "320101198803074513"], "identifier"),
        (["S1234567D", "T7654321A"], "identifier"),
        (["a@b.org", "c.d@e.net"], "contact"),
        (["13800138000", "15912345678"], "contact"),
        (["2020-01-01", "2021-05-05"], "quasi_identifier"),
    ],
)
def test_so_do_values_under_a_name_that_says_nothing(tmp_path: Path, values: list[str], tag: str) -> None:
    column = one(tmp_path, "v1", values * 20)
    assert tag in column.tags


def test_a_few_odd_values_are_no_form(tmp_path: Path) -> None:
    assert one(tmp_path, "v1", ["A/G"] * 35 + ["x"] * 5).grade is None
    assert one(tmp_path, "v1", ["A/G"] * 36 + ["x"] * 4).grade is not None


def test_text_that_differs_in_every_row_names_somebody(tmp_path: Path) -> None:
    assert one(tmp_path, "v1", [f"w{n}x" for n in range(ROWS)]).tags == ("identifier",)
    assert one(tmp_path, "v1", ["p", "q"] * 20).grade is None


def test_children(tmp_path: Path) -> None:
    found = profiled(tmp_path, {"age": [13, 40] * 20})
    assert (found.columns[0].grade.value, found.keys()["minors_under14"]) == ("G5s", True)  # type: ignore[union-attr]
    assert profiled(tmp_path, {"age": [14, 40] * 20}).keys()["minors_under14"] is False


@pytest.mark.parametrize(
    ("name", "tag", "grade"),
    [
        ("sensor_11", "equipment", "G1"),
        ("engine_serial", "equipment", "G1"),
        ("latitude", "position", "G6"),
        ("technician", "licence", "G4"),
        ("incident", "occurrence", "G1"),
    ],
)
def test_maintenance_data(tmp_path: Path, name: str, tag: str, grade: str) -> None:
    column = one(tmp_path, name, [1.5, 2.5] * 20, "aviation")
    assert (tag in column.tags, column.grade.value) == (True, grade)


def test_positions_of_a_fleet_may_be_important(tmp_path: Path) -> None:
    found = profiled(tmp_path, {"latitude": [1.0, 2.0] * 20, "cycles": [3, 4] * 20}, "aviation")
    assert found.keys() == {"cn_grade": "general", "important_source": "suspected", "pi": "personal"}


def test_the_dataset_takes_the_strictest_and_unknown_stays_unknown(tmp_path: Path) -> None:
    known: dict[str, list[Any]] = {"sex": ["f", "m"] * 20, "bmi": [20.5, 30.5] * 20}
    found = profiled(tmp_path, known)
    assert found.keys() == {
        "cn_grade": "general",
        "important_source": "none",
        "pi": "sensitive",
        "health_level": 4,
        "hgr": "none",
        "special_disease": False,
        "minors_under14": False,
    }
    more = profiled(tmp_path, {**known, "x9": ["u", "v"] * 20})
    assert (more.unknown, more.keys()["pi"], more.confirmed) == (("x9",), "unknown", False)
    assert any("held" in line for line in site_lines(more))
    assert 'pi = "sensitive"' in list(site_lines(found))


def test_hiv_is_level_5_whatever_stands_beside_it(tmp_path: Path) -> None:
    keys = profiled(tmp_path, {"hiv": [0, 1] * 20, "bmi": [20.5, 30.5] * 20}).keys()
    assert (keys["health_level"], keys["special_disease"]) == (5, True)


def test_parquet_and_what_cannot_be_read(tmp_path: Path) -> None:
    pd.DataFrame({"bmi": [1.0, 2.0]}).to_parquet(tmp_path / "rows.parquet")
    assert profile(tmp_path / "rows.parquet", "biomed").rows == 2
    with pytest.raises(InputError):
        profile(tmp_path / "none.csv", "biomed")


def test_no_value_is_shown(tmp_path: Path) -> None:
    from xbcompute.cli.app import app

    pd.DataFrame({"x9": [f"{CANARY}{n}" for n in range(ROWS)], "name": [CANARY] * ROWS}).to_csv(
        tmp_path / "rows.csv", index=False
    )
    for flags in ([], ["--json"]):
        shown = CliRunner().invoke(app, ["data", "profile", str(tmp_path / "rows.csv"), *flags])
        assert shown.exit_code == 0
        assert CANARY not in shown.output
        assert "name" in shown.output


def test_signs_speak_both_languages() -> None:
    for sign in SIGNS:
        assert sign.text.zh
        assert sign.text.en.isascii()
