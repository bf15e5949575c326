"""The border inside one process: no sockets and no TLS, but the same checks, queues and accounts."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from xbcompute.core.frame import Frame
from xbcompute.core.parties import PartyId
from xbcompute.gate.links import Link, Links, OnFrame, OnLink, OnViolation, log
from xbcompute.gate.pki import Identity
from xbcompute.gate.service import NodeService
from xbcompute.gate.tls import Peer, User
from xbcompute.wire.frames import encode_header
from xbcompute.wire.parts import opening


class MemoryHub:
    """Where the borders of one process find each other; all of them run in one event loop."""

    def __init__(self) -> None:
        self.running: dict[PartyId, MemoryBorder] = {}


class MemoryBorder(Links):
    """Same arguments as :class:`xbcompute.gate.border.Border`, and the hub; what concerns TLS is not looked at."""

    def __init__(
        self,
        hub: MemoryHub,
        *,
        federation: str = "",
        identity: Identity | None = None,
        me: PartyId,
        listen: str | None = None,
        peers: Sequence[Peer],
        users: Sequence[User] = (),
        service: NodeService | None = None,
        on_frame: OnFrame,
        on_link: OnLink,
        on_violation: OnViolation | None = None,
        reachable: bool | None = None,
        silence: float = 0.0,
    ) -> None:
        super().__init__(
            me=me,
            peers=[peer.id for peer in peers],
            on_frame=on_frame,
            on_link=on_link,
            on_violation=on_violation,
        )
        self._hub = hub
        self._pumps: dict[PartyId, asyncio.Task[None]] = {}

    async def start(self) -> int | None:
        """Link with every peer that already runs; the others will link when they start."""
        self._hub.running[self.me] = self
        for peer in self._peers:
            other = self._hub.running.get(peer)
            if other is not None and self.me in other._peers:
                self._join(other)
                other._join(self)
        return None

    def set_address(self, peer: PartyId, address: str) -> None:
        """Nothing to do: the hub knows everyone."""

    async def stop(self) -> None:
        """End every link, here and at the peers."""
        self._hub.running.pop(self.me, None)
        for peer in list(self._links):
            other = self._hub.running.get(peer)
            if other is not None:
                await other._leave(self.me)
            await self._leave(peer)

    def _join(self, other: MemoryBorder) -> None:
        link = self._link_up(other.me)
        self._pumps[other.me] = asyncio.create_task(self._pump(link, other))

    async def _leave(self, peer: PartyId) -> None:
        link = self._links.get(peer)
        pump = self._pumps.pop(peer, None)
        if link is not None:
            self._link_down(link)
        if pump is not None and pump is not asyncio.current_task():
            pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await pump

    async def _pump(self, link: Link, other: MemoryBorder) -> None:
        try:
            while (item := await link.outbox.get()) is not None:
                frame, header = item
                receiving = other._links.get(self.me)
                if receiving is None:
                    return
                await other._take(receiving, frame, self._wire_size(frame, header))
        except Exception as error:
            # A fault of the receiving node's own; its text might hold anything.
            log.error("link of %s to %s ended by %s", self.me, other.me, type(error).__name__)
            await other._leave(self.me)
            await self._leave(other.me)

    def _encode(self, frame: Frame) -> bytes:
        return encode_header(frame)

    def _wire_size(self, frame: Frame, encoded: bytes) -> int:
        return len(opening(1, len(encoded))) + len(encoded) + len(opening(2, len(frame.payload))) + len(frame.payload)
