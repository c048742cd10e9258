"""FindPerson: which criteria are enough, who is found, what of their entries is shown, and the record it leaves."""

from __future__ import annotations

from datetime import date

import pytest

from gateway.access.model import ClientKind
from gateway.domain.persons import make_enp, make_snils
from gateway.errors import GatewayError
from gateway.people import persons
from gateway.people.load import load_insured
from gateway.people.persons import Criteria, Observed

from .conftest import MINE, OTHER

BIRTH = date(1960, 1, 15)


@pytest.fixture
def people(directory, extract_line, extract_text, tmp_path):
    """Namesakes born on one day: two full ones, one without middle name, one with a double name, one insured elsewhere."""
    lines = [
        extract_line(0),
        extract_line(1, insurer="40002"),
        extract_line(2, middle_name=""),
        extract_line(3, last_name="Римская-Корсакова", first_name="Анна  Мария"),
        extract_line(4, insured_in_region="0", attached_organisation=""),
    ]
    path = tmp_path / "people.csv"
    path.write_text(extract_text(lines), encoding="utf-8")
    load_insured(directory, path)
    return directory


def enp(number):
    return make_enp(40, BIRTH, 2, number)


def found(store, call, limit=None, **criteria):
    return [person.enp for person in persons.find(store, call, Criteria(**criteria), limit)]


@pytest.mark.parametrize("organisation", [MINE, OTHER])
def test_anybody_of_the_region_is_found_by_enp(people, call, organisation):
    (person,) = persons.find(people, call(organisations=(organisation,)), Criteria(enp=enp(0)))
    assert (person.last_name, person.birth_date, person.sex, person.insured_in_region) == (
        "Королёва",
        "1960-01-15",
        "2",
        "true",
    )
    assert person.observed == ()
    assert len(person.as_of) == len("2026-11-22T10:00:00+03:00")


def test_nobody_is_an_answer(people, call):
    assert found(people, call(), enp=enp(77)) == []


def test_snils_needs_the_birth_date(people, call):
    snils = make_snils(10_000_001)
    assert found(people, call(), snils=snils, birth_date=BIRTH) == [enp(1)]
    spaced = f"{snils[:3]}-{snils[3:6]}-{snils[6:9]} {snils[9:]}"
    assert found(people, call(), snils=spaced, birth_date=BIRTH) == [enp(1)]
    assert found(people, call(), snils=snils, birth_date=date(1961, 1, 1)) == []


def test_names_are_compared_by_key(people, call):
    name = {"last_name": " КОРОЛЕВА", "first_name": "алёна", "birth_date": BIRTH}
    full = found(people, call(), **name, middle_name="петровна")
    assert sorted(full) == sorted([enp(0), enp(1), enp(4)])
    assert sorted(found(people, call(), **name)) == sorted([enp(0), enp(1), enp(2), enp(4)])
    assert found(people, call(), **{**name, "last_name": "Королев"}) == []
    assert found(people, call(), **{**name, "first_name": "Ал"}) == []


def test_a_double_name_is_one_name(people, call):
    name = {"first_name": "Анна Мария", "birth_date": BIRTH}
    assert found(people, call(), last_name="римская-корсакова", **name) == [enp(3)]
    assert found(people, call(), last_name="Корсакова", **name) == []
    assert found(people, call(), last_name="Римская", **name) == []


def test_other_criteria_narrow_the_search(people, call):
    assert found(people, call(), enp=enp(0), last_name="Королева", first_name="Алена") == [enp(0)]
    assert found(people, call(), enp=enp(0), last_name="Щукина", first_name="Алена") == []
    assert found(people, call(), enp=enp(0), birth_date=date(1999, 1, 1)) == []
    assert found(people, call(), enp=enp(0), last_name="Королева") == [enp(0)]
    assert found(people, call(), enp=enp(0), last_name="Щукина") == []
    assert found(people, call(), enp=enp(0), last_name="Корол") == []


