"""What left and what came in: frames and bytes by session, peer and kind, and a digest of all that left."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from xbcompute.core.frame import Frame
from xbcompute.core.parties import PartyId

Direction = Literal["out", "in"]


_NOTHING: Final = hashlib.sha256()


class Digests:
    """Running SHA-256 states, never changed once made, so that accounts of the same bytes share them.

    What goes to several peers is hashed once for all of them, if all that went before was the same as well.
    """

    def __init__(self) -> None:
        self._last: tuple[Any, bytes, Any] = (None, b"", None)

    def extended(self, state: Any, payload: bytes) -> Any:
        """``state`` with ``payload`` behind it."""
        before, added, after = self._last
        if state is before and payload is added:
            return after
        after = state.copy()
        after.update(payload)
        self._last = (state, payload, after)
        return after


@dataclass
class Account:
    """Sums over the frames of one (session, direction, peer, kind).

    ``payload_bytes`` counts what the frames carry, ``wire_bytes`` the frames as they travel, before TLS.
    """

    direction: Direction
    peer: PartyId
    kind: str
    frames: int = 0
    payload_bytes: int = 0
    wire_bytes: int = 0
    _hash: Any = field(default=_NOTHING, repr=False)

    @property
    def sha256(self) -> str:
        """Hex digest of all payloads that left, one after the other; of nothing for what came in."""
        digest: str = self._hash.hexdigest()
        return digest

    def add(self, frame: Frame, wire: int, digests: Digests) -> None:
        """Count one frame of ``wire`` bytes."""
        self.frames += 1
        self.payload_bytes += len(frame.payload)
        self.wire_bytes += wire
        if self.direction == "out":
            self._hash = digests.extended(self._hash, frame.payload)


class Accounts:
    """The accounts of one party. A frame counts as having left once the gate took it to send."""

    def __init__(self, me: PartyId) -> None:
        self._me = me
        self._sessions: dict[bytes, dict[tuple[Direction, PartyId, str], Account]] = {}
        self._digests = Digests()

    def add(self, direction: Direction, peer: PartyId, frame: Frame, wire: int) -> None:
        """Count ``frame``, which is ``wire`` bytes long on the link."""
        accounts = self._sessions.setdefault(frame.session, {})
        key = (direction, peer, frame.kind)
        if key not in accounts:
            accounts[key] = Account(direction, peer, frame.kind)
        accounts[key].add(frame, wire, self._digests)

    def of(self, session: bytes) -> list[Account]:
        """Every account of ``session``, sorted by direction, peer and kind."""
        accounts = self._sessions.get(session, {})
        return [accounts[key] for key in sorted(accounts)]

    def crossings(self, session: bytes) -> list[dict[str, Any]]:
        """What left this party in ``session``: ``from``, ``to``, ``kind``, ``frames``, ``bytes``, ``sha256``."""
        return [
            {
                "from": self._me,
                "to": account.peer,
                "kind": account.kind,
                "frames": account.frames,
                "bytes": account.payload_bytes,
                "sha256": account.sha256,
            }
            for account in self.of(session)
            if account.direction == "out"
        ]

    def forget(self, session: bytes) -> None:
        """Drop the accounts of a session that is in the ledger."""
        self._sessions.pop(session, None)
