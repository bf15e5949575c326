"""Run by Alembic: migrations on the connection that :func:`xbcompute.node.store.migrate.upgrade` opened."""

from __future__ import annotations

from alembic import context

from xbcompute.node.store.schema import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
