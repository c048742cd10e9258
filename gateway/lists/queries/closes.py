"""SQL of month closes."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, RowMapping, text

from gateway.lists.queries.shared import one_row

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


def closed_piece(connection: Connection, organisation: str, choice: str, first: int, last: int) -> RowMapping | None:
    """The newest frozen list of closed months ``first``..``last``, not older than their last close."""
    return one_row(connection, _CLOSED_PIECE, organisation=organisation, choice=choice, first=first, last=last)


def last_close(connection: Connection, organisation: str, month: int) -> RowMapping | None:
    return one_row(connection, _LAST_CLOSE, organisation=organisation, month=month)


def close(connection: Connection, **values: Any) -> None:
    connection.execute(_CLOSE, values)


def reopen(connection: Connection, **values: Any) -> None:
    connection.execute(_REOPEN, values)
