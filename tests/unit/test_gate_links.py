"""The parts of a link that need no stream: the bounded queue, its waiting, and the accounts."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from tests.support.borders import OTHER_SESSION, SESSION, frame
from xbcompute.core.errors import PeerError
from xbcompute.core.parties import PartyId
from xbcompute.gate.accounting import Accounts
from xbcompute.gate.allocator import keep_freed_memory
from xbcompute.gate.links import Outbox

A, B = PartyId("a"), PartyId("b")


def test_the_queue_waits_when_full_and_wakes_in_order() -> None:
    async def body() -> None:
        outbox = Outbox(B, limit=10)
        order: list[int] = []

        async def put(number: int) -> None:
            await outbox.put(frame(number), b"", 6)
            order.append(number)

        waiting = [asyncio.create_task(put(number)) for number in range(4)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert order == [0]
        got = []
        for _ in range(4):
            item = await outbox.get()
            assert item is not None
            got.append(item[0].sequence)
        await asyncio.gather(*waiting)
        assert got == order == [0, 1, 2, 3]

    asyncio.run(body())


def test_a_frame_larger_than_the_whole_queue_passes_when_it_is_empty() -> None:
    async def body() -> None:
        outbox = Outbox(B, limit=10)
        await outbox.put(frame(), b"", 50)
        assert await outbox.get() is not None

    asyncio.run(body())


def test_who_waits_is_told_when_the_link_goes_down() -> None:
    async def body() -> None:
        outbox = Outbox(B, limit=10)
        await outbox.put(frame(0), b"", 10)
        waiting = asyncio.create_task(outbox.put(frame(1), b"", 10))
        await asyncio.sleep(0)
        outbox.close()
        with pytest.raises(PeerError):
            await waiting
        with pytest.raises(PeerError):
            await outbox.put(frame(2), b"", 1)
        assert await outbox.get() is None

    asyncio.run(body())


def test_who_gives_up_waiting_leaves_no_trace() -> None:
    async def body() -> None:
        outbox = Outbox(B, limit=10)
        await outbox.put(frame(0), b"", 10)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(outbox.put(frame(1), b"", 10), 0.01)
        await outbox.get()
        await outbox.put(frame(2), b"", 10)
        item = await outbox.get()
        assert item is not None
        assert item[0].sequence == 2

    asyncio.run(body())


def test_accounts_are_kept_by_session_direction_peer_and_kind() -> None:
    accounts = Accounts(A)
    accounts.add("out", B, frame(0, b"12"), 80)
    accounts.add("out", B, frame(1, b"345"), 81)
    accounts.add("in", B, frame(0, b"6"), 79)
    accounts.add("out", B, frame(2, b"7", kind="seed"), 78)
    accounts.add("out", B, frame(0, b"8", session=OTHER_SESSION), 77)
    assert [(x.direction, x.kind, x.frames, x.payload_bytes, x.wire_bytes) for x in accounts.of(SESSION)] == [
        ("in", "masked", 1, 1, 79),
        ("out", "masked", 2, 5, 161),
        ("out", "seed", 1, 1, 78),
    ]
    crossings = accounts.crossings(SESSION)
    assert [crossing["sha256"] for crossing in crossings] == [
        hashlib.sha256(b"12345").hexdigest(),
        hashlib.sha256(b"7").hexdigest(),
    ]
    assert accounts.crossings(bytes(16)) == []
    accounts.forget(SESSION)
    assert accounts.of(SESSION) == []
    assert len(accounts.of(OTHER_SESSION)) == 1


def test_the_allocator_setting_says_whether_it_took() -> None:
    first = keep_freed_memory()
    assert isinstance(first, bool)
    assert keep_freed_memory() is first
