"""What every store must do, run on SQLite and, where ``XBCOMPUTE_TEST_POSTGRES`` names one, on PostgreSQL.

The variable holds a ``postgresql://`` address of a database that the suite may empty.
"""

from __future__ import annotations

import datetime as dt
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import MetaData, create_engine

from xbcompute.core.canonical import digest, digest_bytes
from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.core.ports import Journal
from xbcompute.ledger.keys import key_text
from xbcompute.ledger.merkle import EMPTY_ROOT, verify_consistency, verify_inclusion
from xbcompute.ledger.verify import verify_file
from xbcompute.node.store import Store, database, open_store
from xbcompute.node.store.journal import SeedReleased, SessionJournal
from xbcompute.node.store.ledger import Head
from xbcompute.node.store.people import counting_year, people

NOW = dt.datetime(2026, 11, 24, 10, tzinfo=dt.timezone(dt.timedelta(hours=8)))
LATER = NOW + dt.timedelta(hours=1)
SHA = "sha256:" + "ab" * 32
SESSION = "0f" * 16
KEY, PEER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
PUBLIC, PEER_PUBLIC = key_text(KEY.public_key()), key_text(PEER.public_key())
POSTGRES = os.environ.get("XBCOMPUTE_TEST_POSTGRES")

Reopen = Callable[[], Store]


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.skipif(not POSTGRES, reason="XBCOMPUTE_TEST_POSTGRES is not set")),
    ]
)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str | Path:
    """The address of an empty database."""
    if request.param == "sqlite":
        return tmp_path / "node.db"
    engine = create_engine(str(POSTGRES))
    found = MetaData()
    found.reflect(engine)
    found.drop_all(engine)
    engine.dispose()
    return str(POSTGRES)


@pytest.fixture
def reopen(url: str | Path, tmp_path: Path) -> Iterator[Reopen]:
    """Opens the same database again, as a restarted node does."""
    opened: list[Store] = []

    def again() -> Store:
        for store in opened:
            store.close()
        opened.append(open_store(url, folder=tmp_path))
        return opened[-1]

    yield again
    for store in opened:
        store.close()


@pytest.fixture
def store(reopen: Reopen) -> Store:
    return reopen()


def fill(store: Store, count: int) -> None:
    for i in range(count):
        store.ledger.append_record("session", {"state": "running", "round": i}, NOW, session=SESSION, study=SHA)


def some_people(*numbers: int) -> bytes:
    return people([number.to_bytes(16, "big") for number in numbers])


