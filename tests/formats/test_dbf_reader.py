"""DBF tables that lie (trial A9): refused with the record or the field, never taken by half."""

from __future__ import annotations

import struct
from datetime import date
from pathlib import Path

import pytest

from gateway.errors import GatewayError
from gateway.formats import list_file
from gateway.formats.listing import ListRecord
from tests.formats.hostile import ENP, dbf

FIELDS = [("ENP", "C", 16), ("DS", "C", 7), ("DN_IN", "D", 8)]
ROW = (ENP, "I10", "20240201")


def read(folder: Path, data: bytes) -> list[ListRecord]:
    path = folder / "upload"
    path.write_bytes(data)
    return list(list_file.opened(path, "list.dbf", archive_bytes=1, folder=folder).records())


def with_field(name: str, kind: str, width: int, value: str = "") -> bytes:
    return dbf([*FIELDS, (name, kind, width)], [(*ROW, value)])


@pytest.mark.parametrize("end", [b"", b"\x1a"])
@pytest.mark.parametrize(
    ("version", "padding"),
    [(0x03, b""), (0x03, b"\0"), (0x30, bytes(263))],
    ids=["dBase", "Clipper", "FoxPro"],
)
def test_tables_of_several_programs(tmp_path: Path, version: int, padding: bytes, end: bytes) -> None:
    data = dbf(rows=[ROW, (ENP, "I20.8", "")], version=version, padding=padding, end=end)
    assert read(tmp_path, data) == [
        ListRecord(1, ENP, "I10", observed_since=date(2024, 2, 1)),
        ListRecord(2, ENP, "I20.8"),
    ]


def test_fields_by_dbf_name_contract_or_title(tmp_path: Path) -> None:
    fields = [("enp", "N", 16), ("Диагноз", "C", 5), ("PLAN", "C", 15), ("DN_OUT", "C", 10), ("OUT_RSN", "N", 2)]
    with pytest.raises(GatewayError):
        read(tmp_path, dbf(fields, [(ENP, "I10", "2026-01 2026-07", "01.05.2026", " 3")]))
    fields[1] = ("diagnosis", "C", 5)
    (record,) = read(tmp_path, dbf(fields, [(ENP, "I10", "2026-01 2026-07", "01.05.2026", " 3")]))
    assert record == ListRecord(
        1, ENP, "I10", excluded_on=date(2026, 5, 1), exclusion_reason="3", planned_months=("2026-01", "2026-07")
    )  # fmt: skip


@pytest.mark.parametrize(
    ("page", "encoding"), [(0x65, "cp866"), (0x26, "cp866"), (0, "cp866"), (0x57, "cp866"), (0xC9, "cp1251")]
)
def test_code_pages(tmp_path: Path, page: int, encoding: str) -> None:
    data = dbf([*FIELDS, ("EXT_ID", "C", 10)], [(*ROW, "Ёж")], page=page, encoding=encoding)
    assert read(tmp_path, data)[0].external_id == "Ёж"


def test_bytes_that_the_code_page_lacks_spoil_their_record(tmp_path: Path) -> None:
    data = dbf([*FIELDS, ("EXT_ID", "C", 4)], [(*ROW, "a"), (*ROW, "b"), (*ROW, "c")], page=0xC9, encoding="latin-1")
    records = read(tmp_path, data.replace(b"b   ", b"\x98   "))
    assert [[(one.code, one.field) for one in record.problems] for record in records] == [
        [], [("load.encoding", "EXT_ID")], [],
    ]  # fmt: skip


def test_deleted_records_are_passed_over_and_counted(tmp_path: Path) -> None:
    records = read(tmp_path, dbf(rows=[ROW] * 5, marks="* ** "))
    assert [record.number for record in records] == [2, 5]


def test_a_wrong_record_spoils_itself_only(tmp_path: Path) -> None:
    records = read(tmp_path, dbf(rows=[ROW, (ENP, "", "20240231"), ROW, (ENP, "I\x0110", "00000000")]))
    assert [[(one.code, one.field) for one in record.problems] for record in records] == [
        [], [("field.missing", "DS"), ("field.format", "DN_IN")], [], [("field.format", "DS")],
    ]  # fmt: skip
    assert records[3].observed_since is None


