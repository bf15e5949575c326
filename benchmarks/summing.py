"""Three parties, each a node process and a worker process, that sum or only move numbers on command."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Any, Self

import numpy as np

from benchmarks.sum_worker import numbers_of
from xbcompute.gate.pki import Identity
from xbcompute.node.config import raw_key

FEDERATION = "benchmark"
PARTIES = ("a", "b", "c")
PLAN = "11" * 32


class Summing:
    """Running parties; use it in a with statement."""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="xb-bench-")
        identities = {party: Identity.throwaway(FEDERATION, party) for party in PARTIES}
        self._signing_keys = {party: _raw(identity) for party, identity in identities.items()}
        certificates = {party: identity.certificate.decode() for party, identity in identities.items()}
        self._sockets: dict[str, socket.socket] = {}
        self._processes: list[subprocess.Popen[bytes]] = []
        for party, identity in identities.items():
            folder = Path(self._folder.name) / party
            folder.mkdir(mode=0o700)
            identity.save(folder / "identity.pem")
            self._spawn(party)
            body = {"me": party, "federation": FEDERATION, "folder": str(folder), "certificates": certificates}
            self._say(party, body)
        addresses = {party: f"127.0.0.1:{self._hear(party)['port']}" for party in PARTIES}
        for party in PARTIES:
            self._say(party, addresses)
        for party in PARTIES:
            self._hear(party)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for sock in self._sockets.values():
            sock.close()
        for process in self._processes:
            process.wait(30)
        self._folder.cleanup()

    def numbers(self, size: int) -> None:
        """Let every party make ``size`` numbers."""
        self._all("numbers", size)

    def seconds(self, what: str, size: int) -> float:
        """Time until every party has done ``what``: ``sum``, ``move`` (worker to worker) or ``gate`` (node to node)."""
        begun = time.perf_counter()
        answers = self._all(what, size)
        elapsed = time.perf_counter() - begun
        if not all(answer.get("correct", True) for answer in answers):
            raise AssertionError("the masked sum is not the sum")
        # A party's own clock leaves out the check of the total against the plain sum.
        slowest: float = max(answer["seconds"] for answer in answers)
        return min(elapsed, slowest)

    def median_seconds(self, what: str, size: int, repeats: int) -> float:
        """The median over ``repeats``, after one that touches memory for the first time."""
        self.seconds(what, size)
        return median(self.seconds(what, size) for _ in range(repeats))

    def _all(self, what: str, size: int) -> list[dict[str, Any]]:
        command = {
            "do": what,
            "size": size,
            "session": secrets.token_hex(16),
            "federation": FEDERATION,
            "study_digest": "22" * 32,
            "plan": PLAN,
            "card": "masked-sum",
            "participants": PARTIES,
            "epoch": 1,
            "limits": {},
            "signing_keys": self._signing_keys,
        }
        for party in PARTIES:
            self._say(party, command)
        return [self._hear(party) for party in PARTIES]

    def _spawn(self, party: str) -> None:
        ours, theirs = socket.socketpair()
        self._sockets[party] = ours
        command = [sys.executable, "-m", "benchmarks.sum_node", str(theirs.fileno())]
        self._processes.append(subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL))
        theirs.close()

    def _say(self, party: str, body: Mapping[str, Any]) -> None:
        self._sockets[party].sendall(json.dumps(body).encode() + b"\n")

    def _hear(self, party: str) -> dict[str, Any]:
        data = b""
        while not data.endswith(b"\n"):
            piece = self._sockets[party].recv(1 << 16)
            if not piece:
                raise RuntimeError(f"party {party} has ended")
            data += piece
        answer: dict[str, Any] = json.loads(data)
        return answer


def plain_seconds(size: int) -> float:
    """The same sum in one process that has everything."""
    every = [numbers_of(index, size) for index in range(len(PARTIES))]
    begun = time.perf_counter()
    np.add(np.add(every[0], every[1]), every[2])
    return time.perf_counter() - begun


def _raw(identity: Identity) -> str:
    return raw_key(identity.signing_public, whose="a benchmark").hex()
