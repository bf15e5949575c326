"""The key to an engine: proof that a decision admitted this study under this card."""

from __future__ import annotations

from dataclasses import dataclass

from xbcompute.core.parties import PartyId
from xbcompute.core.schema import Limits


@dataclass(frozen=True)
class Admission:
    """What an engine is given instead of a policy; made by the node from a joined decision.

    ``session`` is 16 random bytes; ``study`` and ``plan`` are 32-byte digests that every key and signature binds to.
    ``participants`` are the contributors, sorted.
    """

    session: bytes
    federation: str
    study: bytes
    plan: bytes
    card: str
    me: PartyId
    participants: tuple[PartyId, ...]
    epoch: int
    limits: Limits
