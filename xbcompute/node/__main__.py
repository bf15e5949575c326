"""``python -m xbcompute.node FD``: a simulated party's node, told what to be over an inherited socket.

The parent sends one JSON line with the configuration; the node answers with its port; the parent sends the peers'
addresses; the node answers once every link is up, and stops when the socket closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import logging
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xbcompute.core.errors import XbError
from xbcompute.core.parties import PartyId
from xbcompute.gate.pki import Identity
from xbcompute.node.app import Node
from xbcompute.node.config import NodeConfig, NodeUser
from xbcompute.specs.base import parse
from xbcompute.specs.federation import Federation
from xbcompute.specs.site import Site

LINK_TIMEOUT = 30.0


def config_from(body: Mapping[str, Any], *, in_process: bool = False) -> NodeConfig:
    """The configuration a simulation hands to one node."""
    return NodeConfig(
        federation=parse(Federation, body["federation"], "federation.toml"),
        site=parse(Site, body["site"], "site.toml"),
        site_dir=Path(body["site_dir"]),
        state_dir=Path(body["state"]),
        identity=Identity.load(Path(body["identity"])),
        certificates={PartyId(p): c.encode() for p, c in body["certificates"].items()},
        signing_keys={PartyId(p): k for p, k in body["signing_keys"].items()},
        addresses={PartyId(p): None for p in body["certificates"]},
        users=tuple(
            NodeUser(u["id"], u["certificate"].encode(), u["signing_key"], frozenset(u["roles"])) for u in body["users"]
        ),
        listen=None if in_process else "127.0.0.1:0",
        simulation=True,
        in_process=in_process,
        peer_grace=float(body["peer_grace"]),
        worker_threads=body["worker_threads"],
    )


def preload() -> None:
    """Import what a node imports late."""
    importlib.import_module("sqlalchemy.dialects.sqlite")


async def _serve(descriptor: int, warm: tuple[int, int] | None) -> None:
    sock = socket.socket(fileno=descriptor)
    reader, writer = await asyncio.open_connection(sock=sock, limit=1 << 24)

    async def say(body: Mapping[str, Any]) -> None:
        writer.write(json.dumps(body).encode() + b"\n")
        await writer.drain()

    node: Node | None = None
    try:
        try:
            node = Node(config_from(json.loads(await reader.readline())), warm=warm)
            await say({"port": await node.start()})
            for party, address in json.loads(await reader.readline()).items():
                if party != node.config.me:
                    node.set_address(PartyId(party), address)
            await node.links.linked(LINK_TIMEOUT)
            await say({"ready": True})
        except XbError as error:
            await say({"error": error.public()})
            return
        await reader.read()  # returns when the parent closes its end, or dies
    finally:
        if node is not None:
            await node.stop()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


def run(descriptor: int, warm: tuple[int, int] | None = None) -> None:
    """Serve until the parent closes the socket; ``warm`` is a worker that runs already: its socket and process id."""
    logging.basicConfig(level=logging.WARNING, format="%(name)s: %(message)s")
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(descriptor, warm))


if __name__ == "__main__":
    run(int(sys.argv[1]))
