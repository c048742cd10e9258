"""Corrections: what is taken back, what stays, and what a closed month keeps."""

from __future__ import annotations

from datetime import date

import pytest
from sqlalchemy import text

from gateway.access.model import ClientKind
from gateway.domain.periods import Month
from gateway.errors import GatewayError
from gateway.lists.model import Exclusion, NewEntry
from tests.lists.region import CLINIC, OTHER, Plain, Region
from tests.lists.test_batches import DAY, codes, conduct, line

OCTOBER = Month(2026, 10)


def refused(place: Region, method: object, *args: object) -> str:
    with pytest.raises(GatewayError) as caught:
        place.do(method, *args, organisation=None)  # type: ignore[arg-type]
    return caught.value.code


def close(place: Region, month: Month = OCTOBER) -> None:
    with place.store.begin() as connection:
        place.lists.close(connection, CLINIC, month, "test", Plain())


def test_a_diagnosis_changes_inside_its_entry(place: Region) -> None:
    entry_id = place.add(place.person(), "I20.8", observed_since=date(2026, 11, 1))
    view = place.do(place.lists.change_diagnosis, entry_id, "I25.1", date(2026, 11, 10), "уточнён", organisation=None)
    assert [(s.diagnosis, s.since, s.until) for s in view.segments] == [
        ("I20.8", date(2026, 11, 1), date(2026, 11, 10)),
        ("I25.1", date(2026, 11, 10), None),
    ]
    assert line(place, entry_id)["diagnosis"] == "I25.1"
    assert place.ids() == [entry_id]
    assert refused(place, place.lists.change_diagnosis, entry_id, "I25.1", DAY, "ещё") == "diagnosis.same"
    assert (
        refused(place, place.lists.change_diagnosis, entry_id, "I10", date(2026, 12, 1), "р")
        == "observation.date-future"
    )
    assert refused(place, place.lists.change_diagnosis, entry_id, "I10", DAY, " ") == "reason.empty"


def test_terms_begin_anew_with_another_disease_and_go_on_with_a_more_exact_code(place: Region) -> None:
    """548н: every three months in year one of the oncological diagnosis, not of the entry."""
    entry_id = place.add(place.person(), "I10", observed_since=date(2020, 1, 10))
    since = date(2026, 11, 1)
    place.do(place.lists.change_diagnosis, entry_id, "C50.1", since, "выявлен", organisation=None)
    entry = line(place, entry_id)
    assert (entry["diagnosed_on"], entry["next_visit_by"]) == (since, date(2027, 2, 1))
    place.do(place.lists.change_diagnosis, entry_id, "C50.4", DAY, "уточнён", organisation=None)
    entry = line(place, entry_id)
    assert (entry["diagnosed_on"], entry["next_visit_by"]) == (since, date(2027, 2, 1))
    assert codes(place, place.lists.conduct, conduct(entry_id)) == ["ok"]
    assert line(place, entry_id)["next_visit_by"] == date(2027, 2, 18)


def test_a_diagnosis_another_entry_has_is_refused(place: Region) -> None:
    enp = place.person()
    place.add(enp, "I10")
    entry_id = place.add(enp, "I20.8")
    assert refused(place, place.lists.change_diagnosis, entry_id, "I10", DAY, "ошибка") == "observation.exists"
    place.add(enp, "E11.9", organisation=OTHER)
    assert refused(place, place.lists.change_diagnosis, entry_id, "E11.9", DAY, "ошибка") == "observation.elsewhere"


def test_an_annulled_entry_leaves_its_trace_and_frees_its_place(place: Region) -> None:
    enp = place.person()
    entry_id = place.add(enp, external_id="A")
    codes(place, place.lists.conduct, conduct(entry_id))
    view = place.do(place.lists.annul_entry, entry_id, "внесена ошибочно", organisation=None)
    assert view.visits[0].annulled_at is not None
    assert [event.kind for event in view.events] == ["TAKEN", "VISITED", "ANNULLED"]
    assert place.ids() == place.ids("TAKEN") == place.ids("VISITED") == []
    assert refused(place, place.lists.annul_entry, entry_id, "ещё") == "observation.annulled"
    assert codes(place, place.lists.add, NewEntry(enp, "I10", ("2026-12",), external_id="A")) == ["ok"]


