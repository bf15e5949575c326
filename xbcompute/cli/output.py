"""How every command speaks and ends: JSON on request, errors with a code and what to do next, stable exit codes."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from xbcompute.cli.render import error_view, make_console
from xbcompute.core.errors import XbError

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def print_json(body: Mapping[str, Any]) -> None:
    """One JSON object, UTF-8, one line."""
    sys.stdout.write(json.dumps(body, ensure_ascii=False, allow_nan=False) + "\n")
    sys.stdout.flush()


@contextmanager
def ending(as_json: bool, extra: Callable[[], Mapping[str, Any]] | None = None) -> Iterator[None]:
    """Turn an error into its message and exit code; with ``--json`` the object also holds what ``extra`` gives."""
    try:
        yield
    except XbError as error:
        if as_json:
            print_json({**(extra() if extra is not None else {}), "error": error.public()})
        else:
            make_console(stderr=True).print(error_view(error.code, error.text, error.todo))
        raise typer.Exit(error.exit_code) from None
    except BrokenPipeError:
        raise typer.Exit(1) from None
