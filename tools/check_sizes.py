"""Modules stay small: none over 500 lines, nine in ten within 350, the median within 150."""

from __future__ import annotations

import sys
from math import ceil
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
GENERATED = ("xbcompute", "wire", "v1")
LONGEST = 500
USUAL, USUAL_SHARE = 350, 0.9
MEDIAN = 150


def sizes(root: Path) -> dict[str, int]:
    """Lines of each module of the package, generated code left out, by path."""
    found = {}
    for path in sorted((root / "xbcompute").rglob("*.py")):
        parts = path.relative_to(root).parts
        if parts[: len(GENERATED)] != GENERATED and "__pycache__" not in parts:
            found["/".join(parts)] = len(path.read_text(encoding="utf-8").splitlines())
    return found


def faults(found: dict[str, int]) -> list[str]:
    """What is too long, one line a rule that is broken."""
    if not found:
        return ["no module was found"]
    said = []
    over = [name for name, lines in found.items() if lines > LONGEST]
    if over:
        said.append(f"{len(over)} over {LONGEST} lines")
    allowed = len(found) - ceil(USUAL_SHARE * len(found))
    unusual = sum(lines > USUAL for lines in found.values())
    if unusual > allowed:
        said.append(f"{unusual} over {USUAL} lines, {allowed} of {len(found)} may be")
    middle = median(found.values())
    if middle > MEDIAN:
        said.append(f"the median is {middle:g} lines, not within {MEDIAN}")
    return said


def table(found: dict[str, int]) -> str:
    """The modules over the usual size, longest first."""
    long = sorted(((lines, name) for name, lines in found.items() if lines > USUAL), reverse=True)
    return "".join(f"{lines:6} {'!' if lines > LONGEST else ' '} {name}\n" for lines, name in long)


def main() -> int:
    """Print the table and the verdict; 1 if a rule is broken."""
    found = sizes(ROOT)
    said = faults(found)
    sys.stdout.write(table(found))
    middle = f"median {median(found.values()):g}, longest {max(found.values())}" if found else ""
    sys.stdout.write(f"{len(found)} modules, {middle}: {'; '.join(said) or 'good'}\n")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
