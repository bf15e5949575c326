"""Every way a study can end badly, each with its exit code and what to do next.

The public text of an error crosses the border and reaches logs, so it names files, columns, rules and
parties and never holds a value from data. ``code`` is a stable dotted word that tests and peers match on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Self


class XbError(Exception):
    """Base of every error this project raises on purpose."""

    exit_code: ClassVar[int] = 1

    def __init__(self, code: str, text: str, *, todo: str = "") -> None:
        super().__init__(text if not todo else f"{text} {todo}")
        self.code = code
        self.text = text
        self.todo = todo

    def at(self, party: str) -> Self:
        """The same error with the party named in front, unless its text names it already."""
        if party in self.text:
            return self
        return type(self)(self.code, f"{party}: {self.text}", todo=self.todo)

    def public(self) -> dict[str, str | int]:
        """The form that crosses the border and that ``--json`` prints."""
        return {"code": self.code, "exit": self.exit_code, "text": self.text, "todo": self.todo}


class InputError(XbError):
    """A file, a column or a request is wrong: nothing was opened or sent (exit 2)."""

    exit_code = 2


class RefusedError(XbError):
    """Policy or output checking says no (exit 3)."""

    exit_code = 3


class HeldError(XbError):
    """Would be allowed, but evidence or an approval is missing (exit 4)."""

    exit_code = 4


class PeerError(XbError):
    """A peer or the channel failed; the session is interrupted (exit 5)."""

    exit_code = 5


class IntegrityError(XbError):
    """A signature, digest, proof, sequence or state does not match (exit 6)."""

    exit_code = 6


BY_EXIT_CODE: dict[int, type[XbError]] = {
    kind.exit_code: kind for kind in (InputError, RefusedError, HeldError, PeerError, IntegrityError)
}


TEXT_MAX = 2000
"""Characters of a reported error's text that are kept."""

_CODE = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")


def from_public(body: Mapping[str, object]) -> XbError:
    """Rebuild the error a peer reported, whatever it put there: it goes to terminals, logs and ledgers.

    An unknown exit code becomes an :class:`IntegrityError`, a code of another form ``peer.unknown``. Control characters
    are replaced, and a text beyond :data:`TEXT_MAX` ends in an ellipsis.
    """
    exit_code, code = body.get("exit"), str(body.get("code", ""))
    kind = BY_EXIT_CODE.get(exit_code, IntegrityError) if isinstance(exit_code, int) else IntegrityError
    known = len(code) <= 80 and _CODE.fullmatch(code) is not None
    return kind(code if known else "peer.unknown", _shown(body.get("text", "")), todo=_shown(body.get("todo", "")))


def _shown(reported: object) -> str:
    text = str(reported)
    text = text if len(text) <= TEXT_MAX else text[: TEXT_MAX - 1] + "…"
    return "".join(mark if mark.isprintable() or mark == "\n" else "\N{REPLACEMENT CHARACTER}" for mark in text)
