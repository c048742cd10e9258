"""Lists in CSV, own XML and DBF: recognised by content, columns by name, wrong records by number, wrong files whole."""

from __future__ import annotations

import codecs
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import KINDS, GatewayError
from gateway.formats import dbf as dbf_writer
from gateway.formats import list_file, listing_csv, listing_xml
from gateway.formats.list_file import ListFile
from gateway.formats.listing import COLUMNS, NAMESPACE, ListHeader, ListRecord
from tests.formats.hostile import ENP, Entry, dbf, dn_list, elements, own_xml, zipped

SNILS = "11223344595"
ENTRY = {"enp": ENP, "diagnosis": "I10"}
HEADER = "ЕНП;Диагноз;Под наблюдением с\n"


def opened(folder: Path, data: bytes, name: str = "list") -> ListFile:
    path = folder / "upload"
    path.write_bytes(data)
    return list_file.opened(path, name, archive_bytes=10**8, folder=folder / "scratch")


def read(folder: Path, data: bytes) -> list[ListRecord]:
    return list(opened(folder, data).records())


def one(folder: Path, data: bytes) -> ListRecord:
    (record,) = read(folder, data)
    return record


def problems(folder: Path, data: bytes) -> list[tuple[int, str, str]]:
    return [(record.number, one.code, one.field) for record in read(folder, data) for one in record.problems]


def refused(folder: Path, data: bytes) -> GatewayError:
    with pytest.raises(GatewayError) as found:
        read(folder, data)
    return found.value


# recognition ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "format"),
    [
        (dn_list(FILENAME="GSM190006_2605_1"), "DN_LIST"),
        (codecs.BOM_UTF8 + dn_list(encoding="utf-8"), "DN_LIST"),
        (own_xml(elements(ENTRY)), "XML"),
        (own_xml(elements(ENTRY)).decode().encode("utf-16"), "XML"),
        (f"{HEADER}{ENP};I10;\n".encode(), "CSV"),
        (dbf(), "DBF"),
    ],
)
def test_recognised_by_content(tmp_path: Path, data: bytes, format: str) -> None:
    name = "GSM190006_2605_1.dbf"
    assert opened(tmp_path, data, name).format == format
    inside = opened(tmp_path, zipped(Entry(name.encode(), data)), "GSM190006_2605_1.csv")
    assert (inside.format, inside.name) == (format, name)
    assert len(list(inside.records())) == len(list(inside.records())) == 1


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "пуст"),
        (b" \r\n", "пуст"),
        (b"%PDF-1.7", "PDF"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "Excel"),
        (b"Rar!\x1a\x07", "RAR"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"\x1f\x8b\x08", "gzip"),
        ("ЕНП;Диагноз".encode("utf-16"), "UTF-16"),
        (b"<html><body/></html>", "корневой элемент"),
        (b"<ObservationList/>", "корневой элемент"),
        (b"hello", "столбец 1"),
    ],
)
def test_what_is_no_list(tmp_path: Path, data: bytes, what: str) -> None:
    error = refused(tmp_path, data)
    assert error.code == "file.format"
    assert what in error.message


# CSV ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1251"])
@pytest.mark.parametrize("delimiter", [";", ",", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv_as_it_comes(tmp_path: Path, encoding: str, delimiter: str, end: str) -> None:
    lines = [
        ["ЕНП", "diagnosis", "DN_IN", "идентификатор мис", "СНИЛС врача", "Планируемые  месяцы", "Фамилия"],
        [f'="{ENP}"', " I20.8 ", "01.02.2024", '"a""b;,|"', "112-233-445 95", '="2026-01 2026-07"', "Ёжиков"],
        [],
        [ENP, "I10", "2024-02-01", "", "", "", ""],
    ]
    data = end.join(delimiter.join(cells) for cells in lines).encode(encoding)
    first, second = read(tmp_path, data)
    assert first == ListRecord(
        1, ENP, "I20.8", 'a"b;,|', observed_since=date(2024, 2, 1), doctor_snils=SNILS, planned_months=("2026-01", "2026-07")
    )  # fmt: skip
    assert second == ListRecord(2, ENP, "I10", observed_since=date(2024, 2, 1))


def test_the_separator_line_of_excel(tmp_path: Path) -> None:
    assert one(tmp_path, f"sep=|\r\nenp|diagnosis\r\n{ENP}|I10\r\n".encode()).enp == ENP


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        (f"{ENP};I10", ("load.line", "")),
        (f"{ENP};I10;01.02.2024;", ("load.line", "")),
        (f'{ENP};"I10;01.02.2024', ("load.line", "")),
        (";I10;", ("field.missing", "enp")),
        (f"{ENP};;", ("field.missing", "diagnosis")),
        (f"{ENP};I10;31.02.2024", ("field.format", "observedSince")),
        (f"{ENP};I10;2024", ("field.format", "observedSince")),
        (f"{ENP};I10;1.2.2024", ("field.format", "observedSince")),
        (f"{ENP};I10.12345;", ("field.length", "diagnosis")),
        (f"{ENP}0;I10;", ("field.length", "enp")),
    ],
)
def test_a_wrong_line_spoils_itself_only(tmp_path: Path, line: str, wanted: tuple[str, str]) -> None:
    right = f"{ENP};I10;01.02.2024\n"
    assert problems(tmp_path, f"{HEADER}{right}{line}\n{right}".encode()) == [(2, *wanted)]


