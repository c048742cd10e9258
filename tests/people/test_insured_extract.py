"""Lines of the fund's extract: what is taken, what is refused and how, whatever the way of reading."""

from __future__ import annotations

import gzip
import io
import re
import zipfile
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.persons import make_enp, make_snils
from gateway.errors import KINDS, GatewayError
from gateway.people import extract
from gateway.people.extract import COLUMNS, Extract, Lines, Refused

TODAY = date(2026, 11, 22)
INSURERS, ORGANISATIONS = ("40001",), ("400001",)


def lines(columns=COLUMNS):
    return Lines(list(columns), INSURERS, ORGANISATIONS, TODAY)


def one(reader, line):
    """The ready line or the code of the refusal."""
    block = reader.block([line.encode()], 2)
    assert len(block.refused) + block.taken == 1
    return block.refused[0].code if block.refused else block.ready.decode()


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"enp": "123"}, "person.enp-format"),
        ({"enp": "4000000000000001"}, "person.enp-check"),
        ({"snils": "1234567890"}, "person.snils-format"),
        ({"snils": "11223344596"}, "person.snils-check"),
        ({"last_name": ""}, "person.name"),
        ({"first_name": ""}, "person.name"),
        ({"last_name": "Иванов7"}, "person.name"),
        ({"middle_name": "\\N"}, "person.name"),
        ({"birth_date": "15.01.1960"}, "load.date"),
        ({"birth_date": "1960-02-30"}, "load.date"),
        ({"birth_date": "1889-12-31"}, "person.birth-date"),
        ({"birth_date": "2026-11-23"}, "person.birth-date"),
        ({"sex": "3"}, "person.sex"),
        ({"policy_kind": "Ж"}, "load.policy"),
        ({"policy_number": "1" * 21}, "load.policy"),
        ({"insurer": "99999"}, "load.insurer"),
        ({"insured_in_region": "да"}, "load.insured"),
        ({"attached_organisation": "999999"}, "load.organisation"),
        ({"attached_since": "вчера"}, "load.date"),
        ({"attached_since": "2026-11-23"}, "load.date-future"),
        ({"death_date": "1959-12-31"}, "person.death-date"),
        ({"death_date": "2026-11-23"}, "person.death-date"),
    ],
)
def test_a_wrong_field_is_named_by_its_code(extract_line, changes, code):
    assert one(lines(), ";".join(extract_line(1, **changes).values())) == code


def test_a_line_with_another_number_of_columns_is_refused():
    assert one(lines(), "a;b;c") == "load.line"
    assert one(lines(), '"' + ";" * 13) == "load.line"


def test_a_clumsy_line_is_read_like_a_clean_one(extract_line):
    clean = extract_line(1)
    clumsy = clean | {"last_name": '" Королёва "', "first_name": "Алёна ", "snils": "010-000-001 " + clean["snils"][9:]}
    assert clumsy["snils"].replace("-", "").replace(" ", "") == clean["snils"]
    assert one(lines(), ";".join(clumsy.values()) + "\r") == one(lines(), ";".join(clean.values()))


def test_columns_come_in_any_order_and_optional_ones_may_be_absent(extract_line):
    columns = ("sex", "birth_date", "first_name", "last_name", "enp")
    values = extract_line(1)
    ready = one(lines(columns), ";".join(values[name] for name in columns))
    assert ready == f"2;2;1960-01-15;Алёна;Королёва;{values['enp']};КОРОЛЕВА АЛЕНА\n"


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("enp;last_name;first_name;birth_date", "load.columns"),
        ("enp;last_name;first_name;birth_date;sex;sex", "load.columns-unknown"),
        ("enp;last_name;first_name;birth_date;sex;colour", "load.columns-unknown"),
        ("", "load.columns"),
    ],
)
def test_a_wrong_header_is_refused(header, code):
    with pytest.raises(GatewayError) as refused:
        Extract(io.BytesIO(header.encode()), INSURERS, ORGANISATIONS, TODAY)
    assert refused.value.code == code


