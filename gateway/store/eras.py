"""Eras: stretches of one unbroken history of a database, so that a position in the change feed means one history only.

A database that was restored, promoted, cloned or only restarted may have lost the end of its history and go on with
other changes under the same numbers. Whoever writes, issues or reads positions therefore first looks whether the era in
the table is that of the server that runs now, and begins a new one if it is not, before anything else can be committed.
The mark of a server: oid of the database, timeline of its log, time it was started; any role may read them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, text

from gateway.store.engine import Driver, driver_of

_MARK = """(
    (SELECT oid FROM pg_database WHERE datname = current_database()) || '-'
    || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || '-'
    || (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint)"""

SETTLED = f"coalesce((SELECT mark FROM feed_era ORDER BY number DESC LIMIT 1) = {_MARK}, false)"
"""SQL: whether the newest era is that of the running server. Costs no round trip where another statement asks it."""

_NEWEST = f"SELECT number, mark, mark = {_MARK} FROM feed_era ORDER BY number DESC LIMIT 1"
_ONE_AT_A_TIME = "LOCK TABLE feed_era IN SHARE ROW EXCLUSIVE MODE"
_BEGIN = f"""
    INSERT INTO feed_era (number, mark, positions)
    SELECT coalesce((SELECT max(number) FROM feed_era), 0) + 1, {_MARK},
           coalesce((SELECT jsonb_object_agg(organisation, seq) FROM list_ledger), '{{}}')
    RETURNING number, mark
"""
_SINCE = "SELECT number, mark, positions FROM feed_era WHERE number BETWEEN %s AND %s + 1 ORDER BY number"


@dataclass(frozen=True, slots=True)
class Era:
    """An era by its number; ``mark`` tells apart the eras that two copies of one database begin with the same number."""

    number: int
    mark: str

    def __str__(self) -> str:
        """``<number>-<8 hex digits>``, as positions carry it."""
        return f"{self.number}-{hashlib.sha256(self.mark.encode()).hexdigest()[:8]}"


def current(driver: Driver) -> Era:
    """The era of the running server, begun here if nobody has begun it yet.

    It is begun in a transaction of its own, on a connection of its own where the given one is in a transaction: that may
    go on for long, and everybody else waits for the era.
    """
    row = driver.execute(_NEWEST).fetchone()
    if row is not None and row[2]:
        return Era(row[0], row[1])
    if driver.info.transaction_status is TransactionStatus.IDLE:
        return _settled(driver)
    with psycopg.connect(driver.info.dsn, password=driver.info.password, connect_timeout=5, autocommit=True) as apart:
        return _settled(apart)


def _settled(driver: Driver) -> Era:
    """Only one of those who come at once begins the era."""
    with driver.transaction():
        driver.execute(_ONE_AT_A_TIME)
        row = driver.execute(_NEWEST).fetchone()
        return Era(row[0], row[1]) if row is not None and row[2] else _begun(driver)


def kept(connection: Connection) -> bool:
    """Whether the schema has eras: a copy of an older one gets them with the next migration."""
    found: bool = connection.execute(text("SELECT to_regclass('feed_era') IS NOT NULL")).scalar_one()
    return found


def begin(connection: Connection) -> Era:
    """A new era whatever the server is: a copy has just been restored."""
    driver = driver_of(connection)
    driver.execute(_ONE_AT_A_TIME)
    return _begun(driver)


def ends(driver: Driver, era: str) -> dict[str, int] | None:
    """The positions at which a former era ended, by organisation: up to there its history is this one's.

    None for an era that this database has not had.
    """
    number = era.partition("-")[0]
    rows = driver.execute(_SINCE, (int(number), int(number))).fetchall()
    if len(rows) != 2 or str(Era(rows[0][0], rows[0][1])) != era:
        return None
    positions: dict[str, int] = rows[1][2]
    return positions


def _begun(driver: Driver) -> Era:
    row = driver.execute(_BEGIN).fetchone()
    assert row is not None
    return Era(*row)
