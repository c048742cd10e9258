"""DN_LIST P1.20: what is read of a record, what is wrong with it, and what makes a file refused as a whole."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import KINDS, GatewayError
from gateway.formats import list_file
from gateway.formats.list_file import ListFile
from gateway.formats.listing import ListRecord
from tests.formats.hostile import ENP, ZAP, Entry, dn_list, elements, zipped

NAME = "GSM190006_2605_1"


def opened(folder: Path, data: bytes, name: str = f"{NAME}.xml") -> ListFile:
    path = folder / "upload"
    path.write_bytes(data)
    return list_file.opened(path, name, archive_bytes=10**8, folder=folder / "scratch")


def read(folder: Path, data: bytes, name: str = f"{NAME}.xml") -> list[ListRecord]:
    return list(opened(folder, data, name).records())


def refused(folder: Path, data: bytes, name: str = f"{NAME}.xml") -> str:
    with pytest.raises(GatewayError) as found:
        read(folder, data, name)
    assert found.value.code == "file.structure"
    return found.value.message


def test_a_record(tmp_path: Path) -> None:
    made = opened(tmp_path, dn_list())
    assert (made.format, made.name, made.header["FILENAME"]) == ("DN_LIST", f"{NAME}.xml", NAME)
    assert list(made.records()) == [
        ListRecord(
            1,
            enp=ENP,
            diagnosis="I10",
            external_id="L-1",
            organisation="190006",
            diagnosed_on=date(2024, 1, 20),
            observed_since=date(2024, 2, 1),
            specialty="76",
        )
    ]


def test_every_element(tmp_path: Path) -> None:
    values = {
        "CODE_L": "Ж" * 36, "ENP": ENP, "CODE_PINF": "ДН", "DN_PATIENT_ID": "7", "DIAG_CODE": "C00.01",
        "DIAG_DATE": "2024-01-20", "DATE_DN_IN": "2024-02-01", "DATE_DN_OUT": "2026-04-01", "DN_PRVS": "76",
        "LAST_SL_MCOD": "190006", "LAST_SL_NHISTORY": "12/3", "LAST_SL_DATE": "2026-03-31", "STATUS_DN_IN": "2",
        "REASON_DN_OUT": "Выздоровление", "REASON_DN_IN": "107", "MCOD": "190006", "MO_ASSIGN": "1",
        "DATE_CHECKING": "2026-05-01",
    }  # fmt: skip
    for encoding in ("windows-1251", "utf-8"):
        (record,) = read(tmp_path, dn_list(elements(values), encoding=encoding))
        assert not record.problems
        assert record.external_id == "Ж" * 36
        assert (record.excluded_on, record.exclusion_reason) == (date(2026, 4, 1), "Выздоровление")


def test_the_published_sample(tmp_path: Path, reference: Path) -> None:
    """Its FILENAME is no name of the format: it is read under one that is."""
    sample = (reference / "erzl/samples/dn-files/DN_LIST_sample.xml").read_bytes()
    (record,) = read(tmp_path, sample.replace(b"GST78_SAMPLE", b"GST78_2611_1"), "GST78_2611_1.xml")
    assert not record.problems
    assert record.organisation == "780901"


def test_a_region_lists_many_organisations(tmp_path: Path) -> None:
    records = [elements({**ZAP, "CODE_L": code, "MCOD": code}) for code in ("190006", "190007", "190008")]
    data = dn_list(*records, FILE_TYPE="GST", FILENAME="GST19_2607_1")
    found = read(tmp_path, data, "GST19_2607_1.XML")
    assert [(record.number, record.organisation) for record in found] == [
        (1, "190006"), (2, "190007"), (3, "190008"),
    ]  # fmt: skip


def test_zipped_under_the_same_name(tmp_path: Path) -> None:
    data = zipped(Entry(f"{NAME}.xml".encode(), dn_list()), Entry(f"{NAME}.xml.sig".encode(), b"s"))
    made = opened(tmp_path, data, f"{NAME}.zip")
    assert (made.format, made.name) == ("DN_LIST", f"{NAME}.xml")
    assert len(list(made.records())) == 1
    assert "имя файла" in refused(tmp_path, data, "GSM190006_2605_2.zip")
    other = zipped(Entry(b"GSM190006_2605_2.xml", dn_list()))
    assert "имя файла" in refused(tmp_path, other, f"{NAME}.zip")


HEADINGS: dict[str, tuple[dict[str, str], str]] = {
    "older version": ({"VERSION": "P1.10"}, "VERSION"),
    "another type": ({"FILE_TYPE": "GPT"}, "FILE_TYPE"),
    "region's file of a clinic": ({"FILE_TYPE": "GSM", "FILENAME": "GST19_2605_1"}, "FILE_TYPE не соответствует"),
    "a date that is none": ({"DATA": "2026-02-30"}, "DATA"),
    "another name": ({"FILENAME": "GSM190006_2605_2"}, "имя файла"),
    "a name that is none": ({"FILENAME": "LIST"}, "FILENAME"),
    "no such month": ({"FILENAME": "GSM190006_2613_1"}, "FILENAME"),
    "another region": ({"FILE_TYPE": "GST", "FILENAME": "GST20_2605_1"}, "REGION_CD"),
    "a region that is none": ({"REGION_CD": "X"}, "REGION_CD"),
    "a number that is none": ({"NN_FILE": ""}, "NN_FILE"),
    "a count that is none": ({"SD_Z": "-1"}, "SD_Z"),
    "a count too long": ({"SD_Z": "1" * 20}, "SD_Z"),
    "a count in other digits": ({"SD_Z": "١"}, "SD_Z"),
    "fewer than counted": ({"SD_Z": "2"}, "число записей"),
    "more than counted": ({"SD_Z": "0"}, "число записей"),
}


@pytest.mark.parametrize("case", HEADINGS)
def test_a_heading_that_lies(tmp_path: Path, case: str) -> None:
    values, wanted = HEADINGS[case]
    assert wanted in refused(tmp_path, dn_list(encoding="utf-8", **values))


@pytest.mark.parametrize(
    "data",
    [
        b"<DN_LIST/>",
        b"<DN_LIST><ZAP/></DN_LIST>",
        dn_list().replace(b"<VERSION>", b"<VERS>").replace(b"</VERSION>", b"</VERS>"),
        dn_list().replace(b"<ZGLV>", b"<ZGLV><EXTRA/>"),
        dn_list().replace(b"<ZAP>", b"<ZGLV/><ZAP>"),
        dn_list().replace(b"</ZAP>", b"</ZAP><ZGLV/>"),
        dn_list()[:-12],
        dn_list(head="<!DOCTYPE DN_LIST>"),
        dn_list().replace(b"windows-1251", b"utf-8"),
    ],
)
def test_a_structure_that_is_broken(tmp_path: Path, data: bytes) -> None:
    refused(tmp_path, data)


def test_no_records(tmp_path: Path) -> None:
    data = dn_list(SD_Z="0")
    data = data[: data.index(b"<ZAP>")] + b"</DN_LIST>"
    assert "нет ни одной записи" in refused(tmp_path, data)


def changed(**values: str | None) -> str:
    return elements({name: text for name, text in {**ZAP, **values}.items() if text is not None})


WRONG: dict[str, tuple[str, list[tuple[str, str]]]] = {
    "no CODE_L": (changed(CODE_L=None), [("field.missing", "CODE_L")]),
    "empty CODE_L": (changed(CODE_L=" "), [("field.missing", "CODE_L")]),
    "long CODE_L": (changed(CODE_L="x" * 37), [("field.length", "CODE_L")]),
    "short ENP": (changed(ENP="123"), [("field.format", "ENP")]),
    "letters in ENP": (changed(ENP="A" * 16), [("field.format", "ENP")]),
    "other digits in ENP": (changed(ENP="١" * 16), [("field.format", "ENP")]),
    "another CODE_PINF": (changed(CODE_PINF="ПМ"), [("field.format", "CODE_PINF")]),
    "diagnosis in Cyrillic": (changed(DIAG_CODE="І10"), [("field.format", "DIAG_CODE")]),
    "diagnosis with a comma": (changed(DIAG_CODE="I20,8"), [("field.format", "DIAG_CODE")]),
    "no such day": (changed(DIAG_DATE="2023-02-29"), [("field.format", "DIAG_DATE")]),
    "Russian date": (changed(DATE_DN_IN="01.02.2024"), [("field.format", "DATE_DN_IN")]),
    "week date": (changed(DATE_DN_IN="2024-W01-1"), [("field.format", "DATE_DN_IN")]),
    "specialty by letters": (changed(DN_PRVS="терапевт"), [("field.format", "DN_PRVS")]),
    "STATUS_DN_IN": (changed(STATUS_DN_IN="3"), [("field.format", "STATUS_DN_IN")]),
    "REASON_DN_IN": (changed(REASON_DN_IN="108"), [("field.format", "REASON_DN_IN")]),
    "MCOD": (changed(MCOD="19006"), [("field.format", "MCOD")]),
    "MO_ASSIGN out of order": (elements(ZAP) + "<MO_ASSIGN>1</MO_ASSIGN>", [("field.unknown", "MO_ASSIGN")]),
    "unknown element": (elements(ZAP) + "<NAME>Ёж</NAME>", [("field.unknown", "NAME")]),
    "repeated element": ("<CODE_L>1</CODE_L>" + elements(ZAP), [("field.unknown", "CODE_L")]),
    "nested element": (elements(ZAP).replace("I10", "<b>I10</b>"), [("field.format", "DIAG_CODE")]),
    "text between elements": (elements(ZAP) + "text", [("field.format", "DATE_CHECKING")]),
    "several": (
        changed(ENP="1", MCOD=None),
        [("field.format", "ENP"), ("field.missing", "MCOD")],
    ),
    "nothing": (" ", [("field.missing", name) for name in ZAP]),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_record_spoils_itself_only(tmp_path: Path, case: str) -> None:
    record, wanted = WRONG[case]
    found = read(tmp_path, dn_list(elements(ZAP), record, elements(ZAP), encoding="utf-8"))
    assert [len(one.problems) > 0 for one in found] == [False, True, False]
    assert [(problem.code, problem.field) for problem in found[1].problems] == wanted


def test_an_empty_optional_element_is_absent(tmp_path: Path) -> None:
    record = elements(ZAP).replace("<DN_PRVS>", "<DATE_DN_OUT/><DN_PRVS>")
    (found,) = read(tmp_path, dn_list(record))
    assert (found.problems, found.excluded_on) == ([], None)


def test_a_reason_too_long(tmp_path: Path) -> None:
    record = elements(ZAP).replace("<REASON_DN_IN>", f"<REASON_DN_OUT>{'x' * 51}</REASON_DN_OUT><REASON_DN_IN>")
    (found,) = read(tmp_path, dn_list(record))
    assert [(problem.code, problem.field) for problem in found.problems] == [("field.length", "REASON_DN_OUT")]


_TEXTS = st.one_of(
    st.sampled_from(["", "1", "2024-02-30", "2024-01-01", "ДН", "<b/>", "&lt;", "I10"]), st.text(max_size=5)
)
_NAMES = st.sampled_from([*ZAP, "MO_ASSIGN", "X"])


@settings(max_examples=200)
@given(st.lists(st.tuples(_NAMES, _TEXTS), max_size=20))
def test_any_record_has_values_or_problems(
    tmp_path_factory: pytest.TempPathFactory, found: list[tuple[str, str]]
) -> None:
    body = "".join(f"<{name}>{text}</{name}>" for name, text in found).encode("utf-8", "replace").decode()
    try:
        records = read(tmp_path_factory.mktemp("dn"), dn_list(body, encoding="utf-8"))
    except GatewayError as error:
        assert error.code == "file.structure"
        return
    for record in records:
        assert all(problem.code in KINDS for problem in record.problems)
        assert record.problems or (record.enp and record.diagnosis and record.external_id and record.observed_since)
