"""Fixtures of the acceptance tests: a running gateway, and databases on a server of the test's own."""

from __future__ import annotations

import psycopg

from gateway.settings import Settings
from gateway.store.embedded import Server, create_database
from gateway.store.place import Place
from gateway.upgrade import upgrade
from tests.serving import gateway, running

__all__ = ["gateway", "migrated", "running"]


def migrated(server: Server, name: str = "migrated") -> str:
    """The name of a migrated database with the product's dictionaries on a server of the test's own."""
    with psycopg.connect(server.admin_url(), autocommit=True) as admin:
        create_database(admin, name)
    upgrade(Place(server.url(name), server.owner_url_of(name)), Settings())
    return name
