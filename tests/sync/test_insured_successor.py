"""A number that the register has merged leads to the person that it goes on as: in calls, uploads, registers and figures."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from gateway.domain.periods import Month
from gateway.lists.indicators import Wish
from gateway.lists.model import NewEntry
from gateway.people import persons
from gateway.people.extract import COLUMNS
from gateway.people.load import load_insured
from gateway.people.persons import Criteria
from tests.lists.region import CLINIC, OTHER
from tests.lists.test_batches import line
from tests.lists.uploads import uploaded
from tests.sync.registers import Bill, Register, Who
from tests.sync.test_marks import kept, put, run
from tests.sync.upstream_region import SINCE, Hand, by_hand

NOVEMBER = Month(2026, 11)
BORN = date(1960, 5, 17)


@pytest.fixture
def place(store, owner) -> Iterator[Hand]:
    with by_hand(store, owner) as place:
        yield place


@pytest.fixture
def merged(place: Hand) -> tuple[Hand, str, str, str]:
    """The place, the old number, the successor and the entry that went over to it."""
    old, heir = place.region.person("Ежова"), place.region.person("Ежова")
    (entry,) = place.observe(old)
    place.begin()
    place.merge(old, heir)
    assert place.applied()["merge"] == 1
    assert place.entry(entry)["enp"] == heir
    return place, old, heir, entry


def successor(place: Hand, enp: str) -> str | None:
    found = place.value(
        "SELECT h.enp FROM person p LEFT JOIN person h ON h.id = p.successor_id WHERE p.enp = :enp", enp=enp
    )
    return None if found is None else str(found)


def add(place: Hand, *items: NewEntry, organisation: str = CLINIC) -> list[str]:
    return [one.code for one in place.region.do(place.region.lists.add, list(items), organisation=organisation)]


def new(enp: str, diagnosis: str = "I10", **values: Any) -> NewEntry:
    return NewEntry(enp, diagnosis, planned_months=("2026-12",), **values)


def test_the_old_number_is_not_put_under_observation_again(merged: tuple[Hand, str, str, str]) -> None:
    place, old, heir, entry = merged
    assert add(place, new(old)) == ["observation.exists"]
    assert add(place, new(old), organisation=OTHER) == ["observation.elsewhere"]
    assert add(place, new(old, "E11.9"), new(heir, "E11.9")) == ["ok", "observation.exists"]
    assert add(place, new(heir, "J45.0"), new(old, "J45.0")) == ["ok", "observation.exists"]
    assert {row["enp"] for row in place.all("SELECT enp FROM entry")} == {heir}
    assert place.entry(entry)["version"] == 2
    assert place.applied() == {}


def test_entries_are_found_under_both_numbers(merged: tuple[Hand, str, str, str]) -> None:
    place, old, heir, entry = merged
    for enp in (old, heir):
        with place.store.begin() as connection:
            views = place.region.lists.person_entries(connection, place.region.call(), enp)
        assert [view.line[0] for view in views] == [entry]
        assert place.region.ids(enp=enp) == place.region.ids(enp=enp, month=10) == [entry]


def test_an_entry_that_ended_in_another_one_is_the_successors_too(place: Hand) -> None:
    old, heir = place.region.person(), place.region.person()
    ended, own = place.observe(old, heir)
    place.begin()
    place.merge(old, heir)
    assert place.applied()["join"] == 1
    for enp in (old, heir):
        with place.store.begin() as connection:
            views = place.region.lists.person_entries(connection, place.region.call(), enp)
        assert sorted(view.line[0] for view in views) == sorted([ended, own])
    assert add(place, new(old)) == ["observation.exists"]


def test_a_person_is_found_once(merged: tuple[Hand, str, str, str]) -> None:
    place, old, heir, entry = merged
    place.do("UPDATE person SET last_name = 'Ёжикова', name_key = 'ЕЖИКОВА ПЕТР ИЛЬИЧ' WHERE enp = :enp", enp=heir)
    place.do("UPDATE person SET snils = '11223344595' WHERE enp = :enp", enp=old)
    named = {"first_name": "Пётр", "birth_date": BORN}
    for criteria in (
        {"enp": old}, {"enp": heir}, {"last_name": "Ежова", **named}, {"last_name": "Ежикова", **named},
        {"snils": "11223344595", "birth_date": BORN}, {"enp": old, "last_name": "Ежикова", **named},
        {"enp": old, "last_name": "Ежова", **named},
    ):  # fmt: skip
        (found,) = persons.find(place.store, place.region.call(), Criteria(**criteria))
        assert (found.enp, found.last_name, [one.entry_id for one in found.observed]) == (heir, "Ёжикова", [entry])
    place.do("UPDATE person SET last_name = 'Ежова', name_key = 'ЕЖОВА ПЕТР ИЛЬИЧ' WHERE enp = :enp", enp=heir)
    (found,) = persons.find(place.store, place.region.call(), Criteria(last_name="Ежова", **named))
    assert found.enp == heir
    assert persons.find(place.store, place.region.call(), Criteria(enp=old, last_name="Чужая", **named)) == []


def test_a_line_of_the_old_number_is_about_the_successors_entry(merged: tuple[Hand, str, str, str]) -> None:
    place, old, heir, entry = merged
    said = {"diagnosis": "I10", "planned_months": "2026-12"}
    assert uploaded(place.region, {"enp": old, "external_id": "А1", **said}) == ["ok"]
    assert (line(place.region, entry)["external_id"], line(place.region, entry)["enp"]) == ("А1", heir)
    assert uploaded(place.region, {"enp": old, **said}) == ["ok.same"]
    assert uploaded(place.region, {"enp": heir, **said}) == ["ok.same"]
    assert uploaded(place.region, {"enp": old, **said}, {"enp": heir, **said}) == ["ok.same", "upload.repeated"]
    assert uploaded(place.region, {"enp": old, "diagnosis": "E11.9", "planned_months": "2026-12"}) == ["ok"]
    assert [row["enp"] for row in place.all("SELECT enp FROM entry")] == [heir, heir]


def test_a_line_that_names_an_entry_ended_in_another_one(place: Hand) -> None:
    """Both numbers stood in the clinic's system under names of their own."""
    old, heir = place.region.person(), place.region.person()
    place.region.add(old, external_id="А1", observed_since=SINCE)
    place.region.add(heir, external_id="Б1", observed_since=SINCE)
    place.begin()
    place.merge(old, heir)
    assert place.applied()["join"] == 1
    said = {"diagnosis": "I10", "planned_months": "2026-11"}
    assert uploaded(place.region, {"enp": old, "external_id": "А1", **said}) == ["observation.not-open"]
    assert uploaded(place.region, {"enp": old, "external_id": "Б1", **said}) == ["ok.same"]
    assert uploaded(place.region, {"enp": old, **said}) == ["ok.same"]
    assert place.value("SELECT count(*) FROM entry") == 2


