"""DBF as funds and Excel read it: dBase III, cp866, no memo fields. Records are made in portions and never kept.

A record is a blank and its fields side by side, each of a fixed width. What cp866 does not have is written ``?``, what
is longer than its field is cut, and both are counted: the caller says so where people look.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

ENCODING = "cp866"
LANGUAGE = 0x65
"""Language driver: Russian MS-DOS, code page 866 (dBase also knows 0x26)."""

END = b"\x1a"
_VERSION = 3
_TEXT_MOST, _RECORD_MOST, _FIELDS_MOST = 254, 4000, 128


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a DBF table. C: text; N: a number, right; D: a day, given ``yyyy-MM-dd``; L: given ``true``/``false``."""

    name: str
    kind: Literal["C", "N", "D", "L"]
    width: int
    decimals: int = 0

    def __post_init__(self) -> None:
        widths = {"C": range(1, _TEXT_MOST + 1), "N": range(1, 21), "D": range(8, 9), "L": range(1, 2)}
        if not (1 <= len(self.name) <= 10 and self.name.isascii() and self.width in widths[self.kind]):
            raise ValueError(f"no such field in DBF: {self}")


class Table:
    """Writes the records of one table of ``fields``; ``replaced`` and ``cut`` count values that lost something."""

    def __init__(self, fields: Sequence[Field]) -> None:
        self.fields = tuple(fields)
        self.length = 1 + sum(one.width for one in self.fields)
        if len(self.fields) > _FIELDS_MOST or self.length > _RECORD_MOST:
            raise ValueError("a record of DBF has at most 128 fields and 4000 bytes")
        self.replaced = 0
        self.cut = 0
        self._shapes = tuple(map(_shape, self.fields))
        self._row = _compile(self.fields)

    def head(self, records: int, day: date) -> bytes:
        """The header of a table of so many records, written on ``day``."""
        size = 32 + 32 * len(self.fields) + 1
        stamp = (day.year - 1900, day.month, day.day)
        start = struct.pack("<4BIHH17xB2x", _VERSION, *stamp, records, size, self.length, LANGUAGE)
        rows = (
            struct.pack("<11sc4xBB14x", one.name.encode(), one.kind.encode(), one.width, one.decimals)
            for one in self.fields
        )
        return start + b"".join(rows) + b"\r"

    def records(self, rows: Sequence[Sequence[str | None]]) -> bytes:
        """Records of rows of text. ValueError for a number wider than its field: a number is never cut."""
        row, length = self._row, self.length
        texts = [text if len(text := row(one)) == length else self._fitted(one) for one in rows]
        try:
            return "".join(texts).encode(ENCODING)
        except UnicodeEncodeError:
            return b"".join(map(self._encoded, texts, rows))

    def _fitted(self, row: Sequence[str | None]) -> str:
        cells = []
        for one, shape, value in zip(self.fields, self._shapes, row, strict=True):
            cell = shape(value or "")
            if len(cell) > one.width:
                if one.kind != "C":
                    raise ValueError(f"a value is wider than the field {one.name}")
                self.cut += 1
            cells.append(cell[: one.width])
        return " " + "".join(cells)

    def _encoded(self, text: str, row: Sequence[str | None]) -> bytes:
        try:
            return text.encode(ENCODING)
        except UnicodeEncodeError:
            self.replaced += sum(not _has(value) for value in row if value)
            return text.encode(ENCODING, "replace")


def _has(value: str) -> bool:
    try:
        value.encode(ENCODING)
    except UnicodeEncodeError:
        return False
    return True


def _shape(field: Field) -> Callable[[str], str]:
    """A value as the characters of its field; longer than the field where it does not fit."""
    width = field.width
    if field.kind == "C":
        return lambda value: value.translate(_BLANK).ljust(width)
    if field.kind == "N":
        return lambda value: value.rjust(width)
    if field.kind == "D":
        return lambda value: value.replace("-", "").ljust(width)
    return lambda value: _TRUTH.get(value, " ")


_BLANK = dict.fromkeys((*range(32), 127), " ")
_TRUTH = {"true": "T", "false": "F"}
_PIECES = {
    "C": "{{{name} or '':<{width}}}",
    "N": "{{{name} or '':>{width}}}",
    "D": "{{{name}[:4] + {name}[5:7] + {name}[8:] if {name} else '        '}}",
    "L": "{{TRUTH.get({name}, ' ')}}",
}


def _compile(fields: Sequence[Field]) -> Callable[[Sequence[str | None]], str]:
    """A generated function that writes a row; a row that does not fit, or holds what is not printable, comes out empty."""
    names = [f"c{number}" for number in range(len(fields))]
    pieces = [
        _PIECES[one.kind].format(name=name, width=one.width) for one, name in zip(fields, names, strict=True)
    ]  # fmt: skip
    source = f"""
def row(values):
    {", ".join(names)}, = values
    text = f" {"".join(pieces)}"
    return text if text.isprintable() else ""
"""
    made: dict[str, Callable[[Sequence[str | None]], str]] = {}
    exec(source, {"TRUTH": _TRUTH}, made)  # noqa: S102 - made of names of our own
    return made["row"]
