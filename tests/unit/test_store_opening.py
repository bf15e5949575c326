"""Opening a store: addresses, tables, rights, the site's secret."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_mock_engine
from sqlalchemy.engine.mock import MockConnection

from xbcompute.core.errors import InputError, IntegrityError
from xbcompute.core.secret import Secret
from xbcompute.node.store import open_store
from xbcompute.node.store.people import keyed_digests, people, size
from xbcompute.node.store.schema import METADATA
from xbcompute.node.store.site_key import site_key


def test_the_migrations_make_exactly_the_tables_of_the_schema(tmp_path: Path) -> None:
    with open_store(tmp_path / "node.db") as store, store.database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_every_table_can_be_made_in_postgresql() -> None:
    said: list[str] = []
    engine: MockConnection = create_mock_engine(
        "postgresql+psycopg://", lambda sql, *_, **__: said.append(str(sql.compile(engine)))
    )
    METADATA.create_all(engine, checkfirst=False)
    assert sum("CREATE TABLE" in sql for sql in said) == len(METADATA.tables)
    assert "BYTEA" in "".join(said)


def test_commits_reach_the_disk_and_foreign_keys_hold(tmp_path: Path) -> None:
    with open_store(f"sqlite:///{tmp_path}/node.db") as store, store.database.read() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in ("synchronous", "foreign_keys")
        }
        assert found == {"synchronous": 2, "foreign_keys": 1}
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        with open_store(tmp_path / "node.db") as store:
            store.site_key()
            store.journal.begin_round("00" * 16, 1, 1)
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    finally:
        os.umask(mask)
    assert modes == dict.fromkeys(["node.db", "node.db-shm", "node.db-wal", "site.key"], 0o600)


def test_a_folder_with_strange_characters_will_do(tmp_path: Path) -> None:
    folder = tmp_path / "100% 医院 #1?"
    folder.mkdir()
    with open_store(folder / "node.db") as store:
        assert store.ledger.head().size == 0
    assert (folder / "node.db").exists()


@pytest.mark.parametrize(
    ("url", "match"),
    [
        ("node.db", "not a database URL"),
        ("mysql://host/db", "not mysql"),
        ("sqlite://", "memory"),
        ("sqlite:///:memory:", "memory"),
        ("postgresql+nothing://host/db", "folder|driver"),
    ],
)
def test_other_addresses_are_refused(url: str, match: str) -> None:
    with pytest.raises(InputError, match=match):
        open_store(url)


def test_a_missing_driver_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no driver for a postgresql store is installed.*xbcompute\[postgres\]"):
        open_store("postgresql+nothing://host/db", folder=tmp_path)


def test_a_missing_folder_and_a_file_that_is_no_database_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"node.db cannot be made"):
        open_store(tmp_path / "none" / "node.db")
    (tmp_path / "text.db").write_text("a text that is longer than the header of a database file, " * 20)
    with pytest.raises(IntegrityError, match="not a database"):
        open_store(tmp_path / "text.db")


def test_a_store_of_a_later_release_is_refused_and_left_alone(tmp_path: Path) -> None:
    with open_store(tmp_path / "node.db") as store, store.database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(InputError, match=r"version 9999, this release knows up to 0001"):
        open_store(tmp_path / "node.db")


def test_the_site_key_is_made_once(tmp_path: Path) -> None:
    with open_store(tmp_path / "node.db") as store:
        key = store.site_key()
        assert len(key.expose()) == 32
        assert store.site_key().expose() == key.expose()
    with open_store(tmp_path / "node.db") as store:
        assert store.site_key().expose() == key.expose()
    assert [path.name for path in tmp_path.glob("*site*")] == ["site.key"]
    other = tmp_path / "other"
    other.mkdir()
    assert site_key(other).expose() != key.expose()


def test_a_site_key_that_is_open_or_damaged_is_refused(tmp_path: Path) -> None:
    site_key(tmp_path)
    path = tmp_path / "site.key"
    path.chmod(0o640)
    with pytest.raises(IntegrityError, match=r"may be read by others.*chmod 600"):
        site_key(tmp_path)
    path.chmod(0o600)
    for wrong in (b"", b"short", bytes(33)):
        path.write_bytes(wrong)
        with pytest.raises(IntegrityError, match="does not hold 32 bytes"):
            site_key(tmp_path)
    with pytest.raises(InputError, match="cannot be made"):
        site_key(tmp_path / "none")


def test_digests_of_people_are_keyed_distinct_and_sorted() -> None:
    one, two = Secret(bytes(32)), Secret(bytes([1]) * 32)
    made = keyed_digests(one, ["p3", "p1", "p2", "p1"])
    assert size(made) == 3
    assert made == people(made) == keyed_digests(one, ["p1", "p2", "p3"])
    assert made != keyed_digests(two, ["p1", "p2", "p3"])
    assert keyed_digests(one, ["p1"]) in {made[i : i + 16] for i in (0, 16, 32)}
    assert keyed_digests(one, []) == b""


def test_people_ending_in_zero_bytes_stay_apart() -> None:
    parts = [b"\x01" + bytes(15), b"\x01\x00\x01" + bytes(13), bytes(16), bytes(15) + b"\x01"]
    made = people(parts)
    assert [made[i : i + 16] for i in range(0, 64, 16)] == sorted(parts)
    with pytest.raises(InputError, match="16 bytes"):
        people([b"short"])


def test_the_revision_that_skips_migrating_is_the_newest_migration() -> None:
    from alembic.script import ScriptDirectory

    from xbcompute.node.store.migrate import _config
    from xbcompute.node.store.revision import HEAD

    assert ScriptDirectory.from_config(_config()).get_current_head() == HEAD
