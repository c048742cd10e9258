"""Indicators: both shares on ten people written out by hand, moves, closed months, the people behind, targets."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from gateway.access.model import ClientKind
from gateway.domain.indicators import VISIT, Attribution, Match, Rules, Span, codes_of
from gateway.domain.periods import Month
from gateway.errors import GatewayError
from gateway.lists import indicator_targets, queries
from gateway.lists.indicators import Figures, IndicatorPerson, PeoplePage, Wish
from gateway.lists.model import Conduct, Exclusion
from gateway.nsi.dictionaries import load
from gateway.store.engine import Store
from tests.lists.region import CLINIC, DOCTOR, OTHER, Plain, Region, region

DAY = date(2026, 11, 18)
OCTOBER, NOVEMBER = (2026, 10), (2026, 11)
TYPES = {CLINIC: "1", OTHER: "3"}


def visited(place: Region, entry: str, day: date, *, came: bool = True, organisation: str = CLINIC) -> str:
    """A conducted visit, or an attempt; returns its id."""
    at, result = ("1", "1") if came else ("9", "8")
    item = Conduct(entry, day, at, result, DOCTOR, TYPES[organisation])
    (made,) = place.do(place.lists.conduct, [item], organisation=organisation)
    assert made.id, made
    return str(made.id)


def excluded(place: Region, entry: str, day: date, organisation: str = CLINIC) -> None:
    (made,) = place.do(place.lists.exclude, [Exclusion(entry, day, "6")], organisation=organisation)
    assert made.code.startswith("ok"), made


def cared(
    place: Region,
    enp: str,
    kind: str,
    diagnosis: str,
    day: date,
    *,
    back: bool = False,
    organisation: str = CLINIC,
    recorded: datetime | None = None,
    taken_back: datetime | None = None,
) -> None:
    """What a register told of."""
    with place.store.begin() as connection:
        file = connection.execute(
            text(
                "INSERT INTO mark_file (name, kind, sha256, state, operation_id) VALUES ('H.zip', 'H', :sha, 'TAKEN', :id)"
                " RETURNING id"
            ),
            {"sha": uuid4().hex, "id": uuid4()},
        ).scalar_one()
        connection.execute(
            text(
                "INSERT INTO care_event (file_id, case_id, episode, kind, organisation, enp, person_id, diagnosis,"
                " cared_on, recorded_at, taken_back_at) SELECT :file, '1', '1', :kind, :organisation, :enp, p.id,"
                " :diagnosis, :day, coalesce(CAST(:recorded AS timestamptz), now()),"
                " CASE WHEN :back THEN now() ELSE CAST(:taken_back AS timestamptz) END FROM person p WHERE p.enp = :enp"
            ),
            {
                "file": file, "kind": kind, "organisation": organisation, "enp": enp, "diagnosis": diagnosis,
                "day": day, "back": back, "recorded": recorded, "taken_back": taken_back,
            },
        )  # fmt: skip


def moved(place: Region, entry: str, day: date, organisation: str) -> None:
    """The entry goes over to another organisation."""
    with place.store.begin() as connection:
        values = {"id": int(entry), "day": day, "organisation": organisation}
        for statement in (
            "INSERT INTO list_ledger (organisation) VALUES (:organisation) ON CONFLICT DO NOTHING",
            "UPDATE observation_segment SET until = :day, true_to = :day, cause_out = 'MOVE' WHERE entry_id = :id"
            " AND until IS NULL",
            "INSERT INTO observation_segment (entry_id, person_id, diagnosis_key, diagnosis, organisation, since,"
            " true_from, cause_in) SELECT id, person_id, diagnosis_key, diagnosis, :organisation, :day, :day, 'MOVE'"
            " FROM entry WHERE id = :id",
            "UPDATE entry SET organisation = :organisation WHERE id = :id",
        ):
            named = {name: value for name, value in values.items() if f":{name}" in statement}
            connection.execute(text(statement), named)


def settings(place: Region, tmp_path: Path, code: str = "BSK", since: date | None = None, **values: str) -> Region:
    """An edition of INDICATORS with one line."""
    line = {
        "code": code, "name": "Доля", "group": "БСК", "ranges": "", "care": "VISIT DN_SERVICE", "match": "GROUP",
        "attribution": "PERIOD_END",
    } | values  # fmt: skip
    path = tmp_path / "INDICATORS.csv"
    path.write_text(";".join(line) + "\n" + ";".join(line.values()) + "\n", encoding="utf-8")
    with place.store.begin() as connection:
        load(connection, path, valid_from=since or date(2000, 1, 1))
    return place.at(place.today)


def figures(place: Region, code: str = "BSK", period: tuple[int, int] = OCTOBER, **scope: Any) -> Figures:
    with place.store.begin() as connection:
        return place.lists.figures(connection, Wish(code, *period, scope.get("organisation")), scope.get("insurer"))


def numbers(found: Figures) -> tuple[int, int, int]:
    return found.numerator, found.denominator, found.month_end


def people(place: Region, part: str, code: str = "BSK", period: tuple[int, int] = OCTOBER, **more: Any) -> list[str]:
    """Last names in the order of the page."""
    return [one.last_name for one in page(place, part, code, period, **more)]


def page(
    place: Region,
    part: str,
    code: str = "BSK",
    period: tuple[int, int] = OCTOBER,
    *,
    organisation: str | None = CLINIC,
    start: int = 1,
    count: int = 1000,
    snapshot: UUID | None = None,
) -> list[IndicatorPerson]:
    with place.store.begin() as connection:
        wish = Wish(code, *period, organisation)
        return list(place.lists.indicator_persons(connection, place.call(), wish, part, start, count, snapshot).persons)


@pytest.fixture
def heart(place: Region) -> Region:
    """Ten people of the first indicator."""
    # 1 visited in the year: counts everywhere
    one = place.add(place.person("Арбузов"), "I10", observed_since=date(2025, 3, 1))
    visited(place, one, date(2026, 2, 10))
    # 2 under observation, no visit
    place.add(place.person("Белов"), "I20.8", observed_since=date(2026, 1, 15))
    # 3 visited, then excluded in May: not in the list at the month's end
    three = place.add(place.person("Вилкин"), "I10", observed_since=date(2025, 6, 1))
    visited(place, three, date(2026, 3, 1))
    excluded(place, three, date(2026, 5, 1))
    # 4 excluded from 1 January: not one day of the year
    four = place.add(place.person("Грач"), "I10", observed_since=date(2025, 2, 1))
    visited(place, four, date(2025, 6, 1))
    excluded(place, four, date(2026, 1, 1))
    # 5 under observation since November only
    five = place.add(place.person("Дроздов"), "I10", observed_since=date(2026, 11, 5))
    visited(place, five, date(2026, 11, 6))
    # 6 two diseases, one visit: one person
    enp = place.person("Ежов")
    place.add(enp, "I10", observed_since=date(2026, 2, 1))
    visited(place, place.add(enp, "I25.1", observed_since=date(2026, 2, 1)), date(2026, 10, 31))
    # 7 did not come, and a visit entered by mistake
    seven = place.add(place.person("Жуков"), "I10", observed_since=date(2026, 2, 1))
    visited(place, seven, date(2026, 3, 3), came=False)
    place.do(place.lists.annul_visit, visited(place, seven, date(2026, 4, 4)), "ошибка", organisation=None)
    # 8 another disease
    visited(place, place.add(place.person("Зимин"), "E11.9", observed_since=date(2026, 2, 1)), date(2026, 5, 5))
    # 9 visited after the period; a service on its last day, for another disease of the circulation
    enp = place.person("Ильин")
    visited(place, place.add(enp, "I10", observed_since=date(2026, 2, 1)), date(2026, 11, 10))
    cared(place, enp, "DN_SERVICE", "I11.9", date(2026, 10, 31))
    # 10 a service for asthma
    enp = place.person("Кротов")
    place.add(enp, "I10", observed_since=date(2026, 2, 1))
    cared(place, enp, "DN_SERVICE", "J45.0", date(2026, 9, 1))
    return place


@pytest.fixture
def tumours(place: Region) -> Region:
    """Ten people of the second indicator."""
    long_ago = date(2025, 2, 1)

    def observed(name: str, diagnosis: str) -> tuple[str, str]:
        enp = place.person(name)
        return enp, place.add(enp, diagnosis, observed_since=long_ago)

    # 1 treated in the year
    cared(place, observed("Арбузов", "C50.9")[0], "TREATMENT", "C50.9", date(2026, 4, 1))
    # 2 examined in the year before
    cared(place, observed("Белов", "C61")[0], "EXAMINATION", "C61", date(2025, 12, 31))
    # 3 treated in January, excluded in February
    enp, entry = observed("Вилкин", "C34.1")
    cared(place, enp, "TREATMENT", "C34.1", date(2026, 1, 1))
    excluded(place, entry, date(2026, 2, 15))
    # 4 in situ, examined on the last day
    cared(place, observed("Грач", "D05.1")[0], "EXAMINATION", "D05.1", date(2026, 10, 31), organisation=OTHER)
    # 5 the case was refused and taken back
    cared(place, observed("Дроздов", "C18.0")[0], "EXAMINATION", "C18.0", date(2026, 5, 1), back=True)
    # 6 two tumours, one of them treated, twice
    enp, _ = observed("Ежов", "C50.9")
    place.add(enp, "C44.1", observed_since=long_ago)
    for day in (date(2026, 5, 1), date(2026, 6, 1)):
        cared(place, enp, "TREATMENT", "C44.1", day)
    # 7 a service of dispensary observation is an examination
    cared(place, observed("Жуков", "C73")[0], "DN_SERVICE", "C73", date(2026, 7, 1))
    # 8 a visit that no register tells of
    visited(place, observed("Зимин", "C20")[1], date(2026, 7, 1))
    # 9 treated, but under observation for hypertension only
    cared(place, observed("Ильин", "I10")[0], "TREATMENT", "C50.9", date(2026, 7, 1))
    # 10 treated after the period
    cared(place, observed("Кротов", "C16.9")[0], "TREATMENT", "C16.9", date(2026, 11, 3))
    return place


def test_ten_people_of_the_first_indicator(heart: Region) -> None:
    found = figures(heart)
    assert numbers(found) == (4, 7, 6)
    assert found.share == Decimal("57.14")
    assert (found.period_start, found.period_end) == (date(2026, 1, 1), date(2026, 10, 31))
    assert people(heart, "NUMERATOR") == ["Арбузов", "Вилкин", "Ежов", "Ильин"]
    assert people(heart, "GAP") == ["Белов", "Жуков", "Кротов"]
    assert people(heart, "DENOMINATOR") == sorted(people(heart, "NUMERATOR") + people(heart, "GAP"))
    assert numbers(figures(heart, organisation=CLINIC)) == numbers(found)
    assert numbers(figures(heart, organisation=OTHER)) == (0, 0, 0)
    assert figures(heart, organisation=OTHER).share is None
    assert numbers(figures(heart, period=NOVEMBER)) == (5, 8, 7)
    assert numbers(figures(heart, period=(2026, 1))) == (0, 3, 3)


def test_ten_people_of_the_second_indicator(tumours: Region) -> None:
    found = figures(tumours, "ONCO")
    assert numbers(found) == (5, 9, 8)
    assert found.share == Decimal("55.56")
    assert people(tumours, "NUMERATOR", "ONCO") == ["Арбузов", "Вилкин", "Грач", "Ежов", "Жуков"]
    assert people(tumours, "GAP", "ONCO") == ["Белов", "Дроздов", "Зимин", "Кротов"]
    assert numbers(figures(tumours, "ONCO", NOVEMBER)) == (6, 9, 8)
    assert numbers(figures(tumours, "ONCO", organisation=CLINIC)) == (5, 9, 8)


def test_the_month_end_is_the_list_of_the_month(heart: Region) -> None:
    """Question 5: the list holds those under observation at the month's end, each by name once."""
    listed = heart.list(month=10, diagnosis_group="БСК").body.decode().split("\n")
    assert len({line.split("|")[3] for line in listed}) == figures(heart).month_end < figures(heart).denominator


