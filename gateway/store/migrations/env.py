"""Alembic runs this file: the steps go over the connection that `gateway.store.migrate` hands in."""

from __future__ import annotations

from alembic import context

from gateway.store.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
