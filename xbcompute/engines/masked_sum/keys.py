"""Session keys, signed by the parties, and the keys that two participants share (spec, section 4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from xbcompute.core import fields as messages
from xbcompute.core.admission import Admission
from xbcompute.core.errors import IntegrityError
from xbcompute.core.fields import Expect, Fields
from xbcompute.core.parties import PartyId
from xbcompute.core.secret import Secret
from xbcompute.engines.masked_sum.context import PublicKeys, RoundContext, session_statement

KEYS_KIND: Final = "masked-sum.keys"
KEYS_FIELDS: Final = {
    "x25519": Expect("bytes", size=32),
    "ed25519": Expect("bytes", size=32),
    "signature": Expect("bytes", size=64),
}


@dataclass(frozen=True)
class SessionKeys:
    """This participant's keys of one session; the private halves live and die with the worker."""

    agreement: Secret[X25519PrivateKey]
    signing: Secret[Ed25519PrivateKey]
    public: PublicKeys


def session_keys(x25519_seed: bytes, ed25519_seed: bytes) -> SessionKeys:
    """The key pairs that two independent, uniformly random 32-byte strings stand for; never give them twice."""
    agreement = X25519PrivateKey.from_private_bytes(x25519_seed)
    signing = Ed25519PrivateKey.from_private_bytes(ed25519_seed)
    public = PublicKeys(agreement.public_key().public_bytes_raw(), signing.public_key().public_bytes_raw())
    return SessionKeys(Secret(agreement), Secret(signing), public)


def keys_message(keys: PublicKeys, signature: bytes) -> Fields:
    """What each participant sends to all others; ``signature`` is over :func:`session_statement`."""
    return {"x25519": keys.x25519, "ed25519": keys.ed25519, "signature": signature}


def accept_keys(admission: Admission, sender: PartyId, pinned: bytes, message: Fields) -> PublicKeys:
    """The sender's session keys, once its pinned long-term key vouches for them in this very session.

    Raises:
        IntegrityError: naming the sender; the keys were swapped, or signed for another session, plan or participants.
    """
    messages.check(message, KEYS_FIELDS, what=f"{KEYS_KIND} of {sender}")
    keys = PublicKeys(cast(bytes, message["x25519"]), cast(bytes, message["ed25519"]))
    if not verify(pinned, cast(bytes, message["signature"]), session_statement(admission, sender, keys)):
        raise IntegrityError(
            "masked_sum.keys",
            f"the session keys said to be of {sender} are not signed by its pinned key for this session.",
            todo="Nothing was sent under them. Compare federation.toml and the plan with that party.",
        )
    return keys


def shared_secret(mine: SessionKeys, peer: PartyId, keys: PublicKeys) -> Secret[bytes]:
    """X25519 of this participant and ``peer``.

    Raises:
        IntegrityError: the peer's point has low order, so the result would be known to everyone.
    """
    try:
        return Secret(mine.agreement.expose().exchange(X25519PublicKey.from_public_bytes(keys.x25519)))
    except ValueError:
        raise IntegrityError("masked_sum.keys", f"{peer} sent a key agreement point of low order.") from None


def pair_key(shared: Secret[bytes], context: RoundContext, one: PartyId, other: PartyId) -> Secret[bytes]:
    """The 32-byte mask key of two participants for one round, equal at both."""
    info = context.bind("pair-mask", pair=sorted((one, other)))
    return Secret(HKDF(SHA256(), length=32, salt=None, info=info).derive(shared.expose()))


def verify(public_key: bytes, signature: bytes, statement: bytes) -> bool:
    """Whether ``signature`` is this Ed25519 key's over ``statement``; a malformed key signs nothing."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, statement)
    except (InvalidSignature, ValueError):
        return False
    return True
