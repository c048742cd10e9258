"""Marks of registers in lists: each outcome with its code, corrections, refusals, what is kept, what clinics are told."""

from __future__ import annotations

import csv
import io
import threading
from datetime import date
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from gateway.access.model import Call
from gateway.domain.periods import Month
from gateway.errors import GatewayError
from gateway.formats.zl_list import Packet
from gateway.lists import errand
from gateway.lists.model import Exclusion, PlanChange
from gateway.operations import files, works
from gateway.operations.model import Operation, Owner, Scope
from gateway.store.engine import Store
from gateway.sync import marks
from gateway.sync.marks import staging, taking
from gateway.sync.marks import works as marking
from tests.lists.region import CLINIC, OTHER, Plain, Region, region
from tests.lists.uploads import entries, state, work_of
from tests.sync.registers import DAY, Bill, Register, Who

TODAY = date(2026, 11, 18)
PERIOD = Month(2026, 10)


@pytest.fixture
def place(store: Store) -> Region:
    return region(store, TODAY)


def put(place: Region, register: Register, organisation: str | None = None, name: str | None = None) -> UUID:
    content = register.packet()
    with place.store.begin() as connection:
        return files.put(
            connection, place.settings, owner=Owner(organisation), client_id=None, name=name or f"{register.name}.ZIP",
            content=content,
        )  # fmt: skip


def run(place: Region, *file_ids: UUID, period: Month = PERIOD, **values: Any) -> Operation:
    with place.store.begin() as connection:
        operation = marks.start(connection, period, file_ids, login="оператор", trace=uuid4().hex, **values)
    works.run(work_of(place), str(operation))
    done = state(place, operation)
    assert done.state == "DONE", (done.code, said(place, done))
    return done


def take(place: Region, *bills: Bill, **values: Any) -> list[tuple[str, str]]:
    """Takes a register of these cases; (step, outcome) of what it kept, in the order of cases."""
    register = Register(bills, **values)
    before = last_mark(place)
    run(place, put(place, register))
    return [(row["step"], row["outcome"]) for row in kept(place) if row["id"] > before]


def said(place: Region, operation: Operation) -> list[str]:
    with place.store.begin() as connection:
        return [line.text for line in works.lines(connection, operation.operation_id)]


def rows(place: Region, query: str, **values: Any) -> list[dict[str, Any]]:
    with place.store.begin() as connection:
        return [dict(row) for row in connection.execute(text(query), values).mappings()]


def kept(place: Region) -> list[dict[str, Any]]:
    return rows(place, "SELECT * FROM mark ORDER BY id")


def last_mark(place: Region) -> int:
    return max((row["id"] for row in kept(place)), default=0)


def cares(place: Region) -> list[tuple[Any, ...]]:
    found = rows(place, "SELECT * FROM care_event WHERE taken_back_at IS NULL ORDER BY id")
    return [(row["kind"], row["service"], row["diagnosis"], row["cared_on"]) for row in found]


def events(place: Region) -> list[tuple[Any, ...]]:
    found = rows(place, "SELECT kind, cause, source, effective_on, details FROM entry_event ORDER BY id")
    return [tuple(row.values()) for row in found]


def told(place: Region, organisation: str = CLINIC) -> list[tuple[str, str]]:
    """(IDCASE, code) of the newest report in the mailbox of a clinic."""
    with place.store.begin() as connection:
        _, page = files.mailbox(connection, Scope(), organisation=organisation)
        content = files.read(connection, page[-1].file_id, 0, page[-1].size)
    assert page[-1].kind == "PROTOCOL"
    lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig")), delimiter=";"))[1:]
    return [(line[2], line[8]) for line in lines]


def close(place: Region, month: Month, organisation: str = CLINIC) -> None:
    with place.store.begin() as connection:
        place.lists.close(connection, organisation, month, "оператор", Plain())


