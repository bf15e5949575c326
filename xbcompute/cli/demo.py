"""``xbcompute demo biomed``: four hospitals, one joint answer, beside what pooling all rows would have given."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from xbcompute.cli.output import print_json
from xbcompute.cli.pooled import Pooled, PooledGbsg2
from xbcompute.cli.render import (
    crossings_view,
    data_table,
    decision_view,
    heading,
    ledger_view,
    make_console,
    timing_text,
)
from xbcompute.client.kinds import CoxModel, KaplanMeier
from xbcompute.client.progress import ProgressView
from xbcompute.client.results import Run
from xbcompute.client.table import format_p
from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.simulate import Simulation
from xbcompute.specs.load import load_folder

LABELS = {
    "no": "no hormone therapy",
    "yes": "hormone therapy",
    "horTh[T.yes]": "hormone therapy, at age 0",
    "age": "age, by year",
    "tsize": "tumour size, by mm",
    "tgrade[T.II]": "grade II to I",
    "tgrade[T.III]": "grade III to I",
    "log_nodes": "log(1 + positive nodes)",
    "age:horTh[T.yes]": "age × hormone therapy",
}


def demo_folder(name: str) -> Path:
    """The study folder of a demonstration: inside an installed wheel, or in the checkout of an editable install."""
    package = Path(__file__).parents[1]
    places = {"biomed": "examples/biomed/gbsg2"}
    for root in (package / "_shipped", package.parent):
        if (root / places[name] / "study.toml").is_file():
            return root / places[name]
    raise InputError("demo.folder", f"the study folder of the demonstration '{name}' is not installed.")


def run_demo(name: str, *, out: Path, as_json: bool) -> None:
    """Decide, run, compare, draw, and list what crossed.

    Raises:
        XbError: what the study ended with. IntegrityError: a ledger did not verify.
    """
    path = demo_folder(name)
    console = make_console(file=None) if not as_json else Console(quiet=True)
    console.print(
        Text("Four hospitals, two in Suzhou and two in Singapore: one process each, throwaway keys, mutual TLS.")
    )
    console.print(Text("Public GBSG2 trial data, pretended to be patients' records at level 4.", style="dim"))
    # lifelines takes seconds to load and needs no node: it loads while the nodes start.
    with ThreadPoolExecutor(1) as beside:
        pooled = beside.submit(PooledGbsg2, load_folder(path))
        with Simulation(path) as federation:
            decision = federation.explain()
            console.print(heading("What policy says"))
            console.print(decision_view(decision))
            console.print(heading("The run"))
            with ProgressView(console) as progress:
                run = federation.run(progress=progress)
        truth, missing = _truth(pooled, run)
    console.print(heading("The joint answer beside the pooled truth"))
    console.print(Text(missing, style="yellow") if truth is None else comparison(run, truth))
    figure, unfinished = _figure(run, truth, out)
    console.print(Text(unfinished, style="yellow") if figure is None else Text(f"Figure: {figure}"))
    console.print(heading("What crossed between the hospitals"))
    console.print(crossings_view(run))
    console.print(heading("The ledgers, each verified offline from its exported file"))
    console.print(ledger_view(run))
    console.print(Text(f"\nPrivacy: {run.privacy.get('statement', '')}. {timing_text(run)}", style="dim"))
    if as_json:
        shown = {"figure": None if figure is None else str(figure), "truth": None if truth is None else truth.body()}
        print_json({**run.to_dict(), **shown})
    if not run.verified:
        raise IntegrityError("demo.ledger", "a ledger did not verify.", todo="See the list of ledgers.")


def _truth(pooled: Future[PooledGbsg2], run: Run) -> tuple[Pooled | None, str]:
    try:
        return pooled.result().at(run["km"].time), ""
    except InputError as error:
        if error.code != "extra.examples":
            raise
        return None, f"Without comparison: {error.text} {error.todo}"


def _figure(run: Run, truth: Pooled | None, out: Path) -> tuple[Path | None, str]:
    from xbcompute.client import plots

    note = "Dotted: all rows pooled, exact days; merging holds curves up where intervals are long."
    try:
        drawn = plots.figure(
            run,
            title="Recurrence-free survival in GBSG2, from four hospitals jointly",
            labels=LABELS,
            time_label="days",
            survival_label="recurrence-free survival",
            reference=None if truth is None else truth.curves,
            note="" if truth is None else note,
        )
    except InputError as error:
        if error.code != "extra.plots":
            raise
        return None, f"Without figure: {error.text} {error.todo}"
    drawn.savefig(out, dpi=150)
    return out, ""


def comparison(run: Run, truth: Pooled) -> RenderableType:
    """Survival, log-rank and Cox coefficients: joint, pooled, difference."""
    km, cox = run["km"], run["cox"]
    assert isinstance(km, KaplanMeier)
    assert isinstance(cox, CoxModel)
    text = "Pooled: lifelines on all rows in one table, which no hospital could make; Cox with a stratum a hospital."
    return Group(_survival_table(km, truth), Text(), _cox_table(cox, truth), Text(), Text(text, style="dim"))


def _survival_table(km: KaplanMeier, truth: Pooled) -> Grid:
    table = data_table(
        ("Kaplan–Meier", "left"),
        ("to day", "right"),
        ("at risk", "right"),
        ("events", "right"),
        ("joint", "right"),
        ("pooled", "right"),
        ("diff", "right"),
    )
    for group in km.groups:
        for place, row in enumerate(km.curve(group)):
            pooled = truth.survival[group][place]
            label = LABELS[group] if place == 0 else ""
            counts = [f"{row['time']:g}", str(row["at_risk"]), str(row["events"])]
            table.add_row(label, *counts, *_pair(row["survival"], pooled, 4))
    table.add_row("log-rank χ²", "", "", "", *_pair(km.logrank["statistic"], truth.logrank, 4))
    table.add_row("log-rank p", "", "", "", *_pair(km.logrank["p"], truth.logrank_p, 4))
    return table


def _cox_table(cox: CoxModel, truth: Pooled) -> Grid:
    table = data_table(
        ("Cox model", "left"),
        ("ratio", "right"),
        ("p", "right"),
        ("coef", "right"),
        ("pooled", "right"),
        ("diff", "right"),
        ("se diff", "right"),
    )
    for name in cox.names:
        pair = _pair(cox.coef[name], truth.coef[name], 4)
        ratio, p = f"{cox.exp_coef[name]:.3f}", format_p(cox.p[name])
        table.add_row(LABELS[name], ratio, p, *pair, difference_text(cox.se[name] - truth.se[name]))
    return table


def _pair(joint: Any, pooled: float, digits: int) -> tuple[str, str, str]:
    if not isinstance(joint, (int, float)):
        return str(joint), f"{pooled:.{digits}f}", "–"
    return f"{joint:.{digits}f}", f"{pooled:.{digits}f}", difference_text(joint - pooled)


def difference_text(value: float) -> str:
    """``0`` or one significant digit."""
    return "0" if value == 0 else f"{value:.0e}"
