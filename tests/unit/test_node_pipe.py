"""Packets between a node and its worker: whole, in order, bounded, and an end that is noticed."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading

import pytest

from xbcompute.core.errors import IntegrityError
from xbcompute.node.pipe import HEAD_MAX, PAYLOAD_MAX, BlockingPipe, read_packet, write_packet

PAYLOADS = [b"", b"x", bytes(range(256)) * 300, b"\7" * (3 << 20), b"end"]


def test_a_worker_and_its_node_exchange_packets_whole_and_in_order() -> None:
    async def node(sock: socket.socket) -> list[tuple[int, bytes]]:
        reader, writer = await asyncio.open_connection(sock=sock, limit=1 << 20)
        got: list[tuple[int, bytes]] = []
        while (packet := await read_packet(reader)) is not None:
            got.append((packet.head["i"], bytes(packet.payload)))
            await write_packet(writer, packet.head, packet.payload)
        writer.close()
        return got

    ours, theirs = socket.socketpair()
    pipe = BlockingPipe(theirs)
    echoed: list[tuple[int, bytes]] = []

    def worker() -> None:
        for i, payload in enumerate(PAYLOADS):
            pipe.send({"i": i}, payload)
        for _ in PAYLOADS:
            packet = pipe.receive()
            assert packet is not None
            echoed.append((packet.head["i"], bytes(packet.payload)))
        pipe.close()

    thread = threading.Thread(target=worker)
    thread.start()
    got = asyncio.run(node(ours))
    thread.join()
    assert got == echoed == list(enumerate(PAYLOADS))


def test_the_other_end_closing_is_an_end_and_not_an_error() -> None:
    ours, theirs = socket.socketpair()
    ours.sendall(struct.pack("<II", 10, 0) + b'{"half')
    ours.close()
    pipe = BlockingPipe(theirs)
    assert pipe.receive() is None
    pipe.close()


@pytest.mark.parametrize(("head", "payload"), [(HEAD_MAX + 1, 0), (2, PAYLOAD_MAX + 1)])
def test_lengths_that_no_release_writes_are_refused_before_memory_is_taken(head: int, payload: int) -> None:
    ours, theirs = socket.socketpair()
    ours.sendall(struct.pack("<II", head, payload))
    pipe = BlockingPipe(theirs)
    with pytest.raises(IntegrityError) as caught:
        pipe.receive()
    assert caught.value.code == "pipe.size"
    ours.close()
    pipe.close()
