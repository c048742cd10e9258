"""Files of a list by format: in which form its lines are read, and how a file of them is written as a stream."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from gateway.formats import dbf, listing_csv, listing_xml, xlsx
from gateway.formats.listing import COLUMNS, Column, ListHeader
from gateway.lists.readout import CSV, ROW, XML, Form, Numbered

_CHUNK = 1 << 20


class Out(Protocol):
    """A file that is being written."""

    def write(self, content: bytes, /) -> object: ...


@dataclass(slots=True)
class Losses:
    """Values that a format could not hold as they are: with characters replaced, and cut."""

    replaced: int = 0
    cut: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """``form`` is how lines are read. ``write`` takes the file, its header, batches of records and the losses to add to.

    A format that does not stream has ``prepare`` instead: it makes the file on disk.
    """

    suffix: str
    form: Form[Any]
    write: Callable[[Out, ListHeader, Iterable[Sequence[Any]], Losses], None] | None = None
    prepare: Callable[[Path, ListHeader, Iterable[Sequence[Any]]], None] | None = None


def _xml(out: Out, header: ListHeader, batches: Iterable[Sequence[bytes]], lost: Losses) -> None:
    out.write(listing_xml.head(header))
    for batch in batches:
        out.write(b"".join(batch))
    out.write(listing_xml.TAIL)


def _csv(out: Out, header: ListHeader, batches: Iterable[Sequence[bytes]], lost: Losses) -> None:
    out.write(listing_csv.head())
    for batch in batches:
        out.write(b"".join(batch))


_DBF_KINDS: dict[str, Literal["C", "N", "D", "L"]] = {"date": "D", "int": "N", "bool": "L"}


def _dbf_field(column: Column) -> dbf.Field:
    return dbf.Field(column.dbf, _DBF_KINDS.get(column.kind, "C"), column.width)


DBF_FIELDS = tuple(map(_dbf_field, COLUMNS))


def _dbf(out: Out, header: ListHeader, batches: Iterable[Sequence[Numbered]], lost: Losses) -> None:
    table = dbf.Table(DBF_FIELDS)
    out.write(table.head(header.records, header.as_of.date()))
    for batch in batches:
        out.write(table.records([(str(number), *values) for number, values in batch]))
    out.write(dbf.END)
    lost.replaced += table.replaced
    lost.cut += table.cut


def _book(path: Path, header: ListHeader, batches: Iterable[Sequence[Numbered]]) -> None:
    xlsx.write(path, header, itertools.chain.from_iterable(batches), path.parent)


LAYOUTS = {
    "XML": Layout("xml", XML, write=_xml),
    "CSV": Layout("csv", CSV, write=_csv),
    "XLSX": Layout("xlsx", ROW, prepare=_book),
    "DBF": Layout("dbf", ROW, write=_dbf),
}
"""By the codes of the contract."""


def copy(path: Path, out: Out) -> None:
    """The content of a prepared file, which is then removed."""
    with path.open("rb") as source:
        while chunk := source.read(_CHUNK):
            out.write(chunk)
    path.unlink()