@pytest.mark.parametrize(("match", "numerator"), [("KEY", 3), ("GROUP", 4), ("ANY", 5)])
def test_what_the_care_must_be_for(heart: Region, tmp_path: Path, match: str, numerator: int) -> None:
    other = settings(heart, tmp_path, match=match)
    for scope in ({}, {"organisation": CLINIC}):
        assert numbers(figures(other, **scope)) == (numerator, 7, 6)
    assert dict(figures(other).settings)["match"] == match


def test_settings_are_those_of_the_periods_end(heart: Region, tmp_path: Path) -> None:
    other = settings(heart, tmp_path, since=date(2026, 11, 1), ranges="I20-I25", group="", care="VISIT")
    assert numbers(figures(other)) == (4, 7, 6)
    assert numbers(figures(other, period=NOVEMBER)) == (1, 2, 2)
    assert "I20-I25" in figures(other, period=NOVEMBER).denominator_rule


def test_people_who_moved(place: Region, tmp_path: Path) -> None:
    """Observed and visited here, moved to the other clinic in May."""
    entry = place.add(place.person("Арбузов"), "I10", observed_since=date(2025, 3, 1))
    visited(place, entry, date(2026, 2, 10))
    moved(place, entry, date(2026, 5, 1), OTHER)
    assert numbers(figures(place)) == (1, 1, 1)
    assert numbers(figures(place, organisation=CLINIC)) == (0, 0, 0)
    assert numbers(figures(place, organisation=OTHER)) == (1, 1, 1)
    assert numbers(figures(place, organisation=CLINIC, period=(2026, 4))) == (1, 1, 1)
    assert numbers(figures(place, organisation=OTHER, period=(2026, 4))) == (0, 0, 0)
    (one,) = page(place, "NUMERATOR", organisation=OTHER)
    assert (one.organisation, one.observed_since, one.last_care_on) == (OTHER, date(2026, 5, 1), date(2026, 2, 10))
    each = settings(place, tmp_path, attribution="YEAR")
    assert numbers(figures(each, organisation=CLINIC)) == (1, 1, 0)
    assert numbers(figures(each, organisation=OTHER)) == (1, 1, 1)


