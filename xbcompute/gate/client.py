"""A node as a script sees it: blocking calls over mutual TLS."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Self

import grpc
from google.protobuf.message import DecodeError

from xbcompute.core.errors import InputError, IntegrityError, PeerError, from_public
from xbcompute.gate.pki import Identity, read_pin
from xbcompute.gate.service import NODE_SERVICE
from xbcompute.gate.tls import dial_credentials, dial_options
from xbcompute.wire.v1 import node_pb2

REPLY_MAX = 256 << 20
"""Largest reply a client takes, bytes."""


class NodeClient:
    """Calls one node as one of its users; a context manager.

    ``address`` is host:port, ``server_certificate`` the node's certificate in PEM, the only one believed. ``timeout``
    in seconds holds for each call but the streams. Every method raises the node's own error, or ``PeerError`` when the
    node cannot be reached or refuses this user.

    Raises:
        InputError: the node's certificate cannot be used.
    """

    def __init__(self, address: str, server_certificate: bytes, identity: Identity, *, timeout: float = 60.0) -> None:
        server = read_pin(server_certificate, whose=address)
        self._address = address
        self._timeout = timeout
        options = dial_options(server, REPLY_MAX)
        self._channel = grpc.secure_channel(address, dial_credentials(identity, server), options=options)

    def explain(self, study: bytes) -> bytes:
        """What policy says of a study (JSON)."""
        return self._reply("Explain", node_pb2.Json(body=study))

    def submit(self, study: bytes) -> str:
        """Start a study; its session in hex."""
        data = self._call("Submit", node_pb2.Json(body=study))
        return _outcome(node_pb2.Submitted, data, "session").hex()

    def watch(self, session: str) -> Iterator[bytes]:
        """What happens in a session (JSON), until it ends."""
        return self._stream("Watch", _ref(session))

    def results(self, session: str) -> bytes:
        """The release of a session (JSON)."""
        return self._reply("Results", _ref(session))

    def approve(self, body: bytes) -> bytes:
        """Hand in a signed approval (JSON)."""
        return self._reply("Approve", node_pb2.Json(body=body))

    def ledger(self, since: int = 0) -> Iterator[bytes]:
        """Ledger records (JSON) from number ``since`` on."""
        return self._stream("Ledger", node_pb2.Since(size=since))

    def status(self) -> bytes:
        """The state of the node (JSON)."""
        return self._reply("Status", node_pb2.Nothing())

    def close(self) -> None:
        """End the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _reply(self, method: str, request: Any) -> bytes:
        return _outcome(node_pb2.Reply, self._call(method, request), "body")

    def _call(self, method: str, request: Any) -> bytes:
        call: Callable[..., bytes] = self._channel.unary_unary(f"/{NODE_SERVICE}/{method}")
        try:
            return call(request.SerializeToString(), timeout=self._timeout)
        except grpc.RpcError as error:
            raise self._trouble(error) from None

    def _stream(self, method: str, request: Any) -> Iterator[bytes]:
        call: Any = self._channel.unary_stream(f"/{NODE_SERVICE}/{method}")(request.SerializeToString())
        try:
            for data in call:
                yield _outcome(node_pb2.Reply, data, "body")
        except grpc.RpcError as error:
            raise self._trouble(error) from None
        finally:
            call.cancel()

    def _trouble(self, error: Any) -> PeerError:
        code = error.code()
        if code == grpc.StatusCode.UNAUTHENTICATED:
            return PeerError(
                "node.refused",
                f"the node at {self._address} refused this user.",
                todo="Ask its operator to list your certificate under [[user]] in site.toml.",
            )
        if code == grpc.StatusCode.DEADLINE_EXCEEDED:
            return PeerError("node.silent", f"the node at {self._address} did not answer in {self._timeout:.0f} s.")
        if "CERTIFICATE_VERIFY_FAILED" in (error.details() or "") or "Hostname Verification" in (error.details() or ""):
            return PeerError("node.certificate", f"{self._address} presented another certificate than the node's.")
        return PeerError(
            "node.unreachable",
            f"the node at {self._address} cannot be reached, or ended the connection.",
            todo="Is it running, and does its site.toml list your certificate?",
        )


def _ref(session: str) -> node_pb2.SessionRef:
    try:
        return node_pb2.SessionRef(session=bytes.fromhex(session))
    except ValueError:
        raise InputError("request.session", "a session is named by 32 hex digits.") from None


def _outcome(form: Any, data: bytes, wanted: str) -> bytes:
    try:
        reply = form.FromString(data)
    except DecodeError:
        raise IntegrityError("node.reply", "the node's reply cannot be read.") from None
    outcome = reply.WhichOneof("outcome")
    if outcome == "problem":
        problem = reply.problem
        body = {"code": problem.code, "exit": problem.exit, "text": problem.text, "todo": problem.todo}
        raise from_public(body)
    if outcome != wanted:
        raise IntegrityError("node.reply", "the node's reply is empty.")
    value: bytes = getattr(reply, wanted)
    return value
