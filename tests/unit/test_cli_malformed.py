"""Malformed folders: exit 2, one JSON object, and a text that names the file, the key, the column, the party."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from tests.support.folders import Draft, category, number
from xbcompute.cli.app import app

SITE = "sites/sg-centre-1/site.toml"
ROWS = "sites/sg-centre-1/rows.csv"
CANARY = "31.4159"
COLUMNS = {"y": number(-10, 10), "x": number(-10, 10), "g": category("a", "b")}
DESCRIBE = {"id": "d", "kind": "describe", "columns": ["y"]}

Change = Callable[[Path], None]


def draft(*analyses: dict[str, Any], **data: Any) -> Draft:
    rows = pd.DataFrame({"y": np.linspace(-1, 1, 40).round(3), "x": np.linspace(2, -2, 40).round(3)})
    return Draft(rows.assign(g=["a", "b"] * 20), COLUMNS, *(analyses or (DESCRIBE,)), **data)


def check(folder: Path, command: tuple[str, ...] = ("study", "check")) -> tuple[int, dict[str, Any]]:
    ran = CliRunner().invoke(app, [*command, str(folder), "--json"])
    assert ran.stdout.count("\n") == 1
    return ran.exit_code, json.loads(ran.stdout)


def in_text(file: str, old: str, new: str) -> Change:
    def change(folder: Path) -> None:
        text = (folder / file).read_text(encoding="utf-8")
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


def gone(file: str) -> Change:
    return lambda folder: (folder / file).unlink()


def rows(text: str | bytes) -> Change:
    def change(folder: Path) -> None:
        (folder / ROWS).write_bytes(text.encode() if isinstance(text, str) else text)

    return change


FILES: dict[str, tuple[Change, tuple[str, ...]]] = {
    "unknown key of a study": (in_text("study.toml", '"title"', '"titel"'), ("study.toml", "'titel'", "'title'")),
    "unknown table": (in_text("study.toml", "[study]", "[studi]"), ("study.toml", "'studi'", "'study'")),
    "unknown key of an analysis": (in_text("study.toml", '"columns"', '"colums"'), ("'colums'", "'columns'")),
    "unknown kind": (in_text("study.toml", '"describe"', '"descripe"'), ("'descripe'", "'describe'")),
    "unknown key of a party": (
        in_text("federation.toml", '"jurisdiction"', '"jurisdition"'),
        ("federation.toml", "'jurisdition'", "'jurisdiction'"),
    ),
    "unknown role": (in_text("federation.toml", '"holder"', '"keeper"'), ("federation.toml", "roles")),
    "unknown key of a dataset": (in_text(SITE, '"rows_max"', '"row_max"'), (SITE, "'row_max'", "'rows_max'")),
    "unknown key of a column": (in_text(SITE, '"bounds"', '"bound"'), (SITE, "columns.y", "'bound'", "'bounds'")),
    "unknown key of an entity": (in_text(SITE, '"ciio"', '"cio"'), (SITE, "'cio'", "'ciio'")),
    "unknown key of an approval": (in_text(SITE, '"outputs"', '"output"'), (SITE, "'output'", "'outputs'")),
    "unknown key of evidence": (in_text(SITE, '"number" = "no', '"numbr" = "no'), (SITE, "'numbr'", "'number'")),
    "unknown grade": (in_text(SITE, '"cn_grade" = "general"', '"cn_grade" = "genral"'), (SITE, "cn_grade")),
    "a key that is missing": (in_text(SITE, '"subjects" = "pid"', ""), (SITE, "subjects")),
    "twisted bounds": (in_text(SITE, "[-10, 10]", "[10, -10]"), (SITE, "columns.y", "'bounds'")),
    "twisted dates": (in_text(SITE, "2029-03-01", "2021-03-01"), (SITE, "evidence", "'from'")),
    "text for a number": (in_text(SITE, '"rows_max" = 30', '"rows_max" = "30"'), (SITE, "rows_max")),
    "no TOML": (in_text("study.toml", "[study]", "[study"), ("study.toml", "line 1")),
    "a newer file": (in_text("study.toml", "[study]", "version = 2\n[study]"), ("study.toml", "version 2")),
    "no study": (gone("study.toml"), ("study.toml",)),
    "no federation": (gone("federation.toml"), ("federation.toml",)),
    "no site of a holder": (gone(SITE), (SITE,)),
    "another party's site": (
        in_text(SITE, '"party" = "sg-centre-1"', '"party" = "sg-centre-2"'),
        (SITE, "sg-centre-1"),
    ),
    "a site of nobody": (lambda folder: (folder / "sites" / "stranger").mkdir(), ("sites/stranger",)),
    "no rows file": (gone(ROWS), ("sg-centre-1", "rows.csv")),
    "empty file": (rows(""), ("sg-centre-1", "rows.csv", "empty")),
    "header only": (rows("y,x,g,pid\n"), ("sg-centre-1", "rows.csv", "no rows")),
    "no such column in the file": (rows("z,x,g,pid\n1,1,a,p\n"), ("sg-centre-1", "rows.csv", "'y'")),
    "a column twice": (rows("y,y,g,pid\n1,1,a,p\n"), ("sg-centre-1", "rows.csv", "'y'", "twice")),
    "semicolons": (rows("y;x;g;pid\n1;1;a;p\n"), ("sg-centre-1", "rows.csv", "commas")),
    "not UTF-8": (rows("y,x,g,pid,\xe9\n".encode("latin-1")), ("sg-centre-1", "rows.csv", "UTF-8")),
    "a word for a number": (rows(f"y,x,g,pid\nq{CANARY},1,a,p\n"), ("sg-centre-1", "rows.csv", "'y'")),
    "out of bounds": (rows(f"y,x,g,pid\n{CANARY},1,a,p\n"), ("sg-centre-1", "rows.csv", "'y'", "bounds")),
    "nobody's row": (rows("y,x,g,pid\n1,1,a,\n"), ("sg-centre-1", "rows.csv", "'pid'")),
    "a person twice": (rows(f"y,x,g,pid\n1,1,a,{CANARY}\n1,1,a,{CANARY}\n"), ("sg-centre-1", "'pid'", "twice")),
    "a row too long": (rows("y,x,g,pid\n1,1,a,p,5\n"), ("sg-centre-1", "rows.csv")),
}


@pytest.mark.parametrize(("change", "words"), FILES.values(), ids=FILES)
def test_a_malformed_file_is_named(change: Change, words: tuple[str, ...], tmp_path: Path) -> None:
    folder = draft().every(rows_min=1).write(tmp_path / "f")
    change(folder)
    code, body = check(folder)
    assert code == 2 and body["error"]["exit"] == 2
    text = body["error"]["text"]
    assert all(word in text for word in words), text
    assert CANARY not in json.dumps(body)


STUDIES: dict[str, tuple[Draft, tuple[str, ...]]] = {
    "no such column": (draft({**DESCRIBE, "columns": ["z"]}), ("sg-centre-1", "'rows'", "'z'")),
    "no such column in where": (draft(where=[{"column": "z", "op": "=", "value": 1}]), ("'z'",)),
    "no such operator": (draft(where=[{"column": "x", "op": "~", "value": 1}]), ("study.toml", "where.0.op")),
    "a list without in": (draft(where=[{"column": "x", "op": "=", "value": [1]}]), ("study.toml", "'in'")),
    "no such level in where": (draft(where=[{"column": "g", "op": "=", "value": "c"}]), ("'g'", "'c'")),
    "order of levels": (draft(where=[{"column": "g", "op": "<", "value": "b"}]), ("'g'", "'<'")),
    "text against a number": (draft(where=[{"column": "x", "op": "<", "value": "1"}]), ("'x'",)),
    "logarithm of what may be negative": (
        draft({**DESCRIBE, "columns": ["lx"]}, derive=[{"name": "lx", "of": "x", "fn": "log"}]),
        ("'lx'", "'x'"),
    ),
    "no such function": (
        draft({**DESCRIBE, "columns": ["lx"]}, derive=[{"name": "lx", "of": "x", "fn": "exp"}]),
        ("study.toml", "derive.0.fn"),
    ),
    "a level without a new one": (
        draft({**DESCRIBE, "columns": ["h"]}, derive=[{"name": "h", "of": "g", "fn": "recode", "map": {"a": "z"}}]),
        ("'h'", "'b'"),
    ),
    "edges that fall": (
        draft({**DESCRIBE, "columns": ["h"]}, derive=[{"name": "h", "of": "x", "fn": "cut", "edges": [3, 1]}]),
        ("study.toml", "'edges'"),
    ),
    "a name that is taken": (
        draft(derive=[{"name": "y", "of": "x", "fn": "sqrt"}], where=[]),
        ("'y'",),
    ),
    "a group that is no category": (draft({**DESCRIBE, "by": "x"}), ("x",)),
    "an interaction with nothing": (
        draft({"id": "l", "kind": "linear", "outcome": "y", "covariates": ["x", "x:z"]}),
        ("'z'",),
    ),
    "no such reference": (
        draft({"id": "l", "kind": "linear", "outcome": "y", "covariates": ["g"], "reference": {"g": "c"}}),
        ("g", "c"),
    ),
    "a covariate twice": (
        draft({"id": "l", "kind": "linear", "outcome": "y", "covariates": ["x", "x"]}),
        ("x",),
    ),
    "no unit": (draft({"id": "k", "kind": "kaplan_meier", "time": "x", "event": "g"}), ("k", "'unit'")),
    "no such tie rule": (
        draft({"id": "c", "kind": "cox", "time": "x", "event": "g", "covariates": ["y"], "ties": "exact"}),
        ("study.toml", "ties"),
    ),
    "two of one id": (draft(DESCRIBE, DESCRIBE), ("study.toml", "same id")),
    "an id with a blank": (draft().header(id="My Study"), ("study.toml", "study.id")),
    "a lead nobody knows": (draft().header(lead="nobody"), ("study.toml", "lead", "'nobody'")),
    "a recipient nobody knows": (draft().header(recipients=["nobody"]), ("study.toml", "recipients", "'nobody'")),
    "no recipient": (draft().header(recipients=[]), ("study.toml", "recipients")),
    "vertical without a link": (draft().header(partition="vertical"), ("study.toml", "[study.link]")),
    "more rows than said": (draft().every(rows_max=5, rows_min=1), ("sg-centre-1", "rows_max")),
    "fewer rows than said": (draft().every(rows_max=900, rows_min=800), ("sg-centre-1", "rows_min")),
}


@pytest.mark.parametrize(("made", "words"), STUDIES.values(), ids=STUDIES)
def test_a_study_that_cannot_be_computed_is_explained(made: Draft, words: tuple[str, ...], tmp_path: Path) -> None:
    code, body = check(made.write(tmp_path / "f"))
    assert code == 2
    assert all(word in body["error"]["text"] for word in words), body["error"]["text"]


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (category("b", "a"), ("'g'", "'b'", "sg-centre-2")),
        (category("a", "b", "c"), ("'g'", "'c'", "sg-centre-2")),
        ({"type": "text"}, ("'g'", "text", "sg-centre-2")),
    ],
)
@pytest.mark.parametrize("command", [("study", "check"), ("policy", "decide"), ("simulate", "--in-process")])
def test_levels_that_differ_name_holder_and_level(
    column: dict[str, Any], words: tuple[str, ...], command: tuple[str, ...], tmp_path: Path
) -> None:
    made = draft({**DESCRIBE, "columns": ["g"]})
    made.dataset("sg-centre-2")["columns"]["g"] = column
    code, body = check(made.write(tmp_path / "f"), command)
    assert code == 2
    assert all(word in body["error"]["text"] for word in words), body["error"]["text"]


def test_units_that_differ_are_named(tmp_path: Path) -> None:
    made = draft()
    made.dataset("sg-centre-2")["columns"]["y"] = number(-10, 10, unit="kg")
    assert "'kg' at sg-centre-2" in check(made.write(tmp_path / "f"))[1]["error"]["text"]


def test_a_column_without_bounds_is_named_with_its_holder(tmp_path: Path) -> None:
    made = draft()
    made.dataset("sz-hospital-2")["columns"]["y"] = {"type": "number"}
    text = check(made.write(tmp_path / "f"))[1]["error"]["text"]
    assert "sz-hospital-2" in text and "'y'" in text and "bounds" in text


def test_a_folder_that_is_not_there() -> None:
    code, body = check(Path("nowhere-at-all"))
    assert code == 2 and "nowhere-at-all" in body["error"]["text"]


def test_a_good_folder_is_good(tmp_path: Path) -> None:
    code, body = check(draft().write(tmp_path / "f"))
    assert code == 0
    assert body["study"] == "unseen" and body["digest"].startswith("sha256:") and len(body["holders"]) == 4


def test_a_date_in_a_condition_needs_no_quotes(tmp_path: Path) -> None:
    digests = set()
    for place, value in enumerate((dt.date(2024, 5, 1), "2024-05-01")):
        made = draft(where=[{"column": "seen", "op": ">=", "value": value}])
        for party, frame in made.frames.items():
            frame["seen"] = "2024-06-01"
            made.dataset(party)["columns"]["seen"] = {"type": "date"}
        digests.add(check(made.write(tmp_path / str(place)))[1]["digest"])
    assert len(digests) == 1


@pytest.mark.parametrize(("value", "code"), [(1, 0), ("1", 0), ([1, 2], 0), (3, 2), (1.0, 2), (True, 2)])
def test_levels_that_are_numbers_may_be_written_as_numbers(value: Any, code: int, tmp_path: Path) -> None:
    made = draft(where=[{"column": "k", "op": "in" if isinstance(value, list) else "=", "value": value}])
    for party, frame in made.frames.items():
        frame["k"] = np.arange(len(frame)) % 2 + 1
        made.dataset(party)["columns"]["k"] = category("1", "2")
    assert check(made.write(tmp_path / "f"))[0] == code