@pytest.mark.parametrize("named", [True, False])
def test_a_mark_of_the_old_number_is_about_the_successors_entry(
    merged: tuple[Hand, str, str, str], named: bool
) -> None:
    """By the number, or by the name and birthday that both records have."""
    place, old, heir, entry = merged
    who = Who(old, "Ежова") if named else Who("", "Ежова", policy=1)
    run(place.region, put(place.region, Register([Bill(who)])))
    (mark,) = kept(place.region)
    assert (mark["step"], str(mark["entry_id"])) == ("CONFIRM", entry)
    assert mark["person_id"] == place.value("SELECT id FROM person WHERE enp = :enp", enp=heir)
    run(place.region, put(place.region, Register([Bill(who, "I20.8")], number=2, account="2")))
    assert [row["enp"] for row in place.all("SELECT enp FROM entry")] == [heir, heir]


def test_a_mark_with_the_successors_name_under_the_old_number(merged: tuple[Hand, str, str, str]) -> None:
    place, old, heir, entry = merged
    place.do(
        "UPDATE person SET last_name = 'Чижова', name_key = 'ЧИЖОВА ПЕТР ИЛЬИЧ', birth_date = '1960-05-18' WHERE enp = :enp",
        enp=heir,
    )
    run(place.region, put(place.region, Register([Bill(Who(old, "Чижова", birth=date(1960, 5, 18)))])))
    assert [(one["step"], str(one["entry_id"])) for one in kept(place.region)] == [("CONFIRM", entry)]
    run(
        place.region,
        put(place.region, Register([Bill(Who(old, "Иной", birth=date(1970, 1, 1)))], number=2, account="2")),
    )
    assert len(kept(place.region)) == 1


def test_who_merges_again_takes_the_former_numbers_along(place: Hand) -> None:
    one, two, three = (place.region.person() for _ in range(3))
    (entry,) = place.observe(one)
    place.begin()
    place.merge(one, two)
    assert place.applied()["merge"] == 1
    assert [successor(place, enp) for enp in (one, two, three)] == [two, None, None]
    place.at(date(2026, 12, 10))
    place.merge(two, three, date(2026, 11, 5))
    assert place.applied(NOVEMBER)["merge"] == 1
    assert [successor(place, enp) for enp in (one, two, three)] == [three, three, None]
    assert place.entry(entry)["enp"] == three
    assert add(place, new(one)) == ["observation.exists"]
    assert place.value("SELECT count(*) FROM person p JOIN person h ON h.id = p.successor_id AND h.successor_id IS NOT NULL") == 0  # fmt: skip


