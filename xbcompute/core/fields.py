"""What a message holds: named scalars, texts, byte strings and numeric arrays, and what a reader expects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xbcompute.core.errors import IntegrityError

Value: TypeAlias = int | float | str | bytes | NDArray[Any]
Fields: TypeAlias = Mapping[str, Value]

DTYPES: tuple[str, ...] = ("float64", "float32", "int64", "int32", "uint64", "uint8")
"""Array element types that may cross the border, little-endian."""


@dataclass(frozen=True)
class Expect:
    """What a field must be.

    ``shape`` is for arrays (``None`` = any shape), ``size`` the exact length of bytes or the greatest length of
    a text, ``dtype`` an entry of :data:`DTYPES`.
    """

    kind: Literal["int", "float", "str", "bytes", "array"]
    dtype: str | None = None
    shape: tuple[int, ...] | None = None
    size: int | None = None


def check(fields: Fields, expected: Mapping[str, Expect], *, what: str) -> None:
    """Refuse ``fields`` unless they are exactly the expected names, types, shapes and sizes.

    Raises:
        IntegrityError: naming the message ``what`` and the field.
    """
    if set(fields) != set(expected):
        raise IntegrityError("message.fields", f"message {what}: fields are not the ones this step expects.")
    for name, want in expected.items():
        value = fields[name]
        if not _fits(value, want):
            raise IntegrityError("message.field", f"message {what}: field {name} has the wrong type, shape or size.")


def _fits(value: Value, want: Expect) -> bool:
    if want.kind == "array":
        if not isinstance(value, np.ndarray) or value.dtype.name not in DTYPES:
            return False
        if want.dtype is not None and value.dtype.name != want.dtype:
            return False
        return want.shape is None or value.shape == want.shape
    if want.kind == "bytes":
        return isinstance(value, bytes) and (want.size is None or len(value) == want.size)
    if want.kind == "str":
        return isinstance(value, str) and (want.size is None or len(value) <= want.size)
    if want.kind == "int":
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, float)
