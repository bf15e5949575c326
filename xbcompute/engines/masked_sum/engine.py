"""The masked sum over a channel: fetches randomness, moves the messages of ``round``, writes the journal."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from typing import Final

from xbcompute.core.admission import Admission
from xbcompute.core.arrays import Contribution, Layout
from xbcompute.core.errors import IntegrityError
from xbcompute.core.parties import PartyId
from xbcompute.core.ports import Channel, Journal, Signer
from xbcompute.core.secret import Secret
from xbcompute.engines import fixed_point
from xbcompute.engines.contribution import check_admission, layout_digest
from xbcompute.engines.exchange import exchange, ring_order
from xbcompute.engines.masked_sum import keys as session
from xbcompute.engines.masked_sum import round as step
from xbcompute.engines.masked_sum.context import PublicKeys, RoundContext, round_context, session_statement
from xbcompute.engines.masked_sum.masks import Words

CARDS: Final = frozenset({"masked-sum", "federated"})
PARTICIPANTS_MIN: Final = 3
"""Of a sum over two, each subtracts its own number and has the other's."""


class MaskedSum:
    """A :class:`~xbcompute.core.ports.Summation` that shows each participant the total and nothing else.

    ``signing_keys`` are the raw Ed25519 keys that ``federation.toml`` pins for every participant. ``random`` is for
    test vectors alone. After any failure in a round the engine is spent: the session ends, or goes on in a new epoch.

    Raises:
        IntegrityError: the admission is for another card, has fewer than three participants, or a key is missing.
    """

    def __init__(
        self,
        channel: Channel,
        admission: Admission,
        signer: Signer,
        journal: Journal,
        signing_keys: Mapping[PartyId, bytes],
        *,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        check_admission(admission, cards=CARDS, least=PARTICIPANTS_MIN)
        for party in admission.participants:
            if len(signing_keys.get(party, b"")) != 32:
                raise IntegrityError("masked_sum.signing_key", f"no signing key is pinned for {party}.")
        self._channel = channel
        self._admission = admission
        self._signer = signer
        self._journal = journal
        self._signing_keys = signing_keys
        self._random = random
        self._peers = ring_order(admission.participants, admission.me)
        self._keys: session.SessionKeys | None = None
        self._public: dict[PartyId, PublicKeys] = {}
        self._shared: dict[PartyId, Secret[bytes]] = {}
        self._last_round = 0
        self._spent = False

    def exchange_keys(self) -> None:
        """Make, sign and exchange this session's keys; the first :meth:`total` does it if nobody did before.

        Raises:
            IntegrityError: a participant's keys are not vouched for by its pinned key. PeerError: one is gone.
        """
        self._refuse_if_spent()
        if self._keys is not None:
            return
        self._spent = True
        admission = self._admission
        mine = session.session_keys(self._random(32), self._random(32))
        signature = self._signer.sign_session_keys(session_statement(admission, admission.me, mine.public))
        message = session.keys_message(mine.public, signature)
        # The same check that every peer will make: a wrong key of our own is found here, by its name.
        session.accept_keys(admission, admission.me, self._signing_keys[admission.me], message)
        public = {admission.me: mine.public}
        for peer, fields in exchange(self._channel, self._peers, session.KEYS_KIND, message, session.KEYS_FIELDS):
            public[peer] = session.accept_keys(admission, peer, self._signing_keys[peer], fields)
            self._shared[peer] = session.shared_secret(mine, peer, public[peer])
        self._public, self._keys = public, mine
        self._spent = False

    def total(self, layout: Layout, mine: Contribution, *, round: int, state: bytes) -> Contribution:
        """The exact sum of all encoded contributions, decoded; equal bit for bit at every participant.

        Raises:
            InputError: a value is not finite or exceeds its bound, or a bound fits no scale. Nothing was sent.
            IntegrityError: a participant broke the protocol (this party's seed was not released unless all had
                signed the same round), or ``round`` is not after the last one.
            PeerError: a participant is gone.
        """
        self._refuse_if_spent()
        if round <= self._last_round:
            raise IntegrityError("masked_sum.round", f"round {round} is not after round {self._last_round}.")
        if len(state) != 32:
            raise IntegrityError("masked_sum.state", "the digest of the state is not 32 bytes long.")
        encoded = fixed_point.encode(layout, mine, len(self._admission.participants))
        self.exchange_keys()
        self._last_round = round
        self._spent = True
        context = round_context(
            self._admission, self._public, round=round, state=state, layout=layout_digest(layout), size=encoded.size
        )
        total = fixed_point.decode(layout, self._open(context, encoded), len(self._admission.participants))
        self._spent = False
        return total

    def _open(self, context: RoundContext, encoded: Words) -> Words:
        me, channel, peers = self._admission.me, self._channel, self._peers
        keys = self._keys
        assert keys is not None  # exchange_keys has run
        self._journal.begin_round(context.epoch, context.round)
        pair_keys = {peer: session.pair_key(self._shared[peer], context, me, peer) for peer in peers}
        masking, vector = step.mask(context, me, pair_keys, Secret(self._random(32)), encoded)
        for peer, fields in exchange(channel, peers, step.VECTOR_KIND, vector, step.vector_fields(context)):
            masking = step.receive_vector(masking, peer, fields)
        agreeing, signature = step.agree(masking, keys)
        for peer, fields in exchange(channel, peers, step.AGREE_KIND, signature, step.AGREE_FIELDS):
            agreeing = step.receive_agreement(agreeing, peer, self._public[peer], fields)
        opening, seed = step.release(agreeing)
        self._journal.seed_released(context.epoch, context.round)
        for peer, fields in exchange(channel, peers, step.SEED_KIND, seed, step.SEED_FIELDS):
            opening = step.receive_seed(opening, peer, fields)
        return step.open_total(opening)

    def _refuse_if_spent(self) -> None:
        if self._spent:
            raise IntegrityError(
                "masked_sum.spent", "a round of this engine has failed.", todo="Resume the session in a new epoch."
            )
