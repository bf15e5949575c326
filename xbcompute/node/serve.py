"""Runs a real node until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from xbcompute.node.app import Node
from xbcompute.node.config import NodeConfig


async def serve(config: NodeConfig, started: Callable[[int | None], None]) -> None:
    """Start the node, call ``started`` with its port, and stop it on SIGTERM or SIGINT."""
    node = Node(config)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        started(await node.start())
        await stop.wait()
    finally:
        await node.stop()
