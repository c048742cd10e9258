"""CSV for Excel: what a spreadsheet would spoil is protected, and every value can be read back."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.formats import listing_csv
from gateway.formats.listing import COLUMNS

EMPTY = [None] * (len(COLUMNS) - 1)


def cell(name: str, value: str) -> str:
    """The cell as a program reads it."""
    place = [column.name for column in COLUMNS].index(name)
    values: list[str | None] = list(EMPTY)
    values[place - 1] = value
    text = listing_csv.line(7, values).decode()
    assert text.endswith("\r\n") and text.count("\n") == 1
    (row,) = csv.reader(io.StringIO(text, newline=""), delimiter=";")
    assert row[0] == "7" and len(row) == len(COLUMNS)
    return row[place]


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("enp", "7700001234567890", '="7700001234567890"'),
        ("snils", "00112233445", '="00112233445"'),
        ("externalId", 'a"b;c', '="a""b;c"'),
        ("externalId", "=cmd|' /C calc'!A0", "=\"=cmd|' /C calc'!A0\""),
        ("plannedMonths", "2026-11", '="2026-11"'),
        ("birthDate", "1960-05-17", "17.05.1960"),
        ("changedAt", "2026-11-18T09:00:01.123+03:00", "18.11.2026 09:00:01"),
        ("byAttachment", "true", "да"),
        ("byAttachment", "false", "нет"),
        ("version", "12", "12"),
        ("lastName", "Ёлкин-Шмидт", "Ёлкин-Шмидт"),
        ("lastName", "=1+1", '="=1+1"'),
        ("lastName", "-Иванов", '="-Иванов"'),
        ("lastName", "@имя", '="@имя"'),
        ("lastName", 'О"Нил;', 'О"Нил;'),
        ("lastName", "а\tб\r\nв", "а б  в"),
    ],
)
def test_cells(name: str, value: str, shown: str) -> None:
    assert cell(name, value) == shown


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.sampled_from(["externalId", "lastName"]))
def test_values_come_back_and_are_no_formulas(value: str, name: str) -> None:
    shown = cell(name, value)
    plain = shown[2:-1].replace('""', '"') if shown.startswith('="') and shown.endswith('"') else shown
    blank = "".join(" " if ord(one) < 32 or one == "\x7f" else one for one in value)
    assert plain == blank
    assert not shown.startswith(("+", "-", "@"))
    assert not shown.startswith("=") or (shown[1] == '"' and '"' not in shown[2:-1].replace('""', ""))


def test_head() -> None:
    head = listing_csv.head()
    assert head.startswith(b"\xef\xbb\xbf" + "№;".encode()) and head.endswith(b"\r\n")
    assert head.decode("utf-8-sig").strip().split(";") == [column.title for column in COLUMNS]
