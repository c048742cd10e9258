"""Clients of the upstream services as the settings describe them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from gateway.errors import GatewayError
from gateway.settings import Settings
from gateway.store.engine import Store
from gateway.sync.upstream.breaker import Breaker
from gateway.sync.upstream.ferzl import Ferzl
from gateway.sync.upstream.ident import Ident
from gateway.sync.upstream.wire import ATTEMPTS, Wire

PEOPLE, BULK, SEARCH, IDENT = "ferzl", "ferzl-bulk", "ferzl-search", "ident"
"""Names of breakers: a search waits for seconds and gives up sooner than long work, so it has one of its own."""


def ferzl(settings: Settings, store: Store, *, pause: Callable[[float], object] = time.sleep) -> Ferzl:
    """The client of ФЕРЗЛ for long work. Raises ``upstream.off``."""
    return _ferzl(settings, store, PEOPLE, float(settings.ferzl_seconds), ATTEMPTS, pause)


def search(settings: Settings, store: Store) -> Ferzl:
    """The client of ФЕРЗЛ for a search at the edge: one attempt within ``search_seconds``. Raises ``upstream.off``."""
    return _ferzl(settings, store, SEARCH, settings.search_seconds, 1, time.sleep)


def _ferzl(
    settings: Settings, store: Store, name: str, wait: float, attempts: int, pause: Callable[[float], object]
) -> Ferzl:
    if not settings.ferzl_url:
        raise GatewayError("upstream.off")
    token = _token(settings)

    def wire(name: str, url: str) -> Wire:
        return Wire(
            url,
            Breaker(store, name),
            connect_seconds=min(5.0, wait),
            read_seconds=wait,
            token=token,
            pause=pause,
            attempts=attempts,
        )

    people = wire(name, settings.ferzl_url)
    bulk = wire(BULK, settings.ferzl_bulk_url or settings.ferzl_url)
    nobody = frozenset(settings.ferzl_nobody.replace(",", " ").split())
    return Ferzl(people, bulk, version=settings.ferzl_version, okato=settings.region_okato, nobody=nobody)


def ident(settings: Settings, store: Store, *, seconds: float) -> Ident:
    """The client of the identification service. Raises ``upstream.off``."""
    if not settings.ident_url:
        raise GatewayError("upstream.off")
    wire = Wire(
        settings.ident_url, Breaker(store, IDENT), connect_seconds=min(5.0, seconds), read_seconds=seconds, attempts=1
    )
    return Ident(wire, login=settings.ident_login, password=settings.ident_password)


def _token(settings: Settings) -> Callable[[], str | None]:
    """Read anew for each call, so that a changed file counts at once; a file that cannot be read is ``upstream.off``."""
    if not settings.ferzl_token_file:
        return lambda: settings.ferzl_token or None

    def read() -> str | None:
        try:
            return Path(settings.ferzl_token_file).read_text(encoding="ascii").strip() or None
        except (OSError, UnicodeDecodeError):
            raise GatewayError("upstream.off") from None

    return read
