"""Dictionaries of ФФОМС: packets and tables in their own columns, what is understood of them and what is refused."""

from __future__ import annotations

import zipfile
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import GatewayError
from gateway.nsi import layouts
from gateway.nsi.catalogue import ALL, OFFICIAL
from gateway.nsi.files import Content, Wish, read, read_all

ZGLV = "<zglv><type>ProfOt</type><version>3.0</version><date>30.03.2018</date></zglv>"
PROFILES = (
    "<zap><IDPR>1</IDPR><PRNAME>хирургии</PRNAME><DATEBEG>01.01.2011</DATEBEG><DATEEND/></zap>"
    "<zap><IDPR>2</IDPR><PRNAME>терапии</PRNAME><DATEBEG>01.01.2011</DATEBEG><DATEEND>31.12.2017</DATEEND></zap>"
)


def packet(
    folder: Path, body: str, name: str = "packet.xml", encoding: str = "windows-1251", root: str = "packet"
) -> Path:
    path = folder / name
    text = f'<?xml version="1.0" encoding="{encoding}"?>\n<{root}>{body}</{root.split()[0]}>'
    path.write_text(text, encoding=encoding)
    return path


def records(*lines: dict[str, str]) -> str:
    return "".join(
        "\n<zap>" + "".join(f"<{tag}>{value}</{tag}>" for tag, value in line.items()) + "</zap>" for line in lines
    )


def refused(path: Path, wish: Wish | None = None) -> str:
    with pytest.raises(GatewayError) as caught:
        read_all(path, wish or Wish())
    assert caught.value.code == "dictionary.file"
    return caught.value.message


REFERENCE = {
    "F006_2022.csv": {"F006": 66}, "F012.csv": {"F012": 10}, "F014_2022.csv": {"F014": 253},
    "Q015_v2.2_2021-02-12.xml": {"Q015": 800}, "Q016_v1.9_2020-05-08.xml": {"Q016": 314},
    "Q022_v3.23_2021-02-12.xml": {"Q022": 62}, "Q023_v2.35_2021-02-12.xml": {"Q023": 264},
    "V002.xml": {"V002": 155}, "V008_2019.csv": {"V008": 14}, "V009_v3.1_2018-04-13.xml": {"V009": 106},
    "V010_2019.csv": {"V010": 44}, "V023_v1.2_2018-12-26.xml": {"V023": 1421}, "V025_2018.csv": {"V025": 11},
    "V027_2018.csv": {"V027": 3}, "V028_2018.csv": {"V028": 4}, "V029_2018.csv": {"V029": 4},
    "small_dictionaries.csv": {"F005": 4, "F008": 3, "V005": 2, "V006": 4, "V014": 3},
}  # fmt: skip


@pytest.fixture
def nsi_files(reference: Path) -> Path:
    return reference / "registers" / "nsi"


def test_every_reference_dictionary_is_read(nsi_files: Path) -> None:
    assert {path.name for path in nsi_files.iterdir()} == REFERENCE.keys()
    for name, expected in REFERENCE.items():
        assert {one.dictionary: len(one.items) for one in read_all(nsi_files / name, Wish())} == expected, name


def test_reference_packets_tell_edition_and_columns(nsi_files: Path) -> None:
    found = read(nsi_files / "V009_v3.1_2018-04-13.xml")
    assert (found.version, found.valid_from, found.attributes) == ("3.1", date(2018, 4, 13), ("dl_uslov",))
    assert found.columns == layouts.Columns(("idrmp",), "rmpname", "datebeg", "dateend")
    first = found.items[0]
    assert (first.code, first.name, first.valid_from, first.valid_to, dict(first.attributes)) == (
        "101", "Выписан", date(2011, 1, 1), None, {"dl_uslov": "1"},
    )  # fmt: skip
    rules = {item.code: item for item in read(nsi_files / "Q015_v2.2_2021-02-12.xml").items}
    assert rules["001F.00.0030"].name == "ZL_LIST/SCHET/CODE_MO"
    assert rules["001F.00.0030"].attributes == {
        "type_md.type_d": ["C", "H", "T", "X"], "nsi_obj": "F003", "nsi_el": "mcod",
    }  # fmt: skip
    assert read(nsi_files / "Q016_v1.9_2020-05-08.xml").columns == layouts.Columns(
        ("id_test",), "desc_test", "datebeg", "dateend"
    )
    assert read(nsi_files / "F012.csv").attributes == ("dopinfo",)
    assert read(nsi_files / "V008_2019.csv").version is None