def test_bytes_of_another_encoding(tmp_path: Path) -> None:
    data = f"{HEADER}{ENP};I10;\n".encode() + f"{ENP};".encode() + b"\xff;\n"
    assert problems(tmp_path, data) == [(2, "load.encoding", "")]


def test_months(tmp_path: Path) -> None:
    head = "enp;diagnosis;PLAN\n"
    months = " ".join(f"2026-{1 + number % 12:02d}" for number in range(24))
    assert one(tmp_path, f"{head}{ENP};I10;{months}".encode()).planned_months == tuple(months.split())
    for wrong, code in ((f"{months} 2026-01", "field.count"), ("2026-13", "field.format"), ("01.2026", "field.format")):
        assert problems(tmp_path, f"{head}{ENP};I10;{wrong}".encode()) == [(1, code, "plannedMonths")]


CSV: dict[str, tuple[bytes, str, str]] = {
    "unknown column": ("ЕНП;Диагноз;Прочее\n".encode(), "file.format", "столбец 3"),
    "repeated column": (b"enp;diagnosis;ENP\n", "file.format", "столбцы 1 и 3"),
    "no diagnosis": ("ЕНП\n".encode(), "file.format", "diagnosis"),
    "header in another code page": (HEADER.encode("cp866"), "file.format", "столбец 1"),
    "a million columns": (b";" * 1_000_000, "file.structure", "строка 1: длиннее"),
    "ten thousand columns": (b";" * 10_000 + b"\n", "file.format", "столбцов больше"),
    "a million cells": (HEADER.encode() + b";" * 1_000_000, "file.structure", "строка 2: длиннее"),
    "a line of 100 MB": (HEADER.encode() + b"x" * 100_000_000, "file.structure", "строка 2: длиннее"),
    "a header of 100 MB": (b"x" * 100_000_000, "file.structure", "строка 1: длиннее"),
    "NUL": (HEADER.encode() + b"1;I10\0;\n", "file.structure", "строка 2: управляющие"),
    "bell": (HEADER.encode() + b"\n1;I10\x07;\n", "file.structure", "строка 3: управляющие"),
    "lines of an old Mac": (HEADER.encode() + b"1;I10;\r1;I10;\r", "file.structure", "управляющие"),
    "a program": (b"MZ\x90\0\x03", "file.structure", "строка 1: управляющие"),
    "UTF-8 that is none": (codecs.BOM_UTF8 + HEADER.encode("cp1251"), "file.structure", "кодировке"),
}


@pytest.mark.parametrize("case", CSV)
def test_csv_that_lies(tmp_path: Path, case: str) -> None:
    data, code, what = CSV[case]
    error = refused(tmp_path, data)
    assert error.code == code
    assert what in error.message


# own XML --------------------------------------------------------------------------------------------------------------


