"""What happened in a session, in order, for whoever watches: states, rounds, and how it ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal, TypeAlias

from xbcompute.core.errors import HeldError, InputError, IntegrityError, PeerError, RefusedError, XbError
from xbcompute.core.parties import PartyId

SessionState: TypeAlias = Literal[
    "proposed",
    "agreed",
    "keyed",
    "running",
    "checking",
    "released",
    "countersigned",
    "closed",
    "refused",
    "held",
    "interrupted",
    "aborted",
]
ENDED: frozenset[SessionState] = frozenset({"closed", "refused", "held", "interrupted", "aborted"})


def state_of(error: XbError) -> SessionState:
    """The state a session ends in for an error."""
    if isinstance(error, RefusedError):
        return "refused"
    if isinstance(error, HeldError):
        return "held"
    if isinstance(error, PeerError):
        return "interrupted"
    assert isinstance(error, (InputError, IntegrityError, XbError))
    return "aborted"


class Events:
    """A session's events; any number of watchers, each from the beginning."""

    def __init__(self, session: str, party: PartyId) -> None:
        self._common = {"session": session, "party": party}
        self._all: list[dict[str, Any]] = []
        self._changed = asyncio.Condition()
        self.state: SessionState = "proposed"

    async def add(self, state: SessionState, more: Mapping[str, Any] | None = None) -> None:
        """Record one event and wake the watchers."""
        async with self._changed:
            self.state = state
            self._all.append({**self._common, "state": state, **(more or {})})
            self._changed.notify_all()

    async def watch(self) -> AsyncIterator[dict[str, Any]]:
        """Every event from the first to the one that ends the session."""
        position = 0
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda seen=position: len(self._all) > seen)  # type: ignore[misc]
                fresh = self._all[position:]
            position += len(fresh)
            for event in fresh:
                yield event
                if event["state"] in ENDED:
                    return

    async def ended(self) -> None:
        """Return once the session has ended."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.state in ENDED)
