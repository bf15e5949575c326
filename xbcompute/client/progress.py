"""A running session as people watch it: the state it is in and the rounds of each analysis."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final, Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table as Grid
from rich.text import Text

ENDED: Final = frozenset({"closed", "refused", "held", "interrupted", "aborted"})
FAILED: Final = ENDED - {"closed"}
STEPS: Final = ("proposed", "agreed", "keyed", "running", "checking", "released", "countersigned", "closed")


class ProgressView:
    """Shows the events it is called with: live on a terminal, one line a step elsewhere.

    Use it as a context manager, so that an error cannot leave the terminal in the middle of an update.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._state = ""
        self._rounds: dict[str, set[int]] = {}
        self._printed: set[str] = set()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(self._drawn(), console=self._console, refresh_per_second=12, transient=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.update(self._drawn(), refresh=True)
            self._live.stop()
            self._live = None

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Take one event: ``state``, and ``analysis`` with ``round`` while rounds run."""
        before = self._state
        self._state = str(event["state"])
        if "analysis" in event:
            name = str(event["analysis"])
            if name not in self._rounds and self._rounds:
                self._line(*self._last_rounds())
            self._rounds.setdefault(name, set()).add(int(event.get("round", 0)))
        if self._state != before:
            if before == "running" and self._rounds:
                self._line(*self._last_rounds())
            self._line(self._state, "")
        if self._live is not None:
            self._live.update(self._drawn())

    def _last_rounds(self) -> tuple[str, str]:
        name, rounds = list(self._rounds.items())[-1]
        return name, counted(len(rounds))

    def _line(self, name: str, more: str) -> None:
        if self._live is None and name not in self._printed:
            self._printed.add(name)
            self._console.print(Text(f"  {name}{f': {more}' if more else ''}"))

    def _drawn(self) -> Grid:
        grid = Grid.grid(padding=(0, 1))
        over = self._state in ENDED
        done = STEPS.index(self._state) if self._state in STEPS else -1
        for place, step in enumerate(STEPS[:-1]):
            if place < done or self._state == "closed":
                grid.add_row(Text("✓", style="green"), step, "")
            elif place == done:
                grid.add_row("" if over else Spinner("dots"), Text(step, style="bold"), "")
            if step == "running":
                for name, rounds in self._rounds.items():
                    grid.add_row("", Text(f"  {name}", style="dim"), Text(counted(len(rounds)), style="dim"))
        if self._state in FAILED:
            grid.add_row(Text("✗", style="red"), Text(self._state, style="bold red"), "")
        return grid


def counted(rounds: int) -> str:
    """``1 round``, ``6 rounds``."""
    return f"{rounds} round{'' if rounds == 1 else 's'}"
