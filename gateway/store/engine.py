"""The pool of connections and the two ways features use it: a transaction, or one statement that commits itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from sqlalchemy import Connection, create_engine
from sqlalchemy.pool import NullPool

_KEEPALIVE = {"keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 60_000}
"""A server that vanished without a word is noticed within a minute (seconds; the last in milliseconds)."""

Driver = psycopg.Connection[tuple[Any, ...]]


def sqlalchemy_url(url: str) -> str:
    """The URL of libpq as SQLAlchemy with psycopg 3 wants it."""
    for scheme in ("postgresql://", "postgres://"):
        if url.startswith(scheme):
            return "postgresql+psycopg://" + url[len(scheme) :]
    return url


class Store:
    """One database under one role. Cheap to make, safe to share between threads; make it after a fork."""

    def __init__(self, url: str, *, size: int = 8, timeout: float = 10.0, zone: str = "Europe/Moscow") -> None:
        self.url = url
        options = f"-c TimeZone={zone} -c DateStyle=ISO"
        args: dict[str, Any] = {
            "connect_args": {"options": options, "connect_timeout": 5, "prepare_threshold": 2, **_KEEPALIVE}
        }
        if size:
            args |= {"pool_size": size, "max_overflow": 0, "pool_timeout": timeout, "pool_use_lifo": True}
        else:
            args |= {"poolclass": NullPool}
        # its error texts would carry values of rows
        self.engine = create_engine(sqlalchemy_url(url), hide_parameters=True, **args)

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """A transaction: commits when the block ends, rolls back when it raises."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def driver(self) -> Iterator[Driver]:
        """A pooled psycopg connection in autocommit, for single statements on hot paths and for COPY."""
        pooled = self.engine.raw_connection()
        try:
            connection: Driver = pooled.driver_connection  # type: ignore[assignment]
            connection.autocommit = True
            try:
                yield connection
            finally:
                if not connection.closed:
                    if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                        connection.rollback()
                    connection.autocommit = False
        except psycopg.OperationalError:
            pooled.invalidate()
            raise
        finally:
            pooled.close()

    def close(self) -> None:
        self.engine.dispose()


def driver_of(connection: Connection) -> Driver:
    """The psycopg connection under a SQLAlchemy one, inside the same transaction."""
    driver: Driver = connection.connection.driver_connection  # type: ignore[assignment]
    return driver
