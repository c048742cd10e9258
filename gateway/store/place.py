"""Where the database is: the one of the settings, or the embedded server of the data folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy.engine import make_url

from gateway.settings import Settings
from gateway.store.embedded import APP, Server
from gateway.store.engine import Store


@dataclass(frozen=True, slots=True)
class Place:
    """Addresses of the two roles. ``owner_url`` is that of the application where no other was set."""

    app_url: str
    owner_url: str
    server: Server | None = None

    @property
    def app_role(self) -> str:
        return make_url(self.app_url).username or APP

    @property
    def has_owner(self) -> bool:
        return self.owner_url != self.app_url

    def app(self, size: int = 0) -> Store:
        """The database for the application's role; without a size each transaction has a connection of its own."""
        return Store(self.app_url, size=size)

    def owner(self, size: int = 0) -> Store:
        return Store(self.owner_url, size=size)


@contextmanager
def open_place(settings: Settings) -> Iterator[Place]:
    """The database while the block runs. An embedded server is started or joined, and stopped by its last user."""
    if settings.database_url:
        yield Place(settings.database_url, settings.database_owner_url or settings.database_url)
        return
    with Server(settings.data_dir) as server:
        yield Place(server.url(), server.owner_url, server)
