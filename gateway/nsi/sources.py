"""Files of dictionaries as lines of named cells: CSV tables and packets of ФФОМС in XML, whatever dictionary they hold.

A packet is a root element with ``zglv`` (type, version, date; also as attributes of the root) and one element per line,
as a rule ``zap``; names of tags in any case and order, nested tags become columns ``outer.inner``, a tag that repeats
inside a line holds several values. Names of columns are in lower case everywhere.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from gateway.errors import GatewayError
from gateway.formats import xml
from gateway.formats.tabular import REPLACED, Table, open_table

Cell = str | tuple[str, ...]
Line = Mapping[str, Cell]

CODE_LENGTH = 64
_VERSION = re.compile(r"(?<=[\W_])v(\d+(?:\.\d+)*)", re.IGNORECASE)
_DAY = re.compile(r"(?<!\d)(\d{4}-\d{2}-\d{2})(?!\d)")
_UNREADABLE = re.compile(f"[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff{REPLACED}]")
"""Bytes of another encoding, and characters that no XML may hold."""

_VERSION_LENGTH = 64
_HEAD_BYTES = 64 * 1024
_ROOT = re.compile(rb"(?:\s++|<\?.*?\?>|<!--.*?-->)*+<(?:[A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)", re.DOTALL)
_LIMITS = xml.StreamLimits(elements=5000, attributes=1_000_000)
_HEADER, _RECORD = "zglv", "zap"


def refusal(what: str, line: int | None = None, code: str = "") -> GatewayError:
    """``dictionary.file`` with the line and the code at which the file is wrong."""
    place = f"строка {line}" if line else ""
    if code:
        place += (", код " if place else "код ") + code[:CODE_LENGTH]
    return GatewayError("dictionary.file", what=f"{place}: {what}" if place else what)


@lru_cache(4096)
def day_of(text: str) -> date | None:
    """A day as ``yyyy-MM-dd`` (a time after it is left out) or ``dd.MM.yyyy``; None if it is neither."""
    for form in ("%Y-%m-%d", "%d.%m.%Y", "%Y-%m-%dT%H:%M:%S"):
        try:
            return datetime.strptime(text, form).date()
        except ValueError:
            continue
    return None


class Source(ABC):
    """A file whose lines can be read more than once; ``notes`` say in Russian what of it is passed over."""

    def __init__(self, path: Path, stem: str) -> None:
        self.stem = stem
        with path.open("rb") as content:
            self.sha256 = hashlib.file_digest(content, "sha256").hexdigest()
        self.kind: str | None = None
        version = _VERSION.search(stem)
        self.version = version[1] if version else None
        day = _DAY.search(stem)
        self.valid_from = day_of(day[1]) if day else None
        self.columns: tuple[str, ...] = ()
        self.notes: list[str] = []

    @abstractmethod
    def lines(self) -> Iterator[tuple[int, Line]]:
        """Lines that hold something, by the number of the line in the file, as cells by column."""


def opened(path: Path, stem: str) -> Source:
    """Looks at a file called ``stem`` (without extension); raises ``dictionary.file`` for what is neither a table nor a
    packet, OSError if it can not be read."""
    with path.open("rb") as content:
        head = content.read(_HEAD_BYTES).removeprefix(codecs.BOM_UTF8)
    if head.lstrip().startswith(b"<"):
        return PacketSource(path, stem)
    return TableSource(path, stem)


class TableSource(Source):
    """A CSV file (`gateway.formats.tabular`)."""

    def __init__(self, path: Path, stem: str) -> None:
        super().__init__(path, stem)
        self._table: Table = open_table(path)
        self.columns = self._table.header
        if len(set(self.columns)) != len(self.columns):
            raise refusal("столбец заголовка повторяется", 1)
        if any(map(_UNREADABLE.search, self.columns)):
            raise refusal("знаки не читаются в кодировке файла", 1)

    def lines(self) -> Iterator[tuple[int, Line]]:
        header = self._table.header
        for number, cells in self._table.rows():
            if len(cells) != len(header):
                raise refusal("число столбцов не совпадает с заголовком", number)
            line = {name: cell.strip() for name, cell in zip(header, cells, strict=True)}
            if any(map(_UNREADABLE.search, line.values())):
                raise refusal("знаки не читаются в кодировке файла", number)
            if any(line.values()):
                yield number, line


class PacketSource(Source):
    """A packet of ФФОМС, read as a stream: once for its header and columns, then for its lines."""

    def __init__(self, path: Path, stem: str) -> None:
        super().__init__(path, stem)
        self._path = path
        counts, columns = self._survey()
        if not counts:
            raise refusal("в пакете нет ни одной записи (zap)")
        if _RECORD not in counts and len(counts) > 1:
            raise refusal("не ясно, какие элементы пакета — записи: нет zap")
        self._tag = _RECORD if _RECORD in counts else next(iter(counts))
        for other in sorted(counts.keys() - {self._tag}):
            self.notes.append(f"элементы {other} — не записи, их {counts[other]}")
        self.columns = tuple(columns[self._tag])

    def lines(self) -> Iterator[tuple[int, Line]]:
        for record in self._records():
            if _tag(record) == self._tag:
                line = _cells(record)
                if line:
                    yield record.sourceline or 0, line

    def _survey(self) -> tuple[dict[str, int], dict[str, dict[str, None]]]:
        """How many elements of each tag there are, and their columns in order; the header is read on the way."""
        counts: dict[str, int] = {}
        columns: dict[str, dict[str, None]] = {}
        facts: dict[str, str] = {}
        for record in self._records(facts):
            tag = _tag(record)
            if tag == _HEADER:
                facts |= {_tag(one): (one.text or "").strip() for one in record}
                continue
            counts[tag] = counts.get(tag, 0) + 1
            columns.setdefault(tag, {}).update(dict.fromkeys(_cells(record)))
        self._take(facts)
        return counts, columns

    def _take(self, facts: Mapping[str, str]) -> None:
        self.kind = facts.get("type") or None
        self.version = (facts.get("version") or "")[:_VERSION_LENGTH] or self.version
        text = facts.get("date") or facts.get("data") or ""
        if text:
            self.valid_from = day_of(text)
            if self.valid_from is None:
                raise refusal("дата в заголовке (zglv) не имеет формы ГГГГ-ММ-ДД или ДД.ММ.ГГГГ")

    def _records(self, facts: dict[str, str] | None = None) -> Iterator[Any]:
        """The children of the root; ``facts`` get the attributes of the root."""
        with self._path.open("rb") as content:
            try:
                stream = xml.Stream(content, _roots(content), _LIMITS)
                if facts is not None:
                    facts |= {_name(name): value.strip() for name, value in stream.attributes.items()}
                yield from stream.records()
            except GatewayError as error:
                raise refusal(error.message if error.code == "dictionary.file" else f"XML: {error.message}") from None


def _roots(content: BinaryIO) -> tuple[str, ...]:
    """The tag of the root, whatever it is, in any namespace."""
    found = _ROOT.match(content.read(_HEAD_BYTES).removeprefix(codecs.BOM_UTF8))
    content.seek(0)
    return (f"{{*}}{found[1].decode()}",) if found else ()


@lru_cache(4096)
def _name(qualified: str) -> str:
    return qualified.rpartition("}")[2].lower()


def _tag(element: Any) -> str:
    return _name(element.tag)


def _cells(record: Any) -> dict[str, Cell]:
    """The values of a record by column, empty ones too; a record without any value has no cells."""
    found: dict[str, list[str]] = {}
    for name, value in record.attrib.items():
        found.setdefault(_name(name), []).append(value.strip())
    _gather(record, "", found)
    cells = {column: values[0] if len(values) == 1 else _several(values) for column, values in found.items()}
    return cells if any(cells.values()) else {}


def _gather(element: Any, prefix: str, found: dict[str, list[str]]) -> None:
    for child in element:
        column = prefix + _name(child.tag)
        if len(child):
            _gather(child, column + ".", found)
            continue
        text = child.text
        value = text.strip() if text else ""
        if column in found:
            found[column].append(value)
        else:
            found[column] = [value]


def _several(values: list[str]) -> Cell:
    filled = tuple(value for value in values if value)
    return filled or ""
