"""Which revision of the tables this release works with."""

from __future__ import annotations

from typing import Final

from sqlalchemy import inspect, text

from xbcompute.node.store.database import Database

HEAD: Final = "0001"
"""The newest migration; a test holds it against the migrations themselves."""


def current(database: Database) -> bool:
    """Whether the database has exactly this release's tables already."""
    with database.read() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return False
        return list(connection.execute(text("SELECT version_num FROM alembic_version")).scalars()) == [HEAD]
