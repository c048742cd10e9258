"""Registers of order 79: packets as the schemas have them are read, and a packet that is wrong is refused by name."""

from __future__ import annotations

import io
import re
import tracemalloc
import zipfile
from datetime import date
from pathlib import Path

import pytest
from lxml import etree

from gateway.domain import persons
from gateway.errors import GatewayError
from gateway.formats.zl_list import Case, Claim, Packet, name_of
from tests.sync.registers import Bill, Register, Who

ENP = persons.make_enp(40, date(1960, 5, 17), 1, 7)
SCHEMAS = {"H": "H_3.1.xsd", "C": "C_3.1.xsd", "DP": "D_3.1_from_2021-08-01.xsd"}


def opened(tmp_path: Path, register: Register, name: str | None = None, content: bytes | None = None) -> Packet:
    path = tmp_path / "packet"
    path.write_bytes(register.packet() if content is None else content)
    return Packet(path, name or f"{register.name}.ZIP", archive_bytes=1 << 30, folder=tmp_path / "unpacked")


def cases(tmp_path: Path, register: Register) -> list[Case]:
    return list(opened(tmp_path, register).cases())


def refused(tmp_path: Path, register: Register, name: str | None = None, content: bytes | None = None) -> str:
    with pytest.raises(GatewayError) as refusal:
        packet = opened(tmp_path, register, name, content)
        list(packet.patients())
        list(packet.cases())
    return refusal.value.code


@pytest.mark.parametrize("kind", ["H", "C", "DP"])
def test_the_invented_registers_follow_the_schemas_of_the_reference(reference: Path, kind: str) -> None:
    """Of the trees that the tests invent no element is unknown to the published schema, nor stands out of order."""
    schema = etree.parse(str(reference / "registers" / "xsd" / "zabaikal" / SCHEMAS[kind]))
    bill = Bill(
        Who(ENP), "C50.1" if kind == "C" else "I10", others=(("I20.8", 2),), treatment=2 if kind == "C" else None
    )
    made = etree.fromstring(Register([bill], kind).medical_xml())
    order = _orders(schema.getroot())
    for element in made.iter():
        known = order.get(_path(element))
        if known is None:
            continue
        tags = [child.tag for child in element]
        assert [tag for tag in known if tag in tags] == list(dict.fromkeys(tags)), element.tag


def _path(element: etree._Element) -> str:
    return "/".join([*(one.tag for one in reversed(list(element.iterancestors()))), element.tag])


def _orders(schema: etree._Element) -> dict[str, list[str]]:
    """Tags of children in their order, by the path of the parent."""
    found: dict[str, list[str]] = {}
    space = "{http://www.w3.org/2001/XMLSchema}"

    def walk(node: etree._Element, path: str) -> None:
        for child in node:
            if child.tag == f"{space}element":
                name = child.get("name") or child.get("ref")
                assert name is not None
                if path:
                    found.setdefault(path, []).append(name)
                walk(child, f"{path}/{name}" if path else name)
            elif child.tag in (f"{space}{one}" for one in ("complexType", "sequence", "choice", "all")):
                walk(child, path)

    walk(schema, "")
    return found


def test_a_case_with_a_mark(tmp_path: Path) -> None:
    register = Register([Bill(Who(ENP), "I20.8", 2, id="77", services=(("B04.015.003", "I20.8"),))])
    packet = opened(tmp_path, register)
    account = packet.account
    assert (account.organisation, account.year, account.month, account.code) == ("400001", 2026, 10, "1")
    assert (account.number, account.dated, account.first) == ("С-1", date(2026, 10, 28), None)
    (case,) = packet.cases()
    assert (case.id, case.enp, case.organisation, case.corrected, case.problems) == ("77", ENP, "400001", False, [])
    (episode,) = case.episodes
    assert (episode.id, episode.ends, episode.purpose) == ("s77", date(2026, 10, 20), "1.3")
    assert episode.claims == (Claim("DN", 2, "I20.8"),)
    (service,) = episode.services
    assert (service.code, service.dispensary, service.diagnosis) == ("B04.015.003", True, "I20.8")
    (patient,) = packet.patients()
    assert (patient.last_name, patient.middle_name, patient.birth_date) == ("Иванов", "Ильич", date(1960, 5, 17))


@pytest.mark.parametrize("tag", ["PR_DS2_N", "PR_D"])
def test_marks_of_a_dispensary_check(tmp_path: Path, tag: str) -> None:
    bill = Bill(Who(ENP), "I10", 1, others=(("I20.8", 2), ("E78.0", 3)), tag=tag)
    (case,) = cases(tmp_path, Register([bill], "DP"))
    marks = case.episodes[0].claims
    assert marks == (Claim("PR_D_N", 1, "I10"), Claim("PR_DS2_N", 2, "I20.8"), Claim("PR_DS2_N", 3, "E78.0"))


def test_a_mark_without_the_purpose_is_none(tmp_path: Path) -> None:
    (case,) = cases(tmp_path, Register([Bill(Who(ENP), mark=1, purpose="1.0")]))
    assert case.episodes[0].claims == ()
    assert not case.marked


@pytest.mark.parametrize(
    ("bill", "code", "field"),
    [
        (Bill(Who(ENP), mark=None), "field.missing", "DN"),
        (Bill(Who(ENP), mark=3), "mark.code", "DN"),
        (Bill(Who(ENP), mark=5), "mark.code", "DN"),
        (Bill(Who(ENP), diagnosis=None), "field.missing", "DS1"),
        (Bill(Who(ENP), diagnosis="гипертония"), "diagnosis.format", "DS1"),
        (Bill(Who(ENP), id=""), "field.missing", "IDCASE"),
    ],
)
def test_a_wrong_case_is_named(tmp_path: Path, bill: Bill, code: str, field: str) -> None:
    (case,) = cases(tmp_path, Register([bill]))
    assert case.marked
    assert (case.problems[0].code, case.problems[0].field) == (code, field)


