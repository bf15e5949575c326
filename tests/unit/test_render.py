"""What the command line prints: complete, within its width, and without colour codes where there is no terminal."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from xbcompute.cli.render import (
    crossings_view,
    decision_view,
    error_view,
    ledger_view,
    make_console,
    run_view,
    size_text,
)
from xbcompute.client.progress import ProgressView
from xbcompute.client.results import Run

SAMPLE = Path(__file__).parent / "data" / "gbsg2_run.json"


@pytest.fixture
def body() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(SAMPLE.read_text(encoding="utf-8"))
    return loaded


def printed(view: Any, width: int = 100) -> str:
    file = io.StringIO()
    Console(file=file, width=width, highlight=False).print(view)
    return file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 120])
def test_a_whole_run_fits_its_width_without_colour_codes(body: dict[str, Any], width: int) -> None:
    text = printed(run_view(Run(body), width), width)
    assert "\x1b" not in text
    assert max(cell_len(line) for line in text.splitlines()) <= width


@pytest.mark.parametrize("width", [80, 120])
def test_reasons_are_whole_in_both_languages(body: dict[str, Any], width: int) -> None:
    text = printed(decision_view(body["decision"]), width)
    joined = "".join(line.strip("│ ") for line in text.splitlines())
    for reason in body["decision"]["reasons"]:
        assert reason["zh"] in joined
        assert reason["en"].replace(" ", "") in joined.replace(" ", "")
    assert "…" not in text
    assert "PERMIT_WITH_CONDITIONS" in text
    assert "PIPL 38" in text
    assert "not legal advice" in text


def test_a_refusal_shows_what_is_missing(body: dict[str, Any]) -> None:
    held = {**body["decision"], "verdict": "HOLD", "required_evidence": ["SC_FILING"], "required_roles": ["DPO"]}
    text = printed(decision_view(held))
    assert "HOLD" in text
    assert "SC_FILING" in text
    assert "DPO" in text


def test_markup_in_a_reason_is_printed_as_it_is(body: dict[str, Any]) -> None:
    odd = {**body["decision"], "reasons": [{"rule": "X", "zh": "[red]字[/red]", "en": "[bold]x[/bold]", "mark": "D"}]}
    text = printed(decision_view(odd))
    assert "[red]字[/red]" in text
    assert "[bold]x[/bold]" in text


def test_crossings_are_summed_by_kind_and_by_pair(body: dict[str, Any]) -> None:
    text = printed(crossings_view(Run(body)))
    masked = next(line for line in text.splitlines() if line.split()[:1] == ["masked"])
    assert masked.split()[:4] == ["masked", "G5", "12", "120"]
    opened = next(line for line in text.splitlines() if line.split()[:1] == ["opened-total"])
    assert opened.split()[:4] == ["opened-total", "G5", "12", "0"]
    assert "within the above" in opened
    sent = sum(row["bytes"] for row in body["crossings"] if row["from"] == "sg-centre-2")
    line = next(line for line in text.splitlines() if "sg-centre-2" in line)
    assert line.split()[-2:] == size_text(sent).split()


def test_a_ledger_that_does_not_verify_is_told_apart(body: dict[str, Any]) -> None:
    body["ledger"]["sg-centre-1"]["verified"] = False
    lines = [line.split() for line in printed(ledger_view(Run(body))).splitlines()]
    assert {line[0]: line[-1] for line in lines if line and line[0] in body["ledger"]} == {
        "sz-hospital-1": "yes",
        "sz-hospital-2": "yes",
        "sg-centre-1": "NO",
        "sg-centre-2": "yes",
    }


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1 << 20, "1.0 MiB"), (3 << 30, "3,072.0 MiB")]
)
def test_sizes(count: int, text: str) -> None:
    assert size_text(count) == text


def test_an_error_says_what_to_do() -> None:
    assert printed(error_view("file.toml", "study.toml: not valid.", "Correct it.")).split("\n")[:3] == [
        "✗ study.toml: not valid.",
        "  Correct it.",
        "  (file.toml)",
    ]


@pytest.mark.parametrize(("columns", "width"), [("40", 80), ("97", 97), ("400", 120)])
def test_the_console_keeps_to_80_to_120_columns(monkeypatch: pytest.MonkeyPatch, columns: str, width: int) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert make_console().width == width


def watch(view: ProgressView, end: str) -> None:
    for state in ("proposed", "agreed", "keyed"):
        view({"state": state, "session": "s", "party": "p"})
    for analysis, rounds in (("km", [1]), ("cox", range(2, 8))):
        for number in rounds:
            view({"state": "running", "analysis": analysis, "round": number})
    for state in ("checking", end):
        view({"state": state, "session": "s", "party": "p"})


def test_progress_is_one_line_a_step_without_a_terminal() -> None:
    file = io.StringIO()
    with ProgressView(Console(file=file, width=80)) as view:
        watch(view, "closed")
    assert [line.strip() for line in file.getvalue().splitlines()] == [
        "proposed",
        "agreed",
        "keyed",
        "running",
        "km: 1 round",
        "cox: 6 rounds",
        "checking",
        "closed",
    ]


@pytest.mark.parametrize(("end", "mark"), [("closed", "✓"), ("interrupted", "✗")])
def test_progress_on_a_terminal_ends_with_every_step(end: str, mark: str) -> None:
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=True, color_system=None, legacy_windows=False)
    with ProgressView(console) as view:
        watch(view, end)
    last = file.getvalue().rsplit("\x1b[2K", 1)[-1]
    assert mark in file.getvalue()
    assert "6 rounds" in file.getvalue()
    assert ("interrupted" in last) == (end == "interrupted")


def test_an_error_leaves_the_terminal_usable() -> None:
    file = io.StringIO()
    console = Console(file=file, width=80, force_terminal=True, legacy_windows=False)
    with pytest.raises(ValueError, match="broken"), ProgressView(console) as view:
        view({"state": "running", "analysis": "km", "round": 1})
        raise ValueError("broken")
    assert file.getvalue().rstrip("\n").endswith("\x1b[?25h")
