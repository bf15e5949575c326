"""One message to every peer and one from each, without deadlock when messages exceed the channel's buffers."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, Protocol, runtime_checkable

import numpy as np

from xbcompute.core.fields import Expect, Fields
from xbcompute.core.parties import PartyId
from xbcompute.core.ports import Channel

INLINE_MAX: Final = 1 << 15
"""Bytes of arrays up to which a message is sent before anything is received: it fits in any channel's buffers."""


@runtime_checkable
class Broadcasting(Protocol):
    """A channel that can encode a message once and hand it over for all its peers."""

    @property
    def peers(self) -> Sequence[PartyId]:
        """Those that :meth:`broadcast` reaches."""

    def broadcast(self, kind: str, fields: Fields) -> None:
        """Send the same message to every peer."""


class _Sending(threading.Thread):
    """Sends in the background; daemonic, because a channel that fails in ``recv`` may leave ``send`` blocked."""

    def __init__(self, channel: Channel, to: Sequence[PartyId], kind: str, fields: Fields) -> None:
        super().__init__(name=f"send {kind}", daemon=True)
        self._work = (channel, to, kind, fields)
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            _send_all(*self._work)
        except BaseException as error:
            self.error = error

    def finish(self) -> None:
        self.join()
        if self.error is not None:
            raise self.error


def exchange(
    channel: Channel, peers: Sequence[PartyId], kind: str, outgoing: Fields, expected: Mapping[str, Expect]
) -> Iterator[tuple[PartyId, Fields]]:
    """Send ``outgoing`` to all ``peers`` and yield (peer, message) in the order of ``peers``, each as it arrives.

    Large messages are sent by a second thread while this one receives: were all parties to send first, each
    would wait for a peer that is itself sending. The sending has ended when the iterator is exhausted.
    """
    if sum(value.nbytes for value in outgoing.values() if isinstance(value, np.ndarray)) <= INLINE_MAX:
        _send_all(channel, peers, kind, outgoing)
        sending = None
    else:
        sending = _Sending(channel, peers, kind, outgoing)
        sending.start()
    for sender in peers:
        yield sender, channel.recv(sender, kind, expected)
    if sending is not None:
        sending.finish()


def _send_all(channel: Channel, peers: Sequence[PartyId], kind: str, fields: Fields) -> None:
    if isinstance(channel, Broadcasting) and set(channel.peers) == set(peers):
        channel.broadcast(kind, fields)
        return
    for peer in peers:
        channel.send(peer, kind, fields)


def ring_order(participants: Sequence[PartyId], me: PartyId) -> list[PartyId]:
    """The others, beginning after ``me`` and going round, so that not everyone sends to the first one first."""
    at = participants.index(me)
    return [*participants[at + 1 :], *participants[:at]]
