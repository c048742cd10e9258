"""Empty tables stripped of keys, indexes and constraints while they are filled, for the owner of the schema.

Building an index over filled rows costs a fraction of keeping it while they come, and a table that is truncated in the
transaction that fills it needs no log where ``wal_level`` is minimal. All of it stands in the caller's transaction:
whatever happens, the indexes are there after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psycopg
from psycopg import sql

from gateway.store.engine import Driver

_CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), contype = 'f', contype = 'p' FROM pg_constraint
    WHERE conrelid = ANY(%(tables)s::regclass[]) AND contype IN ('f', 'p', 'u', 'x')
       OR confrelid = ANY(%(tables)s::regclass[]) AND contype = 'f'
    ORDER BY contype <> 'f', contype <> 'x', contype <> 'u', conname
"""
_INDEXES = """
    SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index i
    WHERE i.indrelid = ANY(%(tables)s::regclass[])
      AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid AND c.contype <> 'f')
    ORDER BY i.indisunique DESC, 1
"""
_OWNS = """
    SELECT bool_and(pg_has_role(current_user, relowner, 'USAGE')) FROM pg_class
    WHERE oid = ANY(%(tables)s::regclass[])
"""


@dataclass(frozen=True, slots=True)
class Definition:
    """What makes a dropped index or constraint again."""

    name: str
    statement: str


def owns(driver: Driver, tables: Iterable[str]) -> bool:
    """Whether the role may strip these tables."""
    row = driver.execute(_OWNS, {"tables": list(tables)}).fetchone()
    return row is not None and bool(row[0])


def strip(driver: Driver, tables: Iterable[str]) -> list[Definition]:
    """Takes keys, indexes and foreign keys (also those that point here) from empty tables and renews their files.

    Returns what makes them again in the order for `restore`: primary keys, unique indexes, others, foreign keys last.
    Raises ValueError if a table has rows.
    """
    names = list(tables)
    constraints = driver.execute(_CONSTRAINTS, {"tables": names}).fetchall()
    indexes = driver.execute(_INDEXES, {"tables": names}).fetchall()
    for table, name, *_ in constraints:
        driver.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(sql.Identifier(table), sql.Identifier(name)))
    for name, _ in indexes:
        driver.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
    _renew(driver, names)
    return [
        *_additions(row for row in constraints if row[4]),
        *(Definition(name, definition) for name, definition in indexes),
        *_additions(row for row in constraints if not row[3] and not row[4]),
        *_additions(row for row in constraints if row[3]),
    ]


def _additions(constraints: Iterable[Sequence[str]]) -> list[Definition]:
    return [
        Definition(name, f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}")
        for table, name, definition, *_ in constraints
    ]


def _renew(driver: Driver, tables: Sequence[str]) -> None:
    for table in tables:
        lock = sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(sql.Identifier(table))
        driver.execute(lock)
        if driver.execute(sql.SQL("SELECT FROM {} LIMIT 1").format(sql.Identifier(table))).rowcount:
            raise ValueError(f"{table} has rows")
    driver.execute(sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(map(sql.Identifier, tables))))


def restore(driver: Driver, definition: Definition) -> None:
    """Makes one index or constraint again; psycopg raises its own error if the rows do not allow it."""
    driver.execute(definition.statement.encode())


def memory(driver: Driver) -> None:
    """Lets this transaction sort in memory and take its time."""
    for setting in (
        "statement_timeout = 0",
        "work_mem = '256MB'",
        "maintenance_work_mem = '512MB'",
        "max_parallel_maintenance_workers = 2",
    ):
        driver.execute(f"SET LOCAL {setting}".encode())
    # a session that had a temporary table before keeps the room it gave them then
    with suppress(psycopg.errors.InvalidParameterValue), driver.transaction():
        driver.execute(b"SET LOCAL temp_buffers = '64MB'")
