"""Ends, moves, merges and returns that the register of insured persons gave cause for, entry by entry."""

from __future__ import annotations

from datetime import date

import pytest
from sqlalchemy import text

from gateway.access.model import ClientKind
from gateway.domain.periods import Month
from gateway.errors import GatewayError
from tests.lists.region import CLINIC, OTHER, Plain, Region

WHY = {"reconcile": "r", "rule": "DEAD", "answeredAt": "2026-11-18T09:00:00+00:00"}


def plan(place: Region, *rows: dict) -> list:
    call = place.call(kind=ClientKind.FUND)
    with place.store.begin() as connection:
        place.lists.begin_renewal(connection)
        for row in rows:
            values = {"organisation": None, "reason": None} | row
            connection.execute(
                text(
                    "INSERT INTO planned (entry_id, action, true_on, organisation, cause, reason)"
                    " VALUES (:entry_id, :action, :true_on, :organisation, :cause, :reason)"
                ),
                values,
            )
        return [dict(row) for row in place.lists.apply_planned(connection, call)]


def end(entry: str, day: date, cause: str = "DEATH", reason: str = "3") -> dict:
    return {"entry_id": int(entry), "action": "END", "true_on": day, "cause": cause, "reason": reason}


def move(entry: str, day: date, organisation: str = OTHER) -> dict:
    return {"entry_id": int(entry), "action": "MOVE", "true_on": day, "organisation": organisation, "cause": "MOVE"}


def one(place: Region, query: str, **values):
    with place.store.begin() as connection:
        return dict(connection.execute(text(query), values).mappings().one())


def entry_of(place: Region, entry: str) -> dict:
    return one(place, "SELECT * FROM entry WHERE id = :id", id=int(entry))


def sound(place: Region) -> None:
    """Versions and numbers without gaps, one open segment for an observed entry and none for another."""
    with place.store.begin() as connection:
        for query in (
            "SELECT count(*) FROM entry e WHERE version <> (SELECT count(*) FROM entry_event v WHERE v.entry_id = e.id)",
            "SELECT count(*) FROM list_ledger l WHERE seq <> (SELECT count(*) FROM entry_event v WHERE v.organisation = l.organisation)",
            "SELECT count(*) FROM entry e WHERE (status = 'OBSERVED')::int <> (SELECT count(*) FROM observation_segment s WHERE s.entry_id = e.id AND until IS NULL AND s.organisation = e.organisation)",
            "SELECT count(*) FROM entry_event WHERE before IS NULL AND kind NOT IN ('TAKEN', 'MOVED_IN')",
        ):
            assert connection.execute(text(query)).scalar_one() == 0, query


def test_an_end(place: Region) -> None:
    entry = place.add(place.person(), observed_since=date(2026, 9, 1))
    assert plan(place, end(entry, date(2026, 10, 14)))[0]["count"] == 1
    row = entry_of(place, entry)
    assert (row["status"], row["excluded_on"], row["exclusion_reason"]) == ("EXCLUDED", date(2026, 10, 14), "3")
    assert plan(place, end(entry, date(2026, 10, 14))) == []
    assert place.ids("EXCLUDED", month=10) == [entry]
    sound(place)


def test_a_move_shows_in_both_lists(place: Region) -> None:
    entry = place.add(place.person(), observed_since=date(2026, 9, 1), external_id="A-1")
    plan(place, move(entry, date(2026, 10, 20)))
    assert place.ids("MOVED_OUT", month=10) == [entry]
    there = place.call(organisations=[OTHER])
    assert [
        row.split(":")[1].split("|")[0]
        for row in place.list("MOVED_IN", organisation=OTHER, month=10, call=there).body.decode().split("\n")
    ] == [entry]
    row = entry_of(place, entry)
    assert (row["organisation"], row["by_attachment"], row["external_id"], row["doctor_snils"]) == (
        OTHER,
        True,
        None,
        None,
    )
    assert plan(place, move(entry, date(2026, 10, 20))) == []
    sound(place)


