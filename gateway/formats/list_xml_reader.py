"""Lists in the own XML, as ExportList writes them: ObservationList with a header and one ``entries`` for each record.

Of the header only ``records`` is read: it must be the number of records. Fields of a record stand in any order; those
that only the gateway fills are passed over, ``plannedMonths`` may be repeated. Anything else is a `Problem` of its record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from lxml import etree

from gateway.errors import GatewayError
from gateway.formats import list_columns
from gateway.formats.listing import COLUMNS, NAMESPACE, ListRecord, Problem
from gateway.formats.xml import Stream, fields


def _tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"


ROOT = _tag("ObservationList")
_HEADER, _ENTRY = _tag("header"), _tag("entries")
_COLUMNS = {_tag(column.name): column if column.taken else None for column in COLUMNS} | {_tag("extra"): None}
_COUNT = re.compile(r"[0-9]{1,9}\Z")


class ListXml:
    """A file opened at its header; ``header`` holds the texts of the header by name."""

    def __init__(self, stream: Stream) -> None:
        self._records = stream.records()
        first = next(self._records, None)
        if first is None or first.tag != _HEADER:
            raise _broken("первым должен стоять header")
        self.header = {etree.QName(tag).localname: text or "" for tag, text in fields(first)}
        if not _COUNT.match(self.header.get("records", "")):
            raise _broken("в header нет числа записей records")

    def records(self) -> Iterator[ListRecord]:
        """Raises ``file.structure`` for an element that is no record and for a number of records not as declared."""
        declared = int(self.header["records"])
        number = 0
        for element in self._records:
            if element.tag != _ENTRY:
                raise _broken(f"после записи {number} стоит не entries")
            number += 1
            if number > declared:
                break
            yield _record(number, element)
        if number != declared:
            raise _broken("число записей не равно header/records")


def _record(number: int, element: etree._Element) -> ListRecord:
    record = ListRecord(number)
    seen: set[str] = set()
    for tag, text in fields(element):
        column = _COLUMNS.get(tag)
        if column is None:
            if tag not in _COLUMNS:
                record.problems.append(Problem("field.unknown", etree.QName(tag).localname))
            continue
        if column.name in seen and column.kind != "months":
            wrong: str | None = "field.count"
        else:
            wrong = "field.format" if text is None else list_columns.fill(record, column, text)
        seen.add(column.name)
        if wrong:
            record.problems.append(Problem(wrong, column.name))
    list_columns.check(record)
    return record


def _broken(what: str) -> GatewayError:
    return GatewayError("file.structure", what=what)
