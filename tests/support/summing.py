"""Participants of a sum over in-memory channels that write down what they send; some of them driven by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from xbcompute.core.admission import Admission
from xbcompute.core.arrays import ArraySpec, Layout
from xbcompute.core.errors import XbError
from xbcompute.core.fields import Expect, Fields
from xbcompute.core.parties import PartyId
from xbcompute.core.schema import Limits
from xbcompute.core.secret import Secret
from xbcompute.engines import fixed_point
from xbcompute.engines.contribution import layout_digest
from xbcompute.engines.loopback import LoopbackChannel, MemoryJournal, loopback
from xbcompute.engines.masked_sum import MaskedSum
from xbcompute.engines.masked_sum import keys as session
from xbcompute.engines.masked_sum import round as step
from xbcompute.engines.masked_sum.context import PublicKeys, RoundContext, round_context, session_statement
from xbcompute.engines.masked_sum.scripted import KeySigner

STATE = sha256(b"state").digest()
LAYOUT: Layout = {"x": ArraySpec((4,), 100.0), "n": ArraySpec((2,), 1000, integer=True, role="cells")}


def values(k: float) -> dict[str, Any]:
    return {"x": np.array([k, -k, k / 2, 0.0]), "n": np.array([int(k), 7])}


def words_of(message: Fields) -> NDArray[np.uint64]:
    """The vector in a ``masked-sum.vector`` message."""
    vector = message["vector"]
    assert isinstance(vector, np.ndarray)
    return vector


class Tap:
    """A channel that keeps what its party sent, in order, and shares one log with the journal."""

    def __init__(self, inner: LoopbackChannel) -> None:
        self.inner = inner
        self.sent: list[tuple[PartyId, str, Fields]] = []
        self.log: list[str] = []

    @property
    def me(self) -> PartyId:
        return self.inner.me

    @property
    def peers(self) -> Sequence[PartyId]:
        return self.inner.peers

    def send(self, to: PartyId, kind: str, fields: Fields) -> None:
        self.sent.append((to, kind, fields))
        self.log.append(kind)
        self.inner.send(to, kind, fields)

    def recv(self, sender: PartyId, kind: str, expected: Mapping[str, Expect]) -> Fields:
        return self.inner.recv(sender, kind, expected)

    def kinds(self) -> set[str]:
        return {kind for _, kind, _ in self.sent}

    def bytes_sent(self) -> bytes:
        """Every byte string and array that left, one after the other."""
        return b"".join(
            value.tobytes() if isinstance(value, np.ndarray) else value
            for _, _, fields in self.sent
            for value in fields.values()
            if isinstance(value, bytes | np.ndarray)
        )


class LoggedJournal(MemoryJournal):
    def __init__(self, log: list[str], fail_at: str = "") -> None:
        super().__init__()
        self._log, self._fail_at = log, fail_at

    def begin_round(self, epoch: int, round: int) -> None:
        self._write("begin_round")
        super().begin_round(epoch, round)

    def seed_released(self, epoch: int, round: int) -> None:
        self._write("seed_released")
        super().seed_released(epoch, round)

    def _write(self, what: str) -> None:
        if what == self._fail_at:
            raise OSError("disk full")
        self._log.append(what)


class Federation:
    """Keys, channels and admissions of some parties."""

    def __init__(self, names: Iterable[str] = "abc", *, timeout: float = 30.0) -> None:
        self.parties = tuple(PartyId(name) for name in sorted(names))
        self.channels = loopback(self.parties, timeout=timeout)
        self.taps = {party: Tap(channel) for party, channel in self.channels.items()}
        self.long_term = {party: Ed25519PrivateKey.generate() for party in self.parties}
        self.pinned = {party: key.public_key().public_bytes_raw() for party, key in self.long_term.items()}

    def admission(self, party: str, **other: Any) -> Admission:
        facts: dict[str, Any] = {
            "session": bytes(range(16)),
            "federation": "test",
            "study": sha256(b"study").digest(),
            "plan": sha256(b"plan").digest(),
            "card": "masked-sum",
            "me": PartyId(party),
            "participants": self.parties,
            "epoch": 1,
            "limits": Limits(),
        }
        return Admission(**(facts | other))

    def engine(self, party: str, *, journal: MemoryJournal | None = None, **other: Any) -> MaskedSum:
        me = PartyId(party)
        return MaskedSum(
            self.taps[me],
            self.admission(party, **other),
            KeySigner(self.long_term[me]),
            journal or MemoryJournal(),
            self.pinned,
        )

    def by_hand(self, party: str) -> ByHand:
        return ByHand(self, PartyId(party))

    def run(self, work: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
        """Run each party's work in its own thread; a party that ends closes its channel. Returns results or errors."""

        def one(party: str) -> Any:
            try:
                return work[party]()
            except XbError as error:
                return error
            finally:
                self.channels[PartyId(party)].close()

        with ThreadPoolExecutor(len(work)) as pool:
            waiting = {party: pool.submit(one, party) for party in work}
            return {party: future.result() for party, future in waiting.items()}


