"""What engines and sessions are given from outside, so that they import no gate, clock or database."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Protocol

from xbcompute.core.arrays import Contribution, Layout
from xbcompute.core.fields import Expect, Fields
from xbcompute.core.parties import PartyId


class Channel(Protocol):
    """Blocking messages between this party and its peers inside one session.

    Messages of one (sender, kind) arrive in the order they were sent. ``send`` returns once the message is handed
    over; ``recv`` raises :class:`~xbcompute.core.errors.PeerError` when the peer is gone or silent, and
    :class:`~xbcompute.core.errors.IntegrityError` when the message is not what ``expected`` describes. One thread may
    send while another receives: with vectors larger than the buffers on the way, each party must do both at once.
    """

    @property
    def me(self) -> PartyId:
        """This party."""

    @property
    def peers(self) -> Sequence[PartyId]:
        """The other parties of the session, sorted."""

    def send(self, to: PartyId, kind: str, fields: Fields) -> None:
        """Hand one message over."""

    def recv(self, sender: PartyId, kind: str, expected: Mapping[str, Expect]) -> Fields:
        """The next message of this sender and kind."""


class Summation(Protocol):
    """Turns the holders' contributions into their total, by whatever protocol the card names."""

    def total(self, layout: Layout, mine: Contribution, *, round: int, state: bytes) -> Contribution:
        """The sum over all participants.

        ``round`` counts from 1 and never repeats in an epoch; ``state`` is the 32-byte digest of the agreed state.

        Raises:
            InputError: a value of ``mine`` is not finite or exceeds its bound (nothing was sent).
            PeerError: a participant is gone. IntegrityError: a participant broke the protocol.
        """


class Journal(Protocol):
    """What an engine must have on disk before it sends: each method returns only after the write is durable."""

    def begin_round(self, epoch: int, round: int) -> None:
        """Record that (epoch, round) is about to be sent.

        Raises:
            IntegrityError: this or a later (epoch, round) was begun before.
        """

    def seed_released(self, epoch: int, round: int) -> None:
        """Record that this party is about to release a self-mask seed."""


class Signer(Protocol):
    """Signs with this party's long-term Ed25519 key, which stays in the node process."""

    def sign_session_keys(self, statement: bytes) -> bytes:
        """A 64-byte signature over the canonical session-key ``statement``."""


class ReleaseCheck(Protocol):
    """The output checks of one session at one holder; every method raises ``RefusedError`` to say no."""

    def contribution(self, analysis: str, layout: Layout, mine: Contribution) -> None:
        """Before a contribution leaves."""

    def total(self, analysis: str, layout: Layout, total: Contribution) -> None:
        """After a total was opened, before any of it is used."""


class Clock(Protocol):
    """The node's time, an argument everywhere else."""

    def now(self) -> dt.datetime:
        """Now, with a time zone."""
