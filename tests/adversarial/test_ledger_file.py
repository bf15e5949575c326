"""An exported ledger with one byte, line or record changed does not verify, and the error says where."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from xbcompute.core.canonical import dumps
from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.ledger import export
from xbcompute.ledger.checkpoint import Checkpoint, sign_checkpoint
from xbcompute.ledger.cosign import Seen, countersign
from xbcompute.ledger.keys import key_text
from xbcompute.ledger.merkle import Frontier, Node, consistency_proof
from xbcompute.ledger.record import Entry, make_record
from xbcompute.ledger.verify import verify_file

NOW = dt.datetime(2026, 11, 24, 10, tzinfo=dt.timezone(dt.timedelta(hours=8)))
SHA = "sha256:" + "5c" * 32
PARTY, PEER = Ed25519PrivateKey.from_private_bytes(bytes(32)), Ed25519PrivateKey.from_private_bytes(bytes([1]) * 32)
KEYS = {"苏州": key_text(PARTY.public_key()), "sg": key_text(PEER.public_key())}
ORIGIN = "pilot/苏州"
BODIES: list[tuple[str, dict[str, Any]]] = [
    ("decision", {"plan": SHA, "findings": SHA, "verdict": "PERMIT", "rules": ["B08"], "protocol": "masked-sum"}),
    ("session", {"state": "running"}),
    (
        "crossings",
        {
            "crossings": [
                {
                    "from": "苏州",
                    "to": "sg",
                    "kind": "masked",
                    "grade": "G5",
                    "frames": 3,
                    "bytes": 99,
                    "sha256": "0a" * 32,
                }
            ]
        },
    ),
    ("release", {"release": SHA, "plan": SHA, "suppressed": {"km": 0}}),
    ("session", {"state": "closed"}),
]


class Made:
    """A ledger of five records with checkpoints after three and five, both countersigned."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.frontier = Frontier()
        self.nodes: dict[tuple[int, int], bytes] = {}
        self.checkpoints: list[tuple[Checkpoint, list[Any]]] = []
        self.seen: Seen | None = None
        for seq, (kind, body) in enumerate(BODIES):
            record = make_record(seq, NOW, kind, session="1b" * 16, study=SHA, body=body)
            self.add(Entry(record.encode(), bytes([seq]) * 32))
            if seq in {2, 4}:
                self.countersigned()

    def add(self, entry: Entry) -> None:
        self.entries.append(entry)
        self.frontier, created = self.frontier.append(entry.leaf())
        self.nodes.update({(node.level, node.number): node.hash for node in created})

    def countersigned(self) -> None:
        size = self.frontier.size
        head = sign_checkpoint(PARTY.sign, origin=ORIGIN, size=size, root=self.frontier.root(), at=NOW)
        proof = consistency_proof(self.seen.size if self.seen else 0, size, lambda *place: self.nodes[place])
        self.seen, made = countersign(
            self.seen, head, proof, origin=ORIGIN, peer_key=KEYS["苏州"], witness="sg", sign=PEER.sign, at=NOW
        )
        self.checkpoints.append((head, [made]))

    def lines(self) -> list[bytes]:
        header = export.Header(ORIGIN, KEYS["苏州"], {"sg": KEYS["sg"]}, NOW.isoformat())
        return list(export.lines(header, self.entries, self.checkpoints))


def write(path: Path, lines: list[bytes]) -> Path:
    """Seal the lines with the party's own key, as a party that rewrites its history would."""
    export.write_file(path, lines, PARTY.sign)
    return path


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write(tmp_path / "ledger.jsonl", Made().lines())


def refuse(path: Path, match: str = ".") -> IntegrityError:
    with pytest.raises(IntegrityError, match=match) as caught:
        verify_file(path)
    return caught.value


def test_a_good_file_verifies(good: Path) -> None:
    report = verify_file(good, KEYS)
    assert (report.origin, report.size, report.checkpoints, report.pinned) == (ORIGIN, 5, 2, True)
    assert report.kinds == {"crossings": 1, "decision": 1, "release": 1, "session": 2}
    assert report.witnessed == {"sg": 5}
    assert report.root == Made().frontier.root().hex()
    assert report.to_json()["verified"] is True
    dumps(report.to_json())
    assert verify_file(str(good)).pinned is False


def test_the_format_has_not_changed(good: Path) -> None:
    kept = Path(__file__).parents[1] / "vectors" / "ledger_v1.jsonl"
    assert good.read_bytes() == kept.read_bytes()
    assert verify_file(kept, KEYS).size == 5


