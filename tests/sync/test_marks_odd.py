"""Registers as they should not be: wrong packets, odd cases, corrections in a row, and many of everything."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from datetime import date

import pytest

from gateway.store.engine import Store
from tests.lists.region import CLINIC, OTHER, Region, region
from tests.lists.uploads import entries
from tests.sync.registers import Bill, Register, Who
from tests.sync.test_marks import cares, events, kept, put, rows, run, said, take, told

TODAY = date(2026, 11, 18)


@pytest.fixture
def place(store: Store) -> Region:
    return region(store, TODAY)


def zipped(*files: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
        for name, content in files:
            made.writestr(name, content)
    return out.getvalue()


class Ready(Register):
    """A packet of given bytes under a register's name."""

    content: bytes = b""

    def packet(self) -> bytes:
        return self.content


def encrypted(content: bytes) -> bytes:
    """The same archive with the flag of encryption set in each of its headers."""
    marked = bytearray(content)
    for sign, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = marked.find(sign)
        while start >= 0:
            marked[start + at] |= 1
            start = marked.find(sign, start + 4)
    return bytes(marked)


WRONG: dict[str, tuple[Callable[[Register], bytes], str]] = {
    "no personal file": (lambda r: zipped((f"{r.name}.XML", r.medical_xml())), "file.archive"),
    "no medical file": (lambda r: zipped((f"{r.personal}.XML", r.personal_xml())), "file.archive"),
    "three files": (
        lambda r: zipped((f"{r.name}.XML", b""), (f"{r.personal}.XML", b""), ("readme.txt", b"")), "file.archive",
    ),
    "a pair of another name": (
        lambda r: zipped((f"{r.name}.XML", r.medical_xml()), (f"X{r.personal}.XML", r.personal_xml())), "file.archive",
    ),
    "FILENAME of another packet": (
        lambda r: zipped((f"{r.name}.XML", r.again(number=7).medical_xml()), (f"{r.personal}.XML", r.personal_xml())),
        "file.structure",
    ),
    "FILENAME1 of another packet": (
        lambda r: zipped((f"{r.name}.XML", r.medical_xml()), (f"{r.personal}.XML", r.again(number=7).personal_xml())),
        "file.structure",
    ),
    "YEAR and MONTH of another period": (
        lambda r: zipped(
            (f"{r.name}.XML", r.medical_xml().replace(b"<MONTH>10<", b"<MONTH>9<")), (f"{r.personal}.XML", r.personal_xml())
        ),
        "file.structure",
    ),
    "bytes that are not of the encoding": (
        lambda r: zipped(
            (f"{r.name}.XML", r.medical_xml()), (f"{r.personal}.XML", r.personal_xml().replace(b"windows-1251", b"utf-8"))
        ),
        "file.structure",
    ),
    "UTF-8 that says windows-1251": (
        lambda r: zipped(
            (f"{r.name}.XML", r.medical_xml()), (f"{r.personal}.XML", r.personal_xml().decode("cp1251").encode())
        ),
        "file.structure",
    ),
    "no archive": (lambda r: r.medical_xml(), "file.format"),
    "a cut archive": (lambda r: r.packet()[:-30], "file.archive"),
    "an archive cut in the middle": (lambda r: r.packet()[:400], "file.archive"),
    "an encrypted archive": (lambda r: encrypted(r.packet()), "file.archive"),
    "damaged content": (lambda r: r.packet()[:80] + b"\xff" * 40 + r.packet()[120:], "file.archive"),
    "ZAP before SCHET": (
        lambda r: zipped(
            (f"{r.name}.XML", r.medical_xml().replace(b"<SCHET>", b"<ZAP/><SCHET>")), (f"{r.personal}.XML", r.personal_xml())
        ),
        "file.structure",
    ),
    "a patient twice": (
        lambda r: zipped(
            (f"{r.name}.XML", r.medical_xml()), (f"{r.personal}.XML", r.personal_xml().replace(b">p2<", b">p1<"))
        ),
        "file.structure",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_a_packet_that_is_wrong_changes_nothing_and_is_told(place: Region, kind: str) -> None:
    make, code = WRONG[kind]
    register = Register([Bill(Who(place.person()), mark=2), Bill(Who(place.person()), mark=2, id="2")])
    wrong = Ready(register.bills)
    wrong.content = make(register)
    good = register.again(number=2, account="2")
    put(place, wrong, CLINIC)
    put(place, good, CLINIC)
    done = run(place)
    found = rows(place, "SELECT name, state, code FROM mark_file ORDER BY id")
    assert [tuple(row.values()) for row in found] == [(register.name, "REFUSED", code), (good.name, "TAKEN", None)]
    assert len(entries(place)) == len(kept(place)) == 2
    assert any(f"{register.name}" in line and code in line for line in said(place, done))
    reports = rows(place, "SELECT name FROM file WHERE mailbox AND organisation = :clinic ORDER BY name", clinic=CLINIC)
    assert len(reports) == 2


def test_days_that_cannot_be(place: Region) -> None:
    enps = [place.person() for _ in range(5)]
    days = [date(1, 1, 1), date(1950, 1, 1), date(9999, 12, 31), date(2026, 11, 19), date(1960, 5, 17)]
    bills = [Bill(Who(enp), mark=2, day=day, id=str(n)) for n, (enp, day) in enumerate(zip(enps, days, strict=True))]
    assert take(place, *bills) == [
        ("REFUSE", "observation.date-before-diagnosis"), ("REFUSE", "observation.date-before-diagnosis"),
        ("REFUSE", "mark.date-future"), ("REFUSE", "mark.date-future"), ("ADD", "ok"),
    ]  # fmt: skip


def test_a_case_of_thousands_of_diagnoses(place: Region) -> None:
    codes = [f"{letter}{n:02}.{k}" for letter in "EGIJ" for n in range(100) for k in range(6)]
    bill = Bill(Who(place.person()), "I10", 3, others=tuple((code, 2) for code in codes))
    found = take(place, bill, kind="DP")
    assert len(found) == 1 + len(codes) == 2401
    assert sum(step == "ADD" for step, _ in found) == 400
    assert len(entries(place)) == 400


def test_a_case_too_great_refuses_the_packet(place: Region) -> None:
    """More elements than a record may have."""
    bill = Bill(Who(place.person()), "I10", 3, others=(("I20.8", 2),) * 34_000)
    done = run(place, put(place, Register([bill], kind="DP")))
    assert kept(place) == []
    assert [row["state"] for row in rows(place, "SELECT state FROM mark_file")] == ["REFUSED"], said(place, done)


def test_marks_that_stand_where_they_do_not_count(place: Region) -> None:
    """DN of another purpose says nothing; one of dispensary observation without DN or of an unknown value is refused."""
    bills = [
        Bill(Who(place.person()), mark=2, purpose="1.0", id="1"), Bill(Who(place.person()), mark=None, id="2"),
        Bill(Who(place.person()), mark=5, id="3"), Bill(Who(place.person()), mark=2, purpose=None, id="4"),
    ]  # fmt: skip
    assert take(place, *bills) == []
    assert told(place) == [("2", "field.missing"), ("3", "mark.code")]
    disp = [
        Bill(Who(place.person()), mark=4, id="1"), Bill(Who(place.person()), mark=2, others=(("I20.8", 4),), id="2"),
        Bill(Who(place.person()), diagnosis=None, mark=2, id="3"),
    ]  # fmt: skip
    assert take(place, *disp, kind="DP", number=2, account="2") == []
    assert told(place) == [("1", "mark.code"), ("2", "mark.code"), ("3", "field.missing")]


def test_a_case_that_is_corrected_again_and_again(place: Region) -> None:
    who = Who(place.person())
    register = Register([Bill(who, "I20.8", 2)])
    run(place, put(place, register))
    for number, diagnosis in enumerate(("I25.1", "I48", "I20.8"), 2):
        right = Bill(who, diagnosis, 2, corrected=True)
        run(place, put(place, register.again(right, number=number, account=str(number), first=("1", 2026, 10))))
    live = [row for row in kept(place) if row["taken_back_at"] is None]
    assert [(row["diagnosis"], row["step"]) for row in live] == [("I20.8", "CONFIRM")]
    assert [one["diagnosis"] for one in entries(place)] == ["I20.8", "I25.1", "I48"]
    assert [kind for kind, *_ in events(place)] == ["TAKEN", "REVIEW", "TAKEN", "REVIEW", "TAKEN", "REVIEW"]
    assert {row[2] for row in cares(place)} == {"I20.8"}
    before = entries(place), events(place)
    again = Bill(who, "I20.8", 2, corrected=True)
    run(place, put(place, register.again(again, number=9, account="9", first=("1", 2026, 10))))
    assert (entries(place), events(place)) == before


def test_the_same_register_under_another_name(place: Region) -> None:
    bills = [Bill(Who(place.person()), mark=2), Bill(Who(place.person()), mark=6, id="2")]
    take(place, *bills)
    before = entries(place), events(place), len(cares(place))
    assert take(place, *bills, number=5) == []
    assert (entries(place), events(place), len(cares(place))) == before


def test_a_late_register_is_taken_with_those_of_a_later_month(place: Region) -> None:
    put(place, Register([Bill(Who(place.person()), mark=2, day=date(2026, 9, 20))], month=9), CLINIC)
    early = Register([Bill(Who(place.person()), mark=2, day=date(2026, 11, 3))], month=11, number=2)
    put(place, early, CLINIC)
    run(place)
    assert [row["month"] for row in rows(place, "SELECT month FROM mark_file")] == [9]
    assert [one["observed_since"] for one in entries(place)] == [date(2026, 9, 20)]
    named = put(place, Register([Bill(Who(place.person()), mark=2)], month=9, number=3))
    done = run(place, named)
    assert any("mark.period" in line for line in said(place, done))


def test_cases_of_several_clinics_in_a_register_of_the_fund(place: Region) -> None:
    register = Register([Bill(Who(place.person()), mark=2), Bill(Who(place.person()), mark=2, id="2", clinic=OTHER)])
    run(place, put(place, register))
    assert [len(entries(place, one)) for one in (CLINIC, OTHER)] == [1, 1]
