"""Workers as processes: killed, frozen, cut off from their database, and several of them on one database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from gateway.access.model import Call, Caller, ClientKind
from gateway.lists.model import Choice, NewEntry
from gateway.operations import files, works
from gateway.operations.model import Operation, Owner, State
from gateway.operations.works import Body, Run
from gateway.store.embedded import Server
from gateway.store.engine import Store
from gateway.store.failures import renew
from tests.acceptance.conftest import migrated
from tests.lists.region import CLINIC, region
from tests.operations.running import only

COUNT = 60

WORKER = """
import sys, time
from gateway.domain.clock import Clock
from gateway.operations import queue, runs, works
from gateway.settings import Settings
from gateway.store.engine import Store
from sqlalchemy import text

def count(run):
    run.stage("Счёт", run.parameters["count"])
    (run.folder / "scratch").write_text(run.work.settings.data_dir)
    for number in range(run.progress.get("next", 0), run.parameters["count"]):
        with run.begin() as connection:
            connection.execute(
                text("INSERT INTO seen (what, by, number) VALUES (:what, :by, :number)"),
                {"what": str(run.id), "by": run.work.settings.data_dir, "number": number},
            )
            run.progress["next"] = number + 1
            time.sleep(run.parameters["pause"])
        run.advance(number + 1)

works.operation("COUNT", "Счёт")(count)
queue.STALLED_SECONDS = queue._RESCUE_SECONDS = 3.0
queue._BEAT_SECONDS = 0.5
runs._STRAY_SECONDS = 3.0
queue.rescue.__defaults__ = (3.0,)
print("ready", flush=True)
work = queue.Work(Store(sys.argv[1], size=12), None, Settings(data_dir=sys.argv[2]), Clock())
queue.Worker(work, concurrency=2).run()
print("over", flush=True)
"""
"""A worker that finds the dead sooner than in earnest."""

Begin = Callable[..., UUID]


@pytest.fixture
def begin(store: Store, owner: Store) -> Iterator[Begin]:
    prepare(owner)
    with only({"COUNT": COUNTING}):
        yield lambda **values: start(store, **values)


def unused(run: Run) -> None:
    raise AssertionError


COUNTING = Body("COUNT", "Счёт", unused)
"""Here it is only begun."""


def prepare(owner: Store) -> None:
    with owner.begin() as connection:
        connection.execute(text("CREATE TABLE seen (what text, by text, number int, PRIMARY KEY (what, number))"))
        connection.execute(text("GRANT ALL ON seen TO dn_app"))


def start(store: Store, pause: float = 0.05, count: int = COUNT) -> UUID:
    with store.begin() as connection:
        return works.start(
            connection,
            "COUNT",
            {"count": count, "pause": pause},
            owner=Owner(),
            client_id=None,
            login="test",
            trace="",
        )


def now(store: Store, operation_id: UUID) -> Operation:
    with store.begin() as connection:
        found = works.get(connection, operation_id)
    assert found is not None
    return found


def ended(store: Store, operation_id: UUID, seconds: float = 60) -> Operation:
    return until(store, operation_id, lambda one: one.state.ended, seconds)


def until(store: Store, operation_id: UUID, right: Callable[[Operation], bool], seconds: float = 60) -> Operation:
    limit = time.monotonic() + seconds
    found: Operation | None = None
    while time.monotonic() < limit:
        try:
            if right(found := now(store, operation_id)):
                return found
        except SQLAlchemyError:
            renew(store)
        time.sleep(0.05)
    raise AssertionError(f"has not come: {found}")


def seen(store: Store, operation_id: UUID) -> list[int]:
    with store.begin() as connection:
        return list(
            connection.execute(
                text("SELECT number FROM seen WHERE what = :id ORDER BY number"), {"id": str(operation_id)}
            ).scalars()
        )


def statuses(store: Store) -> set[str]:
    with store.begin() as connection:
        return set(connection.execute(text("SELECT status::text FROM procrastinate_jobs")).scalars())


@contextmanager
def worker(url: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    folder.mkdir(exist_ok=True)
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, url, str(folder)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.trial
def test_frozen_worker_that_wakes_writes_nothing(store: Store, begin: Begin, tmp_path: Path) -> None:
    operation_id = begin(pause=0.2, count=25)
    with worker(store.url, tmp_path / "one") as first:
        until(store, operation_id, lambda one: (one.done or 0) > 3)
        os.kill(first.pid, signal.SIGSTOP)
        with worker(store.url, tmp_path / "two"):
            done = ended(store, operation_id, 90)
            assert done.state is State.DONE
            assert seen(store, operation_id) == list(range(25))
            other = begin(pause=0.2, count=25)
            until(store, other, lambda one: (one.done or 0) > 3)
            os.kill(first.pid, signal.SIGCONT)
            assert ended(store, other).state is State.DONE
            assert seen(store, other) == list(range(25))
            until(store, other, lambda _: statuses(store) == {"succeeded"})
        assert now(store, operation_id) == done


@pytest.mark.trial
def test_restart_of_postgresql_under_a_run(folder: Path, tmp_path: Path) -> None:
    with Server(folder / "data") as server, only({"COUNT": COUNTING}):
        name = migrated(server)
        owner, store = Store(server.owner_url_of(name)), Store(server.url(name))
        prepare(owner)
        operation_id = start(store, 0.1)
        with worker(server.url(name), tmp_path / "one") as process:
            until(store, operation_id, lambda one: (one.done or 0) > 5)
            os.kill(int((server.data / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
            time.sleep(2)
            server.start()
            assert ended(store, operation_id, 120).state is State.DONE
            assert seen(store, operation_id) == list(range(COUNT))
            assert process.poll() is None
            with store.begin() as connection:
                lines = [line.text for line in works.lines(connection, operation_id)]
            assert "Продолжена" in lines
        owner.close()
        store.close()


@pytest.mark.trial
def test_worker_told_to_end_leaves_long_work_to_another(store: Store, begin: Begin, tmp_path: Path) -> None:
    operation_id = begin(pause=1.0)
    with worker(store.url, tmp_path / "one") as first:
        until(store, operation_id, lambda one: (one.done or 0) > 2)
        first.send_signal(signal.SIGTERM)
        assert first.stdout is not None
        assert first.stdout.readline() == "over\n"
        assert first.wait() == 0
    found = now(store, operation_id)
    assert found.state is State.QUEUED
    done = len(seen(store, operation_id))
    with worker(store.url, tmp_path / "two"):
        until(store, operation_id, lambda one: (one.done or 0) > done)
        with store.begin() as connection:
            works.request_abort(connection, operation_id, "test")
        assert ended(store, operation_id).state is State.ABORTED


@contextmanager
def real_worker(url: str, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The product's own command; ``folder`` is its machine's data folder."""
    environment = {**os.environ, "DN_GATEWAY_DATABASE_URL": url, "DN_GATEWAY_DATA_DIR": str(folder)}
    with (folder.parent / f"{folder.name}.log").open("wb") as log:
        command = [sys.executable, "-m", "gateway.cli", "worker", "--concurrency", "1"]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.kill()
            process.wait()


