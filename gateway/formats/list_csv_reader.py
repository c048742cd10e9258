"""Lists in CSV: UTF-8 with or without BOM, or windows-1251; ``;``, tab, ``,`` or ``|``; a header line of column names.

A record is one line; empty lines are passed over, as is Excel's first line ``sep=;``. A cell may stand in quotes and in
``="…"``, which keeps a spreadsheet from changing codes. A line that is too long or holds control characters is no CSV:
the file is refused as a whole, without reading such a line to its end.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from typing import BinaryIO

from gateway.errors import GatewayError
from gateway.formats import list_columns
from gateway.formats.listing import COLUMNS, ListRecord, Problem

LINE_BYTES = 64 * 1024
"""The longest line; the longest record of the own format is ten times shorter."""

EMPTY_MOST = 10_000
"""Empty lines are quick to pack: a small archive of nothing else would keep a worker busy for hours."""

CELLS_MOST = 4 * len(COLUMNS)

_BOM = b"\xef\xbb\xbf"
_DELIMITERS = ";\t,|"
_PIECE = 1024 * 1024
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_CONTROL = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_SEPARATOR = re.compile(r"sep=([;\t,|])\Z", re.IGNORECASE)


class ListCsv:
    """A file opened at its header line; ``source`` stands at its beginning and can be sought."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._lines = 0
        self._encoding = self._encoding_of()
        header = self._next()
        separator = _SEPARATOR.match(self._text(header or b""))
        if separator:
            header = self._next()
        text = self._text(header or b"")
        self._delimiter = separator[1] if separator else max(_DELIMITERS, key=text.count)
        names = self._cells(text)
        if len(names) > CELLS_MOST:
            raise GatewayError("file.format", what=f"столбцов больше {CELLS_MOST}")
        self._columns = list_columns.found(names)

    def records(self) -> Iterator[ListRecord]:
        """Raises ``file.structure`` for a line that is no line of CSV."""
        columns = self._columns
        number = empty = 0
        while (line := self._next()) is not None:
            if not line:
                empty += 1
                if empty > EMPTY_MOST:
                    raise self._broken(f"пустых строк больше {EMPTY_MOST}")
                continue
            number += 1
            record = ListRecord(number)
            try:
                cells = self._cells(line.decode(self._encoding))
            except UnicodeDecodeError:
                record.problems.append(Problem("load.encoding", ""))
            else:
                if len(cells) == len(columns):
                    self._fill(record, cells)
                else:
                    record.problems.append(Problem("load.line", ""))
            yield record

    def _fill(self, record: ListRecord, cells: list[str]) -> None:
        for column, cell in zip(self._columns, cells, strict=True):
            if column is not None and (wrong := list_columns.fill(record, column, _bare(cell))):
                record.problems.append(Problem(wrong, column.name))

    def _encoding_of(self) -> str:
        """By the mark, or by the first line with other than ASCII; the source is then back behind the mark."""
        start = len(_BOM) if self._source.read(len(_BOM)) == _BOM else 0
        encoding = "utf-8"
        self._source.seek(start)
        while not start and (piece := self._source.read(_PIECE)):
            if found := _NOT_ASCII.search(piece):
                line = (piece[found.start() :] + self._source.read(LINE_BYTES)).split(b"\n", 1)[0]
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError:
                    encoding = "cp1251"
                break
        self._source.seek(start)
        return encoding

    def _next(self) -> bytes | None:
        """The next line without its end; None at the end of the file."""
        line = self._source.readline(LINE_BYTES)
        if not line:
            return None
        self._lines += 1
        line = line[:-1] if line.endswith(b"\n") else line
        line = line[:-1] if line.endswith(b"\r") else line
        if len(line) >= LINE_BYTES - 2:
            raise self._broken(f"длиннее {LINE_BYTES} байт")
        if _CONTROL.search(line):
            raise self._broken("управляющие знаки")
        return line

    def _text(self, line: bytes) -> str:
        try:
            return line.decode(self._encoding)
        except UnicodeDecodeError:
            raise self._broken("знаки не в кодировке файла") from None

    def _cells(self, text: str) -> list[str]:
        if '"' not in text:
            return text.split(self._delimiter)
        try:
            return next(csv.reader((text,), delimiter=self._delimiter, strict=True), [])
        except csv.Error:
            return []

    def _broken(self, what: str) -> GatewayError:
        return GatewayError("file.structure", what=f"строка {self._lines}: {what}")


def _bare(cell: str) -> str:
    """The value of a cell, taken out of ``="…"``."""
    cell = cell.strip()
    if cell.startswith('="') and cell.endswith('"') and len(cell) > 2:
        return cell[2:-1].replace('""', '"').strip()
    return cell
