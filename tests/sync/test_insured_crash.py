"""A comparison whose worker or PostgreSQL is killed at every stage: all or nothing, a true state, and the next run leaves what
an undisturbed one does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event

from gateway.store.embedded import Server
from gateway.store.engine import Store
from gateway.sync.upstream import wire
from tests.acceptance.conftest import migrated
from tests.sync.upstream_region import Cohort, Hand, by_hand, done

pytestmark = [pytest.mark.trial, pytest.mark.timeout(900)]

_WORKERS = """
import os, signal, sys
from dataclasses import replace
from datetime import UTC, datetime
from sqlalchemy import event
from gateway.domain.clock import Clock
from gateway.operations import works
from gateway.operations.queue import Work
from gateway.settings import Settings
from gateway.store.engine import Store
from gateway.sync import jobs
from gateway.sync.upstream import ferzl, wire
wire._FIRST_PAUSE = 0.001
for line in sys.stdin:
    url, values, operation, kind, point = eval(line)
    process = os.fork()
    if not process:
        store, seen = Store(url, size=6), 0
        def count(*_):
            global seen
            seen += 1
            if seen == point:
                os.kill(os.getpid(), signal.SIGKILL)
        if kind != "end":
            event.listen(store.engine, kind, count)
        clock = Clock(source=lambda: datetime(2026, 11, 20, 9, tzinfo=UTC))
        works.run(Work(store, None, Settings(**values), clock), operation)
        if kind == "end":
            os.kill(os.getpid(), signal.SIGKILL)
        os.write(1, f"{seen} ".encode())
        os._exit(0)
    print(os.waitpid(process, 0)[1], flush=True)
"""
"""A process that begins a worker for each line it reads, and tells how it ended."""

NAMES = (
    "ferzl_url", "ferzl_token", "ferzl_seconds", "ferzl_poll_seconds", "ferzl_concurrency", "brake_share", "brake_shrink",
    "data_dir",
)  # fmt: skip


class Workers:
    """Workers that die at a point of their run: before the n-th ``commit``, before the n-th statement, or at the ``end``."""

    def __init__(self, place: Hand) -> None:
        self._place = place
        self._values = {name: getattr(place.settings, name) for name in NAMES}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WORKERS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip

    def run(self, operation: UUID, kind: str, point: int) -> tuple[int, int]:
        """How the worker ended, and how often it came to a point of the kind."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(repr((self._place.store.url, self._values, str(operation), kind, point)), file=self._process.stdin, flush=True)  # fmt: skip
        *seen, status = self._process.stdout.readline().split()
        return int(status), int(seen[0]) if seen else 0

    def stop(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


@pytest.fixture
def workers(store, owner) -> Iterator[tuple[Hand, Workers]]:
    with by_hand(store, owner) as place:
        made = Workers(place)
        yield place, made
        made.stop()


def true_state(place: Hand, operation: UUID, cohort: Cohort, before: list[Any], after: list[Any], case: Any) -> str:
    """Operation, comparison and lists agree; the state of the operation."""
    state = str(place.value("SELECT state FROM operation WHERE id = :id", id=operation))
    if state == "DONE":
        assert (place.reconcile(operation)["state"], cohort.lines(place)) == ("APPLIED", after), case
    else:
        assert state in ("QUEUED", "RUNNING"), case
        assert (place.reconcile(operation)["state"], cohort.lines(place)) == ("GATHERING", before), case
    return state


def test_a_worker_killed_at_every_stage(workers: tuple[Hand, Workers]) -> None:
    place, killed = workers
    cohorts = iter([Cohort.made(place) for _ in range(90)])
    place.begin()
    clean: dict[str, int] = {}
    before = after = []
    for kind in ("commit", "before_cursor_execute"):
        cohort = next(cohorts)
        before = cohort.lines(place)
        cohort.live(place)
        operation = place.request()
        status, clean[kind] = killed.run(operation, kind, -1)
        assert (status, place.value("SELECT state FROM operation WHERE id = :id", id=operation)) == (0, "DONE")
        after = cohort.lines(place)
    assert before != after and clean["commit"] > 12 and clean["before_cursor_execute"] > 100
    statements = clean["before_cursor_execute"]
    points = [("commit", n) for n in range(1, clean["commit"] + 1)]
    points += [("before_cursor_execute", n) for n in range(5, statements, statements // 16)]
    points += [("end", 0)]
    states = []
    for case, cohort in zip(points, cohorts, strict=False):
        cohort.live(place)
        operation = place.request()
        status, _ = killed.run(operation, *case)
        assert status == signal.SIGKILL, case
        states.append(true_state(place, operation, cohort, before, after, case))
        assert place.run(operation).state == "DONE", case
        assert true_state(place, operation, cohort, before, after, case) == "DONE"
    assert len(states) == len(points)
    assert states[-1] == "DONE" and states[clean["commit"] - 1] == "RUNNING"
    assert done(place.compare()) == {}


def test_postgresql_killed_at_every_stage(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the database server loses with its crash, the extract among it, is asked for again."""
    monkeypatch.setattr(wire, "_FIRST_PAUSE", 0.001)
    with Server(folder / "data") as server:
        name = migrated(server)
        store, owner = Store(server.url(name), size=6), Store(server.owner_url_of(name), size=6)
        with by_hand(store, owner) as place:
            cohorts = [Cohort.made(place) for _ in range(11)]
            place.begin()
            before, after, statements = cohorts[0].lines(place), [], 0
            loaded = 0
            for number, cohort in enumerate(cohorts):
                cohort.live(place)
                operation = place.request()
                point, count = number * statements // (len(cohorts) - 1), 0

                def kill(*_: Any, point: int = point) -> None:
                    nonlocal count
                    count += 1
                    if count == point:
                        os.kill(int((server.data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
                        time.sleep(0.3)

                event.listen(store.engine, "before_cursor_execute", kill)
                try:
                    place.run(operation)
                except Exception:
                    assert number
                event.remove(store.engine, "before_cursor_execute", kill)
                if not number:
                    after, statements = cohort.lines(place), count
                    assert before != after and statements > 100
                    continue
                server.start()
                store.engine.dispose()
                owner.engine.dispose()
                place.do("DELETE FROM upstream_state")
                state = true_state(place, operation, cohort, before, after, point)
                loaded += "extract" in place.value("SELECT progress FROM operation WHERE id = :id", id=operation)
                if state != "DONE":
                    assert place.value("SELECT count(*) FROM attachment_line") == 0
                    assert place.run(operation).state == "DONE"
                assert true_state(place, operation, cohort, before, after, point) == "DONE"
            assert loaded > 2
            assert done(place.compare()) == {}
        store.close()
        owner.close()
