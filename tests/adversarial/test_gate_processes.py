"""Another process that is killed, or stops answering, is noticed without anyone sending to it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.borders import FEDERATION, Node, frame, grpc_node, until
from xbcompute.core.parties import PartyId
from xbcompute.gate.pki import Identity
from xbcompute.gate.tls import Peer

A, B = PartyId("a"), PartyId("b")

CHILD = """
import asyncio, sys
from pathlib import Path
from xbcompute.gate.border import Border
from xbcompute.gate.pki import Identity
from xbcompute.gate.tls import Peer

me, other, identity, certificate, address = sys.argv[1:]

async def main():
    async def on_frame(peer, frame):
        await border.send(peer, frame)

    border = Border(
        federation="trial", identity=Identity.load(Path(identity)), me=me,
        listen=None if address else "127.0.0.1:0", peers=[Peer(other, address or None, Path(certificate).read_bytes())],
        users=[], service=None, on_frame=on_frame, on_link=lambda peer, up: None, silence=1.5,
    )
    print(await border.start(), flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


class Child:
    """The border of ``name`` in a process of its own; it sends every frame back."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.identity = Identity.throwaway(FEDERATION, name)
        self._folder = folder

    def start(self, other: Node, address: str = "") -> None:
        own, theirs = self._folder / "identity.pem", self._folder / "other.pem"
        self.identity.save(own)
        theirs.write_bytes(other.identity.certificate)
        arguments = [self.name, other.me, str(own), str(theirs), address]
        self.process = subprocess.Popen([sys.executable, "-c", CHILD, *arguments], stdout=subprocess.PIPE, text=True)

    def port(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(20)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.mark.processes
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("dials", ["child", "parent"])
def test_a_dead_or_frozen_process_is_noticed(end: signal.Signals, dials: str, tmp_path: Path) -> None:
    async def body() -> None:
        # The smaller id dials.
        me, other = (B, A) if dials == "child" else (A, B)
        node = Node(me, Identity.throwaway(FEDERATION, me))
        child = Child(other, tmp_path)
        peers = [Peer(other, None, child.identity.certificate)]
        node.border = grpc_node(node, peers, silence=1.5)
        node.port = await node.border.start()
        child.start(node, node.address if dials == "child" else "")
        try:
            port = await asyncio.to_thread(child.port)
            if dials == "parent":
                node.border.set_address(other, f"127.0.0.1:{port}")
            await node.border.linked(30)
            await node.border.send(other, frame(payload=b"there"))
            await until(lambda: node.frames == [(other, frame(payload=b"there"))])
            child.process.send_signal(end)
            await until(lambda: node.links == [(other, True), (other, False)], 30)
        finally:
            await node.border.stop()
            child.end()

    asyncio.run(body())
