"""MPyC's secure sum, one process a party over its own TCP: ``python -m benchmarks.mpyc_sum -M3 -I0 -B11365 SIZE``.

The field is the smallest that holds the sum at 59 fractional bits, which favours MPyC: its own fixed-point type is
wider. Prints the seconds from sharing to the opened total, best of those after the parties have met.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np

PRIME = 2**61 - 1
FRACTION = 2.0**50


def main() -> None:
    """Run this party."""
    size, repeats = int(sys.argv.pop()), int(sys.argv.pop())
    from mpyc.runtime import mpc

    field = mpc.SecFld(modulus=PRIME)
    mine = np.random.default_rng(mpc.pid).uniform(-1, 1, size)  # noqa: TID251
    encoded = np.rint(mine * FRACTION).astype(np.int64).astype(object) % PRIME
    seconds: list[float] = []

    async def work() -> None:
        await mpc.start()
        for _ in range(repeats):
            await mpc.barrier()
            begun = time.perf_counter()
            shares = mpc.input(field.array(field.field.array(encoded)))
            await mpc.output(sum(shares[1:], start=shares[0]))
            seconds.append(time.perf_counter() - begun)
        await mpc.shutdown()

    mpc.run(work())
    print(json.dumps(seconds))


if __name__ == "__main__":
    main()
