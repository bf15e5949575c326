"""``python -m benchmarks [--quick]``: every measurement beside its peers, as one table. Nothing is asserted on time."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from benchmarks.joint import Fit, joint_fit, lifelines_cox, statsmodels_logit
from benchmarks.mpyc_sum import KINDS, mpyc_seconds
from benchmarks.report import Line, faster, machine, table, times, within
from benchmarks.rows import made_rows, write_folder
from benchmarks.summing import PARTIES, Summing, plain_seconds
from xbcompute.simulate import Simulation


@dataclass(frozen=True)
class Sizes:
    """How much is summed and fitted, and how often each is repeated."""

    sums: tuple[int, ...]
    mpyc: int
    rows: int
    sum_repeats: int
    fit_repeats: int


FULL = Sizes(sums=(1_000_000, 10_000_000), mpyc=1_000_000, rows=1_000_000, sum_repeats=5, fit_repeats=3)
QUICK = Sizes(sums=(50_000,), mpyc=10_000, rows=8_000, sum_repeats=3, fit_repeats=1)


def sums(sizes: Sizes) -> Iterator[Line]:
    """Secure sums of three parties, against moving the bytes, MPyC and plain numpy."""
    before = _mpyc(sizes)
    with Summing() as parties:
        for size in sizes.sums:
            parties.numbers(size)
            done = {what: parties.median_seconds(what, size, sizes.sum_repeats) for what in ("gate", "move", "sum")}
            name = f"masked sum of {size:,} numbers, {len(PARTIES)} parties"
            yield Line(f"moving {size:,} numbers to both peers, gate to gate", done["gate"])
            yield Line(f"moving {size:,} numbers to both peers, worker to worker", done["move"])
            yield times(name, done["sum"], "moving them, gate to gate", done["gate"], 8)
            yield times(name, done["sum"], "moving them, worker to worker", done["move"])
            yield times(name, done["sum"], "numpy in one process", plain_seconds(size))
            if size == sizes.sums[0]:
                # MPyC runs before and after, so that a machine that grows busier does not favour one side. A full run
                # times both at the same size; a quick one scales MPyC's time.
                for kind, seconds in _mpyc(sizes).items():
                    goal = 50 if kind == "SecFxp" else None
                    theirs = (before[kind] + seconds) / 2 * size / sizes.mpyc
                    yield faster(name, done["sum"], f"MPyC {KINDS[kind]}", theirs, goal)


def _mpyc(sizes: Sizes) -> dict[str, float]:
    return {kind: mpyc_seconds(kind, sizes.mpyc, 2) for kind in KINDS}


def fits(sizes: Sizes) -> Iterator[Line]:
    """Joint Cox and logistic fits of four parties, against the tools users know and our own clear fit."""
    rows = made_rows(sizes.rows)
    first: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        write_folder(Path(folder), rows)
        with Simulation(folder) as nodes:
            yield Line("starting four nodes and their workers", nodes.start_s)
            for analysis, tool, fit in (
                ("cox", "lifelines", lifelines_cox),
                ("logistic", "statsmodels", statsmodels_logit),
            ):
                runs: dict[str, list[Fit]] = {"masked-sum": [], "clear-aggregate": []}
                pooled: list[float] = []
                for _ in range(sizes.fit_repeats):
                    coef, seconds = fit(rows)
                    pooled.append(seconds)
                    for card, done in runs.items():
                        done.append(joint_fit(nodes, analysis, card))
                        _agree(done[-1].coef, coef, analysis)
                masked, clear = (median(run.seconds for run in done) for done in runs.values())
                first += [run.first_round for run in runs["masked-sum"]]
                name = f"joint {analysis}, {sizes.rows:,} rows × {rows.covariates.shape[1]}, 4 parties"
                prepare = median(run.prepare for done in runs.values() for run in done)
                yield Line(f"{name}: reading and checking the rows, deciding, signing", prepare)
                yield times(name, masked, f"{tool} on the pooled rows", median(pooled), 1)
                yield times(name, masked, "the same in the clear", clear, 1.5)
    yield within("from Submit to the first round, 4 parties", median(first), 1)


def _agree(joint: NDArray[np.float64], pooled: NDArray[np.float64], analysis: str) -> None:
    if not np.allclose(joint, pooled, rtol=0, atol=1e-4):
        raise AssertionError(f"the joint {analysis} fit is not the pooled one")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, under a minute; the ratios mean little")
    quick: bool = parser.parse_args(arguments).quick
    sizes = QUICK if quick else FULL
    print(f"machine: {machine()}", flush=True)
    lines: list[Line] = []
    for part in (sums, fits):
        for line in part(sizes):
            lines.append(line)
            print(f"  … {line.name}: {line.seconds:.3f} s", flush=True)
    print()
    # Small sizes measure the fixed costs of a session, for which no goal is set.
    print(table([replace(line, goal=None) for line in lines] if quick else lines))
    print()
    print("seconds: median of several runs (MPyC: mean of two, each the best of two)")
    print("ratio: the multiple of the other's time, or with ≥ how many times faster than the other")


if __name__ == "__main__":
    main()
