"""The node of a summing party: the product's gate, journal, conversation and worker, without a study."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xbcompute.core.frame import CHUNK_MAX, Frame
from xbcompute.core.parties import PartyId
from xbcompute.gate.border import Border
from xbcompute.gate.pki import Identity
from xbcompute.gate.tls import Peer
from xbcompute.node.conversation import Conversation
from xbcompute.node.store import open_store
from xbcompute.node.workers import Worker

GATE_KIND = "bench.gate"
LIMIT = 600.0


class SummingNode:
    """One party. ``config``: me, certificates by party, the folder of identity and store."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.me = PartyId(config["me"])
        folder = Path(config["folder"])
        self._identity = Identity.load(folder / "identity.pem")
        self._store = open_store(folder / "node.db")
        self._worker = Worker(in_process=False, threads=1, module="benchmarks.sum_worker")
        self._talk: Conversation | None = None
        self._came = 0
        self._arrived = asyncio.Event()
        peers = [Peer(PartyId(p), None, c.encode()) for p, c in config["certificates"].items() if p != self.me]
        self.peers = [peer.id for peer in peers]
        self.border = Border(
            federation=config["federation"],
            identity=self._identity,
            me=self.me,
            listen="127.0.0.1:0",
            peers=peers,
            users=[],
            service=None,
            on_frame=self._on_frame,
            on_link=lambda peer, up: None,
        )

    async def start(self) -> int:
        """Start the worker and the gate; the bound port."""
        await self._worker.start()
        self._worker.serve(self)
        port = await self.border.start()
        assert port is not None
        return port

    async def stop(self) -> None:
        """End both."""
        await self._worker.stop()
        await self.border.stop()
        self._store.close()

    async def _on_frame(self, sender: PartyId, frame: Frame) -> None:
        if frame.kind == GATE_KIND:
            self._came += len(frame.payload)
            self._arrived.set()
        else:
            await self._worker.deliver(sender, frame.kind, frame.last, frame.payload)

    async def do(self, command: Mapping[str, Any]) -> dict[str, Any]:
        """Run one command of the driver: by the worker, or between the gates alone."""
        session = bytes.fromhex(command["session"])
        self._talk = Conversation(session, self.border)
        self._talk.plan = bytes.fromhex(command["plan"])
        if command["do"] == "gate":
            answer = await self._gate(command["size"] * 8)
        else:
            answer, _ = await self._worker.do(command["do"], {**command, "me": self.me}, limit=LIMIT)
        return answer

    async def _gate(self, size: int) -> dict[str, Any]:
        """Send ``size`` bytes to each peer in frames and take as many from each, from node to node."""
        assert self._talk is not None
        data, talk = bytes(size), self._talk
        begun = time.perf_counter()

        async def send() -> None:
            for at in range(0, size, CHUNK_MAX):
                await talk.engine_chunk(self.peers, GATE_KIND, at + CHUNK_MAX >= size, data[at : at + CHUNK_MAX])

        async def take() -> None:
            while self._came < size * len(self.peers):
                self._arrived.clear()
                await self._arrived.wait()

        await asyncio.gather(send(), take())
        self._came = 0
        return {"seconds": time.perf_counter() - begun}

    # --- what the worker asks of its node

    async def worker_frame(self, to: list[str], kind: str, last: bool, payload: bytes) -> None:
        """Carry one chunk to peers."""
        assert self._talk is not None
        await self._talk.engine_chunk([PartyId(party) for party in to], kind, last, payload)

    async def worker_call(self, method: str, body: Mapping[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        """Sign session keys; write the journal to disk."""
        assert self._talk is not None
        if method == "sign":
            return {}, self._identity.sign(payload)
        journal, session = self._store.journal, self._talk.session.hex()
        if method == "begin_round":
            await asyncio.to_thread(journal.begin_round, session, body["epoch"], body["round"])
        else:
            await asyncio.to_thread(
                journal.seed_released,
                session,
                body["epoch"],
                body["round"],
                participants=sorted([self.me, *self.peers]),
                dataset="numbers",
                population="sha256:" + "0" * 64,
                study="sha256:" + "0" * 64,
            )
        return {}, b""


async def _serve(descriptor: int) -> None:
    reader, writer = await asyncio.open_connection(sock=socket.socket(fileno=descriptor), limit=1 << 20)

    async def hear() -> Any:
        return json.loads(await reader.readline() or b"null")

    async def say(body: Mapping[str, Any]) -> None:
        writer.write(json.dumps(body).encode() + b"\n")
        await writer.drain()

    node = SummingNode(await hear())
    try:
        await say({"port": await node.start()})
        for party, address in (await hear()).items():
            if party != node.me:
                node.border.set_address(PartyId(party), address)
        await node.border.linked(30.0)
        await say({})
        while (command := await hear()) is not None:
            await say(await node.do(command))
    finally:
        await node.stop()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
