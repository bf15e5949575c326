"""Fields to bytes and back, exactly; and every other byte string refused."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.core.fields import DTYPES
from xbcompute.wire.codec import decode_fields, encode_fields
from xbcompute.wire.parts import opening, varint
from xbcompute.wire.v1 import message_pb2

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
arrays = st.sampled_from(DTYPES).flatmap(
    lambda name: hnp.arrays(
        np.dtype(name),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5),
        elements={"allow_nan": False, "allow_infinity": False} if name.startswith("float") else None,
    )
)
values = st.one_of(
    st.integers(-(1 << 63), (1 << 63) - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(codec="utf-8"), max_size=40),
    st.binary(max_size=40),
    arrays,
)
messages = st.dictionaries(names, values, max_size=8)


def same(a: Any, b: Any) -> bool:
    """Equal in type and in every bit."""
    if isinstance(a, np.ndarray):
        return bool(a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())
    if isinstance(a, float):
        return isinstance(b, float) and a.hex() == b.hex()
    return type(a) is type(b) and bool(a == b)


@settings(deadline=None, max_examples=150)
@given(messages)
def test_fields_come_back_as_they_were(fields: dict[str, Any]) -> None:
    data = encode_fields(fields)
    back = decode_fields(data)
    assert back.keys() == fields.keys()
    assert all(same(fields[name], back[name]) for name in fields)
    assert encode_fields(back) == data
    assert encode_fields(dict(reversed(fields.items()))) == data


@settings(deadline=None, max_examples=60)
@given(messages)
def test_the_bytes_are_the_message_of_the_definition(fields: dict[str, Any]) -> None:
    message = message_pb2.Message.FromString(encode_fields(fields))
    assert [field.name for field in message.head.fields] == sorted(fields)
    assert len(message.data) == sum(-(-v.nbytes // 8) * 8 for v in fields.values() if isinstance(v, np.ndarray))


@settings(deadline=None, max_examples=150)
@given(messages, st.data())
def test_a_changed_byte_is_refused_or_read_as_other_fields(fields: dict[str, Any], data: st.DataObject) -> None:
    encoded = bytearray(encode_fields(fields))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    try:
        back = decode_fields(bytes(encoded))
    except IntegrityError:
        return
    assert encode_fields(back) == encoded


@settings(deadline=None, max_examples=60)
@given(messages, st.data())
def test_a_cut_or_extended_message_is_refused(fields: dict[str, Any], data: st.DataObject) -> None:
    encoded = encode_fields(fields)
    for changed in (encoded[: data.draw(st.integers(0, len(encoded) - 1))], encoded + b"\0"):
        with pytest.raises(IntegrityError):
            decode_fields(changed)


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=120))
def test_any_bytes_are_refused_or_canonical(data: bytes) -> None:
    try:
        fields = decode_fields(data)
    except IntegrityError:
        return
    assert encode_fields(fields) == data


def test_arrays_are_aligned_read_only_views_of_the_message() -> None:
    for length in range(1, 24):
        fields = {"n" * length: np.arange(5, dtype=np.uint8), "z": np.arange(12.0).reshape(3, 4)}
        data = encode_fields(fields)
        back = decode_fields(memoryview(bytearray(data)))
        for array in back.values():
            assert isinstance(array, np.ndarray)
            assert array.flags.aligned
            assert not array.flags.writeable
            assert not array.flags.owndata
        buffer = bytearray(data)
        view = decode_fields(buffer)["z"]
        assert isinstance(view, np.ndarray)
        buffer[-8:] = bytes(8)
        assert view[2, 3] == 0.0


def test_an_unaligned_buffer_gives_aligned_copies() -> None:
    data = encode_fields({"a": np.arange(4.0)})
    back = decode_fields(memoryview(b"\0" + data)[1:])["a"]
    assert isinstance(back, np.ndarray)
    assert back.flags.aligned
    assert not back.flags.writeable
    assert back.tolist() == [0.0, 1.0, 2.0, 3.0]


def test_foreign_layouts_are_written_row_by_row_little_endian() -> None:
    plain = np.arange(6, dtype=np.int32).reshape(2, 3)
    expected = encode_fields({"a": plain})
    assert encode_fields({"a": np.asfortranarray(plain)}) == expected
    assert encode_fields({"a": plain.astype(">i4")}) == expected
    assert encode_fields({"a": np.repeat(plain, 2, axis=1)[:, ::2]}) == expected


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"": 1}, "encode.name"),
        ({"n" * 257: 1}, "encode.name"),
        ({"\ud800": 1}, "encode.name"),
        ({3: 1}, "encode.name"),
        ({"a": True}, "wire.type"),
        ({"a": None}, "wire.type"),
        ({"a": [1]}, "wire.type"),
        ({"a": 1j}, "wire.type"),
        ({"a": "\ud800"}, "wire.text"),
        ({"a": 1 << 63}, "wire.integer"),
        ({"a": -(1 << 63) - 1}, "wire.integer"),
        ({"a": np.array([True])}, "encode.dtype"),
        ({"a": np.array(["x"])}, "encode.dtype"),
        ({"a": np.array([object()])}, "encode.dtype"),
        ({"a": np.zeros(1, dtype=np.float16)}, "encode.dtype"),
        ({"a": np.zeros((1,) * 9)}, "encode.shape"),
        ({str(i): i for i in range(4097)}, "encode.fields"),
    ],
)
def test_what_has_no_form_on_the_wire_is_an_input_error(fields: Any, code: str) -> None:
    with pytest.raises(InputError) as caught:
        encode_fields(fields)
    assert caught.value.code == code


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_neither_leave_nor_enter(bad: float) -> None:
    for value in (bad, np.array([0.0, bad]), np.full(70_000, bad, dtype=np.float32)):
        with pytest.raises(IntegrityError) as caught:
            encode_fields({"a": value})
        assert caught.value.code == "wire.finite"
    scalar = encode_fields({"a": 1.5}).replace(np.float64(1.5).tobytes(), np.float64(bad).tobytes())
    array = encode_fields({"a": np.array([1.5])}).replace(np.float64(1.5).tobytes(), np.float64(bad).tobytes())
    for data in (scalar, array):
        with pytest.raises(IntegrityError) as caught:
            decode_fields(data)
        assert caught.value.code == "wire.finite"


def message(*fields: message_pb2.Field, data: bytes = b"", pad: int | None = None, extra: bytes = b"") -> bytes:
    """A message as a dishonest encoder makes it."""
    head = message_pb2.Head(fields=fields).SerializeToString() + extra
    first, last = opening(1, len(head)) + head, opening(3, len(data))
    pad = -(len(first) + 2 + len(last)) % 8 if pad is None else pad
    return first + opening(2, pad) + bytes(pad) + last + data


def number(name: str, value: int = 0) -> message_pb2.Field:
    return message_pb2.Field(name=name, integer=value)


def array(shape: list[int], dtype: int = 1, name: str = "a") -> message_pb2.Field:
    return message_pb2.Field(name=name, array=message_pb2.Array(dtype=dtype, shape=shape))  # type: ignore[arg-type]


BAD: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "wire.part"),
    "no pad": (b"\x0a\x00\x1a\x00", "wire.part"),
    "names out of order": (message(number("b"), number("a")), "wire.name"),
    "a name twice": (message(number("a"), number("a")), "wire.name"),
    "no name": (message(number("")), "wire.name"),
    "long name": (message(number("n" * 300)), "wire.name"),
    "no value": (message(message_pb2.Field(name="a")), "wire.value"),
    "too many fields": (message(*(number(f"{i:05}") for i in range(4097))), "wire.fields"),
    "unknown field in the head": (message(extra=b"\x78\x01"), "wire.canonical"),
    "unknown field in a field": (
        message(extra=b"\x0a\x07" + number("a").SerializeToString() + b"\x78\x01"),
        "wire.canonical",
    ),
    "two values in one field": (message(extra=b"\x0a\x07\x0a\x01a\x10\x02\x10\x04"), "wire.canonical"),
    "head is junk": (message(extra=b"\x0a\xff"), "wire.head"),
    "name is not UTF-8": (message(extra=b"\x0a\x05\x0a\x01\xff\x10\x02"), "wire.head"),
    "no element type": (message(array([1], 0), data=bytes(8)), "wire.dtype"),
    "unknown element type": (message(array([1], 9), data=bytes(8)), "wire.dtype"),
    "too many dimensions": (message(array([1] * 9), data=bytes(8)), "wire.shape"),
    "data too short": (message(array([2]), data=bytes(8)), "wire.length"),
    "data too long": (message(array([1]), data=bytes(16)), "wire.trailing"),
    "data without array": (message(number("a"), data=bytes(8)), "wire.trailing"),
    "data not filled up to 8": (message(array([1], 6), data=bytes(1)), "wire.length"),
    "filled up with other than zero": (message(array([1], 6), data=b"\1" * 8), "wire.padding"),
    "absurd shape without data": (message(array([0, 1 << 63])), "wire.length"),
    "absurd empty shape": (message(array([0, 1 << 34, 1 << 34])), "wire.length"),
    "shape beyond memory": (message(array([1 << 40, 1 << 40])), "wire.length"),
    "pad too long": (message(array([1]), data=bytes(8), pad=10), "wire.canonical"),
    "pad with content": (message(number("a"))[:-3] + b"\1" + message(number("a"))[-2:], "wire.canonical"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_no_encoder_writes_is_refused(case: str) -> None:
    data, code = BAD[case]
    with pytest.raises(IntegrityError) as caught:
        decode_fields(data)
    assert caught.value.code == code


def test_a_message_beyond_the_limit_is_refused_before_it_is_read() -> None:
    data = encode_fields({"a": np.zeros(100)})
    assert decode_fields(data, len(data))
    with pytest.raises(IntegrityError) as caught:
        decode_fields(data, len(data) - 1)
    assert caught.value.code == "wire.oversize"


@settings(deadline=None, max_examples=60)
@given(st.integers(0, (1 << 35) - 1))
def test_lengths_are_protobufs_varints(value: int) -> None:
    assert varint(value) == message_pb2.Array(shape=[value]).SerializeToString()[2:]
