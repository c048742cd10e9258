"""The protocol of an uploaded list for people: CSV of every record, and a book with the sums and the refused records.

CSV as Excel in Russian opens it: UTF-8 with BOM, ``;``, CRLF. entryId is written ``="…"`` so that it stays whole.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xlsxwriter

from gateway.errors import ACCEPTED, KINDS
from gateway.formats.cells import exact

TITLES = ("№ записи", "Код", "Сообщение", "Поле", "Что сделать", "Идентификатор записи")
_WIDTHS = (10, 26, 60, 20, 60, 22)
_BOM = "\ufeff"
_PORTION = 1_000


@dataclass(frozen=True, slots=True)
class Line:
    """A record of the file, numbered from 1: the code of its result and the field that a refusal speaks of."""

    number: int
    code: str
    field: str | None = None
    entry_id: int | None = None

    @property
    def message(self) -> str:
        return message_of(self.code)

    @property
    def remedy(self) -> str:
        return "" if self.code in ACCEPTED else KINDS[self.code].remedy


def message_of(code: str) -> str:
    """The Russian text of a result."""
    return ACCEPTED.get(code) or KINDS[code].shown


def table(lines: Iterable[Line]) -> Iterator[bytes]:
    """The CSV in portions."""
    out = io.StringIO(_BOM, newline="")
    out.seek(0, io.SEEK_END)
    writer = csv.writer(out, delimiter=";", lineterminator="\r\n")
    writer.writerow(TITLES)
    for count, line in enumerate(lines, 1):
        writer.writerow((line.number, line.code, line.message, line.field or "", line.remedy, exact(line.entry_id)))
        if not count % _PORTION:
            yield out.getvalue().encode()
            out.seek(0)
            out.truncate()
    yield out.getvalue().encode()


def book(
    path: Path, about: Mapping[str, str], counts: Mapping[str, int], refused: Iterable[Line], folder: Path
) -> None:
    """Writes the book; rows go through temporary files in ``folder``, so that memory does not grow with them."""
    made = xlsxwriter.Workbook(
        str(path),
        {"constant_memory": True, "tmpdir": str(folder), "strings_to_formulas": False, "strings_to_urls": False},
    )
    title = made.add_format({"bold": True, "bg_color": "#DDE6F0", "bottom": 1})
    _sums(made.add_worksheet("Итоги"), title, about, counts)
    sheet = made.add_worksheet("Отказы")
    for place, (name, width) in enumerate(zip(TITLES[:-1], _WIDTHS, strict=False)):
        sheet.set_column(place, place, width)
        sheet.write_string(0, place, name, title)
    sheet.freeze_panes(1, 0)
    for at, line in enumerate(refused, 1):
        sheet.write_number(at, 0, line.number)
        for place, text in enumerate((line.code, line.message, line.field or "", line.remedy), 1):
            sheet.write_string(at, place, text)
    made.close()


def _sums(sheet: Any, title: Any, about: Mapping[str, str], counts: Mapping[str, int]) -> None:
    for place, width in enumerate((28, 60, 12)):
        sheet.set_column(place, place, width)
    at = 0
    for at, (name, value) in enumerate(about.items()):
        sheet.write_string(at, 0, name)
        sheet.write_string(at, 1, value)
    at += 2
    for place, name in enumerate(("Код", "Сообщение", "Записей")):
        sheet.write_string(at, place, name, title)
    for code, count in counts.items():
        at += 1
        sheet.write_string(at, 0, code)
        sheet.write_string(at, 1, message_of(code))
        sheet.write_number(at, 2, count)
