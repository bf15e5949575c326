"""A linked party that sends what no honest node would: nothing of it reaches the node's sessions."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.support.borders import OTHER_SESSION, PLAN, SESSION, alone, frame, make_nodes, raw_link, until
from xbcompute.core.errors import IntegrityError
from xbcompute.core.frame import CHUNK_MAX
from xbcompute.core.parties import PartyId
from xbcompute.gate.links import Link
from xbcompute.gate.tls import RECEIVE_MAX
from xbcompute.wire.frames import encode_frame
from xbcompute.wire.parts import opening
from xbcompute.wire.v1 import frame_pb2


def crafted(payload: bytes = b"x", extra: bytes = b"", **changes: object) -> bytes:
    """A frame as a dishonest encoder makes it, checks left out."""
    values: dict[str, object] = {
        "session": SESSION,
        "channel": frame_pb2.CHANNEL_ENGINE,
        "kind": "masked",
        "plan": PLAN,
        "last": True,
        "version": 1,
    }
    header = frame_pb2.Header(**(values | changes)).SerializeToString() + extra  # type: ignore[arg-type]
    return opening(1, len(header)) + header + opening(2, len(payload)) + payload


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "wire.part"),
    "junk": (lambda: b"\xff" * 40, "wire.part"),
    "payload missing": (lambda: encode_frame(frame())[:-3], "wire.part"),
    "cut payload": (lambda: encode_frame(frame())[:-1], "wire.cut"),
    "trailing byte": (lambda: encode_frame(frame()) + b"\0", "wire.trailing"),
    "payload twice": (lambda: encode_frame(frame()) + b"\x12\x01y", "wire.trailing"),
    "length in a longer form": (lambda: encode_frame(frame())[:-2] + b"\x81\x00x", "wire.length"),
    "endless length": (lambda: b"\x0a" + b"\xff" * 9, "wire.length"),
    "oversize payload": (lambda: crafted(bytes(CHUNK_MAX + 1)), "frame.oversize"),
    "short session": (lambda: crafted(session=b"1234"), "frame.session"),
    "no plan": (lambda: crafted(plan=b""), "frame.plan"),
    "kind with a space": (lambda: crafted(kind="masked sum"), "frame.kind"),
    "kind in Chinese": (lambda: crafted(kind="和"), "frame.kind"),
    "kind with a new line": (lambda: crafted(kind="masked\n"), "frame.kind"),
    "long kind": (lambda: crafted(kind="k" * 65), "frame.kind"),
    "huge header": (lambda: crafted(kind="k" * 5000), "frame.header"),
    "no channel": (lambda: crafted(channel=0), "frame.channel"),
    "unknown channel": (lambda: crafted(channel=7), "frame.channel"),
    "huge number": (lambda: crafted(sequence=1 << 63), "frame.sequence"),
    "newer version": (lambda: crafted(version=2), "frame.version"),
    "unknown field": (lambda: crafted(extra=b"\x40\x01"), "frame.canonical"),
    "field twice": (lambda: crafted(extra=b"\x22\x06masked"), "frame.canonical"),
    "kind that is not UTF-8": (lambda: crafted(kind="", extra=b"\x22\x01\xff"), "frame.header"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_frame_ends_the_link_and_reaches_no_session(case: str) -> None:
    make, code = BAD[case]

    async def body() -> None:
        nodes = make_nodes("ab")
        async with alone("b", nodes) as node, raw_link(node, nodes["a"].identity, claims="a") as call:
            await call.initial_metadata()
            await call.write(encode_frame(frame(session=OTHER_SESSION)))
            await call.write(make())
            await until(lambda: node.links == [("a", True), ("a", False)])
            ((peer, session, error),) = node.violations
            assert (peer, session, error.code) == ("a", None, code)
            assert isinstance(error, IntegrityError)
            assert [one.session for _, one in node.frames] == [OTHER_SESSION]
            assert node.border.accounts.of(SESSION) == []

    asyncio.run(body())


def test_a_message_beyond_the_limit_of_the_transport_ends_the_link() -> None:
    async def body() -> None:
        nodes = make_nodes("ab")
        async with alone("b", nodes) as node, raw_link(node, nodes["a"].identity, claims="a") as call:
            await call.initial_metadata()
            await call.write(bytes(RECEIVE_MAX + 1))
            await until(lambda: node.links == [("a", True), ("a", False)])
            assert node.frames == []

    asyncio.run(body())


def test_replay_of_a_whole_session_is_refused_over_the_next_link_too() -> None:
    async def body() -> None:
        nodes = make_nodes("ab")
        async with alone("b", nodes) as node:
            for attempt in range(2):
                async with raw_link(node, nodes["a"].identity, claims="a") as call:
                    await call.initial_metadata()
                    for number in range(3):
                        await call.write(encode_frame(frame(number)))
                    await call.write(encode_frame(frame(0, session=OTHER_SESSION)))
                    await until(lambda attempt=attempt: len(node.frames) == 4 or node.codes)  # type: ignore[misc]
                    if attempt:
                        await until(lambda: len(node.codes) == 2)
                await until(lambda: "a" not in node.border.up)
            assert len(node.frames) == 4
            assert node.violations[0][1] == SESSION
            assert node.codes == ["gate.void", "gate.void"]

    asyncio.run(body())


def test_a_peer_cannot_open_sessions_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xbcompute.gate.links.SESSIONS_MAX", 8)
    link = Link(PartyId("a"))
    for number in range(16):
        assert link.admit(frame(session=number.to_bytes(16, "big")), ())
    for number in range(16, 40):
        with pytest.raises(IntegrityError) as caught:
            link.admit(frame(session=number.to_bytes(16, "big")), ())
        assert caught.value.code == "gate.sessions"
    assert len(link.sessions) <= 24
    link.forget((0).to_bytes(16, "big"))
    assert link.admit(frame(session=(99).to_bytes(16, "big")), ())
