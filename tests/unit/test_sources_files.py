"""Files that are not what they should be: each named with its column, never with a value."""

from __future__ import annotations

import tempfile
import traceback
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import pytest

from tests.support.datasets import COLUMNS, collect, dataset, describe, prepared, schema, study, write
from xbcompute.core.errors import InputError, IntegrityError, RefusedError
from xbcompute.core.schema import SUBJECT
from xbcompute.node.sources import count_people, open_source, prepare
from xbcompute.node.sources.sql import identifier, kind_of, literal, number

CANARY = "CANARY7431"


def fails(folder: Path, text: str | bytes, *, columns: Any = None, **more: Any) -> InputError:
    (folder / "rows.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError) as caught:
        prepared(folder, dataset("rows.csv", columns, **more), study(describe("time", "stage")))
    shown = "".join(traceback.format_exception(caught.value))
    assert CANARY not in shown
    assert CANARY not in repr(caught.value.__context__)
    assert str(folder) not in caught.value.text
    return caught.value


HEAD = "pid,time,stage\n"


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("", "source.empty", ["rows.csv", "empty"]),
        ("\n", "source.header", ["rows.csv"]),
        (HEAD, "source.no_rows", ["rows.csv"]),
        ("pid;time;stage\n1;2;I\n", "source.delimiter", ["rows.csv", "commas"]),
        ("pid\ttime\tstage\n1\t2\tI\n", "source.delimiter", ["rows.csv"]),
        ("pid,stage\n1,I\n", "source.column", ["rows.csv", "'time'"]),
        ("pid,Time,stage\n1,2,I\n", "source.column", ["'time'"]),
        ("time,stage\n1,I\n", "source.column", ["'pid'"]),
        ("pid,time,time,stage\n1,2,3,I\n", "source.column_twice", ["'time'"]),
        (HEAD + f"1,{CANARY},I\n", "source.value", ["'time'", "number"]),
        (HEAD + "1,1_0,I\n", "source.value", ["'time'"]),
        (HEAD + '1,"1,5",I\n', "source.value", ["'time'"]),
        (HEAD + "1,0x1F,I\n", "source.value", ["'time'"]),
        (HEAD + "1,inf,I\n", "source.infinite", ["'time'"]),
        (HEAD + "1,1e999,I\n", "source.infinite", ["'time'"]),
        (HEAD + "1,100.5,I\n", "source.bounds", ["'time'", "bounds"]),
        (HEAD + "1,-0.001,I\n", "source.bounds", ["'time'"]),
        (HEAD + f"1,2,{CANARY}\n", "source.level", ["'stage'"]),
        (HEAD + "1,2,i\n", "source.level", ["'stage'"]),
        (HEAD + f"{CANARY},2,I\n{CANARY},3,II\n", "source.subject_twice", ["'pid'"]),
        (HEAD + "1,2,I\n,3,II\n", "source.subject_missing", ["'pid'"]),
        (HEAD + f"1,2,I\n2,{CANARY}\n", "source.unreadable", ["line 3"]),
        (HEAD + f"1,2,I,{CANARY}\n", "source.unreadable", ["line 2"]),
        (HEAD + f'1,2,"{CANARY}\n', "source.unreadable", ["rows.csv"]),
    ],
)
def test_csv_faults(tmp_path: Path, text: str, code: str, words: list[str]) -> None:
    error = fails(tmp_path, text)
    assert error.code == code
    for word in words:
        assert word in error.text


def test_bytes_that_are_not_utf8(tmp_path: Path) -> None:
    assert fails(tmp_path, HEAD.encode() + b"1,2,\xff\n").code == "source.encoding"
    late = HEAD.encode() + b"1,2,I\n" * (1 << 18) + b"1,2,\xff\n"
    assert fails(tmp_path, late, rows_max=1 << 20).code == "source.unreadable"
    assert fails(tmp_path, (HEAD + "1,2,I\n").encode("utf-16")).code == "source.encoding"


def test_rows_bounds(tmp_path: Path) -> None:
    text = HEAD + "1,2,I\n2,3,II\n3,4,I\n"
    assert fails(tmp_path, text, rows_max=2).code == "source.rows_max"
    assert fails(tmp_path, text, rows_min=4).code == "source.rows_min"
    good = prepared(tmp_path, dataset("rows.csv", rows_max=3, rows_min=3), study(describe("time", "stage")))
    assert good.n == 3


