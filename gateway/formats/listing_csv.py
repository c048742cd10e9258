"""The list as CSV that Excel in Russian opens with a double click: UTF-8 with BOM, ``;``, CRLF, days ``dd.MM.yyyy``.

Codes and months are written ``="…"``: a spreadsheet then rounds no ЕНП, drops no leading zero and makes no date of a
month. A text that begins as a formula is written in the same way and stays a text. Control characters become blanks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from gateway.formats.listing import COLUMNS, Column

BOM = b"\xef\xbb\xbf"
END = "\r\n"
YES, NO = "да", "нет"
_NUMBERED = f"%d%b{END}".encode()
FORMULA = "=+@-"
"""What a formula begins with; the hyphen last, as classes of regular expressions want it."""

SPECIAL = '";'
"""What makes a cell stand in quotes."""

CONTROLS = "".join(map(chr, (*range(1, 32), 127)))
_BLANK = dict.fromkeys(map(ord, CONTROLS + "\0"), " ")


def head() -> bytes:
    """The byte order mark and the line of titles."""
    return BOM + ";".join(_text(column.title) for column in COLUMNS).encode() + END.encode()


def line(number: int, values: Sequence[str | None]) -> bytes:
    """A record: ``values`` in the order of `COLUMNS` without the number, as lists write them (days ``yyyy-MM-dd``)."""
    cells = [write(value) if value else "" for write, value in zip(_WRITERS, values, strict=True)]
    return f"{number};{';'.join(cells)}{END}".encode()


def numbered(first: int, lines: Iterable[bytes]) -> list[bytes]:
    """Records of lines without their numbers and without the end of line."""
    return [_NUMBERED % one for one in enumerate(lines, first)]


def _text(value: str) -> str:
    value = value.translate(_BLANK)
    if value[:1] in FORMULA:
        return _literal(value)
    if any(one in value for one in SPECIAL):
        return '"' + value.replace('"', '""') + '"'
    return value


def _literal(value: str) -> str:
    """A formula that is a text: its quotes are doubled for the formula and again for the cell."""
    return '"=""' + value.translate(_BLANK).replace('"', '""""') + '"""'


def _day(value: str) -> str:
    return f"{value[8:10]}.{value[5:7]}.{value[:4]}"


def _time(value: str) -> str:
    """The time of the region as it stands in the value; parts of a second and the zone are left out."""
    return f"{_day(value)} {value[11:19]}"


def _truth(value: str) -> str:
    return YES if value == "true" else NO


_OF_KIND: dict[str, Callable[[str], str]] = {
    "text": _text,
    "code": _literal,
    "months": _literal,
    "date": _day,
    "time": _time,
    "bool": _truth,
    "int": str,
}


def _writer(column: Column) -> Callable[[str], str]:
    return _OF_KIND[column.kind]


_WRITERS = tuple(map(_writer, COLUMNS[1:]))
