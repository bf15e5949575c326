"""A script's view of a node: answers, streams, and the node's errors as the exceptions they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.support.borders import FEDERATION, alone, make_nodes
from xbcompute.core.errors import HeldError, InputError, IntegrityError, PeerError, RefusedError, XbError
from xbcompute.gate.client import NodeClient
from xbcompute.gate.pki import Identity
from xbcompute.gate.tls import User
from xbcompute.wire.v1 import node_pb2

SESSION = "00112233445566778899aabbccddeeff"


class Service:
    """Answers with what it was asked, and refuses in every way."""

    def __init__(self) -> None:
        self.watching = 0

    async def explain(self, user: str, study: bytes) -> bytes:
        return user.encode() + b":" + study

    async def submit(self, user: str, study: bytes) -> str:
        if study == b"held":
            raise HeldError("approval.missing", "the role DPO has not signed.", todo="Ask for its approval.")
        return SESSION

    async def watch(self, user: str, session: str) -> AsyncIterator[bytes]:
        self.watching += 1
        try:
            yield b"proposed"
            yield session.encode()
            if session != SESSION:
                await asyncio.Event().wait()
            raise RefusedError("policy.refused", "rule B16 refuses.")
        finally:
            self.watching -= 1

    async def results(self, user: str, session: str) -> bytes:
        raise ValueError("canary-value-9")

    async def approve(self, user: str, body: bytes) -> bytes:
        raise IntegrityError("approval.signature", "the signature does not match.")

    async def ledger(self, user: str, since: int) -> AsyncIterator[bytes]:
        for number in range(since, since + 3):
            yield str(number).encode()

    async def status(self, user: str) -> bytes:
        return bytes(5 << 20)


def ask(question: Callable[[NodeClient], Any], service: Any = None) -> Any:
    """The answer of a node to a user, or the error raised to the script."""

    async def body() -> Any:
        nodes = make_nodes("a")
        user = Identity.throwaway(FEDERATION, "u")
        users = [User("u", user.certificate, frozenset())]
        async with alone("a", nodes, users=users, service=service or Service()) as node:

            def run() -> Any:
                with NodeClient(node.address, node.identity.certificate, user, timeout=20) as client:
                    return question(client)

            return await asyncio.to_thread(run)

    return asyncio.run(body())


def test_answers_come_back() -> None:
    assert ask(lambda client: client.explain(b"{}")) == b"u:{}"
    assert ask(lambda client: client.submit(b"{}")) == SESSION
    assert ask(lambda client: list(client.ledger(4))) == [b"4", b"5", b"6"]
    assert len(ask(lambda client: client.status())) == 5 << 20


def test_the_nodes_errors_are_the_scripts_errors() -> None:
    with pytest.raises(HeldError) as held:
        ask(lambda client: client.submit(b"held"))
    expected = {"code": "approval.missing", "exit": 4, "text": "the role DPO has not signed."}
    assert held.value.public() == expected | {"todo": "Ask for its approval."}
    with pytest.raises(IntegrityError, match="signature"):
        ask(lambda client: client.approve(b""))


def test_a_stream_ends_with_the_nodes_error() -> None:
    seen: list[bytes] = []

    def watch(client: NodeClient) -> None:
        seen.extend(event for event in client.watch(SESSION))

    with pytest.raises(RefusedError) as caught:
        ask(watch)
    assert caught.value.code == "policy.refused"
    assert seen == [b"proposed", SESSION.encode()]


def test_a_script_that_stops_watching_ends_the_stream_at_the_node() -> None:
    service = Service()

    def first(client: NodeClient) -> bytes:
        events = client.watch("ff" * 16)
        event = next(events)
        events.close()  # type: ignore[attr-defined]
        return event

    assert ask(first, service) == b"proposed"
    assert service.watching == 0


def test_an_unplanned_fault_tells_its_class_to_the_log_and_nothing_to_the_user(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(XbError) as caught:
        ask(lambda client: client.results(SESSION))
    assert caught.value.code == "node.fault"
    assert "canary" not in str(caught.value)
    assert "ValueError" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.parametrize("session", ["", "00", "zz" * 16])
def test_a_session_that_is_no_session_is_an_input_error(session: str) -> None:
    with pytest.raises(InputError) as caught:
        ask(lambda client: client.results(session))
    assert caught.value.code == "request.session"


def test_a_request_that_cannot_be_read_is_an_input_error() -> None:
    def send_junk(client: NodeClient) -> bytes:
        class Junk:
            def SerializeToString(self) -> bytes:
                return b"\xff\xff"

        return client._reply("Explain", Junk())

    with pytest.raises(InputError) as caught:
        ask(send_junk)
    assert caught.value.code == "request.form"


def test_a_node_that_is_not_there_or_is_another_is_a_peer_error() -> None:
    user = Identity.throwaway(FEDERATION, "u")

    def ask_another(client: NodeClient) -> None:
        other = Identity.throwaway(FEDERATION, "a").certificate
        with NodeClient(client._address, other, user) as wrong:
            wrong.status()

    with pytest.raises(PeerError) as caught:
        ask(ask_another)
    assert caught.value.code == "node.certificate"
    with NodeClient("127.0.0.1:9", user.certificate, user) as nobody, pytest.raises(PeerError) as caught:
        nobody.status()
    assert caught.value.code == "node.unreachable"


def test_every_method_of_the_definition_is_served_and_called() -> None:
    methods = [method.name for method in node_pb2.DESCRIPTOR.services_by_name["Node"].methods]
    service = Service()
    for method in methods:
        assert callable(getattr(NodeClient, method.lower()))
        assert callable(getattr(service, method.lower()))
