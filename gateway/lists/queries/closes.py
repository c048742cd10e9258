"""SQL of month closes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, text

from gateway.lists.queries.exported import LINE_KEPT, lines_of_frozen
from gateway.lists.queries.frozen import BLOCK
from gateway.lists.queries.shared import one_row
from gateway.store.engine import Driver

_CLOSED_PIECE = text(
    """
    SELECT p.id, p.total, p.seq, c.closed_at FROM list_piece p,
        (SELECT max(closed_at) AS closed_at FROM (
            SELECT DISTINCT ON (month) closed_at FROM closed_month
            WHERE organisation = :organisation AND month BETWEEN :first AND :last ORDER BY month, edition DESC) AS m) AS c
    WHERE p.organisation = :organisation AND p.choice = :choice AND p.edition > 0 AND p.as_of >= c.closed_at
    ORDER BY p.id DESC LIMIT 1
    """
)
_LAST_CLOSE = text(
    "SELECT edition, closed_at, reopened_at FROM closed_month WHERE organisation = :organisation AND month = :month"
    " ORDER BY edition DESC LIMIT 1"
)
_CLOSE = text(
    "INSERT INTO closed_month (organisation, month, edition, closed_at, closed_by)"
    " VALUES (:organisation, :month, :edition, now(), :actor)"
)
_REOPEN = text(
    "UPDATE closed_month SET reopened_at = now(), reopened_by = :actor, reopen_reason = :reason"
    " WHERE organisation = :organisation AND month = :month AND edition = :edition"
)
_BLOCKS_AT_ONCE = 16

_UNCLOSED = text(
    """
    SELECT l.organisation FROM list_ledger l
    WHERE NOT EXISTS (
        SELECT 1 FROM (SELECT reopened_at FROM closed_month c WHERE c.organisation = l.organisation AND c.month = :month
                       ORDER BY c.edition DESC LIMIT 1) AS last WHERE last.reopened_at IS NULL)
    ORDER BY l.organisation
    """
)

# what filters of a closed list look at, as `blocks.key_of` has it
_KEY = (
    r"coalesce(e.diagnosis_group, '') || E'\t' || coalesce(e.enp, '') || E'\t' || coalesce(e.doctor_snils, '') || E'\t' ||"
    r" coalesce(e.insurer, '') || E'\t' || coalesce(array_to_string(e.planned_months, ' '), '')"
)

# the blocks of a piece with their lines rendered and joined; the ledger is locked, but a line may have left the list long ago
_LINES_KEPT = f"""
    SELECT ((number - 1) / {BLOCK})::int,
           string_agg(convert_to(line, 'UTF8'), '\\x00'::bytea ORDER BY number), string_agg(key, E'\\n' ORDER BY number)
    FROM ({lines_of_frozen(f"e.n AS number, {LINE_KEPT} AS line, {_KEY} AS key")}) AS kept GROUP BY 1 ORDER BY 1
"""
_SEAL = "UPDATE list_block SET body = %s, keys = %s WHERE piece_id = %s AND number = %s"


def unclosed(connection: Connection, month: int) -> list[str]:
    """Organisations that keep a list and whose month is open."""
    return list(connection.execute(_UNCLOSED, {"month": month}).scalars())


def lines_kept(driver: Driver, piece_id: int, organisation: str, seq: int) -> Iterator[tuple[int, bytes, str]]:
    """Of each block of a fixed piece: number, rendered lines joined by NUL, keys joined by line breaks."""
    values = {"piece_id": piece_id, "organisation": organisation, "seq": seq, "skip": 0}
    with driver.cursor(name="closing", scrollable=False) as cursor:
        cursor.itersize = _BLOCKS_AT_ONCE
        yield from cursor.execute(_LINES_KEPT.encode(), values, binary=True)


def seal(driver: Driver, piece_id: int, blocks: Sequence[tuple[int, bytes, str]]) -> None:
    """Keeps rendered lines and filter keys of blocks: number, body, keys."""
    with driver.cursor() as cursor:
        cursor.executemany(_SEAL, [(body, keys, piece_id, number) for number, body, keys in blocks])


def closed_piece(connection: Connection, organisation: str, choice: str, first: int, last: int) -> RowMapping | None:
    """The newest frozen list of closed months ``first``..``last``, not older than their last close."""
    return one_row(connection, _CLOSED_PIECE, organisation=organisation, choice=choice, first=first, last=last)


def last_close(connection: Connection, organisation: str, month: int) -> RowMapping | None:
    return one_row(connection, _LAST_CLOSE, organisation=organisation, month=month)


def close(connection: Connection, **values: Any) -> None:
    connection.execute(_CLOSE, values)


def reopen(connection: Connection, **values: Any) -> None:
    connection.execute(_REOPEN, values)