class TestWriters:
    def test_threads_lose_nothing(self, store: Store) -> None:
        got: list[int] = []

        def work() -> None:
            got.extend(store.ledger.append_record("session", {"state": "running"}, NOW) for _ in range(15))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(got) == list(range(60))
        assert store.ledger.check().size == 60

    def test_a_locked_store_is_named(self, url: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(database, "BUSY_MS", 20)
        with open_store(url, folder=tmp_path) as one, open_store(url, folder=tmp_path) as two:
            with one.database.write():
                with pytest.raises(IntegrityError, match="another process holds it") as caught:
                    two.journal.begin_round(SESSION, 1, 1)
                assert caught.value.code == "store.write"
                assert two.journal.latest(SESSION) is None
            two.journal.begin_round(SESSION, 1, 1)

    def test_an_error_inside_a_write_undoes_all_of_it(self, store: Store) -> None:
        with pytest.raises(ZeroDivisionError), store.database.write() as connection:
            connection.exec_driver_sql("INSERT INTO rounds_begun VALUES ('x', 1, 1)")
            _ = 1 // 0
        assert store.journal.latest("x") is None

    def test_errors_of_the_driver_do_not_carry_values(self, store: Store) -> None:
        with pytest.raises(IntegrityError) as caught, store.database.write() as connection:
            for _ in range(2):
                connection.exec_driver_sql("INSERT INTO rounds_begun VALUES ('canary-7e1', 1, 1)")
        assert caught.value.code == "store.write"
        assert "canary-7e1" not in repr(caught.value.public())
        assert caught.value.__cause__ is None and caught.value.__suppress_context__
        with pytest.raises(IntegrityError) as caught, store.database.read() as connection:
            connection.exec_driver_sql("SELECT * FROM nothing")
        assert caught.value.code == "store.read"


class TestLedger:
    def test_records_come_back_and_the_head_survives_reopening(self, store: Store, reopen: Reopen) -> None:
        assert store.ledger.head() == Head(0, EMPTY_ROOT)
        assert store.ledger.append_record("session", {"state": "proposed"}, NOW) == 0
        fill(store, 20)
        head = store.ledger.head()
        assert head.size == 21
        again = reopen().ledger
        assert again.head() == head == again.check()
        record = again.record(7)
        assert (record.seq, record.kind, record.session, record.study) == (7, "session", SESSION, SHA)
        assert record.body == {"state": "running", "round": 6}
        with pytest.raises(InputError, match="no record 21"):
            again.record(21)
        assert again.append_record("session", {"state": "closed"}, NOW) == 21

    def test_a_wrong_body_appends_nothing(self, store: Store) -> None:
        fill(store, 2)
        before = store.ledger.head()
        with pytest.raises(IntegrityError):
            store.ledger.append_record("session", {"patient": "x"}, NOW)
        with pytest.raises(InputError, match="time zone"):
            store.ledger.append_record("session", {"state": "closed"}, NOW.replace(tzinfo=None))
        assert store.ledger.head() == before

    def test_proofs_verify_against_every_earlier_head(self, store: Store) -> None:
        heads = [store.ledger.head()]
        for _ in range(12):
            fill(store, 1)
            heads.append(store.ledger.head())
        leaves = [entry.leaf() for entry in store.ledger.entries()]
        assert len({entry.salt for entry in store.ledger.entries()}) == 12
        for head in heads:
            for first in heads[: head.size + 1]:
                proof = store.ledger.consistency_proof(first.size, head.size)
                verify_consistency(first.size, head.size, first.root, head.root, proof)
            for seq in range(head.size):
                verify_inclusion(seq, head.size, leaves[seq], store.ledger.inclusion_proof(seq, head.size), head.root)
        assert store.ledger.consistency_proof(5) == store.ledger.consistency_proof(5, 12)
        for ask in (store.ledger.consistency_proof, store.ledger.inclusion_proof):
            with pytest.raises(InputError, match="has 12 records"):
                ask(1, 13)
        with pytest.raises(InputError, match="not in a tree"):
            store.ledger.inclusion_proof(12)

    def test_entries_are_read_in_ranges(self, store: Store) -> None:
        fill(store, 7)
        everything = list(store.ledger.entries())
        assert len(everything) == 7
        assert list(store.ledger.entries(2, 5)) == everything[2:5]
        assert list(store.ledger.entries(5, 99)) == everything[5:]
        assert list(store.ledger.entries(4, 4)) == []

    def test_an_export_verifies_offline(self, store: Store, tmp_path: Path) -> None:
        fill(store, 5)
        first = store.ledger.checkpoint("pilot/sz", KEY.sign, NOW)
        assert store.ledger.checkpoint("pilot/sz", KEY.sign, LATER) == first
        peer = store.peers.countersign(
            first, (), origin="pilot/sz", peer_key=PUBLIC, witness="sg", sign=PEER.sign, at=NOW
        )
        store.ledger.add_countersignature(first, peer, PEER_PUBLIC)
        store.ledger.add_countersignature(first, peer, PEER_PUBLIC)
        fill(store, 3)
        path = tmp_path / "ledger.jsonl"
        last = store.ledger.export(
            path, origin="pilot/sz", key=PUBLIC, witnesses={"sg": PEER_PUBLIC}, sign=KEY.sign, at=LATER
        )
        assert [pair[0] for pair in store.ledger.checkpoints()] == [first, last]
        report = verify_file(path, {"sz": PUBLIC, "sg": PEER_PUBLIC})
        assert (report.size, report.checkpoints, report.witnessed) == (8, 2, {"sg": 5})
        assert report.root == store.ledger.head().root.hex()

    def test_strange_checkpoints_and_countersignatures_are_refused(self, store: Store, reopen: Reopen) -> None:
        head = store.ledger.checkpoint("pilot/sz", KEY.sign, NOW)
        made = store.peers.countersign(
            head, (), origin="pilot/sz", peer_key=PUBLIC, witness="sg", sign=PEER.sign, at=NOW
        )
        with pytest.raises(IntegrityError, match="countersignature by sg"):
            store.ledger.add_countersignature(head, made, PUBLIC)
        with pytest.raises(IntegrityError, match="of pilot/sz, not of pilot/sg"):
            store.ledger.checkpoint("pilot/sg", KEY.sign, NOW)
        fill(store, 1)
        elsewhere = type(head)(head.origin, head.size, head.root, LATER.isoformat(), head.signature[::-1])
        signed = type(made)("sg", made.at, PEER.sign(made.message(elsewhere)))
        with pytest.raises(IntegrityError, match="no checkpoint of size 0"):
            store.ledger.add_countersignature(elsewhere, signed, PEER_PUBLIC)
        assert [len(below) for _, below in store.ledger.checkpoints()] == [0]


class TestPeers:
    def test_growth_is_stored_and_a_fork_is_not(self, store: Store, reopen: Reopen) -> None:
        def witness(head: Any, proof: tuple[bytes, ...]) -> None:
            keys: dict[str, Any] = {"origin": "pilot/sz", "peer_key": PUBLIC, "witness": "sg", "sign": PEER.sign}
            store.peers.countersign(head, proof, at=NOW, **keys)

        assert store.peers.seen("pilot/sz") is None
        fill(store, 3)
        old = store.ledger.checkpoint("pilot/sz", KEY.sign, NOW)
        witness(old, ())
        fill(store, 4)
        new = store.ledger.checkpoint("pilot/sz", KEY.sign, NOW)
        with pytest.raises(IntegrityError, match="does not extend"):
            witness(new, ())
        store = reopen()
        seen = store.peers.seen("pilot/sz")
        assert seen is not None and seen.size == 3
        witness(new, store.ledger.consistency_proof(seen.size, new.size))
        with pytest.raises(IntegrityError, match="went back from 7 records to 3"):
            witness(old, ())
        assert reopen().peers.heads() == [new]


class TestPeople:
    def test_openings_come_back_in_order(self, store: Store, reopen: Reopen) -> None:
        one, two = some_people(1, 2, 3), some_people(2, 3, 1 << 127)
        for study, members in [("a", one), ("b", two), ("c", one)]:
            made = store.openings.add_opening(
                "gbsg2", study=study, session=SESSION, analyses=["km", "cox"], at=NOW, people=members
            )
            assert made == digest_bytes(members)
        store.openings.add_opening("other", study="d", session=SESSION, analyses=[], at=NOW, people=b"")
        found = list(reopen().openings.openings("gbsg2"))
        assert [(o.study, o.people) for o in found] == [("a", one), ("b", two), ("c", one)]
        assert found[0].analyses == ("km", "cox") and found[0].at == NOW.isoformat()
        assert found[0].population == found[2].population != found[1].population
        store = reopen()
        assert [o.people for o in store.openings.openings("other")] == [b""]
        assert list(store.openings.openings("unknown")) == []

    def test_an_opening_may_be_added_while_others_are_read(self, store: Store) -> None:
        def add(study: str) -> None:
            store.openings.add_opening("d", study=study, session="", analyses=[], at=NOW, people=some_people(1))

        add("first")
        for count, _ in enumerate(store.openings.openings("d")):
            if count < 2:
                add(f"more {count}")
        assert [o.study for o in store.openings.openings("d")] == ["first", "more 0", "more 1"]

    def test_a_population_must_be_sorted_and_distinct(self, store: Store) -> None:
        one, two = (number.to_bytes(16, "big") for number in (1, 2))
        for wrong in [two + one, one + one, one + b"\x00", b"short"]:
            with pytest.raises(InputError):
                store.openings.add_opening("d", study="s", session="", analyses=[], at=NOW, people=wrong)
        assert list(store.openings.openings("d")) == []

    def test_people_are_counted_once_a_year(self, store: Store, reopen: Reopen) -> None:
        counters = store.counters
        assert counters.count(2026, "sensitive") == 0
        assert counters.count(2026, "sensitive", also=some_people(1, 2)) == 2
        counters.add_people(2026, "sensitive", some_people(1, 2, 3))
        counters.add_people(2026, "sensitive", [n.to_bytes(16, "big") for n in (3, 4, 4)])
        counters.add_people(2026, "sensitive", b"")
        counters.add_people(2027, "sensitive", some_people(9))
        counters = reopen().counters
        assert counters.count(2026, "sensitive") == 4
        assert counters.count(2026, "sensitive", also=some_people(4, 5)) == 5
        assert counters.count(2026, "sensitive") == 4
        assert counters.count(2027, "sensitive") == 1
        assert counters.count(2025, "sensitive") == 0

    def test_a_sensitive_person_is_not_counted_as_non_sensitive_too(self, store: Store) -> None:
        store.counters.add_people(2026, "non_sensitive", some_people(1, 2, 3))
        assert store.counters.count(2026, "non_sensitive", also=some_people(4)) == 4
        store.counters.add_people(2026, "sensitive", some_people(3, 4))
        assert store.counters.count(2026, "non_sensitive", also=some_people(4)) == 2
        assert store.counters.count(2026, "sensitive") == 2
        with pytest.raises(InputError, match="sensitive or non_sensitive"):
            store.counters.count(2026, "secret")  # type: ignore[arg-type]

    def test_many_people(self, store: Store) -> None:
        rng = np.random.default_rng(7)  # noqa: TID251
        members = rng.bytes(16 * 50_000)
        store.counters.add_people(2026, "non_sensitive", members)
        store.counters.add_people(2026, "non_sensitive", members[: 16 * 10])
        assert store.counters.count(2026, "non_sensitive", also=members[16:32]) == 50_000

    def test_the_year_is_that_of_shanghai(self) -> None:
        assert counting_year(dt.datetime(2026, 12, 31, 15, 59, 59, tzinfo=dt.UTC)) == 2026
        assert counting_year(dt.datetime(2026, 12, 31, 16, 0, 0, tzinfo=dt.UTC)) == 2027
        with pytest.raises(InputError, match="time zone"):
            counting_year(NOW.replace(tzinfo=None))


class TestJournal:
    def test_a_round_is_begun_once_and_in_order(self, store: Store, reopen: Reopen) -> None:
        for epoch, number in [(1, 1), (1, 2), (1, 5), (2, 1)]:
            store.journal.begin_round(SESSION, epoch, number)
        store.journal.begin_round("aa" * 16, 1, 1)
        journal = reopen().journal
        assert journal.latest(SESSION) == (2, 1)
        assert journal.latest("bb" * 16) is None
        for epoch, number in [(1, 1), (1, 3), (1, 5), (1, 9), (2, 1), (2, 0)]:
            with pytest.raises(IntegrityError, match="was begun before"):
                journal.begin_round(SESSION, epoch, number)
        with pytest.raises(InputError):
            journal.begin_round(SESSION, 3, -1)
        journal.begin_round(SESSION, 2, 2)

    def test_released_seeds_are_found_by_dataset_and_population(self, store: Store, reopen: Reopen) -> None:
        def release(session: str, number: int, participants: list[str], dataset: str, population: str) -> None:
            store.journal.begin_round(session, 1, number)
            store.journal.seed_released(
                session, 1, number, participants=participants, dataset=dataset, population=population, study=SHA
            )

        release(SESSION, 1, ["c", "a", "b"], "gbsg2", "sha256:p")
        release(SESSION, 2, ["a", "b", "c"], "gbsg2", "sha256:q")
        release("ff" * 16, 1, ["a", "b"], "other", "sha256:p")
        release("ff" * 16, 2, ["a", "b"], "other", "sha256:r")
        journal = reopen().journal
        first = SeedReleased(SESSION, 1, 1, "gbsg2", "sha256:p", SHA, ("a", "b", "c"))
        assert journal.released_sets(dataset="gbsg2")[0] == first
        assert [(s.session[:2], s.round) for s in journal.released_sets(dataset="gbsg2")] == [("0f", 1), ("0f", 2)]
        assert [(s.session[:2], s.round) for s in journal.released_sets(population="sha256:p")] == [
            ("0f", 1),
            ("ff", 1),
        ]
        assert len(journal.released_sets(dataset="gbsg2", population="sha256:p")) == 3
        assert journal.released_sets(dataset="none") == []
        with pytest.raises(InputError):
            journal.released_sets()

    def test_a_seed_is_released_to_one_set_only(self, store: Store) -> None:
        said: dict[str, Any] = {"dataset": "d", "population": "sha256:p", "study": SHA}
        with pytest.raises(IntegrityError, match="never begun"):
            store.journal.seed_released(SESSION, 1, 1, participants=["a", "b", "c"], **said)
        store.journal.begin_round(SESSION, 1, 1)
        store.journal.seed_released(SESSION, 1, 1, participants=["a", "b", "c"], **said)
        store.journal.seed_released(SESSION, 1, 1, participants=["c", "b", "a"], **said)
        others: list[dict[str, Any]] = [{"participants": ["a", "b"]}, {"population": "sha256:q"}]
        for other in others:
            with pytest.raises(IntegrityError, match="released to others"):
                store.journal.seed_released(SESSION, 1, 1, **{"participants": ["a", "b", "c"], **said, **other})
        assert len(store.journal.released_sets(dataset="d")) == 1

    def test_it_serves_one_session_as_the_port_of_an_engine(self, store: Store) -> None:
        port: Journal = SessionJournal(store.journal, SESSION, ("a", "b", "c"), "d", "sha256:p", SHA)
        port.begin_round(1, 1)
        port.seed_released(1, 1)
        with pytest.raises(IntegrityError):
            port.begin_round(1, 1)
        assert store.journal.released_sets(dataset="d")[0].participants == ("a", "b", "c")


class TestStudies:
    def test_applications_and_approvals_come_back(self, store: Store, reopen: Reopen) -> None:
        study, plan = {"id": "研究", "n": 1.5}, {"verdict": "HOLD", "roles": ["DS"]}
        name = digest({"study": study, "plan": plan})
        store.applications.add_application(name, study=study, plan=plan)
        store.applications.add_application(name, study=study, plan=plan)
        with pytest.raises(IntegrityError, match="another study"):
            store.applications.add_application(name, study={}, plan=plan)
        plan |= {"verdict": "PERMIT_WITH_CONDITIONS"}  # a document came: the application is the same
        store.applications.add_application(name, study=study, plan=plan)
        approvals = [{"role": role, "signature": "00"} for role in ("DS", "DPO", "DS")]
        made = [store.applications.add_approval(name, approval) for approval in approvals]
        assert made[0] == made[2] == digest(approvals[0])
        with pytest.raises(InputError, match="no application"):
            store.applications.add_approval(SHA, approvals[0])
        found = reopen().applications.application(name)
        assert found is not None
        assert (found.study, found.plan, found.approvals) == (study, plan, tuple(approvals[:2]))
        store = reopen()
        assert store.applications.application(SHA) is None
        assert store.applications.digests() == [name]

    def test_sessions_move_until_they_end(self, store: Store, reopen: Reopen) -> None:
        store.sessions.start(SESSION, study=SHA, lead="sz", state="proposed", at=NOW)
        store.sessions.start("aa" * 16, study=SHA, lead="sg", state="proposed", at=LATER)
        with pytest.raises(IntegrityError, match="exists already"):
            store.sessions.start(SESSION, study=SHA, lead="sz", state="proposed", at=NOW)
        store.sessions.move(SESSION, "running")
        error = PeerErrorBody
        store.sessions.move(SESSION, "interrupted", ended=LATER, error=error)
        with pytest.raises(IntegrityError, match="is not running"):
            store.sessions.move(SESSION, "running")
        with pytest.raises(IntegrityError, match="is not running"):
            store.sessions.move("bb" * 16, "running")
        sessions = reopen().sessions
        row = sessions.session(SESSION)
        assert row is not None
        assert (row.state, row.lead, row.started, row.ended) == (
            "interrupted",
            "sz",
            NOW.isoformat(),
            LATER.isoformat(),
        )
        assert row.error == error
        assert sessions.session("bb" * 16) is None
        assert [row.id for row in sessions.sessions()] == [SESSION, "aa" * 16]
        assert [row.id for row in sessions.sessions(running=True)] == ["aa" * 16]

    def test_a_session_releases_once(self, store: Store, reopen: Reopen) -> None:
        body = b'{"results":{}}'
        made = store.releases.add_release(SESSION, study=SHA, plan=SHA, body=body, at=NOW)
        assert (
            made == digest_bytes(body) == store.releases.add_release(SESSION, study=SHA, plan=SHA, body=body, at=LATER)
        )
        with pytest.raises(IntegrityError, match="something else"):
            store.releases.add_release(SESSION, study=SHA, plan=SHA, body=b"{}", at=NOW)
        store.releases.add_release("aa" * 16, study=SHA, plan=SHA, body=b"{}", at=LATER)
        releases = reopen().releases
        found = releases.release(SESSION)
        assert found is not None and (found.body, found.digest, found.at) == (body, made, NOW.isoformat())
        assert releases.release("bb" * 16) is None
        assert [row.session for row in releases.releases(SHA)] == [SESSION, "aa" * 16]


PeerErrorBody = {"code": "peer.silent", "exit": 5, "text": "sg is silent.", "todo": ""}
