"""The control messages of one session: told to peers, heard in order, refused when the session has failed."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from xbcompute.core.canonical import dumps
from xbcompute.core.errors import IntegrityError, PeerError, XbError
from xbcompute.core.frame import Frame
from xbcompute.core.parties import PartyId
from xbcompute.gate.links import Links
from xbcompute.wire.codec import decode_fields, encode_fields
from xbcompute.wire.frames import Assembler

CONTROL_MAX = 64 << 20
NO_PLAN = bytes(32)
AGAIN_MAX = 8
"""How often a checkpoint is asked for again when other sessions countersign meanwhile."""

TIMES: Mapping[str, int] = {
    "session.propose": 1,
    "session.finding": 1,
    "session.plan": 1,
    "session.vote": 1,
    "session.release": 1,
    "session.abort": 1,
    "ledger.seen": 1,
    "ledger.checkpoint": AGAIN_MAX,
    "ledger.cosign": AGAIN_MAX,
}
"""Every control message of a session, and how often one party may send it: what waits unread stays bounded."""


class Conversation:
    """One party's end of a session: numbering of what it sends, and an inbox by sender and kind."""

    def __init__(self, session: bytes, links: Links) -> None:
        self.session = session
        self.plan = NO_PLAN
        self._links = links
        self._engine_next: dict[PartyId, int] = defaultdict(int)
        self._assembler = Assembler(limit=CONTROL_MAX)
        self._inbox: dict[tuple[PartyId, str], asyncio.Queue[dict[str, Any]]] = defaultdict(asyncio.Queue)
        self._heard: Counter[tuple[PartyId, str]] = Counter()
        self.failed: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.failed.add_done_callback(lambda future: future.exception())

    async def tell(
        self, to: Iterable[PartyId], kind: str, body: Mapping[str, Any], *, plan: bytes | None = None
    ) -> None:
        """Send one control message to each of ``to``, under the session's plan unless another is given.

        Raises:
            XbError: what the session failed with, after which only its end is told. PeerError: a link is down.
        """
        if kind != "session.abort":
            self.require()
        under = self.plan if plan is None else plan
        message = encode_fields({"body": dumps(body)})
        for party in to:
            await self._links.send_message(
                party, message, session=self.session, channel="control", kind=kind, plan=under
            )

    async def engine_chunk(self, to: Iterable[PartyId], kind: str, last: bool, payload: bytes) -> None:
        """Send one chunk of an engine's message."""
        numbered: dict[int, list[PartyId]] = defaultdict(list)
        for party in to:
            numbered[self._engine_next[party]].append(party)
            self._engine_next[party] += 1
        for sequence, parties in numbered.items():
            frame = Frame(self.session, "engine", sequence, kind, self.plan, payload, last)
            await self._links.send_all(parties, frame)

    def arrived(self, sender: PartyId, frame: Frame) -> None:
        """Take in one control frame.

        Raises:
            IntegrityError: the message is not a control message, or came too often.
        """
        if frame.kind not in TIMES:
            raise IntegrityError("session.message", f"{sender} sent {frame.kind}, which is no control message.")
        received = self._assembler.add(sender, frame)
        if received is None:
            return
        fields = decode_fields(received.data)
        body = fields.get("body")
        if set(fields) != {"body"} or not isinstance(body, bytes):
            raise IntegrityError("session.message", f"{sender} sent a control message of another form.")
        try:
            parsed = json.loads(body)
        except (ValueError, RecursionError):
            raise IntegrityError("session.message", f"{sender} sent a control message that is no JSON.") from None
        if not isinstance(parsed, dict):
            raise IntegrityError("session.message", f"{sender} sent a control message that is no object.")
        if self._heard[sender, received.kind] >= TIMES[received.kind]:
            raise IntegrityError("session.message", f"{sender} sent {received.kind} more often than a session has it.")
        self._heard[sender, received.kind] += 1
        self._inbox[sender, received.kind].put_nowait(parsed)

    async def hear(self, sender: PartyId, kind: str, *, within: float) -> dict[str, Any]:
        """The next message of this sender and kind.

        Raises:
            PeerError: none came within ``within`` seconds. XbError: the session failed meanwhile.
        """
        waiting = asyncio.ensure_future(self._inbox[sender, kind].get())
        both: set[asyncio.Future[Any]] = {waiting, self.failed}
        done, _ = await asyncio.wait(both, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        if waiting in done:
            return waiting.result()
        waiting.cancel()
        if self.failed in done:
            self.failed.result()
        raise PeerError(
            "peer.silent",
            f"{sender} did not answer within {within:g} s ({kind}).",
            todo="Ask the party, then run again.",
        )

    def waiting(self, sender: PartyId, kind: str) -> dict[str, Any] | None:
        """A message of this sender and kind that has already come, if any."""
        inbox = self._inbox[sender, kind]
        return None if inbox.empty() else inbox.get_nowait()

    async def hear_all(self, senders: Iterable[PartyId], kind: str, *, within: float) -> dict[PartyId, dict[str, Any]]:
        """One message of this kind from each of ``senders``."""
        senders = tuple(senders)
        bodies = await asyncio.gather(*(self.hear(sender, kind, within=within) for sender in senders))
        return dict(zip(senders, bodies, strict=True))

    def require(self) -> None:
        """Raise what the session failed with, if it has."""
        if self.failed.done():
            self.failed.result()

    def fail(self, error: XbError) -> None:
        """End every present and future wait with ``error``."""
        if not self.failed.done():
            self.failed.set_exception(error)
