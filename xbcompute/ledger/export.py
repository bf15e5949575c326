"""A ledger as one file: JSON lines, each canonical, in one order, sealed at the end by the party's key.

``header`` (origin, time, public keys) · then for each record ``record`` with salt and leaf hash, and after the record
at which it was made each ``checkpoint`` followed by its ``countersignature`` lines · ``seal``: digests of the header
and of all bytes before the seal, signed. :mod:`xbcompute.ledger.verify` reads it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xbcompute.core.canonical import dumps
from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.ledger.checkpoint import SIGNATURE_SIZE, Checkpoint, read_origin
from xbcompute.ledger.cosign import Countersignature
from xbcompute.ledger.keys import Sign, check_signature, read_key
from xbcompute.ledger.reading import read_hex, read_object, read_time, read_word
from xbcompute.ledger.record import Entry

VERSION = 1
SEAL_DOMAIN = b"xbcompute/ledger-seal/v1\n"
_HEADER = frozenset({"at", "key", "origin", "v", "witnesses"})
_SEAL = frozenset({"file", "header", "signature"})


@dataclass(frozen=True)
class Header:
    """``key`` is the party's public key, ``witnesses`` maps peers to theirs (``ed25519:…``); ``at`` is ISO 8601."""

    origin: str
    key: str
    witnesses: Mapping[str, str]
    at: str

    @property
    def party(self) -> str:
        """The party whose ledger this is."""
        return self.origin.partition("/")[2]

    def to_json(self) -> dict[str, Any]:
        """The JSON object of the first line."""
        return {
            "at": self.at,
            "key": self.key,
            "origin": self.origin,
            "v": VERSION,
            "witnesses": dict(self.witnesses),
        }


def read_header(value: object) -> Header:
    """The header in a JSON object.

    Raises:
        IntegrityError: it is not exactly a header of version 1.
    """
    read = read_object(value, _HEADER, what="the header", version=VERSION)
    witnesses = read["witnesses"]
    read_key(str(read["key"]))
    if not isinstance(witnesses, Mapping):
        raise IntegrityError("ledger.fields", "the witnesses in the header are not an object.")
    for name, key in witnesses.items():
        read_word(name, what="a witness in the header")
        read_key(str(key))
    return Header(
        origin=read_origin(read["origin"], what="the origin in the header"),
        key=read["key"],
        witnesses=witnesses,
        at=read_time(read["at"], what="the time in the header"),
    )


@dataclass(frozen=True)
class Seal:
    """SHA-256 of the header line and of all lines before the seal, and the party's signature over both."""

    header: bytes
    file: bytes
    signature: bytes

    def message(self) -> bytes:
        """The bytes that are signed."""
        return SEAL_DOMAIN + dumps({"file": self.file.hex(), "header": self.header.hex()})

    def to_json(self) -> dict[str, Any]:
        """The JSON object of the last line."""
        return {"file": self.file.hex(), "header": self.header.hex(), "signature": self.signature.hex()}

    def verify(self, header: Header) -> None:
        """Check the signature against the key in ``header``; raises IntegrityError."""
        check_signature(header.key, self.signature, self.message(), what="the seal", party=header.party)


def read_seal(value: object) -> Seal:
    """The seal in a JSON object; raises IntegrityError."""
    read = read_object(value, _SEAL, what="the seal")
    return Seal(
        header=read_hex(read["header"], 32, what="the header digest in the seal"),
        file=read_hex(read["file"], 32, what="the file digest in the seal"),
        signature=read_hex(read["signature"], SIGNATURE_SIZE, what="the signature of the seal"),
    )


def _line(name: str, body: Mapping[str, Any]) -> bytes:
    return dumps({name: body}) + b"\n"


def record_line(entry: Entry) -> bytes:
    """One record with its salt and leaf hash. The record's bytes are canonical already and stand in it unchanged."""
    leaf, salt = entry.leaf().hex().encode(), entry.salt.hex().encode()
    return b'{"leaf":"' + leaf + b'","record":' + entry.record + b',"salt":"' + salt + b'"}\n'


def lines(
    header: Header,
    entries: Iterable[Entry],
    checkpoints: Sequence[tuple[Checkpoint, Sequence[Countersignature]]],
) -> Iterator[bytes]:
    """All lines but the seal.

    ``checkpoints`` are in ascending size, one a size; the last one covers every entry.

    Raises:
        InputError: they are not, or do not.
    """
    yield _line("header", header.to_json())
    written, waiting = 0, list(checkpoints)

    def due() -> Iterator[bytes]:
        if waiting and waiting[0][0].size == written:
            checkpoint, countersignatures = waiting.pop(0)
            yield _line("checkpoint", checkpoint.to_json())
            for countersignature in countersignatures:
                yield _line("countersignature", countersignature.to_json())

    yield from due()
    for entry in entries:
        yield record_line(entry)
        written += 1
        yield from due()
    if waiting or not checkpoints or checkpoints[-1][0].size != written:
        raise InputError("ledger.export", f"the last checkpoint does not cover the {written} records of the export.")


def write_file(path: Path, parts: Iterable[bytes], sign: Sign) -> int:
    """Write ``parts`` (as :func:`lines` gives them) and the seal to ``path``; the number of bytes written.

    The file appears whole or not at all.

    Raises:
        InputError: the file cannot be written.
    """
    total, header, size = hashlib.sha256(), b"", 0
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("xb") as file:
            for part in parts:
                header = header or hashlib.sha256(part).digest()
                total.update(part)
                size += file.write(part)
            unsigned = Seal(header, total.digest(), b"")
            seal = Seal(header, unsigned.file, sign(unsigned.message()))
            size += file.write(_line("seal", seal.to_json()))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise InputError("ledger.write", f"{path.name} cannot be written: {error.strerror}.") from error
    finally:
        partial.unlink(missing_ok=True)
    return size
