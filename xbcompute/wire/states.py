"""The state of an analysis as bytes and back, and whether two machines computed the same one."""

from __future__ import annotations

import dataclasses
import json
import types
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from xbcompute.core.canonical import dumps
from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.core.fields import DTYPES, Value
from xbcompute.wire.codec import MESSAGE_MAX, decode_fields, encode_fields

StateT = TypeVar("StateT")

_FLOOR = 1e-3
"""Part of the relative tolerance that holds against an array's largest element: sums that cancel leave such crumbs."""

_PLAIN: tuple[type, ...] = (bool, int, float, str, bytes)


class _Member(NamedTuple):
    """What one field of a state may be: a plain type, ``np.ndarray`` or ``tuple`` of ``of``; perhaps None."""

    base: type
    of: type | None
    dtype: str | None
    optional: bool


_MEMBERS: dict[type, Mapping[str, _Member]] = {}


def encode_state(state: Any) -> bytes:
    """The canonical bytes of a frozen dataclass of numbers, texts, byte strings, arrays and tuples of them.

    Members may be ``int``, ``float``, ``str``, ``bool``, ``bytes``, numpy arrays, ``tuple[str, ...]``,
    ``tuple[int, ...]``, ``tuple[float, ...]``, and each of these ``| None``.

    Raises:
        InputError: a member of another type than its annotation. IntegrityError: a NaN or an infinity.
    """
    fields: dict[str, Value] = {}
    for name, member in members(type(state)).items():
        value = getattr(state, name)
        if value is None and member.optional:
            continue
        fields[name] = _to_wire(f"{type(state).__name__}.{name}", member, value)
    return encode_fields(fields)


def decode_state(cls: type[StateT], data: bytes | bytearray | memoryview, limit: int = MESSAGE_MAX) -> StateT:
    """The state that :func:`encode_state` wrote; arrays are read-only views into ``data``.

    Raises:
        IntegrityError: for bytes that are no canonical state of ``cls``.
    """
    known = members(cls)
    fields = decode_fields(data, limit)
    if not fields.keys() <= known.keys():
        raise IntegrityError("state.members", f"a state of {cls.__name__} has members that it does not know.")
    values: dict[str, Any] = {}
    for name, member in known.items():
        if name in fields:
            values[name] = _from_wire(f"{cls.__name__}.{name}", member, fields[name])
        elif member.optional:
            values[name] = None
        else:
            raise IntegrityError("state.members", f"a state of {cls.__name__} lacks {name}.")
    return cls(**values)


def states_close(a: object, b: object, rtol: float = 1e-9) -> bool:
    """Whether two states agree: floats within ``rtol`` of the larger of the two, everything else exactly.

    In an array, elements may also differ by a thousandth of ``rtol`` times its largest element. A NaN agrees
    with nothing.
    """
    if type(a) is not type(b):
        return False
    return all(_close(getattr(a, name), getattr(b, name), rtol) for name in members(type(a)))


def members(cls: type) -> Mapping[str, _Member]:
    """What each member of the dataclass ``cls`` may be.

    Raises:
        InputError: ``cls`` is no frozen dataclass, or an annotation has no form on the wire.
    """
    if cls in _MEMBERS:
        return _MEMBERS[cls]
    if not dataclasses.is_dataclass(cls) or not cls.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise InputError("state.class", f"a state must be a frozen dataclass; {cls.__name__} is not.")
    hints = get_type_hints(cls)
    known = {f.name: _member(f"{cls.__name__}.{f.name}", hints[f.name]) for f in dataclasses.fields(cls)}
    _MEMBERS[cls] = known
    return known


def _member(where: str, hint: Any) -> _Member:
    optional = False
    if get_origin(hint) in (Union, types.UnionType):
        rest = [item for item in get_args(hint) if item is not type(None)]
        optional = len(rest) < len(get_args(hint))
        if len(rest) != 1:
            raise InputError("encode.state", f"{where}: a union of types has no form on the wire.")
        hint = rest[0]
    origin = get_origin(hint)
    if hint in _PLAIN:
        return _Member(hint, None, None, optional)
    if hint is np.ndarray or origin is np.ndarray:
        return _Member(np.ndarray, None, _dtype_of(hint), optional)
    if origin is tuple:
        inner = get_args(hint)
        if len(inner) == 2 and inner[1] is Ellipsis and inner[0] in (str, int, float):
            return _Member(tuple, inner[0], None, optional)
    raise InputError("encode.state", f"{where}: its annotation has no form on the wire.")