@pytest.mark.parametrize("closed", [CLINIC, OTHER])
def test_a_closed_month_of_either_list_is_not_touched(place: Region, closed: str) -> None:
    entry = place.add(place.person(), observed_since=date(2026, 9, 1))
    place.add(place.person(attached=OTHER), organisation=OTHER, observed_since=date(2026, 9, 1))
    with place.store.begin() as connection:
        place.lists.close(connection, closed, Month(2026, 10), "test", Plain())
    plan(place, move(entry, date(2026, 10, 20)))
    stay = one(place, "SELECT * FROM observation_segment WHERE entry_id = :id AND until IS NULL", id=int(entry))
    assert (stay["since"], stay["true_from"]) == (date(2026, 11, 1), date(2026, 10, 20))
    sound(place)


def merged(place: Region, entry: str, heir: str) -> bool:
    call = place.call(kind=ClientKind.FUND)
    person = one(place, "SELECT id FROM person WHERE enp = :enp", enp=heir)["id"]
    with place.store.begin() as connection:
        place.lists.begin_renewal(connection)
        return place.lists.merge_entry(connection, call, int(entry), person, date(2026, 10, 5), WHY)


def test_an_entry_goes_to_the_successor(place: Region) -> None:
    heir = place.person("Преемник")
    entry = place.add(place.person(), observed_since=date(2026, 9, 1))
    assert merged(place, entry, heir)
    assert (entry_of(place, entry)["enp"], entry_of(place, entry)["last_name"]) == (heir, "Преемник")
    with pytest.raises(AssertionError):
        place.add(heir)
    sound(place)


@pytest.mark.parametrize("organisation", [CLINIC, OTHER])
def test_overlapping_entries_become_one(place: Region, organisation: str) -> None:
    heir = place.person("Преемник")
    kept = place.add(heir, observed_since=date(2026, 9, 10))
    former = place.add(place.person(), organisation=organisation, observed_since=date(2026, 8, 1))
    assert not merged(place, former, heir)
    assert (entry_of(place, former)["status"], entry_of(place, former)["exclusion_reason"]) == ("EXCLUDED", "9")
    row = entry_of(place, kept)
    assert (row["status"], row["observed_since"]) == ("OBSERVED", date(2026, 8, 1))
    with place.store.begin() as connection:
        view = place.lists.view(connection, int(kept))
    assert {segment.since for segment in view.segments} == {date(2026, 8, 1), date(2026, 9, 10)}
    assert [event.kind for event in view.events].count("TAKEN") == 2
    sound(place)


def returned(place: Region, entry: str, day: date) -> None:
    call = place.call(kind=ClientKind.FUND)
    with place.store.begin() as connection:
        place.lists.begin_renewal(connection)
        place.lists.return_entry(connection, call, int(entry), day, WHY)


def test_a_death_taken_back_leaves_no_gap(place: Region) -> None:
    entry = place.add(place.person(), observed_since=date(2026, 9, 1))
    plan(place, end(entry, date(2026, 10, 14)))
    returned(place, entry, date(2026, 10, 14))
    assert entry_of(place, entry)["status"] == "OBSERVED"
    assert one(place, "SELECT count(*) AS n, min(since) AS since FROM observation_segment WHERE entry_id = :id", id=int(entry)) == {
        "n": 1, "since": date(2026, 9, 1),
    }  # fmt: skip
    sound(place)


def test_a_return_begins_on_its_day_and_not_in_a_closed_month(place: Region) -> None:
    entry = place.add(place.person(), observed_since=date(2026, 8, 1))
    plan(place, end(entry, date(2026, 9, 14), "DEPARTURE", "4"))
    with place.store.begin() as connection:
        place.lists.close(connection, CLINIC, Month(2026, 10), "test", Plain())
    returned(place, entry, date(2026, 10, 5))
    stay = one(place, "SELECT * FROM observation_segment WHERE entry_id = :id AND until IS NULL", id=int(entry))
    assert (stay["since"], stay["true_from"]) == (date(2026, 11, 1), date(2026, 10, 5))
    sound(place)


def test_what_hinders_a_return(place: Region) -> None:
    enp = place.person()
    entry = place.add(enp, observed_since=date(2026, 8, 1))
    plan(place, end(entry, date(2026, 9, 14), "DEPARTURE", "4"))
    place.add(enp, observed_since=date(2026, 9, 20))
    with pytest.raises(GatewayError) as refusal:
        returned(place, entry, date(2026, 9, 14))
    assert refusal.value.code == "observation.exists"
    sound(place)
