"""Verdicts, outbound paths and postures, each ordered from mild to strict and joined by maximum."""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterable, Sequence
from typing import TypeVar

from xbcompute.specs.pack import PathName, Posture

T = TypeVar("T")

POSTURES: tuple[Posture, ...] = ("not_export", "treated_as_export", "export")
PATHS: tuple[PathName, ...] = ("NONE", "CERT", "SC_FILING", "SEC_ASSESS", "SECTOR_CONFIRM", "DENY")


@functools.total_ordering
class Verdict(enum.Enum):
    """What policy says.

    ``PERMIT`` may run now; ``PERMIT_WITH_CONDITIONS`` may run by the stated protocol and limits once the roles have
    signed; ``HOLD`` would be allowed but something is missing; ``DENY`` is refused. The last two open no session.
    """

    PERMIT = "PERMIT"
    PERMIT_WITH_CONDITIONS = "PERMIT_WITH_CONDITIONS"
    HOLD = "HOLD"
    DENY = "DENY"

    def __lt__(self, other: object) -> bool:
        if not isinstance(other, Verdict):
            return NotImplemented
        return _ORDER[self] < _ORDER[other]

    @property
    def runs(self) -> bool:
        """Whether a session may open."""
        return self <= Verdict.PERMIT_WITH_CONDITIONS

    @property
    def tier(self) -> str:
        """The band of the decision: 支持 (support), 限制 (restrict) or 禁止 (prohibit)."""
        return {Verdict.PERMIT: "支持", Verdict.DENY: "禁止"}.get(self, "限制")


_ORDER = {verdict: position for position, verdict in enumerate(Verdict)}


def strictest(values: Iterable[T], order: Sequence[T]) -> T:
    """The value that stands last in ``order``; the first of ``order`` for none."""
    return max(values, key=order.index, default=order[0])
