"""The journal of calls that a client may read of itself: what `GetMyCalls` answers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from gateway.access import queries
from gateway.access.model import Caller
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


@dataclass(frozen=True, slots=True)
class PastCalls:
    """A page of calls, the newest first; ``total`` is how many there are in all, ``start`` the number of the first."""

    total: int
    start: int
    calls: list[PastCall]


def my_calls(
    connection: Connection,
    caller: Caller,
    since: datetime,
    until: datetime,
    operation: str | None = None,
    outcome: str | None = None,
    page_start: int = 1,
    count: int = 1000,
) -> PastCalls:
    """The caller's own calls with ``since <= time < until``; the door has checked that the page is within limits.

    ``outcome`` is one of OK, PARTIAL, REPLAYED, REFUSED, FAULT; ``page_start`` counts from 1.
    """
    choice = {
        "client": caller.client_id, "since": since, "until": until, "operation": operation, "outcome": outcome,
        "skip": page_start - 1, "count": count,
    }  # fmt: skip
    driver = driver_of(connection)
    found = [PastCall(*row) for row in queries.calls(driver, choice)]
    return PastCalls(queries.count_calls(driver, choice), page_start, found)
