"""Calls of the clinic while its list is being uploaded: what decisions rested on has moved, and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
from sqlalchemy import event, text

from gateway.domain.periods import Month
from gateway.lists.model import Exclusion, PlanChange
from tests.lists import uploads
from tests.lists.region import CLINIC, OTHER, Plain, Region
from tests.lists.test_machine import _TRUTHS

LOCK, PUT = "FROM list_ledger WHERE organisation = %(organisation)s FOR UPDATE", "INSERT INTO entry ("


def truths(place: Region) -> None:
    with place.store.begin() as connection:
        for name, query in _TRUTHS.items():
            assert connection.execute(text(query)).scalar() == 0, name


def meanwhile(place: Region, content: bytes, before: str, work: Callable[[], object]) -> list[str]:
    """Codes of an upload into which ``work`` gets just before a statement is executed for the first time."""
    done = False

    def intrude(_: Any, __: Any, statement: str, *___: Any) -> None:
        nonlocal done
        if before in statement and not done:
            done = True
            work()

    event.listen(place.store.engine, "before_cursor_execute", intrude)
    operation = uploads.upload(place, content)
    event.remove(place.store.engine, "before_cursor_execute", intrude)
    assert done
    assert operation.state == "DONE"
    truths(place)
    return uploads.codes(place, operation)


def test_a_list_that_moved_on_gives_later_numbers(place: Region) -> None:
    enps = [place.person() for _ in range(3)]
    content = uploads.table(*({"enp": enp, "diagnosis": "I10"} for enp in enps))
    assert meanwhile(place, content, LOCK, lambda: place.add(place.person())) == ["ok"] * 3
    assert [seq for seq, *_ in uploads.events(place)] == [1, 2, 3, 4]
    assert len(place.ids()) == 4


def test_an_entry_that_changed_is_decided_on_anew(place: Region) -> None:
    enps = [place.person() for _ in range(2)]
    ids = [place.add(enp, planned_months=("2026-12",)) for enp in enps]
    content = uploads.table(*({"enp": enp, "diagnosis": "I10", "planned_months": "2027-01"} for enp in enps))

    def plan() -> None:
        place.do(place.lists.update_plans, [PlanChange(ids[0], ("2027-05",))])

    assert meanwhile(place, content, LOCK, plan) == ["ok", "ok"]
    assert [entry["planned_months"] for entry in uploads.entries(place)] == [["2027-01"]] * 2
    assert [entry["version"] for entry in uploads.entries(place)] == [3, 2]


def test_an_entry_that_ended_is_refused(place: Region) -> None:
    enp = place.person()
    entry_id = place.add(enp)
    content = uploads.table({"enp": enp, "diagnosis": "I10", "planned_months": "2027-01"})

    def exclude() -> None:
        place.do(place.lists.exclude, [Exclusion(entry_id, date(2026, 11, 18), "6")])

    assert meanwhile(place, content, LOCK, exclude) == ["observation.not-open"]


def test_a_person_taken_meanwhile_is_not_taken_twice(place: Region) -> None:
    enp, other = place.person(), place.person()
    content = uploads.table({"enp": enp, "diagnosis": "I10"}, {"enp": other, "diagnosis": "I10"})
    assert meanwhile(place, content, PUT, lambda: place.add(enp)) == ["ok.same", "ok"]
    enp, other = place.person(), place.person()
    content = uploads.table({"enp": enp, "diagnosis": "I10"}, {"enp": other, "diagnosis": "I10"})
    assert meanwhile(place, content, PUT, lambda: place.add(enp, organisation=OTHER)) == ["observation.elsewhere", "ok"]


def test_an_external_id_taken_meanwhile(place: Region) -> None:
    enp, other = place.person(), place.person()
    content = uploads.table({"enp": enp, "diagnosis": "I10", "external_id": "A-1"})
    assert meanwhile(place, content, PUT, lambda: place.add(other, external_id="A-1")) == ["upload.person-differs"]


def test_a_month_closed_meanwhile_keeps_what_it_held(place: Region) -> None:
    content = uploads.table({"enp": place.person(), "diagnosis": "I10", "observed_since": "2026-10-05"})
    place.add(place.person())

    def close() -> None:
        with place.store.begin() as connection:
            place.lists.close(connection, CLINIC, Month(2026, 10), "test", Plain())

    assert meanwhile(place, content, LOCK, close) == ["ok.closed-month"]


def test_a_person_changed_meanwhile_is_copied_as_it_is_now(place: Region) -> None:
    enp = place.person("Иванова")

    def rename() -> None:
        with place.store.begin() as connection:
            connection.execute(text("UPDATE person SET last_name = 'Петрова' WHERE enp = :enp"), {"enp": enp})

    content = uploads.table({"enp": enp, "diagnosis": "I10"})
    assert meanwhile(place, content, LOCK, rename) == ["ok"]
    assert [entry["last_name"] for entry in uploads.entries(place)] == ["Петрова"]


@pytest.mark.trial
def test_uploads_and_calls_at_once(place: Region) -> None:
    enps = [place.person() for _ in range(120)]
    ids = [place.add(enp) for enp in enps[:40]]
    wrong: list[object] = []
    over = threading.Event()

    def load(organisation: str, start: int) -> None:
        for month in ("2027-01", "2027-02", "2027-03"):
            rows = [
                {"enp": enp, "diagnosis": "I10", "planned_months": month, "external_id": f"{organisation}-{enp}"}
                for enp in enps[start : start + 80]
            ]
            done = uploads.upload(place, uploads.table(*rows), organisation=organisation)
            if done.state != "DONE":
                wrong.append((str(done.state), done.code, done.stage))

    def plan() -> None:
        month = 0
        while not over.is_set():
            month = month % 12 + 1
            items = [PlanChange(id, (f"2027-{month:02d}",)) for id in ids[month::12]]
            place.do(place.lists.update_plans, items)

    threads = [threading.Thread(target=load, args=one) for one in ((CLINIC, 0), (CLINIC, 40), (OTHER, 40))]
    caller = threading.Thread(target=plan)
    for thread in (*threads, caller):
        thread.start()
    for thread in threads:
        thread.join()
    over.set()
    caller.join()
    assert wrong == []
    truths(place)
    observed = [entry["enp"] for name in (CLINIC, OTHER) for entry in uploads.entries(place, name)]
    assert sorted(observed) == sorted(enps)
