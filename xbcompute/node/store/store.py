"""A node's store: one database and the secret beside it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from xbcompute.core.errors import InputError
from xbcompute.core.secret import Secret
from xbcompute.node.store.database import Database, read_url
from xbcompute.node.store.journal import RoundJournal
from xbcompute.node.store.ledger import LedgerStore
from xbcompute.node.store.peers import PeerHeads
from xbcompute.node.store.people import Counters, Openings
from xbcompute.node.store.revision import current
from xbcompute.node.store.site_key import site_key
from xbcompute.node.store.studies import Applications, Releases, Sessions


@dataclass(frozen=True)
class Store:
    """Everything a node keeps, by subject. Methods block; each is one transaction, durable when it returns."""

    database: Database
    folder: Path
    ledger: LedgerStore
    peers: PeerHeads
    openings: Openings
    counters: Counters
    journal: RoundJournal
    applications: Applications
    sessions: Sessions
    releases: Releases

    def site_key(self) -> Secret[bytes]:
        """This site's secret for digests of people: 32 random bytes, made once."""
        return site_key(self.folder)

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_store(url: str | Path, *, folder: Path | None = None) -> Store:
    """The store at a path (an SQLite file), ``sqlite:///…`` or ``postgresql://…``, its tables brought up to date.

    ``folder`` holds the site's secret; it defaults to the SQLite file's own and must be named for PostgreSQL.

    Raises:
        InputError: the address is wrong, its folder is missing, or a later release wrote it.
        IntegrityError: it cannot be read or written.
    """
    address = read_url(url)
    if address.get_backend_name() == "sqlite":
        path = Path(str(address.database)).absolute()
        address = address.set(database=str(path))
        folder = folder or path.parent
        _touch(path)
    if folder is None or not folder.is_dir():
        raise InputError("store.folder", "the folder for the site's secret does not exist.", todo="Make or name it.")
    database = Database(address)
    try:
        if not current(database):
            from xbcompute.node.store.migrate import upgrade  # alembic is slow to import

            upgrade(database)
    except BaseException:
        database.close()
        raise
    return Store(
        database=database,
        folder=folder,
        ledger=LedgerStore(database),
        peers=PeerHeads(database),
        openings=Openings(database),
        counters=Counters(database),
        journal=RoundJournal(database),
        applications=Applications(database),
        sessions=Sessions(database),
        releases=Releases(database),
    )


def _touch(path: Path) -> None:
    """Make the file with its owner's rights only; SQLite gives its journal files the same."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise InputError("store.folder", f"the store {path.name} cannot be made or opened: {error.strerror}.") from None