CASES: dict[str, tuple[bytes, str]] = {
    "header too short": (dbf(header=97), "длина заголовка"),
    "header too long": (dbf(header=160), "длина заголовка"),
    "header off by one field": (dbf(header=129 + 32), "длина заголовка"),
    "header of nothing": (dbf(header=0), "длина заголовка"),
    "header beyond the file": (dbf(header=0xFFE1), "длина заголовка"),
    "no fields": (dbf([], []), "длина заголовка"),
    "record length too small": (dbf(length=10), "длина записи"),
    "record length too large": (dbf(length=100), "длина записи"),
    "record length 0": (dbf(length=0), "длина записи"),
    "records fewer than counted": (dbf(count=2), "записей по заголовку DBF 2"),
    "records more than counted": (dbf(rows=[ROW, ROW], count=1), "записей по заголовку DBF 1"),
    "records more than counted, none": (dbf(count=0), "записей по заголовку DBF 0"),
    "10M records": (dbf(count=10_000_000), "записей по заголовку DBF 10000000"),
    "4G records": (dbf(count=0xFFFFFFFF), "записей по заголовку DBF 4294967295"),
    "cut in a record": (dbf(end=b"")[:-3], "размер файла другой"),
    "cut in the header": (dbf()[:20], "управляющие знаки"),
    "cut in the fields": (dbf()[:70], "длина заголовка"),
    "bytes behind": (dbf(end=b"\x1a\x1a"), "размер файла другой"),
    "another byte behind": (dbf(end=b"x"), "размер файла другой"),
    "memo field": (with_field("NOTE", "M", 10, "1"), "поле 4: мемо"),
    "general field": (with_field("NOTE", "G", 10), "поле 4: мемо"),
    "memo pointer without a memo field": (dbf(version=0x83), "вид таблицы"),
    "memo of FoxPro": (dbf(version=0x30, flags=2, padding=bytes(263)), "вид таблицы"),
    "memo of FoxPro 2": (dbf(version=0xF5), "вид таблицы"),
    "dBase 7": (dbf(version=4), "вид таблицы"),
    "encrypted": (dbf(encrypted=1), "зашифрована"),
    "unknown field type": (with_field("X", "?", 10), "поле 4: тип"),
    "NUL field type": (with_field("X", "\0", 10), "поле 4: тип"),
    "integer of FoxPro": (with_field("X", "I", 4), "поле 4: тип"),
    "width 0": (with_field("EXT_ID", "C", 0), "поле 4: длина"),
    "width of a day": (with_field("DN_OUT", "D", 10), "поле 4: длина"),
    "width of a truth": (with_field("BY_PR", "L", 5), "поле 4: длина"),
    "width of a number": (with_field("NREC", "N", 200), "поле 4: длина"),
    "no name": (with_field("", "C", 5), "поле 4: имя"),
    "name in Cyrillic": (with_field("ЕНП", "C", 5), "поле 4: имя"),
    "name of control characters": (with_field("A\x01", "C", 5), "поле 4: имя"),
    "no terminator": (dbf().replace(b"\r", b" ", 1), "длина заголовка"),
    "mark of deletion that is none": (dbf(rows=[ROW, ROW, ROW], marks=" x "), "запись 2: неверный признак"),
    "NUL for a mark": (dbf(rows=[ROW, ROW], marks=" \0"), "запись 2: неверный признак"),
}


@pytest.mark.parametrize("case", CASES)
def test_refused(tmp_path: Path, case: str) -> None:
    data, wanted = CASES[case]
    with pytest.raises(GatewayError) as refused:
        read(tmp_path, data)
    assert refused.value.code == "file.structure"
    assert wanted in refused.value.message


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ([("ENP", "C", 16), ("DS", "C", 7), ("ENP", "C", 16)], "столбцы 1 и 3"),
        ([("ENP", "C", 16), ("DS", "C", 7), ("enp", "C", 16)], "столбцы 1 и 3"),
        ([("ENP", "C", 16), ("DS", "C", 7), ("SECRET", "C", 16)], "столбец 3"),
        ([("ENP", "C", 16)], "нет столбца diagnosis"),
    ],
)
def test_columns_that_are_no_list(tmp_path: Path, fields: list[tuple[str, str, int]], wanted: str) -> None:
    with pytest.raises(GatewayError) as refused:
        read(tmp_path, dbf(fields, []))
    assert refused.value.code == "file.format"
    assert wanted in refused.value.message


def test_the_header_is_as_other_programs_read_it() -> None:
    """Guards the maker of these tables, on which all cases rest."""
    count, start, length = struct.unpack_from("<IHH", dbf(rows=[ROW, ROW]), 4)
    assert (count, start, length) == (2, 32 + 3 * 32 + 1, 1 + 16 + 7 + 8)
