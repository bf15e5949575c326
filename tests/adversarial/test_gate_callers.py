"""Who gets in, and what a refused caller learns: nothing."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import grpc
import pytest

from tests.support.borders import FEDERATION, Node, alone, federation, frame, grpc_node, make_nodes, raw_link, until
from xbcompute.core.errors import InputError, PeerError
from xbcompute.core.parties import PartyId
from xbcompute.gate.border import PEER_SERVICE
from xbcompute.gate.client import NodeClient
from xbcompute.gate.pki import Identity
from xbcompute.gate.service import NODE_SERVICE
from xbcompute.gate.tls import Peer, Pins, User

A, B, C = PartyId("a"), PartyId("b"), PartyId("c")


class Doorbell:
    """Answers status only; a caller that gets this far was let in."""

    async def status(self, user: str) -> bytes:
        return user.encode()


SERVICE: Any = Doorbell()


async def refusal(call: Any) -> tuple[grpc.StatusCode, str]:
    """How a hand-made link ended, which must not have been accepted."""
    assert ("xb-link", "1") not in tuple(await call.initial_metadata())
    return await call.code(), await call.details()


def test_a_party_may_link_under_its_own_name_only(caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        nodes = make_nodes("abc")
        async with alone("c", nodes) as node:
            async with raw_link(node, nodes["a"].identity, claims="a") as call:
                assert ("xb-link", "1") in tuple(await call.initial_metadata())
                await until(lambda: node.links == [("a", True)])
            await until(lambda: node.links == [("a", True), ("a", False)])
            for claims, to, union in (
                ("b", None, FEDERATION),
                ("", None, FEDERATION),
                ("a", "b", FEDERATION),
                ("a", None, "other"),
            ):
                async with raw_link(node, nodes["a"].identity, claims=claims, to=to, federation=union) as call:
                    assert await refusal(call) == (grpc.StatusCode.UNAUTHENTICATED, "refused")
            assert node.links == [("a", True), ("a", False)]

    asyncio.run(body())
    assert "the certificate of a came under another party's name" in caplog.text
    assert "a called for another federation or party" in caplog.text


def test_an_unknown_certificate_does_not_pass_the_handshake() -> None:
    async def body() -> None:
        nodes = make_nodes("bc")
        stranger = Identity.throwaway(FEDERATION, "b")
        async with alone("c", nodes) as node, raw_link(node, stranger, claims="b") as call:
            code, details = await refusal(call)
            assert code == grpc.StatusCode.UNAVAILABLE
            assert "b" not in node.border.up
            assert "pinned" not in details
            assert node.links == []

    asyncio.run(body())


def test_the_exact_certificate_counts_not_its_name_or_key() -> None:
    known = Identity.throwaway(FEDERATION, "b")
    twin = Identity.throwaway(FEDERATION, "b")
    pins = Pins(
        FEDERATION, Identity.throwaway(FEDERATION, "a"), A, [Peer(B, None, known.certificate)], [User("u", _user())]
    )
    facts = {"transport_security_type": [b"ssl"], "ssl_tls_version": [b"TLSv1.3"]}

    def told(**changes: list[bytes]) -> Any:
        return pins.caller(facts | {"x509_pem_cert": [known.certificate]} | changes)

    assert told().id == "b"
    assert told(x509_pem_cert=[twin.certificate]) == "the certificate is not pinned here"
    assert told(x509_pem_cert=[b"junk"]) == "the connection has no certificate"
    assert told(x509_pem_cert=[]) == "the connection has no certificate"
    assert told(ssl_tls_version=[b"TLSv1.2"]) == "the connection is not TLS 1.3"
    assert told(ssl_tls_version=[]) == "the connection is not TLS 1.3"
    assert told(transport_security_type=[b"insecure"]) == "the connection is not TLS"


def _user() -> bytes:
    return Identity.throwaway(FEDERATION, "u").certificate


def test_a_dialler_believes_only_the_pinned_certificate_and_says_who_is_missing() -> None:
    async def body() -> None:
        nodes = make_nodes("abc")
        async with alone("c", nodes) as c:
            a = nodes["a"]
            a.border = grpc_node(a, [Peer(B, c.address, nodes["b"].identity.certificate)], listen=None)
            assert await a.border.start() is None
            try:
                with pytest.raises(PeerError) as caught:
                    await a.border.linked(1.0)
                assert f"b: {c.address} presented another certificate than the pinned one" in caught.value.text
            finally:
                await a.border.stop()
            assert c.links == []

    asyncio.run(body())


def _expired(name: str) -> Identity:
    now = dt.datetime.now(dt.UTC)
    return Identity.throwaway(FEDERATION, name, valid=(now - dt.timedelta(days=9), now - dt.timedelta(hours=1)))


@pytest.mark.parametrize("whose", ["dialler", "listener"])
def test_expired_certificates_are_refused_and_named(whose: str) -> None:
    async def body() -> None:
        nodes = make_nodes("ac")
        old = "a" if whose == "dialler" else "c"
        nodes[old].identity = _expired(old)
        async with alone("c", nodes) as c:
            a = nodes["a"]
            a.border = grpc_node(a, [Peer(C, c.address, c.identity.certificate)], listen=None)
            await a.border.start()
            try:
                with pytest.raises(PeerError) as caught:
                    await a.border.linked(1.0)
                expected = "it has expired" if whose == "dialler" else "the certificate pinned for it is valid from"
                assert expected in caught.value.text
            finally:
                await a.border.stop()
            assert c.links == []

    asyncio.run(body())


def test_a_user_gets_no_link_and_a_party_no_node_service(caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        nodes = make_nodes("ac")
        user = Identity.throwaway(FEDERATION, "u")
        users = [User("u", user.certificate, frozenset({"researcher"}))]
        async with alone("c", nodes, users=users, service=SERVICE) as node:
            for claims in ("u", "a"):
                async with raw_link(node, user, claims=claims) as call:
                    assert await refusal(call) == (grpc.StatusCode.UNAUTHENTICATED, "refused")

            def ask(identity: Identity) -> bytes:
                with NodeClient(node.address, node.identity.certificate, identity) as client:
                    return client.status()

            assert await asyncio.to_thread(ask, user) == b"u"
            with pytest.raises(PeerError) as caught:
                await asyncio.to_thread(ask, nodes["a"].identity)
            assert caught.value.code == "node.refused"
            with pytest.raises(PeerError) as caught:
                await asyncio.to_thread(ask, Identity.throwaway(FEDERATION, "u"))
            assert caught.value.code == "node.unreachable"
            with pytest.raises(PeerError):
                await asyncio.to_thread(ask, node.identity)

    asyncio.run(body())
    assert "user u asked for the service of parties" in caplog.text
    assert "party a asked for the service of users" in caplog.text


def test_a_second_link_of_the_same_party_is_refused_and_the_first_lives() -> None:
    async def body() -> None:
        async with federation("grpc") as nodes:
            async with raw_link(nodes["b"], nodes["a"].identity, claims="a") as call:
                assert (await refusal(call))[0] == grpc.StatusCode.ALREADY_EXISTS
            await nodes["a"].border.send(B, frame())
            await until(lambda: nodes["b"].frames)
            assert nodes["b"].links == [("a", True)]

    asyncio.run(body())


def test_the_side_that_dials_takes_no_link(caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        async with federation("grpc") as nodes, raw_link(nodes["a"], nodes["b"].identity, claims="b") as call:
            assert await refusal(call) == (grpc.StatusCode.UNAUTHENTICATED, "refused")

    asyncio.run(body())
    assert "it is this side that dials" in caplog.text


def test_a_proxy_named_in_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def body() -> None:
        async with federation("grpc") as nodes:
            await nodes["b"].border.send(A, frame())
            await until(lambda: nodes["a"].frames)

    asyncio.run(body())


class Tunnel:
    """A plain local port in front of a TLS connection of one version, so that grpcio speaks over that version."""

    def __init__(self, target: int, identity: Identity, version: ssl.TLSVersion, folder: Path) -> None:
        identity.save(folder / f"{version.name}.pem")
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self._context.load_cert_chain(folder / f"{version.name}.pem")
        self._context.minimum_version = self._context.maximum_version = version
        self._context.set_alpn_protocols(["h2"])
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.negotiated: list[str | None] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        inner, _ = self._listener.accept()
        outer = socket.create_connection(("127.0.0.1", self._target))
        with inner, self._context.wrap_socket(outer) as secure:
            self.negotiated.append(secure.version())
            secure.settimeout(0.02)
            inner.settimeout(0.02)
            while True:
                for source, sink in ((inner, secure), (secure, inner)):
                    try:
                        data = source.recv(65536)
                    except TimeoutError:
                        continue
                    except OSError:
                        return
                    if not data:
                        return
                    sink.sendall(data)

    def close(self) -> None:
        self._thread.join(20)
        self._listener.close()
        assert not self._thread.is_alive()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("method", ["Link", "Status"])
def test_tls_1_2_is_refused_where_1_3_is_taken(version: ssl.TLSVersion, method: str, tmp_path: Path) -> None:
    modern = version is ssl.TLSVersion.TLSv1_3

    async def body() -> None:
        nodes = make_nodes("ac")
        user = Identity.throwaway(FEDERATION, "u")
        async with alone("c", nodes, users=[User("u", user.certificate)], service=SERVICE) as node:
            assert node.port is not None
            tunnel = Tunnel(node.port, nodes["a"].identity if method == "Link" else user, version, tmp_path)
            async with grpc.aio.insecure_channel(tunnel.address) as channel:
                accepted, code = await (link if method == "Link" else status)(channel)
            await asyncio.to_thread(tunnel.close)
            assert tunnel.negotiated == ["TLSv1.3" if modern else "TLSv1.2"]
            assert accepted is modern
            assert code == (None if modern else grpc.StatusCode.UNAUTHENTICATED)
            assert node.links == ([("a", True), ("a", False)] if modern and method == "Link" else [])

    async def link(channel: grpc.aio.Channel) -> tuple[bool, grpc.StatusCode | None]:
        call: Any = channel.stream_stream(f"/{PEER_SERVICE}/Link")(
            metadata=(("xb-federation", FEDERATION), ("xb-from", "a"), ("xb-to", "c"))
        )
        accepted = ("xb-link", "1") in tuple(await call.initial_metadata())
        code = None if accepted else await call.code()
        call.cancel()
        return accepted, code

    async def status(channel: grpc.aio.Channel) -> tuple[bool, grpc.StatusCode | None]:
        ask: Any = channel.unary_unary(f"/{NODE_SERVICE}/Status")
        try:
            return bool(await ask(b"")), None
        except grpc.aio.AioRpcError as error:
            assert error.details() == "refused"
            return False, error.code()

    asyncio.run(body())


@pytest.mark.parametrize("second", ["peer", "user", "self"])
def test_one_certificate_is_one_party_or_one_user(second: str) -> None:
    own, other = Identity.throwaway(FEDERATION, "a"), Identity.throwaway(FEDERATION, "b")
    peers = [Peer(B, None, other.certificate)]
    users: list[User] = []
    if second == "peer":
        peers.append(Peer(B, None, other.certificate))
    else:
        users.append(User("u", other.certificate if second == "user" else own.certificate))
    with pytest.raises(InputError) as caught:
        Pins(FEDERATION, own, A, peers, users)
    assert caught.value.code == "pki.shared"


def test_a_certificate_listed_under_another_partys_name_is_refused_at_the_start() -> None:
    own, other = Identity.throwaway(FEDERATION, "a"), Identity.throwaway(FEDERATION, "b")
    for party, certificate in ((C, other.certificate), (B, Identity.throwaway("elsewhere", "b").certificate)):
        with pytest.raises(InputError) as caught:
            Pins(FEDERATION, own, A, [Peer(party, None, certificate)], [])
        assert caught.value.code == "pki.name"
        assert str(party) in caught.value.text
    with pytest.raises(InputError):
        grpc_node(Node(B, own), [])


def test_a_port_in_use_is_an_input_error_and_is_not_shared() -> None:
    async def body() -> None:
        nodes = make_nodes("ac")
        async with alone("c", nodes) as node:
            second = grpc_node(nodes["a"], [], listen=node.address)
            with pytest.raises(InputError) as caught:
                await second.start()
            assert caught.value.code == "gate.listen"
            await second.stop()

    asyncio.run(body())


def test_the_side_without_an_address_dials_whatever_its_id() -> None:
    async def body() -> None:
        nodes = make_nodes("ab")
        async with alone("a", nodes) as a:
            with pytest.raises(PeerError, match="no address is known for b"):
                await a.border.linked(0.05)
            b = nodes["b"]
            b.border = grpc_node(b, [Peer(A, a.address, a.identity.certificate)], listen=None)
            assert await b.border.start() is None
            try:
                await asyncio.gather(a.border.linked(20), b.border.linked(20))
                await a.border.send(B, frame())
                await until(lambda: b.frames == [("a", frame())])
            finally:
                await b.border.stop()

    asyncio.run(body())
