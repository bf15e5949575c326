"""The worker of a summing party: the product's channel and engine over numbers made in place of a data source."""

from __future__ import annotations

import hashlib
import json
import socket
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xbcompute.core.arrays import ArraySpec, Layout
from xbcompute.core.fields import Expect
from xbcompute.core.parties import PartyId
from xbcompute.engines.exchange import exchange, ring_order
from xbcompute.engines.masked_sum import MaskedSum
from xbcompute.gate.allocator import keep_freed_memory
from xbcompute.node.channel import NodeLink, WorkerChannel
from xbcompute.node.pipe import BlockingPipe
from xbcompute.node.program import NodePorts, admission_from

MOVE_KIND = "bench.move"
STATE = hashlib.sha256(b"the state of a benchmark").digest()


def layout_of(size: int) -> Layout:
    """One array of ``size`` numbers in [-1, 1]."""
    return {"x": ArraySpec((size,), 1.0)}


def numbers_of(party: int, size: int) -> NDArray[np.float64]:
    """A party's numbers: repeatable, in [-1, 1], different for each party."""
    return np.random.default_rng(party).uniform(-1, 1, size)  # noqa: TID251


class Summing:
    """Serves one node: makes numbers, sums them under masks, or moves as many bytes without any."""

    def __init__(self, link: NodeLink) -> None:
        self._link = link
        self._mine = self._total = np.empty(0)
        self._parties: list[PartyId] = []

    def serve(self) -> None:
        """Answer commands until the node closes the pipe."""
        answers = {"numbers": self.numbers, "sum": self.sum, "move": self.move}
        while (packet := self._link.commands.get()) is not None:
            answer = answers[str(packet.head["m"])](json.loads(bytes(packet.payload)))
            self._link.pipe.send({"t": "did", "m": packet.head["m"], "body": answer})

    def numbers(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Make this party's numbers, and the sum of all parties' to compare with."""
        self._parties = [PartyId(party) for party in body["participants"]]
        every = [numbers_of(index, body["size"]) for index in range(len(self._parties))]
        self._mine = every[self._parties.index(body["me"])]
        self._total = np.sum(every, axis=0)
        return {}

    def sum(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """One masked sum of everyone's numbers, from the exchange of session keys to the decoded total."""
        admission = admission_from(body)
        ports = NodePorts(self._link)
        keys = {PartyId(party): bytes.fromhex(key) for party, key in body["signing_keys"].items()}
        engine = MaskedSum(self._channel(body), admission, signer=ports, journal=ports, signing_keys=keys)
        begun = time.perf_counter()
        total = engine.total(layout_of(self._mine.size), {"x": self._mine}, round=1, state=STATE)["x"]
        seconds = time.perf_counter() - begun
        return {"seconds": seconds, "correct": float(np.abs(total - self._total).max()) < 1e-12}

    def move(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The same bytes to the same peers over the same channel, and nothing done with them."""
        channel = self._channel(body)
        begun = time.perf_counter()
        expected = {"vector": Expect("array", "float64", self._mine.shape)}
        peers = ring_order(self._parties, channel.me)
        received = sum(1 for _ in exchange(channel, peers, MOVE_KIND, {"vector": self._mine}, expected))
        return {"seconds": time.perf_counter() - begun, "received": received}

    def _channel(self, body: Mapping[str, Any]) -> WorkerChannel:
        me = PartyId(body["me"])
        return WorkerChannel(self._link, me, [party for party in self._parties if party != me])


if __name__ == "__main__":
    keep_freed_memory()
    Summing(NodeLink(BlockingPipe(socket.socket(fileno=int(sys.argv[1]))))).serve()
