"""The byte strings that keys, masks and signatures are bound to (spec, section 3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from xbcompute.core.admission import Admission
from xbcompute.core.canonical import dumps
from xbcompute.core.parties import PartyId

DOMAIN: Final = "xbcompute/masked-sum/v1/"


@dataclass(frozen=True)
class PublicKeys:
    """One participant's keys of one session, 32 raw bytes each: key agreement, and signing of transcripts."""

    x25519: bytes
    ed25519: bytes


@dataclass(frozen=True)
class RoundContext:
    """What one round is about. ``digest`` is SHA-256 of its canonical JSON; ``size`` is in elements."""

    participants: tuple[PartyId, ...]
    epoch: int
    round: int
    size: int
    digest: bytes

    def bind(self, purpose: str, **more: Any) -> bytes:
        """Canonical JSON that is unique to this round, ``purpose`` and ``more``."""
        return dumps({"domain": DOMAIN + purpose, "context": self.digest.hex(), **more})


def session_statement(admission: Admission, party: PartyId, keys: PublicKeys) -> bytes:
    """What ``party`` signs with its long-term key: these keys, for this session among these participants only."""
    return dumps(
        _session(admission, "session-keys")
        | {"party": party, "x25519": keys.x25519.hex(), "ed25519": keys.ed25519.hex()}
    )


def round_context(
    admission: Admission, keys: Mapping[PartyId, PublicKeys], *, round: int, state: bytes, layout: bytes, size: int
) -> RoundContext:
    """The context of one round; ``state`` and ``layout`` are digests, ``keys`` those accepted of every participant."""
    body = _session(admission, "round") | {
        "round": round,
        "state": state.hex(),
        "layout": layout.hex(),
        "size": size,
        "keys": [[keys[party].x25519.hex(), keys[party].ed25519.hex()] for party in admission.participants],
    }
    return RoundContext(admission.participants, admission.epoch, round, size, sha256(dumps(body)).digest())


def _session(admission: Admission, purpose: str) -> dict[str, Any]:
    return {
        "domain": DOMAIN + purpose,
        "federation": admission.federation,
        "session": admission.session.hex(),
        "study": admission.study.hex(),
        "plan": admission.plan.hex(),
        "epoch": admission.epoch,
        "card": admission.card,
        "participants": list(admission.participants),
    }
