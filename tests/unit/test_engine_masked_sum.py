"""Pieces of the masked sum: key streams, the order of steps, spent engines, secrets that do not print."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from tests.support.summing import LAYOUT, STATE, ByHand, Federation, values, words_of
from tests.vectors import slow_masked_sum as slow
from xbcompute.core.errors import InputError, IntegrityError, PeerError
from xbcompute.core.fields import Expect, Fields
from xbcompute.core.parties import PartyId
from xbcompute.core.secret import Secret
from xbcompute.engines.exchange import INLINE_MAX, exchange, ring_order
from xbcompute.engines.loopback import LoopbackChannel, MemoryJournal
from xbcompute.engines.masked_sum import keys as session
from xbcompute.engines.masked_sum import round as step
from xbcompute.engines.masked_sum.engine import MaskedSum
from xbcompute.engines.masked_sum.masks import BLOCK, key_streams
from xbcompute.engines.masked_sum.scripted import KeySigner

A, B, C = PartyId("a"), PartyId("b"), PartyId("c")


def test_key_streams_go_on_across_blocks_as_one_stream() -> None:
    keys = [bytes([i]) * 32 for i in range(2)]
    words = key_streams([Secret(key) for key in keys])
    size = BLOCK + 6
    for index, key in enumerate(keys):
        found = [words(index, count).copy() for count in (BLOCK, 4, 2)]
        assert np.concatenate(found).tolist() == slow.mask_words(key, size)


def people() -> dict[PartyId, ByHand]:
    federation = Federation("abc")
    made = {party: federation.by_hand(party) for party in federation.parties}
    federation.run({party: person.exchange_keys for party, person in made.items()})
    return made


def masked(made: dict[PartyId, ByHand]) -> tuple[dict[PartyId, step.Masking], dict[PartyId, Fields]]:
    both = {party: person.mask(person.context(), values(1)) for party, person in made.items()}
    return {p: state for p, (state, _) in both.items()}, {p: message for p, (_, message) in both.items()}


def test_each_step_waits_for_the_step_before() -> None:
    made = people()
    states, messages = masked(made)
    with pytest.raises(IntegrityError, match="not every vector"):
        step.agree(states[A], made[A].keys)
    state = step.receive_vector(step.receive_vector(states[A], B, messages[B]), C, messages[C])
    agreeing, _ = step.agree(state, made[A].keys)
    with pytest.raises(IntegrityError, match="not every participant has signed"):
        step.release(agreeing)
    opening = step.Opening(state.context, A, state.entries, state.accumulator, {})
    with pytest.raises(IntegrityError, match="not every seed"):
        step.open_total(opening)


@pytest.mark.parametrize("sender", [A, B, PartyId("z")])
def test_a_second_vector_ones_own_and_a_strangers_are_refused(sender: PartyId) -> None:
    made = people()
    states, messages = masked(made)
    state = step.receive_vector(states[A], B, messages[B])
    before = state.accumulator.copy()
    with pytest.raises(IntegrityError, match="not expected") as caught:
        step.receive_vector(state, sender, messages[B])
    assert caught.value.code == "masked_sum.order"
    assert np.array_equal(state.accumulator, before)


def test_masking_wants_a_key_for_each_other_and_a_vector_of_the_right_size() -> None:
    person = people()[A]
    context = person.context()
    keys = person.pair_keys(context)
    encoded = np.zeros(context.size, dtype=np.uint64)
    for wrong, vector in (({B: keys[B]}, encoded), (keys, encoded[1:])):
        with pytest.raises(IntegrityError):
            step.mask(context, A, wrong, person.seed, vector)


def test_masks_of_two_rounds_and_of_two_epochs_differ() -> None:
    person = people()[A]
    words = []
    for number in (1, 2):
        _, message = person.mask(person.context(number), values(0))
        words.append(words_of(message))
    person.admission = person.federation.admission("a", epoch=2)
    words.append(words_of(person.mask(person.context(1), values(0))[1]))
    assert not any(np.any(one == other) for one, other in ((words[0], words[1]), (words[0], words[2])))


def test_secrets_do_not_print() -> None:
    made = people()
    states, messages = masked(made)
    secret = made[A].seed.expose()
    for shown in (repr(states[A]), str(states[A]), repr(made[A].keys), repr(made[A].pair_keys(states[A].context))):
        assert "Secret(…)" in shown
        assert secret.hex() not in shown
        assert repr(secret) not in shown
    assert messages[A]["commitment"] != secret


def test_a_signature_covers_every_part_of_the_transcript() -> None:
    made = people()
    states, messages = masked(made)
    state = step.receive_vector(step.receive_vector(states[A], B, messages[B]), C, messages[C])
    plain = step.transcript(state.context, state.entries, A)
    other = people()[A].context()
    entry = state.entries[C]
    changed = [
        step.transcript(other, state.entries, A),
        step.transcript(state.context, state.entries, B),
        step.transcript(state.context, {**state.entries, C: step.Entry(bytes(32), entry.vector)}, A),
        step.transcript(state.context, {**state.entries, C: step.Entry(entry.commitment, bytes(32))}, A),
    ]
    assert len({plain, *changed}) == 5


def run_engines(work: Callable[[Federation, str, MaskedSum], Any]) -> dict[str, Any]:
    federation = Federation("abc")
    return federation.run({p: lambda p=p: work(federation, p, federation.engine(p)) for p in "abc"})  # type: ignore[misc]


def test_an_engine_whose_round_failed_is_spent() -> None:
    def work(federation: Federation, party: str, engine: MaskedSum) -> None:
        if party == "c":
            engine.exchange_keys()
            return
        with pytest.raises(PeerError):
            engine.total(LAYOUT, values(1), round=1, state=STATE)
        for again in (lambda: engine.total(LAYOUT, values(1), round=2, state=STATE), engine.exchange_keys):
            with pytest.raises(IntegrityError, match="has failed") as caught:
                again()
            assert caught.value.code == "masked_sum.spent"

    assert run_engines(work) == dict.fromkeys("abc")


def test_keys_can_be_exchanged_beforehand_and_are_exchanged_once() -> None:
    def work(federation: Federation, party: str, engine: MaskedSum) -> Any:
        engine.exchange_keys()
        engine.exchange_keys()
        total = engine.total(LAYOUT, values(1), round=1, state=STATE)
        assert [kind for _, kind, _ in federation.taps[PartyId(party)].sent].count(session.KEYS_KIND) == 2
        return total["n"].tolist()

    assert run_engines(work) == {party: [3, 21] for party in "abc"}


def test_a_signer_with_another_key_than_the_pinned_one_is_found_before_anything_is_sent() -> None:
    federation = Federation("abc")
    tap = federation.taps[A]
    signer = KeySigner(federation.long_term[B])
    engine = MaskedSum(tap, federation.admission("a"), signer, MemoryJournal(), federation.pinned)
    with pytest.raises(IntegrityError, match="said to be of a "):
        engine.exchange_keys()
    assert not tap.sent


@pytest.mark.parametrize("pinned", [{}, {A: bytes(32), B: bytes(32)}, {A: bytes(32), B: bytes(32), C: bytes(31)}])
def test_every_participant_needs_a_pinned_key(pinned: dict[PartyId, bytes]) -> None:
    federation = Federation("abc")
    with pytest.raises(IntegrityError) as caught:
        MaskedSum(
            federation.taps[A], federation.admission("a"), KeySigner(federation.long_term[A]), MemoryJournal(), pinned
        )
    assert caught.value.code == "masked_sum.signing_key"


def test_the_state_is_a_digest() -> None:
    with pytest.raises(IntegrityError, match="32 bytes"):
        Federation("abc").engine("a").total(LAYOUT, values(1), round=1, state=b"state")


def test_a_journal_knows_what_it_was_told() -> None:
    journal = MemoryJournal()
    journal.begin_round(1, 5)
    journal.begin_round(2, 1)
    for again in ((2, 1), (1, 9)):
        with pytest.raises(IntegrityError, match="begun before"):
            journal.begin_round(*again)


def test_peers_are_taken_in_a_ring() -> None:
    assert ring_order((A, B, C), B) == [C, A]


class Broadcaster:
    """A channel that counts how often a message is handed over."""

    def __init__(self, inner: LoopbackChannel) -> None:
        self.inner, self.handed_over = inner, 0
        self.me, self.recv = inner.me, inner.recv

    @property
    def peers(self) -> Sequence[PartyId]:
        return self.inner.peers

    def send(self, to: PartyId, kind: str, fields: Fields) -> None:
        self.handed_over += 1
        self.inner.send(to, kind, fields)

    def broadcast(self, kind: str, fields: Fields) -> None:
        self.handed_over += 1
        for peer in self.peers:
            self.inner.send(peer, kind, fields)


@pytest.mark.parametrize("size", [1, INLINE_MAX])
def test_a_channel_that_can_broadcast_is_given_a_message_once(size: int) -> None:
    federation = Federation("abc", timeout=5)
    expected = {"x": Expect("array", "float64", (size,))}
    channel = Broadcaster(federation.channels[A])
    for peer in (B, C):
        federation.channels[peer].send(A, "kind", {"x": np.full(size, float(ord(peer)))})
    got = {sender: fields["x"] for sender, fields in exchange(channel, [B, C], "kind", {"x": np.ones(size)}, expected)}
    assert [np.max(got[peer]) for peer in (B, C)] == [ord("b"), ord("c")]
    assert channel.handed_over == 1
    assert np.array_equal(federation.channels[C].recv(A, "kind", expected)["x"], np.ones(size))


def test_what_goes_wrong_while_sending_in_the_background_is_raised() -> None:
    federation = Federation("abc", timeout=5)
    federation.channels[B].send(A, "kind", {"n": 1})
    with pytest.raises(InputError, match="z is not a peer"):
        # b has answered, so only the sending can fail
        sending = exchange(Misdirected(federation.channels[A]), [B], "kind", {"x": np.ones(INLINE_MAX)}, NUMBER)
        list(sending)


NUMBER = {"n": Expect("int")}


class Misdirected(Broadcaster):
    def broadcast(self, kind: str, fields: Fields) -> None:
        self.inner.send(PartyId("z"), kind, fields)

    @property
    def peers(self) -> Sequence[PartyId]:
        return [B]


@pytest.mark.parametrize("sender", [A, B, PartyId("z")])
def test_a_second_signature_and_a_second_seed_are_refused(sender: PartyId) -> None:
    made = people()
    states, messages = masked(made)
    full = {}
    for me, state in states.items():
        for other in made[me].others:
            state = step.receive_vector(state, other, messages[other])  # noqa: PLW2901
        full[me] = step.agree(state, made[me].keys)
    agreeing = full[A][0]
    agreeing = step.receive_agreement(agreeing, B, made[B].keys.public, full[B][1])
    with pytest.raises(IntegrityError, match="not expected"):
        step.receive_agreement(agreeing, sender, made[B].keys.public, full[B][1])
    opening, _ = step.release(step.receive_agreement(agreeing, C, made[C].keys.public, full[C][1]))
    seed = made[B].seed_message(opening.context)
    opening = step.receive_seed(opening, B, seed)
    with pytest.raises(IntegrityError, match="not expected"):
        step.receive_seed(opening, sender, seed)