def test_an_annulled_visit_gives_way_to_the_one_before(place: Region) -> None:
    entry_id = place.add(place.person(), observed_since=date(2026, 10, 1))
    codes(place, place.lists.conduct, conduct(entry_id, conducted_on=date(2026, 11, 2), result="2"))
    (last,) = place.do(place.lists.conduct, [conduct(entry_id, conducted_on=date(2026, 11, 12))])
    place.do(place.lists.annul_visit, last.id, "не тот день", organisation=None)
    entry = line(place, entry_id)
    assert (entry["last_visit_on"], entry["last_visit_result"]) == (date(2026, 11, 2), "2")
    assert entry["next_visit_by"] == date(2027, 11, 2)
    assert refused(place, place.lists.annul_visit, last.id, "ещё") == "visit.annulled"


def test_the_visit_that_ended_the_observation_stays_until_it_is_reopened(place: Region) -> None:
    entry_id = place.add(place.person(), observed_since=date(2026, 11, 2))
    (visit,) = place.do(place.lists.conduct, [conduct(entry_id, result="9", excluded_on=DAY, exclusion_reason="1")])
    assert refused(place, place.lists.annul_visit, visit.id, "ошибка") == "visit.ended-entry"
    view = place.do(place.lists.reopen, entry_id, "ошибка", organisation=None)
    assert [(s.since, s.until) for s in view.segments] == [(date(2026, 11, 2), None)]
    assert place.ids() == [entry_id]
    assert place.ids("EXCLUDED") == []
    place.do(place.lists.annul_visit, visit.id, "ошибка", organisation=None)
    assert line(place, entry_id)["last_visit_on"] is None
    assert refused(place, place.lists.reopen, entry_id, "ещё") == "observation.open"


def test_an_entry_whose_place_is_taken_cannot_be_reopened(place: Region) -> None:
    enp = place.person()
    entry_id = place.add(enp, observed_since=date(2026, 11, 1))
    codes(place, place.lists.exclude, Exclusion(entry_id, date(2026, 11, 5), "5"))
    place.add(enp, organisation=OTHER)
    assert refused(place, place.lists.reopen, entry_id, "ошибка") == "observation.elsewhere"


def test_nothing_reaches_into_a_closed_month(place: Region) -> None:
    october = place.at(date(2026, 10, 20))
    first = october.add(october.person(), observed_since=date(2026, 10, 5))
    second = october.add(october.person(), observed_since=date(2026, 10, 5))
    close(place)
    assert place.ids(month=10, edition="CLOSED") == sorted([first, second], key=int)

    late = place.do(place.lists.add, [NewEntry(place.person(), "I10", ("2026-12",), observed_since=date(2026, 10, 7))])
    assert late[0].code == "ok.closed-month"
    assert codes(place, place.lists.exclude, Exclusion(first, date(2026, 10, 15), "6")) == ["ok.closed-month"]
    assert codes(place, place.lists.conduct, conduct(second, conducted_on=date(2026, 10, 16))) == ["ok.closed-month"]
    place.do(place.lists.annul_entry, second, "ошибка", organisation=None)

    assert place.ids(month=10, edition="CLOSED") == sorted([first, second], key=int)
    assert set(place.ids(month=10)) == {first}
    assert place.ids("EXCLUDED", month=10) == [] and place.ids("EXCLUDED") == [first]
    assert place.ids("TAKEN", month=10) == [first] and place.ids("TAKEN") == [late[0].id]
    assert line(place, first)["excluded_on"] == date(2026, 10, 15)
    with place.store.begin() as connection:
        view = place.lists.view(connection, int(first))
    assert view.segments[0].until == date(2026, 11, 1)
    assert view.events[-1].effective_on == date(2026, 11, 1)


def test_reopening_after_a_closed_month_leaves_the_gap_the_month_holds(place: Region) -> None:
    october = place.at(date(2026, 10, 20))
    entry_id = october.add(october.person(), observed_since=date(2026, 10, 5))
    codes(october, october.lists.exclude, Exclusion(entry_id, date(2026, 10, 15), "6"))
    close(place)
    view = place.do(place.lists.reopen, entry_id, "ошибка", organisation=None)
    assert [(s.since, s.until) for s in view.segments] == [
        (date(2026, 10, 5), date(2026, 10, 15)),
        (date(2026, 11, 1), None),
    ]


def test_a_month_closes_once_and_opens_by_an_explicit_command(place: Region) -> None:
    place.add(place.person())
    with pytest.raises(GatewayError, match="month.not-over"):
        close(place, Month(2026, 11))
    close(place)
    with pytest.raises(GatewayError, match=r"month\.closed"):
        close(place)
    with place.store.begin() as connection:
        place.lists.reopen_month(connection, CLINIC, OCTOBER, "test", "ошибка учёта")
    with pytest.raises(GatewayError, match="list.not-closed"):
        place.list(month=10, edition="CLOSED")
    close(place)
    assert place.list(month=10, edition="CLOSED").total_records == 0


