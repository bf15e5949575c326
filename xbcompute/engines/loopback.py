"""A blocking channel between threads of one process, for tests and for ``--in-process``."""

from __future__ import annotations

import queue
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from xbcompute.core import fields as messages
from xbcompute.core.errors import InputError, IntegrityError, PeerError
from xbcompute.core.fields import Expect, Fields, Value
from xbcompute.core.parties import PartyId


class MemoryJournal:
    """A :class:`~xbcompute.core.ports.Journal` that lasts as long as the process; ``released`` is what it was told."""

    def __init__(self) -> None:
        self.begun: list[tuple[int, int]] = []
        self.released: list[tuple[int, int]] = []

    def begin_round(self, epoch: int, round: int) -> None:
        """See :class:`Journal`."""
        if self.begun and (epoch, round) <= self.begun[-1]:
            raise IntegrityError("journal.round", f"round {epoch}.{round} or a later one was begun before.")
        self.begun.append((epoch, round))

    def seed_released(self, epoch: int, round: int) -> None:
        """See :class:`Journal`."""
        self.released.append((epoch, round))


_Route = tuple[PartyId, PartyId, str]


class _Hub:
    """The queues of all routes, and who has left."""

    def __init__(self, parties: Sequence[PartyId], timeout: float) -> None:
        self.parties = tuple(parties)
        self.timeout = timeout
        self._queues: dict[_Route, queue.SimpleQueue[Fields | None]] = {}
        self._gone: set[PartyId] = set()

    def put(self, sender: PartyId, to: PartyId, kind: str, fields: Fields | None) -> None:
        self._queue(sender, to, kind).put(fields)

    def get(self, sender: PartyId, to: PartyId, kind: str) -> Fields:
        waiting = self._queue(sender, to, kind)
        try:
            # A peer that has left may still have messages here; after the last of them there is nothing to wait for.
            fields = waiting.get(timeout=0.0 if sender in self._gone and waiting.empty() else self.timeout)
        except queue.Empty:
            fields = None
        if fields is None:
            raise PeerError(
                "peer.silent", f"{sender} sent no {kind} message in time.", todo="Ask the party, then resume."
            )
        return fields

    def leave(self, party: PartyId) -> None:
        self._gone.add(party)
        for sender, to, kind in list(self._queues):
            if sender == party:
                self.put(sender, to, kind, None)

    def _queue(self, sender: PartyId, to: PartyId, kind: str) -> queue.SimpleQueue[Fields | None]:
        # setdefault is atomic, so two threads that meet here get the same queue.
        return self._queues.setdefault((sender, to, kind), queue.SimpleQueue())


class LoopbackChannel:
    """One party's end; a :class:`~xbcompute.core.ports.Channel`. Several threads of a party may use it at once."""

    def __init__(self, hub: _Hub, me: PartyId) -> None:
        self._hub = hub
        self._me = me

    @property
    def me(self) -> PartyId:
        """The party at this end."""
        return self._me

    @property
    def peers(self) -> Sequence[PartyId]:
        """Everyone else, in the order given to :func:`loopback`."""
        return tuple(party for party in self._hub.parties if party != self._me)

    def send(self, to: PartyId, kind: str, fields: Fields) -> None:
        """Hand a copy of ``fields`` to ``to``; never blocks.

        Raises:
            InputError: ``to`` is no peer.
        """
        if to not in self.peers:
            raise InputError("channel.peer", f"{to} is not a peer of {self._me} on this channel.")
        self._hub.put(self._me, to, kind, {name: _copied(value) for name, value in fields.items()})

    def recv(self, sender: PartyId, kind: str, expected: Mapping[str, Expect]) -> Fields:
        """The next ``kind`` message of ``sender``.

        Raises:
            PeerError: the sender has left or said nothing before the timeout.
            IntegrityError: the message is not what ``expected`` describes.
        """
        if sender not in self.peers:
            raise InputError("channel.peer", f"{sender} is not a peer of {self._me} on this channel.")
        fields = self._hub.get(sender, self._me, kind)
        messages.check(fields, expected, what=f"{kind} of {sender}")
        return fields

    def close(self) -> None:
        """Leave: peers that wait for this party get :class:`~xbcompute.core.errors.PeerError` at once."""
        self._hub.leave(self._me)


def loopback(parties: Iterable[PartyId], *, timeout: float = 10.0) -> dict[PartyId, LoopbackChannel]:
    """A channel for each of ``parties``, connected to all others; ``timeout`` of one ``recv`` in seconds."""
    hub = _Hub(tuple(parties), timeout)
    return {party: LoopbackChannel(hub, party) for party in hub.parties}


def _copied(value: Value) -> Value:
    if isinstance(value, np.ndarray):
        copy = value.copy()
        copy.flags.writeable = False  # as a message read from a wire buffer
        return copy
    return value