def test_groups_are_numbered_anew_for_each_kind_of_help(nsi_files: Path) -> None:
    found = read(nsi_files / "V023_v1.2_2018-12-26.xml")
    notes = "\n".join(found.notes)
    assert "код составлен из idump/k_ksg" in notes
    assert "взята последняя в файле — 25 (строки 5272, " in notes
    assert "сроки записей одного кода пересекаются" in notes
    assert {item.code for item in found.items} >= {"1/1", "2/1"}


def test_a_code_has_as_many_lines_as_periods(nsi_files: Path) -> None:
    lines = [item for item in read(nsi_files / "V002.xml").items if item.code == "136"]
    assert [(line.valid_from, line.valid_to) for line in lines] == [
        (date(2013, 7, 8), date(2017, 12, 11)), (date(2017, 12, 12), None),
    ]  # fmt: skip


@pytest.mark.parametrize("encoding", ["windows-1251", "utf-8", "utf-8-sig"])
@pytest.mark.parametrize("root", ["packet", "PACKET", "ns:packet xmlns:ns='urn:x'", "data xmlns='urn:y'"])
def test_a_packet_in_any_dress(tmp_path: Path, encoding: str, root: str) -> None:
    path = tmp_path / "V002_new.xml"
    body = ZGLV + PROFILES
    named = encoding.removesuffix("-sig")
    path.write_text(
        f'<?xml version="1.0" encoding="{named}"?><!-- справочник --><{root}>{body}</{root.split()[0]}>',
        encoding=encoding,
    )
    found = read(path)
    assert (found.dictionary, found.version, found.valid_from) == ("V002", "3.0", date(2018, 3, 30))
    assert [(item.code, item.name, item.valid_to) for item in found.items] == [
        ("1", "хирургии", None), ("2", "терапии", date(2017, 12, 31)),
    ]  # fmt: skip


def test_tags_in_any_order_and_case(tmp_path: Path) -> None:
    body = (
        "<ZAP><dateend/><PrName>терапии</PrName><DateBeg>2011-01-01</DateBeg><IdPr>2</IdPr></ZAP>"
        "<Zglv><DATE>2018-03-30</DATE><Version>3.1</Version></Zglv>"
    )
    found = read(packet(tmp_path, body))
    assert (found.dictionary, found.version, found.valid_from) == ("V002", "3.1", date(2018, 3, 30))
    assert found.items[0].valid_from == date(2011, 1, 1)


def zipped(folder: Path, name: str, *inside: Path) -> Path:
    path = folder / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in inside:
            archive.write(one, one.name)
    return path


def test_a_packet_in_an_archive_is_the_same_packet(tmp_path: Path) -> None:
    plain = packet(tmp_path, ZGLV + PROFILES)
    found = read(zipped(tmp_path, "V002.zip", plain))
    assert found == read(plain)
    table = tmp_path / "V700.csv"
    table.write_text("code;name\n1;а\n", encoding="utf-8")
    assert read(zipped(tmp_path, "any.zip", table)).dictionary == "V700"
    assert "один" in refused(zipped(tmp_path, "two.zip", plain, table))
    assert "больше 100 байт" in refused(zipped(tmp_path, "big.zip", plain), Wish(archive_bytes=100))
    (tmp_path / "cut.zip").write_bytes((tmp_path / "V002.zip").read_bytes()[:-30])
    refused(tmp_path / "cut.zip")


def test_an_unknown_official_dictionary_is_read_by_rule(tmp_path: Path) -> None:
    lines = records({"NOTE": "п", "IDANY": "а", "ANYNAME": "Первый", "D_BEGIN": "01.02.2020", "D_END": ""})
    found = read(packet(tmp_path, ZGLV.replace("ProfOt", "any") + lines, "V777.xml"))
    assert (found.dictionary, found.attributes) == ("V777", ("note",))
    assert found.columns == layouts.Columns(("idany",), "anyname", "d_begin", "d_end")
    assert found.items[0].valid_from == date(2020, 2, 1)


def test_the_operator_names_what_does_not_tell_itself(tmp_path: Path) -> None:
    path = packet(tmp_path, records({"A": "1", "B": "x", "C": "Первый"}, {"A": "1", "B": "y", "C": "Второй"}))
    assert "не ясно" in refused(packet(tmp_path, records({"A": "1", "B": "x"}), "O900.xml"))
    with pytest.raises(GatewayError, match=r"dictionary\.unknown"):
        read_all(path, Wish("REGIONAL"))
    assert "нет названного столбца" in refused(path, Wish("REGIONAL", ("d",), "c"))
    assert "код 1: код повторяется с тем же первым днём" in refused(path, Wish("REGIONAL", ("a",), "c"))
    (found,) = read_all(path, Wish("REGIONAL", ("A", "B"), "C"))
    assert {item.code: item.name for item in found.items} == {"1/x": "Первый", "1/y": "Второй"}
    (other,) = read_all(path, Wish("REGIONAL", ("b",), "c"))
    assert other.sha256 != found.sha256


