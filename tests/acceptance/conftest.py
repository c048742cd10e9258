from __future__ import annotations

import psycopg

from gateway.nsi import dictionaries
from gateway.settings import Settings
from gateway.store import installation, migrate
from gateway.store.embedded import APP, Server, create_database
from gateway.store.engine import Store
from tests.serving import gateway, running

__all__ = ["gateway", "migrated", "running"]


def migrated(server: Server, name: str = "migrated") -> str:
    """The name of a migrated database with the product's dictionaries on a server of the test's own."""
    with psycopg.connect(server.admin_url(), autocommit=True) as admin:
        create_database(admin, name)
    migrate.upgrade(server.owner_url_of(name), APP)
    owner = Store(server.owner_url_of(name), size=0)
    with owner.begin() as connection:
        installation.settle(connection, Settings())
        dictionaries.ship(connection)
    owner.close()
    return name
