"""What every border must do, over gRPC and in memory alike."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from tests.support.borders import OTHER_SESSION, PLAN, SESSION, Node, federation, frame, until
from xbcompute.core.errors import IntegrityError, PeerError, RefusedError
from xbcompute.core.frame import CHUNK_MAX, Frame
from xbcompute.core.parties import PartyId
from xbcompute.gate.links import QUEUE_MAX
from xbcompute.wire.frames import NO_SESSION, Assembler

A, B, C = PartyId("a"), PartyId("b"), PartyId("c")
kinds = pytest.mark.parametrize("kind", ["grpc", "memory"])


async def exchange(nodes: dict[str, Node], *frames: Frame) -> None:
    """Send ``frames`` from a to b and wait until all are there."""
    before = len(nodes["b"].frames)
    for one in frames:
        await nodes["a"].border.send(B, one)
    await until(lambda: len(nodes["b"].frames) == before + len(frames))


@kinds
def test_every_pair_is_linked_once_and_frames_arrive_unchanged_and_in_order(kind: str) -> None:
    async def body() -> None:
        async with federation(kind, "abc") as nodes:
            for name, node in nodes.items():
                assert sorted(node.links) == [(other, True) for other in nodes if other != name]
                assert node.border.up == {other for other in nodes if other != name}
            sent = [frame(i, bytes([i]) * i, last=i % 3 == 0) for i in range(50)]
            await exchange(nodes, *sent)
            assert nodes["b"].frames == [("a", one) for one in sent]
            await nodes["b"].border.send(C, frame())
            await nodes["c"].border.send(A, frame())
            await until(lambda: nodes["a"].frames and nodes["c"].frames)
            assert nodes["a"].frames == [("c", frame())]
            assert nodes["c"].frames == [("b", frame())]
            assert not any(node.violations for node in nodes.values())

    asyncio.run(body())


@kinds
def test_both_ends_count_the_same_and_the_digest_covers_what_left(kind: str) -> None:
    async def body() -> None:
        async with federation(kind) as nodes:
            big, small = bytes(range(256)) * 4096, b"seed"
            await exchange(nodes, frame(0, big), frame(1, small, kind="seed"), frame(2, small))
            await exchange(nodes, frame(0, b"", session=OTHER_SESSION, channel="control"))
            for session in (SESSION, OTHER_SESSION):
                out, into = nodes["a"].border.accounts.of(session), nodes["b"].border.accounts.of(session)
                assert [(x.kind, x.frames, x.payload_bytes, x.wire_bytes) for x in out] == [
                    (x.kind, x.frames, x.payload_bytes, x.wire_bytes) for x in into
                ]
                assert {x.direction for x in out} == {"out"}
                assert {x.direction for x in into} == {"in"}
            assert nodes["a"].border.accounts.crossings(SESSION) == [
                {
                    "from": "a",
                    "to": "b",
                    "kind": "masked",
                    "frames": 2,
                    "bytes": len(big) + 4,
                    "sha256": hashlib.sha256(big + small).hexdigest(),
                },
                {
                    "from": "a",
                    "to": "b",
                    "kind": "seed",
                    "frames": 1,
                    "bytes": 4,
                    "sha256": hashlib.sha256(small).hexdigest(),
                },
            ]
            assert nodes["b"].border.accounts.crossings(SESSION) == []
            nodes["a"].border.accounts.forget(SESSION)
            assert nodes["a"].border.accounts.crossings(SESSION) == []

    asyncio.run(body())


@kinds
@pytest.mark.parametrize(("second", "code"), [(0, "frame.replay"), (2, "frame.gap")])
def test_a_repeated_or_skipped_number_ends_the_session_and_only_that(kind: str, second: int, code: str) -> None:
    async def body() -> None:
        async with federation(kind) as nodes:
            await exchange(nodes, frame(0))
            await nodes["a"].border.send(B, frame(second))
            await nodes["a"].border.send(B, frame(1))
            await exchange(nodes, frame(0, session=OTHER_SESSION))
            assert nodes["b"].codes == [code]
            peer, session, error = nodes["b"].violations[0]
            assert (peer, session) == ("a", SESSION)
            assert isinstance(error, IntegrityError)
            assert [one.session for _, one in nodes["b"].frames] == [SESSION, OTHER_SESSION]
            (account,) = nodes["b"].border.accounts.of(SESSION)
            assert account.frames == 1

    asyncio.run(body())


@kinds
@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"session": b"short"}, "frame.session"),
        ({"plan": b""}, "frame.plan"),
        ({"kind": "Masked"}, "frame.kind"),
        ({"kind": ""}, "frame.kind"),
        ({"kind": "a" * 65}, "frame.kind"),
        ({"channel": "other"}, "frame.channel"),
        ({"payload": bytes(CHUNK_MAX + 1)}, "frame.oversize"),
        ({"sequence": -1}, "frame.sequence"),
    ],
)
def test_a_frame_without_a_valid_form_does_not_leave(kind: str, changes: dict[str, object], code: str) -> None:
    async def body() -> None:
        async with federation(kind) as nodes:
            with pytest.raises(IntegrityError) as caught:
                await nodes["a"].border.send(B, frame(**changes))  # type: ignore[arg-type]
            assert caught.value.code == code
            assert nodes["a"].border.accounts.of(SESSION) == []
            await exchange(nodes, frame(0))

    asyncio.run(body())


@kinds
def test_a_slow_receiver_holds_the_sender_back(kind: str) -> None:
    async def body() -> None:
        async with federation(kind) as nodes:
            nodes["b"].gate.clear()
            payload = bytes(CHUNK_MAX)
            taken = 0
            with pytest.raises(TimeoutError):
                while taken < 200:
                    await asyncio.wait_for(nodes["a"].border.send(B, frame(taken, payload)), 0.7)
                    taken += 1
            # The queue, and what TCP and HTTP/2 hold on the way: far from all 200.
            assert QUEUE_MAX // CHUNK_MAX - 1 <= taken <= 64
            nodes["b"].gate.set()
            await nodes["a"].border.send(B, frame(taken, payload))
            await until(lambda: len(nodes["b"].frames) == taken + 1)
            assert nodes["b"].violations == []

    asyncio.run(body())


@kinds
def test_senders_that_wait_keep_their_order(kind: str) -> None:
    async def body() -> None:
        async with federation(kind) as nodes:
            nodes["b"].gate.clear()
            payload = bytes(CHUNK_MAX)
            sending = [asyncio.create_task(nodes["a"].border.send(B, frame(i, payload))) for i in range(80)]
            await asyncio.sleep(0.05)
            nodes["b"].gate.set()
            await asyncio.gather(*sending)
            await until(lambda: len(nodes["b"].frames) == 80)
            assert nodes["b"].violations == []

    asyncio.run(body())


@kinds
def test_messages_numbered_by_the_border_arrive_whole(kind: str) -> None:
    async def body() -> None:
        async with federation(kind) as nodes:
            data = [bytes([i]) * (i * 700_000) for i in range(5)]
            form = {"session": SESSION, "channel": "control", "kind": "state", "plan": PLAN}
            await asyncio.gather(*(nodes["a"].border.send_message(B, one, **form) for one in data))  # type: ignore[arg-type]
            assembler = Assembler()
            await until(lambda: sum(one.last for _, one in nodes["b"].frames) == len(data))
            whole = [assembler.add(A, one) for _, one in nodes["b"].frames]
            assert [message.data for message in whole if message is not None] == data
            nodes["a"].border.forget(SESSION)
            nodes["b"].border.forget(SESSION)
            await nodes["a"].border.send_message(B, b"again", **form)  # type: ignore[arg-type]
            await until(lambda: nodes["b"].frames[-1][1].payload == b"again")
            assert nodes["b"].violations == []

    asyncio.run(body())


@kinds
def test_a_node_that_stops_is_noticed_and_named(kind: str) -> None:
    async def body() -> None:
        async with federation(kind, "abc") as nodes:
            await nodes["b"].border.stop()
            await until(lambda: ("b", False) in nodes["a"].links and ("b", False) in nodes["c"].links)
            with pytest.raises(PeerError, match="b"):
                await nodes["a"].border.send(B, frame())
            with pytest.raises(PeerError) as caught:
                await nodes["c"].border.linked(0.05)
            assert "no link to b (" in caught.value.text
            await nodes["c"].border.linked(0.05, [A])
            await nodes["a"].border.send(C, frame())
            await until(lambda: nodes["c"].frames)

    asyncio.run(body())


@kinds
def test_a_sender_that_waits_is_told_when_the_link_goes_down(kind: str) -> None:
    async def body() -> None:
        async with federation(kind) as nodes:
            nodes["b"].gate.clear()

            async def flood() -> None:
                for i in range(200):
                    await nodes["a"].border.send(B, frame(i, bytes(CHUNK_MAX)))

            flooding = asyncio.create_task(flood())
            await until(lambda: len(nodes["a"].border.accounts.of(SESSION)) == 1)
            await asyncio.sleep(0.1)
            await nodes["b"].border.stop()
            with pytest.raises(PeerError):
                await flooding

    asyncio.run(body())


@kinds
def test_what_the_node_raises_against_a_frame_is_a_violation_and_the_link_goes_on(kind: str) -> None:
    async def body() -> None:
        async with federation(kind) as nodes:
            nodes["b"].fault = RefusedError("session.unknown", "no such session here.")
            await nodes["a"].border.send(B, frame(0))
            await until(lambda: nodes["b"].codes == ["session.unknown"])
            nodes["b"].fault = None
            await exchange(nodes, frame(1))

    asyncio.run(body())


@kinds
def test_a_fault_of_the_node_ends_the_link_and_tells_only_its_class(
    kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def body() -> None:
        async with federation(kind) as nodes:
            nodes["b"].fault = ValueError("canary-value-7")
            await nodes["a"].border.send(B, frame(0))
            await until(lambda: ("a", False) in nodes["b"].links and ("b", False) in nodes["a"].links)

    asyncio.run(body())
    assert "ValueError" in caplog.text
    assert "canary-value-7" not in caplog.text


def test_sessions_of_a_broken_link_stay_broken_and_talk_outside_sessions_starts_again() -> None:
    async def body() -> None:
        async with federation("grpc") as nodes:
            a, b = nodes["a"], nodes["b"]
            free = {"session": NO_SESSION, "channel": "control", "kind": "hello", "plan": PLAN}
            await exchange(nodes, frame(0))
            await a.border.send_message(B, b"one", **free)  # type: ignore[arg-type]
            await until(lambda: len(b.frames) == 2)
            b.fault = ValueError()
            await a.border.send(B, frame(1))
            await until(lambda: b.links == [("a", True), ("a", False), ("a", True)])
            await a.border.linked(20)
            b.fault = None
            with pytest.raises(PeerError) as caught:
                await a.border.send(B, frame(2))
            assert caught.value.code == "peer.broken"
            with pytest.raises(PeerError):
                await b.border.send(A, frame(0))
            await a.border.send_message(B, b"two", **free)  # type: ignore[arg-type]
            await until(lambda: len(b.frames) == 3)
            await exchange(nodes, frame(0, session=OTHER_SESSION))
            assert b.violations == []

    asyncio.run(body())
