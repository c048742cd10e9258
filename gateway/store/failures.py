"""Failures of the database as named refusals, and which of them a second try can mend."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from gateway.errors import GatewayError
from gateway.store.engine import Driver, Store

T = TypeVar("T")

RETRY_BUSY = 1
RETRY_DATABASE = 5

_CONFLICTS = frozenset({"40001", "40P01", "23P01", "23505"})
"""Serialization failure, deadlock, exclusion and unique violation: another call was faster; a new try sees its rows."""

_BUSY = frozenset({"23P01", "40001", "40P01", "55P03", "57014"})
"""Also an exclusion constraint met again and again, lock timeout and statement timeout."""

_DISK_FULL = "53100"

_DOWN_CLASSES = ("08", "53", "57P", "58")
_DOWN = frozenset({"25006", "25P03", "25P04", "28000", "28P01", "3D000", "55000", "XX000"})
"""Read-only or ended sessions, a role or database that is gone, a server that is not itself."""


def _origin(error: BaseException) -> BaseException:
    return error.orig if isinstance(error, DBAPIError) and error.orig is not None else error


def _sqlstate(error: BaseException) -> str | None:
    origin = _origin(error)
    return origin.sqlstate if isinstance(origin, psycopg.Error) else None


def is_conflict(error: BaseException) -> bool:
    """Whether another transaction got in the way, so that the same work may succeed now."""
    return _sqlstate(error) in _CONFLICTS


def is_lost(error: BaseException) -> bool:
    """Whether the connection broke, so that nothing is known of the transaction."""
    origin, state = _origin(error), _sqlstate(error)
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    broken = isinstance(origin, psycopg.OperationalError | psycopg.InterfaceError)
    return broken and (state is None or state.startswith(("08", "57P")))


def named(error: BaseException) -> GatewayError | None:
    """The refusal that a failure of the database means for the caller; ``None`` for what is a fault of the program.

    ``server.busy``: locks, timeouts, no free connection. ``server.disk-full``: no room for rows. ``server.database``: no
    connection, a server that starts or stops.
    """
    if isinstance(error, GatewayError):
        return error
    if isinstance(error, PoolTimeout):
        return GatewayError("server.busy", retry_after=RETRY_BUSY)
    state = _sqlstate(error)
    if state == _DISK_FULL:
        return GatewayError("server.disk-full")
    if state in _BUSY:
        return GatewayError("server.busy", retry_after=RETRY_BUSY)
    if is_lost(error) or (state is not None and (state.startswith(_DOWN_CLASSES) or state in _DOWN)):
        return GatewayError("server.database", retry_after=RETRY_DATABASE)
    return None


def renew(store: Store) -> None:
    """Drops the pooled connections after one was lost: the server has been restarted, the others are as dead."""
    store.engine.dispose()


def on_driver(store: Store, work: Callable[[Driver], T]) -> T:
    """Single statements in autocommit, once more on a new connection if the first was lost; failures by name."""
    try:
        try:
            with store.driver() as driver:
                return work(driver)
        except psycopg.Error as error:
            if not is_lost(error):
                raise
        renew(store)
        with store.driver() as driver:
            return work(driver)
    except Exception as error:
        refusal = named(error)
        if refusal is None or refusal is error:
            raise
        raise refusal from error
