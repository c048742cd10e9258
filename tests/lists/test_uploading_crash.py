"""Uploads whose worker or PostgreSQL is killed, or that are aborted, at every stage: all or nothing, a true state, and the
next run leaves exactly what an undisturbed one does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import event, text

from gateway.domain import persons
from gateway.lists import intake
from gateway.lists.model import Exclusion
from gateway.operations import works
from gateway.settings import Settings
from gateway.store.embedded import Server, create_database
from gateway.store.engine import Store
from gateway.store.place import Place
from gateway.upgrade import upgrade
from tests.lists import uploads
from tests.lists.region import OTHER, Region, region
from tests.lists.test_uploading import DAY

pytestmark = pytest.mark.trial

PORTION = 15

_CHILD = """
import os, signal, sys
from datetime import date
from sqlalchemy import event
from gateway.lists import intake
from gateway.operations import works
from gateway.store.engine import Store
from tests.lists import uploads
from tests.lists.region import region
import itertools
url, operation, kind, stop = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
intake.PORTION = int(sys.argv[5])
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
print(seen)
"""


def _prepared(place: Region) -> UUID:
    """A list with entries of every kind and a file that meets each of them; the operation that waits to be run."""
    rows: list[dict[str, Any]] = []
    for number in range(60):
        enp = place.person(f"Лицо{chr(1072 + number % 30)}")
        row: dict[str, Any] = {"enp": enp, "diagnosis": "I20.8", "external_id": f"A-{number}"}
        kind = number % 8
        if kind in (1, 2, 3, 4):
            place.add(
                enp, "I20.8", external_id=f"A-{number}", planned_months=("2026-12",), observed_since=DAY.replace(day=1)
            )
        if kind == 1:
            row["planned_months"] = "2027-01"
        if kind == 2:
            row |= {"excluded_on": "2026-11-10", "exclusion_reason": "4"}
        if kind == 3:
            row |= {"diagnosis": "I20.1", "planned_months": "2027-02"}
        if kind == 5:
            place.add(enp, "I20.8", organisation=OTHER)
        if kind == 6:
            row |= {"observed_since": "2026-09-01", "excluded_on": "2026-11-10", "exclusion_reason": "1"}
        if kind == 7:
            row["enp"] = persons.make_enp(40, DAY.replace(year=1990), 2, number)
        rows.append(row)
    last = place.add(place.person())
    place.do(place.lists.exclude, [Exclusion(last, DAY, "6")])
    return uploads.request(place, uploads.put(place, uploads.table(*rows)))


_SEEN = (
    "SELECT external_id, enp, version, seq, diagnosis, planned_months, status, excluded_on, source FROM entry ORDER BY organisation, seq",
    "SELECT organisation, seq, version, kind, cause, effective_on, details - 'operation' FROM entry_event ORDER BY 1, 2",
    "SELECT organisation, seq FROM list_ledger ORDER BY 1",
    "SELECT s.diagnosis, s.since, s.until, s.cause_in, s.cause_out, e.enp FROM observation_segment s JOIN entry e"
    " ON e.id = s.entry_id ORDER BY e.enp, s.since, s.id",
    "SELECT number, enp, settled_at IS NULL FROM list_aside ORDER BY number",
    "SELECT name, kind, mailbox FROM file WHERE ready_at IS NOT NULL ORDER BY name",
    "SELECT operation, outcome, records, details->'items' FROM audit_record ORDER BY id",
    "SELECT state FROM operation",
)


def seen(store: Store) -> list[list[Any]]:
    with store.begin() as connection:
        return [[tuple(map(str, row)) for row in connection.execute(text(query))] for query in _SEEN]


@pytest.fixture
def prepared(place: Region, database: str) -> Iterator[tuple[str, UUID, list[list[Any]]]]:
    """The name of a database where an upload waits, and what stands in it."""
    operation = _prepared(place)
    before = seen(place.store)
    place.store.close()
    yield database, operation, before


Copies = Callable[[], tuple[str, Region]]


@pytest.fixture
def copies(prepared: tuple[str, UUID, Any], make_database: Callable[..., str], server: Any) -> Iterator[Copies]:
    stores: list[Store] = []

    def copy() -> tuple[str, Region]:
        for store in stores:
            store.close()
        url = server.url(make_database(prepared[0]))
        stores.append(Store(url, size=6))
        return url, region(stores[-1], DAY, iter(range(1000, 2000)))  # type: ignore[arg-type]

    yield copy
    for store in stores:
        store.close()


def _undisturbed(copies: Copies, operation: UUID, monkeypatch: pytest.MonkeyPatch) -> tuple[list[list[Any]], int]:
    """What a clean run leaves, and how many statements it takes."""
    monkeypatch.setattr(intake, "PORTION", PORTION)
    _, place = copies()
    counted: list[int] = []
    event.listen(place.store.engine, "before_cursor_execute", lambda *_: counted.append(1))
    works.run(uploads.work_of(place), str(operation))
    assert uploads.state(place, operation).state == "DONE"
    statements = len(counted)
    return seen(place.store), statements


def test_a_killed_worker_leaves_all_or_nothing_and_the_next_run_finishes(
    prepared: tuple[str, UUID, list[list[Any]]], copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, operation, before = prepared
    clean, statements = _undisturbed(copies, operation, monkeypatch)
    points = [("before_cursor_execute", n) for n in range(3, statements + 1, max(1, statements // 14))]
    points += [("commit", n) for n in (1, 2, 3)] + [("before_cursor_execute", statements)]
    for kind, point in points:
        url, place = copies()
        child = subprocess.run(
            [sys.executable, "-c", _CHILD, url, str(operation), kind, str(point), str(PORTION)],
            capture_output=True, cwd=Path(__file__).parents[2], check=False,
        )  # fmt: skip
        assert child.returncode in (0, -signal.SIGKILL), child.stderr.decode()
        found = uploads.state(place, operation)
        if found.state == "DONE":
            assert seen(place.store) == clean, (kind, point)
        else:
            assert found.state in ("QUEUED", "RUNNING")
            assert seen(place.store)[:-1] == before[:-1], (kind, point)
        works.run(uploads.work_of(place), str(operation))
        assert uploads.state(place, operation).state == "DONE", (kind, point)
        assert seen(place.store) == clean, (kind, point)


def _abort(url: str) -> None:
    """In a thread of its own: the run may hold the row of the operation just now."""
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE operation SET abort_at = now(), abort_by = 'test'")


def test_an_abort_at_every_stage_leaves_all_or_nothing(
    prepared: tuple[str, UUID, list[list[Any]]], copies: Copies, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, operation, before = prepared
    clean, statements = _undisturbed(copies, operation, monkeypatch)
    states = []
    for point in range(4, statements + 1, max(1, statements // 9)):
        url, place = copies()
        count = 0

        def abort(*_: Any, url: str = url, point: int = point) -> None:
            nonlocal count
            count += 1
            if count == point:
                threading.Thread(target=_abort, args=[url]).start()
                time.sleep(1.2)

        event.listen(place.store.engine, "before_cursor_execute", abort)
        works.run(uploads.work_of(place), str(operation))
        event.remove(place.store.engine, "before_cursor_execute", abort)
        states.append(uploads.state(place, operation).state)
        if states[-1] == "DONE":
            assert seen(place.store) == clean
        else:
            assert states[-1] == "ABORTED"
            assert seen(place.store)[:-1] == before[:-1]
    assert states.count("ABORTED") >= len(states) - 1


def test_a_killed_postgresql_leaves_all_or_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "PORTION", PORTION)
    with Server(folder / "data") as server:
        with psycopg.connect(server.admin_url(), autocommit=True) as admin:
            create_database(admin, "prepared")
        upgrade(Place(server.url("prepared"), server.owner_url_of("prepared")), Settings())
        store = Store(server.url("prepared"), size=6)
        operation = _prepared(region(store, DAY))
        before = seen(store)
        store.close()
        clean: list[list[Any]] = []
        statements = 0
        for number in range(7):
            name = f"copy_{number}"
            with psycopg.connect(server.admin_url(), autocommit=True) as admin:
                create_database(admin, name, "prepared")
            store = Store(server.url(name), size=6)
            place = region(store, DAY, iter(range(1000, 2000)))  # type: ignore[arg-type]
            point, count = number * statements // 6, 0

            def kill(*_: Any, point: int = point) -> None:
                nonlocal count
                count += 1
                if count == point:
                    os.kill(int((server.data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
                    time.sleep(0.3)

            event.listen(store.engine, "before_cursor_execute", kill)
            try:
                works.run(uploads.work_of(place), str(operation))
            except Exception:
                assert number
            event.remove(store.engine, "before_cursor_execute", kill)
            if not number:
                clean, statements = seen(store), count
            else:
                server.start()
                store.engine.dispose()
                found = uploads.state(place, operation)
                if found.state != "DONE":
                    assert seen(store)[:-1] == before[:-1]
                    works.run(uploads.work_of(place), str(operation))
                assert uploads.state(place, operation).state == "DONE"
                assert seen(store) == clean
            store.close()
