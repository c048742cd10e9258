"""Files of dictionaries: what is recognised, what an item holds, how a wrong file is refused."""

from __future__ import annotations

from datetime import date
from importlib.resources import as_file, files
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.schedule import is_oncology, rows_of
from gateway.errors import GatewayError
from gateway.nsi.catalogue import ALL
from gateway.nsi.editions import shipped
from gateway.nsi.files import Content, read

OFFICIAL = "ID;REC_CODE;MKB_CODE;MKB_NAME;ID_PARENT;ADDL_CODE;ACTUAL;DATE\n"


def given_file(folder: Path, text: str, name: str = "PLACES.csv", encoding: str = "utf-8") -> Path:
    path = folder / name
    path.write_text(text, encoding=encoding)
    return path


def refused(path: Path, dictionary: str | None = None) -> str:
    with pytest.raises(GatewayError) as caught:
        read(path, dictionary)
    assert caught.value.code == "dictionary.file"
    return caught.value.message


@pytest.mark.parametrize("name", [one.name for one in ALL.values() if one.shipped])
def test_shipped_files_are_right(name: str) -> None:
    content = shipped(name)
    assert content.dictionary == name
    assert all(item.in_force(date(2026, 1, 1)) for item in content.items)


def test_shipped_semantics() -> None:
    def having(name: str, flag: str) -> set[str]:
        return {item.code for item in shipped(name).items if item.attributes.get(flag)}

    assert having("PLACES", "no_show") == {"9"}
    assert having("RESULTS", "no_show") == {"8"}
    assert having("RESULTS", "removal") == {"9"}
    assert having("EXCLUSION_REASONS", "final") == {"3"}
    profiles = {item.code: item.attributes["profile"] for item in shipped("SPECIALTIES").items}
    assert (profiles["76"], profiles["39"], profiles["25"], profiles["41"]) == (
        "THERAPIST", "THERAPIST", "CARDIOLOGIST", "OTHER",
    )  # fmt: skip


def test_official_list(reference: Path) -> None:
    content = read(reference / "dn" / "icd10_nsi_1005_v2.27.csv")
    items = {item.code: item for item in content.items}
    assert (content.dictionary, content.version, len(items)) == ("ICD10", "2.27", 15_038)
    assert items["I20.8"].parent == "I20"
    assert items["I20"].parent == "I20-I25"
    assert items["I20-I25"].parent == "IX"
    assert {code: items[code].attributes["kind"] for code in ("IX", "I20-I25", "I20", "I20.8")} == {
        "IX": "chapter", "I20-I25": "block", "I20": "rubric", "I20.8": "subrubric",
    }  # fmt: skip
    terminal = {code for code, item in items.items() if item.attributes.get("terminal")}
    assert {"I10", "I20.8", "J47", "M45"} <= terminal
    assert not {"I20", "I48", "IX", "I20-I25", "S02.0"} & terminal
    parents = {item.parent for item in content.items if item.valid_to is None}
    assert terminal == {
        code
        for code, item in items.items()
        if item.attributes["kind"] in ("rubric", "subrubric") and code not in parents
    }
    assert items["I84"].valid_to == date(2020, 10, 6)
    assert items["I84"].in_force(date(2020, 10, 6))
    assert not items["I84"].in_force(date(2020, 10, 7))
    inside = {c for c in terminal if items[c].valid_to is None and not is_oncology(c) and rows_of(c, None)}
    assert len(inside) == 540  # the 539 of the cross-check and J47


def test_demo_subset() -> None:
    with as_file(files("gateway.sandbox") / "data" / "icd10_demo.csv") as path:
        content = read(path)
    assert content.dictionary == "ICD10"
    terminal = [item.code for item in content.items if item.attributes.get("terminal")]
    assert 60 <= len(terminal) <= 120
    assert all(is_oncology(code) or rows_of(code, None) for code in terminal)