def test_a_visit_counts_for_the_disease_of_its_day(place: Region, tmp_path: Path) -> None:
    """The visit was for diabetes; the diagnosis was changed later."""
    entry = place.add(place.person(), "E11.9", observed_since=date(2026, 2, 1))
    visited(place, entry, date(2026, 3, 1))
    place.do(place.lists.change_diagnosis, entry, "I10", date(2026, 6, 1), "уточнение", organisation=None)
    assert numbers(figures(place)) == numbers(figures(place, organisation=CLINIC)) == (0, 1, 1)
    assert numbers(figures(settings(place, tmp_path, match="ANY"))) == (1, 1, 1)


def test_a_closed_month_does_not_change(heart: Region) -> None:
    """Visits, exclusions, annulments, entries and cases that come late count from the first open day."""
    cared(heart, page(heart, "GAP")[0].enp, "DN_SERVICE", "I20.8", date(2026, 10, 2))
    before = [figures(heart, period=OCTOBER, **scope) for scope in ({}, {"organisation": CLINIC})]
    names = people(heart, "NUMERATOR")
    with heart.store.begin() as connection:
        heart.lists.close(connection, CLINIC, Month(*OCTOBER), "test", Plain())
    running = figures(heart, period=NOVEMBER)
    first, *_, last = page(heart, "GAP")
    visited(heart, first.entry_id, date(2026, 10, 5))
    cared(heart, last.enp, "DN_SERVICE", "I10", date(2026, 10, 6))
    one = page(heart, "NUMERATOR")[0]
    excluded(heart, one.entry_id, date(2026, 9, 1))
    place_visit = _visit_of(heart, page(heart, "NUMERATOR")[-2].entry_id)
    heart.do(heart.lists.annul_visit, place_visit, "ошибка", organisation=None)
    heart.do(heart.lists.annul_entry, page(heart, "NUMERATOR")[-1].entry_id, "ошибка", organisation=None)
    with heart.store.begin() as connection:
        connection.execute(text("UPDATE care_event SET taken_back_at = now() WHERE diagnosis = 'I20.8'"))
    late = heart.add(heart.person("Поздний"), "I10", observed_since=date(2026, 9, 9))
    visited(heart, late, date(2026, 10, 10))
    after = [figures(heart, period=OCTOBER, **scope) for scope in ({}, {"organisation": CLINIC})]
    assert [numbers(one) for one in after] == [numbers(one) for one in before]
    assert people(heart, "NUMERATOR") == names
    assert numbers(figures(heart, period=NOVEMBER)) != numbers(running)


