"""Workers as processes: killed, frozen, cut off from their database, and several of them on one database."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from gateway.operations import works
from gateway.operations.model import Operation, Owner, State
from gateway.operations.works import Body, Run
from gateway.store.embedded import Server
from gateway.store.engine import Store
from gateway.store.failures import renew
from tests.acceptance.conftest import migrated

COUNT = 60

WORKER = """
import sys, time
from gateway.domain.clock import Clock
from gateway.operations import queue, works
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
works._STRAY_SECONDS = 3.0
queue.rescue.__defaults__ = (3.0,)
print("ready", flush=True)
work = queue.Work(Store(sys.argv[1], size=12), None, Settings(data_dir=sys.argv[2]), Clock())
queue.Worker(work, concurrency=2).run()
print("over", flush=True)
"""
"""A worker that finds the dead sooner than in earnest."""

Begin = Callable[..., UUID]


@pytest.fixture
def begin(store: Store, owner: Store, monkeypatch: pytest.MonkeyPatch) -> Begin:
    prepare(owner)
    monkeypatch.setattr(works, "BODIES", {"COUNT": Body("COUNT", "Счёт", unused)})
    return lambda **values: start(store, **values)


def unused(run: Run) -> None:
    raise AssertionError


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


def workers_of(store: Store) -> set[str]:
    with store.begin() as connection:
        return set(connection.execute(text("SELECT DISTINCT by FROM seen")).scalars())


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
def test_two_workers_share_the_work_and_one_goes_on_alone(store: Store, begin: Begin, tmp_path: Path) -> None:
    """Two machines, as far as their data folders tell; the one killed leaves nothing undone and nothing done twice."""
    works_begun = [begin() for _ in range(6)]
    with worker(store.url, tmp_path / "one") as first, worker(store.url, tmp_path / "two"):
        for operation_id in works_begun[:4]:
            until(store, operation_id, lambda one: one.state is not State.QUEUED)
        until(store, works_begun[0], lambda one: (one.done or 0) > 5)
        assert len(workers_of(store)) == 2
        first.kill()
        first.wait()
        for operation_id in works_begun:
            assert ended(store, operation_id, 90).state is State.DONE
            assert seen(store, operation_id) == list(range(COUNT))
    assert list((tmp_path / "two" / "work").iterdir()) == []


@pytest.mark.trial
def test_frozen_worker_that_wakes_writes_nothing(store: Store, begin: Begin, tmp_path: Path) -> None:
    operation_id = begin(pause=0.2)
    with worker(store.url, tmp_path / "one") as first:
        until(store, operation_id, lambda one: (one.done or 0) > 3)
        os.kill(first.pid, signal.SIGSTOP)
        with worker(store.url, tmp_path / "two"):
            done = ended(store, operation_id, 90)
            assert done.state is State.DONE
            assert seen(store, operation_id) == list(range(COUNT))
            other = begin(pause=0.2)
            until(store, other, lambda one: (one.done or 0) > 3)
            os.kill(first.pid, signal.SIGCONT)
            assert ended(store, other).state is State.DONE
            assert seen(store, other) == list(range(COUNT))
            until(store, other, lambda _: statuses(store) == {"succeeded"})
        assert now(store, operation_id) == done


@pytest.mark.trial
def test_restart_of_postgresql_under_a_run(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(works, "BODIES", {"COUNT": Body("COUNT", "Счёт", unused)})
    with Server(folder / "data") as server:
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
