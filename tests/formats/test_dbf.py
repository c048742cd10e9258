"""DBF in the eyes of another reader; what does not fit is cut or replaced, counted, and never moves the next field."""

from __future__ import annotations

import struct
from datetime import date
from pathlib import Path

import pytest
from dbfread import DBF
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.formats.dbf import END, Field, Table

FIELDS = (
    Field("NAME", "C", 10),
    Field("COUNT", "N", 6),
    Field("DAY", "D", 8),
    Field("FLAG", "L", 1),
    Field("SUM", "N", 12, 2),
)
DAY = date(2026, 11, 18)
KNOWN = "".join(bytes([n]).decode("cp866") for n in range(256))


def table(path: Path, rows: list[tuple[str | None, ...]]) -> Table:
    made = Table(FIELDS)
    path.write_bytes(made.head(len(rows), DAY) + made.records(rows) + END)
    return made


ROWS = st.tuples(
    st.none() | st.text(st.sampled_from(KNOWN), max_size=10),
    st.none() | st.integers(-99999, 999999).map(str),
    st.none() | st.dates(date(1000, 1, 1)).map(str),
    st.none() | st.sampled_from(["true", "false"]),
    st.none() | st.decimals(-99999, 99999, places=2).map(str),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(ROWS, max_size=20))
def test_another_reader_sees_the_same(tmp_path: Path, rows: list[tuple[str | None, ...]]) -> None:
    made = table(tmp_path / "a.dbf", rows)
    assert (made.replaced, made.cut) == (0, 0)
    found = DBF(tmp_path / "a.dbf", raw=False)
    assert found.encoding == "cp866" and found.header.numrecords == len(rows) and found.date == DAY
    assert [field.name for field in found.fields] == [field.name for field in FIELDS]
    for row, (name, count, day, flag, total) in zip(found, rows, strict=True):
        shown = "".join(" " if one < " " or one == "\x7f" else one for one in name or "")
        assert row["NAME"] == shown.rstrip(" ") or row["NAME"] == shown.rstrip(" \0")
        assert row["COUNT"] == (int(count) if count else None)
        assert row["DAY"] == (date.fromisoformat(day) if day else None)
        assert row["FLAG"] is ({"true": True, "false": False}[flag] if flag else None)
        assert row["SUM"] == (pytest.approx(float(total)) if total else None)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(st.text(max_size=30), max_size=20))
def test_a_record_is_never_longer_or_shorter(tmp_path: Path, names: list[str]) -> None:
    made = Table(FIELDS)
    content = made.records([(name, "1", "2026-11-18", "true", None) for name in names])
    assert len(content) == made.length * len(names)
    for at in range(len(names)):
        record = content[at * made.length : (at + 1) * made.length]
        assert record[:1] == b" " and record[11:] == b"     120261118T" + b" " * 12


def test_losses_are_counted() -> None:
    made = Table(FIELDS)
    rows = [("Ёлкин", None, None, None, None), ("Оўен\U0001d4b3", None, None, None, None), ("Щ" * 11,) + (None,) * 4]
    content = made.records(rows)
    assert "Ёлкин".encode("cp866") in content and "Оўен?".encode("cp866") in content
    assert (made.replaced, made.cut) == (1, 1)


def test_a_number_is_never_cut() -> None:
    with pytest.raises(ValueError, match="COUNT"):
        Table(FIELDS).records([(None, "1234567", None, None, None)])


def test_head() -> None:
    head = Table(FIELDS).head(3, DAY)
    version, year, month, day, records, size, length = struct.unpack("<4BIHH", head[:12])
    assert (version, 1900 + year, month, day, records, size, length) == (3, 2026, 11, 18, 3, len(head), 38)
    assert head[29] == 0x65 and head[-1:] == b"\r"


@pytest.mark.parametrize(
    "field", [("TOOLONGNAME", "C", 1), ("ИМЯ", "C", 1), ("A", "C", 255), ("A", "D", 10), ("A", "N", 21)]
)
def test_what_is_no_field(field: tuple[str, str, int]) -> None:
    with pytest.raises(ValueError, match="no such field"):
        Field(*field)  # type: ignore[arg-type]


def test_what_is_no_table() -> None:
    with pytest.raises(ValueError, match="4000"):
        Table([Field(f"F{n}", "C", 254) for n in range(16)])