def test_own_xml(tmp_path: Path) -> None:
    values = {
        "recordNumber": "7", "plannedMonths": "2026-01", "diagnosis": "I10", "enp": ENP, "lastName": "Ёжиков",
        "excludedOn": "2026-05-01", "exclusionReason": "3", "doctorSnils": SNILS,
    }  # fmt: skip
    more = "<plannedMonths>2026-07</plannedMonths><extra><item><name>a</name><value>b</value></item></extra>"
    assert one(tmp_path, own_xml(elements(values) + more)) == ListRecord(
        1, ENP, "I10", excluded_on=date(2026, 5, 1), exclusion_reason="3", doctor_snils=SNILS,
        planned_months=("2026-01", "2026-07"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("record", "wanted"),
    [
        ("<enp/><diagnosis>I10</diagnosis>", ("field.missing", "enp")),
        ("<diagnosis>I10</diagnosis>", ("field.missing", "enp")),
        (elements(ENTRY) + "<unknown/>", ("field.unknown", "unknown")),
        (elements(ENTRY) + "<enp xmlns=''>1</enp>", ("field.unknown", "enp")),
        (elements(ENTRY) + "<diagnosis>I11</diagnosis>", ("field.count", "diagnosis")),
        (elements(ENTRY).replace("I10", "<b/>"), ("field.format", "diagnosis")),
        (elements(ENTRY) + "text", ("field.format", "diagnosis")),
        ("text" + elements(ENTRY), ("field.unknown", "entries")),
    ],
)
def test_a_wrong_entry_spoils_itself_only(tmp_path: Path, record: str, wanted: tuple[str, str]) -> None:
    right = elements(ENTRY)
    assert problems(tmp_path, own_xml(right, record, right)) == [(2, *wanted)]


@pytest.mark.parametrize(
    "data",
    [
        own_xml(elements(ENTRY), count=2),
        own_xml(elements(ENTRY), elements(ENTRY), count=1),
        own_xml(elements(ENTRY)).replace(b"<records>1</records>", b""),
        own_xml(elements(ENTRY)).replace(b"<records>1</records>", b"<records>one</records>"),
        own_xml(elements(ENTRY)).replace(b"entries", b"entry"),
        own_xml(elements(ENTRY)).replace(b"header", b"head"),
        own_xml(elements(ENTRY))[:-5],
        f'<ObservationList xmlns="{NAMESPACE}"/>'.encode(),
    ],
)
def test_own_xml_that_lies(tmp_path: Path, data: bytes) -> None:
    assert refused(tmp_path, data).code == "file.structure"


# what is exported is read ---------------------------------------------------------------------------------------------

_TEXT = {
    "externalId": 'М-1 "а";=', "enp": ENP, "diagnosis": "I20.8", "diagnosedOn": "2024-01-20", "organisation": "190006",
    "doctorSnils": SNILS, "specialty": "0076", "observedSince": "2024-02-01", "plannedMonths": "2026-01 2026-07",
    "excludedOn": "2026-05-01", "exclusionReason": "03", "lastName": "=Ёжиков", "birthDate": "1960-01-15",
    "byAttachment": "true", "version": "3", "changedAt": "2026-05-01T10:00:00+03:00", "outside": "ORDER",
}  # fmt: skip
_ROWS: list[list[str | None]] = [
    [_TEXT.get(column.name) for column in COLUMNS[1:]],
    [_TEXT[column.name] if column.name in ENTRY else None for column in COLUMNS[1:]],
]
_WANTED = [
    ListRecord(
        1, ENP, "I20.8", 'М-1 "а";=', "190006", date(2024, 1, 20), date(2024, 2, 1), date(2026, 5, 1), "03", SNILS,
        "0076", ("2026-01", "2026-07"),
    ),
    ListRecord(2, ENP, "I20.8"),
]  # fmt: skip


def test_exported_csv_is_read(tmp_path: Path) -> None:
    lines = [listing_csv.line(number, row) for number, row in enumerate(_ROWS, 1)]
    assert read(tmp_path, listing_csv.head() + b"".join(lines)) == _WANTED


def test_exported_dbf_is_read(tmp_path: Path) -> None:
    kinds = {"int": "N", "date": "D", "bool": "L"}
    table = dbf_writer.Table([dbf_writer.Field(one.dbf, kinds.get(one.kind, "C"), one.width) for one in COLUMNS])
    rows = [[str(number), *row] for number, row in enumerate(_ROWS, 1)]
    data = table.head(2, date(2026, 5, 1)) + table.records(rows) + dbf_writer.END
    assert read(tmp_path, data) == _WANTED


def test_exported_xml_is_read(tmp_path: Path) -> None:
    now = datetime(2026, 5, 1, tzinfo=UTC)
    header = ListHeader(None, None, "2026-05", "OBSERVED", "CURRENT", now, None, "token", 1, 2, 2)

    def element(name: str, value: str) -> str:
        column = next(one for one in COLUMNS if one.name == name)
        text = value.replace("<", "&lt;")
        texts = text.split() if column.kind == "months" else [text]
        return "".join(listing_xml.open_tag(column) + one + listing_xml.close_tag(column) for one in texts)

    lines = [
        "".join(element(column.name, value) for column, value in zip(COLUMNS[1:], row, strict=True) if value)
        for row in _ROWS
    ]
    body = listing_xml.sealed(1, [f"{line}</{listing_xml.RECORD}>".encode() for line in lines])
    assert read(tmp_path, listing_xml.head(header) + b"".join(body) + listing_xml.TAIL) == _WANTED


# anything -------------------------------------------------------------------------------------------------------------

_SEEDS = [
    own_xml(elements(ENTRY)), dn_list(), dbf(), f"{HEADER}{ENP};I10;01.02.2024\n".encode(),
    listing_csv.head() + listing_csv.line(1, _ROWS[0]), zipped(Entry(b"a", dbf())),
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    data = bytearray(draw(st.sampled_from(_SEEDS)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 6))] = draw(st.binary(max_size=6))
    return bytes(data)


@settings(max_examples=400)
@given(st.one_of(st.binary(max_size=100), mutated()))
def test_any_bytes_are_records_or_a_refusal(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    try:
        records = read(tmp_path_factory.mktemp("any"), data)
    except GatewayError as error:
        assert error.code in ("file.format", "file.structure", "file.archive")
        return
    assert [record.number for record in records] == sorted({record.number for record in records})
    for record in records:
        assert all(problem.code in KINDS for problem in record.problems)
        assert record.problems or (record.enp and record.diagnosis)