def test_a_person_is_taken(place: Region) -> None:
    enp = place.person()
    assert take(place, Bill(Who(enp), "I20.8", 2)) == [("ADD", "ok")]
    (entry,) = entries(place)
    assert (entry["status"], entry["source"], entry["observed_since"]) == ("OBSERVED", "REGISTER", DAY)
    assert (entry["diagnosis"], entry["planned_months"], entry["by_attachment"]) == ("I20.8", [], True)
    name = Register([]).name
    assert events(place) == [
        ("TAKEN", "MARK", "REGISTER", DAY, {"file": name, "idcase": "1", "slId": "s1"}),
    ]
    (mark,) = kept(place)
    assert (mark["entry_id"], mark["case_id"], mark["episode"], mark["marked_on"]) == (entry["id"], "1", "s1", DAY)
    assert place.ids("TAKEN", month=10) == [str(entry["id"])]


def test_marks_without_an_entry_of_the_clinic(place: Region) -> None:
    other, removed, stands = place.person(), place.person(), place.person(attached=OTHER)
    place.add(other, organisation=OTHER)
    bills = [
        Bill(Who(other), id="1"),
        Bill(Who(other), mark=4, id="2"),
        Bill(Who(removed), mark=6, id="3"),
        Bill(Who(stands), mark=1, id="4"),
    ]
    assert take(place, *bills) == [
        ("REFUSE", "observation.elsewhere"),
        ("REFUSE", "observation.elsewhere"),
        ("REFUSE", "mark.not-observed"),
        ("ADD", "ok"),
    ]
    assert told(place) == [
        ("1", "observation.elsewhere"), ("2", "observation.elsewhere"), ("3", "mark.not-observed"),
    ]  # fmt: skip
    assert [entry["by_attachment"] for entry in entries(place)] == [False]


def test_an_observation_is_confirmed_without_an_event(place: Region) -> None:
    enp = place.person()
    entry = place.add(enp, observed_since=date(2026, 9, 1))
    before = entries(place), events(place)
    assert take(place, Bill(Who(enp), mark=1)) == [("CONFIRM", "ok.confirmed")]
    assert (entries(place), events(place)) == before
    assert [row["entry_id"] for row in kept(place)] == [int(entry)]


@pytest.mark.parametrize(("mark", "reason"), [(4, "1"), (6, "9")])
def test_an_observation_is_ended(place: Region, mark: int, reason: str) -> None:
    enp = place.person()
    place.at(date(2026, 10, 5)).add(enp, observed_since=date(2026, 9, 1))
    assert take(place, Bill(Who(enp), mark=mark)) == [("END", "ok")]
    (entry,) = entries(place)
    assert (entry["status"], entry["excluded_on"], entry["exclusion_reason"]) == ("EXCLUDED", DAY, reason)
    assert events(place)[-1][:4] == ("EXCLUDED", "MARK", "REGISTER", DAY)
    assert place.ids("EXCLUDED", month=10) == [str(entry["id"])]
    again = [Bill(Who(enp), mark=mark, id="2")]
    assert take(place, *again, number=2, account="2") == [("NOTHING", "ok.same")]


def test_not_subject_never_ends_an_observation(place: Region) -> None:
    enp = place.person()
    place.add(enp, observed_since=date(2026, 9, 1))
    bill = Bill(Who(enp), "I10", 3, others=(("I20.8", 2), ("E78.0", 3)))
    assert take(place, bill, kind="DP") == [
        ("NOTHING", "ok.not-subject"), ("ADD", "ok"), ("NOTHING", "ok.not-subject"),
    ]  # fmt: skip
    assert [(one["diagnosis"], one["status"]) for one in entries(place)] == [("I10", "OBSERVED"), ("I20.8", "OBSERVED")]


