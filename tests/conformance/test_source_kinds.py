"""Every kind of source, in memory and beyond the budget, gives the same rows for the same study."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.support.datasets import collect, dataset, describe, prepared, study, write
from xbcompute.core.schema import SUBJECT
from xbcompute.node.sources import Prepared
from xbcompute.node.sources.rows import BATCH

KINDS = ("csv", "parquet", "duckdb")
N = 500


def frame() -> pd.DataFrame:
    draw = np.random.default_rng(7)  # noqa: TID251
    stage = pd.Series(draw.choice(["I", "II", "III"], N)).where(draw.random(N) > 0.05)
    return pd.DataFrame(
        {
            "pid": [f"p{k // 2}" for k in range(N)],
            "time": pd.Series(draw.integers(0, 40, N) / 4).where(draw.random(N) > 0.05),
            "event": draw.integers(0, 2, N),
            "stage": stage,
            "seen": pd.Timestamp("2021-01-01") + pd.to_timedelta(draw.integers(0, 900, N), unit="D"),
            "age": draw.integers(18, 100, N),
        }
    )


@pytest.fixture(params=[(kind, budget) for kind in KINDS for budget in (1 << 30, 1)], ids=str)
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Prepared:
    kind, budget = request.param
    question = study(
        describe("time", "stage", "seen", "band"),
        where=[{"column": "age", "op": ">=", "value": 30}],
        derive=[{"name": "band", "of": "age", "fn": "cut", "edges": [0, 40, 65, float("inf")]}],
    )
    registered = dataset(write(frame(), tmp_path, kind), rows_per_subject="many")
    got = prepared(tmp_path, registered, question, budget=budget)
    request.addfinalizer(got.close)
    return got


def expected() -> pd.DataFrame:
    rows = frame()
    rows = rows[rows.age >= 30].dropna(subset=["time", "stage"]).reset_index(drop=True)
    rows["band"] = pd.cut(rows.age, [0, 40, 65, np.inf]).cat.codes
    rows["days"] = (rows.seen - pd.Timestamp("1970-01-01")).dt.days.astype(float)
    return rows


USED = ["time", "stage", "seen", "band"]


def test_rows_types_and_counts(made: Prepared) -> None:
    want, rows = expected(), made.rows(USED)
    assert rows.n == made.n == len(want)
    assert rows.n_dropped == made.n_dropped == (frame().age >= 30).sum() - len(want)
    assert made.n_people == want.pid.nunique()
    got = collect(rows, USED)
    assert [got[name].dtype.name for name in USED] == ["float64", "int32", "float64", "int32"]
    assert (got["time"] == want.time.to_numpy()).all()
    assert (got["stage"] == want.stage.map({"I": 0, "II": 1, "III": 2}).to_numpy()).all()
    assert (got["seen"] == want.days.to_numpy()).all()
    assert (got["band"] == want.band.to_numpy()).all()


def test_sorted_rows_are_stable_and_passes_repeat(made: Prepared) -> None:
    rows, want = made.rows(USED), expected()
    order = np.argsort(-want.time.to_numpy(), kind="stable")
    for _ in range(2):
        got = collect(rows, ["seen", "time"], descending="time")
        assert (got["time"] == want.time.to_numpy()[order]).all()
        assert (got["seen"] == want.days.to_numpy()[order]).all()
    by_stage = collect(rows, ["stage"], descending="stage")["stage"]
    assert (np.diff(by_stage) <= 0).all()


def test_subject_codes_tell_subjects_apart(made: Prepared) -> None:
    rows, want = made.rows(USED), expected()
    codes = pd.factorize(want.pid)[0]
    got = collect(rows, [SUBJECT, "time"])
    assert got[SUBJECT].dtype == np.int64
    assert (got[SUBJECT] == codes).all()
    order = np.argsort(-want.time.to_numpy(), kind="stable")
    assert (collect(rows, [SUBJECT], descending="time")[SUBJECT] == codes[order]).all()


def test_people_do_not_depend_on_the_kind(made: Prepared, tmp_path: Path) -> None:
    pd.DataFrame({"pid": expected().pid.unique(), "time": 1.0}).to_csv(tmp_path / "plain.csv", index=False)
    plain = prepared(tmp_path, dataset("plain.csv"), study(describe("time")))
    assert (plain.people(b"key" * 8) == made.people(b"key" * 8)).all()


@pytest.mark.parametrize("budget", [1 << 30, 1])
def test_batches_are_bounded(tmp_path: Path, budget: int) -> None:
    n = 2 * BATCH + 5
    pd.DataFrame({"pid": np.arange(n), "time": np.arange(n) / n}).to_parquet(tmp_path / "rows.parquet")
    got = prepared(tmp_path, dataset("rows.parquet", rows_max=n), study(describe("time")), budget=budget)
    sizes = [batch["time"].size for batch in got.rows(["time"]).batches(["time"])]
    assert sum(sizes) == n
    assert max(sizes) <= BATCH
    ends = [batch[SUBJECT][-1] for batch in got.rows(["time"]).batches([SUBJECT], descending="time")]
    assert ends[-1] == 0
    got.close()


def test_no_row_left_is_no_error(made: Prepared, tmp_path: Path) -> None:
    pd.DataFrame({"pid": [1], "time": [1.0]}).to_csv(tmp_path / "one.csv", index=False)
    question = study(describe("time"), where=[{"column": "time", "op": ">", "value": 50}])
    got = prepared(tmp_path, dataset("one.csv"), question)
    assert (got.n, got.n_people, got.n_dropped) == (0, 0, 0)
    assert list(got.rows(["time"]).batches(["time"])) == []
    assert got.people(b"k").size == 0
