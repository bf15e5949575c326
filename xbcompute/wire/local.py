"""Frames between a node and its worker: length-prefixed records on a local socket pair.

A record is ``party length, header length, payload length`` (1, 2 and 4 bytes, big-endian), the party's id, the header
as protobuf, the payload as it is. The party is the receiver on the way out and the sender on the way in.
"""

from __future__ import annotations

import asyncio
import socket
import struct

from xbcompute.core.errors import IntegrityError, PeerError
from xbcompute.core.frame import CHUNK_MAX, Frame
from xbcompute.core.parties import PartyId
from xbcompute.wire.frames import HEADER_MAX, decode_header, encode_header

_PREFIX = struct.Struct(">BHI")
STREAM_LIMIT = 4 * CHUNK_MAX
"""Buffer limit to open the node's stream reader with; the default of 64 KiB makes 1 MiB frames slow."""


def _lead(party: PartyId, frame: Frame) -> bytes:
    name = party.encode("utf-8")
    if not 0 < len(name) < 256:
        raise IntegrityError("local.party", "a record needs a party id of 1 to 255 bytes.")
    header = encode_header(frame)
    return _PREFIX.pack(len(name), len(header), len(frame.payload)) + name + header


def frame_to_bytes(party: PartyId, frame: Frame) -> bytes:
    """The whole record as one byte string; for large payloads the writers below copy less."""
    return _lead(party, frame) + frame.payload


def _sizes(prefix: bytes) -> tuple[int, int, int]:
    name, header, payload = _PREFIX.unpack(prefix)
    if name == 0 or header > HEADER_MAX or payload > CHUNK_MAX:
        raise IntegrityError("local.record", "a record on the local socket has lengths beyond their limits.")
    return name, header, payload


def _record(name: bytes, header: bytes, payload: bytes) -> tuple[PartyId, Frame]:
    try:
        party = PartyId(name.decode("utf-8"))
    except UnicodeDecodeError:
        raise IntegrityError("local.party", "a record's party id is not text.") from None
    return party, decode_header(header, payload)


def send_frame(sock: socket.socket, party: PartyId, frame: Frame) -> None:
    """Write one record to a blocking socket, without copying the payload.

    Raises:
        PeerError: the other process is gone.
    """
    lead = _lead(party, frame)
    try:
        sent = sock.sendmsg((lead, frame.payload))
        if sent < len(lead):
            sock.sendall(lead[sent:])
            sent = len(lead)
        if sent < len(lead) + len(frame.payload):
            sock.sendall(memoryview(frame.payload)[sent - len(lead) :])
    except (BrokenPipeError, ConnectionError) as error:
        raise _gone() from error


def receive_frame(sock: socket.socket) -> tuple[PartyId, Frame] | None:
    """Read one record from a blocking socket; None when the other process closed it between records.

    Raises:
        PeerError: the other process died inside a record. IntegrityError: the bytes are no record.
    """
    prefix = _exactly(sock, _PREFIX.size, may_end=True)
    if prefix is None:
        return None
    name, header, payload = _sizes(prefix)
    lead = _exactly(sock, name + header) or b""
    return _record(lead[:name], lead[name:], (_exactly(sock, payload) or b"") if payload else b"")


def _exactly(sock: socket.socket, size: int, *, may_end: bool = False) -> bytes | None:
    pieces: list[bytes] = []
    missing = size
    while missing:
        try:
            piece = sock.recv(missing, socket.MSG_WAITALL)
        except ConnectionError as error:
            raise _gone() from error
        if not piece:
            if may_end and missing == size:
                return None
            raise _gone()
        pieces.append(piece)
        missing -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def write_frame(writer: asyncio.StreamWriter, party: PartyId, frame: Frame) -> None:
    """Write one record to a stream and wait while its buffer is full.

    Raises:
        PeerError: the other process is gone.
    """
    try:
        writer.write(_lead(party, frame))
        writer.write(frame.payload)
        await writer.drain()
    except ConnectionError as error:
        raise _gone() from error


async def read_frame(reader: asyncio.StreamReader) -> tuple[PartyId, Frame] | None:
    """Read one record from a stream; None when the other process closed it between records.

    Raises:
        PeerError: the other process died inside a record. IntegrityError: the bytes are no record.
    """
    try:
        name, header, payload = _sizes(await reader.readexactly(_PREFIX.size))
    except asyncio.IncompleteReadError as end:
        if not end.partial:
            return None
        raise _gone() from None
    except ConnectionError as error:
        raise _gone() from error
    try:
        lead = await reader.readexactly(name + header)
        return _record(lead[:name], lead[name:], await reader.readexactly(payload))
    except (asyncio.IncompleteReadError, ConnectionError):
        raise _gone() from None


def _gone() -> PeerError:
    return PeerError("local.gone", "the process at the other end of the local socket is gone.")