def _visit_of(place: Region, entry: str) -> str:
    with place.store.begin() as connection:
        found = connection.execute(text("SELECT id FROM visit WHERE entry_id = :id"), {"id": int(entry)}).scalar_one()
        return str(found)


def merged(place: Region, enp: str, heir: str) -> None:
    """What the comparison notes of a merged number, whose entries stay as they are."""
    with place.store.begin() as connection:
        connection.execute(
            text(
                "UPDATE person SET successor_id = (SELECT id FROM person WHERE enp = :heir), successor_at = now()"
                " WHERE enp = :enp"
            ),
            {"enp": enp, "heir": heir},
        )


@pytest.mark.parametrize("match", ["GROUP", "KEY", "ANY"])
def test_a_merged_number_counts_once(place: Region, tmp_path: Path, match: str) -> None:
    """Ежова is observed for one disease under her old number and for another under the new one, which alone had care;
    Жуков was observed under the old number until May, and visited then; Белов is nobody else."""
    old, new, past, now, other = (place.person(name) for name in ("Ежова", "Ежова", "Жуков", "Жуков", "Белов"))
    for enp in (new, now, other):
        place.add(enp, "I10", observed_since=date(2026, 2, 1))
    place.add(old, "I25.1", observed_since=date(2026, 2, 1), organisation=OTHER)
    ended = place.add(past, "I10", observed_since=date(2026, 2, 1))
    visited(place, ended, date(2026, 3, 1))
    excluded(place, ended, date(2026, 5, 1))
    cared(place, new, "DN_SERVICE", "I10", date(2026, 4, 1))
    place = settings(place, tmp_path, match=match)
    assert numbers(figures(place)) == (2, 5, 4)
    assert numbers(figures(place, organisation=CLINIC)) == (2, 4, 3)
    assert numbers(figures(place, organisation=OTHER)) == (0, 1, 1)
    merged(place, old, new)
    merged(place, past, now)
    assert numbers(figures(place)) == (2, 3, 3)
    assert numbers(figures(place, organisation=CLINIC)) == (2, 3, 3)
    assert numbers(figures(place, organisation=OTHER)) == (0 if match == "KEY" else 1, 1, 1)
    for organisation in (None, CLINIC):
        assert people(place, "DENOMINATOR", organisation=organisation) == ["Белов", "Ежова", "Жуков"]
        assert people(place, "GAP", organisation=organisation) == ["Белов"]
    shown = page(place, "NUMERATOR", organisation=None)
    assert [(one.enp, one.last_care_on) for one in shown] == [(new, date(2026, 4, 1)), (now, date(2026, 3, 1))]
    (elsewhere,) = page(place, "DENOMINATOR", organisation=OTHER)
    assert (elsewhere.enp, elsewhere.diagnosis, elsewhere.organisation) == (new, "I25.1", OTHER)


