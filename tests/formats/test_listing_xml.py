"""The own XML: its schema is pinned, its header and records are valid by it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from lxml import etree

from gateway.formats import listing_xml
from gateway.formats.listing import COLUMNS, ListHeader

HEADER = ListHeader(
    "400001", None, "2026-Q4", "OBSERVED", "CURRENT", datetime(2026, 11, 18, 9, tzinfo=UTC), None, "1.x", 1, 1, 9
)
SCHEMA = etree.XMLSchema(etree.fromstring(listing_xml.schema()))


def document(record: str) -> etree._Element:
    return etree.fromstring(listing_xml.head(HEADER) + record.encode() + listing_xml.TAIL)


def test_the_pinned_schema_is_the_programs() -> None:
    root = Path(__file__).parents[2]
    assert (root / "schemas" / "ObservationList.v1.xsd").read_bytes() == listing_xml.schema()


def test_what_an_upload_needs_is_enough() -> None:
    assert SCHEMA.validate(document("<entries><enp>1</enp><diagnosis>I10</diagnosis></entries>"))
    least = document("")
    for child in list(least[0]):
        if etree.QName(child).localname != "records":
            least[0].remove(child)
    assert SCHEMA.validate(least)


@pytest.mark.parametrize(
    "record",
    [
        "<entries/>",
        "<entries><enp>1</enp></entries>",
        "<entries><diagnosis>I10</diagnosis><enp>1</enp></entries>",
        "<entries><enp>1</enp><diagnosis>I10</diagnosis><diagnosedOn>18.11.2026</diagnosedOn></entries>",
        "<entries><enp>1</enp><diagnosis>I10</diagnosis><plannedMonths>2026</plannedMonths></entries>",
        "<entries><enp>1</enp><diagnosis>I10</diagnosis><other/></entries>",
        "<entry/>",
    ],
)
def test_what_is_no_record(record: str) -> None:
    assert not SCHEMA.validate(document(record))


def test_every_column_has_its_element() -> None:
    values = {
        "date": "2026-11-18",
        "int": "1",
        "bool": "true",
        "time": "2026-11-18T09:00:00+03:00",
        "months": "2026-11",
    }
    record = "".join(
        f"{listing_xml.open_tag(column)}{values.get(column.kind, 'А&amp;')}{listing_xml.close_tag(column)}"
        for column in COLUMNS
    )
    assert SCHEMA.validate(document(f"<entries>{record}</entries>")), SCHEMA.error_log


@pytest.mark.parametrize("line", [b"", b"<entryId>1</entryId>", b"<x/></entries>", b"\xff</entries>"])
def test_stored_lines_of_another_form_are_refused(line: bytes) -> None:
    with pytest.raises(ValueError):
        listing_xml.values_of(line)