def test_the_word_of_the_clinic_that_is_later_goes_first(place: Region) -> None:
    changed, ended, later = place.person(), place.person(), place.person()
    entry = place.at(date(2026, 10, 5)).add(changed, observed_since=date(2026, 9, 1))
    place.do(place.lists.update_plans, [_plan(entry)])
    over = place.add(ended, observed_since=date(2026, 9, 1))
    place.do(place.lists.exclude, [Exclusion(over, date(2026, 11, 1), "1")])
    place.add(later, observed_since=date(2026, 11, 1))
    bills = [
        Bill(Who(changed), mark=4, id="1"), Bill(Who(changed), mark=1, id="2"), Bill(Who(ended), mark=4, id="3"),
        Bill(Who(ended), mark=2, id="4"), Bill(Who(later), mark=6, id="5"), Bill(Who(later), mark=1, id="6"),
    ]  # fmt: skip
    assert take(place, *bills) == [
        ("REFUSE", "mark.older"), ("CONFIRM", "ok.confirmed"), ("REFUSE", "mark.older"), ("CONFIRM", "ok.confirmed"),
        ("REFUSE", "mark.older"), ("CONFIRM", "ok.confirmed"),
    ]  # fmt: skip


def _plan(entry: str) -> PlanChange:
    return PlanChange(entry, ("2026-12",))


def test_an_annulled_entry_is_not_made_anew_by_an_older_case(place: Region) -> None:
    enp = place.person()
    entry = place.add(enp, observed_since=date(2026, 9, 1))
    place.do(place.lists.annul_entry, entry, "ошибка", organisation=None)
    assert take(place, Bill(Who(enp), mark=2)) == [("REFUSE", "mark.older")]


def test_who_was_ended_before_is_taken_again(place: Region) -> None:
    enp = place.person()
    past = place.at(date(2026, 10, 5))
    entry = past.add(enp, observed_since=date(2026, 9, 1))
    past.do(past.lists.exclude, [Exclusion(entry, date(2026, 10, 1), "1")])
    assert take(place, Bill(Who(enp), mark=2)) == [("ADD", "ok")]
    assert [one["status"] for one in entries(place)] == ["EXCLUDED", "OBSERVED"]


def test_marks_of_one_person_are_taken_in_the_order_of_their_days(place: Region) -> None:
    enp = place.person()
    days = [date(2026, 10, day) for day in (25, 3, 14, 26)]
    bills = [
        Bill(Who(enp), mark=4, day=days[0], id="1"), Bill(Who(enp), mark=2, day=days[1], id="2"),
        Bill(Who(enp), mark=1, day=days[2], id="3"), Bill(Who(enp), mark=2, day=days[3], id="4"),
    ]  # fmt: skip
    assert take(place, *bills) == [("END", "ok"), ("ADD", "ok"), ("CONFIRM", "ok.confirmed"), ("ADD", "ok")]
    found = [(one["observed_since"], one["excluded_on"], one["version"]) for one in entries(place)]
    assert found == [(days[1], days[0], 2), (days[3], None, 1)]


def test_people_who_may_not_be_observed(place: Region) -> None:
    dead, late, foreign = place.person(death=DAY), place.person(death=date(2026, 10, 1)), place.person(insured=False)
    entry = place.at(date(2026, 9, 5)).add(late_enp := place.person(), observed_since=date(2026, 9, 1))
    with place.store.begin() as connection:
        connection.execute(text("UPDATE person SET death_date = '2026-10-25' WHERE enp = :enp"), {"enp": late_enp})
    bills = [
        Bill(Who(dead), id="1"), Bill(Who(late), id="2"), Bill(Who(foreign), id="3"), Bill(Who(late_enp), id="4"),
        Bill(Who(late), mark=3, purpose="1.0", id="5"),
    ]  # fmt: skip
    assert take(place, *bills) == [
        ("REFUSE", "person.dead"), ("REFUSE", "person.dead"), ("REFUSE", "person.not-insured"),
        ("CONFIRM", "ok.confirmed"),
    ]  # fmt: skip
    assert [row["entry_id"] for row in kept(place)] == [None, None, None, int(entry)]


