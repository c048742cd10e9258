"""Registers whose worker or PostgreSQL is killed at every stage: packets are taken whole or not at all, and the run that goes
on leaves exactly what an undisturbed one does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from sqlalchemy import event, text

from gateway.domain import persons
from gateway.operations import works
from gateway.settings import Settings
from gateway.store.embedded import Server, create_database
from gateway.store.engine import Store
from gateway.store.place import Place
from gateway.sync import marks
from gateway.sync.marks import staging, taking
from gateway.upgrade import upgrade
from tests.lists import uploads
from tests.lists.region import CLINIC, OTHER, Region, region
from tests.sync.registers import Bill, Register, Who
from tests.sync.test_marks import PERIOD, put, run

pytestmark = pytest.mark.trial

TODAY = date(2026, 11, 18)
CASES, PEOPLE = 5, 3
"""Portions of reading and of taking: each packet has several."""

_CHILD = """
import itertools, os, signal, sys
from datetime import date
from sqlalchemy import event
from gateway.operations import works
from gateway.store.engine import Store
from gateway.sync.marks import staging, taking
from tests.lists import uploads
from tests.lists.region import region
url, operation, kind, stop = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
staging.PORTION, taking.PORTION = int(sys.argv[5]), int(sys.argv[6])
store = Store(url, size=4)
place = region(store, date(2026, 11, 18), itertools.count(1))
seen = 0
def count(*_):
    global seen
    seen += 1
    if seen == stop:
        os.kill(os.getpid(), signal.SIGKILL)
