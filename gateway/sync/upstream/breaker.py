"""Whether a service that failed again and again is asked at all: one state in the database for all processes.

After `FAILURES` failures in a row nobody asks for `PAUSE`; then one caller tries, and its answer closes the breaker.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from gateway.store.engine import Store

FAILURES = 5
PAUSE = 60

_ALLOW = """
    SELECT open_until IS NULL FROM upstream_state WHERE name = %s
"""
_TRY = f"""
    UPDATE upstream_state SET open_until = now() + interval '{PAUSE} seconds', changed_at = now()
    WHERE name = %s AND open_until <= now() RETURNING name
"""
_SUCCEEDED = """
    UPDATE upstream_state SET failures = 0, open_until = NULL, changed_at = now()
    WHERE name = %s AND (failures > 0 OR open_until IS NOT NULL)
"""
_FAILED = f"""
    INSERT INTO upstream_state AS s (name, failures) VALUES (%s, 1)
    ON CONFLICT (name) DO UPDATE SET failures = s.failures + 1, changed_at = now(),
        open_until = CASE WHEN s.failures + 1 >= {FAILURES} THEN now() + interval '{PAUSE} seconds' END
"""
_STATES = text("SELECT name, failures, open_until > now() AS open, changed_at FROM upstream_state ORDER BY name")


@dataclass(frozen=True, slots=True)
class State:
    """Failures in a row; ``open``: the service is not asked now."""

    failures: int
    open: bool
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Breaker:
    """The breaker of one service."""

    store: Store
    name: str

    def allow(self) -> bool:
        with self.store.driver() as driver:
            row = driver.execute(_ALLOW, (self.name,)).fetchone()
            if row is None or row[0]:
                return True
            return driver.execute(_TRY, (self.name,)).fetchone() is not None

    def succeeded(self) -> None:
        with self.store.driver() as driver:
            driver.execute(_SUCCEEDED, (self.name,))

    def failed(self) -> None:
        with self.store.driver() as driver:
            driver.execute(_FAILED.encode(), (self.name,))


def states(connection: Connection) -> Mapping[str, State]:
    """By service; one that never failed is not among them."""
    rows = connection.execute(_STATES)
    return {row[0]: State(row[1], bool(row[2]), row[3]) for row in rows}
