"""The directory of doctors: periods by СНИЛС, item by item."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from gateway.domain.clock import Clock
from gateway.domain.persons import make_snils
from gateway.errors import GatewayError
from gateway.nsi.dictionaries import Nsi
from gateway.people import doctors
from gateway.people.doctors import Doctor

from .conftest import MINE, OTHER

ONE = Doctor(make_snils(123_456_789), "Пётр-Семёнова", "Алёна", "Игоревна", "1", "76", date(2020, 1, 1))


@pytest.fixture
def save(directory, call):
    nsi = Nsi(directory, Clock())

    def run(*items, organisation=MINE):
        with directory.begin() as connection:
            results = doctors.save(connection, call(), organisation, items, nsi)
        return [result.code for result in results]

    return run


@pytest.fixture
def kept(directory):
    def read(organisation=MINE, on=None):
        with directory.begin() as connection:
            return doctors.all_of(connection, organisation, on)

    return read


def test_a_doctor_is_kept_as_sent_but_tidy(save, kept):
    snils = f"{ONE.snils[:3]}-{ONE.snils[3:6]}-{ONE.snils[6:9]} {ONE.snils[9:]}"
    assert save(replace(ONE, snils=snils, last_name="  Пётр-Семёнова ", middle_name=" ")) == ["ok"]
    assert kept() == [replace(ONE, middle_name=None)]
    assert kept(OTHER) == []
    with pytest.raises(GatewayError, match="object.not-found"):
        kept("499999")


def test_the_same_first_day_replaces_a_period(save, kept):
    save(ONE)
    assert save(replace(ONE, doctor_type=None, specialty=None, valid_to=date(2024, 1, 1))) == ["ok"]
    assert kept() == [replace(ONE, doctor_type=None, specialty=None, valid_to=date(2024, 1, 1))]


def test_a_change_of_type_closes_one_period_and_begins_another(save, kept):
    save(ONE)
    later = replace(ONE, doctor_type="3", specialty="25", valid_from=date(2025, 1, 1))
    assert save(later) == ["doctor.dates"]
    closed = replace(ONE, valid_to=date(2024, 12, 31))
    assert save(closed, later) == ["ok", "ok"]
    assert kept() == [closed, later]
    assert kept(on=date(2024, 12, 31)) == [closed]
    assert kept(on=date(2025, 1, 1)) == [later]
    assert kept(on=date(2019, 12, 31)) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"snils": "123"}, "person.snils-format"),
        ({"snils": "11223344596"}, "person.snils-check"),
        ({"last_name": "Иванов1"}, "person.name"),
        ({"first_name": " "}, "person.name"),
        ({"doctor_type": "77"}, "doctor.type"),
        ({"specialty": "9999"}, "doctor.specialty"),
        ({"valid_to": date(2019, 12, 31)}, "doctor.dates"),
    ],
)
def test_a_wrong_item_is_refused_and_the_rest_is_taken(save, kept, changes, code):
    other = replace(ONE, snils=make_snils(123_456_780))
    assert save(replace(ONE, **changes), other) == [code, "ok"]
    assert kept() == [other]


def test_an_item_may_not_be_sent_twice(save):
    assert save(ONE, ONE) == ["ok", "conflict.duplicate-item"]


def test_results_name_what_was_made(directory, call):
    nsi = Nsi(directory, Clock())
    with directory.begin() as connection:
        bad, good = doctors.save(connection, call(), MINE, [replace(ONE, specialty="x"), ONE], nsi)
        assert (bad.number, bad.id, good.number) == (1, None, 2)
        stored = connection.exec_driver_sql("SELECT id::text FROM doctor").scalar_one()
    assert good.id == stored


def test_an_unknown_organisation_has_no_directory(save):
    with pytest.raises(GatewayError) as refused:
        save(ONE, organisation="999999")
    assert refused.value.code == "object.not-found"


def test_periods_tell_who_works_when(save, directory):
    save(replace(ONE, valid_to=date(2024, 12, 31)))
    with directory.begin() as connection:
        (period,) = doctors.periods(connection, MINE, [ONE.snils, make_snils(1_234_567)])[ONE.snils]
    assert period.works_on(date(2024, 12, 31))
    assert not period.works_on(date(2025, 1, 1))
    assert not period.works_on(date(2019, 12, 31))
