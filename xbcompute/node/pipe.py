"""Packets between a node and its worker over a socket pair: a small JSON head and raw bytes.

Both ends are this party's own processes; what peers sent travels in the bytes and is decoded by ``wire`` only.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from xbcompute.core.errors import IntegrityError, PeerError

_LENGTHS = struct.Struct("<II")
HEAD_MAX = 1 << 16
PAYLOAD_MAX = 1 << 30


@dataclass(frozen=True)
class Packet:
    """``head`` says what it is; ``payload`` holds the bytes."""

    head: Mapping[str, Any]
    payload: bytes | bytearray | memoryview


def _lengths(raw: bytes | bytearray) -> tuple[int, int]:
    head, payload = _LENGTHS.unpack(raw)
    if head > HEAD_MAX or payload > PAYLOAD_MAX:
        raise IntegrityError("pipe.size", "a packet between node and worker is larger than any this release makes.")
    return head, payload


class BlockingPipe:
    """The worker's end; any thread may send, one thread receives."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._lock = threading.Lock()

    def send(self, head: Mapping[str, Any], payload: bytes | bytearray | memoryview = b"") -> None:
        """Write one packet; returns when the operating system has taken all of it.

        Raises:
            PeerError: the node has closed its end.
        """
        body = json.dumps(head, separators=(",", ":")).encode()
        first = _LENGTHS.pack(len(body), len(payload)) + body
        with self._lock:
            try:
                sent = self._socket.sendmsg([first, payload])
                if sent < len(first):
                    self._socket.sendall(first[sent:])
                    sent = len(first)
                if sent - len(first) < len(payload):
                    self._socket.sendall(memoryview(payload)[sent - len(first) :])
            except OSError:
                raise PeerError("node.gone", "the node process has gone.") from None

    def receive(self) -> Packet | None:
        """The next packet, or None when the node has closed its end."""
        raw = self._exactly(_LENGTHS.size)
        if raw is None:
            return None
        head_size, payload_size = _lengths(raw)
        head = self._exactly(head_size)
        payload = self._exactly(payload_size)
        if head is None or payload is None:
            return None
        return Packet(json.loads(bytes(head)), payload)

    def close(self) -> None:
        """Close this end."""
        self._socket.close()

    def _exactly(self, size: int) -> bytearray | None:
        data = bytearray(size)
        view = memoryview(data)
        got = 0
        while got < size:
            try:
                count = self._socket.recv_into(view[got:])
            except OSError:
                return None
            if not count:
                return None
            got += count
        return data


async def read_packet(reader: asyncio.StreamReader) -> Packet | None:
    """The node's end: the next packet, or None when the worker is gone."""
    try:
        head_size, payload_size = _lengths(await reader.readexactly(_LENGTHS.size))
        head = await reader.readexactly(head_size)
        payload = await reader.readexactly(payload_size) if payload_size else b""
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return Packet(json.loads(head), payload)


async def write_packet(
    writer: asyncio.StreamWriter, head: Mapping[str, Any], payload: bytes | bytearray | memoryview = b""
) -> None:
    """The node's end: write one packet and wait while the worker's buffer is full."""
    body = json.dumps(head, separators=(",", ":")).encode()
    writer.write(_LENGTHS.pack(len(body), len(payload)) + body)
    if len(payload):
        writer.write(payload)
    await writer.drain()