texts = st.one_of(
    st.sampled_from(
        ["", "1", "2", "0", "3", "Ёж", "Иванов", "Анна-Мария", "40001", "400001", "1960-01-15", "2020-01-01"]
    ),
    st.text(max_size=12).filter(lambda text: ";" not in text and "\n" not in text),
    st.dates(date(1880, 1, 1), date(2030, 1, 1)).map(date.isoformat),
    st.integers(0, 99999).map(lambda serial: make_enp(40, date(1960, 1, 15), 1, serial)),
    st.integers(1, 999_999_999).map(make_snils),
)


@given(st.lists(texts, min_size=14, max_size=14))
def test_the_quick_way_takes_nothing_that_the_rules_refuse(fields):
    line = ";".join(fields).encode("utf-8", "replace")
    reader = lines()
    quick = reader.block([line], 2)
    slow = reader._slowly(line, 2)
    if quick.taken:
        assert quick.ready == slow
    elif quick.refused:
        assert quick.refused == (slow,)
    else:
        assert line.strip() == b""


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_taken_line_by_line(data):
    header = ";".join(COLUMNS).encode() + b"\n"
    reader = Extract(io.BytesIO(header + data), INSURERS, ORGANISATIONS, TODAY)
    for block in reader.blocks():
        assert all(isinstance(refused, Refused) for refused in block.refused)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1251"])
@pytest.mark.parametrize("packing", ["plain", "gz", "zip"])
def test_encodings_and_archives(tmp_path: Path, extract_line, extract_text, encoding, packing):
    data = extract_text([extract_line(number) for number in range(20)]).encode(encoding)
    path = tmp_path / "extract"
    if packing == "gz":
        path.write_bytes(gzip.compress(data))
    elif packing == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("extract.csv", data)
    else:
        path.write_bytes(data)
    blocks = list(extract.blocks(path, INSURERS, ORGANISATIONS, TODAY))
    assert sum(block.taken for block in blocks) == 20
    assert "Королёва;Алёна;Петровна" in blocks[0].ready.decode()
    assert blocks[-1].last_line == 21


def test_bytes_outside_the_encoding_are_named(extract_line, extract_text):
    data = extract_text([extract_line(number) for number in range(10)]).encode()
    spoilt = data.replace("Королёва".encode(), b"\xff\xfe\xd0", 1)
    (block,) = Extract(io.BytesIO(spoilt), INSURERS, ORGANISATIONS, TODAY).blocks()
    assert block.refused == (Refused(2, "load.encoding"),)
    assert block.taken == 9


@pytest.mark.parametrize("spoil", [lambda data: data[: len(data) // 2], lambda data: data[:30] + b"x" + data[31:]])
def test_a_broken_archive_is_refused(tmp_path: Path, extract_line, extract_text, spoil):
    data = extract_text([extract_line(number) for number in range(2000)]).encode()
    path = tmp_path / "extract.csv.gz"
    path.write_bytes(spoil(gzip.compress(data)))
    with pytest.raises(GatewayError) as refused:
        list(extract.blocks(path, INSURERS, ORGANISATIONS, TODAY))
    assert refused.value.code in ("load.file", "load.columns")


def test_a_file_without_lines_is_refused(tmp_path: Path):
    path = tmp_path / "one-line"
    path.write_bytes((";".join(COLUMNS)).encode() + b"\n" + b"x" * 1_000_000)
    with pytest.raises(GatewayError) as refused:
        list(extract.blocks(path, INSURERS, ORGANISATIONS, TODAY))
    assert refused.value.code == "load.file"


def test_an_archive_of_two_files_is_refused(tmp_path: Path):
    path = tmp_path / "two.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "")
        archive.writestr("b.csv", "")
    with pytest.raises(GatewayError) as refused:
        list(extract.blocks(path, INSURERS, ORGANISATIONS, TODAY))
    assert refused.value.code == "load.file"


def test_the_document_names_every_column_and_code():
    text = (Path(__file__).parents[2] / "docs" / "insured-file.md").read_text(encoding="utf-8")
    for column in COLUMNS:
        assert f"| `{column}` | {'да' if column in extract.REQUIRED else ''}".rstrip() in text
    for code in KINDS:
        if code.startswith("load.") and code != "load.file":
            assert f"`{code}`" in text
    header, line = re.search(r"```\n(enp.*)\n(.*)\n```", text).groups()
    assert one(lines(tuple(header.split(";"))), line).startswith("2;")
