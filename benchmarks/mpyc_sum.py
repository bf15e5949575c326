"""MPyC's secure sum, one process a party over its own TCP, its numbers shared, added and opened."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from typing import Any

import numpy as np

KINDS = {"SecFxp": "0.11, SecFxp(64)", "SecFld": "0.11, smallest field that holds the sum"}
"""What a user would write for real numbers, and the leanest arithmetic MPyC has for whole ones."""

PARTIES = 3
PRIME = 2**61 - 1
SCALE = 2.0**50


def mpyc_seconds(kind: str, size: int, repeats: int) -> float:
    """Seconds of one sum of ``size`` numbers from each of three parties: the slowest party, best of ``repeats``."""
    port = _free_port()
    command = [sys.executable, "-m", "benchmarks.mpyc_sum", f"-M{PARTIES}", f"-B{port}", "--no-log"]
    arguments = [kind, str(size), str(repeats)]
    parties = [
        subprocess.Popen([*command, f"-I{party}", *arguments], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        for party in range(PARTIES)
    ]
    answers = [json.loads(party.communicate(timeout=600)[0]) for party in parties]
    slowest: list[float] = [max(each) for each in zip(*answers, strict=True)]
    return min(slowest)  # the first includes what MPyC sets up once


def _free_port() -> int:
    """The first of three neighbouring ports that are free now."""
    for _ in range(100):
        with socket.socket() as first:
            first.bind(("127.0.0.1", 0))
            port = int(first.getsockname()[1])
            try:
                for step in range(1, PARTIES):
                    with socket.socket() as other:
                        other.bind(("127.0.0.1", port + step))
            except OSError:
                continue
        return port
    raise OSError("no three neighbouring ports are free")


def main() -> None:
    """Run one party: ``python -m benchmarks.mpyc_sum -M3 -I0 -B11365 KIND SIZE REPEATS``; prints its seconds."""
    kind, size, repeats = sys.argv[-3], int(sys.argv[-2]), int(sys.argv[-1])
    del sys.argv[-3:]
    from mpyc.runtime import mpc  # parses the command line

    mine = np.random.default_rng(mpc.pid).uniform(-1, 1, size)  # noqa: TID251
    whole: Any = None
    if kind == "SecFld":
        whole = np.rint(mine * SCALE).astype(np.int64).astype(object) % PRIME
    seconds: list[float] = []

    async def work() -> None:
        await mpc.start()
        for _ in range(repeats):
            await mpc.barrier()
            begun = time.perf_counter()
            if kind == "SecFld":
                field = mpc.SecFld(modulus=PRIME)
                shares = mpc.input(field.array(field.field.array(whole)))
            else:
                shares = mpc.input(mpc.SecFxp(64).array(mine))
            await mpc.output(sum(shares[1:], start=shares[0]))
            seconds.append(time.perf_counter() - begun)
        await mpc.shutdown()

    mpc.run(work())
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