def test_every_flipped_byte_is_found_and_its_line_named(good: Path) -> None:
    raw, spoiled = good.read_bytes(), good.with_name("spoiled.jsonl")
    last = raw.count(b"\n")
    for offset, byte in enumerate(raw):
        mask = 1 << (offset % 8)
        with spoiled.open("wb") as file:
            file.write(raw[:offset] + bytes([byte ^ mask]) + raw[offset + 1 :])
        with pytest.raises(IntegrityError) as caught:
            verify_file(spoiled)
        number = raw[:offset].count(b"\n") + 1
        named = re.search(r"line (\d+) \(bytes \d+–\d+\)", caught.value.text)
        assert named, caught.value.text
        # A byte that became a line feed inside the seal makes its rest the last line.
        split = byte ^ mask == 0x0A and number == last
        assert int(named[1]) == number + split, (offset, caught.value.text)


@pytest.mark.parametrize("mask", [0x20, 0x01, 0x80, 0xFF])
def test_a_sample_of_bytes_with_other_bits_flipped(good: Path, mask: int) -> None:
    raw, spoiled = good.read_bytes(), good.with_name("spoiled.jsonl")
    for offset in range(mask % 13, len(raw), 13):
        with spoiled.open("wb") as file:
            file.write(raw[:offset] + bytes([raw[offset] ^ mask]) + raw[offset + 1 :])
        with pytest.raises(IntegrityError):
            verify_file(spoiled)


def test_a_missing_or_doubled_byte_is_found(good: Path) -> None:
    raw, spoiled = good.read_bytes(), good.with_name("spoiled.jsonl")
    for offset in range(0, len(raw), 17):
        for wrong in (raw[:offset] + raw[offset + 1 :], raw[: offset + 1] + raw[offset:]):
            if wrong != raw:
                spoiled.write_bytes(wrong)
                with pytest.raises(IntegrityError):
                    verify_file(spoiled)


def test_a_cut_file_is_found(good: Path) -> None:
    raw = good.read_bytes()
    for end in [0, 1, len(raw) // 2, len(raw) - 1, *(m.end() for m in re.finditer(b"\n", raw[:-1]))]:
        good.write_bytes(raw[:end])
        refuse(good)
    good.write_bytes(raw + b"\n")
    refuse(good, "seal")
    good.write_bytes(raw + raw.splitlines(keepends=True)[-1])
    refuse(good)
    good.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        verify_file(good)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("苏州".encode(), b"\\u82cf\\u5dde"),
        (b'"seq":1', b'"seq": 1'),
        (b'"seq":1', b'"seq":1.0'),
        (b'"seq":1', b'"seq":1e0'),
        (b'"seq":1', b'"seq":01'),
        (b'"seq":1,', b'"seq":1,"seq":1,'),
        (b'"state":"running"', b'"state":"runn\\u0069ng"'),
        (b'"state":"running"', b'"\\u0073tate":"running"'),
        (b"\n", b"\r\n"),
        (b"\n", b" \n"),
        (b"\n{", b"\n {"),
        (b'{"header"', b'\xef\xbb\xbf{"header"'),
        (b'"rules":["B08"]', b'"rules":["B08",]'),
        (b'"bytes":99', b'"bytes":' + b"9" * 5000),
        (b'"bytes":99', b'"bytes":NaN'),
        (b'"bytes":99', b'"bytes":1e999'),
        (b'"bytes":99', b'"bytes":' + b"[" * 100_000 + b"]" * 100_000),
        (b'"verdict":"PERMIT"', b'"verdict":"\\ud800"'),
    ],
)
def test_the_same_meaning_in_other_bytes_is_refused_even_when_sealed_again(
    tmp_path: Path, old: bytes, new: bytes
) -> None:
    lines = b"".join(Made().lines())
    assert old in lines
    with pytest.raises(IntegrityError, match="line"):
        verify_file(write(tmp_path / "x.jsonl", [*(lines.replace(old, new, 1)).splitlines(keepends=True)]))


def change_line(lines: list[bytes], number: int, change: Callable[[dict[str, Any]], None]) -> list[bytes]:
    value = json.loads(lines[number])
    change(value)
    return [*lines[:number], dumps(value) + b"\n", *lines[number + 1 :]]


def test_a_rewritten_record_is_named_by_its_leaf(tmp_path: Path) -> None:
    def forget(value: dict[str, Any]) -> None:
        value["record"]["body"]["verdict"] = "DENY"

    error = refuse(write(tmp_path / "x.jsonl", change_line(Made().lines(), 1, forget)), r"record 0, line 2 \(bytes ")
    assert error.code == "ledger.leaf"


def test_a_record_rewritten_with_its_leaf_breaks_the_root(tmp_path: Path) -> None:
    lines = Made().lines()
    record = make_record(1, NOW, "session", session="", study="", body={"state": "aborted"})
    lines[2] = export.record_line(Entry(record.encode(), bytes(32)))
    error = refuse(write(tmp_path / "x.jsonl", lines), "checkpoint 1, line 5 .*3 records before it")
    assert error.code == "ledger.root"