def test_diagnoses_outside_the_rules(place: Region) -> None:
    with place.store.begin() as connection:
        edition = connection.execute(
            text(
                "INSERT INTO dictionary_edition (dictionary, version, valid_from, source, sha256, rows)"
                " VALUES ('ICD10', '1', '2000-01-01', 'test', '', 3) RETURNING id"
            )
        ).scalar_one()
        connection.execute(
            text(
                "INSERT INTO dictionary_item (edition_id, code, name, attributes) VALUES (:edition, 'I20', 'а', '{}'),"
                " (:edition, 'I10', 'б', '{\"terminal\": true}'), (:edition, 'J06.9', 'в', '{\"terminal\": true}')"
            ),
            {"edition": edition},
        )
    bills = [
        Bill(Who(place.person()), "J06.9", id="1"), Bill(Who(place.person()), "I20", id="2"),
        Bill(Who(place.person()), "X99.9", id="3"), Bill(Who(place.person(birth=date(2015, 1, 1))), id="4"),
    ]  # fmt: skip
    assert take(place, *bills) == [
        ("ADD", "ok.outside"), ("REFUSE", "diagnosis.not-terminal"), ("REFUSE", "diagnosis.unknown"),
        ("ADD", "ok.child"),
    ]  # fmt: skip
    assert [code for _, code in told(place)] == [
        "ok.outside", "diagnosis.not-terminal", "diagnosis.unknown", "ok.child",
    ]  # fmt: skip
    strict = place.at(TODAY, diagnosis_outside="refuse")
    assert take(strict, Bill(Who(place.person()), "J06.9"), number=2, account="2") == [("REFUSE", "diagnosis.outside")]


def test_a_closed_month_keeps_what_it_held(place: Region) -> None:
    old, new = place.person(), place.person()
    entry = place.at(date(2026, 10, 5)).add(old, observed_since=date(2026, 9, 1))
    close(place, Month(2026, 9))
    close(place, PERIOD)
    assert take(place, Bill(Who(old), mark=4, id="1"), Bill(Who(new), mark=2, id="2")) == [
        ("END", "ok.closed-month"), ("ADD", "ok.closed-month"),
    ]  # fmt: skip
    assert place.ids("EXCLUDED", month=11) == [entry]
    assert len(place.ids("TAKEN", month=11)) == 1
    assert [one["excluded_on"] for one in entries(place)] == [DAY, None]
    assert {code for _, code in told(place)} == {"ok.closed-month"}


def test_ended_and_taken_again_within_a_closed_month(place: Region) -> None:
    enp = place.person()
    close(place, PERIOD)
    bills = [Bill(Who(enp), mark=mark, day=date(2026, 10, day), id=str(day)) for day, mark in ((1, 2), (9, 6), (12, 1))]
    assert [step for step, _ in take(place, *bills)] == ["ADD", "END", "ADD"]
    found = rows(place, "SELECT since, until FROM observation_segment ORDER BY id")
    first = date(2026, 11, 1)
    assert [(row["since"], row["until"]) for row in found] == [(first, first), (first, None)]


def test_a_person_is_found_by_name_only_if_alone(place: Region) -> None:
    place.person("Ёлкин")
    place.person("Петров")
    place.person("Петров")
    by_name = {"policy": 1}
    bills = [
        Bill(Who(last="Елкин", **by_name), id="1"), Bill(Who(last="Петров", **by_name), id="2"),
        Bill(Who(last="Никто", **by_name), id="3"), Bill(Who(last="Ёлкин", doubts=(5,), **by_name), id="4"),
    ]  # fmt: skip
    assert take(place, *bills) == [("ADD", "ok")]
    assert told(place) == [("2", "mark.person"), ("3", "mark.person"), ("4", "mark.person")]


def test_numbers_that_do_not_name_the_patient(place: Region) -> None:
    enp = place.person()
    stranger = Who(enp, last="Сидоров", birth=date(1980, 1, 1))
    married, wrong = Who(enp, last="Сидоров"), Who(f"{enp[:-1]}{(int(enp[-1]) + 1) % 10}")
    bills = [
        Bill(stranger, id="1"),
        Bill(wrong, id="2"),
        Bill(Who(enp, newborn="1201020261"), id="3"),
        Bill(married, id="4"),
    ]
    assert take(place, *bills) == [("ADD", "ok")]
    assert told(place) == [("1", "mark.person-differs"), ("2", "person.enp-check"), ("3", "mark.newborn")]


