"""All commands. Every one has ``--json``.

Exit codes: 0 done, 2 usage or input, 3 refused by policy, 4 held, 5 peer or channel failure, 6 integrity failure.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from xbcompute.cli import data_commands, operating, policy_commands
from xbcompute.cli.output import JsonFlag, ending, print_json

app = typer.Typer(
    name="xbcompute",
    help="One joint answer from data in two jurisdictions that no party hands over.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
policy = typer.Typer(help="What policy says of a study, and why.", no_args_is_help=True)
study = typer.Typer(help="Study files.", no_args_is_help=True)
ledger = typer.Typer(help="The signed record of what was decided and what crossed.", no_args_is_help=True)
app.add_typer(policy, name="policy")
app.add_typer(study, name="study")
app.add_typer(ledger, name="ledger")

SchemaFile = Literal["study", "federation", "site", "pack", "card"]
Folder = Annotated[Path, typer.Argument(help="A study folder: study.toml, federation.toml, sites/.")]


@app.callback()
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version and leave.")] = False) -> None:
    if version:
        from xbcompute import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.command()
def simulate(
    folder: Folder,
    as_json: JsonFlag = False,
    in_process: Annotated[
        bool, typer.Option("--in-process", help="One process for all parties: fast, no TLS, no isolation.")
    ] = False,
) -> None:
    """Run a study over one real node a party on this machine, with throwaway keys and mutual TLS."""
    from xbcompute.cli.simulating import simulate_folder

    known: dict[str, Any] = {}
    with ending(as_json, lambda: known):
        simulate_folder(folder, as_json=as_json, in_process=in_process, known=known)


@app.command()
def demo(
    name: Annotated[
        Literal["biomed", "grades"],
        typer.Argument(help="biomed: four hospitals compute. grades: what policy answers to six grades of data."),
    ] = "biomed",
    out: Annotated[Path, typer.Option(help="Where the figure goes.")] = Path("figure.png"),
    as_json: JsonFlag = False,
) -> None:
    """Four hospitals, one joint answer: decision, progress, estimates beside the pooled truth, what crossed."""
    with ending(as_json):
        if name == "grades":
            from xbcompute.cli.grades import show_grades

            show_grades(as_json=as_json)
            return
        from xbcompute.cli.demo import run_demo

        run_demo(name, out=out, as_json=as_json)


@app.command()
def selftest(as_json: JsonFlag = False) -> None:
    """Replay every protocol's test vectors, good and bad, on this machine."""
    from xbcompute.cli.checks import run_selftest

    with ending(as_json):
        run_selftest(as_json=as_json)


@policy.command("decide")
def policy_decide(folder: Folder, as_json: JsonFlag = False) -> None:
    """The decision on a study folder, as JSON or a short view; starts nothing. Exit 0, 3 (refused) or 4 (held)."""
    from xbcompute.cli.deciding import decide

    with ending(as_json):
        raise typer.Exit(decide(folder, as_json=as_json))


@policy.command("explain")
def policy_explain(
    folder: Folder,
    as_json: JsonFlag = False,
    lang: Annotated[Literal["en", "zh", "both"], typer.Option(help="Language.")] = "both",
    rtt_ms: Annotated[float | None, typer.Option(min=0, help="Measured round trip, for the estimate of time.")] = None,
    goodput_mbit: Annotated[float | None, typer.Option(min=0.001, help="Measured goodput, with --rtt-ms.")] = None,
) -> None:
    """The decision as a page a lawyer can read, in 中文 and English, with estimated rounds, bytes and time."""
    from xbcompute.cli.deciding import explain

    with ending(as_json):
        raise typer.Exit(explain(folder, as_json=as_json, lang=lang, rtt_ms=rtt_ms, goodput_mbit=goodput_mbit))


@study.command("check")
def study_check(folder: Folder, as_json: JsonFlag = False) -> None:
    """Read and cross-check a study folder, data included; says what is wrong where."""
    from xbcompute.cli.checks import check_folder

    with ending(as_json):
        check_folder(folder, as_json=as_json)


@study.command("schema")
def study_schema(
    file: Annotated[SchemaFile, typer.Argument(help="Which file.")] = "study",
    as_json: JsonFlag = True,
) -> None:
    """The JSON Schema of a file, for editors; always JSON."""
    from xbcompute.cli.checks import json_schema

    with ending(as_json):
        print_json(json_schema(file))


@ledger.command("verify")
def ledger_verify(
    file: Annotated[Path, typer.Argument(help="A ledger file, as a node exports it.")],
    key: Annotated[
        list[str], typer.Option("--key", help="PARTY=ed25519:… as federation.toml pins it; repeatable.")
    ] = [],  # noqa: B006
    as_json: JsonFlag = False,
) -> None:
    """Verify a ledger file offline with public keys only; names the first thing that is wrong (exit 6)."""
    from xbcompute.cli.checks import verify_ledger

    with ending(as_json):
        verify_ledger(file, key or [], as_json=as_json)


operating.add_to(app, policy=policy, study=study)
policy_commands.add_to(policy)
data_commands.add_to(app)
