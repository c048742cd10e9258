"""CSV tables: encodings, delimiters, quotes, lines that are spoilt."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.formats.tabular import REPLACED, open_table


def written(folder: Path, body: bytes) -> Path:
    path = folder / "table.csv"
    path.write_bytes(body)
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1251"])
@pytest.mark.parametrize("delimiter", [";", ",", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_encodings_and_delimiters(tmp_path: Path, encoding: str, delimiter: str, end: str) -> None:
    lines = [delimiter.join(cells) for cells in (["Code", " Name "], ["1", "Ёлка"], [], ["2", "Берёза"])]
    table = open_table(written(tmp_path, end.join(lines).encode(encoding)))
    assert (table.header, table.delimiter) == (("code", "name"), delimiter)
    assert list(table.rows()) == [(2, ["1", "Ёлка"]), (4, ["2", "Берёза"])]


def test_russian_letters_far_from_the_beginning(tmp_path: Path) -> None:
    body = b"code;name\n" + b"1;plain\n" * 200_000 + "2;Ёж\n".encode("cp1251")
    table = open_table(written(tmp_path, body))
    assert table.encoding == "cp1251"
    assert list(table.rows())[-1] == (200_002, ["2", "Ёж"])


def test_a_line_longer_than_a_chunk_may_be_cut_inside_a_letter(tmp_path: Path) -> None:
    for shift in range(4):
        body = b"x" * shift + "ж".encode() * (1 << 20)
        assert open_table(written(tmp_path, body)).encoding == "utf-8-sig"


def test_wrong_bytes_are_marked_and_spoil_their_cell_only(tmp_path: Path) -> None:
    table = open_table(written(tmp_path, "code;name\n1;Ёж\n2;".encode() + b"\xff" + ";\n3;Уж\n".encode()))
    rows = dict(table.rows())
    assert rows[2] == ["1", "Ёж"]
    assert REPLACED in rows[3][1]
    assert rows[4] == ["3", "Уж"]


def test_quotes(tmp_path: Path) -> None:
    table = open_table(written(tmp_path, 'code;name\n1;"АО ""Рога; копыта"""\n2;"не закрыта\n3;Уж\n'.encode()))
    assert list(table.rows()) == [(2, ["1", 'АО "Рога; копыта"']), (3, []), (4, ["3", "Уж"])]


@pytest.mark.parametrize("body", [b"", b"\n", b"\xef\xbb\xbf"])
def test_an_empty_file_has_no_columns(tmp_path: Path, body: bytes) -> None:
    table = open_table(written(tmp_path, body))
    assert table.header == ("",)
    assert list(table.rows()) == []


cells = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=REPLACED), max_size=8)


@settings(max_examples=60)
@given(st.lists(st.lists(cells, min_size=2, max_size=2), max_size=6))
def test_what_csv_writes_is_read(tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=";", lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([["a", "b"], *rows])
    table = open_table(written(tmp_path_factory.mktemp("csv"), text.getvalue().encode("utf-8-sig")))
    assert [row for _, row in table.rows()] == rows


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_failing(tmp_path_factory: pytest.TempPathFactory, body: bytes) -> None:
    table = open_table(written(tmp_path_factory.mktemp("csv"), body))
    numbers = [number for number, _ in table.rows()]
    assert numbers == sorted(set(numbers))
