"""COPY of rows of Python values. Memory does not grow with their number; ready blocks go in by their own statements."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from psycopg import sql

from gateway.store.engine import Driver


def _statement(table: str, columns: Sequence[str], options: str) -> sql.Composed:
    names = sql.SQL(", ").join(sql.Identifier(column) for column in columns)
    return sql.SQL("COPY {} ({}) FROM STDIN" + options).format(sql.Identifier(table), names)


def copy_rows(
    driver: Driver,
    table: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    types: Sequence[str] | None = None,
) -> int:
    """Copies rows of Python values into a table and returns their count.

    With ``types`` (PostgreSQL names such as ``int8``, ``text``, ``date``) the binary format is used: fastest, and exact
    about Python types. Without it the text format converts what psycopg can.
    """
    with driver.cursor() as cursor:
        with cursor.copy(_statement(table, columns, " (FORMAT BINARY)" if types else "")) as copy:
            if types:
                copy.set_types(types)
            for row in rows:
                copy.write_row(row)
        return cursor.rowcount