def test_a_wrong_value_in_a_row_that_where_leaves_out_is_still_wrong(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(HEAD + "1,2,I\n2,-5,II\n")
    question = study(describe("time"), where=[{"column": "stage", "op": "=", "value": "I"}])
    with pytest.raises(InputError, match="outside its declared bounds"):
        prepared(tmp_path, dataset("rows.csv"), question)


def test_a_column_the_study_does_not_use_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(f"pid,time,stage,age\n1,2,I,{CANARY}\n")
    assert prepared(tmp_path, dataset("rows.csv"), study(describe("time", "stage"))).n == 1


def test_bom_crlf_quotes_and_missing_values(tmp_path: Path) -> None:
    lines = ["\ufeffpid,time,stage,note", '"a,1",1.5,I,"x ""y"", z"', "b,,II,", "c,NA,I,", "d,NaN,I,", 'e," 7 ",,']
    text = "\r\n".join([*lines, "f,+2e1,III,", ""])
    (tmp_path / "rows.csv").write_bytes(text.encode())
    got = prepared(tmp_path, dataset("rows.csv"), study(describe("time", "stage")))
    assert (got.n, got.n_dropped, got.n_people) == (2, 4, 2)
    values = collect(got.rows(["time", "stage"]), ["time", "stage"])
    assert values["time"].tolist() == [1.5, 20.0]
    assert values["stage"].tolist() == [0, 2]
    assert values["stage"].dtype == np.int32


def test_na_is_a_level_where_it_is_declared(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("pid,g\n1,NA\n2,x\n3,\n")
    got = prepared(
        tmp_path, dataset("rows.csv", {"g": {"type": "category", "levels": ["x", "NA"]}}), study(describe("g"))
    )
    assert collect(got.rows(["g"]), ["g"])["g"].tolist() == [1, 0]


@pytest.mark.parametrize(
    "name", ["a'b", 'a"b', "a; DROP TABLE base; --", "列 1", "a,b", "[x]", "c0", "$1", "?", "a\nb"]
)
@pytest.mark.parametrize("kind", ["csv", "parquet", "duckdb"])
def test_local_names_of_any_characters(tmp_path: Path, name: str, kind: str) -> None:
    source = write(pd.DataFrame({"pid": ["1", "2"], "first": [9.0, 9.0], name: [3.0, 4.0]}), tmp_path, kind)
    registered = dataset(source, {"time": {"type": "number", "bounds": [0, 10], "from": name}})
    got = prepared(tmp_path, registered, study(describe("time")))
    assert collect(got.rows(["time"]), ["time"])["time"].tolist() == [3.0, 4.0]


@pytest.mark.parametrize("level", ["o'clock", "'); DROP TABLE base; --", 'say "x"', "分期", "\\", "%s"])
def test_levels_of_any_characters(tmp_path: Path, level: str) -> None:
    pd.DataFrame({"pid": [1, 2], "g": ["x", level]}).to_parquet(tmp_path / "rows.parquet")
    registered = dataset("rows.parquet", {"g": {"type": "category", "levels": ["x", level]}})
    question = study(describe("g"), where=[{"column": "g", "op": "=", "value": level}])
    assert collect(prepared(tmp_path, registered, question).rows(["g"]), ["g"])["g"].tolist() == [1]


def test_text_conditions_are_values_not_sql(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("pid,time,note\n1,2,x\n2,3,' OR 1=1 --\n")
    registered = dataset("rows.csv", {**COLUMNS, "note": {"type": "text"}})
    question = study(describe("time"), where=[{"column": "note", "op": "=", "value": "' OR 1=1 --"}])
    got = prepared(tmp_path, registered, question)
    assert collect(got.rows(["time"]), ["time"])["time"].tolist() == [3.0]


@pytest.mark.parametrize("folder", ["with [brackets]", "a=1", "star*", "it's", "中文"])
@pytest.mark.parametrize("kind", ["csv", "parquet", "duckdb"])
def test_paths_of_any_characters(tmp_path: Path, folder: str, kind: str) -> None:
    base = tmp_path / folder
    base.mkdir()
    source = write(pd.DataFrame({"pid": ["1", "2"], "time": [1.0, 2.0]}), base, kind)
    assert prepared(base, dataset(source), study(describe("time"))).n == 2


def test_headers_that_differ_in_case_only(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("pid,time,TIME\n1,2,50\n")
    got = prepared(tmp_path, dataset("rows.csv"), study(describe("time")))
    assert collect(got.rows(["time"]), ["time"])["time"].tolist() == [2.0]


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("postgresql://db.example.org/x", "source.postgres"),
        ("rows.xlsx", "source.kind"),
        ("https://example.org/rows.csv", "source.kind"),
        ("duckdb://rows.duckdb", "source.table"),
        ("duckdb://?table=x", "source.table"),
        ("nowhere.csv", "source.missing"),
        ("duckdb://nowhere.duckdb?table=x", "source.missing"),
        (".", "source.kind"),
    ],
)
def test_sources_that_cannot_be_opened(tmp_path: Path, source: str, code: str) -> None:
    with pytest.raises(InputError) as caught:
        open_source(dataset(source), tmp_path)
    assert caught.value.code == code


def test_files_of_another_kind_than_their_name_says(tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_text(HEAD + f"1,2,{CANARY}\n")
    (tmp_path / "rows.duckdb").write_text(CANARY * 1000)
    for source in ("rows.parquet", "duckdb://rows.duckdb?table=x"):
        with pytest.raises(InputError) as caught:
            open_source(dataset(source), tmp_path)
        assert caught.value.code == "source.unreadable"


def test_the_connection_reaches_no_other_file_and_no_extension(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(HEAD + "1,2,I\n")
    (tmp_path / "other.csv").write_text(HEAD)
    with open_source(dataset("rows.csv"), tmp_path) as source:
        for text in (
            f"SELECT * FROM read_csv('{tmp_path}/other.csv')",
            f"COPY (SELECT 1) TO '{tmp_path}/out.csv'",
            f"ATTACH '{tmp_path}/x.duckdb'",
            "SET enable_external_access = true",
            "INSTALL httpfs",
            "LOAD httpfs",
        ):
            with pytest.raises(duckdb.Error):
                source.connection.execute(text)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other.csv", "rows.csv"]


def test_a_view_in_a_duckdb_file_reaches_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text(HEAD + "1,2,I\n")
    with duckdb.connect(str(tmp_path / "rows.duckdb")) as connection:
        connection.execute(f"CREATE VIEW v AS SELECT * FROM read_csv('{tmp_path}/other.csv')")
    with pytest.raises(InputError) as caught:
        prepared(tmp_path, dataset("duckdb://rows.duckdb?table=v"), study(describe("time")))
    assert caught.value.code == "source.unreadable"


@pytest.mark.parametrize(
    ("values", "code"),
    [
        (pd.Series([True, False]), "source.type"),
        (pd.Series([[1.0], [2.0]]), "source.type"),
        (pd.Series(pd.to_datetime(["2020-01-01", "2020-01-02"])), "source.type"),
        (pd.Series([1.0, np.inf]), "source.infinite"),
        (pd.Series(["1", "x"]), "source.value"),
    ],
)
def test_stored_types_that_are_no_number(tmp_path: Path, values: Any, code: str) -> None:
    pd.DataFrame({"pid": [1, 2], "time": values}).to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(InputError) as caught:
        prepared(tmp_path, dataset("rows.parquet"), study(describe("time")))
    assert caught.value.code == code


def test_subjects_are_not_floats(tmp_path: Path) -> None:
    pd.DataFrame({"pid": [0.1, 0.2], "time": [1.0, 2.0]}).to_parquet(tmp_path / "rows.parquet")
    with pytest.raises(InputError) as caught:
        prepared(tmp_path, dataset("rows.parquet"), study(describe("time")))
    assert caught.value.code == "source.subject_type"


def test_dates_are_days_by_the_clock_at_utc8(tmp_path: Path) -> None:
    zoned = pd.to_datetime(["2020-01-01T18:00:00Z", "2021-06-01T00:00:00Z"])
    pd.DataFrame({"pid": [1, 2], "seen": zoned}).to_parquet(tmp_path / "rows.parquet")
    got = prepared(tmp_path, dataset("rows.parquet"), study(describe("seen")))
    assert collect(got.rows(["seen"]), ["seen"])["seen"][0] == 18263 + 2 / 24
    (tmp_path / "rows.csv").write_text("pid,seen\n1,2020-01-02\n2,2020-01-02 12:00\n3,\n")
    got = prepared(tmp_path, dataset("rows.csv"), study(describe("seen")))
    assert collect(got.rows(["seen"]), ["seen"])["seen"].tolist() == [18263.0, 18263.5]


@pytest.mark.parametrize("text", ["2020-13-01", "01/02/2020", "2020-01-02T00:00:00Z", "infinity", "20200102", "epoch"])
def test_dates_that_are_not_iso(tmp_path: Path, text: str) -> None:
    (tmp_path / "rows.csv").write_text(f"pid,seen\n1,{text}\n")
    with pytest.raises(InputError) as caught:
        prepared(tmp_path, dataset("rows.csv"), study(describe("seen")))
    assert caught.value.code == "source.value"


def test_a_value_outside_all_edges(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("pid,time\n1,0\n2,5\n")
    step = {"name": "band", "of": "time", "fn": "cut", "edges": [0, 10]}
    with pytest.raises(InputError) as caught:
        prepared(tmp_path, dataset("rows.csv"), study(describe("band"), derive=[step]))
    assert caught.value.code == "derive.edges"
    chosen = study(describe("band"), derive=[step], where=[{"column": "time", "op": ">", "value": 0}])
    assert prepared(tmp_path, dataset("rows.csv"), chosen).n == 1


def test_a_file_that_changes_between_passes(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(HEAD + "1,2,I\n2,3,II\n")
    got = prepared(tmp_path, dataset("rows.csv"), study(), budget=1)
    rows = got.rows(["time", "stage"])
    assert collect(rows, ["time"])["time"].tolist() == [2.0, 3.0]
    path.write_text(HEAD + "1,2,I\n2,3,II\n3,999999,I\n")
    with pytest.raises(InputError) as caught:
        list(rows.batches(["time"]))
    assert caught.value.code == "source.changed"


def test_temporary_folder_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rows.csv").write_text(HEAD + "1,2,I\n")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    with open_source(dataset("rows.csv"), tmp_path):
        assert len(list((tmp_path / "tmp").iterdir())) == 1
    assert list((tmp_path / "tmp").iterdir()) == []
    with pytest.raises(InputError):
        open_source(dataset("duckdb://rows.csv?table=x"), tmp_path)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_arrays_are_read_only_and_columns_outside_the_analysis_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("pid,time,stage,age\n1,2,I,30\n")
    got = prepared(tmp_path, dataset("rows.csv"), study(describe("time", "stage"), describe("age", id="b")))
    rows = got.rows(["time"])
    with pytest.raises(ValueError, match="read-only"):
        next(iter(rows.batches(["time"])))["time"][0] = 1.0
    for columns, descending in ((["age"], None), (["time"], "age"), (["time"], SUBJECT), ([], None)):
        with pytest.raises(InputError) as caught:
            list(rows.batches(columns, descending=descending))
        assert caught.value.code == "rows.columns"
    with pytest.raises(InputError, match="'height'"):
        got.rows(["height"])


def test_analyses_whose_populations_differ_by_a_few(tmp_path: Path) -> None:
    lines = [f"{k},{'' if k < 5 else 1},{30 if k < 95 else ''}" for k in range(100)]
    (tmp_path / "rows.csv").write_text("pid,time,age\n" + "\n".join(lines) + "\n")
    question = study(describe("time"), describe("age", id="b"), missing="analysis")
    with pytest.raises(RefusedError) as caught:
        prepared(tmp_path, dataset("rows.csv"), question, cell_min=11)
    assert caught.value.code == "disclosure.populations"
    got = prepared(tmp_path, dataset("rows.csv"), question, cell_min=10)
    first, second = got.rows(["time"]), got.rows(["age"])
    assert (first.n, first.n_dropped, second.n, second.n_dropped, got.n, got.n_dropped) == (95, 5, 95, 5, 100, 0)
    assert collect(first, [SUBJECT])[SUBJECT].tolist() == list(range(5, 100))


def test_people_are_keyed_sorted_distinct_and_of_the_population(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("pid,time\na,1\nb,2\na,3\nc,\nd,90\n")
    registered = dataset("rows.csv", rows_per_subject="many")
    question = study(describe("time"), where=[{"column": "time", "op": "<", "value": 50}])
    got = prepared(tmp_path, registered, question)
    people = got.people(b"k" * 32)
    assert people.dtype == "S16"
    assert people.size == got.n_people == 2
    assert len(people.tobytes()) == 32
    assert (np.sort(people) == people).all()
    assert not set(people.tolist()) & set(got.people(b"K" * 32).tolist())
    assert (got.people(b"k" * 32) == people).all()
    assert count_people(registered, tmp_path, question) == 2


def test_the_schema_must_be_the_one_of_this_registration(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(HEAD + "1,2,I\n")
    other = dataset("rows.csv", {**COLUMNS, "stage": {"type": "category", "levels": ["III", "II", "I"]}})
    with open_source(other, tmp_path) as source, pytest.raises(IntegrityError):
        prepare(source, other, study(), schema(study(), dataset("rows.csv")))


def test_quoting() -> None:
    assert literal("a'b") == "'a''b'"
    assert identifier('a"b') == '"a""b"'
    with pytest.raises(InputError):
        literal("a\x00b")
    assert number(float("inf")) == "'Infinity'::DOUBLE"
    assert number(0.1) == "'0.1'::DOUBLE"
    assert [kind_of(t) for t in ("DECIMAL(18,3)", "ENUM('a')", "INTEGER[]", "TIMESTAMP_NS", "STRUCT(a INTEGER)")] == [
        "number",
        "text",
        "other",
        "moment",
        "other",
    ]
