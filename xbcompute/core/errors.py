"""Every way a study can end badly, each with its exit code and what to do next.

The public text of an error crosses the border and reaches logs, so it names files, columns, rules and
parties and never holds a value from data. ``code`` is a stable dotted word that tests and peers match on.
"""

from __future__ import annotations

from typing import ClassVar


class XbError(Exception):
    """Base of every error this project raises on purpose."""

    exit_code: ClassVar[int] = 1

    def __init__(self, code: str, text: str, *, todo: str = "") -> None:
        super().__init__(text if not todo else f"{text} {todo}")
        self.code = code
        self.text = text
        self.todo = todo

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


def from_public(body: dict[str, str | int]) -> XbError:
    """Rebuild the error a peer reported; an unknown exit code becomes an :class:`IntegrityError`."""
    kind = BY_EXIT_CODE.get(int(body.get("exit", 6)), IntegrityError)
    return kind(str(body.get("code", "peer.unknown")), str(body.get("text", "")), todo=str(body.get("todo", "")))