def test_a_merged_number_is_its_successors_insured(place: Region) -> None:
    old, new = place.person("Ежова", insurer="40002"), place.person("Ежова")
    for enp in (old, new):
        place.add(enp, "I10", observed_since=date(2026, 2, 1))
    assert [numbers(figures(place, insurer=one)) for one in ("40001", "40002")] == [(0, 1, 1), (0, 1, 1)]
    merged(place, old, new)
    assert [numbers(figures(place, insurer=one)) for one in ("40001", "40002")] == [(0, 1, 1), (0, 0, 0)]


def test_a_merge_known_after_the_close_does_not_change_the_month(place: Region) -> None:
    old, new = place.person("Ежова"), place.person("Ежова")
    visited(place, place.add(old, "I10", observed_since=date(2026, 2, 1)), date(2026, 3, 1))
    place.add(new, "I25.1", observed_since=date(2026, 2, 1))
    with place.store.begin() as connection:
        place.lists.close(connection, CLINIC, Month(*OCTOBER), "test", Plain())
    before = [numbers(figures(place, **scope)) for scope in ({}, {"organisation": CLINIC})]
    assert before == [(1, 2, 2), (1, 2, 2)]
    merged(place, old, new)
    assert [numbers(figures(place, **scope)) for scope in ({}, {"organisation": CLINIC})] == before
    assert [one.enp for one in page(place, "GAP")] == [new]
    for scope in ({}, {"organisation": CLINIC}):
        assert numbers(figures(place, period=NOVEMBER, **scope)) == (1, 1, 1)


def test_it_is_said_whether_the_month_is_closed(place: Region) -> None:
    place.add(place.person(), "I10", observed_since=date(2026, 2, 1))
    moved(place, place.add(place.person("Белов"), "I10", observed_since=date(2026, 2, 1)), date(2026, 3, 1), OTHER)
    assert figures(place).month_end_rule.endswith("месяц не закрыт, числа ещё могут измениться")
    with place.store.begin() as connection:
        place.lists.close(connection, CLINIC, Month(*OCTOBER), "test", Plain())
    assert "месяц закрыт у 1 организаций из 2" in figures(place).month_end_rule
    assert figures(place, organisation=CLINIC).month_end_rule.endswith("месяц закрыт, числа окончательны")
    assert "не закрыт" in figures(place, organisation=OTHER).month_end_rule
    with place.store.begin() as connection:
        place.lists.reopen_month(connection, CLINIC, Month(*OCTOBER), "test", "ошибка")
    assert "не закрыт" in figures(place, organisation=CLINIC).month_end_rule


def test_an_insurer_has_its_insured(place: Region) -> None:
    place.add(place.person("Арбузов"), "I10", observed_since=date(2026, 2, 1))
    place.add(place.person("Белов", insurer="40002"), "I10", observed_since=date(2026, 2, 1))
    assert numbers(figures(place, insurer="40001")) == (0, 1, 1)
    assert numbers(figures(place)) == (0, 2, 2)
    call = place.call(kind=ClientKind.INSURER, insurer="40002", organisations=())
    with place.store.begin() as connection:
        found = place.lists.indicator_persons(connection, call, Wish("BSK", *OCTOBER), "GAP", 1, 10)
        assert place.lists.indicator(connection, call, Wish("BSK", *OCTOBER)).denominator == 1
    assert [one.last_name for one in found.persons] == ["Белов"]


def test_pages_of_people_and_what_the_audit_says(heart: Region) -> None:
    names = people(heart, "DENOMINATOR")
    assert [people(heart, "DENOMINATOR", start=start, count=3) for start in (1, 4, 7, 8)] == [
        names[:3], names[3:6], names[6:], [],
    ]  # fmt: skip
    call = heart.call("GetIndicatorPersons")
    with heart.store.begin() as connection:
        found = heart.lists.indicator_persons(connection, call, Wish("BSK", *OCTOBER, CLINIC), "GAP", 2, 1)
        ids = connection.execute(
            text("SELECT id FROM person WHERE enp = :enp"), {"enp": found.persons[0].enp}
        ).scalars()
        assert call.persons == list(ids)
    assert (found.total, call.first_record, call.organisation) == (3, 2, CLINIC)
    assert call.details == {"indicator": "BSK", "year": 2026, "month": 10, "part": "GAP"}
    (person,) = found.persons
    assert (person.last_name, person.diagnosis, person.organisation) == ("Жуков", "I10", CLINIC)
    assert (person.observed_since, person.last_care_on) == (date(2026, 2, 1), None)


