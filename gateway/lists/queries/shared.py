"""Reading rows, and the clock that freezes and expires lists."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, text

Rows = Sequence[RowMapping]


def all_rows(connection: Connection, statement: Any, **values: Any) -> Rows:
    return connection.execute(statement, values).mappings().all()


def one_row(connection: Connection, statement: Any, **values: Any) -> RowMapping | None:
    return connection.execute(statement, values).mappings().one_or_none()


def now(connection: Connection) -> datetime:
    """The database's own time: lists are frozen and expire by one clock on every machine."""
    found: datetime = connection.execute(text("SELECT now()")).scalar_one()
    return found
