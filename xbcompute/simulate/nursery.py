"""``python -m xbcompute.simulate.nursery FD``: imports the code once, and forks each party's processes from it.

Every party still has a node process and a worker process of its own; what they share is the time it takes to import
the code. For each socket that comes in over FD, a worker and a node are forked, and the answer names their process
ids. The nursery opens no channel, database or thread, so that a fork copies nothing that runs. It ends when FD closes;
its children end when their own sockets do.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable

from xbcompute.node import __main__ as node
from xbcompute.node import worker
from xbcompute.node.workers import worker_sockets

PIDS = struct.Struct("<II")


def _fork(run: Callable[[], None], *closing: socket.socket) -> int:
    """A child process that runs ``run`` and leaves; ``closing`` are the parent's sockets it must not hold open."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for sock in closing:
            sock.close()
        run()
        status = 0
    finally:
        logging.shutdown()
        sys.stderr.flush()
        os._exit(status)


def _raise_party(control: int, nursery: socket.socket) -> bytes:
    """Fork one party's worker and node; their process ids."""
    ours, theirs = worker_sockets()
    held = socket.socket(fileno=control)
    worker_pid = _fork(lambda: worker.main(theirs.detach()), ours, held, nursery)
    node_pid = _fork(lambda: node.run(held.detach(), warm=(ours.detach(), worker_pid)), theirs, nursery)
    for sock in (ours, theirs, held):
        sock.close()
    return PIDS.pack(node_pid, worker_pid)


def main(descriptor: int) -> None:
    """Serve until the descriptor closes."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the children
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C ends the simulation, which closes the sockets
    worker.preload()
    node.preload()
    gc.freeze()  # the children share what was imported; collecting it would copy it
    sock = socket.socket(fileno=descriptor)
    while True:
        _, descriptors, _, _ = socket.recv_fds(sock, 1, 1)
        if not descriptors:
            return
        sock.sendall(_raise_party(descriptors[0], sock))


if __name__ == "__main__":
    main(int(sys.argv[1]))
