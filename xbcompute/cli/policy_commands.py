"""Commands about the rules: the whole table, what a change changes, open cells, and what would make it yes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from xbcompute.cli.output import JsonFlag, ending

Packs = Annotated[list[str] | None, typer.Argument(help="Pack ids, or paths of pack files; none: every shipped pack.")]
Lang = Annotated[Literal["en", "zh"], typer.Option(help="Language.")]


def policy_table(packs: Packs = None, lang: Lang = "en", as_json: JsonFlag = False) -> None:
    """The whole decision table as the packs state it, with citations and marks."""
    from xbcompute.cli.rules import show_table

    with ending(as_json):
        show_table(packs or [], lang=lang, as_json=as_json)


def policy_diff(
    before: Annotated[str, typer.Argument(help="The pack as it is: an id or a file.")],
    after: Annotated[str, typer.Argument(help="The pack as it would be: a file with the same id.")],
    corpus: Annotated[
        Path | None, typer.Option(help="A folder in which every study folder is a past application.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """What a change of a pack changes: its rules, and the decisions on past applications."""
    from xbcompute.cli.rules import show_difference

    with ending(as_json):
        show_difference(before, after, corpus=corpus, as_json=as_json)


def policy_check(packs: Packs = None, as_json: JsonFlag = False) -> None:
    """Cells no row answers (they are refused) and cells whose rows can never be met together, by enumeration."""
    from xbcompute.cli.rules import show_survey

    with ending(as_json):
        show_survey(packs or [], as_json=as_json)


def policy_yes(
    folder: Annotated[Path, typer.Argument(help="A study folder.")], lang: Lang = "en", as_json: JsonFlag = False
) -> None:
    """The smallest changes that turn a HOLD or a DENY into a permit, or that none was found. Exit 0, else 3 or 4."""
    from xbcompute.cli.rules import show_remedies

    with ending(as_json):
        raise typer.Exit(show_remedies(folder, lang=lang, as_json=as_json))


def add_to(policy: typer.Typer) -> None:
    """Add these commands to the command line's policy group."""
    policy.command("table")(policy_table)
    policy.command("diff")(policy_diff)
    policy.command("check")(policy_check)
    policy.command("yes")(policy_yes)