@pytest.mark.parametrize("mark", [4, 6])
def test_a_removal_does_not_exist_in_a_dispensary_check(tmp_path: Path, mark: int) -> None:
    (case,) = cases(tmp_path, Register([Bill(Who(ENP), mark=mark)], "DP"))
    assert case.problems[0].code == "mark.code"


def test_names_are_not_used_where_they_are_doubtful(tmp_path: Path) -> None:
    for doubts in ((2,), (3,), (4,), (5,), (6,)):
        (patient,) = opened(tmp_path, Register([Bill(Who(ENP, doubts=doubts))])).patients()
        assert patient.last_name is None or patient.birth_date is None


@pytest.mark.parametrize(
    ("name", "kind", "clinic", "personal"),
    [
        ("HM400001T40_2610001.zip", "H", "400001", "LM400001T40_2610001"),
        ("cm400001s40001_26101.ZIP", "C", "400001", "LCM400001S40001_26101"),
        ("DPM400001T40_2610001", "DP", "400001", "LPM400001T40_2610001"),
        ("DPM400001T40_2610001", "DP", "400001", "LM400001T40_2610001"),
        ("TT40M400001_2610001.XML", "T", None, "LTT40M400001_2610001"),
    ],
)
def test_names_of_packets(name: str, kind: str, clinic: str | None, personal: str) -> None:
    found = name_of(name)
    assert found is not None
    assert (found.kind, found.clinic, found.year, found.month) == (kind, clinic, 2026, 10)
    assert personal in found.personal


@pytest.mark.parametrize(
    "name", ["list.csv", "HM400001T40_2613001.zip", "HM400001_2610001", "XM400001T40_2610001", "HM400001T40_2610", ""]
)
def test_other_names_are_none(name: str) -> None:
    assert name_of(name) is None


def test_a_packet_that_is_wrong_as_a_whole(tmp_path: Path) -> None:
    register = Register([Bill(Who(ENP))])
    whole = register.medical_xml()
    assert refused(tmp_path, register, "list.zip") == "mark.name"
    assert refused(tmp_path, register, content=whole) == "file.format"
    assert refused(tmp_path, register.again(declared=2)) == "file.structure"
    assert refused(tmp_path, register.again(changes={"medical": whole[:-30]})) == "file.structure"
    assert refused(tmp_path, register.again(changes={"personal": register.personal_xml()[:-30]})) == "file.structure"
    assert refused(tmp_path, register.again(changes={"medical": b"<other/>"})) == "file.format"
    no_head = re.sub(rb"<ZGLV>.*</ZGLV>", b"", whole)
    assert refused(tmp_path, register.again(changes={"medical": no_head})) == "file.structure"
    other = register.again(number=2)
    assert refused(tmp_path, register.again(changes={"medical": other.medical_xml()})) == "file.structure"
    assert refused(tmp_path, register.again(changes={"personal": other.personal_xml()})) == "file.structure"
    month = register.medical_xml().replace(b"<MONTH>10<", b"<MONTH>9<")
    assert refused(tmp_path, register.again(changes={"medical": month})) == "file.structure"
    bomb = b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "c">]><ZL_LIST/>'
    assert refused(tmp_path, register.again(changes={"medical": bomb})) in ("file.structure", "file.format")


def test_an_archive_that_is_no_pair(tmp_path: Path) -> None:
    register = Register([Bill(Who(ENP))])
    names = {
        (f"{register.name}.XML",),
        (f"{register.name}.XML", "LM000000T40_2610001.XML"),
        (f"{register.personal}.XML", f"L{register.personal}.XML"),
        (f"{register.name}.XML", f"{register.personal}.XML", "third.xml"),
    }
    for members in names:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as made:
            for one in members:
                made.writestr(one, register.medical_xml())
        assert refused(tmp_path, register, content=out.getvalue()) == "file.archive"


def test_unknown_elements_do_no_harm(tmp_path: Path) -> None:
    register = Register([Bill(Who(ENP))])
    newer = register.medical_xml().replace(b"<DN>", b"<NEXT_VISIT>2027-01-01</NEXT_VISIT><DN>")
    (case,) = cases(tmp_path, register.again(changes={"medical": newer}))
    assert case.episodes[0].claims == (Claim("DN", 1, "I10"),)


def test_the_policy_of_the_newer_version(tmp_path: Path) -> None:
    register = Register([Bill(Who(ENP))])
    newer = re.sub(rb"<NPOLIS>(\d+)</NPOLIS>", rb"<ENP>\1</ENP>", register.medical_xml())
    (case,) = cases(tmp_path, register.again(changes={"medical": newer}))
    assert case.enp == ENP
    (old,) = cases(tmp_path, Register([Bill(Who(ENP, policy=1))]))
    assert old.enp is None


def test_memory_does_not_grow_with_the_register(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        packet = opened(tmp_path, Register([Bill(Who(ENP), id=str(n)) for n in range(count)]))
        tracemalloc.start()
        try:
            assert sum(1 for _ in packet.cases()) == count
            assert sum(1 for _ in packet.patients()) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)
    assert peak(4_000) < peak(400) + 1_000_000
