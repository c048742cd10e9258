"""A month in the life of the invented region, as the register of insured persons learns of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, text

from gateway.domain.periods import Month
from gateway.sandbox.ferzl import queries

ELSEWHERE = "41000"

SHARES: Mapping[str, int] = {
    "DIED": 100, "LEFT": 100, "MOVED": 300, "INSURER": 200, "RENAMED": 40, "MERGED": 10, "SUSPENDED": 20, "DETACHED": 30,
    "RETURNED": 20, "REVIVED": 5,
}  # fmt: skip
"""How many of 100,000 people each fate meets in a month. RETURNED and REVIVED take back earlier departures and deaths."""


@dataclass(frozen=True, slots=True)
class Lived:
    """How many people met each fate."""

    counts: Mapping[str, int] = field(default_factory=dict)


def pass_month(
    connection: Connection, month: Month, *, okato: str, seed: int = 1, shares: Mapping[str, int] = SHARES
) -> Lived:
    """Plays a month: fates are drawn from the seed and the month, one for a person at most. The same draw twice is the same."""
    values = {
        "first": month.first_day, "days": (month.last_day - month.first_day).days + 1, "salt": f"{seed}/{month}",
        "okato": okato, "elsewhere": ELSEWHERE,
    }  # fmt: skip
    bounds, reached = [], 0
    for kind in queries.FATES:
        share = shares.get(kind, 0)
        bounds.append({"kind": kind, "low": reached, "high": reached + share})
        reached += share
    queries.draw(connection, bounds, **values)
    for statement in queries.LIVE:
        connection.execute(text(statement), {name: value for name, value in values.items() if f":{name}" in statement})
    return Lived(queries.fates(connection))
