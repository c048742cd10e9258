"""Editions of dictionaries: those that ship with the product and those that an operator loads.

An edition is in force from its ``valid_from`` until the next one of its dictionary; the first one also serves earlier
days. What lies in a table of its own (ORGANISATIONS, INSURERS) is added to and replaced by code; what a file leaves out
stays, and an edition older than the newest one adds only what is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from importlib.resources import as_file, files
from pathlib import Path

from sqlalchemy import Connection

from gateway.nsi import queries
from gateway.nsi.catalogue import ALL, FIRST_DAY, TABLES
from gateway.nsi.files import Content, Wish, read, read_all
from gateway.nsi.queries import Edition
from gateway.store.engine import driver_of

SHIPPED = "поставка"
"""Source of the editions that come with the product."""


@dataclass(frozen=True, slots=True)
class LoadedEdition:
    """What a load made; ``already`` means that this very file is loaded and nothing was done.

    ``content`` tells how the file was understood, ``replaced`` is the version that stood on the same day, ``notes`` say
    in Russian what was passed over or added.
    """

    dictionary: str
    version: str
    valid_from: date
    rows: int
    sha256: str
    already: bool
    content: Content
    replaced: str | None = None
    notes: tuple[str, ...] = ()


def all_of(connection: Connection) -> list[Edition]:
    """All editions by dictionary and day."""
    return queries.editions(driver_of(connection))


def in_force(known: Sequence[Edition], on: date) -> Edition:
    """Of the editions of one dictionary, by day, the one in force."""
    return next((edition for edition in reversed(known) if edition.valid_from <= on), known[0])


def load(
    connection: Connection,
    path: str | Path,
    dictionary: str | None = None,
    valid_from: date | None = None,
    version: str | None = None,
) -> LoadedEdition:
    """Loads the only dictionary of a file; see `load_all`."""
    return _load(connection, read(path, dictionary), Path(path).name, valid_from, version)


def load_all(
    connection: Connection, path: str | Path, wish: Wish, valid_from: date | None = None, version: str | None = None
) -> list[LoadedEdition]:
    """Loads the dictionaries of a file as editions in the caller's transaction: whole or not at all.

    An edition is in force from ``valid_from``, else from the day that the packet or the name of the file tells, else
    the first of a dictionary from 01.01.2000 and a later one from today. An edition of the same day is replaced. The
    file of a former edition brings that one back. Raises ``dictionary.file`` with line and code, ``dictionary.unknown``.
    """
    return [_load(connection, content, Path(path).name, valid_from, version) for content in read_all(path, wish)]


def _load(
    connection: Connection, content: Content, source: str, valid_from: date | None, version: str | None
) -> LoadedEdition:
    queries.lock(connection)
    known = [edition for edition in all_of(connection) if edition.dictionary == content.dictionary]
    named = valid_from or content.valid_from
    since = named or (queries.today(connection) if known else FIRST_DAY)
    for edition in known:
        standing = edition.valid_from == named if named else edition in (in_force(known, since), known[-1])
        if standing and edition.sha256 == content.sha256:
            return _loaded(content, edition.version, edition.valid_from, already=True)
    label = version or content.version or since.isoformat()
    content = _with_profiles(connection, content, known, since)
    older = any(edition.valid_from > since for edition in known)
    if older and content.dictionary in TABLES:
        note = "есть более позднее издание: добавлены только отсутствующие коды"
        content = replace(content, notes=(*content.notes, note))
    replaced = next((edition.version for edition in known if edition.valid_from == since), None)
    _keep(connection, content, label, since, source, only_new=older)
    return replace(_loaded(content, label, since, already=False), replaced=replaced)


def _loaded(content: Content, version: str, valid_from: date, *, already: bool) -> LoadedEdition:
    rows = len(content.items)
    return LoadedEdition(
        content.dictionary, version, valid_from, rows, content.sha256, already, content, notes=content.notes
    )


def _with_profiles(connection: Connection, content: Content, known: Sequence[Edition], since: date) -> Content:
    """The official list of specialties does not tell profiles: those known before stay."""
    if content.dictionary != "SPECIALTIES" or any("profile" in item.attributes for item in content.items):
        return content
    before = queries.items(driver_of(connection), in_force(known, since).id) if known else []
    profiles = {
        item.code: item.attributes["profile"]
        for item in (*shipped("SPECIALTIES").items, *before)
        if "profile" in item.attributes
    }
    items = tuple(
        replace(item, attributes={**item.attributes, "profile": profiles[item.code]}) if item.code in profiles else item
        for item in content.items
    )
    kept = len({item.code for item in items if item.code in profiles})
    note = f"profile (приложение 168н) оставлен прежним у {kept} кодов, у прочих — OTHER"
    return replace(content, items=items, notes=(*content.notes, note))


def _keep(
    connection: Connection, content: Content, version: str, since: date, source: str, *, only_new: bool = False
) -> None:
    rows = len(content.items)
    edition = queries.add_edition(connection, content.dictionary, version, since, source, content.sha256, rows)
    if content.dictionary not in TABLES:
        queries.add_items(connection, edition, content.items)
    elif content.dictionary == "ORGANISATIONS":
        queries.put_organisations(connection, content.items, FIRST_DAY, only_new=only_new)
    else:
        queries.put_insurers(connection, content.items, FIRST_DAY, only_new=only_new)


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
