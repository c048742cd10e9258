"""Adding, planning, conducting, excluding: what takes effect and the code of every refusal."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from gateway.domain import persons
from gateway.lists.model import Conduct, Exclusion, NewEntry, PlanChange
from gateway.lists.queries import CONDITIONS
from tests.lists.region import CLINIC, DOCTOR, OTHER, UNTYPED, Region

DAY = date(2026, 11, 18)


def line(place: Region, entry_id: str) -> dict[str, Any]:
    with place.store.begin() as connection:
        row = connection.execute(text("SELECT * FROM entry WHERE id = :id"), {"id": int(entry_id)})
        return dict(row.mappings().one())


def codes(place: Region, method: Any, *items: Any, organisation: str = CLINIC) -> list[str]:
    return [result.code for result in place.do(method, items, organisation=organisation)]


def conduct(entry_id: str, **values: Any) -> Conduct:
    base = {"conducted_on": DAY, "place": "1", "result": "1", "doctor_snils": DOCTOR, "doctor_type": "1"}
    return Conduct(entry_id, **(base | values))


def test_an_added_entry_holds_what_was_sent_and_what_follows_from_it(place: Region) -> None:
    enp = place.person("Ёлкин")
    entry_id = place.add(
        enp, "i10", planned_months=("2027-01", "2026-12"), external_id="A-1", diagnosed_on=date(2026, 11, 1)
    )
    entry = line(place, entry_id)
    assert entry["diagnosis"] == "I10"
    assert entry["diagnosis_key"] == "I10"
    assert entry["diagnosis_group"] == "БСК"
    assert entry["planned_months"] == ["2026-12", "2027-01"]
    assert entry["observed_since"] == DAY
    assert entry["next_visit_by"] == date(2027, 11, 18)
    assert entry["by_attachment"] is True
    assert entry["name_key"].startswith("ЕЛКИН ")
    assert (entry["status"], entry["version"], entry["source"]) == ("OBSERVED", 1, "MO")
    assert place.ids() == [entry_id]
    assert place.ids("TAKEN") == [entry_id]


def test_the_cardiologist_sees_hypertension_twice_a_year(place: Region) -> None:
    entry = line(place, place.add(place.person(), "I10", specialty="25"))
    assert entry["next_visit_by"] == date(2027, 5, 18)


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"enp": "1"}, "person.enp-format"),
        ({"enp": "6449020886006381"}, "person.enp-check"),
        ({"enp": "6449020886006380"}, "person.unknown"),
        ({"diagnosis": "Гипертония"}, "diagnosis.format"),
        ({"planned_months": ()}, "plan.empty"),
        ({"planned_months": ("2026-13",)}, "plan.format"),
        ({"planned_months": ("2027-01", "2027-01")}, "plan.repeated"),
        ({"planned_months": ("2025-12",)}, "plan.range"),
        ({"planned_months": ("2028-12",)}, "plan.range"),
        ({"diagnosed_on": date(2026, 11, 19)}, "diagnosis.date-future"),
        ({"diagnosed_on": date(1950, 1, 1)}, "diagnosis.date-before-birth"),
        ({"observed_since": date(2026, 11, 19)}, "observation.date-future"),
        ({"observed_since": DAY - timedelta(1), "diagnosed_on": DAY}, "observation.date-before-diagnosis"),
        ({"doctor_snils": "123"}, "person.snils-format"),
        ({"doctor_snils": "112-233-445 96"}, "person.snils-check"),
        ({"doctor_snils": persons.make_snils(777888999)}, "doctor.unknown"),
        ({"specialty": "9999"}, "doctor.specialty"),
    ],
)
def test_what_cannot_be_added_is_refused_by_name(place: Region, values: dict[str, Any], code: str) -> None:
    base = {"enp": place.person(), "diagnosis": "I10", "planned_months": ("2026-12",)}
    good = NewEntry(place.person(), "I20.8", ("2026-12",))
    results = place.do(place.lists.add, [NewEntry(**(base | values)), good])
    assert [result.code for result in results] == [code, "ok"]
    assert results[0].id is None
    assert len(place.ids()) == 1


def test_the_dead_and_the_uninsured_are_refused(place: Region) -> None:
    dead = place.person(death=date(2026, 1, 1))
    away = place.person(insured=False)
    months = ("2026-12",)
    assert codes(place, place.lists.add, NewEntry(dead, "I10", months), NewEntry(away, "I10", months)) == [
        "person.dead",
        "person.not-insured",
    ]


def test_one_open_observation_per_person_and_rubric(place: Region) -> None:
    enp = place.person()
    months = ("2026-12",)
    items = [NewEntry(enp, code, months) for code in ("I20.8", "I20.0", "I25.1")]
    assert codes(place, place.lists.add, *items) == ["ok", "observation.exists", "ok"]
    assert codes(place, place.lists.add, items[1]) == ["observation.exists"]
    assert codes(place, place.lists.add, items[1], organisation=OTHER) == ["observation.elsewhere"]


def test_by_full_code_when_installed_so(place: Region) -> None:
    place = place.at(DAY, observation_key="code")
    enp = place.person()
    items = [NewEntry(enp, code, ("2026-12",)) for code in ("I20.8", "I20.0", "I20.8")]
    assert codes(place, place.lists.add, *items) == ["ok", "ok", "observation.exists"]


def test_the_other_clinic_may_observe_another_disease(place: Region) -> None:
    enp = place.person()
    place.add(enp, "I10")
    assert codes(place, place.lists.add, NewEntry(enp, "E11.9", ("2026-12",)), organisation=OTHER) == ["ok"]


def test_outside_the_orders_is_marked_or_refused(place: Region) -> None:
    item = NewEntry(place.person(), "J06.9", ("2026-12",))
    strict = place.at(DAY, diagnosis_outside="refuse")
    assert codes(strict, strict.lists.add, item) == ["diagnosis.outside"]
    (result,) = place.do(place.lists.add, [item])
    assert result.code == "ok.outside"
    entry = line(place, result.id)
    assert (entry["outside"], entry["next_visit_by"]) == ("ORDER", None)


def test_a_child_is_marked(place: Region) -> None:
    (result,) = place.do(place.lists.add, [NewEntry(place.person(birth=date(2015, 3, 1)), "I10", ("2026-12",))])
    assert result.code == "ok.child"
    assert line(place, result.id)["outside"] == "CHILD"


def test_who_has_come_of_age_is_no_longer_marked_once_a_visit_gives_a_term(place: Region) -> None:
    entry_id = place.add(place.person(birth=DAY.replace(year=DAY.year - 18) + timedelta(1)), "I10")
    assert line(place, entry_id)["outside"] == "CHILD"
    grown = place.at(DAY + timedelta(1))
    assert codes(grown, grown.lists.conduct, conduct(entry_id, conducted_on=grown.today)) == ["ok"]
    entry = line(place, entry_id)
    assert (entry["outside"], entry["next_visit_by"]) == (None, grown.today.replace(year=grown.today.year + 1))


def test_the_record_of_a_batch_names_everybody_it_tells_of(place: Region) -> None:
    """A refusal such as `observation.elsewhere` discloses something of the person too."""
    taken, free = place.person(), place.person()
    place.add(taken, organisation=OTHER)
    call = place.call()
    with place.store.begin() as connection:
        items = [NewEntry(enp, "I10", ("2026-12",)) for enp in (taken, free)]
        results = place.lists.add(connection, call, CLINIC, items)
        assert [result.code for result in results] == ["observation.elsewhere", "ok"]
        known = connection.execute(text("SELECT id FROM person WHERE enp = ANY(:enps)"), {"enps": [taken, free]})
        assert set(call.persons) == set(known.scalars())


def test_external_ids_are_unique_in_the_organisation(place: Region) -> None:
    items = [NewEntry(place.person(), "I10", ("2026-12",), external_id="X") for _ in range(2)]
    assert codes(place, place.lists.add, *items) == ["ok", "conflict.external-id"]
    assert codes(place, place.lists.add, items[1]) == ["conflict.external-id"]
    assert codes(place, place.lists.add, items[1], organisation=OTHER) == ["ok"]


def test_a_plan_is_replaced_whole_and_may_be_empty(place: Region) -> None:
    entry_id = place.add(place.person())
    assert codes(place, place.lists.update_plans, PlanChange(entry_id, ("2027-03", "2027-02"))) == ["ok"]
    assert line(place, entry_id)["planned_months"] == ["2027-02", "2027-03"]
    assert codes(place, place.lists.update_plans, PlanChange(entry_id, ())) == ["ok"]
    assert line(place, entry_id)["planned_months"] == []


def test_versions_duplicates_and_foreign_entries(place: Region) -> None:
    mine, theirs = place.add(place.person()), place.add(place.person(), organisation=OTHER)
    month = ("2027-02",)
    items = [
        PlanChange(mine, month, expected_version=7),
        PlanChange(mine, month, expected_version=1),
        PlanChange(mine, month),
        PlanChange(theirs, month),
        PlanChange("999999", month),
        PlanChange("не число", month),
    ]
    results = place.do(place.lists.update_plans, items)
    assert [result.code for result in results] == [
        "conflict.version", "ok", "conflict.duplicate-item", "object.not-found", "object.not-found", "object.not-found",
    ]  # fmt: skip
    assert len({result.message for result in results[3:]}) == 1
    assert line(place, theirs)["version"] == 1


def test_a_visit_moves_the_next_term(place: Region) -> None:
    entry_id = place.add(place.person(), observed_since=date(2026, 9, 1))
    (result,) = place.do(place.lists.conduct, [conduct(entry_id, conducted_on=date(2026, 11, 10))])
    assert result.code == "ok"
    entry = line(place, entry_id)
    assert (entry["last_visit_on"], entry["last_visit_result"]) == (date(2026, 11, 10), "1")
    assert entry["next_visit_by"] == date(2027, 11, 10)
    assert place.ids("VISITED") == [entry_id]
    assert place.ids("NOT_VISITED") == []


def test_no_show_is_an_attempt_not_a_visit(place: Region) -> None:
    entry_id = place.add(place.person())
    assert codes(place, place.lists.conduct, conduct(entry_id, place="9", result="8")) == ["ok"]
    assert line(place, entry_id)["last_visit_on"] is None
    assert place.ids("VISITED") == []
    assert place.ids("NOT_VISITED") == [entry_id]


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"conducted_on": date(2026, 11, 19)}, "visit.date-future"),
        ({"conducted_on": date(2026, 10, 31)}, "visit.date-before"),
        ({"place": "77"}, "visit.place"),
        ({"result": "77"}, "visit.result"),
        ({"place": "9"}, "visit.no-show"),
        ({"result": "8"}, "visit.no-show"),
        ({"result": "9"}, "visit.removal"),
        ({"excluded_on": DAY}, "exclusion.pair"),
        ({"exclusion_reason": "1"}, "exclusion.pair"),
        ({"excluded_on": DAY, "exclusion_reason": "1"}, "visit.removal"),
        ({"excluded_on": DAY, "exclusion_reason": "77", "result": "9"}, "exclusion.reason"),
        ({"excluded_on": DAY + timedelta(1), "exclusion_reason": "1", "result": "9"}, "exclusion.date-future"),
        ({"excluded_on": DAY - timedelta(1), "exclusion_reason": "1", "result": "9"}, "exclusion.date-before"),
        ({"doctor_snils": persons.make_snils(777888999)}, "doctor.unknown"),
        ({"doctor_type": "77"}, "doctor.type"),
        ({"doctor_type": "2"}, "doctor.type-differs"),
        ({"doctor_snils": UNTYPED, "doctor_type": ""}, "doctor.incomplete"),
        ({"doctor_snils": UNTYPED, "doctor_type": "2"}, "ok"),
        ({"excluded_on": DAY, "exclusion_reason": "1", "result": "9"}, "ok"),
    ],
)
def test_rules_of_conducting(place: Region, values: dict[str, Any], code: str) -> None:
    entry_id = place.add(place.person(), observed_since=date(2026, 11, 1))
    assert codes(place, place.lists.conduct, conduct(entry_id, **values)) == [code]


def test_the_same_visit_twice_is_refused(place: Region) -> None:
    entry_id = place.add(place.person())
    assert codes(place, place.lists.conduct, conduct(entry_id)) == ["ok"]
    assert codes(place, place.lists.conduct, conduct(entry_id)) == ["visit.repeated"]


def test_a_visit_may_end_the_observation(place: Region) -> None:
    entry_id = place.add(place.person(), observed_since=date(2026, 11, 2))
    item = conduct(entry_id, result="9", excluded_on=DAY, exclusion_reason="1")
    assert codes(place, place.lists.conduct, item) == ["ok"]
    entry = line(place, entry_id)
    assert (entry["status"], entry["excluded_on"], entry["exclusion_reason"]) == ("EXCLUDED", DAY, "1")
    assert place.ids() == []
    assert place.ids("EXCLUDED") == [entry_id]
    assert codes(place, place.lists.conduct, conduct(entry_id)) == ["observation.not-open"]


def test_exclusion_needs_no_visit(place: Region) -> None:
    entry_id = place.add(place.person(), observed_since=date(2026, 11, 2))
    assert codes(place, place.lists.exclude, Exclusion(entry_id, date(2026, 11, 1), "6")) == ["exclusion.date-before"]
    assert codes(place, place.lists.exclude, Exclusion(entry_id, date(2026, 11, 19), "6")) == ["exclusion.date-future"]
    assert codes(place, place.lists.exclude, Exclusion(entry_id, DAY, "0")) == ["exclusion.reason"]
    assert codes(place, place.lists.exclude, Exclusion(entry_id, DAY, "6")) == ["ok"]
    assert codes(place, place.lists.exclude, Exclusion(entry_id, DAY, "6")) == ["observation.not-open"]


def test_after_the_end_another_clinic_may_begin_but_not_before_it(place: Region) -> None:
    enp = place.person()
    entry_id = place.add(enp, observed_since=date(2026, 11, 1))
    codes(place, place.lists.exclude, Exclusion(entry_id, date(2026, 11, 10), "5"))
    early = NewEntry(enp, "I10", ("2026-12",), observed_since=date(2026, 11, 9))
    assert codes(place, place.lists.add, early, organisation=OTHER) == ["observation.overlap"]
    late = NewEntry(enp, "I10", ("2026-12",), observed_since=date(2026, 11, 10))
    assert codes(place, place.lists.add, late, organisation=OTHER) == ["ok"]


def test_every_change_numbers_the_ledger_without_a_gap(place: Region) -> None:
    entries = [place.add(place.person()) for _ in range(3)]
    codes(place, place.lists.conduct, *[conduct(entry_id) for entry_id in entries])
    codes(place, place.lists.exclude, *[Exclusion(entry_id, DAY, "6") for entry_id in entries])
    with place.store.begin() as connection:
        rows = connection.execute(text("SELECT seq, entry_id, version, before FROM entry_event ORDER BY seq")).all()
        last = connection.execute(text("SELECT seq FROM list_ledger WHERE organisation = :o"), {"o": CLINIC}).scalar()
    assert [row.seq for row in rows] == list(range(1, 10)) and last == 9
    assert [row.version for row in rows] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [row.before is None for row in rows] == [True] * 3 + [False] * 6


def test_list_types_are_those_of_the_dictionary(place: Region) -> None:
    assert set(place.lists.nsi.items("LIST_TYPES", DAY)) == set(CONDITIONS)
