"""The demo's study folder: complete, within its declared bounds, and unsuppressed under its own limits."""

from __future__ import annotations

import csv
import importlib.util
import tomllib
from collections import Counter
from itertools import combinations
from math import ceil
from pathlib import Path

import pytest
from lifelines.datasets import load_gbsg2

from xbcompute.core.parties import PartyId
from xbcompute.specs.load import StudyFolder, load_folder

ROOT = Path(__file__).parents[2] / "examples" / "biomed"
CELL_MIN = 10


@pytest.fixture(scope="module")
def folder() -> StudyFolder:
    return load_folder(ROOT / "gbsg2")


def rows_of(folder: StudyFolder, party: PartyId) -> list[dict[str, str]]:
    with (folder.site_dirs[party] / folder.dataset(party).source).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def all_rows(folder: StudyFolder) -> list[dict[str, str]]:
    return [row for holder in folder.federation.holders() for row in rows_of(folder, holder.id)]


def test_the_four_files_together_are_the_published_data(folder: StudyFolder) -> None:
    columns = [name for name in all_rows(folder)[0] if name != "pid"]
    ours = Counter(tuple(row[name] for name in columns) for row in all_rows(folder))
    published = Counter(tuple(str(row[name]) for name in columns) for row in load_gbsg2().to_dict("records"))
    assert ours == published
    assert sum(ours.values()) == 686


def test_the_script_writes_the_files_that_are_there(folder: StudyFolder) -> None:
    spec = importlib.util.spec_from_file_location("make_gbsg2", ROOT / "make_gbsg2.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for party, rows in module.split().items():
        assert rows == [list(row.values()) for row in rows_of(folder, party)]


def test_every_row_fits_what_the_holder_declared(folder: StudyFolder) -> None:
    for holder in folder.federation.holders():
        dataset = folder.dataset(holder.id)
        rows = rows_of(folder, holder.id)
        assert dataset.rows_min is not None
        assert dataset.rows_min <= len(rows) <= dataset.rows_max
        assert len({row[dataset.subjects] for row in rows}) == len(rows)
        for name, column in dataset.columns.items():
            values = [row[name] for row in rows]
            if column.type == "category":
                assert set(values) <= set(column.levels)
            else:
                assert column.bounds is not None
                low, high = column.bounds
                assert all(low <= float(value) <= high for value in values)  # type: ignore[operator]


def test_columns_and_grades_agree_between_holders(folder: StudyFolder) -> None:
    first, *others = (folder.dataset(holder.id) for holder in folder.federation.holders())
    for other in others:
        assert other.columns == first.columns
        assert other.health_level == first.health_level == 4


def test_each_site_says_pooled_and_names_every_other_holder(folder: StudyFolder) -> None:
    holders = {holder.id for holder in folder.federation.holders()}
    assert len(holders) == 4
    for holder in holders:
        assert folder.sites[holder].site.cell_scope == "pooled"
        consent = folder.dataset(holder).consent
        assert consent is not None
        assert consent.export
        assert set(consent.recipients) == holders - {holder}


def test_the_site_files_say_that_level_4_is_pretended() -> None:
    files = sorted((ROOT / "gbsg2" / "sites").glob("*/site.toml"))
    assert len(files) == 4
    for file in files:
        assert "pretend" in file.read_text(encoding="utf-8")
        assert tomllib.loads(file.read_text(encoding="utf-8"))["dataset"][0]["health_level"] == 4


def merged_times(rows: list[dict[str, str]], unit: int) -> list[int]:
    """Ends of the intervals, merged until each curve has events and leavers enough; a remainder joins the last."""
    steps = sorted({ceil(int(row["time"]) / unit) for row in rows})
    ends: list[int] = []
    cells: Counter[tuple[str, str]] = Counter()
    for step in steps:
        cells.update((row["horTh"], row["cens"]) for row in rows if ceil(int(row["time"]) / unit) == step)
        if all(cells[by, "1"] >= CELL_MIN and cells[by, "0"] in (0, *range(CELL_MIN, 687)) for by in ("no", "yes")):
            ends.append(step * unit)
            cells.clear()
    if cells:
        ends[-1] = steps[-1] * unit
    return ends


def test_no_cell_of_the_study_is_below_the_minimum(folder: StudyFolder) -> None:
    rows = all_rows(folder)
    ends = merged_times(rows, 180)
    assert ends == [360, 900, 1260, 1620, 2700]
    for start, end in zip([0, *ends], ends, strict=False):
        cells = Counter((row["horTh"], row["cens"]) for row in rows if start < int(row["time"]) <= end)
        assert min(cells.values()) >= CELL_MIN
    for one, other in combinations(("horTh", "tgrade", "cens"), 2):
        assert min(Counter((row[one], row[other]) for row in rows).values()) >= CELL_MIN