@pytest.mark.trial
def test_two_real_workers_share_exports_and_one_goes_on_alone(store: Store, tmp_path: Path) -> None:
    place = region(store, date(2026, 11, 18))
    people = [place.person() for _ in range(1500)]
    for first in range(0, len(people), 500):
        place.do(
            place.lists.add,
            [NewEntry(enp, "I10", planned_months=("2026-11",)) for enp in people[first : first + 500]],
        )
    begun = []
    for _ in range(3):
        with store.begin() as connection:
            caller = Caller(0, "operator", ClientKind.FUND, frozenset(), None, frozenset())
            call = Call(caller=caller, service="operator", operation="ExportList", trace="t", at=datetime.now(UTC))
            choice = Choice(2026, "OBSERVED", month=11)
            begun.append(place.lists.request_export(connection, call, CLINIC, choice, records_per_file=1, format="CSV"))
    with real_worker(store.url, tmp_path / "one") as first_worker, real_worker(store.url, tmp_path / "two"):
        for operation_id in begun[:2]:
            until(store, operation_id, lambda one: (one.done or 0) > 3)
        first_worker.kill()
        first_worker.wait()
        for operation_id in begun:
            assert ended(store, operation_id, 200).state is State.DONE
            with store.begin() as connection:
                made = files.of_operation(connection, operation_id)
                rows = [files.read(connection, one.file_id, 0, one.size).splitlines()[-1] for one in made]
            assert len(rows) == len(set(rows)) == len(people)
            assert len({one.name for one in made}) == len(people)
    with store.begin() as connection:
        continued = connection.execute(
            text("SELECT count(DISTINCT operation_id) FROM operation_line WHERE text = 'Продолжена'")
        ).scalar_one()
    assert continued == 1
