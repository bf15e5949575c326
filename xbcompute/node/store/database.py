"""One database: durable transactions, and errors that say what to do and hold no data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from xbcompute.core.errors import InputError, IntegrityError

BUSY_MS = 5_000
"""How long a writer waits for another one, milliseconds."""
_LOCK = int.from_bytes(b"xb-store")


class Database:
    """An engine with the two kinds of transaction this project uses.

    Writers follow one another: SQLite (WAL, ``synchronous=FULL``) locks the file, PostgreSQL an advisory lock. A write
    transaction that returned is on disk; one that raised left nothing behind.
    """

    def __init__(self, url: URL) -> None:
        self.url = url
        options: dict[str, Any] = {"hide_parameters": True}
        try:
            self.engine = create_engine(url, **options)
        except (ArgumentError, SQLAlchemyError, ImportError):
            raise InputError(
                "store.driver",
                f"no driver for a {url.get_backend_name()} store is installed.",
                todo='Install "xbcompute[postgres]" or use a sqlite:/// address.',
            ) from None
        if url.get_backend_name() == "sqlite":
            _prepare_sqlite(self.engine)
            self._reader, self._writer = self.engine, self.engine.execution_options(writes=True)
        else:
            _prepare_postgresql(self.engine)
            self._reader = self.engine.execution_options(isolation_level="REPEATABLE READ")
            # Not serializable: the snapshot would be older than the lock that the writer waited for.
            self._writer = self.engine.execution_options(isolation_level="READ COMMITTED", writes=True)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that commits, durably, when the block ends and is undone when it raises.

        Raises:
            IntegrityError: ``store.write``: the disk is full, the store is locked, or it cannot be written.
        """
        try:
            with self._writer.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise IntegrityError("store.write", f"the store was not written: {_reason(error)}.", todo=_TODO) from None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the store.

        Raises:
            IntegrityError: ``store.read``: it cannot be read.
        """
        try:
            with self._reader.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            raise IntegrityError("store.read", f"the store was not read: {_reason(error)}.", todo=_TODO) from None

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


_TODO = "Nothing was changed: free the disk, stop the other process or mend the store, and start again."
_REASONS = {
    "disk is full": "the disk is full",
    "locked": "another process holds it",
    "lock timeout": "another process holds it",
    "readonly": "it is read-only",
    "malformed": "it is damaged",
    "not a database": "it is not a database",
    "disk i/o": "the disk failed",
    "could not connect": "its server does not answer",
    "connection": "its server does not answer",
    "unable to open": "it cannot be opened",
}


def _reason(error: SQLAlchemyError) -> str:
    """Fixed words: the driver's own text may hold values."""
    text = str(error.orig).lower() if isinstance(error, DBAPIError) else ""
    for part, reason in _REASONS.items():
        if part in text:
            return reason
    return f"the database answered with {type(error).__name__}"


def _prepare_sqlite(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        # The driver's own transaction handling opens none before a SELECT: begin and commit are ours.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (f"busy_timeout={BUSY_MS}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # Taking the lock first avoids the upgrade of a read lock, which fails instead of waiting.
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _prepare_postgresql(engine: Engine) -> None:
    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute(f"SET lock_timeout = {BUSY_MS}")
        cursor.execute("SET synchronous_commit = on")
        cursor.close()
        connection.commit()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if connection.get_execution_options().get("writes", False):
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")


def read_url(url: str | Path) -> URL:
    """A database address; a path means an SQLite file.

    Raises:
        InputError: not an address, or one of neither SQLite nor PostgreSQL, or an SQLite store without a file.
    """
    if isinstance(url, Path):
        return URL.create("sqlite", database=str(url))
    try:
        read = make_url(url)
    except ArgumentError:
        raise InputError(
            "store.url", "the address of the store is not a database URL.", todo="Write sqlite:///node.db."
        ) from None
    if read.get_backend_name() not in {"sqlite", "postgresql"}:
        raise InputError("store.url", f"a store is SQLite or PostgreSQL, not {read.get_backend_name()}.")
    if read.get_backend_name() == "sqlite" and read.database in {None, "", ":memory:"}:
        raise InputError("store.url", "a store in memory would forget what it must not.", todo="Name a file.")
    return read