class ByHand:
    """A participant that can do every honest step, and is told by a test which of them to do, and to whom."""

    def __init__(self, federation: Federation, me: PartyId) -> None:
        self.federation = federation
        self.me = me
        self.admission = federation.admission(me)
        self.channel = federation.taps[me]
        self.others = [party for party in federation.parties if party != me]
        self.keys = self.new_keys()
        self.public: dict[PartyId, PublicKeys] = {me: self.keys.public}
        self.seed = Secret(sha256(b"seed of " + me.encode()).digest())

    def new_keys(self) -> session.SessionKeys:
        private = Ed25519PrivateKey.generate().private_bytes_raw()
        return session.session_keys(private, sha256(private).digest())

    def signed(self, keys: session.SessionKeys) -> Fields:
        statement = session_statement(self.admission, self.me, keys.public)
        return session.keys_message(keys.public, self.federation.long_term[self.me].sign(statement))

    def send(self, kind: str, fields: Fields, to: Iterable[str] = ()) -> None:
        for other in to or self.others:
            self.channel.send(PartyId(other), kind, fields)

    def receive_keys(self) -> None:
        for other in self.others:
            message = self.channel.recv(other, session.KEYS_KIND, session.KEYS_FIELDS)
            self.public[other] = session.accept_keys(self.admission, other, self.federation.pinned[other], message)

    def exchange_keys(self) -> None:
        self.send(session.KEYS_KIND, self.signed(self.keys))
        self.receive_keys()

    def context(self, round: int = 1, state: bytes = STATE, layout: Layout = LAYOUT) -> RoundContext:
        size = sum(spec.size for spec in layout.values())
        return round_context(
            self.admission, self.public, round=round, state=state, layout=layout_digest(layout), size=size
        )

    def pair_keys(self, context: RoundContext) -> dict[PartyId, Secret[bytes]]:
        return {
            other: session.pair_key(
                session.shared_secret(self.keys, other, self.public[other]), context, self.me, other
            )
            for other in self.others
        }

    def mask(
        self, context: RoundContext, mine: Mapping[str, Any], *, seed: Secret[bytes] | None = None
    ) -> tuple[step.Masking, Fields]:
        encoded = fixed_point.encode(LAYOUT, mine, len(self.federation.parties))
        return step.mask(context, self.me, self.pair_keys(context), seed or self.seed, encoded)

    def seed_message(self, context: RoundContext) -> Fields:
        """The seed, out of turn."""
        nothing = np.zeros(0, dtype=np.uint64)
        everyone = frozenset(context.participants)
        return step.release(step.Agreeing(context, self.me, self.seed, {}, nothing, everyone))[1]

    def receive_vectors(self, masking: step.Masking) -> tuple[step.Masking, dict[PartyId, Fields]]:
        got = {}
        for other in self.others:
            got[other] = self.channel.recv(other, step.VECTOR_KIND, step.vector_fields(masking.context))
            masking = step.receive_vector(masking, other, got[other])
        return masking, got
