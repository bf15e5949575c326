"""The worker's side of the border: blocking messages to peers and calls to its own node, over one socket pair."""

from __future__ import annotations

import itertools
import json
import queue
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from xbcompute.core.errors import IntegrityError, PeerError, XbError, from_public
from xbcompute.core.fields import Expect, Fields, check
from xbcompute.core.frame import CHUNK_MAX
from xbcompute.core.parties import PartyId
from xbcompute.node.pipe import BlockingPipe, Packet
from xbcompute.wire.codec import MESSAGE_MAX, decode_fields, encode_fields

BUFFER_MAX = 2 << 30
"""Bytes of messages that may wait unread; more means that peers send what nobody asked for."""


class NodeLink:
    """Reads the pipe in one thread and sorts what comes: commands, replies, and peers' messages."""

    def __init__(self, pipe: BlockingPipe) -> None:
        self.pipe = pipe
        self.commands: queue.Queue[Packet | None] = queue.Queue()
        self._replies: queue.Queue[Packet | None] = queue.Queue()
        self._messages: dict[tuple[str, str], list[bytearray]] = defaultdict(list)
        self._partial: dict[str, tuple[str, bytearray]] = {}
        self._waiting = 0
        self._failure: XbError | None = None
        self._arrived = threading.Condition()
        self._ids = itertools.count()
        self._reader = threading.Thread(target=self._read, name="xbcompute-pipe", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while (packet := self.pipe.receive()) is not None:
            what = packet.head["t"]
            if what == "frame":
                self._frame(packet)
            elif what == "reply":
                self._replies.put(packet)
            elif what == "fail":
                self._fail(from_public(json.loads(bytes(packet.payload))))
            else:
                self.commands.put(packet)
        self._fail(PeerError("node.gone", "the node process has gone."))
        self._replies.put(None)
        self.commands.put(None)

    def _fail(self, error: XbError) -> None:
        with self._arrived:
            self._failure = self._failure or error
            self._arrived.notify_all()

    def _frame(self, packet: Packet) -> None:
        sender, kind = str(packet.head["from"]), str(packet.head["kind"])
        started = self._partial.get(sender)
        if started is None and packet.head["last"]:
            whole = bytearray(packet.payload)
        else:
            if started is None:
                started = self._partial[sender] = (kind, bytearray())
            if started[0] != kind:
                self._fail(IntegrityError("frame.kind", f"{sender}: a message changed its kind half way."))
                return
            started[1].extend(packet.payload)
            if len(started[1]) > MESSAGE_MAX:
                self._fail(IntegrityError("frame.message", f"{sender}: a message of {kind} is too long."))
                started[1].clear()
                return
            if not packet.head["last"]:
                return
            del self._partial[sender]
            whole = started[1]
        with self._arrived:
            if self._failure is not None:
                return  # nobody will read it
            if self._waiting + len(whole) > BUFFER_MAX:
                self._failure = IntegrityError("frame.flood", f"{sender}: sent more than this step reads.")
                self._arrived.notify_all()
                return
            self._waiting += len(whole)
            self._messages[sender, kind].append(whole)
            self._arrived.notify_all()

    def take(self, sender: str, kind: str) -> bytearray:
        """The next whole message of this sender and kind; waits for it."""
        with self._arrived:
            while not self._messages[sender, kind]:
                if self._failure is not None:
                    raise self._failure
                self._arrived.wait()
            message = self._messages[sender, kind].pop(0)
            self._waiting -= len(message)
            return message

    def call(self, method: str, body: Mapping[str, Any], payload: bytes = b"") -> tuple[dict[str, Any], bytes]:
        """Ask the node; returns its answer, or raises the error it answered with."""
        with self._arrived:
            if self._failure is not None:
                raise self._failure
        self.pipe.send({"t": "call", "id": next(self._ids), "m": method, "body": body}, payload)
        reply = self._replies.get()
        if reply is None:
            raise PeerError("node.gone", "the node process has gone.")
        if "error" in reply.head:
            raise from_public(reply.head["error"])
        return dict(reply.head.get("body", {})), bytes(reply.payload)

    def forget(self) -> None:
        """Drop messages and failures of an ended session."""
        with self._arrived:
            self._messages.clear()
            self._partial.clear()
            self._waiting = 0
            self._failure = None


class WorkerChannel:
    """:class:`xbcompute.core.ports.Channel` for engines and programs, inside a worker."""

    def __init__(self, link: NodeLink, me: PartyId, peers: Sequence[PartyId]) -> None:
        self._link = link
        self._me = me
        self._peers = tuple(sorted(peers))

    @property
    def me(self) -> PartyId:
        """This party."""
        return self._me

    @property
    def peers(self) -> Sequence[PartyId]:
        """The other contributors, sorted."""
        return self._peers

    def send(self, to: PartyId, kind: str, fields: Fields) -> None:
        """Hand one message over to the node, in chunks."""
        self._send([to], kind, fields)

    def broadcast(self, kind: str, fields: Fields) -> None:
        """The same message to every peer; encoded once."""
        self._send(list(self._peers), kind, fields)

    def _send(self, to: list[PartyId], kind: str, fields: Fields) -> None:
        data = memoryview(encode_fields(fields))
        for start in range(0, max(len(data), 1), CHUNK_MAX):
            last = start + CHUNK_MAX >= len(data)
            head = {"t": "frame", "to": to, "kind": kind, "last": last}
            self._link.pipe.send(head, data[start : start + CHUNK_MAX])

    def recv(self, sender: PartyId, kind: str, expected: Mapping[str, Expect]) -> Fields:
        """The next message of this sender and kind, decoded and checked."""
        fields = decode_fields(self._link.take(sender, kind))
        check(fields, expected, what=kind)
        return fields
