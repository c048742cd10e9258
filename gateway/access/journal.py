"""The journal of calls that a client may read of itself: what `GetMyCalls` answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from gateway.access import queries
from gateway.store.engine import driver_of


@dataclass(frozen=True, slots=True)
class PastCall:
    """A call of the client; ``code`` is that of a refusal, ``trace`` the id its answer carried in X-Request-Id."""

    at: datetime
    service: str
    operation: str
    outcome: str
    code: str | None
    trace: str
    organisation: str | None
    request_id: str | None
    records: int | None


def of_client(
    connection: Connection,
    client_id: int,
    since: datetime,
    until: datetime,
    *,
    operation: str | None = None,
    outcome: str | None = None,
    start: int = 1,
    count: int = 1000,
) -> tuple[int, list[PastCall]]:
    """How many calls the client made with ``since <= time < until``, and a page of them, the newest first.

    ``outcome`` is one of OK, PARTIAL, REPLAYED, REFUSED, FAULT; ``start`` counts from 1.
    """
    choice = {
        "client": client_id, "since": since, "until": until, "operation": operation, "outcome": outcome,
        "skip": start - 1, "count": count,
    }  # fmt: skip
    found = [PastCall(*row) for row in queries.calls(driver_of(connection), choice)]
    return queries.count_calls(driver_of(connection), choice), found
