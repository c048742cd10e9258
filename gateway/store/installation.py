"""Choices made once for a database: a later setting that differs is refused, because the data already follows them."""

from __future__ import annotations

from sqlalchemy import Connection, select

from gateway.errors import GatewayError
from gateway.settings import Settings
from gateway.store.tables import installation

CHOICES = ("observation_key",)


def settle(connection: Connection, settings: Settings) -> None:
    """Keeps the choices at the first migration (owner role), checks them later."""
    stored = {row.name for row in connection.execute(select(installation.c.name))}
    for name in CHOICES:
        if name not in stored:
            connection.execute(installation.insert().values(name=name, value=str(getattr(settings, name))))
    check(connection, settings)


def check(connection: Connection, settings: Settings) -> None:
    """Raises ``store.installation`` when a setting in force differs from the stored choice."""
    for row in connection.execute(select(installation).where(installation.c.name.in_(CHOICES))):
        if str(getattr(settings, row.name)) != row.value:
            raise GatewayError("store.installation", name=row.name, stored=row.value)
