"""Differencing: two openings over nearly the same people show those few in which they differ (policy C4.9)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xbcompute.core.errors import InputError, RefusedError

SIZE: Final = 16
Digests: TypeAlias = bytes | NDArray[Any]
"""Sorted, distinct 16-byte digests of people under one holder's key: an array of ``S16``, or its bytes."""

_CHUNK: Final = 1 << 16


def difference_up_to(a: Digests, b: Digests, limit: int) -> int:
    """How many people are in one population and not in the other, or ``limit`` once there are that many.

    Reads both once at most, and stops at ``limit``: unrelated populations are told apart at once.

    Raises:
        InputError: the populations are not sorted, distinct 16-byte digests.
    """
    one, other = _array(a), _array(b)
    i = j = found = 0
    while found < limit and i < one.size and j < other.size:
        same = _common_prefix(one[i:], other[j:])
        i, j = i + same, j + same
        if i == one.size or j == other.size:
            break
        # numpy drops trailing NULs of both items alike, which does not change their order.
        if one[i] < other[j]:
            i += 1
        else:
            j += 1
        found += 1
    return min(found + (one.size - i) + (other.size - j), limit) if found < limit else limit


def conflict(population: Digests, earlier: Iterable[tuple[str, Digests]], cell_min: int) -> str | None:
    """The first earlier opening whose population differs by more than 0 and fewer than ``cell_min`` people."""
    for name, people in earlier:
        if 0 < difference_up_to(population, people, cell_min) < cell_min:
            return name
    return None


def check_differencing(population: Digests, earlier: Iterable[tuple[str, Digests]], cell_min: int) -> None:
    """Refuse a population too close to that of an earlier opening of the same dataset.

    ``earlier`` are (study, people) of the dataset's openings. Run by each holder, on its own people, before the first
    contribution leaves. The text goes to peers: it names the earlier study and no number.

    Raises:
        RefusedError: ``disclosure.differencing``.
    """
    name = conflict(population, earlier, cell_min)
    if name is not None:
        raise RefusedError(
            "disclosure.differencing",
            f"the population differs from that of the earlier study '{name}' by fewer people than the minimum cell.",
            todo="Use the same rows as before, or rows that differ by more; batch withdrawals.",
        )


def _array(people: Digests) -> NDArray[np.bytes_]:
    if isinstance(people, np.ndarray):
        if people.dtype != np.dtype(f"S{SIZE}") or people.ndim != 1:
            raise InputError("disclosure.people", "a population is a list of 16-byte digests.")
        array = people
    else:
        if len(people) % SIZE:
            raise InputError("disclosure.people", "a population is a list of 16-byte digests.")
        array = np.frombuffer(people, dtype=f"S{SIZE}")
    if array.size > 1 and not bool((array[:-1] < array[1:]).all()):
        raise InputError("disclosure.people", "a population's digests are not sorted and distinct.")
    return array


def _common_prefix(a: NDArray[np.bytes_], b: NDArray[np.bytes_]) -> int:
    """Length of the longest common prefix; blocks grow, so that short ones cost little."""
    length, start, step = min(a.size, b.size), 0, 64
    while start < length:
        stop = min(start + step, length)
        differs = a[start:stop] != b[start:stop]
        if differs.any():
            return start + int(np.argmax(differs))
        start, step = stop, min(step * 4, _CHUNK)
    return length
