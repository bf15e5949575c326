"""Dishonest nodes for federations that run in one process: what one sends can be changed, dropped, split or repeated.

::

    with xb.simulate(folder, in_process=True) as federation:
        def lie(to, message):
            if message.kind == "step.state" and to == "sg-centre-2":
                return [message.changed(step=99)]
            return [message]

        with Dishonest(federation, "sz-hospital-1", lie), pytest.raises(IntegrityError):
            federation.run()

The party's own node and worker stay honest; what they hand to the gate passes through the given function, message by
message. So a test says what a dishonest party sends, to whom, and everything else is the protocol's own.
"""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from xbcompute.core.canonical import dumps
from xbcompute.core.errors import InputError
from xbcompute.core.fields import Fields, Value
from xbcompute.core.frame import Frame, FrameChannel
from xbcompute.core.parties import PartyId
from xbcompute.node.app import Node
from xbcompute.simulate import Simulation
from xbcompute.simulate.nodes import MemoryNodes
from xbcompute.wire.codec import decode_fields, encode_fields
from xbcompute.wire.frames import Numbering


@dataclass(frozen=True)
class Message:
    """One whole message on its way out of a node; ``data`` is what the receiver decodes."""

    session: bytes
    channel: FrameChannel
    kind: str
    plan: bytes
    data: bytes

    @property
    def fields(self) -> dict[str, Value]:
        """The decoded fields; arrays are read-only."""
        return decode_fields(self.data)

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object of a control message."""
        text = self.fields["body"]
        assert isinstance(text, bytes)
        body: dict[str, Any] = json.loads(text)
        return body

    def with_data(self, data: bytes) -> Message:
        """The same message with other bytes."""
        return replace(self, data=data)

    def with_fields(self, fields: Fields) -> Message:
        """The same message with these fields and no others."""
        return replace(self, data=encode_fields(fields))

    def changed(self, **fields: Value) -> Message:
        """The same message with some fields changed or added."""
        return self.with_fields({**self.fields, **fields})

    def with_body(self, body: Mapping[str, Any]) -> Message:
        """A control message with another JSON object."""
        return self.with_fields({"body": dumps(body)})


Act = Callable[[PartyId, Message], Iterable[Message]]
"""Given the receiver and an honest message: what is sent instead."""


@dataclass(frozen=True)
class Sent:
    """A message that left a node, and to whom."""

    to: PartyId
    message: Message


@dataclass
class _Partial:
    kind: str = ""
    data: bytearray = field(default_factory=bytearray)


class Dishonest:
    """Puts ``act`` between the node of ``party`` and its gate until :meth:`close`; ``sent`` holds what left since.

    An ``act`` that returns its message unchanged makes a mere observer of it. Frames get fresh numbers, so a dropped or
    doubled message is not found by its number alone; :meth:`send_frames` sends frames as they are.

    Raises:
        InputError: the federation runs in processes of its own, or has no such party.
    """

    def __init__(self, federation: Simulation, party: str, act: Act | None = None) -> None:
        self._nodes = memory_nodes(federation)
        self._links = node_of(federation, party).links
        self._act: Act = act or (lambda _, message: [message])
        self._numbers = Numbering()
        self._partial: dict[tuple[PartyId, bytes], _Partial] = {}
        self._turns: dict[PartyId, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._send = self._links.send
        self.sent: list[Sent] = []
        self._links.send = self._engine  # type: ignore[method-assign]
        self._links.send_all = self._engine_all  # type: ignore[method-assign]
        self._links.send_message = self._control  # type: ignore[method-assign]

    def kinds(self, *, to: str | None = None) -> list[str]:
        """The kinds of the messages that left, in order."""
        return [sent.message.kind for sent in self.sent if to in (None, sent.to)]

    def send_frames(self, to: str, frames: Iterable[Frame]) -> None:
        """Send frames made by hand, out of any order."""

        async def send_all() -> None:
            for frame in frames:
                await self._send(PartyId(to), frame)

        self._nodes.do(send_all())

    def close(self) -> None:
        """Let the node be honest again."""
        del self._links.send, self._links.send_all, self._links.send_message

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def _engine_all(self, peers: Iterable[PartyId], frame: Frame) -> None:
        for peer in peers:
            await self._engine(peer, frame)

    async def _engine(self, peer: PartyId, frame: Frame) -> None:
        part = self._partial.setdefault((peer, frame.session), _Partial())
        part.kind = frame.kind
        part.data += frame.payload
        if frame.last:
            del self._partial[peer, frame.session]
            await self._pass(peer, Message(frame.session, frame.channel, part.kind, frame.plan, bytes(part.data)))

    async def _control(
        self, peer: PartyId, data: bytes, *, session: bytes, channel: FrameChannel, kind: str, plan: bytes
    ) -> None:
        await self._pass(peer, Message(session, channel, kind, plan, data))

    async def _pass(self, peer: PartyId, honest: Message) -> None:
        async with self._turns[peer]:
            for message in self._act(peer, honest):
                self.sent.append(Sent(peer, message))
                frames = self._numbers.frames(
                    peer,
                    message.data,
                    session=message.session,
                    channel=message.channel,
                    kind=message.kind,
                    plan=message.plan,
                )
                for frame in frames:
                    await self._send(peer, frame)


def memory_nodes(federation: Simulation) -> MemoryNodes:
    """The nodes of a federation that runs in this process.

    Raises:
        InputError: it does not.
    """
    if not isinstance(federation.nodes, MemoryNodes):
        raise InputError("faults.processes", "this needs nodes in this process.", todo="Start it with in_process=True.")
    return federation.nodes


def node_of(federation: Simulation, party: str) -> Node:
    """The node of one party of a federation that runs in this process; use it from its own loop only.

    Raises:
        InputError: the federation runs in processes of its own, or has no such party.
    """
    node = memory_nodes(federation).running.get(PartyId(party))
    if node is None:
        raise InputError("faults.party", f"'{party}' runs no node here.")
    return node