def test_demo_subset_agrees_with_the_official_list(reference: Path) -> None:
    official = {item.code: item for item in read(reference / "dn" / "icd10_nsi_1005_v2.27.csv").items}
    with as_file(files("gateway.sandbox") / "data" / "icd10_demo.csv") as path:
        for item in read(path).items:
            assert item.attributes.get("terminal") == official[item.code].attributes.get("terminal"), item.code
            assert official[item.code].valid_to is None


def test_own_file(tmp_path: Path) -> None:
    path = given_file(
        tmp_path,
        "code;name;valid_from;valid_to;No_Show;hint\n1;В МО;2026-01-01;;;раз\n9;Не явился;01.02.2026;31.12.2026;да;\n",
        encoding="cp1251",
    )
    first, second = read(path).items
    assert (first.name, first.valid_from, first.valid_to, dict(first.attributes)) == (
        "В МО", date(2026, 1, 1), None, {"hint": "раз"},
    )  # fmt: skip
    assert (second.valid_from, second.valid_to, dict(second.attributes)) == (
        date(2026, 2, 1), date(2026, 12, 31), {"no_show": True},
    )  # fmt: skip


@pytest.mark.parametrize("name", ["RESULTS.csv", "results_2026.csv", "Results-v2.csv", "RESULTS.new.csv"])
def test_the_name_of_the_file_tells_the_dictionary(tmp_path: Path, name: str) -> None:
    path = given_file(tmp_path, "code;name;no_show;removal\n1;а;1;\n2;б;;1\n", name)
    assert read(path).dictionary == "RESULTS"


def test_terminal_codes_of_an_own_file(tmp_path: Path) -> None:
    text = "code;name;valid_to\nI10;а;\nI20;б;\nI20.8;в;\nM00.0;г;\nM00.01;д;\nI84;е;\nI84.0;ж;2020-01-01\n"
    items = read(given_file(tmp_path, text, "ICD10.csv")).items
    assert {item.code for item in items if item.attributes.get("terminal")} == {
        "I10",
        "I20.8",
        "M00.01",
        "I84",
        "I84.0",
    }


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "нет столбцов code и name"),
        ("code;name\n", "нет ни одной записи"),
        ("code;title\n1;а\n", "нет столбцов code и name"),
        ("code;name;name\n1;а;б\n", "столбец заголовка повторяется"),
        ("code;name;no_show\n1;а;1\n2;б\n", "строка 3: число столбцов"),
        ("code;name;no_show\n1;а;1\n1;б;\n", "строка 3, код 1: код повторяется"),
        ("code;name;no_show\n1;;1\n", "строка 2, код 1: наименование"),
        ("code;name;no_show\n1;а;1\n;б;\n", "строка 3: нет кода"),
        ("code;name;no_show\n1;а;может быть\n", "строка 2, код 1: столбец no_show"),
        ("code;name;no_show;parent\n1;а;1;7\n", "строка 2, код 1: нет записи с кодом из столбца parent"),
        ("code;name;no_show;valid_from\n1;а;1;2026-13-01\n", "строка 2, код 1: дата"),
        ("code;name;no_show;valid_from;valid_to\n1;а;1;2026-02-01;2026-01-01\n", "строка 2, код 1: valid_to раньше"),
        ('code;name;no_show\n1;"а;1\n', "строка 2: число столбцов"),
        ("code;name\n1;а\n", "нет ни одной записи с признаком no_show"),
        (f"code;name;no_show\n{'9' * 65};а;1\n", "код слишком длинный"),
        ("code;name;no_show\n1;а\0б;1\n", "знаки не читаются"),
    ],
)
def test_wrong_own_files(tmp_path: Path, text: str, what: str) -> None:
    assert what in refused(given_file(tmp_path, text))


