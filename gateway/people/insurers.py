"""Insurers (СМО) of the region: their codes and the directory behind dictionary INSURERS."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection

from gateway.people import queries


@dataclass(frozen=True, slots=True)
class Insurer:
    """An insurer under its five-digit registry number; ``valid_to`` is its last day, None while it works."""

    code: str
    name: str
    valid_from: date
    valid_to: date | None = None


def codes(connection: Connection) -> frozenset[str]:
    """Codes of all insurers, past ones too."""
    return frozenset(queries.insurer_codes(connection))


def put(connection: Connection, insurers: Iterable[Insurer]) -> None:
    """Adds insurers or replaces what is known of them."""
    queries.put_insurers(
        connection,
        [
            {"code": one.code, "name": one.name, "valid_from": one.valid_from, "valid_to": one.valid_to}
            for one in insurers
        ],
    )