def test_further_pages_are_of_the_people_of_the_first(heart: Region) -> None:
    """One more comes and one is annulled between two pages; two windows of one client keep their own people."""

    def window() -> PeoplePage:
        with heart.store.begin() as connection:
            return heart.lists.indicator_persons(connection, heart.call(), Wish("BSK", *OCTOBER), "DENOMINATOR", 1, 3)

    whole: dict[str, Any] = {"organisation": None}
    first = window()
    assert [one.last_name for one in first.persons] == ["Арбузов", "Белов", "Вилкин"]
    heart.add(heart.person("Абрамов"), "I10", observed_since=date(2026, 2, 1))
    second = window()
    assert [one.last_name for one in second.persons] == ["Абрамов", "Арбузов", "Белов"]
    assert people(heart, "DENOMINATOR", **whole, start=4, count=2, snapshot=first.snapshot_id) == ["Ежов", "Жуков"]
    assert people(heart, "DENOMINATOR", **whole, start=4, count=2, snapshot=second.snapshot_id) == ["Вилкин", "Ежов"]
    annulled = page(heart, "DENOMINATOR", start=7, count=1)[0]
    heart.do(heart.lists.annul_entry, annulled.entry_id, "ошибка", organisation=None)
    left = people(heart, "DENOMINATOR", **whole, start=4, count=2, snapshot=first.snapshot_id)
    assert left == [name for name in ("Ежов", "Жуков") if name != annulled.last_name]


@pytest.mark.parametrize(
    ("client", "part", "code"), [(1, "GAP", "list.choice-differs"), (8, "DENOMINATOR", "list.snapshot-expired")]
)
def test_a_page_names_its_own_snapshot(heart: Region, client: int, part: str, code: str) -> None:
    wish = Wish("BSK", *OCTOBER)
    with heart.store.begin() as connection:
        own = heart.call(client_id=1)
        made = heart.lists.indicator_persons(connection, own, wish, "DENOMINATOR", 1, 3).snapshot_id
        with pytest.raises(GatewayError) as refusal:
            heart.lists.indicator_persons(connection, heart.call(client_id=client), wish, part, 4, 3, made)
    assert refusal.value.code == code


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        (Wish("XXX", *OCTOBER), "indicator.unknown"),
        (Wish("BSK", 2026, 13), "indicator.period"),
        (Wish("BSK", 2026, 0), "indicator.period"),
        (Wish("BSK", 1999, 1), "indicator.period"),
        (Wish("BSK", 2026, 12), "indicator.period"),
        (Wish("BSK", *OCTOBER, "499999"), "object.not-found"),
    ],
)
def test_refusals(place: Region, wish: Wish, code: str) -> None:
    with place.store.begin() as connection, pytest.raises(GatewayError) as refusal:
        place.lists.figures(connection, wish)
    assert refusal.value.code == code
    with place.store.begin() as connection, pytest.raises(GatewayError) as refusal:
        place.lists.indicator_persons(connection, place.call(), Wish("BSK", *OCTOBER), "ALL", 1, 1)
    assert refusal.value.code == "indicator.part"


def test_a_group_without_ranges_is_refused(place: Region, tmp_path: Path) -> None:
    with pytest.raises(GatewayError) as refusal:
        figures(settings(place, tmp_path, group="ПРОЧИЕ"))
    assert refusal.value.code == "indicator.group"


@pytest.mark.parametrize(
    "wrong",
    [{"match": "SAME"}, {"care": "VISITS"}, {"attribution": ""}, {"ranges": "I10"}, {"group": ""}, {"ranges": "I1"}],
)
def test_wrong_settings_are_not_loaded(place: Region, tmp_path: Path, wrong: dict[str, str]) -> None:
    with pytest.raises(GatewayError) as refusal:
        settings(place, tmp_path, **wrong)
    assert refusal.value.code == "dictionary.file"


# targets --------------------------------------------------------------------------------------------------------------


def targets(place: Region, path: Path, *lines: str, header: str = "indicator;year;month;target;organisation") -> int:
    path.write_text("\n".join((header, *lines)) + "\n", encoding="utf-8")
    with place.store.begin() as connection:
        return indicator_targets.load(connection, path, place.lists.nsi)


def test_targets_of_months(place: Region, tmp_path: Path) -> None:
    path = tmp_path / "targets.csv"
    assert targets(place, path, "BSK;2026;10;64,2;", "BSK;2026;11;72.1;", f"BSK;2026;10;70;{CLINIC}") == 3
    assert figures(place).target == Decimal("64.20")
    assert figures(place, organisation=CLINIC).target == Decimal("70.00")
    assert figures(place, organisation=OTHER).target == Decimal("64.20")
    assert figures(place, organisation=CLINIC, period=NOVEMBER).target == Decimal("72.10")
    assert figures(place, "ONCO").target is None
    assert targets(place, path, "BSK;2026;10;65", header="indicator;year;month;target") == 1
    assert figures(place).target == Decimal("65.00")
    assert figures(place, organisation=CLINIC).target == Decimal("70.00")


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("СД;2026;10;5;", "строка 3: показателя"),
        ("BSK;2026;13;5;", "строка 3: год или месяц"),
        ("BSK;26;10;5;", "строка 3: год или месяц"),
        ("BSK;2026;10;100.01;", "строка 3: целевое"),
        ("BSK;2026;10;-1;", "строка 3: целевое"),
        ("BSK;2026;10;;", "строка 3: целевое"),
        ("BSK;2026;10;5;499999", "строка 3: организации"),
        ("BSK;2026;10;5", "строка 3: число столбцов"),
        ("BSK;2026;09;5;", "строка 3: повторяет строку 2"),
    ],
)
def test_a_wrong_line_refuses_the_file(place: Region, tmp_path: Path, line: str, what: str) -> None:
    with pytest.raises(GatewayError) as refusal:
        targets(place, tmp_path / "targets.csv", "BSK;2026;9;5;", line)
    assert refusal.value.code == "indicator.targets" and what in refusal.value.message
    assert figures(place, period=(2026, 9)).target is None


