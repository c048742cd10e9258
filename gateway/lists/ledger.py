"""The ledger of an organisation's list: the one way an entry changes.

A change first locks the row of its organisation, so changes of one list commit in the order of their numbers: pages,
snapshots and the change feed read that order and need no other. Each change leaves an event with the line as it stood.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection

from gateway.access.model import Call
from gateway.lists import queries
from gateway.store import eras
from gateway.store.engine import driver_of


@dataclass(slots=True)
class Change:
    """What happens to one entry: ``patch`` holds new values of columns of `entry` (days as dates)."""

    entry_id: int
    kind: str
    cause: str
    effective_on: date
    patch: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)


def source_of(call: Call) -> str:
    """Where a change came from: MO, or OPERATOR when the fund's client acts."""
    return "MO" if call.caller.kind == "MO" else "OPERATOR"


def lock(connection: Connection, organisation: str) -> None:
    """Takes the organisation's ledger until the end of the transaction.

    The first change after the server was started begins an era of the change feed before it writes anything.
    """
    row = queries.lock_ledger(connection, organisation)
    if row is None:
        queries.open_ledger(connection, organisation)
        row = queries.lock_ledger(connection, organisation)
    if row is None or not row["settled"]:
        eras.current(driver_of(connection))


def take(
    connection: Connection, call: Call, organisation: str, rows: Sequence[dict[str, Any]], source: str | None = None
) -> None:
    """Puts new entries with their first segment into the list. Each row has the columns of `entry` and ``effective_from``;
    it may have ``cause`` and ``details`` of its event. ``source`` stands for the caller's own."""
    if not rows:
        return
    last = queries.advance(connection, organisation, len(rows))
    first = last - len(rows) + 1
    source = source or source_of(call)
    queries.insert_entries(
        connection,
        [row | {"seq": first + n, "organisation": organisation, "source": source} for n, row in enumerate(rows)],
        actor=call.caller.login,
        trace=call.trace,
    )


def apply(
    connection: Connection, call: Call, organisation: str, changes: Sequence[Change], source: str | None = None
) -> None:
    """Writes the events and new values of entries of the organisation. ``source`` stands for the caller's own."""
    if not changes:
        return
    last = queries.advance(connection, organisation, len(changes))
    first = last - len(changes) + 1
    queries.change_entries(
        connection,
        [
            {
                "entry_id": change.entry_id,
                "seq": first + n,
                "kind": change.kind,
                "cause": change.cause,
                "effective_on": change.effective_on.isoformat(),
                "patch": {name: plain(value) for name, value in change.patch.items()},
                "details": {name: plain(value) for name, value in change.details.items()},
            }
            for n, change in enumerate(changes)
        ],
        source=source or source_of(call),
        actor=call.caller.login,
        trace=call.trace,
    )


def plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date | datetime) else value
