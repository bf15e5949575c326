"""One line a measurement: seconds, the ratio to a peer of the same run, and whether the goal is met."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HEADER = ("measurement", "seconds", "compared with", "ratio", "goal", "")


@dataclass(frozen=True)
class Goal:
    """``ratio`` must be at most (or at least) this many times the peer's."""

    limit: float
    at_least: bool = False

    def met(self, ratio: float) -> bool:
        """Whether it is met."""
        return ratio >= self.limit if self.at_least else ratio <= self.limit

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.limit:g}"


@dataclass(frozen=True)
class Line:
    """``ratio`` is own seconds by the peer's, or with a goal of *at least* the peer's seconds by one's own."""

    name: str
    seconds: float
    peer: str = ""
    ratio: float | None = None
    goal: Goal | None = None

    def cells(self) -> tuple[str, ...]:
        """The line as text."""
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        met = "" if self.goal is None or self.ratio is None else "met" if self.goal.met(self.ratio) else "not met"
        return (self.name, f"{self.seconds:.3f}", self.peer, ratio, "" if self.goal is None else str(self.goal), met)


def times(line: str, seconds: float, peer: str, peer_seconds: float, limit: float | None = None) -> Line:
    """``seconds`` as a multiple of the peer's, at most ``limit`` times."""
    return Line(line, seconds, peer, seconds / peer_seconds, None if limit is None else Goal(limit))


def faster(line: str, seconds: float, peer: str, peer_seconds: float, limit: float | None = None) -> Line:
    """How many times faster than the peer, at least ``limit`` times."""
    return Line(line, seconds, peer, peer_seconds / seconds, None if limit is None else Goal(limit, at_least=True))


def within(line: str, seconds: float, limit: float) -> Line:
    """Seconds that must be at most ``limit``."""
    return Line(line, seconds, "one second", seconds, Goal(limit))


def table(lines: Sequence[Line]) -> str:
    """All lines under their header, in columns."""
    rows = [HEADER, *(line.cells() for line in lines)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADER))]
    right = {1, 3}
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def machine() -> str:
    """Processor, cores, memory, system, and how busy the machine was when this was called."""
    info = Path("/proc/cpuinfo")
    names = [line for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    name = names[0].split(":", 1)[1].strip() if names else platform.processor() or platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    load = os.getloadavg()[0]
    return (
        f"{name}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}; load average at the start {load:.1f}"
    )