@pytest.mark.parametrize(
    ("dictionary", "text", "what"),
    [
        ("ORGANISATIONS", "code;name\n78001;Поликлиника\n", "строка 2, код 78001: код не того вида"),
        ("INSURERS", "code;name\n780011;Страховая\n", "код не того вида"),
        ("DIAGNOSIS_GROUPS", "code;name;ranges\nБСК;а;I10-Ж15\n", "столбец ranges"),
        ("DIAGNOSIS_GROUPS", "code;name;ranges\nБСК;а;I15-I10\n", "столбец ranges"),
        ("DIAGNOSIS_GROUPS", "code;name\nБСК;а\n", "нет столбца ranges"),
        ("DIAGNOSIS_GROUPS", "code;name;ranges\nБСК;а;I10-I15\n", "нет группы без диапазонов"),
        ("SPECIALTIES", "code;name;profile\n76;Терапия;терапевт\n", "столбец profile"),
        ("LIST_TYPES", "code;name\nOBSERVED;Состоят\n", "состав кодов"),
        ("RESULTS", "code;name;no_show\n8;Не явился;1\n", "признаком removal"),
        ("EXCLUSION_REASONS", "code;name\n1;а\n", "признаком final"),
    ],
)
def test_what_a_dictionary_must_hold(tmp_path: Path, dictionary: str, text: str, what: str) -> None:
    assert what in refused(given_file(tmp_path, text, "file.csv"), dictionary)


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ("1;01;I;Глава;;;1;\n1;01;II;Глава;;;1;\n", "ID повторяется"),
        ("1;01;I10;Имя;7;;1;\n", "строка 2, код I10: нет записи с ID_PARENT"),
        ("1;01;I10;Имя;;;2;\n", "строка 2, код I10: ACTUAL"),
        ("1;01;I10;;;;1;\n", "строка 2, код I10: наименование"),
        ("1;01;I10;Имя;;;0;вчера\n", "строка 2, код I10: дата"),
        ("1;01;I10;Имя;;;1;\n2;01;I10;Имя;;;1;\n", "строка 3, код I10: код повторяется"),
    ],
)
def test_wrong_official_files(tmp_path: Path, lines: str, what: str) -> None:
    assert what in refused(given_file(tmp_path, OFFICIAL + lines, "mkb.csv"))


def test_official_file_under_another_name(tmp_path: Path) -> None:
    path = given_file(tmp_path, OFFICIAL + "1;01;I10;Имя;;;1;\n", "anything.csv")
    assert read(path).dictionary == "ICD10"
    assert "официальный файл" in refused(path, "PLACES")


def test_unnamed_unreadable_and_unknown(tmp_path: Path) -> None:
    assert "назовите" in refused(given_file(tmp_path, "code;name\n1;а\n", "file.csv"))
    assert "не читается" in refused(tmp_path / "absent.csv")
    assert "не читается" in refused(tmp_path)
    for name in ("NOTHING", "DICTIONARIES", "places"):
        with pytest.raises(GatewayError, match=r"dictionary\.unknown"):
            read(given_file(tmp_path, "code;name\n1;а\n"), name)


def test_bytes_of_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "PLACES.csv"
    path.write_bytes("code;name;no_show\n1;Дом;1\n2;".encode() + b"\xff\xfe;\n")
    assert "строка 3: знаки не читаются" in refused(path)


@settings(max_examples=80, deadline=None)
@given(
    st.binary(max_size=300) | st.text(max_size=200).map(lambda text: ("code;name\n" + text).encode(errors="replace"))
)
def test_any_bytes_are_a_dictionary_or_refused(tmp_path_factory: pytest.TempPathFactory, body: bytes) -> None:
    path = tmp_path_factory.mktemp("nsi") / "DOCTOR_TYPES.csv"
    path.write_bytes(body)
    try:
        content = read(path)
    except GatewayError as error:
        assert error.code == "dictionary.file"
    else:
        assert isinstance(content, Content)
        assert len({item.code for item in content.items}) == len(content.items)
