"""The rules of a connection: which options, whose certificate, which version of TLS.

grpcio takes every TLS version from 1.2 on and cannot be told otherwise, so the server reads the version that each
call's connection negotiated. A dialler needs no such check: it trusts one certificate, whose holder's node refuses
TLS 1.2, and a TLS 1.3 client notices a third party that forces the version down (RFC 8446, section 4.1.3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from xbcompute.core.errors import InputError
from xbcompute.core.frame import CHUNK_MAX
from xbcompute.core.parties import PartyId
from xbcompute.gate.pki import Identity, Pin, read_pin

RECEIVE_MAX = CHUNK_MAX + (64 << 10)
"""Largest gRPC message a node takes, bytes: a full frame and its header."""

SILENCE = 6.0
"""Seconds after which a connection whose other end answers nothing counts as dead. A slow link needs more: what waits
in the buffers of the operating system (some megabytes) goes before the question."""

Options = Sequence[tuple[str, int | str]]


def _common(silence: float) -> Options:
    third = max(1, int(silence * 1000 / 3))
    return (
        ("grpc.keepalive_time_ms", third),
        ("grpc.keepalive_timeout_ms", 2 * third),
        # Without this one a ping has a minute to come back, whatever the line above says.
        ("grpc.http2.ping_timeout_ms", 2 * third),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
        ("grpc.tcp_read_chunk_size", CHUNK_MAX),
    )


def serve_options(silence: float = SILENCE) -> Options:
    """Server options: one process a port, messages of a frame's size, questions whether it lives welcome."""
    return (
        *_common(silence),
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", RECEIVE_MAX),
        ("grpc.http2.min_ping_interval_without_data_ms", 100),
        ("grpc.http2.max_ping_strikes", 0),
    )


def dial_options(server: Pin, receive_max: int = RECEIVE_MAX, silence: float = SILENCE) -> Options:
    """Channel options towards the node that presents ``server``: its name, no proxy, no shared connection."""
    return (
        *_common(silence),
        ("grpc.ssl_target_name_override", server.dns),
        ("grpc.enable_http_proxy", 0),
        ("grpc.enable_retries", 0),
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", receive_max),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 2_000),
    )


def dial_credentials(identity: Identity, server: Pin) -> grpc.ChannelCredentials:
    """Trust exactly ``server``'s certificate, and present ``identity``."""
    return grpc.ssl_channel_credentials(server.pem, identity.tls_key.expose(), identity.certificate)


@dataclass(frozen=True)
class Peer:
    """Another party as ``federation.toml`` names it; ``certificate`` is PEM, ``address`` host:port if it listens."""

    id: PartyId
    address: str | None
    certificate: bytes


@dataclass(frozen=True)
class User:
    """One of this party's own people as ``site.toml`` names them; ``certificate`` is PEM."""

    id: str
    certificate: bytes
    roles: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Caller:
    """Who a pinned certificate belongs to."""

    kind: Literal["peer", "user"]
    id: str


class Pins:
    """Every certificate a node believes, and whose it is.

    Raises:
        InputError: a certificate that cannot be used, was made for another party, or is pinned twice.
    """

    def __init__(self, federation: str, identity: Identity, me: PartyId, peers: Iterable[Peer], users: Iterable[User]):
        own = read_pin(identity.certificate, whose=me)
        own.must_name(federation, me)
        self.peers: dict[PartyId, Pin] = {}
        self._callers: dict[bytes, Caller] = {own.der: Caller("peer", me)}
        self._pems: list[bytes] = []
        for peer in peers:
            pin = read_pin(peer.certificate, whose=peer.id)
            pin.must_name(federation, peer.id)
            self._add(pin, Caller("peer", peer.id))
            self.peers[peer.id] = pin
        for user in users:
            self._add(read_pin(user.certificate, whose=f"user {user.id}"), Caller("user", user.id))
        self._own = own
        self._identity = identity

    def _add(self, pin: Pin, caller: Caller) -> None:
        other = self._callers.setdefault(pin.der, caller)
        if other is not caller:
            raise InputError(
                "pki.shared",
                f"{caller.kind} {caller.id} and {other.kind} {other.id} have the same certificate.",
                todo="Each party and each user needs one of its own.",
            )
        self._pems.append(pin.pem)

    def server_credentials(self) -> grpc.ServerCredentials:
        """Present this node's certificate and take no handshake without a pinned one."""
        roots = b"".join(self._pems) or self._own.pem
        pair = (self._identity.tls_key.expose(), self._identity.certificate)
        return grpc.ssl_server_credentials([pair], root_certificates=roots, require_client_auth=True)

    def caller(self, auth: Mapping[str, Iterable[bytes]]) -> Caller | str:
        """Who calls, by the exact certificate of a TLS 1.3 connection; otherwise why the call is refused."""
        told = {key: list(values) for key, values in auth.items()}
        if told.get("transport_security_type") != [b"ssl"]:
            return "the connection is not TLS"
        if told.get("ssl_tls_version") != [b"TLSv1.3"]:
            return "the connection is not TLS 1.3"
        try:
            (pem,) = told.get("x509_pem_cert", [])
            der = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
        except ValueError:
            return "the connection has no certificate"
        caller = self._callers.get(der)
        if caller is None or der == self._own.der:
            return "the certificate is not pinned here"
        return caller
