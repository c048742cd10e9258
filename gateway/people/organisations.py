"""Medical organisations (МО) of the region: their codes and the directory behind dictionary ORGANISATIONS."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection

from gateway.people import queries


@dataclass(frozen=True, slots=True)
class Organisation:
    """An organisation under its six-digit registry number; ``valid_to`` is its last day, None while it works.

    ``primary_care`` says that people are attached to it (ПМСП); an oncology dispensary has none.
    """

    code: str
    name: str
    primary_care: bool
    valid_from: date
    valid_to: date | None = None


def codes(connection: Connection) -> frozenset[str]:
    """Codes of all organisations, past ones too: an extract may name where a person was attached long ago."""
    return frozenset(queries.organisation_codes(connection))


def put(connection: Connection, organisations: Iterable[Organisation]) -> None:
    """Adds organisations or replaces what is known of them."""
    queries.put_organisations(
        connection,
        [
            {
                "code": one.code,
                "name": one.name,
                "primary_care": one.primary_care,
                "valid_from": one.valid_from,
                "valid_to": one.valid_to,
            }
            for one in organisations
        ],
    )