def test_a_chain_of_one_month_ends_with_the_last_number(place: Hand) -> None:
    one, two, three = (place.region.person() for _ in range(3))
    place.observe(one)
    place.observe(two, diagnosis="E11.9")
    place.begin()
    place.merge(one, two)
    place.merge(two, three)
    assert place.applied()["merge"] == 2
    assert [successor(place, enp) for enp in (one, two, three)] == [three, three, None]


def test_a_number_that_lives_again_has_no_successor(merged: tuple[Hand, str, str, str]) -> None:
    place, old, heir, entry = merged
    place.at(date(2026, 12, 10))
    place.person(old, merged_into=None, merged_at=None)
    place.note(old, date(2026, 11, 3))
    assert successor(place, old) == heir
    place.applied(NOVEMBER)
    assert successor(place, old) is None
    assert place.entry(entry)["enp"] == heir
    assert add(place, new(old)) == ["ok"]


def test_a_merge_that_is_turned_round(merged: tuple[Hand, str, str, str]) -> None:
    place, old, heir, entry = merged
    place.at(date(2026, 12, 10))
    place.person(old, merged_into=None, merged_at=None)
    place.merge(heir, old, date(2026, 11, 3))
    assert place.applied(NOVEMBER)["merge"] == 1
    assert (successor(place, old), successor(place, heir)) == (None, old)
    assert place.entry(entry)["enp"] == old


def test_a_load_of_the_old_number_changes_nothing_of_that(merged: tuple[Hand, str, str, str], tmp_path: Path) -> None:
    place, old, heir, entry = merged
    values = {
        "enp": old, "last_name": "Ежова", "first_name": "Пётр", "middle_name": "Иванович", "birth_date": "1960-05-17",
        "sex": "1", "policy_kind": "3", "insurer": "40001", "insured_in_region": "1", "attached_organisation": OTHER,
    }  # fmt: skip
    path = tmp_path / "insured.csv"
    text = ";".join(COLUMNS) + "\n" + ";".join(values.get(name, "") for name in COLUMNS) + "\n"
    path.write_text(text, encoding="utf-8")
    report = load_insured(
        place.store, path, after_merge=lambda connection, _: place.region.lists.renew_persons(connection)
    )
    assert (report.counts.changed, report.counts.refused) == (1, 0)
    assert successor(place, old) == heir
    assert (place.entry(entry)["enp"], place.entry(entry)["version"]) == (heir, 2)
    assert add(place, new(old)) == ["observation.exists"]


def test_joined_people_count_once_in_the_denominator(place: Hand) -> None:
    """Each was observed and had no visit; one entry ended in the other's, and its stretch stays with the old number."""

    def figures(**scope: str) -> tuple[int, int, int]:
        with place.store.begin() as connection:
            found = place.region.lists.figures(connection, Wish("BSK", 2026, 10, **scope))
        return found.numerator, found.denominator, found.month_end

    old, heir, other = (place.region.person() for _ in range(3))
    place.observe(old, heir, other)
    place.begin()
    assert figures() == figures(organisation=CLINIC) == (0, 3, 3)
    place.merge(old, heir)
    assert place.applied()["join"] == 1
    assert figures() == figures(organisation=CLINIC) == (0, 2, 2)


@pytest.mark.parametrize("joined", [False, True])
def test_the_notice_names_the_old_number(place: Hand, joined: bool) -> None:
    old, heir, dead = (place.region.person() for _ in range(3))
    entry, _ = place.observe(old, dead)
    if joined:
        place.observe(heir)
    place.begin()
    place.merge(old, heir)
    place.die(dead, date(2026, 10, 7))
    place.note(dead, date(2026, 10, 7))
    (content,) = [
        content for name, content in place.files(place.compare()["id"]).items() if name.endswith(f"-{CLINIC}.csv")
    ]
    lines = {row["Код"]: row for row in csv.DictReader(io.StringIO(content), delimiter=";")}
    merge = lines["MERGE"]
    assert (merge["Запись"], merge["ЕНП"], merge["Прежний ЕНП"]) == (f'="{entry}"', f'="{heir}"', f'="{old}"')
    assert (lines["DEATH"]["ЕНП"], lines["DEATH"]["Прежний ЕНП"]) == (f'="{dead}"', "")
