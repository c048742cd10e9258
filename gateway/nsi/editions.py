"""Editions of dictionaries: those that ship with the product and those that an operator loads.

An edition is in force from its ``valid_from`` until the next one of its dictionary; the first one also serves earlier
days. What lies in a table of its own (ORGANISATIONS, INSURERS) is added to and replaced by code; what a file leaves out
stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from importlib.resources import as_file, files
from pathlib import Path

from sqlalchemy import Connection

from gateway.nsi import queries
from gateway.nsi.catalogue import ALL, FIRST_DAY, TABLES
from gateway.nsi.files import Content, read
from gateway.nsi.queries import Edition
from gateway.store.engine import driver_of

SHIPPED = "поставка"
"""Source of the editions that come with the product."""


@dataclass(frozen=True, slots=True)
class LoadedEdition:
    """What a load made; ``already`` means that this very file is loaded and nothing was done."""

    dictionary: str
    version: str
    valid_from: date
    rows: int
    sha256: str
    already: bool


def all_of(connection: Connection) -> list[Edition]:
    """All editions by dictionary and day."""
    return queries.editions(driver_of(connection))


def load(
    connection: Connection,
    path: str | Path,
    dictionary: str | None = None,
    valid_from: date | None = None,
    version: str | None = None,
) -> LoadedEdition:
    """Loads a file as an edition in the caller's transaction: whole or not at all.

    Without ``valid_from`` the first edition of a dictionary is in force from 01.01.2000, a later one from today; an
    edition of the same day is replaced. The file of a former edition brings that one back. Raises ``dictionary.file`` with line and code, ``dictionary.unknown``.
    """
    content = read(path, dictionary)
    queries.lock(connection)
    known = [edition for edition in all_of(connection) if edition.dictionary == content.dictionary]
    since = valid_from or (queries.today(connection) if known else FIRST_DAY)
    for edition in known:
        standing = edition.valid_from == valid_from if valid_from else edition in (_in_force(known, since), known[-1])
        if standing and edition.sha256 == content.sha256:
            return _loaded(edition.version, edition.valid_from, content, already=True)
    label = version or content.version or since.isoformat()
    _keep(connection, content, label, since, Path(path).name)
    return _loaded(label, since, content, already=False)


def _in_force(editions: Sequence[Edition], on: date) -> Edition:
    """Of the editions of one dictionary, by day, the one in force."""
    return next((edition for edition in reversed(editions) if edition.valid_from <= on), editions[0])


def _loaded(version: str, valid_from: date, content: Content, *, already: bool) -> LoadedEdition:
    return LoadedEdition(content.dictionary, version, valid_from, len(content.items), content.sha256, already)


def _keep(connection: Connection, content: Content, version: str, since: date, source: str) -> None:
    rows = len(content.items)
    edition = queries.add_edition(connection, content.dictionary, version, since, source, content.sha256, rows)
    if content.dictionary not in TABLES:
        queries.add_items(connection, edition, content.items)
    elif content.dictionary == "ORGANISATIONS":
        queries.put_organisations(connection, content.items, FIRST_DAY)
    else:
        queries.put_insurers(connection, content.items, FIRST_DAY)


def ship(connection: Connection) -> None:
    """Puts in the dictionaries of the product. An edition that an operator loaded is never touched."""
    queries.lock(connection)
    known = {(edition.dictionary, edition.valid_from): edition for edition in all_of(connection)}
    for name in (dictionary.name for dictionary in ALL.values() if dictionary.shipped):
        there = known.get((name, FIRST_DAY))
        if there and there.source != SHIPPED:
            continue
        content = shipped(name)
        if not there or there.sha256 != content.sha256:
            _keep(connection, content, content.sha256[:8], FIRST_DAY, SHIPPED)


def shipped(name: str) -> Content:
    """The product's own edition of a dictionary."""
    with as_file(files("gateway.nsi") / "data" / f"{name}.csv") as path:
        return read(path, name)
