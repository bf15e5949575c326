"""How the command line shows a decision, results, what crossed, and the ledgers; readable at 80 to 120 columns."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Mapping
from typing import IO, Any, Final

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table as Grid
from rich.text import Text

from xbcompute.client.result import Result
from xbcompute.client.results import Decision, Run

WIDTH_MIN: Final = 80
WIDTH_MAX: Final = 120
VERDICT_STYLES: Final = {"PERMIT": "green", "PERMIT_WITH_CONDITIONS": "green", "HOLD": "yellow", "DENY": "red"}
MARKS: Final = {
    "V": "read in the instrument",
    "V2": "read in a secondary source",
    "M": "from memory",
    "D": "project rule",
}


def make_console(*, stderr: bool = False, file: IO[str] | None = None) -> Console:
    """A console of 80 to 120 columns; without a terminal it writes no colour codes."""
    width = min(max(shutil.get_terminal_size((100, 24)).columns, WIDTH_MIN), WIDTH_MAX)
    return Console(stderr=stderr, file=file, width=width, highlight=False, soft_wrap=False)


def heading(text: str) -> Text:
    """A section's heading."""
    return Text(f"\n{text}", style="bold")


def decision_view(body: Mapping[str, Any]) -> RenderableType:
    """The verdict with its limits, each reason in English and Chinese with its mark, and the citations."""
    decision = body if isinstance(body, Decision) else Decision(body)
    facts = Grid.grid(padding=(0, 2))
    for name, text in decision.facts()[1:]:
        facts.add_row(Text(name, style="dim"), Text(text))
    parts: list[RenderableType] = [facts]
    reasons = Grid.grid(padding=(0, 2))
    reasons.add_column(no_wrap=True)
    reasons.add_column(overflow="fold")
    for reason in decision.get("reasons", ()):
        mark = f" [{reason['mark']}]" if reason.get("mark") else ""
        reasons.add_row(Text(str(reason["rule"]), style="bold"), Text(f"{reason['en']}{mark}\n{reason['zh']}"))
    if decision.get("reasons"):
        parts += [Text(), reasons]
    if decision.get("citations"):
        parts += [Text(), Text(f"Cited: {'; '.join(decision['citations'])}", style="dim")]
    used = dict.fromkeys(str(reason.get("mark", "")) for reason in decision.get("reasons", ()))
    marks = "; ".join(f"[{mark}] {MARKS[mark]}" for mark in MARKS if mark in used)
    parts.append(Text(f"{marks + '. ' if marks else ''}The outcome of rule packs, not legal advice.", style="dim"))
    style = VERDICT_STYLES.get(decision.verdict, "red")
    title = Text(f" {decision.verdict} ", style=f"bold {style}")
    return Panel(Group(*parts), title=title, title_align="left", box=box.ROUNDED, border_style=style, padding=(0, 1))


def result_view(result: Result, width: int) -> RenderableType:
    """One result: its summary table, tests, and what was suppressed."""
    text = Text(result.heading(), style="bold").append("\n")
    text.append(result.summary.to_text(width - 2), style="not bold")
    for line in [*result.details(), *result.footer()]:
        for part in textwrap.wrap(line, width - 2):
            text.append(f"\n{part}", style="not bold dim")
    return Group(*(Text("  ").append(line) for line in text.split()), Text())


def results_view(run: Run, width: int) -> RenderableType:
    """Every result of a run, in the order of the study."""
    return Group(*(result_view(result, width) for result in run.values()))


def size_text(count: int) -> str:
    """Bytes as people read them: ``812 B``, ``17.3 KiB``, ``2.1 MiB``."""
    for unit, step in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= step:
            return f"{count / step:,.1f} {unit}"
    return f"{count} B"


def data_table(*columns: tuple[str, str]) -> Grid:
    """An empty table; each column with the side it is written from."""
    table = Grid(box=box.SIMPLE_HEAD, padding=(0, 1), show_edge=False, header_style="bold", collapse_padding=True)
    for name, side in columns:
        table.add_column(name, justify="right" if side == "right" else "left", overflow="fold", no_wrap=True)
    return table


def crossings_view(run: Run) -> RenderableType:
    """What left, by kind with its grade, and how much from whom to whom."""
    rows = list(run.crossings)
    kinds = data_table(
        ("what left", "left"), ("grade", "left"), ("pairs", "right"), ("frames", "right"), ("bytes", "right")
    )
    for kind, grade in dict.fromkeys((str(row["kind"]), str(row["grade"])) for row in rows):
        same = [row for row in rows if (row["kind"], row["grade"]) == (kind, grade)]
        pairs = len({(row["from"], row["to"]) for row in same})
        size = size_text(_sum(same, "bytes")) if _sum(same, "bytes") else "within the above"
        kinds.add_row(kind, grade, str(pairs), f"{_sum(same, 'frames'):,}", size)
    parties = list(dict.fromkeys(str(row[end]) for end in ("from", "to") for row in rows))
    numbers = {party: str(number) for number, party in enumerate(parties, 1)}
    matrix = data_table(
        ("from \\ to", "left"), *((f"→ {numbers[party]}", "right") for party in parties), ("in all", "right")
    )
    for sender in parties:
        sent = [row for row in rows if row["from"] == sender]
        cells = [_sum((row for row in sent if row["to"] == receiver), "bytes") for receiver in parties]
        shown = (size_text(cell) if cell else "–" for cell in cells)
        matrix.add_row(f"{numbers[sender]} {sender}", *shown, size_text(sum(cells)))
    return Group(kinds, Text(), matrix)


def _sum(rows: Iterable[Mapping[str, Any]], name: str) -> int:
    return sum(int(row[name]) for row in rows)


def ledger_view(run: Run) -> RenderableType:
    """A line a party: records, root, whether the file verified offline."""
    table = data_table(("ledger of", "left"), ("records", "right"), ("root", "left"), ("verified", "left"))
    for party, size in run.ledger["size"].items():
        good = run.ledger["verified"][party] == "yes"
        root = str(run.ledger["root"][party])
        shown = root if len(root) <= 20 else f"{root[:16]}…"
        mark = Text("yes", style="green") if good else Text("NO", style="bold red")
        table.add_row(party, str(size), shown, mark)
    return table


def run_view(run: Run, width: int) -> RenderableType:
    """A whole run: decision, results, privacy, crossings, ledgers, timing."""
    statement = str(run.privacy.get("statement", ""))
    return Group(
        decision_view(run.decision),
        heading("Results"),
        results_view(run, width),
        Text(f"  Privacy: {statement}.", style="dim"),
        heading("What crossed"),
        crossings_view(run),
        heading("Ledgers"),
        ledger_view(run),
        Text(f"\n{timing_text(run)}", style="dim"),
    )


def timing_text(run: Run) -> str:
    """Seconds and rounds in one line."""
    timing = run.timing
    parts = [
        f"{name.removesuffix('_s').replace('_', ' ')} {value:.2f} s"
        for name, value in timing.items()
        if name != "rounds"
    ]
    return f"{', '.join(parts)}; {timing.get('rounds', 0)} rounds."


def error_view(code: str, text: str, todo: str) -> RenderableType:
    """An error as the command line ends with: what was wrong, what to do next, its code."""
    line = Text("✗ ", style="bold red")
    line.append(text, style="bold")
    parts: list[RenderableType] = [line]
    if todo:
        parts.append(Text(f"  {todo}"))
    parts.append(Text(f"  ({code})", style="dim"))
    return Group(*parts)
