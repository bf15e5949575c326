"""Values planted in data and looked for everywhere else: one sighting is a leak."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from pathlib import Path

_ALONE = re.compile(r"(?<![0-9A-Fa-f.])[0-9]{7}(?![0-9A-Fa-f])")


class Canaries:
    """Distinct texts and numbers to plant; ``sightings`` says where one turned up.

    Numbers have seven digits, so that a count or a sum does not equal one; they count as seen where they do not stand
    inside a longer number or a word of hexadecimal digits, where any seven digits turn up by chance.
    """

    def __init__(self, count: int) -> None:
        picked: set[int] = set()
        while len(picked) < count:
            picked.add(1_000_003 + secrets.randbelow(8_999_000))
        self.numbers: tuple[int, ...] = tuple(sorted(picked))
        self.texts: tuple[str, ...] = tuple(f"canary{number}" for number in self.numbers)

    def sightings(self, name: str, data: bytes | str) -> list[str]:
        """A line for each canary that stands in ``data``."""
        text = data if isinstance(data, str) else data.decode("utf-8", errors="replace")
        seen = {int(digits) for digits in _ALONE.findall(text)}
        return [f"{name}: {number}" for number in self.numbers if number in seen or f"canary{number}" in text]

    def in_files(self, paths: Iterable[Path]) -> list[str]:
        """Sightings in the bytes of files; folders are read through."""
        found: list[str] = []
        for path in paths:
            files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
            for file in files:
                found += self.sightings(str(file.name), file.read_bytes())
        return found
