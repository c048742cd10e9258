"""Columns of the own list format as uploads bring them: found by name, their texts turned into a `ListRecord`."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import date

from gateway.domain.persons import snils_digits
from gateway.errors import GatewayError
from gateway.formats.listing import COLUMNS, Column, ListRecord, Problem

MONTHS_MOST = 24

_MONTH = re.compile(r"[0-9]{4}-(?:0[1-9]|1[0-2])\Z")
_RUSSIAN_DAY = re.compile(r"([0-9]{2})\.([0-9]{2})\.([0-9]{4})\Z")
_ISO_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_NEEDED = ("enp", "diagnosis")


def _key(name: str) -> str:
    return " ".join(name.split()).casefold().replace("ё", "е")


_KNOWN = {_key(name): column for column in COLUMNS for name in (column.name, column.title, column.dbf)}


def found(names: Sequence[str]) -> list[Column | None]:
    """The column that stands at each place of a header; None where only the gateway fills it.

    Names are those of the contract, Russian titles or DBF names, in any case. Raises ``file.format`` for a column that
    is unknown or repeated, and if those without which no record is understood are missing.
    """
    columns: list[Column | None] = []
    seen: dict[str, int] = {}
    for place, name in enumerate(names, 1):
        column = _KNOWN.get(_key(name))
        if column is None:
            raise GatewayError("file.format", what=f"столбец {place} не известен")
        if column.name in seen:
            raise GatewayError("file.format", what=f"столбцы {seen[column.name]} и {place} повторяются")
        seen[column.name] = place
        columns.append(column if column.taken else None)
    for name in _NEEDED:
        if name not in seen:
            raise GatewayError("file.format", what=f"нет столбца {name}")
    return columns


def fill(record: ListRecord, column: Column, text: str) -> str | None:
    """Puts the stripped text of a column into the record; returns the code of what is wrong with it, if anything."""
    if not text:
        return "field.missing" if column.name in _NEEDED else None
    return _KINDS[column.kind](record, column, text)


def check(record: ListRecord) -> None:
    """Names what is missing in a record that has no other problems."""
    if not record.problems:
        record.problems += (Problem("field.missing", name) for name in _NEEDED if not getattr(record, name))


def day(text: str) -> date | None:
    """A date as ``yyyy-MM-dd`` or ``dd.MM.yyyy``; None for anything else."""
    if russian := _RUSSIAN_DAY.match(text):
        text = f"{russian[3]}-{russian[2]}-{russian[1]}"
    if not _ISO_DAY.match(text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _fill_text(record: ListRecord, column: Column, text: str) -> str | None:
    if column.name == "doctorSnils":
        text = snils_digits(text)
    if len(text) > column.width:
        return "field.length"
    setattr(record, column.line, text)
    return None


def _fill_day(record: ListRecord, column: Column, text: str) -> str | None:
    value = day(text)
    if value is None:
        return "field.format"
    setattr(record, column.line, value)
    return None


def _fill_months(record: ListRecord, column: Column, text: str) -> str | None:
    months = (*(record.planned_months or ()), *text.split())
    if len(months) > MONTHS_MOST:
        return "field.count"
    if not all(_MONTH.match(month) for month in months):
        return "field.format"
    record.planned_months = months
    return None


_KINDS: dict[str, Callable[[ListRecord, Column, str], str | None]] = {
    "text": _fill_text,
    "code": _fill_text,
    "date": _fill_day,
    "months": _fill_months,
}
"""Kinds of the columns that are taken."""
