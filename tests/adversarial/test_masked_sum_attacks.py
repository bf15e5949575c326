"""Attacks on the masked sum. In each, the honest parties end with an error, and what they sent holds no seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np
import pytest

from tests.support.summing import LAYOUT, STATE, ByHand, Federation, LoggedJournal, values, words_of
from xbcompute.core.arrays import Contribution
from xbcompute.core.errors import InputError, IntegrityError, PeerError, RefusedError, XbError
from xbcompute.core.fields import Fields
from xbcompute.core.parties import PartyId
from xbcompute.core.secret import Secret
from xbcompute.engines import fixed_point
from xbcompute.engines.loopback import MemoryJournal
from xbcompute.engines.masked_sum import check_restart
from xbcompute.engines.masked_sum import keys as session
from xbcompute.engines.masked_sum import round as step
from xbcompute.engines.masked_sum.context import RoundContext
from xbcompute.engines.masked_sum.masks import key_streams, self_key

A, B, C = PartyId("a"), PartyId("b"), PartyId("c")
HONEST = {"a": 1.5, "b": 20.25}


def attack(
    attacker: Callable[[ByHand], Any], federation: Federation | None = None
) -> tuple[Federation, dict[str, Any]]:
    """a and b run the engine; c does what ``attacker`` says. Returns how each ended."""
    federation = federation or Federation("abc")

    def honest(party: str) -> Callable[[], Contribution]:
        return lambda: federation.engine(party).total(LAYOUT, values(HONEST[party]), round=1, state=STATE)

    mallory = federation.by_hand("c")
    return federation, federation.run({"a": honest("a"), "b": honest("b"), "c": lambda: attacker(mallory)})


def assert_failed(federation: Federation, ended: dict[str, Any], codes: dict[str, str]) -> None:
    for party, code in codes.items():
        error = ended[party]
        assert isinstance(error, XbError), f"{party} ended with a total"
        assert error.code == code, (party, error.text)
        if code not in ("peer.silent", "masked_sum.agreement"):
            assert "c" in error.text.replace(":", " ").split()
        assert step.SEED_KIND not in federation.taps[PartyId(party)].kinds()


def own_part(context: RoundContext, mallory: ByHand, vectors: dict[PartyId, Fields]) -> np.ndarray[Any, Any]:
    """What c can compute from the vectors of a and b before any seed: their sum, its own pair masks taken off."""
    words = words_of(vectors[A]) + words_of(vectors[B])
    for other, key in mallory.pair_keys(context).items():
        mask = key_streams([key])(0, context.size)
        words = words - mask if other < C else words + mask
    return np.asarray(words)


# -- equivocation ------------------------------------------------------------------------------------------------


def test_different_vectors_to_different_peers_with_a_fitting_signature_for_each() -> None:
    leaked: dict[str, Any] = {}

    def attacker(c: ByHand) -> None:
        c.exchange_keys()
        masking, message = c.mask(c.context(), values(3))
        other = {**message, "vector": words_of(message) + np.uint64(1)}
        c.send(step.VECTOR_KIND, message, to="a")
        c.send(step.VECTOR_KIND, other, to="b")
        masking, got = c.receive_vectors(masking)
        leaked["sum"] = own_part(masking.context, c, got)
        shown_b = replace(masking.entries[C], vector=sha256(words_of(other).tobytes()).digest())
        for to, shown in (("a", masking.entries[C]), ("b", shown_b)):
            view = replace(masking, entries={**masking.entries, C: shown})
            c.send(step.AGREE_KIND, step.agree(view, c.keys)[1], to=to)
        c.send(step.SEED_KIND, c.seed_message(masking.context))
        c.channel.recv(A, step.SEED_KIND, step.SEED_FIELDS)

    federation, ended = attack(attacker)
    assert_failed(federation, ended, {"a": "masked_sum.agreement", "b": "masked_sum.agreement"})
    assert isinstance(ended["c"], PeerError)
    encoded = [fixed_point.encode(LAYOUT, values(HONEST[party]), 3) for party in "ab"]
    assert not np.any(leaked["sum"] == encoded[0] + encoded[1]), "self masks must hide the sum until all have signed"


def test_different_session_keys_to_different_peers() -> None:
    def attacker(c: ByHand) -> None:
        c.send(session.KEYS_KIND, c.signed(c.keys), to="a")
        c.send(session.KEYS_KIND, c.signed(c.new_keys()), to="b")
        c.receive_keys()
        c.send(step.VECTOR_KIND, c.mask(c.context(), values(3))[1])

    federation, ended = attack(attacker)
    # Each honest party's context holds the keys it saw, so a and b notice each other's difference.
    assert {ended["a"].code, ended["b"].code} == {"masked_sum.context"}
    assert all(step.SEED_KIND not in tap.kinds() for tap in federation.taps.values())


# -- seeds before agreement --------------------------------------------------------------------------------------


def test_sending_the_own_seed_early_and_withholding_agreement_opens_nothing() -> None:
    def attacker(c: ByHand) -> None:
        c.exchange_keys()
        context = c.context()
        masking, message = c.mask(context, values(3))
        c.send(step.VECTOR_KIND, message)
        c.send(step.SEED_KIND, c.seed_message(context))
        c.receive_vectors(masking)

    federation, ended = attack(attacker)
    assert_failed(federation, ended, {"a": "peer.silent", "b": "peer.silent"})


def test_what_an_honest_party_sends_before_agreement_does_not_contain_its_seed() -> None:
    federation = Federation("abc")
    made: list[bytes] = []

    def remembered(size: int) -> bytes:
        made.append(bytes([len(made) + 1]) * size)
        return made[-1]

    def a() -> Contribution:
        engine = federation.engine("a")
        engine._random = remembered
        return engine.total(LAYOUT, values(1), round=1, state=STATE)

    ended = federation.run(
        {
            "a": a,
            "b": lambda: federation.engine("b").total(LAYOUT, values(1), round=1, state=STATE),
            "c": lambda: federation.by_hand("c").exchange_keys(),
        }
    )
    assert isinstance(ended["a"], PeerError)
    assert len(made) == 3
    sent = federation.taps[A].bytes_sent()
    assert step.VECTOR_KIND in federation.taps[A].kinds()
    assert not any(secret in sent for secret in made)


def test_a_signature_of_one_party_is_none_of_another() -> None:
    def attacker(c: ByHand) -> None:
        c.exchange_keys()
        masking, message = c.mask(c.context(), values(3))
        c.send(step.VECTOR_KIND, message)
        c.receive_vectors(masking)
        c.send(step.AGREE_KIND, c.channel.recv(A, step.AGREE_KIND, step.AGREE_FIELDS))

    federation, ended = attack(attacker)
    assert_failed(federation, ended, {"a": "masked_sum.agreement", "b": "masked_sum.agreement"})


# -- keys --------------------------------------------------------------------------------------------------------


def test_swapped_session_key_names_the_party() -> None:
    def attacker(c: ByHand) -> None:
        signed = c.signed(c.keys)
        c.send(session.KEYS_KIND, {**signed, "x25519": c.new_keys().public.x25519})

    federation, ended = attack(attacker)
    assert_failed(federation, ended, {"a": "masked_sum.keys", "b": "masked_sum.keys"})
    assert all(tap.kinds() == {session.KEYS_KIND} for tap in federation.taps.values())


@pytest.mark.parametrize(
    "other",
    [
        {"session": bytes(16)},
        {"study": bytes(32)},
        {"plan": bytes(32)},
        {"federation": "other"},
        {"epoch": 2},
        {"card": "federated"},
        {"participants": (A, B, C, PartyId("d"))},
    ],
)
def test_keys_signed_for_anything_else_are_refused(other: dict[str, Any]) -> None:
    def attacker(c: ByHand) -> None:
        c.admission = c.federation.admission("c", **other)
        c.send(session.KEYS_KIND, c.signed(c.keys))

    federation, ended = attack(attacker)
    assert_failed(federation, ended, {"a": "masked_sum.keys", "b": "masked_sum.keys"})


# -- rounds ------------------------------------------------------------------------------------------------------


def test_messages_of_an_earlier_round_do_not_pass_for_a_later_one() -> None:
    federation = Federation("abc")
    work: dict[str, Callable[[], Any]] = {}
    for party in "ab":

        def honest(party: str = party) -> Contribution:
            engine = federation.engine(party)
            engine.total(LAYOUT, values(HONEST[party]), round=1, state=STATE)
            federation.taps[PartyId(party)].sent.clear()
            return engine.total(LAYOUT, values(HONEST[party]), round=2, state=STATE)

        work[party] = honest

    def replaying() -> None:
        federation.engine("c").total(LAYOUT, values(3), round=1, state=STATE)
        for to, kind, fields in list(federation.taps[C].sent):
            if kind != session.KEYS_KIND:
                federation.channels[C].send(to, kind, fields)

    ended = federation.run({**work, "c": replaying})
    assert_failed(federation, ended, {"a": "masked_sum.context", "b": "masked_sum.context"})


def test_a_round_that_was_begun_before_a_crash_is_not_begun_again() -> None:
    federation = Federation("abc")
    journal = MemoryJournal()
    journal.begin_round(1, 1)
    ended = federation.run(
        {
            "a": lambda: federation.engine("a", journal=journal).total(LAYOUT, values(1), round=1, state=STATE),
            "b": lambda: federation.engine("b").total(LAYOUT, values(1), round=1, state=STATE),
            "c": lambda: federation.engine("c").total(LAYOUT, values(1), round=1, state=STATE),
        }
    )
    assert ended["a"].code == "journal.round"
    assert federation.taps[A].kinds() == {session.KEYS_KIND}
    assert {ended["b"].code, ended["c"].code} == {"peer.silent"}


@pytest.mark.parametrize(
    ("fail_at", "last"), [("begin_round", "masked-sum.keys"), ("seed_released", "masked-sum.agree")]
)
def test_nothing_is_sent_that_the_journal_has_not_taken(fail_at: str, last: str) -> None:
    federation = Federation("abc")

    def a() -> Contribution | None:
        journal = LoggedJournal(federation.taps[A].log, fail_at=fail_at)
        with pytest.raises(OSError, match="disk full"):
            federation.engine("a", journal=journal).total(LAYOUT, values(1), round=1, state=STATE)
        return None

    def other(party: str) -> Callable[[], Contribution]:
        return lambda: federation.engine(party).total(LAYOUT, values(1), round=1, state=STATE)

    federation.run({"a": a, "b": other("b"), "c": other("c")})
    assert federation.taps[A].log[-1] == last


def test_the_journal_comes_before_the_message() -> None:
    federation = Federation("abc")

    def party(name: str) -> Callable[[], Contribution]:
        journal = LoggedJournal(federation.taps[PartyId(name)].log)
        return lambda: federation.engine(name, journal=journal).total(LAYOUT, values(1), round=1, state=STATE)

    federation.run({name: party(name) for name in "abc"})
    assert federation.taps[A].log == [
        *["masked-sum.keys"] * 2,
        "begin_round",
        *["masked-sum.vector"] * 2,
        *["masked-sum.agree"] * 2,
        "seed_released",
        *["masked-sum.seed"] * 2,
    ]


def test_another_state_at_one_party() -> None:
    federation = Federation("abc")

    def party(name: str, state: bytes) -> Callable[[], Contribution]:
        return lambda: federation.engine(name).total(LAYOUT, values(1), round=1, state=state)

    ended = federation.run({"a": party("a", STATE), "b": party("b", STATE), "c": party("c", bytes(32))})
    assert_failed(federation, ended, dict.fromkeys("ab", "masked_sum.context"))


def test_a_party_that_dies_between_vector_and_agreement() -> None:
    def attacker(c: ByHand) -> None:
        c.exchange_keys()
        c.send(step.VECTOR_KIND, c.mask(c.context(), values(3))[1])

    federation, ended = attack(attacker)
    assert_failed(federation, ended, {"a": "peer.silent", "b": "peer.silent"})


# -- form --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"vector": np.zeros(5, dtype=np.uint64)}, "message.field"),
        ({"vector": np.zeros((6, 1), dtype=np.uint64)}, "message.field"),
        ({"vector": np.zeros(6)}, "message.field"),
        ({"vector": np.full(6, np.nan)}, "message.field"),
        ({"vector": np.zeros(6, dtype=np.int64)}, "message.field"),
        ({"vector": np.zeros(6, dtype=object)}, "message.field"),
        ({"commitment": bytes(33)}, "message.field"),
        ({"round": 1.0}, "message.field"),
        ({"round": True}, "message.field"),
        ({"more": 1}, "message.fields"),
        ({"round": 2}, "masked_sum.context"),
        ({"epoch": 0}, "masked_sum.context"),
        ({"context": bytes(32)}, "masked_sum.context"),
    ],
)
def test_malformed_vector_messages(change: dict[str, Any], code: str) -> None:
    def attacker(c: ByHand) -> None:
        c.exchange_keys()
        c.send(step.VECTOR_KIND, {**c.mask(c.context(), values(3))[1], **change})

    federation, ended = attack(attacker)
    assert_failed(federation, ended, {"a": code, "b": code})


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf"), 100.0625, -123456.789])
def test_own_bad_values_are_refused_before_anything_leaves_and_are_not_named(bad: float) -> None:
    federation = Federation("abc", timeout=0.05)
    mine = values(1) | {"x": np.array([1.0, 2.0, bad, 3.0])}
    with pytest.raises(InputError, match="array x") as caught:
        federation.engine("a").total(LAYOUT, mine, round=1, state=STATE)
    assert not any(digits in str(caught.value) for digits in ("100.0", "123456"))
    assert not federation.taps[A].sent


def test_a_contribution_far_beyond_its_bound_is_noticed_in_the_total() -> None:
    def attacker(c: ByHand) -> None:
        c.exchange_keys()
        context = c.context()
        encoded = np.full(context.size, 1 << 62, dtype=np.uint64)
        masking, message = step.mask(context, C, c.pair_keys(context), c.seed, encoded)
        c.send(step.VECTOR_KIND, message)
        agreeing, signature = step.agree(c.receive_vectors(masking)[0], c.keys)
        c.send(step.AGREE_KIND, signature)
        for other in (A, B):
            fields = c.channel.recv(other, step.AGREE_KIND, step.AGREE_FIELDS)
            agreeing = step.receive_agreement(agreeing, other, c.public[other], fields)
        c.send(step.SEED_KIND, step.release(agreeing)[1])

    _, ended = attack(attacker)
    assert {ended["a"].code, ended["b"].code} == {"fixed_point.total"}


# -- what a sum itself shows -------------------------------------------------------------------------------------


def test_a_sum_over_two_shows_each_the_others_numbers_so_it_is_refused() -> None:
    federation = Federation("ab")
    people = {party: federation.by_hand(party) for party in "ab"}
    federation.run({party: person.exchange_keys for party, person in people.items()})
    numbers = {"a": values(41.5), "b": values(-7.25)}
    contexts = {party: person.context() for party, person in people.items()}
    masked = {party: person.mask(contexts[party], numbers[party]) for party, person in people.items()}
    total = words_of(masked["a"][1]) + words_of(masked["b"][1])
    for party, person in people.items():
        total = total - key_streams([self_key(person.seed, contexts[party], PartyId(party))])(0, total.size)
    opened = fixed_point.decode(LAYOUT, total, 2)
    assert np.array_equal(opened["x"] - numbers["a"]["x"], numbers["b"]["x"]), "a has b's numbers, masks or not"
    with pytest.raises(IntegrityError, match="at least 3 participants") as caught:
        federation.engine("a")
    assert caught.value.code == "engine.participants"


def totals_of(names: str, numbers: dict[str, dict[str, Any]]) -> Contribution:
    federation = Federation(names)

    def party(name: str) -> Callable[[], Contribution]:
        return lambda: federation.engine(name).total(LAYOUT, numbers[name], round=1, state=STATE)

    total: Contribution = federation.run({name: party(name) for name in names})[names[0]]
    assert not isinstance(total, XbError)
    return total


def test_a_restart_with_one_party_fewer_shows_that_partys_numbers_so_it_is_refused() -> None:
    numbers = {name: values(k) for name, k in zip("abcd", (1.5, 2.25, -8.0, 63.875), strict=True)}
    four, three = totals_of("abcd", numbers), totals_of("abc", numbers)
    assert np.array_equal(four["x"] - three["x"], numbers["d"]["x"]), "anybody has d's numbers"
    parties = frozenset(PartyId(name) for name in "abcd")
    groups = {party: f"group {party}" for party in parties}
    places = {party: "CN" if party in "ab" else "SG" for party in parties}
    with pytest.raises(RefusedError, match="d would be left out") as caught:
        check_restart([parties], parties - {PartyId("d")}, groups, places)
    assert caught.value.code == "masked_sum.restart"


def test_four_runs_that_differ_by_large_sets_can_still_single_out_one_party() -> None:
    everyone = frozenset(PartyId(f"p{i}") for i in range(1, 15))
    groups = {party: party for party in everyone}
    places = dict.fromkeys(everyone, "CN")

    def without(*numbers: int) -> frozenset[PartyId]:
        return everyone - {PartyId(f"p{i}") for i in numbers}

    first, second, third = everyone, without(1, 2, 3, 4), without(5, 6, 7)
    last = without(1, 2, 3, 4, 5, 6, 7, 8)
    for earlier, later in (
        (first, second),
        (first, third),
        (second, third),
        (first, last),
        (second, last),
        (third, last),
    ):
        check_restart([earlier], later, groups, places)
    sums = [sum(int(party[1:]) ** 2 for party in run) for run in (first, second, third, last)]
    assert sums[1] + sums[2] - sums[0] - sums[3] == 8**2, "p8's number from four totals"
    with pytest.raises(RefusedError, match="of group p8"):
        check_restart([first, second, third], last, groups, places)


def test_before_agreement_a_coalition_of_all_but_two_holds_noise() -> None:
    """c knows everything but what a and b share: their contributions are still masked from each other, bit by bit."""
    federation = Federation("abc")
    people = {party: federation.by_hand(party) for party in "abc"}
    federation.run({party: person.exchange_keys for party, person in people.items()})
    context = people["c"].context()
    zero = values(0) | {"n": np.zeros(2, dtype=np.int64)}
    _, message = people["a"].mask(context, zero)
    words = words_of(message) - key_streams([self_key(people["a"].seed, context, A)])(0, context.size)
    words = words - key_streams([people["c"].pair_keys(context)[A]])(0, context.size)
    shared = key_streams([people["a"].pair_keys(context)[B]])(0, context.size)
    assert np.array_equal(words, shared), "only the mask that a shares with b is left"
    assert np.all(words != 0)
    assert isinstance(people["a"].seed, Secret)
