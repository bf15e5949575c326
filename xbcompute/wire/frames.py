"""Frames: their form on the link and on the local socket, and messages cut into them and put together again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError

from xbcompute.core.errors import IntegrityError
from xbcompute.core.frame import CHUNK_MAX, Frame, FrameChannel
from xbcompute.core.parties import PartyId
from xbcompute.wire import parts
from xbcompute.wire.codec import MESSAGE_MAX
from xbcompute.wire.v1 import frame_pb2

VERSION = 1
SESSION_SIZE = 16
PLAN_SIZE = 32
HEADER_MAX = 256
"""Longest encoded header, bytes: session, plan and kind at their longest, numbers at theirs."""

NO_SESSION = bytes(SESSION_SIZE)
"""The session of talk outside sessions; its numbers start again with each link."""

NO_PLAN = bytes(PLAN_SIZE)

_KIND = re.compile(r"[a-z0-9.-]{1,64}")
_CHANNELS: dict[FrameChannel, int] = {"control": frame_pb2.CHANNEL_CONTROL, "engine": frame_pb2.CHANNEL_ENGINE}
_CHANNEL_NAMES: dict[int, FrameChannel] = {code: name for name, code in _CHANNELS.items()}


def check_frame(frame: Frame) -> None:
    """Refuse a frame whose parts have no valid form.

    Raises:
        IntegrityError: naming the part.
    """
    if len(frame.session) != SESSION_SIZE:
        raise IntegrityError("frame.session", f"a frame's session must be {SESSION_SIZE} bytes.")
    if len(frame.plan) != PLAN_SIZE:
        raise IntegrityError("frame.plan", f"a frame's plan digest must be {PLAN_SIZE} bytes.")
    if frame.channel not in _CHANNELS:
        raise IntegrityError("frame.channel", "a frame's channel is neither control nor engine.")
    if not _KIND.fullmatch(frame.kind):
        raise IntegrityError("frame.kind", "a frame's kind must be 1 to 64 of a-z, 0-9, point and hyphen.")
    if not 0 <= frame.sequence < 1 << 63:
        raise IntegrityError("frame.sequence", "a frame's number is negative or too large.")
    if len(frame.payload) > CHUNK_MAX:
        raise IntegrityError("frame.oversize", f"a frame's payload exceeds {CHUNK_MAX} bytes.")


def encode_header(frame: Frame) -> bytes:
    """The frame without its payload, as protobuf.

    Raises:
        IntegrityError: when :func:`check_frame` refuses the frame.
    """
    check_frame(frame)
    header = frame_pb2.Header(
        session=frame.session,
        channel=_CHANNELS[frame.channel],  # type: ignore[arg-type]
        sequence=frame.sequence,
        kind=frame.kind,
        plan=frame.plan,
        last=frame.last,
        version=VERSION,
    )
    return header.SerializeToString(deterministic=True)


def decode_header(header: bytes, payload: bytes) -> Frame:
    """The frame of an encoded header and its payload.

    Raises:
        IntegrityError: for anything that :func:`encode_header` would not have written.
    """
    if len(header) > HEADER_MAX:
        raise IntegrityError("frame.header", "a frame's header is too long.")
    try:
        read = frame_pb2.Header.FromString(header)
    except DecodeError:
        raise IntegrityError("frame.header", "a frame's header cannot be read.") from None
    if read.version != VERSION:
        raise IntegrityError(
            "frame.version", f"a frame is of wire version {read.version}, not {VERSION}.", todo="Update the older node."
        )
    if read.channel not in _CHANNEL_NAMES:
        raise IntegrityError("frame.channel", "a frame's channel is neither control nor engine.")
    channel = _CHANNEL_NAMES[read.channel]
    frame = Frame(read.session, channel, read.sequence, read.kind, read.plan, payload, read.last)
    # Unknown fields and other spellings of the same header fail here.
    if encode_header(frame) != header:
        raise IntegrityError("frame.canonical", "a frame's header is not in its canonical form.")
    return frame


def encode_frame(frame: Frame) -> bytes:
    """The frame as it travels on a link.

    Raises:
        IntegrityError: when :func:`check_frame` refuses the frame.
    """
    header = encode_header(frame)
    lead = parts.opening(1, len(header)) + header + parts.opening(2, len(frame.payload))
    return b"".join((lead, frame.payload))


def decode_frame(data: bytes) -> Frame:
    """The frame that :func:`encode_frame` wrote.

    Raises:
        IntegrityError: for anything else.
    """
    header, payload = parts.split(memoryview(data), (1, 2), what="a frame")
    if len(payload) > CHUNK_MAX:
        raise IntegrityError("frame.oversize", f"a frame's payload exceeds {CHUNK_MAX} bytes.")
    return decode_header(bytes(header), bytes(payload))


def cut(
    data: bytes, *, session: bytes, channel: FrameChannel, kind: str, plan: bytes, start: int = 0
) -> Iterator[Frame]:
    """The message ``data`` in frames of at most ``CHUNK_MAX`` bytes, numbered from ``start``; at least one frame."""
    count = max(1, -(-len(data) // CHUNK_MAX))
    view = memoryview(data)
    for index in range(count):
        piece = data if count == 1 else bytes(view[index * CHUNK_MAX : (index + 1) * CHUNK_MAX])
        yield Frame(session, channel, start + index, kind, plan, piece, index == count - 1)


class Numbering:
    """Gives each frame its number: one count for each (receiver, session, channel)."""

    def __init__(self) -> None:
        self._next: dict[tuple[PartyId, bytes, FrameChannel], int] = {}

    def frames(
        self, to: PartyId, data: bytes, *, session: bytes, channel: FrameChannel, kind: str, plan: bytes
    ) -> Iterator[Frame]:
        """The message ``data`` to ``to`` in numbered frames. Exhaust it, or the numbers it did not give are lost."""
        key = (to, session, channel)
        start = self._next.get(key, 0)
        for frame in cut(data, session=session, channel=channel, kind=kind, plan=plan, start=start):
            yield frame
            # After the yield: a frame that could not be handed over has not used its number.
            self._next[key] = frame.sequence + 1

    def forget(self, *, session: bytes | None = None, to: PartyId | None = None) -> None:
        """Drop the counts of an ended session, or of a link that broke."""
        for key in [k for k in self._next if session in (None, k[1]) and to in (None, k[0])]:
            del self._next[key]


@dataclass(frozen=True)
class Received:
    """A whole message from ``sender``; ``data`` is what :func:`xbcompute.wire.codec.decode_fields` reads."""

    sender: PartyId
    session: bytes
    channel: FrameChannel
    kind: str
    plan: bytes
    data: bytes


@dataclass
class _Open:
    expected: int = 0
    size: int = 0
    first: Frame | None = None
    pieces: list[bytes] = field(default_factory=list)


class Assembler:
    """Puts frames together again, separately for each (sender, session, channel).

    A frame that is refused changes nothing, so the caller may go on or end the session; it should end it.
    """

    def __init__(self, limit: int = MESSAGE_MAX) -> None:
        self._limit = limit
        self._open: dict[tuple[PartyId, bytes, FrameChannel], _Open] = {}

    def add(self, sender: PartyId, frame: Frame) -> Received | None:
        """Take a frame; the message it ends, or None.

        Raises:
            IntegrityError: a number twice or left out, another kind or plan inside a message, too long a message.
        """
        check_frame(frame)
        state = self._open.setdefault((sender, frame.session, frame.channel), _Open())
        check_sequence(sender, frame, state.expected)
        first = state.first or frame
        if frame.kind != first.kind or frame.plan != first.plan:
            raise IntegrityError("frame.mixed", f"{sender} changed kind or plan inside message {first.kind}.")
        if state.size + len(frame.payload) > self._limit:
            raise IntegrityError("frame.message", f"message {frame.kind} of {sender} exceeds {self._limit} bytes.")
        state.expected += 1
        if not frame.last:
            state.first = first
            state.size += len(frame.payload)
            state.pieces.append(frame.payload)
            return None
        data = b"".join((*state.pieces, frame.payload)) if state.pieces else frame.payload
        state.first, state.size, state.pieces = None, 0, []
        return Received(sender, frame.session, frame.channel, frame.kind, frame.plan, data)

    def forget(self, *, session: bytes | None = None, sender: PartyId | None = None) -> None:
        """Drop the counts and unfinished messages of an ended session, or of a link that broke."""
        for key in [k for k in self._open if session in (None, k[1]) and sender in (None, k[0])]:
            del self._open[key]


def check_sequence(sender: PartyId, frame: Frame, expected: int) -> None:
    """Refuse a frame that is not the next of its (sender, session, channel).

    Raises:
        IntegrityError: ``frame.replay`` for a number already taken, ``frame.gap`` for one that skips some.
    """
    if frame.sequence < expected:
        raise IntegrityError("frame.replay", f"{sender} sent frame {frame.sequence} of {frame.kind} again.")
    if frame.sequence > expected:
        raise IntegrityError("frame.gap", f"{sender} skipped frames before {frame.sequence} of {frame.kind}.")