def test_a_history_rewritten_and_signed_again_breaks_the_witness(tmp_path: Path) -> None:
    made, other = Made(), Made()
    other.entries, other.frontier, other.checkpoints = [], Frontier(), []
    for seq in range(5):
        record = make_record(seq, NOW, "session", session="", study="", body={"state": "closed"})
        other.add(Entry(record.encode(), bytes(32)))
        if seq in {2, 4}:
            root = other.frontier.root()
            head = sign_checkpoint(PARTY.sign, origin=ORIGIN, size=seq + 1, root=root, at=NOW)
            other.checkpoints.append((head, made.checkpoints[len(other.checkpoints)][1]))
    error = refuse(write(tmp_path / "x.jsonl", other.lines()), "countersignature under checkpoint 1, line 6.*sg")
    assert error.code == "ledger.signature"


def test_lines_moved_dropped_or_doubled_are_found(tmp_path: Path) -> None:
    lines = Made().lines()
    assert len(lines) == 10
    for i, line in enumerate(lines):
        refuse(write(tmp_path / "doubled.jsonl", [*lines[: i + 1], *lines[i:]]))
        if i < 9:
            refuse(write(tmp_path / "swapped.jsonl", [*lines[:i], lines[i + 1], line, *lines[i + 2 :]]))
        if b'"countersignature"' not in line:
            refuse(write(tmp_path / "dropped.jsonl", [*lines[:i], *lines[i + 1 :]]))


def test_leaving_out_countersignatures_shows_in_the_report(tmp_path: Path) -> None:
    lines = Made().lines()
    assert verify_file(write(tmp_path / "x.jsonl", lines[:-1])).witnessed == {"sg": 3}
    assert verify_file(write(tmp_path / "y.jsonl", [*lines[:5], *lines[6:-1]])).witnessed == {}


def test_records_after_the_last_checkpoint_are_refused(tmp_path: Path) -> None:
    refuse(write(tmp_path / "x.jsonl", Made().lines()[:-2]), "seal.*not covered by a checkpoint")
    with pytest.raises(InputError, match="does not cover"):
        list(export.lines(export.Header(ORIGIN, KEYS["苏州"], {}, NOW.isoformat()), Made().entries, []))


def test_given_keys_must_be_the_ones_in_the_header(good: Path) -> None:
    with pytest.raises(IntegrityError, match="key of 苏州 in the header is not the one"):
        verify_file(good, {**KEYS, "苏州": KEYS["sg"]})
    with pytest.raises(IntegrityError, match="key of sg in the header is not the one"):
        verify_file(good, {**KEYS, "sg": KEYS["苏州"]})
    with pytest.raises(IntegrityError, match="no public key was given for sg"):
        verify_file(good, {"苏州": KEYS["苏州"]})
    verify_file(good, {**KEYS, "unrelated": KEYS["sg"]})


def test_a_party_that_is_its_own_witness_is_refused(tmp_path: Path) -> None:
    made = Made()
    head = made.checkpoints[0][0]
    _, own = countersign(None, head, (), origin=ORIGIN, peer_key=KEYS["苏州"], witness="苏州", sign=PARTY.sign, at=NOW)
    made.checkpoints[0] = (head, [own])
    refuse(write(tmp_path / "x.jsonl", made.lines()), "no key for the witness 苏州")


def test_a_file_of_a_later_version_is_refused_by_name(tmp_path: Path) -> None:
    def later(value: dict[str, Any]) -> None:
        value["header"]["v"] = 2

    error = refuse(write(tmp_path / "x.jsonl", change_line(Made().lines(), 0, later)), "header has version 2")
    assert error.code == "ledger.version"


def test_headers_of_other_forms_are_refused(tmp_path: Path) -> None:
    changes: list[dict[str, Any]] = [
        {"witnesses": 1},
        {"witnesses": {"sg": 1}},
        {"witnesses": {"a b": KEYS["sg"]}},
        {"key": 1},
        {"x": 1},
    ]
    for change in changes:

        def spoil(value: dict[str, Any], change: dict[str, Any] = change) -> None:
            value["header"].update(change)

        refuse(write(tmp_path / "x.jsonl", change_line(Made().lines(), 0, spoil)), "header, line 1 ")


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def parts() -> Any:
        yield b"one\n"
        raise IntegrityError("test.stop", "stop")

    with pytest.raises(IntegrityError, match="stop"):
        export.write_file(tmp_path / "x.jsonl", parts(), PARTY.sign)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="cannot be written"):
        export.write_file(tmp_path / "no" / "x.jsonl", [b"one\n"], PARTY.sign)


def test_an_empty_ledger_verifies(tmp_path: Path) -> None:
    head = sign_checkpoint(PARTY.sign, origin=ORIGIN, size=0, root=Frontier().root(), at=NOW)
    header = export.Header(ORIGIN, KEYS["苏州"], {}, NOW.isoformat())
    report = verify_file(write(tmp_path / "x.jsonl", list(export.lines(header, [], [(head, [])]))))
    assert report.size == 0


def test_nodes_have_the_names_the_store_uses() -> None:
    assert Node._fields == ("level", "number", "hash")
