"""The list as an Excel book: codes are texts, days are days, the line of titles stays in sight.

Rows go to temporary files in the given folder and the book is packed at its end, so memory does not grow with rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import xlsxwriter
from xlsxwriter.exceptions import FileCreateError

from gateway.formats.listing import COLUMNS, Column, ListHeader
from gateway.formats.listing_csv import NO, YES

_WIDTH_LEAST, _WIDTH_MOST = 8, 32
_DAY, _TIME = "dd.mm.yyyy", "dd.mm.yyyy hh:mm:ss"


def write(path: Path, header: ListHeader, rows: Iterable[tuple[int, Sequence[str | None]]], folder: Path) -> None:
    """Writes a book of numbered rows, values in the order of `COLUMNS` without the number. OSError where disk fails."""
    options = {
        "constant_memory": True,
        "tmpdir": str(folder),
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
    }
    book = xlsxwriter.Workbook(str(path), options)
    book.use_zip64()
    book.set_properties({"created": header.as_of.astimezone().replace(tzinfo=None)})
    _rows(book, rows)
    _about(book, header)
    try:
        book.close()
    except FileCreateError as error:
        cause = error.args[0] if error.args else None
        raise cause if isinstance(cause, OSError) else OSError(str(error)) from error


def _rows(book: Any, rows: Iterable[tuple[int, Sequence[str | None]]]) -> None:
    sheet = book.add_worksheet("Список")
    title = book.add_format({"bold": True, "bg_color": "#DDE6F0", "bottom": 1})
    day, time = (book.add_format({"num_format": form}) for form in (_DAY, _TIME))
    for place, column in enumerate(COLUMNS):
        sheet.set_column(place, place, _width(column))
    for place, column in enumerate(COLUMNS):
        sheet.write_string(0, place, column.title, title)
    sheet.freeze_panes(1, 0)
    kinds = [column.kind for column in COLUMNS[1:]]
    for at, (number, values) in enumerate(rows, 1):
        sheet.write_number(at, 0, number)
        for place, (kind, value) in enumerate(zip(kinds, values, strict=True), 1):
            if not value:
                continue
            if kind == "date":
                sheet.write_datetime(at, place, date.fromisoformat(value), day)
            elif kind == "time":
                sheet.write_datetime(at, place, datetime.fromisoformat(value).replace(tzinfo=None), time)
            elif kind == "int":
                sheet.write_number(at, place, int(value))
            else:
                sheet.write_string(at, place, (YES if value == "true" else NO) if kind == "bool" else value)


def _about(book: Any, header: ListHeader) -> None:
    """The second sheet: what list this is."""
    sheet = book.add_worksheet("Сведения")
    sheet.set_column(0, 0, 28)
    sheet.set_column(1, 1, 48)
    lines = (
        ("МО", header.organisation or "все"),
        ("Период", header.period),
        ("Тип списка", header.list_type),
        ("Редакция", header.edition),
        ("Составлен на", f"{header.as_of:%d.%m.%Y %H:%M:%S}"),
        ("Период закрыт", f"{header.closed_at:%d.%m.%Y %H:%M:%S}" if header.closed_at else ""),
        ("Первая запись файла", str(header.first)),
        ("Записей в файле", str(header.records)),
        ("Записей в списке", str(header.total)),
        ("Метка изменений", header.change_token),
    )
    for at, (name, value) in enumerate(lines):
        sheet.write_string(at, 0, name)
        sheet.write_string(at, 1, value)


def _width(column: Column) -> int:
    shown = {"date": 11, "time": 19, "bool": 6}.get(column.kind, column.width + 2)
    return max(_WIDTH_LEAST, min(_WIDTH_MOST, max(shown, len(column.title) + 2)))
