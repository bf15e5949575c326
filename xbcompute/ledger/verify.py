"""Checks an exported ledger offline, with public keys only, and names the first thing that is wrong.

What a good file proves: its party signed this history, the witnesses saw it grow without change up to the sizes
reported, and no byte of the file differs from what was sealed. It proves what was recorded, not what happened.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from xbcompute.core.canonical import dumps
from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.ledger.checkpoint import Checkpoint, read_checkpoint
from xbcompute.ledger.cosign import read_countersignature
from xbcompute.ledger.export import Header, Seal, read_header, read_seal
from xbcompute.ledger.merkle import Frontier
from xbcompute.ledger.reading import read_hex, read_object
from xbcompute.ledger.record import SALT_SIZE, Entry, read_record

LINE_MAX = 1 << 26
"""Longest line that is read, bytes."""
_RECORD = frozenset({"leaf", "record", "salt"})


@dataclass(frozen=True)
class Report:
    """What was verified.

    ``kinds`` counts records by kind, ``witnessed`` gives for each witness the largest size it countersigned;
    ``pinned`` is False where the keys were taken from the file itself, which then shows only that it is whole.
    """

    origin: str
    size: int
    root: str
    at: str
    checkpoints: int
    kinds: Mapping[str, int]
    witnessed: Mapping[str, int]
    pinned: bool

    def to_json(self) -> dict[str, Any]:
        """The report as ``--json`` prints it."""
        return {**vars(self), "kinds": dict(self.kinds), "verified": True, "witnessed": dict(self.witnessed)}


class _Line(NamedTuple):
    number: int
    start: int
    raw: bytes

    @property
    def where(self) -> str:
        return f"line {self.number} (bytes {self.start}–{self.start + len(self.raw)})"


def _read_lines(path: Path) -> Iterator[_Line]:
    start = 0
    try:
        with path.open("rb") as file:
            for number in range(1, 1 << 62):
                raw = file.readline(LINE_MAX + 1)
                if not raw:
                    return
                line = _Line(number, start, raw)
                if not raw.endswith(b"\n"):
                    raise IntegrityError("ledger.line", f"{path.name}: {line.where} has no end of line or is too long.")
                yield line
                start += len(raw)
    except OSError as error:
        raise InputError("ledger.read", f"{path.name} cannot be read: {error.strerror}.") from error


def _parse(line: _Line) -> Mapping[str, Any]:
    try:
        value = json.loads(line.raw[:-1].decode("utf-8"))
        if isinstance(value, dict) and dumps(value) == line.raw[:-1]:
            return value
    except (ValueError, RecursionError, InputError):
        raise IntegrityError("ledger.line", "it is not a JSON object in UTF-8.") from None
    raise IntegrityError("ledger.line", "it is not written in canonical JSON.")


@dataclass
class _Reading:
    """Where the check stands in a file."""

    header: Header
    frontier: Frontier = field(default_factory=Frontier)
    checkpoint: Checkpoint | None = None
    witnesses: set[str] = field(default_factory=set)
    checkpoints: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    witnessed: dict[str, int] = field(default_factory=dict)

    def take(self, value: Mapping[str, Any]) -> None:
        """Check one line between header and seal."""
        if "record" in value:
            self._record(value)
        elif set(value) == {"checkpoint"}:
            self._checkpoint(read_checkpoint(value["checkpoint"]))
        elif set(value) == {"countersignature"}:
            self._countersignature(value["countersignature"])
        else:
            raise IntegrityError("ledger.line", "it is neither a record, a checkpoint nor a countersignature.")

    def _record(self, value: Mapping[str, Any]) -> None:
        read = read_object(value, _RECORD, what="a record's line")
        salt = read_hex(read["salt"], SALT_SIZE, what="the salt")
        leaf = Entry(dumps(read["record"]), salt).leaf()
        if read_hex(read["leaf"], len(leaf), what="the leaf hash") != leaf:
            raise IntegrityError("ledger.leaf", "record and salt do not give the leaf hash beside them.")
        record = read_record(read["record"])
        if record.seq != self.frontier.size:
            raise IntegrityError("ledger.sequence", f"it says seq {record.seq} where {self.frontier.size} is due.")
        self.frontier, _ = self.frontier.append(leaf)
        self.kinds[record.kind] += 1
        self.checkpoint = None

    def _checkpoint(self, checkpoint: Checkpoint) -> None:
        if checkpoint.origin != self.header.origin:
            raise IntegrityError("ledger.origin", f"it is of {checkpoint.origin}, the file of {self.header.origin}.")
        if checkpoint.size != self.frontier.size:
            raise IntegrityError(
                "ledger.sequence", f"it is for {checkpoint.size} records and stands after {self.frontier.size}."
            )
        if self.checkpoint is not None:
            raise IntegrityError("ledger.sequence", f"it is the second checkpoint for {checkpoint.size} records.")
        checkpoint.verify(self.header.key)
        if checkpoint.root != self.frontier.root():
            raise IntegrityError(
                "ledger.root", f"the {checkpoint.size} records before it do not give the root it signs."
            )
        self.checkpoint, self.witnesses = checkpoint, set()
        self.checkpoints += 1

    def _countersignature(self, value: object) -> None:
        countersignature = read_countersignature(value)
        witness = countersignature.witness
        if self.checkpoint is None:
            raise IntegrityError("ledger.sequence", f"the countersignature by {witness} follows no checkpoint.")
        if witness not in self.header.witnesses or witness == self.header.party:
            raise IntegrityError("ledger.witness", f"the header has no key for the witness {witness}.")
        if witness in self.witnesses:
            raise IntegrityError("ledger.witness", f"{witness} stands twice under one checkpoint.")
        countersignature.verify(self.checkpoint, self.header.witnesses[witness])
        self.witnesses.add(witness)
        self.witnessed[witness] = self.checkpoint.size


def _ends(path: Path) -> tuple[_Line, _Line, bytes]:
    """First line, last line, and SHA-256 of everything before the last."""
    first = last = None
    total = hashlib.sha256()
    for line in _read_lines(path):
        if last is not None:
            total.update(last.raw)
        first, last = first or line, line
    if first is None or last is None or first is last:
        raise IntegrityError("ledger.line", f"{path.name} is not a ledger: it needs a header and a seal.")
    return first, last, total.digest()


def _seal(path: Path, line: _Line) -> Seal:
    value = _parse(line)
    if set(value) != {"seal"}:
        raise IntegrityError("ledger.seal", "the last line is no seal: the file was cut or added to.")
    return read_seal(value["seal"])


def _pin(header: Header, keys: Mapping[str, str]) -> None:
    for party, key in {**header.witnesses, header.party: header.key}.items():
        if party not in keys:
            raise IntegrityError(
                "ledger.pin", f"no public key was given for {party}.", todo=f"Give the signing key of {party} as well."
            )
        if keys[party] != key:
            raise IntegrityError("ledger.pin", f"the key of {party} in the header is not the one that was given.")


def _named(path: Path, thing: str, line: _Line, error: IntegrityError) -> IntegrityError:
    return IntegrityError(error.code, f"{path.name}: {thing}, {line.where}: {error.text}", todo=error.todo)


def verify_file(path: Path | str, keys: Mapping[str, str] | None = None) -> Report:
    """Check every byte of an exported ledger. ``keys`` maps party ids to public keys (``ed25519:…``).

    With ``keys`` the header must name these and no others; without, the file's own are used and the report says so.

    Raises:
        IntegrityError: naming the record, checkpoint, countersignature, header or seal that is wrong, with its bytes.
        InputError: the file cannot be read.
    """
    path = Path(path)
    first, last, digest = _ends(path)
    try:
        seal = _seal(path, last)
    except IntegrityError as error:
        raise _named(path, "seal", last, error) from error
    try:
        value = _parse(first)
        if set(value) != {"header"}:
            raise IntegrityError("ledger.header", "it is no header.")
        header = read_header(value["header"])
        # With intact bytes before it, a differing header digest is the seal's own damage and found below.
        if seal.file != digest and seal.header != hashlib.sha256(first.raw).digest():
            raise IntegrityError("ledger.header", "it differs from the header that was sealed.")
        if keys is not None:
            _pin(header, keys)
    except IntegrityError as error:
        raise _named(path, "header", first, error) from error
    reading, reread = _Reading(header), hashlib.sha256()
    for line in _read_lines(path):
        if line.number < last.number:
            reread.update(line.raw)
        if first.number < line.number < last.number:
            thing = _thing(line, reading)
            try:
                reading.take(_parse(line))
            except IntegrityError as error:
                raise _named(path, thing, line, error) from error
    try:
        if seal.file != reread.digest() or seal.header != hashlib.sha256(first.raw).digest():
            raise IntegrityError("ledger.seal", "the digests in it are not those of the file.")
        seal.verify(header)
        if reading.checkpoint is None:
            raise IntegrityError("ledger.seal", "the records before it are not covered by a checkpoint.")
    except IntegrityError as error:
        raise _named(path, "seal", last, error) from error
    return Report(
        origin=header.origin,
        size=reading.frontier.size,
        root=reading.frontier.root().hex(),
        at=reading.checkpoint.at,
        checkpoints=reading.checkpoints,
        kinds=dict(sorted(reading.kinds.items())),
        witnessed=dict(sorted(reading.witnessed.items())),
        pinned=keys is not None,
    )


def _thing(line: _Line, reading: _Reading) -> str:
    """What the line looks like, before it is trusted."""
    if line.raw.startswith(b'{"checkpoint"'):
        return f"checkpoint {reading.checkpoints + 1}"
    if line.raw.startswith(b'{"countersignature"'):
        return f"countersignature under checkpoint {reading.checkpoints}"
    if line.raw.startswith(b'{"leaf"'):
        return f"record {reading.frontier.size}"
    return f"what follows record {reading.frontier.size - 1}" if reading.frontier.size else "what follows the header"