def test_wrong_headers_of_targets(place: Region, tmp_path: Path) -> None:
    for header in ("indicator;year;month", "indicator;year;month;target;region", "indicator;year;month;target;target"):
        with pytest.raises(GatewayError, match="indicator.targets"):
            targets(place, tmp_path / "targets.csv", "BSK;2026;9;5", header=header)
    with pytest.raises(GatewayError, match="indicator.targets"):
        targets(place, tmp_path / "targets.csv")


# against a model ------------------------------------------------------------------------------------------------------

DIAGNOSES = ("I10", "I11.9", "I20.8", "E11.9")
CODES = codes_of((("I05", "I28"),))
CAUSES = ("MOVE", "EXCLUDED", "DIAGNOSIS")
KINDS = ("DN_SERVICE", "DN_VISIT")
EARLY, CLOSED, BETWEEN, LATER, LATE = (datetime(2026, month, 1, tzinfo=UTC) for month in (6, 7, 8, 9, 10))
TIMES = (EARLY, BETWEEN, LATE)
"""Times of recording and of taking back, around the closes at CLOSED and LATER."""


def random_world(store: Store, random: Random, start: int) -> dict[str, Any]:
    """People whose chains, visits and cases are random, as rows; who of them were merged into whom, known since when."""
    first = date(2025, 10, 1)

    def day() -> date:
        return first + timedelta(random.randrange(420))

    world: dict[str, Any] = {"segment": [], "visit": [], "care": [], "merged": {}}
    with store.begin() as connection:
        run: Callable[..., Any] = lambda sql, **values: connection.execute(text(sql), values)  # noqa: E731
        for number in range(start, start + 30):
            run(
                "INSERT INTO person (id, enp, last_name, first_name, name_key, birth_date, sex, insured_in_region)"
                " VALUES (:id, :enp, 'А', 'Б', 'А Б', '1960-01-01', 1, true)", id=number, enp=str(number),
            )  # fmt: skip
            for n in range(random.randint(1, 3)):
                entry = number * 10 + n
                run(
                    "INSERT INTO entry (id, person_id, organisation, seq, enp, last_name, first_name, name_key, birth_date,"
                    " sex, diagnosis, diagnosis_key, diagnosis_group, by_attachment, observed_since, source, status)"
                    " VALUES (:id, :person, :organisation, 1, :enp, 'А', 'Б', 'А Б', '1960-01-01', 1, 'I10', 'I10', 'БСК',"
                    " true, '2025-01-01', 'MO', 'OBSERVED')",
                    id=entry, person=number, organisation=CLINIC, enp=str(number),
                )  # fmt: skip
                days = sorted({day() for _ in range(random.randint(1, 4))})
                diagnosis = DIAGNOSES[n % 4]
                for since, until in zip(days, [*days[1:], None], strict=True):
                    cause = random.choice(CAUSES) if until else None
                    ends = until if until or random.random() < 0.5 else None
                    row = (number, entry, random.choice((CLINIC, OTHER)), diagnosis, since, ends, cause)
                    world["segment"].append(row)
                    run(
                        "INSERT INTO observation_segment (person_id, entry_id, organisation, diagnosis, diagnosis_key, since,"
                        " until, true_from, cause_in, cause_out) VALUES (:p, :e, :o, :d, :key, :s, :u, :s, 'TAKEN', :c)",
                        p=row[0], e=row[1], o=row[2], d=row[3], key=row[3][:3], s=row[4], u=row[5], c=row[6],
                    )  # fmt: skip
                for _ in range(random.randint(0, 2)):
                    gone = random.choice(TIMES) if random.random() < 0.3 else None
                    visit = (entry, day(), random.random() < 0.2, random.choice(TIMES), gone)
                    world["visit"].append(visit)
                    run(
                        "INSERT INTO visit (entry_id, organisation, conducted_on, effective_on, place, result, attempt,"
                        " doctor_snils, doctor_type, recorded_at, annulled_at) VALUES (:e, :o, :d, :d, '1', '1', :a, '1',"
                        " '1', :at, :gone)", e=entry, o=CLINIC, d=visit[1], a=visit[2], at=visit[3], gone=visit[4],
                    )  # fmt: skip
            for _ in range(random.randint(0, 2)):
                back = random.choice(TIMES) if random.random() < 0.3 else None
                care = (number, random.choice(KINDS), random.choice(DIAGNOSES), day(), random.choice(TIMES), back)
                world["care"].append(care)
        for number in random.sample(range(start, start + 30), 9):
            heir = random.choice([one for one in range(start, start + 30) if one not in world["merged"]])
            if number != heir and number not in {one[0] for one in world["merged"].values()}:
                world["merged"][number] = (heir, random.choice(TIMES))
                run(
                    "UPDATE person SET successor_id = :heir, successor_at = :at WHERE id = :id",
                    heir=heir, at=world["merged"][number][1], id=number,
                )  # fmt: skip
    return world


