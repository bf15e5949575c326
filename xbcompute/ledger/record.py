"""What a ledger holds: canonical JSON records of a few kinds, each with a salt, and no personal data.

A body has exactly the fields of its kind, and every field is a digest, a count, a time or one word: there is no
place for prose or for a value from data. The leaf's data is salt ‖ record, so that a leaf hash, which peers and
proofs show, does not confirm a guessed record.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from xbcompute.core.canonical import dumps
from xbcompute.core.errors import IntegrityError
from xbcompute.ledger.checkpoint import read_checkpoint
from xbcompute.ledger.merkle import leaf_hash
from xbcompute.ledger.reading import read_count, read_object, read_time, read_word, time_text

VERSION = 1
SALT_SIZE = 32
_FIELDS = frozenset({"at", "body", "kind", "seq", "session", "study", "v"})
_SESSION = re.compile(r"([0-9a-f]{32})?")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_CROSSING = frozenset({"bytes", "frames", "from", "grade", "kind", "sha256", "to"})

Check: TypeAlias = Callable[[object, str], object]
"""Value and the words that name it; raises IntegrityError."""


def _digest(value: object, what: str) -> None:
    if not isinstance(value, str) or not _DIGEST.fullmatch(value):
        raise IntegrityError("ledger.digest", f"{what} is not sha256:<64 hexadecimal digits>.")


def _word(value: object, what: str) -> None:
    read_word(value, what=what)


def _count(value: object, what: str) -> None:
    read_count(value, what=what)


def _each(check: Check) -> Check:
    def check_list(value: object, what: str) -> None:
        if not isinstance(value, (list, tuple)):
            raise IntegrityError("ledger.fields", f"{what} is not a list.")
        for item in value:
            check(item, f"an item of {what}")

    return check_list


def _counts(value: object, what: str) -> None:
    if not isinstance(value, Mapping):
        raise IntegrityError("ledger.fields", f"{what} is not an object.")
    for name, count in value.items():
        read_word(name, what=f"a name in {what}")
        read_count(count, what=f"a count in {what}")


def _crossing(value: object, what: str) -> None:
    read = read_object(value, _CROSSING, what=what)
    for name in ("from", "to", "kind", "grade"):
        read_word(read[name], what=f"{name} of {what}")
    for name in ("frames", "bytes"):
        read_count(read[name], what=f"{name} of {what}")
    text = read_word(read["sha256"], what=f"sha256 of {what}")
    _digest("sha256:" + text.removeprefix("sha256:"), f"sha256 of {what}")


def _checkpoint(value: object, what: str) -> None:
    read_checkpoint(value)


_REQUIRED: Mapping[str, Mapping[str, Check]] = {
    "decision": {"plan": _digest, "findings": _digest, "verdict": _word, "rules": _each(_word)},
    "approval": {"application": _digest, "approval": _digest, "role": _word, "act": _word},
    "session": {"state": _word},
    "crossings": {"crossings": _each(_crossing)},
    "release": {"release": _digest, "plan": _digest, "suppressed": _counts},
    "refusal": {"code": _word, "rules": _each(_word)},
    "cosign": {"heads": _each(_checkpoint)},
}
_OPTIONAL: Mapping[str, Mapping[str, Check]] = {
    "decision": {"protocol": _word, "packs": _each(_word)},
    "approval": {"from": _word, "to": _word},
    "session": {"code": _word, "epoch": _count, "round": _count, "lead": _word},
    "release": {"recipients": _each(_word)},
    "refusal": {"analysis": _word, "moment": _word, "plan": _digest},
}
KINDS: tuple[str, ...] = tuple(_REQUIRED)
"""``decision`` plan and findings digests, verdict, rules, protocol?, packs? · ``approval`` application and approval
digests, role, act, from?, to? · ``session`` state, code?, epoch?, round?, lead? · ``crossings`` a list as ``--json``
prints it · ``release`` release and plan digests, suppressed (analysis to number of paths), recipients? · ``refusal``
code, rules, analysis?, moment?, plan? · ``cosign`` heads (peers' checkpoints)."""


def check_body(kind: str, body: object) -> None:
    """Refuse a body that is not exactly of its kind.

    Raises:
        IntegrityError: naming the kind and the field.
    """
    if kind not in _REQUIRED:
        raise IntegrityError("ledger.kind", f"{kind} is no kind of ledger record.", todo=f"Use {', '.join(KINDS)}.")
    required, optional = _REQUIRED[kind], _OPTIONAL.get(kind, {})
    if not isinstance(body, Mapping):
        raise IntegrityError("ledger.fields", f"the body of a {kind} record is not an object.")
    present = frozenset(body)
    if not present >= required.keys() or not present <= required.keys() | optional.keys():
        names = ", ".join([*required, *(f"{name}?" for name in optional)])
        raise IntegrityError("ledger.fields", f"the body of a {kind} record does not have the fields {names}.")
    for name in sorted(present):
        (required.get(name) or optional[name])(body[name], f"{name} of a {kind} record")


@dataclass(frozen=True)
class Record:
    """One record: ``seq`` counts from 0; ``session`` is 32 hexadecimal digits or empty, ``study`` a digest or empty."""

    seq: int
    at: str
    kind: str
    session: str
    study: str
    body: Mapping[str, Any]

    def encode(self) -> bytes:
        """Canonical JSON."""
        return dumps({**vars(self), "v": VERSION})


def make_record(seq: int, at: dt.datetime, kind: str, *, session: str, study: str, body: Mapping[str, Any]) -> Record:
    """A checked record.

    Raises:
        IntegrityError: the body is not of its kind, or session or study are not of their form.
        InputError: ``at`` has no time zone.
    """
    return read_record(
        {"at": time_text(at), "body": body, "kind": kind, "seq": seq, "session": session, "study": study, "v": VERSION}
    )


def read_record(value: object) -> Record:
    """The record in a JSON object.

    Raises:
        IntegrityError: it is not exactly a record of version 1.
    """
    read = read_object(value, _FIELDS, what="a record", version=VERSION)
    kind = read_word(read["kind"], what="the kind of a record")
    check_body(kind, read["body"])
    session, study = read["session"], read["study"]
    if not isinstance(session, str) or not _SESSION.fullmatch(session):
        raise IntegrityError("ledger.session", f"the session of a {kind} record is not 32 hexadecimal digits or empty.")
    if study != "":
        _digest(study, f"the study of a {kind} record")
    return Record(
        seq=read_count(read["seq"], what=f"seq of a {kind} record"),
        at=read_time(read["at"], what=f"the time of a {kind} record"),
        kind=kind,
        session=session,
        study=study,
        body=read["body"],
    )


@dataclass(frozen=True)
class Entry:
    """A record's canonical bytes and its 32-byte salt, as the store keeps them."""

    record: bytes
    salt: bytes

    def leaf(self) -> bytes:
        """The leaf hash over salt ‖ record."""
        if len(self.salt) != SALT_SIZE:
            raise IntegrityError("ledger.salt", "a salt does not have 32 bytes.")
        return leaf_hash(self.salt + self.record)
