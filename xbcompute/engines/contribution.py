"""What every engine asks of a contribution before anything of it leaves."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xbcompute.core.admission import Admission
from xbcompute.core.arrays import ArraySpec, Contribution, Layout
from xbcompute.core.canonical import dumps
from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.core.fields import Expect

BLOCK = 1 << 15
"""Elements handled at a time: 256 KiB, which stays in a core's cache."""


def check_admission(admission: Admission, *, cards: frozenset[str], least: int) -> None:
    """Refuse another card than ``cards``, and participants that are not sorted, unique and at least ``least``.

    Raises:
        IntegrityError: naming what is wrong.
    """
    if admission.card not in cards:
        raise IntegrityError("engine.card", f"this engine does not carry the card {admission.card}.")
    if list(admission.participants) != sorted(set(admission.participants)):
        raise IntegrityError("engine.participants", "participants are not in sorted order, each once.")
    if admission.me not in admission.participants:
        raise IntegrityError("engine.participants", f"{admission.me} is not among the participants of this session.")
    if len(admission.participants) < least:
        raise IntegrityError("engine.participants", f"{admission.card} needs at least {least} participants.")


def check_layout(layout: Layout, participants: int) -> None:
    """Refuse bounds that are no bounds, and whole-number sums that could leave 64 bits.

    Raises:
        InputError: naming the array.
    """
    for name, spec in layout.items():
        if not (math.isfinite(spec.bound) and spec.bound >= 0):
            raise InputError("layout.bound", f"array {name}: its bound is not a finite number of at least 0.")
        if any(length < 0 for length in spec.shape):
            raise InputError("layout.shape", f"array {name}: a negative length in its shape.")
        if spec.integer and math.floor(spec.bound) * participants >= 1 << 63:
            raise InputError(
                "layout.bound",
                f"array {name}: the sum of {participants} whole numbers up to its bound does not fit in 64 bits.",
                todo="Declare a smaller bound.",
            )


def layout_digest(layout: Layout) -> bytes:
    """SHA-256 of names in order, shapes, bounds, integer marks and roles: equal where all mean the same vector."""
    rows = [[name, list(spec.shape), float(spec.bound), spec.integer, spec.role] for name, spec in layout.items()]
    return hashlib.sha256(dumps(["xbcompute/layout/v1", rows])).digest()


def expected_arrays(layout: Layout, *, prefix: str = "") -> dict[str, Expect]:
    """What a message must hold that carries a contribution of this layout in the clear."""
    return {
        prefix + name: Expect("array", "int64" if spec.integer else "float64", spec.shape)
        for name, spec in layout.items()
    }


def checked(layout: Layout, mine: Contribution) -> dict[str, NDArray[Any]]:
    """``mine`` as contiguous int64 (integer arrays) and float64 arrays, in the order of ``layout``, all within bounds.

    An integer array may come as float64 if every value is whole. Arrays of the right type are not copied.

    Raises:
        InputError: naming the array, never the value: ``contribution.names``, ``.dtype``, ``.shape``,
            ``.not_finite``, ``.out_of_bound``, ``.not_whole``.
    """
    if set(mine) != set(layout):
        wrong = sorted(set(mine) ^ set(layout))
        raise InputError("contribution.names", f"arrays missing from the layout or not in it: {', '.join(wrong)}.")
    return {name: _checked(name, spec, mine[name]) for name, spec in layout.items()}


def blocks(size: int, step: int = BLOCK) -> Iterator[slice]:
    """Consecutive slices of at most ``step`` elements that cover ``size``."""
    for start in range(0, size, step):
        yield slice(start, min(start + step, size))


def _checked(name: str, spec: ArraySpec, array: NDArray[Any]) -> NDArray[Any]:
    array = np.asarray(array)  # a scalar is an array of shape ()
    allowed = ("int64", "float64") if spec.integer else ("float64",)
    if array.dtype.name not in allowed:
        raise InputError("contribution.dtype", f"array {name}: must be of type {' or '.join(allowed)}.")
    if array.shape != spec.shape:
        raise InputError("contribution.shape", f"array {name}: its shape is not the one of the layout.")
    flat = np.ascontiguousarray(array).reshape(-1)
    for block in blocks(flat.size):
        _check_block(name, spec, flat[block])
    wanted = np.dtype(np.int64 if spec.integer else np.float64)
    return np.ascontiguousarray(array, dtype=wanted).reshape(spec.shape)


def _check_block(name: str, spec: ArraySpec, block: NDArray[Any]) -> None:
    with np.errstate(invalid="ignore"):  # a NaN is reported below, by name
        low, high = block.min(), block.max()
    if block.dtype.kind == "f" and not (math.isfinite(low) and math.isfinite(high)):
        raise InputError("contribution.not_finite", f"array {name}: a value is NaN or infinite.")
    # Python compares int with float exactly, numpy would round the integer first.
    if low.item() < -spec.bound or high.item() > spec.bound:
        raise InputError(
            "contribution.out_of_bound",
            f"array {name}: a value exceeds the declared bound.",
            todo="Check the data, or declare wider bounds in a new study.",
        )
    if spec.integer and block.dtype.kind == "f" and not np.array_equal(np.rint(block), block):
        raise InputError("contribution.not_whole", f"array {name}: a value is not a whole number.")