def test_a_dictionary_of_the_product_in_columns_of_a_region(tmp_path: Path) -> None:
    path = packet(
        tmp_path,
        records(
            {"IDRES": "1", "RESNAME": "Осмотрен"}, {"IDRES": "2", "RESNAME": "Нет", "no_show": "1", "removal": "да"}
        ),
    )
    (found,) = read_all(path, Wish("RESULTS", ("idres",), "resname"))
    assert [item.attributes for item in found.items] == [{}, {"no_show": True, "removal": True}]
    assert "признаком no_show" in refused(
        packet(tmp_path, records({"IDRES": "2", "RESNAME": "Нет", "no_show": "0"})),
        Wish("RESULTS", ("idres",), "resname"),
    )


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("", "нет ни одной записи"),
        (ZGLV, "нет ни одной записи"),
        (ZGLV + "<zap/>", "не ясно, какой это справочник"),
        ("<a><IDPR>1</IDPR></a><b/>", "нет zap"),
        (ZGLV.replace("30.03.2018", "вчера") + PROFILES, "дата в заголовке"),
        (ZGLV + PROFILES + records({"IDPR": "3", "PRNAME": "x", "DATEBEG": "31.02.2020"}), "строка 3, код 3: дата"),
        (ZGLV + PROFILES + records({"PRNAME": "x"}), "строка 3: нет кода (idpr)"),
        (ZGLV + records({"IDPR": "9" * 65, "PRNAME": "x"}), "код слишком длинный"),
        (ZGLV + records({"IDPR": "9", "PRNAME": "x" * 4001}), "наименование длиннее 4000"),
        (ZGLV + "<zap><IDPR>1</IDPR><IDPR>2</IDPR><PRNAME>x</PRNAME></zap>", "несколько значений в idpr"),
        (
            ZGLV + records({"IDPR": "1", "PRNAME": "x"}, {"IDPR": "1", "PRNAME": "y"}),
            "строка 4, код 1: код повторяется",
        ),
        (ZGLV + "<zap><IDPR>1</IDPR>", "разметка XML неверна"),
    ],
)
def test_broken_packets(tmp_path: Path, body: str, what: str) -> None:
    assert what in refused(packet(tmp_path, body, "list.xml") if "не ясно" not in what else _untold(tmp_path, body))


def _untold(folder: Path, body: str) -> Path:
    return packet(
        folder, body.replace("ProfOt", "any").replace("<zap/>", "<zap><X>1</X><CODE>1</CODE><NAME>1</NAME></zap>")
    )


def test_a_cut_packet_and_a_doctype(tmp_path: Path) -> None:
    path = packet(tmp_path, ZGLV + PROFILES)
    path.write_bytes(path.read_bytes()[:-20])
    assert "XML" in refused(path)
    path.write_text('<!DOCTYPE packet [<!ENTITY x "y">]><packet><zap><IDPR>&x;</IDPR></zap></packet>', encoding="utf-8")
    refused(path)


def test_a_name_that_contradicts_the_columns(tmp_path: Path) -> None:
    path = packet(tmp_path, ZGLV + PROFILES, "V009.xml")
    assert "назван V009, а столбцы — справочника V002" in refused(path)
    assert read(path, "V002").dictionary == "V002"


def test_what_is_harmless_is_passed_over_and_said(tmp_path: Path) -> None:
    lines = records(
        {"IDPR": "1", "PRNAME": "а", "DATEBEG": "01.01.2020"},
        {"IDPR": "1", "PRNAME": "а", "DATEBEG": "01.01.2020"},
        {"IDPR": "2", "PRNAME": "б", "DATEBEG": "01.01.2020", "DATEEND": "01.01.2019"},
        {"IDPR": "3", "PRNAME": ""},
    )
    found = read(packet(tmp_path, "<remark>x</remark>" + lines))
    assert [(item.code, item.name) for item in found.items] == [("1", "а"), ("3", "3")]
    assert found.notes == (
        "элементы remark — не записи, их 1",
        "срок окончен раньше, чем начат: запись никогда не действует — 1 (строки 5)",
        "без наименования, им взят код — 1 (строки 6)",
        "полный повтор записи — 1 (строки 4)",
    )


def organisation(code: str, region: str = "40000", **fields: str) -> str:
    included = (
        f"<medInclude><d_begin>{fields.get('begin', '')}</d_begin><d_end>{fields.get('end', '')}</d_end></medInclude>"
    )
    return (
        f"<medCompany><tf_okato>{region}</tf_okato><mcod>{code}</mcod><nam_mop>Полное</nam_mop>"
        f"<nam_mok>{fields.get('name', 'Поликлиника')}</nam_mok><jurAddress><index_j>190000</index_j></jurAddress>"
        f"{included}{fields.get('more', '')}</medCompany>"
    )


