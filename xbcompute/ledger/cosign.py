"""What a party does for its peers' ledgers: it countersigns a head only if that head extends the last one it saw.

State in, state out: the caller stores the returned :class:`Seen` before it hands out the countersignature, so that a
peer which rolls back or forks its ledger is found out at the next exchange (C2SP tlog-witness).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from xbcompute.core.canonical import dumps
from xbcompute.core.errors import IntegrityError
from xbcompute.ledger.checkpoint import SIGNATURE_SIZE, Checkpoint
from xbcompute.ledger.keys import Sign, check_signature
from xbcompute.ledger.merkle import verify_consistency
from xbcompute.ledger.reading import read_hex, read_object, read_time, read_word, time_text

VERSION = 1
DOMAIN = b"xbcompute/ledger-countersignature/v1\n"
_FIELDS = frozenset({"at", "signature", "v", "witness"})


@dataclass(frozen=True)
class Seen:
    """The last head of one peer's ledger that this party countersigned."""

    origin: str
    size: int
    root: bytes


@dataclass(frozen=True)
class Countersignature:
    """``witness`` (a party id) says at ``at`` that a checkpoint extends what it saw before; 64-byte signature."""

    witness: str
    at: str
    signature: bytes

    def message(self, checkpoint: Checkpoint) -> bytes:
        """The bytes that are signed: domain, checkpoint, witness and time, as canonical JSON."""
        return DOMAIN + dumps(
            {"at": self.at, "checkpoint": checkpoint.body(), "v": VERSION, "witness": self.witness},
        )

    def verify(self, checkpoint: Checkpoint, key: str) -> None:
        """Check the signature over ``checkpoint`` against the witness's public ``key`` (``ed25519:…``).

        Raises:
            IntegrityError: naming the witness.
        """
        what = f"countersignature by {self.witness} of size {checkpoint.size} of {checkpoint.origin}"
        check_signature(key, self.signature, self.message(checkpoint), what=what, party=self.witness)

    def to_json(self) -> dict[str, Any]:
        """The JSON object that is stored and sent."""
        return {"at": self.at, "signature": self.signature.hex(), "v": VERSION, "witness": self.witness}


def read_countersignature(body: object) -> Countersignature:
    """The countersignature in a JSON object; it is not checked here.

    Raises:
        IntegrityError: the object is not exactly a countersignature of version 1.
    """
    read = read_object(body, _FIELDS, what="a countersignature", version=VERSION)
    witness = read_word(read["witness"], what="the witness of a countersignature")
    return Countersignature(
        witness=witness,
        at=read_time(read["at"], what=f"the time in a countersignature by {witness}"),
        signature=read_hex(read["signature"], SIGNATURE_SIZE, what=f"the countersignature by {witness}"),
    )


def check_extends(seen: Seen | None, new: Checkpoint, proof: Sequence[bytes], *, origin: str, key: str) -> Seen:
    """The new state after ``new`` was checked: signed by ``key``, of ledger ``origin``, and an extension of ``seen``.

    ``seen`` is ``None`` before the first head; the proof is then empty.

    Raises:
        IntegrityError: naming the party whose ledger was rolled back, forked or not signed by its pinned key.
    """
    if seen is not None and seen.origin != origin:
        raise IntegrityError("ledger.origin", f"the last head of {seen.origin} was taken for that of {origin}.")
    if new.origin != origin:
        raise IntegrityError("ledger.origin", f"a checkpoint of {new.origin} came where one of {origin} was due.")
    new.verify(key)
    if seen is None:
        if proof:
            raise IntegrityError(
                "ledger.fork", f"the first checkpoint of {new.party} came with a proof from elsewhere."
            )
        return Seen(origin, new.size, new.root)
    if new.size < seen.size:
        raise IntegrityError(
            "ledger.rollback",
            f"the ledger of {new.party} went back from {seen.size} records to {new.size}.",
            todo=f"Keep both checkpoints and ask {new.party}: records that were countersigned are missing.",
        )
    try:
        verify_consistency(seen.size, new.size, seen.root, new.root, proof)
    except IntegrityError as error:
        raise IntegrityError(
            "ledger.fork",
            f"the ledger of {new.party} at {new.size} records does not extend the {seen.size} countersigned before.",
            todo=f"Keep both checkpoints and ask {new.party}: its history was changed, or the proof is wrong.",
        ) from error
    return Seen(origin, new.size, new.root)


def countersign(
    seen: Seen | None,
    new: Checkpoint,
    proof: Sequence[bytes],
    *,
    origin: str,
    peer_key: str,
    witness: str,
    sign: Sign,
    at: dt.datetime,
) -> tuple[Seen, Countersignature]:
    """The new state and this party's countersignature, after :func:`check_extends`. Run by the witness.

    Store the state before the countersignature is sent.

    Raises:
        IntegrityError: as :func:`check_extends`; nothing was signed.
    """
    after = check_extends(seen, new, proof, origin=origin, key=peer_key)
    unsigned = Countersignature(witness, time_text(at), b"")
    return after, Countersignature(witness, unsigned.at, sign(unsigned.message(new)))