def test_a_person_that_nobody_knows_waits(place: Region) -> None:
    unknown = Who(place.person())
    with place.store.begin() as connection:
        connection.execute(text("UPDATE person SET enp = :other"), {"other": "4000000000000003"})
    bill = Bill(unknown, "C50.1", mark=2, services=())
    assert take(place, bill, kind="C") == [("ASIDE", "ok.aside")]
    assert told(place) == [("1", "ok.aside")]
    assert (entries(place), [row["person_id"] for row in rows(place, "SELECT * FROM care_event")]) == ([], [None, None])
    run(place)
    assert entries(place) == []
    with place.store.begin() as connection:
        connection.execute(text("UPDATE person SET enp = :enp"), {"enp": unknown.enp})
    run(place)
    (entry,) = entries(place)
    assert (entry["diagnosis"], entry["source"]) == ("C50.1", "REGISTER")
    (mark,) = kept(place)
    assert (mark["step"], mark["outcome"], mark["entry_id"], mark["enp"]) == ("ADD", "ok", entry["id"], None)
    assert all(row["person_id"] == entry["person_id"] for row in rows(place, "SELECT * FROM care_event"))
    run(place)
    assert len(entries(place)) == 1


def test_wrong_cases_are_refused_alone(place: Region) -> None:
    enp = place.person()
    bills = [
        Bill(Who(place.person()), mark=3, id="1"), Bill(Who(enp), id="2"), Bill(Who(place.person()), id="2"),
        Bill(Who(place.person()), clinic="999999", id="4"), Bill(Who(place.person()), day=date(2026, 11, 30), id="5"),
        Bill(Who(place.person()), payment=2, id="6"), Bill(Who(place.person()), "гипертония", purpose="1.0", id="7"),
    ]  # fmt: skip
    assert take(place, *bills) == [("ADD", "ok"), ("REFUSE", "mark.date-future")]
    assert told(place) == [
        ("1", "mark.code"), ("2", "mark.repeated"), ("4", "mark.organisation"), ("5", "mark.date-future"),
        ("6", "mark.refused"),
    ]  # fmt: skip


def test_the_same_file_twice_changes_nothing(place: Region) -> None:
    enp, other = place.person(), place.person()
    bills = [Bill(Who(enp), mark=2, id="1"), Bill(Who(other), mark=6, id="2")]
    take(place, *bills)
    before = entries(place), events(place), kept(place), cares(place)
    assert take(place, *bills) == []
    assert [row["state"] for row in rows(place, "SELECT state FROM mark_file ORDER BY id")] == ["TAKEN", "SAME"]
    assert (entries(place), events(place), kept(place), cares(place)) == before
    more = Bill(Who(place.person()), mark=2, id="3")
    assert take(place, *bills, more, number=2) == [("ADD", "ok")]
    assert len(cares(place)) == len(before[3]) + 1
    assert entries(place)[:1] == before[0]


def test_a_corrected_case_takes_the_place_of_the_former_one(place: Region) -> None:
    enp = place.person()
    register = Register([Bill(Who(enp), "I20.8", 2, id="1")])
    run(place, put(place, register))
    right = Bill(Who(enp), "I25.1", 2, id="1", corrected=True)
    run(place, put(place, register.again(right, number=2, account="2", first=("1", 2026, 10))))
    first, second = entries(place)
    assert [one["diagnosis"] for one in (first, second)] == ["I20.8", "I25.1"]
    assert [(row["step"], row["taken_back_reason"]) for row in kept(place)] == [("ADD", "REPLACED"), ("ADD", None)]
    assert [(kind, cause) for kind, cause, *_ in events(place)] == [
        ("TAKEN", "MARK"), ("REVIEW", "MARK"), ("TAKEN", "MARK"),
    ]  # fmt: skip
    assert (first["status"], first["version"]) == ("OBSERVED", 2)
    assert told(place) == [("1", "mark.taken-back")]
    assert [row[2] for row in cares(place)] == ["I25.1"]


def test_a_corrected_case_that_says_the_same_changes_nothing(place: Region) -> None:
    enp = place.person()
    take(place, Bill(Who(enp), mark=2, id="1"))
    before = entries(place), events(place)
    assert take(place, Bill(Who(enp), mark=2, id="1", corrected=True), number=2, account="2") == []
    assert (entries(place), events(place)) == before
    (mark,) = kept(place)
    assert rows(place, "SELECT name FROM mark_file WHERE id = :id", id=mark["file_id"]) == [
        {"name": Register([], number=2).name}
    ]
    assert len(cares(place)) == 1


