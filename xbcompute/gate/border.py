"""A party's border over gRPC: one port, one stream a pair of parties, everything counted.

Of a pair, the side without an address dials, otherwise the smaller id. The stream is up once the answering side has
compared the certificate with the pinned one and the names in the call with the certificate, and said so.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import grpc

from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.core.frame import Frame
from xbcompute.core.parties import PartyId
from xbcompute.gate.allocator import keep_freed_memory
from xbcompute.gate.links import Link, Links, OnFrame, OnLink, OnViolation, log
from xbcompute.gate.pki import Identity, Pin
from xbcompute.gate.service import NodeService, node_handler
from xbcompute.gate.tls import SILENCE, Caller, Peer, Pins, User, dial_credentials, dial_options, serve_options
from xbcompute.wire.frames import VERSION, decode_frame, encode_frame
from xbcompute.wire.v1 import frame_pb2

PEER_SERVICE: str = frame_pb2.DESCRIPTOR.services_by_name["Peer"].full_name
_ACCEPTED = ("xb-link", str(VERSION))
_STREAM_ENDED = (
    grpc.aio.AioRpcError,
    grpc.aio.UsageError,
    grpc.aio.InternalError,
    grpc.aio.AbortError,
    asyncio.InvalidStateError,
)
_BACKOFF = (0.05, 2.0)
_PATIENCE = 10.0
"""Seconds a dialler waits for the other side to accept a link."""

_FAREWELL = 0.5
"""Seconds that calls get to end when the node stops."""

_Read = Callable[[], Awaitable[Any]]
_Write = Callable[[bytes], Awaitable[None]]
_Context: TypeAlias = grpc.aio.ServicerContext[bytes, bytes]
_Call: TypeAlias = grpc.aio.StreamStreamCall[bytes, bytes]


class _Refused(Exception):  # noqa: N818 (it never leaves this module)
    """Why a call for a link is not taken."""


class Border(Links):
    """The gate of a node in a process of its own.

    ``listen`` is host:port (port 0: any free one) or None for a node that only dials; ``reachable`` says whether peers
    can dial it, and is True with ``listen`` unless the federation lists no address for this party. A peer that
    answers nothing for ``silence`` seconds is gone.

    Raises:
        InputError: a certificate that cannot be pinned as what it is given for.
    """

    def __init__(
        self,
        *,
        federation: str,
        identity: Identity,
        me: PartyId,
        listen: str | None,
        peers: Sequence[Peer],
        users: Sequence[User],
        service: NodeService | None,
        on_frame: OnFrame,
        on_link: OnLink,
        on_violation: OnViolation | None = None,
        reachable: bool | None = None,
        silence: float = SILENCE,
    ) -> None:
        super().__init__(
            me=me,
            peers=[peer.id for peer in peers],
            on_frame=on_frame,
            on_link=on_link,
            on_violation=on_violation,
        )
        self._pins = Pins(federation, identity, me, peers, users)
        self._federation = federation
        self._identity = identity
        self._listen = listen
        self._reachable = listen is not None if reachable is None else reachable
        self._service = service
        self._silence = silence
        self._addresses: dict[PartyId, asyncio.Future[str]] = {}
        self._known = {peer.id: peer.address for peer in peers if peer.address is not None}
        self._server: grpc.aio.Server | None = None
        self._dialling: list[asyncio.Task[None]] = []
        self._stopping = False

    async def start(self) -> int | None:
        """Begin to listen and to dial; the bound port, or None for a node that only dials.

        Raises:
            InputError: the address cannot be bound.
        """
        port = None
        keep_freed_memory()
        if self._listen is not None:
            self._server = grpc.aio.server(options=serve_options(self._silence))
            handlers = [self._peer_handler()]
            if self._service is not None:
                handlers.append(node_handler(self._service, self._user))
            self._server.add_generic_rpc_handlers(tuple(handlers))
            try:
                port = self._server.add_secure_port(self._listen, self._pins.server_credentials())
            except RuntimeError:
                raise InputError(
                    "gate.listen", f"{self.me} cannot listen on {self._listen}.", todo="Is the address free and local?"
                ) from None
            await self._server.start()
        self._dialling = [asyncio.create_task(self._dial(peer, pin)) for peer, pin in self._pins.peers.items()]
        return port

    def set_address(self, peer: PartyId, address: str) -> None:
        """Tell where ``peer`` listens, if it was not known at the start."""
        self._known[peer] = address
        waiting = self._addresses.get(peer)
        if waiting is not None and not waiting.done():
            waiting.set_result(address)

    async def stop(self) -> None:
        """End every link, stop listening, and wait until nothing of this border runs any more."""
        self._stopping = True
        for task in self._dialling:
            task.cancel()
        await asyncio.gather(*self._dialling, return_exceptions=True)
        for link in list(self._links.values()):
            self._link_down(link, "this node stopped")
        if self._server is not None:
            # Answered links end by themselves now that their outboxes are closed; users' streams are cut after this.
            await self._server.stop(_FAREWELL)

    def _encode(self, frame: Frame) -> bytes:
        return encode_frame(frame)

    def _wire_size(self, frame: Frame, encoded: bytes) -> int:
        return len(encoded)

    def _waiting_for(self, peer: PartyId) -> str:
        if self._dials(peer) and peer in self._known:
            return "dialling"
        if peer not in self._known and (not self._reachable or self.me < peer):
            return f"no address is known for {peer}, and it has not dialled"
        return super()._waiting_for(peer)

    def _dials(self, peer: PartyId) -> bool:
        return not self._reachable or (peer in self._known and self.me < peer)

    # --- the side that dials

    async def _dial(self, peer: PartyId, pin: Pin) -> None:
        if self._reachable and self.me > peer:
            return
        address = self._known.get(peer)
        if address is None:
            future = self._addresses[peer] = asyncio.get_running_loop().create_future()
            address = await future
        pause = _BACKOFF[0]
        while True:
            try:
                was_up = await self._call(peer, pin, self._known.get(peer, address))
            except Exception as error:
                # A fault of this node's own must not end the dialling for good; its text might hold anything.
                log.error("link to %s: %s", peer, type(error).__name__)
                was_up = False
            pause = _BACKOFF[0] if was_up else min(pause * 1.6, _BACKOFF[1])
            await asyncio.sleep(pause)

    async def _call(self, peer: PartyId, pin: Pin, address: str) -> bool:
        """One attempt and, if it is taken, the whole life of the link; whether it was up."""
        names = (("xb-federation", self._federation), ("xb-from", self.me), ("xb-to", peer))
        credentials = dial_credentials(self._identity, pin)
        options = dial_options(pin, silence=self._silence)
        async with grpc.aio.secure_channel(address, credentials, options=options) as channel:
            call: _Call = channel.stream_stream(f"/{PEER_SERVICE}/Link")(metadata=names)
            try:
                async with asyncio.timeout(_PATIENCE):
                    accepted = _ACCEPTED in tuple(await call.initial_metadata())
                    if not accepted:
                        code, details = await call.code(), await call.details()
            except (TimeoutError, grpc.aio.AioRpcError):
                call.cancel()
                self._reasons[peer] = f"{address} did not answer in {_PATIENCE:.0f} s"
                return False
            if not accepted:
                call.cancel()
                self._reasons[peer] = _reason(address, pin, code, details or "")
                log.info("no link to %s: %s", peer, self._reasons[peer])
                return False
            if peer in self._links:
                call.cancel()
                return False
            try:
                await self._live(peer, call.read, call.write)
            finally:
                call.cancel()
            return True

    # --- the side that answers

    def _peer_handler(self) -> grpc.GenericRpcHandler:
        handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(self._answer)
        return grpc.method_handlers_generic_handler(PEER_SERVICE, {"Link": handler})

    async def _answer(self, _: AsyncIterator[bytes], context: _Context) -> None:
        try:
            peer = self._accept(context)
        except _Refused as refusal:
            # The operator learns why, the caller nothing.
            log.warning("refused a link: %s", refusal)
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "refused")
        if peer in self._links:
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, "linked")
        # The link counts as up before the first await, so that a second call at the same moment finds it.
        await self._live(peer, context.read, context.write, greet=lambda: context.send_initial_metadata((_ACCEPTED,)))

    def _accept(self, context: _Context) -> PartyId:
        caller = self._pins.caller(context.auth_context())
        if isinstance(caller, str):
            raise _Refused(caller)
        if caller.kind != "peer":
            raise _Refused(f"user {caller.id} asked for the service of parties")
        names = {key: value for key, value in context.invocation_metadata() or () if key.startswith("xb-")}
        if names.get("xb-from") != caller.id:
            raise _Refused(f"the certificate of {caller.id} came under another party's name")
        if names != {"xb-federation": self._federation, "xb-from": caller.id, "xb-to": self.me}:
            raise _Refused(f"{caller.id} called for another federation or party")
        peer = PartyId(caller.id)
        if self._stopping or self._dials(peer):
            raise _Refused(f"{caller.id} dialled, but it is this side that dials")
        return peer

    def _user(self, auth: Mapping[str, Iterable[bytes]]) -> str | None:
        """The user who calls the Node service, or None."""
        caller = self._pins.caller(auth)
        if isinstance(caller, Caller) and caller.kind == "user":
            return caller.id
        why = caller if isinstance(caller, str) else f"party {caller.id} asked for the service of users"
        log.warning("refused a request: %s", why)
        return None

    # --- both sides

    async def _live(
        self, peer: PartyId, read: _Read, write: _Write, greet: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        link = self._link_up(peer)
        tasks: list[asyncio.Task[None]] = []
        try:
            if greet is not None:
                await greet()
            tasks = [
                asyncio.create_task(self._read_all(link, read)),
                asyncio.create_task(_write_all(link, write)),
            ]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        except _STREAM_ENDED as error:
            log.info("link to %s ended: %s", peer, type(error).__name__)
        finally:
            self._link_down(link)
            for task in tasks:
                task.cancel()
            for end in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(end, Exception):
                    # A fault of this node's own; its text might hold anything.
                    log.error("link to %s ended by %s in this node", peer, type(end).__name__)

    async def _read_all(self, link: Link, read: _Read) -> None:
        """Deliver what arrives until the stream ends or carries what is no frame."""
        try:
            while (data := await read()) is not grpc.aio.EOF:
                await self._take(link, decode_frame(data), len(data))
        except IntegrityError as error:
            self._violated(link.peer, None, error)
        except _STREAM_ENDED as error:
            log.info("link to %s ended: %s", link.peer, type(error).__name__)


async def _write_all(link: Link, write: _Write) -> None:
    """Write what waits until the link is down or the stream ends."""
    try:
        while (item := await link.outbox.get()) is not None:
            await write(item[1])
    except _STREAM_ENDED as error:
        log.info("link to %s ended: %s", link.peer, type(error).__name__)


def _reason(address: str, pin: Pin, code: Any, details: str) -> str:
    """Why a dialled link did not come up, in words an operator can act on."""
    if code == grpc.StatusCode.UNAUTHENTICATED:
        return f"{address} refused this party; its log says why"
    if code == grpc.StatusCode.ALREADY_EXISTS:
        return f"{address} still has a link to this party"
    if not pin.not_before <= dt.datetime.now(dt.UTC) <= pin.not_after:
        return f"the certificate pinned for it is valid from {pin.not_before:%Y-%m-%d} to {pin.not_after:%Y-%m-%d} only"
    if "CERTIFICATE_VERIFY_FAILED" in details or "Hostname Verification" in details:
        return f"{address} presented another certificate than the pinned one"
    if "andshake" in details or "Socket closed" in details:
        return f"{address} ended the TLS handshake; it may not have pinned this party's certificate, or it has expired"
    return f"{address} cannot be reached"
