"""`indicator targets load`: targets of indicators by month from a CSV file, whole or not at all.

Columns in any order: ``indicator``, ``year``, ``month``, ``target`` (percent, up to two places after a dot or comma), and
``organisation``, whose empty cell (or absence) means the region. UTF-8 or windows-1251 (`gateway.formats.tabular`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from gateway.errors import GatewayError
from gateway.formats.tabular import open_table
from gateway.lists import queries
from gateway.lists.choice import YEARS
from gateway.lists.indicators import DICTIONARY
from gateway.nsi.dictionaries import Nsi

REQUIRED = frozenset(("indicator", "year", "month", "target"))
COLUMNS = REQUIRED | {"organisation"}
_TARGET = re.compile(r"[0-9]{1,3}(?:[.,][0-9]{1,2})?\Z")


def load(connection: Connection, path: Path, nsi: Nsi) -> int:
    """Adds and replaces targets; returns how many lines. Raises ``indicator.targets`` with the line."""
    known = set(nsi.items(DICTIONARY))
    organisations = queries.organisation_codes(connection)
    rows = list(_rows(path, known, organisations))
    if not rows:
        raise _refusal("нет ни одной строки")
    queries.put_indicator_targets(connection, rows)
    return len(rows)


def _rows(path: Path, indicators: Collection[str], organisations: Collection[str]) -> Iterator[dict[str, Any]]:
    table = open_table(path)
    if not COLUMNS >= set(table.header) >= REQUIRED:
        raise _refusal("столбцы — indicator;year;month;target и, если нужно, organisation", 1)
    if len(set(table.header)) != len(table.header):
        raise _refusal("столбец заголовка повторяется", 1)
    seen: dict[tuple[Any, ...], int] = {}
    for number, cells in table.rows():
        if len(cells) != len(table.header):
            raise _refusal("число столбцов не совпадает с заголовком", number)
        line = {name: cell.strip() for name, cell in zip(table.header, cells, strict=True)}
        if not any(line.values()):
            continue
        row = _row(line, number, indicators, organisations)
        key = (row["indicator"], row["year"], row["month"], row["organisation"])
        if key in seen:
            raise _refusal(f"повторяет строку {seen[key]}", number)
        seen[key] = number
        yield row


def _row(
    line: dict[str, str], number: int, indicators: Collection[str], organisations: Collection[str]
) -> dict[str, Any]:
    if line["indicator"] not in indicators:
        raise _refusal("показателя нет в справочнике INDICATORS", number)
    year, month = _number(line["year"]), _number(line["month"])
    if year not in YEARS or not 1 <= month <= 12:
        raise _refusal("год или месяц вне пределов", number)
    if not _TARGET.match(line["target"]) or (target := Decimal(line["target"].replace(",", "."))) > 100:
        raise _refusal("целевое значение — от 0 до 100 с двумя знаками после точки или запятой", number)
    organisation = line.get("organisation") or None
    if organisation is not None and organisation not in organisations:
        raise _refusal("организации нет в справочнике", number)
    return {
        "indicator": line["indicator"], "year": year, "month": month, "target": target, "organisation": organisation,
    }  # fmt: skip


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 4 else 0


def _refusal(what: str, line: int | None = None) -> GatewayError:
    return GatewayError("indicator.targets", what=f"строка {line}: {what}" if line else what)
