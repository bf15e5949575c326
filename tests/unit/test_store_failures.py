"""A killed process, a full disk, a damaged row: what was returned is there, and nothing is half there."""

from __future__ import annotations

import datetime as dt
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import event

from xbcompute.core.errors import IntegrityError
from xbcompute.node.store import Store, open_store
from xbcompute.node.store.people import people

NOW = dt.datetime(2026, 11, 24, 10, tzinfo=dt.UTC)
SESSION = "0f" * 16

CHILD = """
import datetime as dt, sys
from pathlib import Path
from xbcompute.node.store import open_store

store = open_store(Path(sys.argv[1]))
at = dt.datetime(2026, 11, 24, tzinfo=dt.timezone.utc)
seed = {"participants": ["a", "b", "c"], "dataset": "d", "population": "p", "study": "s"}
for number in range(1, 1_000_000):
    store.journal.begin_round("0f" * 16, 1, number)
    store.ledger.append_record("session", {"state": "running", "round": number}, at)
    store.journal.seed_released("0f" * 16, 1, number, **seed)
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def test_what_was_returned_survives_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    told = 0
    for line in child.stdout:
        told = int(line)
        if told == 25:
            child.send_signal(signal.SIGKILL)
            break
    told = max([told, *(int(line) for line in child.stdout if line.endswith("\n"))])
    child.stdout.close()
    assert child.wait() == -signal.SIGKILL
    with open_store(path) as store:
        latest = store.journal.latest(SESSION)
        assert latest is not None and latest[1] in {told, told + 1}
        assert store.ledger.check().size in {told, told + 1}
        assert len(store.journal.released_sets(dataset="d")) in {told, told + 1}
        with pytest.raises(IntegrityError, match="was begun before"):
            store.journal.begin_round(SESSION, 1, told)


def limit_pages(store: Store) -> None:
    """Let the database not grow any more, as on a full disk."""
    with store.database.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
    store.database.close()

    @event.listens_for(store.database.engine, "connect")
    def _limit(connection: object, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")  # type: ignore[attr-defined]


def test_a_full_disk_is_named_and_leaves_nothing_half_written(tmp_path: Path) -> None:
    with open_store(tmp_path / "node.db") as store:
        store.ledger.append_record("session", {"state": "running"}, NOW)
        limit_pages(store)
        before, written = store.ledger.head(), 0
        many = people(number.to_bytes(16, "big") for number in range(1, 20_000))
        with pytest.raises(IntegrityError, match="the disk is full") as caught:
            store.openings.add_opening("d", study="s", session=SESSION, analyses=[], at=NOW, people=many)
        assert caught.value.code == "store.write"
        assert list(store.openings.openings("d")) == []
        with pytest.raises(IntegrityError, match="the disk is full"):
            for written in range(1, 10_000):  # noqa: B007
                store.ledger.append_record("session", {"state": "running"}, NOW)
        after = store.ledger.check()
        assert after.size == before.size + written - 1
    with open_store(tmp_path / "node.db") as store:
        assert store.ledger.check() == after
        assert store.ledger.append_record("session", {"state": "closed"}, NOW) == after.size


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        ("UPDATE ledger_leaves SET salt = zeroblob(32) WHERE seq = 3", "record 3"),
        ("UPDATE ledger_leaves SET record = CAST('{}' AS BLOB) WHERE seq = 3", "record 3"),
        ("UPDATE ledger_nodes SET hash = zeroblob(32) WHERE level = 1 AND number = 1", "node 1 of level 1"),
        ("DELETE FROM ledger_nodes WHERE level = 0 AND number = 5", "record 5"),
        ("DELETE FROM ledger_leaves WHERE seq = 6", "root of its head"),
        ("DELETE FROM ledger_leaves WHERE seq = 2", "record 2"),
        ("UPDATE ledger_head SET size = 6", "frontier"),
        ("UPDATE ledger_head SET peaks = zeroblob(96)", "root of its head"),
    ],
)
def test_a_ledger_changed_on_disk_is_found(tmp_path: Path, damage: str, match: str) -> None:
    with open_store(tmp_path / "node.db") as store:
        for _ in range(7):
            store.ledger.append_record("session", {"state": "running"}, NOW)
        assert store.ledger.check().size == 7
        with store.database.write() as connection:
            connection.exec_driver_sql(damage)
        with pytest.raises(IntegrityError, match=match):
            store.ledger.check()


def test_populations_and_releases_changed_on_disk_are_found(tmp_path: Path) -> None:
    with open_store(tmp_path / "node.db") as store:
        store.openings.add_opening("d", study="s", session=SESSION, analyses=[], at=NOW, people=bytes(16))
        store.releases.add_release(SESSION, study="s", plan="p", body=b"{}", at=NOW)
        with store.database.write() as connection:
            connection.exec_driver_sql("UPDATE populations SET people = randomblob(16)")
            connection.exec_driver_sql("UPDATE releases SET body = CAST('[]' AS BLOB)")
        with pytest.raises(IntegrityError, match="population of dataset d"):
            list(store.openings.openings("d"))
        with pytest.raises(IntegrityError, match=f"release of session {SESSION}"):
            store.releases.release(SESSION)
