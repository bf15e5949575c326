"""Records, keys, checkpoints and countersignatures: one accepted form each."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from xbcompute.core.canonical import dumps
from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.ledger.checkpoint import Checkpoint, origin_of, read_checkpoint, sign_checkpoint
from xbcompute.ledger.cosign import Countersignature, Seen, countersign, read_countersignature
from xbcompute.ledger.keys import key_text, read_key
from xbcompute.ledger.merkle import EMPTY_ROOT, leaf_hash, root_of
from xbcompute.ledger.reading import read_time
from xbcompute.ledger.record import KINDS, Entry, check_body, make_record, read_record

NOW = dt.datetime(2026, 11, 24, 10, tzinfo=dt.timezone(dt.timedelta(hours=8)))
SHA = "sha256:" + "ab" * 32
SESSION = "0f" * 16
KEY = Ed25519PrivateKey.generate()
PUBLIC = key_text(KEY.public_key())
HEAD = sign_checkpoint(KEY.sign, origin="pilot/sz", size=3, root=bytes(32), at=NOW)
CROSSING = {
    "from": "sz",
    "to": "sg",
    "kind": "masked",
    "grade": "G5",
    "frames": 2,
    "bytes": 4096,
    "sha256": "cd" * 32,
}
BODIES: dict[str, dict[str, Any]] = {
    "decision": {"plan": SHA, "findings": SHA, "verdict": "PERMIT_WITH_CONDITIONS", "rules": ["B08"]},
    "approval": {"application": SHA, "approval": SHA, "role": "EC-IRB", "act": "approve"},
    "session": {"state": "running", "epoch": 1},
    "crossings": {"crossings": [CROSSING]},
    "release": {"release": SHA, "plan": SHA, "suppressed": {"km": 0, "cox": 2}},
    "refusal": {"code": "cells.small", "rules": ["C4.9"], "analysis": "km"},
    "cosign": {"heads": [HEAD.to_json()]},
}


def test_every_kind_has_a_body_that_is_accepted() -> None:
    assert set(BODIES) == set(KINDS)
    for seq, (kind, body) in enumerate(BODIES.items()):
        made = make_record(seq, NOW, kind, session=SESSION, study=SHA, body=body)
        again = read_record(json.loads(made.encode()))
        assert again == made
        assert json.loads(made.encode()) == {
            "v": 1,
            "seq": seq,
            "at": "2026-11-24T10:00:00+08:00",
            "kind": kind,
            "session": SESSION,
            "study": SHA,
            "body": body,
        }


@pytest.mark.parametrize("kind", BODIES)
def test_a_missing_or_extra_field_is_refused_by_name(kind: str) -> None:
    check_body(kind, BODIES[kind])
    with pytest.raises(IntegrityError, match=f"body of a {kind} record"):
        check_body(kind, {**BODIES[kind], "name": "x"})
    first = next(iter(BODIES[kind]))
    with pytest.raises(IntegrityError, match=first):
        check_body(kind, {name: value for name, value in BODIES[kind].items() if name != first})
    with pytest.raises(IntegrityError, match="not an object"):
        check_body(kind, [])


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [
        ("decision", "plan", "ab" * 32),
        ("decision", "plan", SHA.upper()),
        ("decision", "verdict", "Patient Zhang San may be included"),
        ("decision", "rules", "B08"),
        ("decision", "rules", [1]),
        ("session", "state", ""),
        ("session", "state", "x" * 201),
        ("session", "epoch", True),
        ("session", "epoch", -1),
        ("session", "epoch", 1.0),
        ("crossings", "crossings", [{**CROSSING, "bytes": "4096"}]),
        ("crossings", "crossings", [{**CROSSING, "values": [1.5]}]),
        ("crossings", "crossings", [{**CROSSING, "sha256": "cd"}]),
        ("crossings", "crossings", ["masked"]),
        ("release", "suppressed", ["km.counts.0"]),
        ("release", "suppressed", {"km": ["counts.0"]}),
        ("release", "suppressed", {"km counts": 1}),
        ("cosign", "heads", [{"size": 1}]),
    ],
)
def test_no_field_holds_prose_values_or_other_types(kind: str, field: str, value: object) -> None:
    with pytest.raises(IntegrityError):
        check_body(kind, {**BODIES[kind], field: value})


def test_records_of_other_forms_are_refused() -> None:
    good = json.loads(make_record(0, NOW, "session", session="", study="", body={"state": "closed"}).encode())
    read_record(good)
    changes: list[dict[str, Any]] = [
        {"v": 2},
        {"v": True},
        {"seq": -1},
        {"seq": "0"},
        {"session": "0F" * 16},
        {"session": "ab"},
        {"session": None},
        {"study": "gbsg2"},
        {"study": None},
        {"kind": "note"},
        {"kind": 7},
        {"at": "2026-11-24T10:00:00"},
        {"at": "2026-11-24 10:00:00+08:00"},
        {"at": "2026-11-24T02:00:00Z"},
        {"at": 0},
        {"who": "x"},
    ]
    for change in changes:
        with pytest.raises(IntegrityError):
            read_record({**good, **change})
    with pytest.raises(IntegrityError, match="version 2, this release reads version 1"):
        read_record({**good, "v": 2})
    with pytest.raises(IntegrityError):
        read_record("record")
    with pytest.raises(InputError, match="time zone"):
        make_record(0, dt.datetime(2026, 1, 1), "session", session="", study="", body={"state": "closed"})  # noqa: DTZ001


def test_the_salt_is_part_of_the_leaf() -> None:
    record = make_record(0, NOW, "session", session="", study="", body={"state": "closed"}).encode()
    one, two = Entry(record, bytes(32)), Entry(record, bytes([1]) * 32)
    assert one.leaf() == leaf_hash(bytes(32) + record)
    assert one.leaf() != two.leaf()
    with pytest.raises(IntegrityError, match="salt"):
        Entry(record, b"short").leaf()


def test_keys_have_one_form() -> None:
    assert key_text(read_key(PUBLIC)) == PUBLIC
    body = PUBLIC.removeprefix("ed25519:")
    other_bits = body[:-2] + chr(ord(body[-2]) + 1) + "="
    for wrong in [
        "",
        body,
        "ed25519:" + body[:-1],
        "ed25519:" + other_bits,
        PUBLIC + "=",
        PUBLIC + "\n",
        "x25519:" + body,
    ]:
        with pytest.raises(IntegrityError, match="public key"):
            read_key(wrong)


def test_a_time_is_read_as_it_was_written() -> None:
    assert read_time(NOW.isoformat(), what="it") == NOW.isoformat()
    assert read_time("2026-11-24T10:00:00.123456+00:00", what="it").endswith("+00:00")
    with pytest.raises(IntegrityError, match="it is not an ISO 8601 time"):
        read_time("yesterday", what="it")


def test_a_checkpoint_is_bound_to_origin_size_root_and_time() -> None:
    assert HEAD.party == "sz"
    assert origin_of("pilot", "sz") == HEAD.origin
    assert read_checkpoint(json.loads(dumps(HEAD.to_json()))) == HEAD
    HEAD.verify(PUBLIC)
    for changed in [
        Checkpoint("pilot/sg", HEAD.size, HEAD.root, HEAD.at, HEAD.signature),
        Checkpoint(HEAD.origin, 4, HEAD.root, HEAD.at, HEAD.signature),
        Checkpoint(HEAD.origin, HEAD.size, bytes([1]) + bytes(31), HEAD.at, HEAD.signature),
        Checkpoint(HEAD.origin, HEAD.size, HEAD.root, "2026-11-24T10:00:01+08:00", HEAD.signature),
        Checkpoint(HEAD.origin, HEAD.size, HEAD.root, HEAD.at, bytes(64)),
    ]:
        with pytest.raises(IntegrityError, match=f"checkpoint of size {changed.size} of {changed.origin}"):
            changed.verify(PUBLIC)
    good = HEAD.to_json()
    changes: list[dict[str, Any]] = [
        {"v": 2},
        {"size": -1},
        {"size": True},
        {"root": "00"},
        {"root": "0" * 63 + "G"},
        {"signature": good["signature"].upper()},
        {"origin": "sz"},
        {"origin": "a/b/c"},
        {"origin": "/sz"},
        {"origin": 1},
        {"at": "now"},
        {"extra": 1},
    ]
    for change in changes:
        with pytest.raises(IntegrityError):
            read_checkpoint({**good, **change})


def test_a_countersignature_is_bound_to_checkpoint_witness_and_time() -> None:
    other = Ed25519PrivateKey.generate()
    seen, made = countersign(None, HEAD, [], origin="pilot/sz", peer_key=PUBLIC, witness="sg", sign=other.sign, at=NOW)
    assert seen == Seen("pilot/sz", 3, HEAD.root)
    assert read_countersignature(json.loads(dumps(made.to_json()))) == made
    key = key_text(other.public_key())
    made.verify(HEAD, key)
    later = sign_checkpoint(KEY.sign, origin="pilot/sz", size=4, root=HEAD.root, at=NOW)
    for head, changed in [
        (later, made),
        (HEAD, Countersignature("sz", made.at, made.signature)),
        (HEAD, Countersignature("sg", "2026-11-24T10:00:01+08:00", made.signature)),
        (HEAD, Countersignature("sg", made.at, HEAD.signature)),
    ]:
        with pytest.raises(IntegrityError, match=f"countersignature by {changed.witness}"):
            changed.verify(head, key)
    changes: list[dict[str, Any]] = [{"v": 0}, {"witness": ""}, {"witness": 1}, {"at": ""}, {"signature": "00"}]
    for change in [*changes, {"x": 1}]:
        with pytest.raises(IntegrityError):
            read_countersignature({**made.to_json(), **change})


def test_the_empty_ledger_has_a_checkpoint() -> None:
    made = sign_checkpoint(KEY.sign, origin="pilot/sz", size=0, root=root_of([]), at=NOW)
    assert made.root == EMPTY_ROOT
    made.verify(PUBLIC)
