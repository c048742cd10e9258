"""COPY in and out: the only bulk path. Memory does not grow with the number of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import psycopg
from psycopg import sql

from gateway.store.engine import Driver

_BLOCK_BYTES = 256 * 1024


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


def copy_blocks(driver: Driver, table: str, columns: Sequence[str], blocks: Iterable[bytes]) -> int:
    """Copies ready blocks in the text format of COPY; see `text_line`. Returns the count of rows."""
    with driver.cursor() as cursor:
        with cursor.copy(_statement(table, columns, "")) as copy:
            for block in blocks:
                copy.write(block)
        return cursor.rowcount


_ESCAPES = str.maketrans({"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def text_line(values: Sequence[str | None]) -> str:
    """One line of the text format: tab between values, ``\\N`` for absent ones, special characters escaped."""
    return "\t".join("\\N" if value is None else value.translate(_ESCAPES) for value in values) + "\n"


def text_blocks(rows: Iterable[Sequence[str | None]], size: int = _BLOCK_BYTES) -> Iterator[bytes]:
    """Lines of the text format joined into blocks of about ``size`` bytes."""
    lines: list[str] = []
    length = 0
    for row in rows:
        line = text_line(row)
        lines.append(line)
        length += len(line)
        if length >= size:
            yield "".join(lines).encode()
            lines, length = [], 0
    if lines:
        yield "".join(lines).encode()


def read_blocks(driver: Driver, query: str, params: Sequence[Any] = (), options: str = "") -> Iterator[bytes]:
    """The answer of a query as blocks of COPY TO STDOUT; ``options`` such as ``(FORMAT CSV, HEADER)``.

    The query is the program's own text; values come as ``params`` and are quoted by psycopg, since COPY takes none.
    """
    statement = sql.SQL("COPY (" + query + ") TO STDOUT " + options)
    with psycopg.ClientCursor(driver) as cursor, cursor.copy(statement, params) as copy:
        for block in copy:
            yield bytes(block)


def read_rows(driver: Driver, query: str, params: Sequence[Any] = ()) -> Iterator[tuple[str | None, ...]]:
    """The answer of a query as rows of texts, streamed by COPY."""
    statement = sql.SQL("COPY (" + query + ") TO STDOUT")
    with psycopg.ClientCursor(driver) as cursor, cursor.copy(statement, params) as copy:
        yield from copy.rows()