def model(world: dict[str, Any], count: queries.Count, closes: dict[str, datetime]) -> tuple[int, int, int]:
    """The definition, person by person."""
    first, last = count.span.first, count.span.last
    rules = count.rules

    def in_period(s: Any) -> bool:
        return bool(s[4] <= last and (s[5] is None or (s[5] > first and s[5] > s[4])))

    mine = [s for s in world["segment"] if s[3] in CODES and in_period(s)]
    if count.organisation:
        mine = [s for s in mine if s[2] == count.organisation]
        if rules.attribution is Attribution.PERIOD_END:
            mine = [s for s in mine if not (s[6] == "MOVE" and s[5] <= last)]
    care = [
        (s[0], s[3], *v[3:]) for v in world["visit"] for s in world["segment"]
        if VISIT in rules.care and s[1] == v[0] and in_period(s) and not v[2] and first <= v[1] <= last
        and s[4] <= v[1] and (s[5] is None or v[1] <= s[5])
    ]  # fmt: skip
    care += [(c[0], c[2], *c[4:]) for c in world["care"] if c[1] in rules.care and first <= c[3] <= last]
    if rules.match is Match.GROUP:
        care = [one for one in care if one[1] in CODES]

    def who(number: int, s: Any) -> int:
        """The person of a number, as a list knows."""
        heir, noted = world["merged"].get(number, (number, EARLY))
        closed = closes.get(s[2])
        return int(heir if closed is None or noted <= closed else number)

    def helps(one: Any, s: Any) -> bool:
        closed = closes.get(s[2])
        known = one[3] is None if closed is None else one[2] <= closed and (one[3] is None or one[3] > closed)
        return known and who(one[0], s) == who(s[0], s) and (rules.match is not Match.KEY or one[1][:3] == s[3][:3])

    helped = {who(s[0], s) for s in mine if any(helps(one, s) for one in care)}
    ends = {who(s[0], s) for s in mine if s[5] is None or s[5] > last}
    return len(helped), len({who(s[0], s) for s in mine}), len(ends)


def close_at(store: Store, closes: dict[str, datetime], month: Month) -> None:
    """The month is closed in just these organisations."""
    with store.begin() as connection:
        connection.execute(text("DELETE FROM closed_month"))
        for organisation, at in closes.items():
            connection.execute(
                text(
                    "INSERT INTO closed_month (organisation, month, edition, closed_at, closed_by)"
                    " VALUES (:organisation, :month, 1, :at, 'test')"
                ),
                {"organisation": organisation, "month": month.number, "at": at},
            )


@pytest.mark.parametrize("seed", range(4))
def test_figures_are_those_of_the_definition(store: Store, seed: int) -> None:
    """Both ways of counting, every setting and scope, months open and closed, against the definition in Python."""
    place = region(store, DAY)
    random = Random(seed)
    world = random_world(store, random, 1000)
    for number, kind, diagnosis, day, at, gone in world["care"]:
        cared(place, str(number), kind, diagnosis, day, recorded=at, taken_back=gone)
    together: list[dict[str, datetime]] = [{}, {CLINIC: CLOSED, OTHER: CLOSED}]
    apart = [*together, {CLINIC: CLOSED}, {OTHER: LATER}, {CLINIC: CLOSED, OTHER: LATER}]
    for match in Match:
        for attribution in Attribution:
            for organisation in (None, CLINIC, OTHER):
                care = random.choice((("VISIT",), ("DN_SERVICE",), ("VISIT", "DN_SERVICE"), ("DN_VISIT", "DN_SERVICE")))
                rules = Rules("X", "X", "I05-I28", None, care, match, attribution)
                count = queries.Count(rules, CODES, Span(Month(2026, random.randint(1, 11))), "rubric", organisation)
                closes = random.choice(together if VISIT in care else apart)
                close_at(store, closes, count.span.month)
                with store.begin() as connection:
                    for by_person in (False, True):
                        found = queries.indicator_figures(connection, count, by_person=by_person)
                        shown = (found["numerator"], found["denominator"], found["month_end"])
                        assert shown == model(world, count, closes), (count, closes, by_person)
