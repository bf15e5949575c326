"""One byte string for one value: canonical JSON, and the digest everything is bound to.

Keys are sorted by code point, no white space, UTF-8, numbers as Python prints them (shortest form that
reads back exactly), dates as ISO 8601. NaN and infinities are refused: they have no JSON form.
"""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from xbcompute.core.errors import InputError


def _plain(value: Any) -> Any:
    if isinstance(value, enum.Enum):
        return _plain(value.value)
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise InputError("canonical.key", f"canonical JSON needs text keys, not {type(key).__name__}.")
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(item) for item in value)
    if isinstance(value, (dt.datetime, dt.date)):
        return value.isoformat()
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    raise InputError("canonical.type", f"{type(value).__name__} has no canonical JSON form.")


def dumps(value: Any) -> bytes:
    """Canonical JSON bytes of ``value`` (mappings, sequences, text, numbers, booleans, None, dates, enums).

    Raises:
        InputError: for NaN, infinities, keys that are not text, and types without a JSON form.
    """
    try:
        text = json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise InputError("canonical.number", "NaN and infinite numbers have no canonical JSON form.") from error
    return text.encode("utf-8")


def digest(value: Any) -> str:
    """``sha256:<hex>`` of the canonical JSON of ``value``."""
    return "sha256:" + hashlib.sha256(dumps(value)).hexdigest()


def digest_bytes(data: bytes) -> str:
    """``sha256:<hex>`` of ``data`` itself."""
    return "sha256:" + hashlib.sha256(data).hexdigest()
