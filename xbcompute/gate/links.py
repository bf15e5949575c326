"""What both borders share: links, bounded queues, frame checks, accounts, and who is missing."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import TypeAlias

from xbcompute.core.errors import IntegrityError, PeerError, XbError
from xbcompute.core.frame import CHUNK_MAX, Frame, FrameChannel
from xbcompute.core.parties import PartyId
from xbcompute.gate.accounting import Accounts
from xbcompute.wire.frames import NO_SESSION, Numbering, check_sequence

OnFrame: TypeAlias = Callable[[PartyId, Frame], Awaitable[None]]
OnLink: TypeAlias = Callable[[PartyId, bool], None]
OnViolation: TypeAlias = Callable[[PartyId, bytes | None, XbError], None]

QUEUE_MAX = 16 * CHUNK_MAX
"""Bytes that wait for one slow peer before ``send`` waits."""

SESSIONS_MAX = 4096
"""Sessions that one peer may have open on a link."""

log = logging.getLogger("xbcompute.gate")


class Outbox:
    """Frames that wait for one link: bounded in bytes, first in, first out, also among those who wait to put."""

    def __init__(self, peer: PartyId, limit: int = QUEUE_MAX) -> None:
        self._peer = peer
        self._limit = limit
        self._size = 0
        self._waiting: deque[tuple[Frame, bytes, int]] = deque()
        self._turn = asyncio.Lock()
        self._room = asyncio.Event()
        self._ready = asyncio.Event()
        self._closed = False

    async def put(self, frame: Frame, encoded: bytes, size: int) -> None:
        """Add a frame of ``size`` bytes once there is room.

        Raises:
            PeerError: the link is or went down.
        """
        async with self._turn:
            while self._size and self._size + size > self._limit and not self._closed:
                self._room.clear()
                await self._room.wait()
            if self._closed:
                raise down(self._peer)
            self._size += size
            self._waiting.append((frame, encoded, size))
            self._ready.set()

    async def get(self) -> tuple[Frame, bytes] | None:
        """The next frame, also encoded; None once the link is down."""
        while not self._waiting and not self._closed:
            self._ready.clear()
            await self._ready.wait()
        if self._closed:
            return None
        frame, encoded, size = self._waiting.popleft()
        self._size -= size
        self._room.set()
        return frame, encoded

    def close(self) -> None:
        """Drop what waits and wake everyone."""
        self._closed = True
        self._waiting.clear()
        self._size = 0
        self._room.set()
        self._ready.set()


class Link:
    """One live stream between two parties; numbers and sessions live and die with it."""

    def __init__(self, peer: PartyId) -> None:
        self.peer = peer
        self.outbox = Outbox(peer)
        self.sent: set[bytes] = set()
        self._expected: dict[tuple[bytes, FrameChannel], int] = {}
        self._refused: set[bytes] = set()

    @property
    def sessions(self) -> set[bytes]:
        """Every session that used this link in either direction."""
        return self.sent | self._refused | {session for session, _ in self._expected}

    def admit(self, frame: Frame, void: Collection[bytes]) -> bool:
        """Whether an incoming frame goes on to the node; False drops it silently, in a session already refused.

        Raises:
            IntegrityError: once a session; the frame repeats or skips a number, or its session broke with another link.
        """
        if frame.session in self._refused:
            return False
        key = (frame.session, frame.channel)
        try:
            if frame.session in void:
                raise IntegrityError("gate.void", f"{self.peer} sent {frame.kind} in a session whose link broke.")
            if key not in self._expected and len(self._expected) >= 2 * SESSIONS_MAX:
                raise IntegrityError("gate.sessions", f"{self.peer} has more than {SESSIONS_MAX} sessions open.")
            check_sequence(self.peer, frame, self._expected.get(key, 0))
        except IntegrityError:
            if len(self._refused) < SESSIONS_MAX:
                self._refused.add(frame.session)
            raise
        self._expected[key] = frame.sequence + 1
        return True

    def forget(self, session: bytes) -> None:
        """Drop the counts of an ended session."""
        self.sent.discard(session)
        self._refused.discard(session)
        for channel in ("control", "engine"):
            self._expected.pop((session, channel), None)


class Links(ABC):
    """A party's links to its peers. Subclasses make the streams; everything that is counted or refused is here."""

    def __init__(
        self,
        *,
        me: PartyId,
        peers: Iterable[PartyId],
        on_frame: OnFrame,
        on_link: OnLink,
        on_violation: OnViolation | None = None,
    ) -> None:
        self.me = me
        self.accounts = Accounts(me)
        self._peers = tuple(peers)
        self._on_frame = on_frame
        self._on_link = on_link
        self._on_violation = on_violation
        self._links: dict[PartyId, Link] = {}
        self._void: dict[PartyId, set[bytes]] = {peer: set() for peer in self._peers}
        self._reasons: dict[PartyId, str] = {}
        self._numbers = Numbering()
        self._turns = {peer: asyncio.Lock() for peer in self._peers}
        self._changed = asyncio.Event()

    @abstractmethod
    async def start(self) -> int | None:
        """Begin to listen and to dial; the bound port, or None."""

    @abstractmethod
    async def stop(self) -> None:
        """End every link and stop listening."""

    @property
    def up(self) -> frozenset[PartyId]:
        """The peers whose link is up."""
        return frozenset(self._links)

    async def linked(self, timeout: float, peers: Collection[PartyId] | None = None) -> None:
        """Return once the links to ``peers`` (all, unless named) are up.

        Raises:
            PeerError: naming who is missing after ``timeout`` seconds, and why as far as this side can tell.
        """
        wanted = self._peers if peers is None else tuple(peers)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while missing := [peer for peer in wanted if peer not in self._links]:
            self._changed.clear()
            left = deadline - loop.time()
            try:
                await asyncio.wait_for(self._changed.wait(), max(left, 0))
            except TimeoutError:
                why = "; ".join(f"{peer}: {self._reasons.get(peer, self._waiting_for(peer))}" for peer in missing)
                raise PeerError("peer.missing", f"no link to {', '.join(missing)} ({why}).") from None

    def _waiting_for(self, peer: PartyId) -> str:
        return f"{peer} is to dial and has not, or a call was refused (the log names it)"

    async def send(self, peer: PartyId, frame: Frame) -> None:
        """Hand over one frame, whose number the caller gave; waits while the peer is slow.

        Raises:
            PeerError: the link is down, or broke after this session began. IntegrityError: the frame has no valid form.
        """
        await self._send(self._link(peer), frame, self._encode(frame))

    async def send_all(self, peers: Iterable[PartyId], frame: Frame) -> None:
        """Hand over one frame to several peers at which it has the same number; encoded once.

        Raises:
            As :meth:`send`; peers before the one that failed have it.
        """
        encoded = self._encode(frame)
        for peer in peers:
            await self._send(self._link(peer), frame, encoded)

    def _link(self, peer: PartyId) -> Link:
        link = self._links.get(peer)
        if link is None:
            raise down(peer)
        return link

    async def _send(self, link: Link, frame: Frame, encoded: bytes) -> None:
        peer = link.peer
        if frame.session in self._void[peer]:
            raise PeerError("peer.broken", f"the link to {peer} broke during this session.")
        link.sent.add(frame.session)
        size = self._wire_size(frame, encoded)
        await link.outbox.put(frame, encoded, size)
        self.accounts.add("out", peer, frame, size)

    async def send_message(
        self, peer: PartyId, data: bytes, *, session: bytes, channel: FrameChannel, kind: str, plan: bytes
    ) -> None:
        """Send a whole message in frames numbered here; never use it and own numbers in one (session, channel).

        Raises:
            PeerError: the link is down. IntegrityError: session, kind or plan has no valid form.
        """
        if peer not in self._turns:
            raise down(peer)
        async with self._turns[peer]:
            # The same link for the whole message: numbers start again with the next one.
            link = self._link(peer)
            for frame in self._numbers.frames(peer, data, session=session, channel=channel, kind=kind, plan=plan):
                await self._send(link, frame, self._encode(frame))

    def forget(self, session: bytes) -> None:
        """Drop what is remembered of an ended session (its accounts stay until ``accounts.forget``)."""
        self._numbers.forget(session=session)
        for link in self._links.values():
            link.forget(session)
        for void in self._void.values():
            void.discard(session)

    @abstractmethod
    def _encode(self, frame: Frame) -> bytes:
        """The frame as this border carries it."""

    @abstractmethod
    def _wire_size(self, frame: Frame, encoded: bytes) -> int:
        """Its length on a link."""

    def _link_up(self, peer: PartyId) -> Link:
        link = self._links[peer] = Link(peer)
        self._reasons.pop(peer, None)
        self._changed.set()
        self._on_link(peer, True)
        return link

    def _link_down(self, link: Link, reason: str = "the link broke") -> None:
        link.outbox.close()
        if self._links.get(link.peer) is not link:
            return
        del self._links[link.peer]
        self._void[link.peer] |= link.sessions - {NO_SESSION}
        self._numbers.forget(to=link.peer)
        self._reasons[link.peer] = reason
        self._changed.set()
        self._on_link(link.peer, False)

    async def _take(self, link: Link, frame: Frame, wire: int) -> None:
        """Check, count and deliver an incoming frame; the next is read when the node is done with this one.

        What the node raises against the frame is a violation, as is a frame refused here.
        """
        try:
            if not link.admit(frame, self._void[link.peer]):
                return
            self.accounts.add("in", link.peer, frame, wire)
            await self._on_frame(link.peer, frame)
        except XbError as error:
            self._violated(link.peer, frame.session, error)

    def _violated(self, peer: PartyId, session: bytes | None, error: XbError) -> None:
        log.warning("frame of %s dropped: %s (%s)", peer, error.code, error.text)
        if self._on_violation is not None:
            self._on_violation(peer, session, error)


def down(peer: PartyId) -> PeerError:
    """The error of sending where no link is."""
    return PeerError("peer.down", f"the link to {peer} is down.")