def test_the_limit_bounds_the_answer_and_its_record(people, call):
    one = call()
    name = {"last_name": "Королева", "first_name": "Алена", "birth_date": BIRTH}
    assert len(found(people, one, 2, **name)) == 2
    assert record(people, one)[1:] == (2, 2)


@pytest.mark.parametrize(
    ("criteria", "code"),
    [
        ({}, "search.criteria"),
        ({"snils": make_snils(10_000_001)}, "search.criteria"),
        ({"birth_date": BIRTH}, "search.criteria"),
        ({"last_name": "Королева", "birth_date": BIRTH}, "search.criteria"),
        ({"last_name": "Королева", "first_name": "Алена"}, "search.criteria"),
        ({"last_name": " ", "first_name": "Королева", "birth_date": BIRTH}, "search.criteria"),
        ({"last_name": "Королева", "first_name": " ", "birth_date": BIRTH}, "search.criteria"),
        ({"enp": enp(0), "first_name": "Алена"}, "search.criteria"),
        ({"enp": enp(0), "last_name": "Королева", "middle_name": "Петровна"}, "search.criteria"),
        ({"enp": "123"}, "person.enp-format"),
        ({"enp": "4000000000000001"}, "person.enp-check"),
        ({"snils": "11223344596", "birth_date": BIRTH}, "person.snils-check"),
        ({"snils": "1", "birth_date": BIRTH}, "person.snils-format"),
    ],
)
def test_wrong_criteria_are_refused_by_name(people, call, criteria, code):
    one = call()
    with pytest.raises(GatewayError) as refused:
        found(people, one, **criteria)
    assert refused.value.code == code
    assert not one.audited


@pytest.mark.parametrize("limit", [0, 101, -1])
def test_a_limit_out_of_range_is_refused(people, call, limit):
    with pytest.raises(GatewayError) as refused:
        found(people, call(), limit, enp=enp(0))
    assert refused.value.code == "field.range"


def test_an_insurer_finds_only_its_own(people, call):
    insurer = {"kind": ClientKind.INSURER, "insurer": "40002"}
    assert found(people, call(**insurer), enp=enp(1)) == [enp(1)]
    assert found(people, call(**insurer), enp=enp(0)) == []


def test_entries_of_other_organisations_are_not_shown(people, owner, call):
    with owner.driver() as driver:
        for number, organisation in enumerate((MINE, OTHER), 1):
            driver.execute(
                ENTRY, {"id": number, "enp": enp(0), "organisation": organisation, "diagnosis": f"I{number}1"}
            )
    (mine,) = persons.find(people, call(), Criteria(enp=enp(0)))
    assert mine.observed == (Observed("1", "I11"),)
    (all_seen,) = persons.find(people, call(ClientKind.FUND), Criteria(enp=enp(0)))
    assert all_seen.observed == (Observed("1", "I11"), Observed("2", "I21"))


def test_every_search_leaves_one_record_in_its_statement(people, call):
    one = call()
    found(people, one, enp=enp(0))
    assert one.audited
    operation, persons_named, records = record(people, one)
    assert (operation, persons_named, records) == ("FindPerson", 1, 1)
    nobody = call()
    found(people, nobody, enp=enp(77))
    assert record(people, nobody) == ("FindPerson", None, 0)


def record(store, call):
    with store.driver() as driver:
        (row,) = driver.execute(
            "SELECT operation, cardinality(persons), records FROM audit_record WHERE trace = %s", (call.trace,)
        ).fetchall()
    return row


ENTRY = """
    INSERT INTO entry (id, person_id, organisation, seq, enp, last_name, first_name, name_key, birth_date, sex,
                       diagnosis, diagnosis_key, diagnosis_group, by_attachment, observed_since, source, status)
    SELECT %(id)s, id, %(organisation)s, %(id)s, enp, last_name, first_name, name_key, birth_date, sex,
           %(diagnosis)s, %(diagnosis)s, 'БСК', true, '2026-01-01', 'MO', 'OBSERVED' FROM person WHERE enp = %(enp)s
"""
