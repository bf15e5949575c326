"""Strict readers for the JSON of the ledger: one accepted form for each value, so that no byte can vary unnoticed."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

from xbcompute.core.errors import InputError, IntegrityError

_HEX = re.compile(r"[0-9a-f]*")
_WORD = re.compile(r"[^\s\x00-\x1f\x7f]{1,200}")


def read_object(body: object, keys: frozenset[str], *, what: str, version: int | None = None) -> Mapping[str, Any]:
    """``body`` if it is an object with exactly ``keys``, and its ``v`` is ``version`` where one is given.

    Raises:
        IntegrityError: naming ``what``; a newer version by its number.
    """
    if not isinstance(body, Mapping):
        raise IntegrityError("ledger.fields", f"{what} is not an object.")
    if version is not None and read_count(body.get("v"), what=f"the version of {what}") != version:
        raise IntegrityError(
            "ledger.version",
            f"{what} has version {body['v']}, this release reads version {version}.",
            todo="Use the release of xbcompute that wrote it, or a later one.",
        )
    if set(body) != keys:
        raise IntegrityError("ledger.fields", f"{what} does not have exactly the fields {', '.join(sorted(keys))}.")
    return body


def read_count(value: object, *, what: str) -> int:
    """A whole number of at least 0.

    Raises:
        IntegrityError: naming ``what``.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 63:
        raise IntegrityError("ledger.count", f"{what} is not a whole number of at least 0.")
    return value


def read_word(value: object, *, what: str) -> str:
    """A text of 1 to 200 characters without white space: an id, never prose.

    Raises:
        IntegrityError: naming ``what``.
    """
    if not isinstance(value, str) or not _WORD.fullmatch(value):
        raise IntegrityError("ledger.word", f"{what} is not one word.")
    return value


def read_hex(value: object, size: int, *, what: str) -> bytes:
    """``size`` bytes from lower-case hexadecimal.

    Raises:
        IntegrityError: naming ``what``.
    """
    if not isinstance(value, str) or len(value) != 2 * size or not _HEX.fullmatch(value):
        raise IntegrityError("ledger.hex", f"{what} is not {size} bytes in lower-case hexadecimal.")
    return bytes.fromhex(value)


def time_text(at: dt.datetime) -> str:
    """ISO 8601 with an offset, to the second or finer.

    Raises:
        InputError: ``at`` has no time zone.
    """
    if at.utcoffset() is None:
        raise InputError("ledger.clock", "a ledger time needs a time zone.")
    return at.isoformat()


def read_time(value: object, *, what: str) -> str:
    """``value`` if :func:`time_text` could have written it.

    Raises:
        IntegrityError: naming ``what``.
    """
    try:
        if isinstance(value, str) and time_text(dt.datetime.fromisoformat(value)) == value:
            return value
    except (ValueError, InputError):
        pass
    raise IntegrityError("ledger.time", f"{what} is not an ISO 8601 time with an offset.")