def test_a_case_that_the_payer_refuses_is_taken_back(place: Region) -> None:
    enp = place.person()
    register = Register([Bill(Who(enp), mark=2, id="1")])
    run(place, put(place, register))
    returned = Bill(Who(enp), mark=2, id="1", payment=2)
    run(place, put(place, register.again(returned, number=2)))
    assert [row["taken_back_reason"] for row in kept(place)] == ["REPLACED"]
    assert [kind for kind, *_ in events(place)] == ["TAKEN", "REVIEW"]
    assert cares(place) == []


def test_a_case_is_taken_back_by_its_number(place: Region) -> None:
    taken, ended, confirmed = place.person(), place.person(), place.person()
    place.at(date(2026, 10, 5)).add(ended, observed_since=date(2026, 9, 1))
    place.add(confirmed, observed_since=date(2026, 9, 1))
    bills = [Bill(Who(taken), mark=2, id="1"), Bill(Who(ended), mark=4, id="2"), Bill(Who(confirmed), mark=1, id="3")]
    take(place, *bills)
    name = Register([]).name
    assert back(place, (name, "1"), (name.lower(), "3")) == {"marks": 2, "reviews": 1}
    assert told(place) == [("1", "mark.taken-back")]
    assert back(place, (name, None)) == {"marks": 1, "reviews": 1}
    assert back(place, (name, None)) == {"marks": 0, "reviews": 0}
    reviews = [details for kind, *_, details in events(place) if kind == "REVIEW"]
    assert reviews == [
        {"file": name, "idcase": "1", "slId": "s1", "mark": "2"},
        {"file": name, "idcase": "2", "slId": "s2", "mark": "4"},
    ]
    assert [one["status"] for one in entries(place)] == ["EXCLUDED", "OBSERVED", "OBSERVED"]
    assert cares(place) == []
    with pytest.raises(GatewayError, match=r"object\.not-found"):
        back(place, (name, "9"))
    with pytest.raises(GatewayError, match=r"reason\.empty"):
        back(place, (name, "1"), reason=" ")
    assert take(place, Bill(Who(taken), mark=1, id="1"), number=2, account="2") == [("CONFIRM", "ok.confirmed")]


def back(place: Region, *cases: tuple[str, str | None], reason: str = "отклонён") -> dict[str, int]:
    with place.store.begin() as connection:
        caller = errand.caller_of(connection, None, "оператор")
        call = Call(caller, "operator", "MarksTakeBack", uuid4().hex, place.lists.clock.now())
        return marks.take_back(place.lists, connection, call, cases, reason)


def test_a_file_taken_back_as_a_whole_may_come_again(place: Region) -> None:
    register = Register([Bill(Who(place.person()), mark=2, id="1")])
    run(place, put(place, register))
    assert back(place, (register.name, None)) == {"marks": 1, "reviews": 1}
    assert back(place, (register.name, None)) == {"marks": 0, "reviews": 0}
    run(place, put(place, register))
    assert [(row["step"], row["taken_back_at"] is None) for row in kept(place)] == [("ADD", False), ("CONFIRM", True)]


def test_a_moved_entry_goes_to_review_in_its_present_list(place: Region) -> None:
    enp = place.person()
    take(place, Bill(Who(enp), mark=2, id="1"))
    with place.store.begin() as connection:
        connection.execute(text("UPDATE entry SET organisation = :other"), {"other": OTHER})
        connection.execute(text("INSERT INTO list_ledger (organisation) VALUES (:other)"), {"other": OTHER})
    corrected = Bill(Who(enp), "I25.1", 2, id="1", corrected=True)
    take(place, corrected, number=2, account="2")
    assert told(place, OTHER) == [("1", "mark.taken-back")]


