"""Frames on the link, and messages cut into them and put together again."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xbcompute.core.errors import IntegrityError, PeerError
from xbcompute.core.frame import CHUNK_MAX, Frame
from xbcompute.core.parties import PartyId
from xbcompute.wire.frames import (
    HEADER_MAX,
    Assembler,
    Numbering,
    Received,
    cut,
    decode_frame,
    encode_frame,
    encode_header,
)
from xbcompute.wire.v1 import frame_pb2

A, B = PartyId("a"), PartyId("b")
SESSION, PLAN = bytes(range(16)), bytes(range(32))

frames = st.builds(
    Frame,
    session=st.binary(min_size=16, max_size=16),
    channel=st.sampled_from(["control", "engine"]),
    sequence=st.integers(0, (1 << 63) - 1),
    kind=st.from_regex(r"[a-z0-9.-]{1,64}", fullmatch=True),
    plan=st.binary(min_size=32, max_size=32),
    payload=st.binary(max_size=300),
    last=st.booleans(),
)


def frame(sequence: int = 0, payload: bytes = b"x", **changes: Any) -> Frame:
    return dataclasses.replace(Frame(SESSION, "engine", sequence, "masked", PLAN, payload), **changes)


@settings(deadline=None, max_examples=100)
@given(frames)
def test_a_frame_comes_back_and_is_the_frame_of_the_definition(one: Frame) -> None:
    data = encode_frame(one)
    assert decode_frame(data) == one
    read = frame_pb2.Frame.FromString(data)
    assert (read.header.session, read.header.sequence, read.header.kind) == (one.session, one.sequence, one.kind)
    assert (read.payload, read.header.last, read.header.version) == (one.payload, one.last, 1)
    assert len(encode_header(one)) <= HEADER_MAX


@settings(deadline=None, max_examples=200)
@given(frames, st.data())
def test_a_changed_byte_is_refused_or_read_as_another_frame(one: Frame, data: st.DataObject) -> None:
    encoded = bytearray(encode_frame(one))
    encoded[data.draw(st.integers(0, len(encoded) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        other = decode_frame(bytes(encoded))
    except IntegrityError:
        return
    assert other != one
    assert encode_frame(other) == encoded


def message(data: bytes, **changes: Any) -> dict[str, Any]:
    return {"data": data, "session": SESSION, "channel": "engine", "kind": "masked", "plan": PLAN} | changes


@pytest.mark.parametrize(
    "size", [0, 1, CHUNK_MAX - 1, CHUNK_MAX, CHUNK_MAX + 1, 2 * CHUNK_MAX, 2 * CHUNK_MAX + 7], ids=str
)
def test_a_message_is_cut_and_put_together(size: int) -> None:
    data = (bytes(range(251)) * (size // 251 + 1))[:size]
    pieces = list(cut(**message(data), start=5))
    assert len(pieces) == max(1, -(-size // CHUNK_MAX))
    assert [piece.sequence for piece in pieces] == list(range(5, 5 + len(pieces)))
    assert [piece.last for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assembler = Assembler()
    for number in range(5):
        assert assembler.add(A, frame(number)) is not None
    whole = [assembler.add(A, piece) for piece in pieces]
    assert whole[:-1] == [None] * (len(pieces) - 1)
    assert whole[-1] == Received(A, SESSION, "engine", "masked", PLAN, data)


def test_senders_sessions_and_channels_are_counted_apart() -> None:
    numbering, assembler = Numbering(), Assembler()
    other = bytes(16)
    sent = [
        *numbering.frames(A, **message(b"1")),
        *numbering.frames(B, **message(b"2")),
        *numbering.frames(A, **message(b"3", channel="control")),
        *numbering.frames(A, **message(b"4", session=other)),
        *numbering.frames(A, **message(b"5")),
    ]
    assert [one.sequence for one in sent] == [0, 0, 0, 0, 1]
    for sender, one in zip((A, B, A, A, A), sent, strict=True):
        assert assembler.add(sender, one) is not None
    numbering.forget(session=SESSION, to=A)
    assembler.forget(session=SESSION, sender=A)
    (again,) = numbering.frames(A, **message(b"6"))
    assert again.sequence == 0
    assert assembler.add(A, again) is not None
    (kept,) = numbering.frames(B, **message(b"7"))
    assert kept.sequence == 1
    assert assembler.add(B, kept) is not None


def test_a_frame_that_was_not_handed_over_has_not_used_its_number() -> None:
    numbering = Numbering()
    with pytest.raises(PeerError):
        for _ in numbering.frames(A, **message(b"1")):
            raise PeerError("peer.down", "down.")
    assert [one.sequence for one in numbering.frames(A, **message(b"2"))] == [0]


@pytest.mark.parametrize(
    ("second", "code"),
    [
        (frame(0), "frame.replay"),
        (frame(2), "frame.gap"),
        (frame(1, kind="seed"), "frame.mixed"),
        (frame(1, plan=bytes(32)), "frame.mixed"),
        (frame(1, payload=b"12345"), "frame.message"),
        (frame(1, session=b""), "frame.session"),
    ],
)
def test_a_frame_that_does_not_fit_is_refused_and_changes_nothing(second: Frame, code: str) -> None:
    assembler = Assembler(limit=8)
    assert assembler.add(A, frame(0, b"1234", last=False)) is None
    with pytest.raises(IntegrityError) as caught:
        assembler.add(A, second)
    assert caught.value.code == code
    received = assembler.add(A, frame(1, b"5678"))
    assert received is not None
    assert received.data == b"12345678"
