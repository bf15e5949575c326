"""Brings a database to the tables of this release."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError

from xbcompute.core.errors import InputError
from xbcompute.node.store.database import Database


def _config() -> Config:
    config = Config()
    folder = Path(__file__).with_name("migrations")
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.set_main_option("path_separator", "newline")
    return config


def upgrade(database: Database) -> None:
    """Apply every migration the database lacks, in one transaction.

    Raises:
        InputError: a later release wrote the database.
        IntegrityError: it cannot be written.
    """
    config = _config()
    head = ScriptDirectory.from_config(config).get_current_head()
    with database.read() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    if current == head:
        return
    with database.write() as connection:
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except CommandError:
            raise InputError(
                "store.version",
                f"the store has the tables of version {current}, this release knows up to {head}.",
                todo="Use the release of xbcompute that wrote it, or a later one.",
            ) from None