def test_organisations_of_the_region(tmp_path: Path) -> None:
    again = "<medInclude><d_begin>01.01.2020</d_begin><d_end/></medInclude>"
    body = (
        organisation("780001", begin="01.01.2011")
        + organisation("780002", begin="01.01.2011", end="31.12.2015", more=again)
        + organisation("780003", begin="01.01.2011", end="31.12.2015")
        + organisation("770001", "45000")
        + organisation("780003", begin="01.01.2017", name="Новая")
    )
    path = packet(tmp_path, body, "F003.xml", root="packet version='2.0' date='15.10.2026'")
    (found,) = read_all(path, Wish(region="40000"))
    assert (found.dictionary, found.version, found.valid_from) == ("ORGANISATIONS", "2.0", date(2026, 10, 15))
    assert [(item.code, item.name, item.valid_from, item.valid_to) for item in found.items] == [
        ("780001", "Поликлиника", date(2011, 1, 1), None),
        ("780002", "Поликлиника", date(2011, 1, 1), None),
        ("780003", "Новая", date(2011, 1, 1), None),
    ]  # fmt: skip
    assert "организации других регионов — 1 (строки 2)" in found.notes
    assert "несколько записей одного кода сведены в одну — кодов 1" in found.notes
    assert "region_okato" in refused(path, Wish(region="92000"))


def test_layouts_are_told_apart() -> None:
    for layout in layouts.LAYOUTS.values():
        assert layouts.is_official(layout.dictionary)
        columns = [*layout.code, *layout.names[:1]]
        told = layouts.told(layout.dictionary, columns)
        assert told == layouts.Columns(layout.code, layout.names[0] if layout.names else "")
        if layout.telling:
            assert layout.dictionary in layouts.of_columns(columns)
    assert OFFICIAL.keys() <= layouts.LAYOUTS.keys()
    assert set(OFFICIAL.values()) <= ALL.keys()


_TAGS = st.sampled_from(
    ["zap", "ZGLV", "zglv", "IDPR", "PRNAME", "DATEBEG", "type", "date", "code", "name", "dict", "x"]
)
_TEXTS = st.sampled_from(["", "1", "V002", "01.01.2020", "2020-13-01", "а", "\u00ad", "x" * 70]) | st.text(
    st.characters(codec="cp1251", exclude_characters="<&\r", exclude_categories=["Cc"]), max_size=10
)
_TREES = st.recursive(
    st.builds("<{0}>{1}</{0}>".format, _TAGS, _TEXTS),
    lambda inner: st.builds(lambda tag, parts: f"<{tag}>{''.join(parts)}</{tag}>", _TAGS, st.lists(inner, max_size=5)),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(_TREES, max_size=6).map(lambda parts: f"<packet>{''.join(parts)}</packet>".encode()) | st.binary(max_size=200)
    | st.binary(max_size=100).map(lambda end: b"<packet><zap><IDPR>1</IDPR><PRNAME>x</PRNAME></zap>" + end),
    st.sampled_from(["V002.xml", "RESULTS.xml", "V021.csv", "F003.zip", "list.xml"]),
    st.sampled_from([Wish(), Wish("V002"), Wish("SPECIALTIES"), Wish("MINE", ("idpr", "x"), "prname")]),
)  # fmt: skip
def test_any_bytes_are_dictionaries_or_refused(
    tmp_path_factory: pytest.TempPathFactory, body: bytes, name: str, wish: Wish
) -> None:
    path = tmp_path_factory.mktemp("nsi") / name
    path.write_bytes(body)
    try:
        contents = read_all(path, wish)
    except GatewayError as error:
        assert error.code == "dictionary.file"
    else:
        for content in contents:
            assert isinstance(content, Content)
            keys = [(item.code, item.valid_from) for item in content.items]
            assert len(set(keys)) == len(keys) > 0


@settings(max_examples=100, deadline=None)
@given(
    st.text(max_size=200), st.sampled_from(["IDPR;PRNAME;DATEBEG\n", "dict;code;name\n", "code;name;valid_from\n", ""])
)
def test_any_table_is_a_dictionary_or_refused(tmp_path_factory: pytest.TempPathFactory, body: str, header: str) -> None:
    path = tmp_path_factory.mktemp("nsi") / "V002.csv"
    path.write_bytes((header + body).encode(errors="replace"))
    try:
        assert read_all(path, Wish())
    except GatewayError as error:
        assert error.code == "dictionary.file"
