"""The clear engine and the loopback channel: totals, refusals, and what a broken peer does."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from xbcompute.core.admission import Admission
from xbcompute.core.arrays import ArraySpec, Contribution, Layout
from xbcompute.core.errors import InputError, IntegrityError, PeerError
from xbcompute.core.fields import Expect
from xbcompute.core.parties import PartyId
from xbcompute.core.schema import Limits
from xbcompute.engines import clear
from xbcompute.engines.clear import Clear, sum_contributions
from xbcompute.engines.loopback import LoopbackChannel, loopback

A, B, C = PartyId("a"), PartyId("b"), PartyId("c")
LAYOUT: Layout = {"n": ArraySpec((2,), 100, integer=True, role="cells"), "x": ArraySpec((2, 2), 10.0)}
STATE = bytes(32)


def admission(me: PartyId, parties: tuple[PartyId, ...], card: str = "clear-aggregate") -> Admission:
    return Admission(bytes(16), "test", bytes(32), bytes(32), card, me, parties, 1, Limits())


def contribution(k: int) -> Contribution:
    return {"n": np.array([k, -k]), "x": np.full((2, 2), k / 7)}


def at_each(work: dict[PartyId, Callable[[], Any]]) -> dict[PartyId, Any]:
    with ThreadPoolExecutor(len(work)) as pool:
        waiting = {party: pool.submit(call) for party, call in work.items()}
        return {party: future.exception() or future.result() for party, future in waiting.items()}


def run(channels: dict[PartyId, LoopbackChannel], k: dict[PartyId, int], **at: bytes) -> dict[PartyId, Any]:
    def one(party: PartyId) -> Callable[[], Any]:
        engine = Clear(channels[party], admission(party, tuple(sorted(channels))))
        return lambda: engine.total(LAYOUT, contribution(k[party]), round=1, state=at.get(party, STATE))

    return at_each({party: one(party) for party in k})


def test_total_is_the_sum_in_participant_order_bit_for_bit_at_every_party() -> None:
    totals = run(loopback([A, B, C]), {A: 1, B: 2, C: 4})
    oracle = sum_contributions(LAYOUT, [contribution(k) for k in (1, 2, 4)])
    for total in totals.values():
        assert total["n"].dtype == np.int64
        assert total["n"].tolist() == [7, -7]
        assert np.array_equal(total["x"], oracle["x"])


def test_one_party_alone() -> None:
    total = Clear(loopback([A])[A], admission(A, (A,))).total(LAYOUT, contribution(3), round=1, state=STATE)
    assert total["n"].tolist() == [3, -3]


def test_large_vectors_pass_without_waiting_for_each_other() -> None:
    layout = {"x": ArraySpec((300_000,), 1.0)}
    channels = loopback([A, B, C])
    values = np.linspace(-1, 1, 300_000)
    totals = at_each(
        {
            party: lambda p=party: Clear(channels[p], admission(p, (A, B, C))).total(  # type: ignore[misc]
                layout, {"x": values}, round=1, state=STATE
            )
            for party in channels
        }
    )
    assert all(np.array_equal(total["x"], values + values + values) for total in totals.values())


def test_another_state_is_an_integrity_error_that_names_the_party() -> None:
    outcomes = run(loopback([A, B], timeout=1.0), {A: 1, B: 1}, b=b"\1" * 32)
    for party, peer in ((A, B), (B, A)):
        assert isinstance(outcomes[party], IntegrityError)
        assert outcomes[party].code == "clear.context"
        assert peer in outcomes[party].text


def test_values_out_of_bound_from_a_peer() -> None:
    channels = loopback([A, B])
    bad = {"n": np.array([1, 101]), "x": np.zeros((2, 2))}
    channels[B].send(A, clear.KIND, clear.message(LAYOUT, bad, epoch=1, round=1, state=STATE))
    with pytest.raises(IntegrityError, match="b sent values that break the layout") as caught:
        Clear(channels[A], admission(A, (A, B))).total(LAYOUT, contribution(1), round=1, state=STATE)
    assert caught.value.code == "clear.values"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"n": np.array([1.0, 2.5])}, "contribution.not_whole"),
        ({"n": np.array([1, 101])}, "contribution.out_of_bound"),
        ({"n": np.array([1, -101])}, "contribution.out_of_bound"),
        ({"n": np.array([1, 2], dtype=np.int32)}, "contribution.dtype"),
        ({"n": np.array([1, 2, 3])}, "contribution.shape"),
        ({"x": np.array([[1, 2], [3, np.nan]])}, "contribution.not_finite"),
        ({"x": np.array([[1, 2], [3, -np.inf]])}, "contribution.not_finite"),
        ({"x": np.array([[1, 2], [3, 10.000001]])}, "contribution.out_of_bound"),
        ({"x": np.ones((2, 2), dtype=np.int64)}, "contribution.dtype"),
        ({"y": np.ones(1)}, "contribution.names"),
    ],
)
def test_a_bad_contribution_is_refused_before_anything_is_sent(change: dict[str, Any], code: str) -> None:
    channels = loopback([A, B], timeout=0.05)
    with pytest.raises(InputError) as caught:
        Clear(channels[A], admission(A, (A, B))).total(LAYOUT, {**contribution(1), **change}, round=1, state=STATE)
    assert caught.value.code == code
    with pytest.raises(PeerError):
        channels[B].recv(A, clear.KIND, clear.expected(LAYOUT))


def test_whole_float_counts_are_accepted() -> None:
    total = sum_contributions({"n": ArraySpec((1,), 2**53, integer=True)}, [{"n": np.array([2.0**53])}] * 3)
    assert total["n"].tolist() == [3 * 2**53]


@pytest.mark.parametrize("bound", [2.0**62, float("inf"), float("nan"), -1.0])
def test_bounds_that_cannot_hold_a_sum(bound: float) -> None:
    with pytest.raises(InputError) as caught:
        sum_contributions({"n": ArraySpec((1,), bound, integer=True)}, [{"n": np.array([1])}] * 2)
    assert caught.value.code == "layout.bound"


def test_rounds_only_go_forward() -> None:
    engine = Clear(loopback([A])[A], admission(A, (A,)))
    engine.total(LAYOUT, contribution(1), round=2, state=STATE)
    for again in (2, 1):
        with pytest.raises(IntegrityError, match="not after the last round"):
            engine.total(LAYOUT, contribution(1), round=again, state=STATE)


@pytest.mark.parametrize(
    ("me", "parties", "card"),
    [(A, (B, C), "clear-aggregate"), (A, (B, A), "clear-aggregate"), (A, (A, A), "clear-aggregate"), (A, (A,), "psi")],
)
def test_a_wrong_admission_is_refused(me: PartyId, parties: tuple[PartyId, ...], card: str) -> None:
    with pytest.raises(IntegrityError):
        Clear(loopback([A, B, C])[A], admission(me, parties, card))


def test_a_party_that_leaves_is_noticed_at_once_but_its_last_words_are_heard() -> None:
    channels = loopback([A, B], timeout=60)
    channels[B].send(A, "word", {"n": 1})
    channels[B].close()
    assert channels[A].recv(B, "word", {"n": Expect("int")}) == {"n": 1}
    with pytest.raises(PeerError, match="b sent no word message"):
        channels[A].recv(B, "word", {"n": Expect("int")})


def test_loopback_copies_checks_and_knows_its_peers() -> None:
    channels = loopback([A, B], timeout=0.01)
    array = np.zeros(2)
    channels[A].send(B, "k", {"x": array})
    array[0] = 9
    received = channels[B].recv(A, "k", {"x": Expect("array", "float64", (2,))})["x"]
    assert isinstance(received, np.ndarray)
    assert received.tolist() == [0, 0]
    channels[A].send(B, "k", {"x": array})
    with pytest.raises(IntegrityError):
        channels[B].recv(A, "k", {"x": Expect("array", "float64", (3,))})
    for wrong in (A, PartyId("z")):
        with pytest.raises(InputError):
            channels[A].send(wrong, "k", {})
        with pytest.raises(InputError):
            channels[A].recv(wrong, "k", {})
