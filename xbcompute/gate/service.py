"""The Node service: what a party's own users ask, and how its errors reach them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError, Message

from xbcompute.core.errors import InputError, XbError
from xbcompute.gate.links import log
from xbcompute.wire.v1 import node_pb2

NODE_SERVICE: str = node_pb2.DESCRIPTOR.services_by_name["Node"].full_name

_Context = grpc.aio.ServicerContext[Any, Any]
_Identify = Callable[[Any], str | None]


class NodeService(Protocol):
    """What the node answers to its users. Bodies are JSON; sessions are hex; every method may raise ``XbError``."""

    async def explain(self, user: str, study: bytes) -> bytes:
        """What policy says of a study."""

    async def submit(self, user: str, study: bytes) -> str:
        """Start a study; its session."""

    def watch(self, user: str, session: str) -> AsyncIterator[bytes]:
        """What happens in a session, until it ends."""

    async def results(self, user: str, session: str) -> bytes:
        """The release of a session."""

    async def approve(self, user: str, body: bytes) -> bytes:
        """Record a signed approval."""

    def ledger(self, user: str, since: int) -> AsyncIterator[bytes]:
        """Ledger records from number ``since`` on."""

    async def status(self, user: str) -> bytes:
        """The state of the node."""


def node_handler(service: NodeService, identify: _Identify) -> grpc.GenericRpcHandler:
    """Serve ``service``; ``identify`` turns a connection's facts into the user, or None to refuse."""
    pb = node_pb2

    async def explain(user: str, request: node_pb2.Json) -> Message:
        return pb.Reply(body=await service.explain(user, request.body))

    async def submit(user: str, request: node_pb2.Json) -> Message:
        return pb.Submitted(session=bytes.fromhex(await service.submit(user, request.body)))

    async def results(user: str, request: node_pb2.SessionRef) -> Message:
        return pb.Reply(body=await service.results(user, _session(request)))

    async def approve(user: str, request: node_pb2.Json) -> Message:
        return pb.Reply(body=await service.approve(user, request.body))

    async def status(user: str, request: node_pb2.Nothing) -> Message:
        return pb.Reply(body=await service.status(user))

    def watch(user: str, request: node_pb2.SessionRef) -> AsyncIterator[bytes]:
        return service.watch(user, _session(request))

    def ledger(user: str, request: node_pb2.Since) -> AsyncIterator[bytes]:
        return service.ledger(user, request.size)

    one = _one(identify)
    many = _many(identify)
    return grpc.method_handlers_generic_handler(
        NODE_SERVICE,
        {
            "Explain": one(pb.Json, explain),
            "Submit": one(pb.Json, submit, pb.Submitted),
            "Watch": many(pb.SessionRef, watch),
            "Results": one(pb.SessionRef, results),
            "Approve": one(pb.Json, approve),
            "Ledger": many(pb.Since, ledger),
            "Status": one(pb.Nothing, status),
        },
    )


def _one(identify: _Identify) -> Callable[..., grpc.RpcMethodHandler[Any, Any]]:
    def make(
        form: type[Message], call: Callable[[str, Any], Awaitable[Message]], reply: Any = node_pb2.Reply
    ) -> grpc.RpcMethodHandler[Any, Any]:
        async def handle(data: bytes, context: _Context) -> bytes:
            user = await _known(identify, context)
            try:
                return (await call(user, _parse(form, data))).SerializeToString()
            except Exception as error:
                return bytes(reply(problem=problem_of(error)).SerializeToString())

        return grpc.unary_unary_rpc_method_handler(handle)

    return make


def _many(identify: _Identify) -> Callable[..., grpc.RpcMethodHandler[Any, Any]]:
    def make(form: type[Message], call: Callable[[str, Any], AsyncIterator[bytes]]) -> grpc.RpcMethodHandler[Any, Any]:
        async def handle(data: bytes, context: _Context) -> None:
            user = await _known(identify, context)
            try:
                async with contextlib.AsyncExitStack() as stack:
                    bodies = call(user, _parse(form, data))
                    if isinstance(bodies, AsyncGenerator):
                        await stack.enter_async_context(contextlib.aclosing(bodies))
                    async for body in bodies:
                        await context.write(node_pb2.Reply(body=body).SerializeToString())
            except Exception as error:
                await context.write(node_pb2.Reply(problem=problem_of(error)).SerializeToString())

        return grpc.unary_stream_rpc_method_handler(handle)

    return make


async def _known(identify: _Identify, context: _Context) -> str:
    user = identify(context.auth_context())
    if user is None:
        await context.abort(grpc.StatusCode.UNAUTHENTICATED, "refused")
    return user


def _parse(form: type[Message], data: bytes) -> Message:
    try:
        return form.FromString(data)
    except DecodeError:
        raise InputError("request.form", "the request cannot be read.") from None


def _session(request: node_pb2.SessionRef) -> str:
    if len(request.session) != 16:
        raise InputError("request.session", "a session is named by 16 bytes.")
    return request.session.hex()


def problem_of(error: Exception) -> node_pb2.Problem:
    """The form in which an error reaches a user; an unplanned one tells the log its class, and the user nothing."""
    if isinstance(error, XbError):
        return node_pb2.Problem(code=error.code, exit=error.exit_code, text=error.text, todo=error.todo)
    log.error("a request failed with %s", type(error).__name__)
    return node_pb2.Problem(
        code="node.fault", exit=1, text="the node met a fault of its own.", todo="Its log names it."
    )
