"""The nodes of a simulation: one operating-system process a party, or all in this process (fast, no isolation)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from xbcompute.client.session import Caller
from xbcompute.core.errors import PeerError, from_public
from xbcompute.core.parties import PartyId
from xbcompute.gate.client import NodeClient
from xbcompute.gate.memory import MemoryHub
from xbcompute.node.__main__ import config_from
from xbcompute.node.app import Node
from xbcompute.node.foreign import ForeignProcess
from xbcompute.node.workers import THREAD_VARIABLES
from xbcompute.simulate.keys import PartyKeys
from xbcompute.simulate.nursery import PIDS

START_TIMEOUT = 60.0
STOP_TIMEOUT = 10.0

T = TypeVar("T")


class Nodes(Protocol):
    """Running nodes and a caller for each."""

    @property
    def callers(self) -> Mapping[PartyId, Caller]:
        """How to ask each node."""

    def kill(self, party: PartyId) -> None:
        """End one node without warning."""

    def stop(self) -> None:
        """End all nodes."""


class ProcessNodes:
    """One process a party, real ports on loopback, mutual TLS."""

    def __init__(
        self,
        bodies: Mapping[PartyId, Mapping[str, Any]],
        keys: Mapping[PartyId, PartyKeys],
        log: Path,
        *,
        threads: int | None,
    ) -> None:
        self._threads = threads
        self._nursery: subprocess.Popen[bytes] | None = None
        self._raising: socket.socket | None = None
        self._processes: dict[PartyId, ForeignProcess] = {}
        self._sockets: dict[PartyId, socket.socket] = {}
        self.callers: Mapping[PartyId, Caller] = {}
        self._clients: list[NodeClient] = []
        callers: dict[PartyId, Caller] = {}
        self._log = log.open("ab")
        try:
            self._open_nursery()
            for party in bodies:
                self._spawn(party)
            for party, body in bodies.items():
                self._say(party, body)
            addresses: dict[str, str] = {party: f"127.0.0.1:{self._hear(party)['port']}" for party in bodies}
            for party in bodies:
                self._say(party, addresses)
            for party in bodies:
                self._hear(party)
            for party in bodies:
                client = NodeClient(
                    addresses[party], keys[party].identity.certificate, keys[party].operator, timeout=3600.0
                )
                self._clients.append(client)
                callers[party] = client
            self.callers = callers
        except BaseException:
            self.stop()
            raise

    def _open_nursery(self) -> None:
        self._raising, theirs = socket.socketpair()
        self._raising.settimeout(START_TIMEOUT)
        environment = {"GRPC_VERBOSITY": "NONE", **os.environ}
        if self._threads is not None:
            environment |= {name: str(self._threads) for name in THREAD_VARIABLES if name not in os.environ}
        self._nursery = subprocess.Popen(
            [sys.executable, "-m", "xbcompute.simulate.nursery", str(theirs.fileno())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env=environment,
        )
        theirs.close()

    def _spawn(self, party: PartyId) -> None:
        assert self._raising is not None
        ours, theirs = socket.socketpair()
        ours.settimeout(START_TIMEOUT)
        self._sockets[party] = ours
        try:
            socket.send_fds(self._raising, [b"\0"], [theirs.fileno()])
            answer = self._raising.recv(PIDS.size, socket.MSG_WAITALL)
        except OSError:
            answer = b""
        theirs.close()
        if len(answer) != PIDS.size:
            raise PeerError("node.start", f"the node of {party} did not start.", todo="Its log is in the state folder.")
        self._processes[party] = ForeignProcess(PIDS.unpack(answer)[0])

    def _say(self, party: PartyId, body: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._sockets[party].sendall(json.dumps(body).encode() + b"\n")

    def _hear(self, party: PartyId) -> dict[str, Any]:
        data = b""
        try:
            while not data.endswith(b"\n"):
                piece = self._sockets[party].recv(1 << 16)
                if not piece:
                    break
                data += piece
        except OSError:
            data = b""
        if not data:
            raise PeerError(
                "node.start", f"the node of {party} did not start.", todo="See its log in the state folder."
            )
        body: dict[str, Any] = json.loads(data)
        if "error" in body:
            raise from_public(body["error"])
        return body

    def kill(self, party: PartyId) -> None:
        """SIGKILL one node; its worker ends when its pipe closes."""
        self._processes[party].kill()

    def pid(self, party: PartyId) -> int:
        """Process id of a node."""
        return self._processes[party].pid

    def stop(self) -> None:
        """Close clients and sockets; a node that does not leave in time is killed."""
        for client in self._clients:
            client.close()
        for sock in self._sockets.values():
            sock.close()
        for process in self._processes.values():
            process.end(STOP_TIMEOUT)
        if self._raising is not None:
            self._raising.close()
        if self._nursery is not None:
            self._nursery.wait()
        self._log.close()


class _Direct:
    """A caller of a node in this process, from another thread than its loop's."""

    def __init__(self, nodes: MemoryNodes, node: Node) -> None:
        self._nodes = nodes
        self._service = node.service

    def _do(self, call: Coroutine[Any, Any, T]) -> T:
        return self._nodes.do(call)

    def explain(self, study: bytes) -> bytes:
        return self._do(self._service.explain("operator", study))

    def submit(self, study: bytes) -> str:
        return self._do(self._service.submit("operator", study))

    def watch(self, session: str) -> Iterator[bytes]:
        return self._stream(self._service.watch("operator", session))

    def results(self, session: str) -> bytes:
        return self._do(self._service.results("operator", session))

    def approve(self, body: bytes) -> bytes:
        return self._do(self._service.approve("operator", body))

    def ledger(self, since: int = 0) -> Iterator[bytes]:
        return self._stream(self._service.ledger("operator", since))

    def status(self) -> bytes:
        return self._do(self._service.status("operator"))

    def _stream(self, items: Any) -> Iterator[bytes]:
        async def step() -> bytes | None:
            return await anext(items, None)

        while (item := self._do(step())) is not None:
            yield item


class MemoryNodes:
    """All nodes in one event loop in a thread of this process, workers as threads, no TLS."""

    def __init__(self, bodies: Mapping[PartyId, Mapping[str, Any]]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="xbcompute-nodes", daemon=True)
        self._thread.start()
        self._nodes: dict[PartyId, Node] = {}
        try:
            self.do(self._start(bodies))
        except BaseException:
            self.stop()
            raise
        self.callers: Mapping[PartyId, Caller] = {party: _Direct(self, node) for party, node in self._nodes.items()}

    async def _start(self, bodies: Mapping[PartyId, Mapping[str, Any]]) -> None:
        hub = MemoryHub()
        for party, body in bodies.items():
            self._nodes[party] = Node(config_from(body, in_process=True), hub=hub)
        for node in self._nodes.values():
            await node.start()

    @property
    def running(self) -> Mapping[PartyId, Node]:
        """The nodes themselves, for fault injection; they live in their own loop: see :meth:`do`."""
        return self._nodes

    def do(self, call: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the nodes' loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(call, self._loop).result()

    def kill(self, party: PartyId) -> None:
        """Stop one node; the others see its links break."""
        self.do(self._nodes.pop(party).stop())

    def stop(self) -> None:
        """Stop all nodes and the loop."""

        async def stop_all() -> None:
            for node in self._nodes.values():
                await node.stop()

        self.do(stop_all())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
