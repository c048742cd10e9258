"""Lists in DBF: tables of dBase III, IV and FoxPro without memo fields, named by the DBF names of columns.

Layout: 32 bytes of header, 32 for each field, 0x0D (FoxPro adds 263 bytes, Clipper one), records of one width, each with
a mark of deletion first, perhaps 0x1A. Code page by the header's language driver: 0xC9 is windows-1251, anything else
cp866. A table whose header and size disagree is refused as a whole, a record with a wrong value by its number. Deleted
records are passed over, but counted, as the programs that made them show them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from gateway.errors import GatewayError
from gateway.formats import list_columns
from gateway.formats.listing import Column, ListRecord, Problem

_PLAIN, _DBASE4, _FOXPRO = 0x03, 0x04, 0x30
_MEMO = frozenset((0x83, 0x8B, 0xCB, 0xF5, 0xFB, 0x31, 0x32, 0x43, 0x63, 0x7B))
_ENDS = {_PLAIN: (1, 2), _FOXPRO: (1, 2, 264)}
"""How long the header may be after its fields."""

_CYRILLIC_WINDOWS = 0xC9
_WIDTHS = {"C": range(1, 255), "N": range(1, 33), "F": range(1, 33), "D": range(8, 9), "L": range(1, 2)}
_FIELDS_MOST = 255
_PIECE = 1024 * 1024
_LIVE, _DELETED = 0x20, 0x2A


@dataclass(frozen=True, slots=True)
class _Field:
    """A field that is taken: its column, its name and type in the file, its bytes in a record."""

    column: Column
    name: str
    kind: str
    start: int
    end: int


def is_table(head: bytes) -> bool:
    """Whether a file that begins so is a DBF of any kind, right or not."""
    if len(head) < 33 or not (head[0] in _ENDS or head[0] in _MEMO or head[0] == _DBASE4):
        return False
    # a byte that may begin a text needs the month, the day and the zeros of a header beside it
    return head[0] == _PLAIN or (1 <= head[2] <= 12 and 1 <= head[3] <= 31 and head[12:14] == b"\0\0")


class DbfTable:
    """A table opened at its first record; ``source`` stands at its beginning and can be sought."""

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        size = source.seek(0, 2)
        source.seek(0)
        head = source.read(32)
        if len(head) < 32:
            raise _broken("заголовок DBF оборван")
        if head[0] not in _ENDS or head[28] & 0x02:
            raise _broken("вид таблицы DBF не поддерживается: нужна dBase III без мемо-полей")
        if head[15]:
            raise _broken("таблица DBF зашифрована")
        self._count, self._start, self._length = struct.unpack_from("<IHH", head, 4)
        self._encoding = "cp1251" if head[29] == _CYRILLIC_WINDOWS else "cp866"
        self._fields = self._read_fields(head[0])
        self._check_size(size)

    def records(self) -> Iterator[ListRecord]:
        """Raises ``file.structure`` for a mark of deletion that is none."""
        length = self._length
        portion = max(1, _PIECE // length)
        self._source.seek(self._start)
        number = 0
        while number < self._count:
            rows = self._source.read(length * min(portion, self._count - number))
            if not rows:
                raise _broken("файл оборван")
            for at in range(0, len(rows), length):
                number += 1
                if rows[at] == _LIVE:
                    yield self._record(number, rows[at : at + length])
                elif rows[at] != _DELETED:
                    raise _broken(f"запись {number}: неверный признак удаления")

    def _record(self, number: int, row: bytes) -> ListRecord:
        record = ListRecord(number)
        for field in self._fields:
            try:
                text = row[field.start : field.end].decode(self._encoding).strip(" \0")
            except UnicodeDecodeError:
                wrong: str | None = "load.encoding"
            else:
                wrong = "field.format" if not text.isprintable() else _fill(record, field, text)
            if wrong:
                record.problems.append(Problem(wrong, field.name))
        return record

    def _read_fields(self, version: int) -> list[_Field]:
        """The fields that are taken; all of them are checked."""
        ends = [end for end in _ENDS[version] if self._start > 32 + end and (self._start - 32 - end) % 32 == 0]
        number = (self._start - 32 - ends[0]) // 32 if ends else 0
        if not 1 <= number <= _FIELDS_MOST:
            raise _broken("длина заголовка DBF неверна")
        described = self._source.read(32 * number + 1)
        if len(described) != 32 * number + 1 or described[-1] != 0x0D:
            raise _broken("длина заголовка DBF неверна")
        fields: list[tuple[str, str, int, int]] = []
        at = 1
        for place in range(number):
            name, kind, width = _described(described[32 * place : 32 * place + 32], place + 1)
            fields.append((name, kind, at, at + width))
            at += width
        if at != self._length:
            raise _broken("длина записи DBF не равна сумме полей")
        columns = list_columns.found([name for name, *_ in fields])
        return [_Field(column, *field) for column, field in zip(columns, fields, strict=True) if column is not None]

    def _check_size(self, size: int) -> None:
        rest = size - self._start - self._count * self._length
        if rest == 1:
            self._source.seek(size - 1)
            rest = 0 if self._source.read(1) == b"\x1a" else 1
        if rest:
            raise _broken(f"записей по заголовку DBF {self._count}, размер файла другой")


def _described(data: bytes, place: int) -> tuple[str, str, int]:
    """Name, type and width of a field."""
    raw, _, _ = data[:11].partition(b"\0")
    kind = chr(data[11])
    if not raw or not raw.isascii() or not raw.decode().isprintable():
        raise _broken(f"поле {place}: имя неверно")
    if kind in ("M", "G", "P", "B"):
        raise _broken(f"поле {place}: мемо-поля не поддерживаются")
    if kind not in _WIDTHS:
        raise _broken(f"поле {place}: тип не поддерживается")
    if data[16] not in _WIDTHS[kind]:
        raise _broken(f"поле {place}: длина неверна")
    return raw.decode().strip(), kind, data[16]


def _fill(record: ListRecord, field: _Field, text: str) -> str | None:
    if field.kind == "D":
        if text.strip("0") == "":
            text = ""
        elif len(text) == 8 and text.isascii() and text.isdigit():
            text = f"{text[:4]}-{text[4:6]}-{text[6:]}"
    return list_columns.fill(record, field.column, text)


def _broken(what: str) -> GatewayError:
    return GatewayError("file.structure", what=what)
