"""A party's signed statement of its ledger's size and root, in the spirit of C2SP tlog-checkpoint.

The signature is Ed25519 over a domain line and the canonical JSON of ``{at, origin, root, size, v}``.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

from xbcompute.core.canonical import dumps
from xbcompute.core.errors import IntegrityError
from xbcompute.ledger.keys import Sign, check_signature
from xbcompute.ledger.merkle import HASH_SIZE
from xbcompute.ledger.reading import read_count, read_hex, read_object, read_time, read_word, time_text

VERSION = 1
DOMAIN = b"xbcompute/ledger-checkpoint/v1\n"
SIGNATURE_SIZE = 64
_FIELDS = frozenset({"at", "origin", "root", "size", "v", "signature"})


def origin_of(federation: str, party: str) -> str:
    """``federation/party``: the name of one party's ledger."""
    return f"{federation}/{party}"


def read_origin(value: object, *, what: str) -> str:
    """``value`` if it is ``federation/party``.

    Raises:
        IntegrityError: naming ``what``.
    """
    origin = read_word(value, what=what)
    federation, _, party = origin.partition("/")
    if not federation or not party or "/" in party:
        raise IntegrityError("ledger.origin", f"{what} is not federation/party.")
    return origin


@dataclass(frozen=True)
class Checkpoint:
    """``origin`` is ``federation/party``, ``root`` 32 bytes, ``at`` ISO 8601 text, ``signature`` 64 bytes."""

    origin: str
    size: int
    root: bytes
    at: str
    signature: bytes

    @property
    def party(self) -> str:
        """The party whose ledger this is."""
        return self.origin.partition("/")[2]

    def body(self) -> dict[str, Any]:
        """What is signed, as JSON."""
        return {"at": self.at, "origin": self.origin, "root": self.root.hex(), "size": self.size, "v": VERSION}

    def message(self) -> bytes:
        """The bytes that are signed."""
        return DOMAIN + dumps(self.body())

    def to_json(self) -> dict[str, Any]:
        """The body and its signature."""
        return {**self.body(), "signature": self.signature.hex()}

    def verify(self, key: str) -> None:
        """Check the signature against a public ``key`` (``ed25519:…``).

        Raises:
            IntegrityError: naming the party.
        """
        what = f"checkpoint of size {self.size} of {self.origin}"
        check_signature(key, self.signature, self.message(), what=what, party=self.party)


def sign_checkpoint(sign: Sign, *, origin: str, size: int, root: bytes, at: dt.datetime) -> Checkpoint:
    """A checkpoint signed now by the party whose ledger ``origin`` names."""
    unsigned = Checkpoint(origin, size, root, time_text(at), b"")
    return Checkpoint(origin, size, root, unsigned.at, sign(unsigned.message()))


def read_checkpoint(body: object) -> Checkpoint:
    """The checkpoint in a JSON object; its signature is not checked here.

    Raises:
        IntegrityError: the object is not exactly a checkpoint of version 1.
    """
    read = read_object(body, _FIELDS, what="a checkpoint", version=VERSION)
    origin = read_origin(read["origin"], what="the origin of a checkpoint")
    return Checkpoint(
        origin=origin,
        size=read_count(read["size"], what=f"the size in a checkpoint of {origin}"),
        root=read_hex(read["root"], HASH_SIZE, what=f"the root in a checkpoint of {origin}"),
        at=read_time(read["at"], what=f"the time in a checkpoint of {origin}"),
        signature=read_hex(read["signature"], SIGNATURE_SIZE, what=f"the signature of a checkpoint of {origin}"),
    )
