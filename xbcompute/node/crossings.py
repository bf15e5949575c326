"""From the border's accounts to the list of what crossed: kinds a reader knows, each with its grade."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from xbcompute.core.grades import Grade

_KINDS: dict[str, str] = {
    "clear.values": "clear",
    "masked-sum.vector": "masked",
    "masked-sum.keys": "keys",
    "masked-sum.agree": "agreement",
    "masked-sum.seed": "seed",
    "step.state": "state",
}
_INPUT_GRADED = frozenset({"clear", "masked", "seed"})
"""Kinds that carry contributions, masked or not, or open them: they keep the input's grade."""


def kind_of(kind: str) -> str:
    """The word under which frames of ``kind`` stand in crossings; control messages keep their own name."""
    return _KINDS.get(kind, kind)


def graded(crossings: Iterable[Mapping[str, Any]], *, inputs: Grade, outputs: Grade) -> list[dict[str, Any]]:
    """The crossings with kind and grade.

    ``inputs`` is the grade of the data that enters, ``outputs`` that of opened totals and of results made of them.
    """
    rows: list[dict[str, Any]] = []
    for crossing in crossings:
        kind = kind_of(str(crossing["kind"]))
        if kind in _INPUT_GRADED:
            grade = inputs
        elif kind in ("state", "session.release"):
            grade = outputs
        else:
            grade = Grade.G1
        rows.append({**crossing, "kind": kind, "grade": grade.value})
    return sorted(rows, key=lambda row: (row["from"], row["to"], row["kind"]))


def opened_rows(me: str, contributors: Iterable[str], report: Mapping[str, Any], inputs: Grade) -> list[dict[str, Any]]:
    """The totals this party learnt, as crossings from the other contributors at the input's grade.

    Nothing more was sent for them (``frames`` and ``bytes`` are 0: they came out of the masked vectors);
    ``sha256`` is the digest of all totals in order.
    """
    return [
        {
            "from": other,
            "to": me,
            "kind": "opened-total",
            "grade": inputs.value,
            "frames": 0,
            "bytes": 0,
            "sha256": report["sha256"],
        }
        for other in contributors
        if other != me
    ]
