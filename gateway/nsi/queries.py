"""All SQL of the dictionaries."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, text

from gateway.nsi.catalogue import Item
from gateway.store.copying import copy_rows
from gateway.store.engine import Driver, driver_of


@dataclass(frozen=True, slots=True)
class Edition:
    """An edition is in force from ``valid_from`` until the next one of its dictionary; ``rows`` counts its items."""

    id: int
    dictionary: str
    version: str
    valid_from: date
    loaded_at: datetime
    source: str
    sha256: str
    rows: int


def lock(connection: Connection) -> None:
    """Lets one transaction at a time change editions."""
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('gateway.nsi'))"))


def today(connection: Connection) -> date:
    """The day of the database session, whose zone is that of the region."""
    day: date = connection.execute(text("SELECT current_date")).scalar_one()
    return day


_EDITIONS = (
    "SELECT id, dictionary, version, valid_from, loaded_at, source, sha256, rows FROM dictionary_edition"
    " ORDER BY dictionary, valid_from"
)


def editions(driver: Driver) -> list[Edition]:
    """All editions by dictionary and day."""
    return [Edition(*row) for row in driver.execute(_EDITIONS).fetchall()]


def fingerprint(driver: Driver) -> tuple[Any, ...]:
    """Changes whenever an edition, an organisation or an insurer does; a few small tables, cheap enough for every 5 s."""
    row = driver.execute(
        "SELECT (SELECT count(*) FROM dictionary_edition), (SELECT max(id) FROM dictionary_edition),"
        " (SELECT sum(hashtextextended(o::text, 0)) FROM organisation o),"
        " (SELECT sum(hashtextextended(i::text, 0)) FROM insurer i)"
    ).fetchone()
    return row or ()


def items(driver: Driver, edition_id: int) -> list[Item]:
    """The items of an edition by code and first day."""
    rows = driver.execute(
        "SELECT code, name, parent, attributes, valid_from, valid_to FROM dictionary_item"
        " WHERE edition_id = %s ORDER BY code, valid_from NULLS FIRST",
        (edition_id,),
    ).fetchall()
    return [Item(*row) for row in rows]


def organisations(driver: Driver) -> list[Item]:
    """Medical organisations as items by code."""
    rows = driver.execute(
        "SELECT code, name, primary_care, valid_from, valid_to FROM organisation ORDER BY code"
    ).fetchall()
    return [
        Item(code, name, None, {"primary_care": primary}, since, until) for code, name, primary, since, until in rows
    ]


def insurers(driver: Driver) -> list[Item]:
    """Insurers as items by code."""
    rows = driver.execute("SELECT code, name, valid_from, valid_to FROM insurer ORDER BY code").fetchall()
    return [Item(code, name, None, {}, since, until) for code, name, since, until in rows]


def add_edition(
    connection: Connection, dictionary: str, version: str, valid_from: date, source: str, sha256: str, rows: int
) -> int:
    """A new edition in place of the one that begins on the same day, if there is one; returns its id."""
    key = {"dictionary": dictionary, "valid_from": valid_from}
    connection.execute(
        text("DELETE FROM dictionary_edition WHERE dictionary = :dictionary AND valid_from = :valid_from"), key
    )
    edition: int = connection.execute(
        text(
            "INSERT INTO dictionary_edition (dictionary, version, valid_from, source, sha256, rows)"
            " VALUES (:dictionary, :version, :valid_from, :source, :sha256, :rows) RETURNING id"
        ),
        {**key, "version": version, "source": source, "sha256": sha256, "rows": rows},
    ).scalar_one()
    return edition


def add_items(connection: Connection, edition_id: int, items: Iterable[Item]) -> None:
    """The items of a new edition, by COPY."""
    copy_rows(
        driver_of(connection),
        "dictionary_item",
        ("edition_id", "code", "name", "parent", "valid_from", "valid_to", "attributes"),
        (
            (
                edition_id, item.code, item.name, item.parent, item.valid_from, item.valid_to,
                json.dumps(dict(item.attributes), ensure_ascii=False),
            )
            for item in items
        ),
    )  # fmt: skip


def put_organisations(connection: Connection, items: Sequence[Item], since: date, *, only_new: bool = False) -> None:
    """Adds organisations and, unless ``only_new``, replaces what is known of them; ``since`` stands for an absent first day.

    Where a file does not say whether people are attached to an organisation, what is known stays.
    """
    change = (
        "NOTHING" if only_new else "UPDATE SET name = excluded.name, valid_from = excluded.valid_from,"
        " valid_to = excluded.valid_to, primary_care = coalesce(:primary_care, organisation.primary_care)"
    )  # fmt: skip
    connection.execute(
        text(
            "INSERT INTO organisation (code, name, primary_care, valid_from, valid_to)"
            " VALUES (:code, :name, coalesce(CAST(:primary_care AS boolean), true), :valid_from, :valid_to)"
            f" ON CONFLICT (code) DO {change}"
        ),
        [{**_row(item, since), "primary_care": item.attributes.get("primary_care")} for item in items],
    )


def put_insurers(connection: Connection, items: Sequence[Item], since: date, *, only_new: bool = False) -> None:
    """Adds insurers and, unless ``only_new``, replaces what is known of them; ``since`` stands for an absent first day."""
    change = (
        "NOTHING" if only_new else "UPDATE SET name = excluded.name,"
        " valid_from = excluded.valid_from, valid_to = excluded.valid_to"
    )  # fmt: skip
    connection.execute(
        text(
            "INSERT INTO insurer (code, name, valid_from, valid_to) VALUES (:code, :name, :valid_from, :valid_to)"
            f" ON CONFLICT (code) DO {change}"
        ),
        [_row(item, since) for item in items],
    )


def _row(item: Item, since: date) -> dict[str, Any]:
    return {
        "code": item.code,
        "name": item.name,
        "valid_from": item.valid_from or since,
        "valid_to": item.valid_to,
    }