def test_a_quarter_is_closed_with_its_last_month(place: Region) -> None:
    july = place.at(date(2026, 7, 20))
    entry_id = july.add(july.person(), observed_since=date(2026, 7, 5))
    for month in (7, 8):
        close(place, Month(2026, month))
    with pytest.raises(GatewayError, match="list.not-closed"):
        place.list(quarter=3, edition="CLOSED")
    close(place, Month(2026, 9))
    assert place.ids("TAKEN", quarter=3, edition="CLOSED") == [entry_id]


def test_months_open_and_close_at_one_end(place: Region) -> None:
    """So that a change in an open month never reaches into a closed one after it."""
    july = place.at(date(2026, 7, 20))
    entry_id = july.add(july.person(), observed_since=date(2026, 7, 5))
    for month in (8, 9):
        close(place, Month(2026, month))
    with pytest.raises(GatewayError, match=r"month\.order"):
        close(place, Month(2026, 7))
    with pytest.raises(GatewayError, match=r"month\.order"), place.store.begin() as connection:
        place.lists.reopen_month(connection, CLINIC, Month(2026, 8), "test", "ошибка учёта")
    assert codes(place, place.lists.exclude, Exclusion(entry_id, date(2026, 7, 15), "6")) == ["ok.closed-month"]
    assert place.ids("EXCLUDED", month=10) == [entry_id]


def test_a_quarter_closes_again_after_every_reopening_of_its_months(place: Region) -> None:
    july = place.at(date(2026, 7, 20))
    entry_id = july.add(july.person(), observed_since=date(2026, 7, 5))
    for month in (7, 8, 9):
        close(place, Month(2026, month))
    for back in ((9,), (9, 8), (9, 8, 7), (9, 8)):
        for month in back:
            with place.store.begin() as connection:
                place.lists.reopen_month(connection, CLINIC, Month(2026, month), "test", "ошибка учёта")
            with pytest.raises(GatewayError, match="list.not-closed"):
                place.list("TAKEN", quarter=3, edition="CLOSED")
        for month in reversed(back):
            close(place, Month(2026, month))
        assert place.ids("TAKEN", quarter=3, edition="CLOSED") == [entry_id]


@pytest.mark.parametrize("method", ["change_diagnosis", "annul_entry", "reopen", "annul_visit"])
def test_an_insurer_corrects_nothing(place: Region, method: str) -> None:
    """Whatever rights it was given, and whether the object exists or not."""
    entry_id = place.add(place.person(), observed_since=date(2026, 11, 2))
    (visit,) = place.do(place.lists.conduct, [conduct(entry_id)])
    more = ("I15.0", DAY) if method == "change_diagnosis" else ()
    for id in (visit.id if method == "annul_visit" else entry_id, "999"):
        call = place.call(kind=ClientKind.INSURER, organisations=[], insurer="40001")
        with pytest.raises(GatewayError, match=r"access\.forbidden"), place.store.begin() as connection:
            getattr(place.lists, method)(connection, call, id, *more, "причина")
        assert call.persons == []
    assert line(place, entry_id)["version"] == 2


def test_what_was_never_closed_cannot_be_opened(place: Region) -> None:
    with place.store.begin() as connection, pytest.raises(GatewayError, match=r"month\.not-closed"):
        place.lists.reopen_month(connection, CLINIC, OCTOBER, "test", "ошибка учёта")


def test_the_dead_are_neither_seen_after_death_nor_observed_again(place: Region) -> None:
    enp = place.person()
    entry_id = place.add(enp, observed_since=date(2026, 11, 1))
    with place.store.begin() as connection:
        connection.execute(text("UPDATE person SET death_date = '2026-11-10' WHERE enp = :enp"), {"enp": enp})
    assert codes(place, place.lists.conduct, conduct(entry_id)) == ["visit.after-death"]
    assert codes(place, place.lists.conduct, conduct(entry_id, conducted_on=date(2026, 11, 10))) == ["ok"]
    assert codes(place, place.lists.exclude, Exclusion(entry_id, DAY, "3")) == ["ok"]
    assert refused(place, place.lists.reopen, entry_id, "ошибка") == "person.dead"
