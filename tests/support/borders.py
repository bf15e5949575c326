"""Borders to test with: nodes that note what reaches them, over gRPC or in memory, and a dishonest peer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from xbcompute.core.errors import XbError
from xbcompute.core.frame import Frame
from xbcompute.core.parties import PartyId
from xbcompute.gate.border import PEER_SERVICE, Border
from xbcompute.gate.memory import MemoryBorder, MemoryHub
from xbcompute.gate.pki import Identity, read_pin
from xbcompute.gate.service import NodeService
from xbcompute.gate.tls import SILENCE, Peer, User, dial_credentials, dial_options

FEDERATION = "trial"
SESSION = bytes(range(16))
OTHER_SESSION = bytes(range(1, 17))
PLAN = bytes(range(32))


def frame(sequence: int = 0, payload: bytes = b"x", **changes: Any) -> Frame:
    values: dict[str, Any] = {"session": SESSION, "channel": "engine", "kind": "masked", "plan": PLAN, "last": True}
    return Frame(sequence=sequence, payload=payload, **(values | changes))


@dataclass
class Node:
    """One party with its border; notes frames, links and violations in the order they came."""

    me: PartyId
    identity: Identity
    border: Border | MemoryBorder = field(init=False)
    frames: list[tuple[str, Frame]] = field(default_factory=list)
    links: list[tuple[str, bool]] = field(default_factory=list)
    violations: list[tuple[str, bytes | None, XbError]] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    fault: Exception | None = None
    port: int | None = None

    def __post_init__(self) -> None:
        self.gate.set()

    async def on_frame(self, peer: PartyId, frame: Frame) -> None:
        await self.gate.wait()
        if self.fault is not None:
            raise self.fault
        self.frames.append((peer, frame))

    def callbacks(self) -> dict[str, Any]:
        return {
            "on_frame": self.on_frame,
            "on_link": lambda peer, up: self.links.append((peer, up)),
            "on_violation": lambda peer, session, error: self.violations.append((peer, session, error)),
        }

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def codes(self) -> list[str]:
        return [error.code for _, _, error in self.violations]


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for ``condition``; a test that never sees it fails here."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def grpc_node(
    node: Node,
    peers: Sequence[Peer],
    *,
    users: Sequence[User] = (),
    service: NodeService | None = None,
    listen: str | None = "127.0.0.1:0",
    silence: float = SILENCE,
) -> Border:
    return Border(
        federation=FEDERATION,
        identity=node.identity,
        me=node.me,
        listen=listen,
        peers=peers,
        users=users,
        service=service,
        silence=silence,
        **node.callbacks(),
    )


def make_nodes(names: str) -> dict[str, Node]:
    return {name: Node(PartyId(name), Identity.throwaway(FEDERATION, name)) for name in names}


def peers_of(nodes: dict[str, Node], me: str) -> list[Peer]:
    return [Peer(node.me, None, node.identity.certificate) for name, node in nodes.items() if name != me]


@contextlib.asynccontextmanager
async def federation(kind: str, names: str = "ab") -> AsyncIterator[dict[str, Node]]:
    """Linked nodes named by single letters; ``kind`` is grpc or memory."""
    nodes = make_nodes(names)
    hub = MemoryHub()
    for name, node in nodes.items():
        if kind == "grpc":
            node.border = grpc_node(node, peers_of(nodes, name))
        else:
            node.border = MemoryBorder(hub, me=node.me, peers=peers_of(nodes, name), **node.callbacks())
    try:
        for node in nodes.values():
            node.port = await node.border.start()
        for node in nodes.values():
            for other in nodes.values():
                if other is not node:
                    node.border.set_address(other.me, other.address)
        await asyncio.gather(*(node.border.linked(20) for node in nodes.values()))
        yield nodes
    finally:
        for node in nodes.values():
            node.gate.set()
            await node.border.stop()


@contextlib.asynccontextmanager
async def alone(
    name: str, known: dict[str, Node], *, users: Sequence[User] = (), service: NodeService | None = None
) -> AsyncIterator[Node]:
    """One listening node that pins ``known`` others, none of which runs; callers of every kind can be tried on it."""
    node = known[name]
    node.border = grpc_node(node, peers_of(known, name), users=users, service=service)
    node.port = await node.border.start()
    try:
        yield node
    finally:
        node.gate.set()
        await node.border.stop()


@contextlib.asynccontextmanager
async def raw_link(
    node: Node, identity: Identity, *, claims: str, to: str | None = None, federation: str = FEDERATION
) -> AsyncIterator[Any]:
    """A stream to ``node`` made by hand, over which any bytes can be sent."""
    pin = read_pin(node.identity.certificate, whose=node.me)
    credentials = dial_credentials(identity, pin)
    names = (("xb-federation", federation), ("xb-from", claims), ("xb-to", to or node.me))
    async with grpc.aio.secure_channel(node.address, credentials, options=dial_options(pin)) as channel:
        call: Any = channel.stream_stream(f"/{PEER_SERVICE}/Link")(metadata=names)
        try:
            yield call
        finally:
            call.cancel()