def test_care_is_kept_for_the_indicators(place: Region) -> None:
    enp = place.person()
    service = (("B04.015.003", "I20.8"), ("A05.10.006", "I20.8"))
    take(place, Bill(Who(enp), "I20.8", 1, services=service))
    take(place, Bill(Who(enp), "C50.1", None, purpose=None, services=(), treatment=2), kind="C")
    take(
        place,
        Bill(Who(enp), "C50.1", None, purpose=None, services=(), treatment=6, id="2"),
        kind="C",
        number=2,
        account="2",
    )
    take(place, Bill(Who(enp), "Z03.1", None, purpose="1.0", services=(("A06.1", "C18.0"),)), number=3, account="3")
    take(place, Bill(Who(enp), "I10", None, purpose="1.0", services=(("A06.1", "I10"),)), number=4, account="4")
    assert cares(place) == [
        ("DN_VISIT", None, "I20.8", DAY), ("DN_SERVICE", "B04.015.003", "I20.8", DAY), ("TREATMENT", None, "C50.1", DAY),
        ("EXAMINATION", None, "C50.1", DAY), ("EXAMINATION", "A06.1", "C18.0", DAY),
    ]  # fmt: skip
    assert {row["organisation"] for row in rows(place, "SELECT organisation FROM care_event")} == {CLINIC}


def test_a_dry_run_changes_nothing_and_tells_the_plan(place: Region) -> None:
    enp = place.person()
    place.add(other := place.person(), organisation=OTHER)
    file = put(place, Register([Bill(Who(enp), mark=2, id="1"), Bill(Who(other), mark=2, id="2")]))
    done = run(place, file, dry=True)
    assert (entries(place), kept(place), rows(place, "SELECT * FROM mark_file")) == ([], [], [])
    with place.store.begin() as connection:
        (plan,) = files.of_operation(connection, done.operation_id)
        content = files.read(connection, plan.file_id, 0, plan.size).decode("utf-8-sig")
        assert files.mailbox(connection, Scope())[0] == 0
    assert "observation.elsewhere" in content
    assert any("взято под наблюдение 1" in line for line in said(place, done))
    run(place, file)
    assert len(entries(place)) == 1


def test_files_that_clinics_have_put(place: Region) -> None:
    own, foreign = place.person(), place.person()
    good = Register([Bill(Who(own), mark=2)])
    put(place, good, CLINIC)
    put(place, Register([Bill(Who(own), mark=2)], month=11), CLINIC)
    put(place, Register([Bill(Who(foreign), mark=2)], number=2), OTHER)
    put(place, good, CLINIC, "list.zip")
    done = run(place)
    assert [(one["name"], one["state"], one["code"]) for one in rows(place, "SELECT * FROM mark_file ORDER BY id")] == [
        (good.name, "TAKEN", None), (Register([], number=2).name, "REFUSED", "mark.organisation"),
    ]  # fmt: skip
    assert told(place) == []
    assert [code for _, code in told(place, OTHER)] == ["mark.organisation"]
    assert len(entries(place)) == 1
    assert any("Файлов реестров за 2026-10 и прежние месяцы: 2" in line for line in said(place, done))
    again = run(place)
    assert any("Файлов реестров за 2026-10 и прежние месяцы: 0" in line for line in said(place, again))
    assert own not in "\n".join(said(place, done))


def test_files_of_clinics_are_kept_until_their_month(place: Region) -> None:
    file = put(place, Register([Bill(Who(place.person()))]), CLINIC)
    other = put(place, Register([]), CLINIC, "list.zip")
    until = {}
    assert marking.keep(work_of(place)) == 1
    for one in rows(place, "SELECT id, expires_at - ready_at AS kept FROM file"):
        until[one["id"]] = one["kept"].days
    assert until[other] <= place.settings.upload_days < 60 < until[file]
    assert marking.keep(work_of(place)) == 0


