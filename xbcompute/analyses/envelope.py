"""What every result states beside its numbers: people counted, rows dropped, what was withheld and on what scope."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xbcompute.core.schema import Limits


def envelope(
    kind: str,
    limits: Limits,
    *,
    n: int,
    n_dropped: int,
    suppressed: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """``kind``, ``n``, ``n_dropped``, ``suppressed`` (paths with dots), ``cell_scope``, ``notes``.

    A count of dropped rows between 0 and the minimum cell is itself withheld.
    """
    withheld = 0 < n_dropped < limits.cell_min
    return {
        "kind": kind,
        "n": int(n),
        "n_dropped": None if withheld else int(n_dropped),
        "suppressed": [*(["n_dropped"] if withheld else []), *suppressed],
        "cell_scope": limits.cell_scope,
        "notes": list(notes),
    }
