"""Commands for a holder's data before it is registered."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from xbcompute.cli.output import JsonFlag, ending, print_json

data = typer.Typer(help="A holder's data before it is registered.", no_args_is_help=True)


@data.command("profile")
def data_profile(
    file: Annotated[Path, typer.Argument(help="A .csv or .parquet file.")],
    industry: Annotated[Literal["biomed", "aviation"], typer.Option(help="Whose rows apply.")] = "biomed",
    as_json: JsonFlag = False,
) -> None:
    """Propose a grade for each column, with reasons; a person confirms, and what is not recognised stays refused."""
    from rich.table import Table as Grid
    from rich.text import Text

    from xbcompute.cli.render import make_console
    from xbcompute.node.sources.profile import profile, site_lines

    with ending(as_json):
        found = profile(file, industry)
        if as_json:
            print_json({"file": file.name, **found.plain()})
            return
        out = make_console()
        table = Grid.grid(padding=(0, 2))
        for column in found.columns:
            grade = "unknown" if column.grade is None else column.grade.value
            why = "\n".join(f"{reason.en}\n{reason.zh}" for reason in column.reasons)
            table.add_row(Text(column.name, style="bold"), grade, column.pi, ", ".join(column.tags) or "–", Text(why))
        out.print(f"{file.name}: {found.rows} rows, {len(found.columns)} columns", markup=False)
        out.print(table)
        out.print("\n" + "\n".join(site_lines(found)), markup=False)


def add_to(app: typer.Typer) -> None:
    """Add the group to the command line."""
    app.add_typer(data, name="data")
