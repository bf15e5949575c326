"""The released numbers of one analysis: attributes, a table, a plot."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from xbcompute.client.table import SUPPRESSED, Cell, Table
from xbcompute.core.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COMMON = ("kind", "n", "n_dropped", "suppressed", "cell_scope", "notes")
CELL_SCOPES = {
    "pooled": " (cells tested on the joint total)",
    "holder": " (cells tested at each holder first)",
}


class Result:
    """The released numbers of one analysis.

    Every name of its JSON object is an attribute (``result.n``, ``result.coef["age"]``); ``summary`` is a table,
    ``plot`` a figure where the kind has one. A suppressed number is ``None`` in the JSON and prints as ``suppressed``.
    """

    def __init__(self, id: str, body: Mapping[str, Any]) -> None:
        missing = [name for name in COMMON if name not in body]
        if missing:
            raise InputError("result.shape", f"result {id}: the key '{missing[0]}' is missing.")
        self._id = id
        self._body = body
        self._suppressed = frozenset(path_text(path) for path in body["suppressed"])

    @property
    def id(self) -> str:
        """The analysis's id."""
        return self._id

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        try:
            return self._body[name]
        except KeyError:
            raise AttributeError(f"result {self._id} has no '{name}'; it has: {', '.join(self._body)}") from None

    def __getitem__(self, name: str) -> Any:
        return self._body[name]

    def __contains__(self, name: object) -> bool:
        return name in self._body

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._body})

    def to_dict(self) -> dict[str, Any]:
        """A copy of the JSON object."""
        return copy(self._body)

    def cell(self, *path: str | int) -> Cell:
        """The number or text at ``path``; ``suppressed`` where it was withheld, None where there is none."""
        value: Any = self._body
        for step in path:
            try:
                value = value[step]
            except (KeyError, IndexError, TypeError):
                value = None
                break
        if value is None:
            steps = [str(step) for step in path]
            held = any(".".join(steps[:end]) in self._suppressed for end in range(1, len(steps) + 1))
            return SUPPRESSED if held else None
        if isinstance(value, (str, int, float)):
            return value
        raise InputError("result.path", f"result {self._id}: {'.'.join(map(str, path))} is not one number.")

    @property
    def summary(self) -> Table:
        """Every single number of the result, by its path."""
        rows = [(path, self.cell(*path)) for path in _leaves(self._body, ()) if path[0] not in COMMON]
        return Table(
            columns=("value",),
            rows=tuple((cell,) for _, cell in rows),
            index=tuple(".".join(map(str, path)) for path, _ in rows),
        )

    def plot(self, ax: Axes | None = None) -> Axes:
        """Matplotlib axes with the result.

        Raises:
            InputError: this kind has no plot, or matplotlib is not installed.
        """
        raise InputError("plot.kind", f"result {self._id}: there is no plot for the kind '{self.kind}'.")

    def heading(self) -> str:
        """One line: what it is and how many rows it rests on."""
        parts = [f"{self._id} ({self.kind})", f"n = {_number(self.cell('n'))}"]
        if "events" in self._body and not isinstance(self._body["events"], Mapping):
            parts.append(f"events = {_number(self.cell('events'))}")
        if self._body["n_dropped"] != 0:
            parts.append(f"dropped = {_number(self.cell('n_dropped'))}")
        return ", ".join(parts)

    def details(self) -> list[str]:
        """Lines under the summary: tests and fit of this kind."""
        return []

    def footer(self) -> list[str]:
        """Lines every result ends with: suppression, the scope of its cells, notes."""
        count = len(self._body["suppressed"])
        held = "Nothing was" if not count else "1 number was" if count == 1 else f"{count} numbers were"
        scope = str(self._body["cell_scope"])
        lines = [f"{held} suppressed. Cell scope: {scope}{CELL_SCOPES.get(scope, '')}."]
        return lines + [note_text(note) for note in self._body["notes"]]

    def __repr__(self) -> str:
        return "\n".join([self.heading(), str(self.summary), *self.details(), *self.footer()])

    def _repr_html_(self) -> str:
        below = "<br>".join(html.escape(line) for line in [*self.details(), *self.footer()])
        return f"<p><b>{html.escape(self.heading())}</b></p>{self.summary._repr_html_()}<p><small>{below}</small></p>"


def copy(body: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy of a JSON object."""
    copied: dict[str, Any] = json.loads(json.dumps(dict(body)))
    return copied


def path_text(path: str | Sequence[str | int]) -> str:
    """A path of ``suppressed`` with dots between its steps."""
    return path if isinstance(path, str) else ".".join(str(step) for step in path)


def note_text(note: str | Mapping[str, str]) -> str:
    """A note in English, with the Chinese where there is no English."""
    return note if isinstance(note, str) else note.get("en") or note.get("zh", "")


def _number(cell: Cell) -> str:
    return f"{cell:,}" if isinstance(cell, (int, float)) else "none" if cell is None else str(cell)


def _leaves(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[str | int, ...]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, (*path, key))
    elif isinstance(value, list):
        for place, item in enumerate(value):
            yield from _leaves(item, (*path, place))
    else:
        yield path
