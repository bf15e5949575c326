"""Writes the four hospitals' CSV files of ``examples/biomed/gbsg2`` from the copy of GBSG2 that lifelines ships.

    python examples/biomed/make_gbsg2.py

Source: the German Breast Cancer Study Group 2 trial (Schumacher et al. 1994), 686 patients, as in
``lifelines.datasets.load_gbsg2`` (lifelines is under the MIT licence). The hospitals are made up: the trial was run
in Germany, and the public file does not say where a patient was treated.

Split rule: number the rows 1 to 686 in the order of the file; sort them by the SHA-256 digest of
``gbsg2-row-<number>``; the first 172 go to sz-hospital-1, the next 168 to sz-hospital-2, then 176 to sg-centre-1 and
170 to sg-centre-2. The rule reads no value of any patient. Patient ids are made up from the place in a hospital's file.
"""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path

from lifelines.datasets import load_gbsg2

FOLDER = Path(__file__).parent / "gbsg2"
SIZES = {"sz-hospital-1": 172, "sz-hospital-2": 168, "sg-centre-1": 176, "sg-centre-2": 170}
PREFIXES = {"sz-hospital-1": "SZ1", "sz-hospital-2": "SZ2", "sg-centre-1": "SG1", "sg-centre-2": "SG2"}
COLUMNS = ("horTh", "age", "menostat", "tsize", "tgrade", "pnodes", "progrec", "estrec", "time", "cens")


def order(number: int) -> str:
    """The digest that row ``number`` (from 1) is sorted by."""
    return hashlib.sha256(f"gbsg2-row-{number}".encode()).hexdigest()


def split() -> dict[str, list[list[str]]]:
    """Rows of each hospital, with the made-up patient id in front."""
    rows = [[str(row[column]) for column in COLUMNS] for row in load_gbsg2().to_dict("records")]
    ranked = sorted(range(len(rows)), key=lambda index: order(index + 1))
    if len(rows) != sum(SIZES.values()):
        raise SystemExit(f"lifelines' copy has {len(rows)} rows, not {sum(SIZES.values())}")
    parts: dict[str, list[list[str]]] = {}
    start = 0
    for party, size in SIZES.items():
        chosen = ranked[start : start + size]
        parts[party] = [[f"{PREFIXES[party]}-{place:04d}", *rows[index]] for place, index in enumerate(chosen, 1)]
        start += size
    return parts


def main() -> None:
    """Write ``sites/<hospital>/gbsg2.csv`` for each hospital."""
    for party, rows in split().items():
        directory = FOLDER / "sites" / party
        directory.mkdir(parents=True, exist_ok=True)
        with (directory / "gbsg2.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("pid", *COLUMNS))
            writer.writerows(rows)


if __name__ == "__main__":
    main()
