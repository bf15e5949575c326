"""What the README and the tutorial show as output is what the commands print; references name every field."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.docs.pages import READMES, ROOT, TUTORIALS, command, write_files
from xbcompute.core.errors import BY_EXIT_CODE
from xbcompute.ledger.record import _OPTIONAL, _REQUIRED
from xbcompute.simulate import Simulation

DEMO = ROOT / "examples/biomed/gbsg2"
OUTPUT = re.compile(r"^<!-- output: (.*?) -->\n```text\n(.*?)^```", re.M | re.S)


def form(line: str) -> str:
    """A line without what differs from run to run: digits, lengths of rules and widths of columns."""
    text = re.sub(r"[─═]+", "─", re.sub(r"\s+", " ", line.strip()))
    text = re.sub(r"-?[0-9][0-9,.]*(e[-+]?[0-9]+)?", "0", text)
    return re.sub(r"\b0 (B|KiB|MiB)\b", "0 bytes", text)


def assert_printed(shown: str, printed: str) -> None:
    """Every line shown, but for …, was printed, in this order."""
    real = iter([form(line) for line in printed.splitlines()])
    for line in shown.splitlines():
        if line.strip() not in ("", "…"):
            assert form(line) in real, f"not printed (here): {line}"


def test_the_form_of_a_line_forgets_numbers_only() -> None:
    assert form(" age, by year  0.999  -1e-17 ") == form("age, by year 1.2 3e-5") != form("age, by month 1.2 3e-5")
    with pytest.raises(AssertionError, match="not printed"):
        assert_printed("b\na", "a\nb\n")


def printed(words: str, folder: Path) -> str:
    """What a command prints; simulations run in one process here, which prints the same."""
    done = command(words + (" --in-process" if words.startswith("simulate") else ""), folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.processes
def test_the_readme_shows_what_the_demo_prints(tmp_path: Path) -> None:
    said = printed("demo biomed", tmp_path)
    for page in READMES:
        ((words, shown),) = OUTPUT.findall(page.read_text(encoding="utf-8"))
        assert words == "demo biomed"
        assert_printed(shown, said)


def test_the_tutorial_shows_what_its_commands_print(tmp_path: Path) -> None:
    write_files(TUTORIALS[0], tmp_path)
    english, chinese = (dict(OUTPUT.findall(page.read_text(encoding="utf-8"))) for page in TUTORIALS)
    assert english == chinese
    assert set(english) == {"policy decide readmission", "simulate readmission"}
    for words, shown in english.items():
        assert_printed(shown, printed(words, tmp_path))


def keys(value: Any, *, skip: frozenset[str]) -> set[str]:
    """Names of the fields of an object, at every depth; below ``skip`` names come from the study."""
    if isinstance(value, list):
        return {key for item in value for key in keys(item, skip=skip)}
    if not isinstance(value, dict):
        return set()
    return set(value) | {k for name, item in value.items() if name not in skip for k in keys(item, skip=skip)}


COEFFICIENTS = frozenset(
    ["coef", "se", "z", "t", "p", "ci_lower", "ci_upper", "exp_coef", "exp_ci_lower", "exp_ci_upper"]
)
CURVES = frozenset(["survival", "at_risk", "events", "censored", "median", "quantiles", "levels"])
BY_NAME = frozenset(["by_party", "refused", "results", "ledger", "unmet", "ph_test"])


@pytest.fixture(scope="module")
def run() -> dict[str, Any]:
    with Simulation(DEMO, in_process=True) as federation:
        return federation.run_json()


def test_the_reference_names_every_field_that_comes_back(run: dict[str, Any]) -> None:
    page = (ROOT / "docs/reference/json.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(\w+)`", page))
    found = keys(run, skip=COEFFICIENTS | CURVES | BY_NAME)
    for group in (run["decision"]["by_party"], run["ledger"]):
        for body in group.values():
            found |= keys(body, skip=BY_NAME)
    for result in run["results"].values():
        own = {key: value for key, value in result.items() if key not in ("no", "yes")}  # groups
        found |= keys(own, skip=(CURVES if result["kind"] == "kaplan_meier" else frozenset()) | COEFFICIENTS | BY_NAME)
    found |= keys(run["results"]["baseline"]["no"]["age"], skip=CURVES) | set(run["results"]["km"]["no"])
    assert run["results"]["km"]["no"]["survival"] == run["results"]["km"]["survival"]["no"]
    found |= keys(run["results"]["cox"]["ph_test"]["age"], skip=CURVES)
    assert len(found) > 80
    assert sorted(found - named) == []


def test_every_kind_of_crossing_is_explained(run: dict[str, Any]) -> None:
    page = (ROOT / "docs/explanation/how-a-study-runs.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w.*-]+)`", page))
    for row in run["crossings"]:
        assert {row["kind"], row["kind"].split(".")[0] + ".*"} & named, row["kind"]


def test_every_exit_code_has_its_section() -> None:
    page = (ROOT / "docs/reference/exit-codes.md").read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (\d): .*?\n(.*?)(?=^## |\Z)", page, re.M | re.S))
    assert set(sections) == {"0", "1", *(str(code) for code in BY_EXIT_CODE)}
    for code, kind in BY_EXIT_CODE.items():
        assert f"`{kind.__name__}`" in sections[str(code)]


def test_the_ledger_page_names_every_field() -> None:
    page = (ROOT / "docs/reference/ledger-file.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|$", page, re.M))
    for kind, fields in _REQUIRED.items():
        for field in fields:
            assert f"`{field}`" in rows[kind]
        for field in _OPTIONAL.get(kind, {}):
            assert f"`{field}`?" in rows[kind]
    example = [json.loads(line) for line in (ROOT / "tests/vectors/ledger_v1.jsonl").read_text("utf-8").splitlines()]
    for line in example:
        for name, body in line.items():
            assert name in page
            assert not isinstance(body, dict) or all(f"`{key}`" in page for key in body)


def test_the_counts_in_the_threat_model_are_those_of_the_data() -> None:
    """The Kaplan–Meier round of the demonstration, as a coalition sees it."""

    def cells(*parties: str) -> np.ndarray[Any, Any]:
        rows = pd.concat(pd.read_csv(DEMO / "sites" / party / "gbsg2.csv") for party in parties)
        interval = np.ceil(rows.time / 180).astype(int).to_numpy()
        counts = np.zeros((16, 2, 2), dtype=int)
        np.add.at(counts, (interval, (rows.horTh == "yes").to_numpy(int), rows.cens.to_numpy(int)), 1)
        return counts

    suzhou, singapore = cells("sz-hospital-1", "sz-hospital-2"), cells("sg-centre-1", "sg-centre-2")
    small = [int(((c > 0) & (c < 10)).sum()) for c in (suzhou + singapore, suzhou, singapore)]
    assert ((suzhou + singapore) == 0).sum() == 7 and suzhou.size == 64
    assert (suzhou.sum(), singapore.sum()) == (340, 346)
    assert (small, int((suzhou == 1).sum()), int((singapore == 1).sum())) == ([29, 40, 42], 5, 8)
    for name in ("docs/threat-model.md", "docs/zh/threat-model.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert all(number in re.findall(r"\d+", text) for number in ("64", "29", "42", "40", "8", "5", "346", "340"))


NEVER = re.compile(
    r"compliant|data (?:never|does not) leave[s]?\b|数据不出境|合规|免申报|\bis lawful\b|\bexempt\b", re.I
)


def test_words_that_are_never_used() -> None:
    pages = [*READMES, ROOT / "SECURITY.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")]
    found = [f"{page.name}: {match}" for page in pages for match in NEVER.findall(page.read_text(encoding="utf-8"))]
    assert found == []
