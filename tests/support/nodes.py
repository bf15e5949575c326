"""Processes that belong to one test, and bytes that pass between nodes, counted on the way."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from xbcompute.core.parties import PartyId
from xbcompute.simulate.nodes import ProcessNodes

MARK = "XBCOMPUTE_TEST_MARK"


def marked(mark: str) -> dict[int, str]:
    """Running processes that carry ``mark`` in their environment, with their command lines."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = (entry / "environ").read_bytes()
            state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
            if f"{MARK}={mark}".encode() in environment.split(b"\0") and state != "Z":
                found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except (OSError, IndexError):
            continue
    return found


def parent_of(pid: int) -> int:
    """The parent's process id, or 0 when the process has gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except (OSError, IndexError):
        return 0


def until(condition: Callable[[], object], *, seconds: float = 30.0, what: str = "") -> None:
    """Wait for ``condition``; a test that never sees it fails here."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


class Relay:
    """One listening port that hands every byte on to ``target``; ``counts`` has bytes by direction."""

    def __init__(self, target: str, counts: Counter[tuple[str, str]], caller: str, called: str) -> None:
        host, port = target.rsplit(":", 1)
        self._target = (host, int(port))
        self._counts = counts
        self._ends = (caller, called)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        caller, called = self._ends
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(self._target)
            except OSError:
                near.close()
                continue
            self._open += [near, far]
            for source, sink, way in ((near, far, (caller, called)), (far, near, (called, caller))):
                threading.Thread(target=self._carry, args=(source, sink, way), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, way: tuple[str, str]) -> None:
        try:
            while data := source.recv(1 << 16):
                self._counts[way] += len(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def close(self) -> None:
        for end in (self._listener, *self._open):
            end.close()


class RelayedNodes(ProcessNodes):
    """Nodes whose links to each other all go through relays; ``counts`` has bytes by (from, to)."""

    counts: Counter[tuple[str, str]]
    relays: list[Relay]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self.counts = Counter()
        self.relays = []
        super().__init__(*arguments, **named)

    def _say(self, party: PartyId, body: Mapping[str, Any]) -> None:
        if all(isinstance(value, str) and value.startswith("127.0.0.1:") for value in body.values()):
            relays = {other: Relay(body[other], self.counts, party, other) for other in body if other != party}
            self.relays += relays.values()
            body = {**body, **{other: relay.address for other, relay in relays.items()}}
        super()._say(party, body)

    def stop(self) -> None:
        super().stop()
        for relay in self.relays:
            relay.close()
