"""All SQL of the invented region."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import sql
from sqlalchemy import Connection, text

from gateway.store.engine import Driver

_FILLED = text("SELECT EXISTS (SELECT FROM organisation) OR EXISTS (SELECT FROM person)")
_LOCK = text("SELECT pg_advisory_xact_lock(7305003)")
_HAS_ICD10 = text("SELECT EXISTS (SELECT FROM dictionary_edition WHERE dictionary = 'ICD10')")


def lock(connection: Connection) -> None:
    """One filling at a time."""
    connection.execute(_LOCK)


def is_filled(connection: Connection) -> bool:
    """Whether there is a region already, invented or not."""
    return bool(connection.execute(_FILLED).scalar_one())


def has_icd10(connection: Connection) -> bool:
    return bool(connection.execute(_HAS_ICD10).scalar_one())


def copy_block(driver: Driver, table: str, columns: Sequence[str], block: bytes) -> None:
    """Takes ready lines into a table that this transaction has renewed."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FREEZE, DELIMITER ';', NULL '')").format(sql.Identifier(table), names)
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write(block)


def number_on(driver: Driver, table: str) -> None:
    """Lets new ids follow those that were given."""
    driver.execute(
        sql.SQL("SELECT setval(pg_get_serial_sequence({}, 'id'), greatest((SELECT max(id) FROM {}), 1))").format(
            sql.Literal(table), sql.Identifier(table)
        )
    )


def vacuum(driver: Driver, table: str) -> None:
    """Makes rows visible at a glance and the planner wise; outside any transaction."""
    driver.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(table)))