event.listen(store.engine, kind, count)
works.run(uploads.work_of(place), operation)
"""


def _prepared(place: Region) -> UUID:
    """A mark that waits for its person, who is known by now, and packets of two clinics, each with another end: taken, the
    same again, correcting, refused; the operation that is to take them."""
    early = place.at(date(2026, 9, 1))
    aside = Who(place.person("Поздний"))
    _rename(place, aside.enp, "4000000000000003")
    run(place, put(place, Register([Bill(aside, "C50.1", 2, services=())], number=9, account="9", kind="C")))
    _rename(place, "4000000000000003", aside.enp)
    bills = []
    for number in range(14):
        who = Who(place.person())
        if number % 4 in (1, 2):
            early.add(who.enp)
        if number % 4 == 3:
            place.add(who.enp, organisation=OTHER)
        mark = 4 if number % 4 == 2 else 2
        bills.append(Bill(who, mark=mark, id=str(number), services=(("B04.015.003", "I10"),)))
    unknown = Bill(Who(persons.make_enp(40, date(1990, 1, 1), 2, 777)), id="99")
    put(place, first := Register([*bills, unknown]), CLINIC)
    put(place, first, CLINIC, f"{first.name}.zip")
    right = [Bill(one.who, "I20.8", 2, id=one.id, corrected=True) for one in bills[::3]]
    put(place, first.again(*right, number=2, account="2", first=("1", 2026, 10)), CLINIC)
    put(place, first.again(number=3), OTHER)
    people = [place.person(attached=OTHER) for _ in range(6)]
    disp = [Bill(Who(enp), mark=2, id=str(n), clinic=OTHER, others=(("E11.9", 2),)) for n, enp in enumerate(people)]
    put(place, Register(disp, kind="DP", clinic=OTHER), OTHER)
    with place.store.begin() as connection:
        return marks.start(connection, PERIOD, login="оператор", trace=uuid4().hex)


def _rename(place: Region, enp: str, other: str) -> None:
    with place.store.begin() as connection:
        connection.execute(text("UPDATE person SET enp = :other WHERE enp = :enp"), {"enp": enp, "other": other})


_SEEN = (
    "SELECT enp, version, organisation, seq, diagnosis, status, excluded_on, source, observed_since FROM entry ORDER BY organisation, seq",
    "SELECT organisation, seq, version, kind, cause, effective_on, details, before - 'id' - 'changed_at' FROM entry_event ORDER BY 1, 2",
    "SELECT organisation, seq FROM list_ledger ORDER BY 1",
    "SELECT s.diagnosis, s.organisation, s.since, s.until, s.cause_in, s.cause_out, e.enp FROM observation_segment s"
    " JOIN entry e ON e.id = s.entry_id ORDER BY e.enp, s.since, s.id",
    "SELECT f.name, m.case_id, m.episode, m.carrier, m.code, m.organisation, m.enp, m.person_id, m.diagnosis, m.marked_on,"
    " m.step, m.outcome, e.enp, e.diagnosis, m.taken_back_at IS NULL, m.taken_back_by, m.taken_back_reason FROM mark m"
    " JOIN mark_file f ON f.id = m.file_id LEFT JOIN entry e ON e.id = m.entry_id ORDER BY m.id",
    "SELECT f.name, c.case_id, c.episode, c.kind, c.service, c.organisation, c.enp, c.person_id, c.diagnosis, c.cared_on,"
    " c.taken_back_at IS NULL FROM care_event c JOIN mark_file f ON f.id = c.file_id ORDER BY 1, 2, 3, 4, 5, 9",
    "SELECT name, kind, state, code, organisation, account, file_id, counts FROM mark_file ORDER BY id",
    "SELECT name, kind, organisation, mailbox, size FROM file WHERE ready_at IS NOT NULL ORDER BY name, organisation, kind",
    "SELECT operation, organisation, outcome, code, records, persons, details - 'operation' FROM audit_record ORDER BY id",
)  # fmt: skip

Seen = list[list[Any]]


def seen(store: Store) -> Seen:
    """All that the work leaves, but for what an attempt tells of itself."""
    with store.begin() as connection:
        return [[tuple(map(str, row)) for row in connection.execute(text(query))] for query in _SEEN]


@pytest.fixture(autouse=True)
def portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "PORTION", CASES)
    monkeypatch.setattr(taking, "PORTION", PEOPLE)


def undisturbed(place: Region, operation: UUID) -> tuple[list[Seen], int, int]:
    """What stands before each commit of a clean run and at its end; how many statements and commits it takes."""
    counted: list[int] = []
    stood: list[Seen] = []
    beside = Store(place.store.url, size=2)
    event.listen(place.store.engine, "before_cursor_execute", lambda *_: counted.append(1))
    event.listen(place.store.engine, "commit", lambda _: stood.append(seen(beside)))
    works.run(uploads.work_of(place), str(operation))
    statements, commits = len(counted), len(stood)
    assert uploads.state(place, operation).state == "DONE"
    stood.append(seen(beside))
    beside.close()
    states = [row[2:4] for row in stood[-1][6]]
    taken = ("TAKEN", "None")
    assert states == [taken, taken, ("SAME", "None"), taken, ("REFUSED", "mark.organisation"), taken]
    assert {row[10] for row in stood[-1][4]} == {"ADD", "CONFIRM", "END", "REFUSE", "ASIDE"}
    assert len({str(one) for one in stood}) == 7  # nothing yet, what waited, and each of five packets
    return stood, statements, commits


def test_a_killed_worker_leaves_whole_packets_and_the_next_run_goes_on(
    store: Store, database: str, make_database: Callable[..., str], server: Server
) -> None:
    operation = _prepared(region(store, TODAY))
    store.close()

    def copy() -> tuple[str, Region]:
        url = server.url(make_database(database))
        return url, region(Store(url, size=4), TODAY, iter(()))  # type: ignore[arg-type]

    _, place = copy()
    stood, statements, commits = undisturbed(place, operation)
    place.store.close()
    points = [("before_cursor_execute", n) for n in range(3, statements, max(1, statements // 8))]
    points += [("commit", n) for n in range(1, commits + 1, max(1, commits // 4))]
    points += [("before_cursor_execute", statements), ("commit", commits)]
    killed, parts = 0, set()
    for kind, point in points:
        url, place = copy()
        child = subprocess.run(
            [sys.executable, "-c", _CHILD, url, str(operation), kind, str(point), str(CASES), str(PEOPLE)],
            capture_output=True, cwd=Path(__file__).parents[2], check=False,
        )  # fmt: skip
        assert child.returncode == -signal.SIGKILL, (kind, point, child.stderr.decode())
        found = uploads.state(place, operation)
        left = seen(place.store)
        assert left in stood, (kind, point)
        assert found.state in ("QUEUED", "RUNNING")
        parts.add(stood.index(left))
        killed += 1
        works.run(uploads.work_of(place), str(operation))
        assert uploads.state(place, operation).state == "DONE", (kind, point)
        assert seen(place.store) == stood[-1], (kind, point)
        place.store.close()
    assert killed == len(points)
    assert len(parts) >= 4


@pytest.fixture
def durable(folder: Path) -> Iterator[Server]:
    with Server(folder / "data") as server:
        yield server


def test_a_killed_postgresql_leaves_whole_packets(durable: Server) -> None:
    with psycopg.connect(durable.admin_url(), autocommit=True) as admin:
        create_database(admin, "prepared")
    upgrade(Place(durable.url("prepared"), durable.owner_url_of("prepared")), Settings())
    store = Store(durable.url("prepared"), size=4)
    operation = _prepared(region(store, TODAY))
    store.close()
    stood: list[Seen] = []
    statements, points = 0, 4
    for number in range(points + 1):
        name = f"copy_{number}"
        with psycopg.connect(durable.admin_url(), autocommit=True) as admin:
            create_database(admin, name, "prepared")
        store = Store(durable.url(name), size=4)
        place = region(store, TODAY, iter(()))  # type: ignore[arg-type]
        if not number:
            stood, statements, _ = undisturbed(place, operation)
            store.close()
            continue
        point, count = number * statements // (points + 1), 0

        def kill(*_: Any, point: int = point) -> None:
            nonlocal count
            count += 1
            if count == point:
                os.kill(int((durable.data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
                time.sleep(0.3)

        event.listen(store.engine, "before_cursor_execute", kill)
        with pytest.raises(Exception, match=r"."):
            works.run(uploads.work_of(place), str(operation))
        event.remove(store.engine, "before_cursor_execute", kill)
        durable.start()
        store.engine.dispose()
        assert uploads.state(place, operation).state in ("QUEUED", "RUNNING")
        assert seen(store) in stood
        works.run(uploads.work_of(place), str(operation))
        assert uploads.state(place, operation).state == "DONE"
        assert seen(store) == stood[-1]
        store.close()