def _dtype_of(hint: Any) -> str | None:
    """The element type that ``NDArray[np.float64]`` names; None for ``NDArray[Any]`` and abstract types."""
    arguments = get_args(hint)
    scalar = get_args(arguments[1])[0] if len(arguments) > 1 and get_args(arguments[1]) else None
    if isinstance(scalar, type) and issubclass(scalar, np.generic):
        name: str = np.dtype(scalar).name if scalar not in _ABSTRACT else ""
        return name or None
    return None


_ABSTRACT = (np.generic, np.number, np.integer, np.floating, np.inexact, np.signedinteger, np.unsignedinteger)


def _to_wire(where: str, member: _Member, value: Any) -> Value:
    if not _fits(member, value):
        raise InputError("encode.state", f"{where}: the value is not of the type its annotation states.")
    if member.base is np.ndarray:
        return value.astype(np.uint8) if value.dtype == np.bool_ else np.asarray(value)
    if member.base is tuple:
        return (
            dumps(value) if member.of is str else np.array(value, dtype=np.float64 if member.of is float else np.int64)
        )
    result: Value = int(value) if member.base is bool else member.base(value)
    return result


def _fits(member: _Member, value: Any) -> bool:
    number = {int: (int, np.integer), float: (int, float, np.integer, np.floating)}
    if member.base is np.ndarray:
        if not isinstance(value, np.ndarray):
            return False
        return value.dtype.name == member.dtype if member.dtype else value.dtype.name in DTYPES
    if member.base is tuple:
        accepted = number.get(member.of or str, str)
        return isinstance(value, tuple) and all(isinstance(v, accepted) and not isinstance(v, bool) for v in value)
    if member.base is bool:
        return isinstance(value, (bool, np.bool_))
    return isinstance(value, number.get(member.base, member.base)) and not isinstance(value, bool)


def _from_wire(where: str, member: _Member, value: Value) -> Any:
    wrong = IntegrityError("state.type", f"{where}: a received value is not of the type its annotation states.")
    if member.base is np.ndarray:
        boolean = member.dtype == "bool"
        if not isinstance(value, np.ndarray) or (
            member.dtype and value.dtype.name != ("uint8" if boolean else member.dtype)
        ):
            raise wrong
        if boolean and value.size and int(value.max()) > 1:
            raise wrong
        return value.view(np.bool_) if boolean else value
    if member.base is tuple:
        return _TUPLES[member.of or str](value, wrong)
    if member.base is bool:
        if value not in (0, 1) or not isinstance(value, int):
            raise wrong
        return bool(value)
    if not isinstance(value, member.base):
        raise wrong
    return value


def _texts(value: Value, wrong: IntegrityError) -> tuple[str, ...]:
    if not isinstance(value, bytes):
        raise wrong
    try:
        texts = json.loads(value)
    except ValueError:
        raise wrong from None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts) or dumps(texts) != value:
        raise wrong
    return tuple(texts)


def _numbers(dtype: str) -> Callable[[Value, IntegrityError], tuple[Any, ...]]:
    def read(value: Value, wrong: IntegrityError) -> tuple[Any, ...]:
        if not isinstance(value, np.ndarray) or value.ndim != 1 or value.dtype.name != dtype:
            raise wrong
        return tuple(value.tolist())

    return read


_TUPLES: dict[type, Callable[[Value, IntegrityError], tuple[Any, ...]]] = {
    str: _texts,
    int: _numbers("int64"),
    float: _numbers("float64"),
}


def _close(a: Any, b: Any, rtol: float) -> bool:
    if isinstance(a, np.ndarray):
        if not isinstance(b, np.ndarray) or a.shape != b.shape or a.dtype.name != b.dtype.name:
            return False
        if a.dtype.kind != "f":
            return bool(np.array_equal(a, b))
        largest = np.maximum(np.abs(a), np.abs(b))
        floor = _FLOOR * rtol * float(largest.max(initial=0.0))
        return bool((np.abs(a - b) <= np.maximum(rtol * largest, floor)).all())
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(_close(x, y, rtol) for x, y in zip(a, b, strict=True))
    if isinstance(a, float) or isinstance(b, float):
        if a is None or b is None:
            return False
        return bool(abs(a - b) <= rtol * max(abs(a), abs(b)))
    return bool(a == b)
