"""The masked sum with every secret from a label, for test vectors; never for data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from xbcompute.core.admission import Admission
from xbcompute.core.fields import Fields
from xbcompute.core.parties import PartyId
from xbcompute.core.ports import Channel
from xbcompute.engines.loopback import MemoryJournal
from xbcompute.engines.masked_sum.context import PublicKeys, session_statement
from xbcompute.engines.masked_sum.engine import MaskedSum
from xbcompute.engines.replay import Vector


@dataclass(frozen=True)
class KeySigner:
    """A :class:`~xbcompute.core.ports.Signer` that holds the key itself."""

    key: Ed25519PrivateKey

    def sign_session_keys(self, statement: bytes) -> bytes:
        """The signature."""
        return self.key.sign(statement)


class MaskedSumScript:
    """Plays vectors of ``protocols/masked-sum``."""

    def engine(self, vector: Vector, admission: Admission, channel: Channel) -> MaskedSum:
        """The engine itself, with a memory for a journal."""
        pinned = {
            PartyId(party): long_term_key(vector, party).public_key().public_bytes_raw() for party in vector["parties"]
        }
        signer = KeySigner(long_term_key(vector, admission.me))
        random = scripted_random(vector, admission.me)
        return MaskedSum(channel, admission, signer, MemoryJournal(), pinned, random=random)

    def sign(self, vector: Vector, admission: Admission, fields: Fields) -> Fields:
        """Session keys signed by the sender's long-term key."""
        keys = PublicKeys(cast(bytes, fields["x25519"]), cast(bytes, fields["ed25519"]))
        statement = session_statement(admission, admission.me, keys)
        return {**fields, "signature": long_term_key(vector, admission.me).sign(statement)}


def label_secret(vector: str, party: str, purpose: str) -> bytes:
    """The 32 bytes that stand for a secret in a test vector: SHA-256 of a text, so that no vector holds a key."""
    return sha256(f"xbcompute/vectors/masked-sum/{vector}/{party}/{purpose}".encode()).digest()


def long_term_key(vector: Vector, party: str) -> Ed25519PrivateKey:
    """A party's signing key in a test vector."""
    return Ed25519PrivateKey.from_private_bytes(label_secret(vector["name"], party, "long-term"))


def scripted_random(vector: Vector, party: str) -> Callable[[int], bytes]:
    """The engine asks for the seeds of its two session keys, then for one mask seed in each round."""
    purposes = ["x25519", "ed25519", *(f"seed-{index}" for index in range(1, len(vector["rounds"]) + 1))]
    answers = iter([label_secret(vector["name"], party, purpose) for purpose in purposes])
    return lambda size: next(answers)[:size]
