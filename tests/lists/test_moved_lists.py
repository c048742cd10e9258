"""Lists of an organisation from which an entry has moved, and of one whose first entry came by a move."""

from __future__ import annotations

from datetime import date

import pytest
from sqlalchemy import text

from gateway.access.model import ClientKind
from gateway.domain.periods import Month
from gateway.errors import GatewayError
from gateway.lists.model import PlanChange
from tests.lists.region import CLINIC, DOCTOR, OTHER, Plain, Region

OCTOBER, NOVEMBER, DECEMBER = Month(2026, 10), Month(2026, 11), Month(2026, 12)


def move(place: Region, entry: str, to: str, day: date) -> None:
    with place.store.begin() as connection:
        place.lists.begin_renewal(connection)
        connection.execute(
            text("INSERT INTO planned VALUES (:entry, 'MOVE', :day, :to, 'MOVE', NULL, '{}')"),
            {"entry": int(entry), "day": day, "to": to},
        )
        place.lists.apply_planned(connection, place.call())


def close(place: Region, organisation: str, month: Month) -> None:
    with place.store.begin() as connection:
        place.lists.close(connection, organisation, month, "test", Plain())


def test_past_lists_do_not_follow_the_new_organisation(place: Region) -> None:
    began = place.at(date(2026, 10, 1))
    gone = began.add(began.person(), planned_months=("2026-10",), doctor_snils=DOCTOR)
    wrong = began.add(began.person(), planned_months=("2026-10",))
    stays = began.add(began.person(), planned_months=("2026-10",))
    place = place.at(date(2026, 11, 5))
    for one in (gone, wrong):
        move(place, one, OTHER, date(2026, 11, 2))
    place.do(place.lists.update_plans, [PlanChange(gone, ("2026-12",), None, None)], organisation=OTHER)
    with place.store.begin() as connection:
        place.lists.annul_entry(connection, place.call(organisations=[OTHER]), wrong, "ошибка")
    for edition in ("CURRENT", "CLOSED"):
        if edition == "CLOSED":
            close(place, CLINIC, OCTOBER)
        for list_type in ("OBSERVED", "TAKEN", "PLANNED", "NOT_VISITED"):
            found = place.ids(list_type, month=10, edition=edition)
            assert sorted(found) == sorted([gone, wrong, stays]), (list_type, edition)
        assert place.ids("OBSERVED", month=10, edition=edition, doctor_snils=DOCTOR) == [gone]
    assert sorted(place.ids("MOVED_OUT", month=11)) == sorted([gone, wrong])
    assert place.ids("OBSERVED", month=11) == [stays]


def test_an_entry_that_came_back_stands_once(place: Region) -> None:
    began = place.at(date(2026, 10, 1))
    entry = began.add(began.person(), planned_months=("2026-10",))
    place = place.at(date(2026, 11, 5))
    move(place, entry, OTHER, date(2026, 11, 2))
    move(place, entry, CLINIC, date(2026, 11, 3))
    move(place, entry, OTHER, date(2026, 11, 4))
    assert place.ids("OBSERVED", month=10) == [entry]
    assert place.ids("PLANNED", month=10) == [entry]
    assert place.ids("MOVED_OUT", month=11) == [entry]
    assert place.ids("MOVED_IN", month=11) == [entry]


def closed(place: Region, organisation: str | None, **choice: int) -> int | str:
    """Records of a closed list, or the code of the refusal; None is the fund."""
    if organisation is None:
        call = place.call(kind=ClientKind.FUND, organisations=(), login="fund")
    else:
        call = place.call(organisations=[organisation])
    try:
        return place.list(organisation=organisation, call=call, edition="CLOSED", **choice).total_records
    except GatewayError as refusal:
        return refusal.code


def test_the_first_entry_of_an_organisation_leaves_closed_months_readable(place: Region) -> None:
    began = place.at(date(2026, 10, 1))
    entry, _ = began.add(began.person()), began.add(began.person())
    close(place, CLINIC, OCTOBER)
    assert closed(place, None, month=10) == 2
    move(place, entry, OTHER, date(2026, 11, 3))
    assert (closed(place, None, month=10), closed(place, OTHER, month=10)) == (2, "list.not-closed")
    place = place.at(date(2026, 12, 5))
    close(place, CLINIC, NOVEMBER)
    assert closed(place, None, month=11) == "list.not-closed"
    close(place, OTHER, NOVEMBER)
    assert (closed(place, None, month=10), closed(place, None, month=11)) == (2, 2)
    place = place.at(date(2027, 1, 5))
    for organisation in (CLINIC, OTHER):
        close(place, organisation, DECEMBER)
    fourth = {"quarter": 4, "year": 2026}
    assert [closed(place, one, **fourth) for one in (CLINIC, OTHER, None)] == [1, 1, 2]


@pytest.mark.parametrize("organisation", [CLINIC, None])
def test_an_open_month_with_a_list_is_awaited(place: Region, organisation: str | None) -> None:
    began = place.at(date(2026, 10, 1))
    began.add(began.person())
    assert closed(place, organisation, month=10) == "list.not-closed"
