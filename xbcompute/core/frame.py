"""One piece of a message on its way between two parties."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

CHUNK_MAX = 1 << 20
"""Largest payload of one frame, bytes."""

FrameChannel: TypeAlias = Literal["control", "engine"]


@dataclass(frozen=True)
class Frame:
    """``sequence`` counts frames of one sender in one (session, channel) from 0; ``last`` ends a message.

    ``session`` is 16 bytes; ``plan`` the 32-byte digest of the plan (zero bytes before there is one);
    ``kind`` names the message, as the accounting and the ledger show it.
    """

    session: bytes
    channel: FrameChannel
    sequence: int
    kind: str
    plan: bytes
    payload: bytes
    last: bool = True
