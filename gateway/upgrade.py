"""Brings a database to what this program needs; the same for `migrate`, `restore` and `demo`."""

from __future__ import annotations

from gateway.nsi import editions
from gateway.settings import Settings
from gateway.store import installation, migrate
from gateway.store.place import Place


def upgrade(place: Place, settings: Settings) -> bool:
    """Schema, grants, choices of the installation, shipped dictionaries. True if a step of the schema ran."""
    changed = migrate.upgrade(place.owner_url, place.app_role)
    with place.owner().begin() as connection:
        installation.settle(connection, settings)
        editions.ship(connection)
    return changed