def test_a_packet_that_is_wrong_as_a_whole(place: Region) -> None:
    register = Register([Bill(Who(place.person()), mark=2)])
    cut = register.again(changes={"medical": register.medical_xml()[:-40]})
    late = register.again(declared=7, number=3)
    codes = []
    for one in (cut, late, register.again(month=9)):
        done = run(place, put(place, one))
        codes += [line.split(" — ")[0].split(": ")[1] for line in said(place, done) if " — " in line]
    assert codes == ["file.structure", "file.structure", "mark.period"]
    assert (entries(place), kept(place), cares(place)) == ([], [], [])
    refused = rows(place, "SELECT state, code FROM mark_file ORDER BY id")
    assert [row["code"] for row in refused] == codes


def test_every_packet_leaves_one_record_of_the_audit(place: Region) -> None:
    enp = place.person()
    take(place, Bill(Who(enp), mark=2))
    (record,) = rows(place, "SELECT * FROM audit_record WHERE operation = 'ReconcileMarks'")
    assert (record["organisation"], record["records"], record["outcome"]) == (CLINIC, 1, "OK")
    assert record["persons"] == [row["person_id"] for row in kept(place)]
    assert record["details"]["items"] == {"ok": 1}
    assert enp not in str(record["details"])


def test_cells_are_no_formulas(place: Region) -> None:
    take(place, Bill(Who(place.person()), mark=6, id="=1+1"))
    assert told(place) == [("'=1+1", "mark.not-observed")]


def test_a_register_of_many_cases(place: Region) -> None:
    enps = [place.person(f"Л{n}") for n in range(30)]
    bills = [
        Bill(Who(enp), mark=2, day=date(2026, 10, 1 + n % 28), id=f"{n}-{copy}")
        for n, enp in enumerate(enps)
        for copy in range(3)
    ]
    staging.PORTION, portion = 7, staging.PORTION
    taking.PORTION, people = 4, taking.PORTION
    try:
        steps = take(place, *bills)
    finally:
        staging.PORTION, taking.PORTION = portion, people
    assert sorted(steps) == sorted([("ADD", "ok")] * 30 + [("CONFIRM", "ok.confirmed")] * 60)
    assert len(entries(place)) == 30
    (ledger,) = rows(place, "SELECT seq FROM list_ledger WHERE organisation = :clinic", clinic=CLINIC)
    assert ledger["seq"] == 30


def test_two_runs_at_once_take_a_packet_once(place: Region) -> None:
    register = Register([Bill(Who(place.person()), mark=2, id=str(n)) for n in range(20)])
    with place.store.begin() as connection:
        operations = [
            marks.start(connection, PERIOD, [one], login="оператор", trace=uuid4().hex)
            for one in (put(place, register), put(place, register))
        ]
    threads = [threading.Thread(target=works.run, args=(work_of(place), str(one))) for one in operations]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert {state(place, one).state for one in operations} == {"DONE"}
    assert sorted(row["state"] for row in rows(place, "SELECT state FROM mark_file")) == ["SAME", "TAKEN"]
    assert (len(entries(place)), len(kept(place))) == (20, 20)


def test_a_run_that_broke_off_goes_on_with_what_is_left(place: Region, monkeypatch: pytest.MonkeyPatch) -> None:
    """The packet that was cut off in the middle leaves nothing; the one before it is not taken again."""
    first = put(place, Register([Bill(Who(place.person()), mark=2)]))
    second = put(place, Register([Bill(Who(place.person()), mark=2)], number=2, account="2"))
    with place.store.begin() as connection:
        operation = marks.start(connection, PERIOD, [first, second], login="оператор", trace=uuid4().hex)
    whole = taking.Taking._note

    def broken(self: taking.Taking, packet: Packet, sha256: str, state: str) -> int:
        found = whole(self, packet, sha256, state)
        if packet.name.text.endswith("002"):
            raise RuntimeError("the process is gone")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(taking.Taking, "_note", broken)
        works.run(work_of(place), str(operation))
    assert state(place, operation).state == "QUEUED"
    assert (len(entries(place)), len(kept(place))) == (1, 1)
    works.run(work_of(place), str(operation))
    assert state(place, operation).state == "DONE"
    assert [row["state"] for row in rows(place, "SELECT state FROM mark_file ORDER BY id")] == ["TAKEN", "TAKEN"]
    assert (len(entries(place)), len(kept(place))) == (2, 2)
