"""Worker processes as the node sees them: start, command, serve their calls, notice their death."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from typing import Any, Protocol

from xbcompute.core.canonical import dumps
from xbcompute.core.errors import IntegrityError, PeerError, XbError, from_public
from xbcompute.node.foreign import ForeignProcess
from xbcompute.node.pipe import BlockingPipe, read_packet, write_packet

STREAM_LIMIT = 8 << 20
SOCKET_BUFFER = 4 << 20
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
WORKER_MODULE = "xbcompute.node.worker"
THREAD_GRACE = 5.0
"""Seconds a worker in a thread has to finish what it is at."""


class WorkerClient(Protocol):
    """What a session does for its worker."""

    async def worker_frame(self, to: list[str], kind: str, last: bool, payload: bytes) -> None:
        """Carry one chunk to peers."""

    async def worker_call(self, method: str, body: Mapping[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        """Serve a call that only the node may serve."""


def worker_sockets() -> tuple[socket.socket, socket.socket]:
    """The two ends of a worker's socket pair, with room for a few chunks."""
    ours, theirs = socket.socketpair()
    for end in (ours, theirs):
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            end.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER)
    return ours, theirs


class Worker:
    """One worker; ``in_process`` runs it as a thread of this process instead (fast, no isolation).

    ``module`` is what the worker's process runs; ``running`` is a worker process that somebody else has started: this
    end of its socket, and its process id.
    """

    def __init__(
        self,
        *,
        in_process: bool,
        threads: int | None,
        module: str = WORKER_MODULE,
        running: tuple[int, int] | None = None,
    ) -> None:
        self._in_process = in_process
        self._running = running
        self._foreign: ForeignProcess | None = None
        self._module = module
        self._threads = threads
        self._process: subprocess.Popen[bytes] | None = None
        self._thread: threading.Thread | None = None
        self._socket: socket.socket | None = None
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._loop_task: asyncio.Task[None] | None = None
        self._answer: asyncio.Future[tuple[dict[str, Any], bytes]] | None = None
        self._client: WorkerClient | None = None
        self._lock = asyncio.Lock()
        self.gone = asyncio.Event()

    async def start(self) -> None:
        """Start the process (or thread), unless it runs already, and its reading loop."""
        if self._running is None:
            self._socket = self._launch()
        else:
            self._socket = socket.socket(fileno=self._running[0])
            self._foreign = ForeignProcess(self._running[1])
        self._reader, self._writer = await asyncio.open_connection(sock=self._socket, limit=STREAM_LIMIT)
        self._loop_task = asyncio.create_task(self._loop())

    def _launch(self) -> socket.socket:
        ours, theirs = worker_sockets()
        if self._in_process:
            from xbcompute.node.worker import Worker as Serving  # the worker's imports are heavy and not the node's

            serving = Serving(BlockingPipe(theirs))
            self._thread = threading.Thread(target=serving.serve, name="xbcompute-worker", daemon=True)
            self._thread.start()
        else:
            environment = dict(os.environ)
            if self._threads is not None:
                for name in THREAD_VARIABLES:
                    environment.setdefault(name, str(self._threads))
            self._process = subprocess.Popen(
                [sys.executable, "-m", self._module, str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                env=environment,
            )
            theirs.close()
        return ours

    def serve(self, client: WorkerClient | None) -> None:
        """Whose frames and calls the worker's are, from now on."""
        self._client = client

    @property
    def pid(self) -> int | None:
        """Process id, or None in process."""
        if self._foreign is not None:
            return self._foreign.pid
        return None if self._process is None else self._process.pid

    async def do(self, method: str, body: Mapping[str, Any], *, limit: float) -> tuple[dict[str, Any], bytes]:
        """Run one command to its end.

        Raises:
            XbError: the error the worker answered with; PeerError when it died or passed ``limit`` seconds.
        """
        self._answer = asyncio.get_running_loop().create_future()
        # Nobody may be waiting any more when a worker that was ended after its limit is found gone.
        self._answer.add_done_callback(lambda answer: answer.cancelled() or answer.exception())
        await self._send({"t": "do", "m": method}, dumps(body))
        try:
            return await asyncio.wait_for(asyncio.shield(self._answer), limit)
        except TimeoutError:
            await self.stop()
            raise PeerError(
                "worker.time", f"this node's worker passed its limit of {limit:g} s and was ended."
            ) from None

    async def deliver(self, sender: str, kind: str, last: bool, payload: bytes) -> None:
        """Hand a peer's chunk to the worker; waits while it does not read."""
        await self._send({"t": "frame", "from": sender, "kind": kind, "last": last}, payload)

    async def fail(self, error: XbError) -> None:
        """Make every waiting receive of the worker raise ``error``."""
        with contextlib.suppress(PeerError):
            await self._send({"t": "fail"}, json.dumps(error.public()).encode())

    async def stop(self) -> None:
        """End it; a process that does not leave within a second is killed, a thread is waited for a little longer."""
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()
        elif self._socket is not None:  # it was stopped while it started
            self._socket.close()
        if self._process is not None:
            try:  # it leaves by itself once its pipe is closed, and takes its temporary files along
                await asyncio.to_thread(self._process.wait, 1.0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                await asyncio.to_thread(self._process.wait)
        if self._thread is not None:
            # A thread that is inside a native library while Python shuts down would abort the whole process.
            await asyncio.to_thread(self._thread.join, THREAD_GRACE)
        if self._foreign is not None:
            await asyncio.to_thread(self._foreign.end, 1.0)
        if self._loop_task is not None:
            self._loop_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._loop_task

    async def _send(self, head: Mapping[str, Any], payload: bytes) -> None:
        if self._writer is None or self.gone.is_set():
            raise PeerError("worker.gone", "this node's worker process has ended.")
        async with self._lock:
            try:
                await write_packet(self._writer, head, payload)
            except ConnectionError:
                raise PeerError("worker.gone", "this node's worker process has ended.") from None

    async def _loop(self) -> None:
        try:
            await self._serve()
        finally:
            # Also after a fault of the node's own: a session must not wait for a worker that nobody reads.
            self.gone.set()
            if self._answer is not None and not self._answer.done():
                self._answer.set_exception(PeerError("worker.gone", "this node's worker process has ended."))

    async def _serve(self) -> None:
        assert self._reader is not None
        while (packet := await read_packet(self._reader)) is not None:
            what = packet.head["t"]
            if what == "frame" and self._client is not None:
                try:
                    await self._client.worker_frame(
                        list(packet.head["to"]), packet.head["kind"], packet.head["last"], bytes(packet.payload)
                    )
                except XbError as error:
                    await self.fail(error)
            elif what == "call":
                await self._call(packet.head, bytes(packet.payload))
            elif what == "did" and self._answer is not None and not self._answer.done():
                if "error" in packet.head:
                    self._answer.set_exception(from_public(packet.head["error"]))
                else:
                    self._answer.set_result((dict(packet.head.get("body", {})), bytes(packet.payload)))

    async def _call(self, head: Mapping[str, Any], payload: bytes) -> None:
        try:
            if self._client is None:
                raise IntegrityError("worker.call", "a worker without a session called its node.")
            body, answer = await self._client.worker_call(head["m"], head["body"], payload)
            await self._send({"t": "reply", "id": head["id"], "body": body}, answer)
        except XbError as error:
            with contextlib.suppress(PeerError):
                await self._send({"t": "reply", "id": head["id"], "error": error.public()}, b"")


class WorkerPool:
    """One worker a session, one kept warm."""

    def __init__(self, *, in_process: bool, threads: int | None, running: tuple[int, int] | None = None) -> None:
        self._in_process = in_process
        self._threads = threads
        self._running = running
        self._warm: Worker | None = None
        self._alive: set[Worker] = set()
        self._stopping = False
        self._warming = asyncio.Lock()

    def _make(self) -> Worker:
        running, self._running = self._running, None
        in_process = self._in_process and running is None
        worker = Worker(in_process=in_process, threads=self._threads, running=running)
        self._alive.add(worker)
        return worker

    async def _end(self, worker: Worker) -> None:
        await worker.stop()
        self._alive.discard(worker)

    async def warm(self) -> None:
        """Start a worker ahead of need; it is handed out only once it runs."""
        async with self._warming:
            if self._warm is not None and not self._warm.gone.is_set():
                return
            worker = self._make()
            await worker.start()
            if self._stopping:
                await self._end(worker)
            else:
                self._warm = worker

    async def take(self) -> Worker:
        """A running worker for one session."""
        worker, self._warm = self._warm, None
        if worker is None or worker.gone.is_set():
            worker = self._make()
            await worker.start()
        return worker

    async def give_back(self, worker: Worker) -> None:
        """End a session's worker, whose rows must not outlive it, and start the next one ahead of need."""
        await self._end(worker)
        if not self._stopping:
            await self.warm()

    async def stop(self) -> None:
        """End every worker, also one whose start or end was cut short."""
        self._stopping = True
        self._warm = None
        await asyncio.gather(*(self._end(worker) for worker in tuple(self._alive)))
