"""Tables without their secondary indexes and constraints while they are filled, for the owner of the schema.

Rebuilding an index over filled rows costs a fraction of keeping it while they come. All of it stands in the caller's
transaction: whatever happens, the indexes are there after it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg import sql

from gateway.store.engine import Driver

_CONSTRAINTS = """
    SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid = ANY(%s::regclass[]) AND contype IN ('f', 'u', 'x') ORDER BY contype DESC, conname
"""
_INDEXES = """
    SELECT i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) FROM pg_index i
    WHERE i.indrelid = ANY(%s::regclass[]) AND NOT i.indisprimary
      AND NOT EXISTS (SELECT FROM pg_constraint c WHERE c.conindid = i.indexrelid)
    ORDER BY i.indisunique DESC, 1
"""
_OWNS = """
    SELECT bool_and(pg_has_role(current_user, relowner, 'USAGE')) FROM pg_class WHERE oid = ANY(%s::regclass[])
"""


@dataclass(frozen=True, slots=True)
class Definition:
    """What makes a dropped index or constraint again."""

    name: str
    statement: str


def owns(driver: Driver, tables: Iterable[str]) -> bool:
    """Whether the role may drop indexes of these tables."""
    row = driver.execute(_OWNS, [list(tables)]).fetchone()
    return row is not None and bool(row[0])


def drop(driver: Driver, tables: Iterable[str]) -> list[Definition]:
    """Drops secondary indexes, then foreign, unique and exclusion constraints; primary keys stay.

    Returns what makes them again, unique ones first and foreign keys last, for `restore`.
    """
    names = list(tables)
    constraints = driver.execute(_CONSTRAINTS, [names]).fetchall()
    indexes = driver.execute(_INDEXES, [names]).fetchall()
    foreign: list[Definition] = []
    own: list[Definition] = []
    for table, name, definition in constraints:
        add = f"ALTER TABLE {table} ADD CONSTRAINT {name} {definition}"
        (foreign if definition.startswith("FOREIGN KEY") else own).append(Definition(name, add))
        driver.execute(sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}").format(sql.Identifier(table), sql.Identifier(name)))
    for name, _ in indexes:
        driver.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(name)))
    return [*(Definition(name, definition) for name, definition in indexes), *own, *foreign]


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
        "temp_buffers = '64MB'",
    ):
        driver.execute(f"SET LOCAL {setting}".encode())
