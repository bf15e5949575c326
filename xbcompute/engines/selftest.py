"""Replays every test vector of a protocols folder with the engines installed here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from xbcompute.core.admission import Admission
from xbcompute.core.errors import InputError, XbError
from xbcompute.core.fields import Fields
from xbcompute.core.ports import Channel
from xbcompute.engines.clear import Clear
from xbcompute.engines.masked_sum.scripted import MaskedSumScript
from xbcompute.engines.replay import Vector, replay


class ClearScript:
    """Plays vectors of ``protocols/clear-aggregate``."""

    def engine(self, vector: Vector, admission: Admission, channel: Channel) -> Clear:
        """The engine itself: it has no secrets."""
        return Clear(channel, admission)

    def sign(self, vector: Vector, admission: Admission, fields: Fields) -> Fields:
        """Nothing in this protocol is signed."""
        return fields


REPLAYS: Final[Mapping[str, Callable[[Vector], None]]] = {
    "clear-aggregate": partial(replay, script=ClearScript()),
    "masked-sum": partial(replay, script=MaskedSumScript()),
}
"""How the vectors of each card are replayed; a replay raises where the outcome is another."""


@dataclass(frozen=True)
class Outcome:
    """One vector's result; ``fault`` is empty where the engine did what the vector says."""

    card: str
    name: str
    fault: str = ""

    @property
    def passed(self) -> bool:
        """Whether the engine did what the vector says."""
        return not self.fault


def selftest(protocols: Path) -> Iterator[Outcome]:
    """Replay ``protocols/<card>/vectors/v1/*.json``, in order, and yield each outcome.

    Raises:
        InputError: the folder holds no vectors.
    """
    paths = sorted(protocols.glob("*/vectors/v1/*.json"))
    if not paths:
        raise InputError("selftest.vectors", f"{protocols.name}: no test vectors in it.", todo="Reinstall xbcompute.")
    for path in paths:
        yield replay_file(path)


def replay_file(path: Path) -> Outcome:
    """Replay one file; a file that cannot be read or played is a fault too, never a pass."""
    card, name = path.parents[2].name, path.stem
    play = REPLAYS.get(card)
    if play is None:
        return Outcome(card, name, "no engine installed here replays vectors of this card.")
    try:
        vector = json.loads(path.read_text(encoding="utf-8"))
        if (vector["name"], vector["version"]) != (name, 1):
            return Outcome(card, name, "its name or version is not the one of its file.")
        play(vector)
    except XbError as error:
        return Outcome(card, name, error.text)
    except (KeyError, TypeError, ValueError, OSError) as error:
        return Outcome(card, name, f"is not a well-formed vector ({type(error).__name__}).")
    return Outcome(card, name)
