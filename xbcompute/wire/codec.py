"""Fields to bytes and back: one byte string for one set of fields, and nothing else is read.

The form is ``protocols/wire/xbcompute/wire/v1/message.proto``: a small protobuf head names the fields, and the arrays
lie behind it, aligned, so that reading 80 MB costs no copy of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.core.fields import DTYPES, Fields, Value
from xbcompute.wire import parts
from xbcompute.wire.v1 import message_pb2

MESSAGE_MAX = 1 << 30
"""Largest message taken unless the reader says otherwise, bytes."""

NAME_MAX = 256
"""Longest field name, UTF-8 bytes."""

FIELDS_MAX = 4096
DIMENSIONS_MAX = 8
_ALIGN = 8
_FINITE_STEP = 1 << 16
_CODES = {
    "float64": message_pb2.ELEMENT_TYPE_FLOAT64,
    "float32": message_pb2.ELEMENT_TYPE_FLOAT32,
    "int64": message_pb2.ELEMENT_TYPE_INT64,
    "int32": message_pb2.ELEMENT_TYPE_INT32,
    "uint64": message_pb2.ELEMENT_TYPE_UINT64,
    "uint8": message_pb2.ELEMENT_TYPE_UINT8,
}
_NAMES = {code: name for name, code in _CODES.items()}


def encode_fields(fields: Fields) -> bytes:
    """The canonical message of ``fields``; equal fields give equal bytes whatever their order.

    Raises:
        InputError: a name, type, element type or size that has no form on the wire.
        IntegrityError: a NaN or an infinity, which no step of a study may send.
    """
    if len(fields) > FIELDS_MAX:
        raise InputError("encode.fields", f"a message holds at most {FIELDS_MAX} fields.")
    head = message_pb2.Head()
    data: list[Any] = []
    size = 0
    for name in sorted(fields, key=_name_bytes):
        value = fields[name]
        field = head.fields.add(name=name)
        if isinstance(value, np.ndarray):
            array = _wire_array(name, value)
            field.array.dtype = _CODES[array.dtype.name]
            field.array.shape.extend(array.shape)
            data.append(array.reshape(-1).view(np.uint8).data)
            data.append(bytes(-array.nbytes % _ALIGN))
            size += array.nbytes + len(data[-1])
        else:
            _set_scalar(field, name, value)
    head_bytes = head.SerializeToString(deterministic=True)
    return b"".join((_lead(head_bytes, size), *data))


def decode_fields(data: bytes | bytearray | memoryview, limit: int = MESSAGE_MAX) -> dict[str, Value]:
    """The fields of a canonical message; arrays are read-only views into ``data`` wherever it is aligned.

    Raises:
        IntegrityError: for anything that :func:`encode_fields` would not have written, or more than ``limit`` bytes.
    """
    view = memoryview(data).cast("B").toreadonly()
    if len(view) > limit:
        raise IntegrityError("wire.oversize", f"a message of {len(view)} bytes exceeds the limit of {limit}.")
    head_view, _, body = parts.split(view, (1, 2, 3), what="a message")
    head_bytes = bytes(head_view)
    try:
        head = message_pb2.Head.FromString(head_bytes)
    except DecodeError:
        raise IntegrityError("wire.head", "a message's list of fields cannot be read.") from None
    if len(head.fields) > FIELDS_MAX:
        raise IntegrityError("wire.fields", f"a message holds more than {FIELDS_MAX} fields.")
    fields: dict[str, Value] = {}
    again = message_pb2.Head()
    previous = b""
    at = 0
    for field in head.fields:
        name = field.name.encode("utf-8")
        if not previous < name or len(name) > NAME_MAX:
            raise IntegrityError("wire.name", "a message's field names are empty, too long, repeated or out of order.")
        previous = name
        copy = again.fields.add(name=field.name)
        kind = field.WhichOneof("value")
        if kind == "array":
            array, at = _read_array(field.name, field.array, body, at)
            copy.array.dtype = field.array.dtype
            copy.array.shape.extend(field.array.shape)
            fields[field.name] = array
        elif kind is None:
            raise IntegrityError("wire.value", "a message has a field without a value.")
        else:
            value = getattr(field, kind)
            if kind == "real" and not math.isfinite(value):
                raise _not_finite(field.name)
            setattr(copy, kind, value)
            fields[field.name] = value
    if at != len(body):
        raise IntegrityError("wire.trailing", "a message's data is longer than its arrays.")
    # Unknown fields, repeated members and other spellings of the same head all fail here.
    lead = _lead(again.SerializeToString(deterministic=True), len(body))
    if view[: len(view) - len(body)] != lead:
        raise IntegrityError("wire.canonical", "a message is not in its canonical form.")
    return fields


def _lead(head: bytes, size: int) -> bytes:
    first = parts.opening(1, len(head)) + head
    last = parts.opening(3, size)
    pad = -(len(first) + 2 + len(last)) % _ALIGN
    return first + parts.opening(2, pad) + bytes(pad) + last


def _name_bytes(name: object) -> bytes:
    if not isinstance(name, str):
        raise InputError("encode.name", f"a field name must be text, not {type(name).__name__}.")
    try:
        encoded = name.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError("encode.name", "a field name is not valid Unicode text.") from None
    if not 0 < len(encoded) <= NAME_MAX:
        raise InputError("encode.name", f"a field name must have 1 to {NAME_MAX} bytes.")
    return encoded


def _set_scalar(field: message_pb2.Field, name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer, float, np.floating, str, bytes)):
        raise InputError("wire.type", f"field {name}: {type(value).__name__} has no form on the wire.")
    if isinstance(value, str):
        try:
            field.text = value
        except (UnicodeEncodeError, ValueError):
            raise InputError("wire.text", f"field {name}: not valid Unicode text.") from None
    elif isinstance(value, bytes):
        field.octets = value
    elif isinstance(value, (int, np.integer)):
        if not -(1 << 63) <= int(value) < 1 << 63:
            raise InputError("wire.integer", f"field {name}: an integer does not fit 64 bits with sign.")
        field.integer = int(value)
    else:
        if not math.isfinite(value):
            raise _not_finite(name)
        field.real = float(value)


def _wire_array(name: str, value: NDArray[Any]) -> NDArray[Any]:
    if value.dtype.name not in DTYPES:
        raise InputError("encode.dtype", f"field {name}: arrays of {value.dtype.name} do not cross the border.")
    if value.ndim > DIMENSIONS_MAX:
        raise InputError("encode.shape", f"field {name}: more than {DIMENSIONS_MAX} dimensions.")
    array = np.asarray(value, dtype=value.dtype.newbyteorder("<"), order="C")
    if not _finite(array):
        raise _not_finite(name)
    return array


def _read_array(name: str, form: message_pb2.Array, body: memoryview, at: int) -> tuple[NDArray[Any], int]:
    if form.dtype not in _NAMES:
        raise IntegrityError("wire.dtype", f"field {name}: unknown element type.")
    dtype = np.dtype(_NAMES[form.dtype]).newbyteorder("<")
    shape = tuple(form.shape)
    if len(shape) > DIMENSIONS_MAX:
        raise IntegrityError("wire.shape", f"field {name}: more than {DIMENSIONS_MAX} dimensions.")
    size = math.prod(shape) * dtype.itemsize
    end = at + size
    after = end + -size % _ALIGN
    # An empty array's other dimensions are bounded too, or a few bytes could name a shape that numpy cannot make.
    if after > len(body) or math.prod(side for side in shape if side) > parts.LENGTH_MAX:
        raise IntegrityError("wire.length", f"field {name}: shape and length of its data differ.")
    if any(body[end:after]):
        raise IntegrityError("wire.padding", f"field {name}: bytes stand where only zeros may.")
    array = np.frombuffer(body[at:end], dtype=dtype).reshape(shape)
    if not array.flags.aligned:
        array = array.copy()
        array.flags.writeable = False
    if not _finite(array):
        raise _not_finite(name)
    return array, after


def _finite(array: NDArray[Any]) -> bool:
    """Whether every element is a number; in steps, so that a large array needs no mask of its own size."""
    if array.dtype.kind != "f":
        return True
    flat = array.reshape(-1)
    return all(bool(np.isfinite(flat[at : at + _FINITE_STEP]).all()) for at in range(0, flat.size, _FINITE_STEP))


def _not_finite(name: str) -> IntegrityError:
    return IntegrityError("wire.finite", f"field {name}: holds NaN or an infinity.")
