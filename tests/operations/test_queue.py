"""Jobs: with their transaction or not at all, once, and again when their worker is gone."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from gateway.domain.clock import Clock
from gateway.operations import housekeeping, queries, queue
from gateway.operations.queue import Task, Work, Worker
from gateway.settings import Settings

SEEN = "CREATE TABLE seen (n bigint GENERATED ALWAYS AS IDENTITY, what text)"


@pytest.fixture
def work(store, owner) -> Work:
    with owner.begin() as connection:
        connection.execute(text(SEEN))
        connection.execute(text("GRANT ALL ON seen TO dn_app"))
    return Work(store=store, owner=owner, settings=Settings(), clock=Clock())


def note(work: Work, what: str = "") -> None:
    with work.store.begin() as connection:
        connection.execute(text("INSERT INTO seen (what) VALUES (:what)"), {"what": what})


def fail(work: Work) -> None:
    note(work, "failed")
    raise RuntimeError("as meant")


def seen(work: Work) -> list[str]:
    with work.store.begin() as connection:
        return list(connection.execute(text("SELECT what FROM seen ORDER BY n")).scalars())


def statuses(work: Work) -> list[tuple[str, int]]:
    with work.store.begin() as connection:
        return [(job.status, job.attempts) for job in queries.last_jobs(connection, 50)]


@pytest.fixture(autouse=True)
def tasks(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Task]]:
    """The tasks of this module, beside those of the product."""
    own = {
        **queue.TASKS,
        "test.note": Task("test.note", note, 5),
        "test.fail": Task("test.fail", fail, 1),
    }
    monkeypatch.setattr(queue, "TASKS", own)
    yield own


def test_job_of_a_committed_transaction_runs_once(work: Work) -> None:
    with work.store.begin() as connection:
        assert queue.defer(connection, "test.note", what="a") is not None
    Worker(work).run_waiting()
    Worker(work).run_waiting()
    assert seen(work) == ["a"]
    assert statuses(work) == [("succeeded", 1)]


def test_job_of_a_rolled_back_transaction_does_not_exist(work: Work) -> None:
    with pytest.raises(RuntimeError), work.store.begin() as connection:
        queue.defer(connection, "test.note", what="a")
        raise RuntimeError
    Worker(work).run_waiting()
    assert seen(work) == []


def test_single_job_waits_once(work: Work) -> None:
    with work.store.begin() as connection:
        assert queue.defer(connection, "test.note", alone="x", single=True, what="a") is not None
        assert queue.defer(connection, "test.note", alone="x", single=True, what="b") is None
        note(work, "the transaction goes on")
    Worker(work).run_waiting()
    assert seen(work) == ["the transaction goes on", "a"]


def test_unknown_task_is_not_deferred(work: Work) -> None:
    with work.store.begin() as connection, pytest.raises(KeyError):
        queue.defer(connection, "test.nothing")


def test_name_of_a_task_is_taken_once(tasks) -> None:
    with pytest.raises(ValueError):
        queue.task("test.note")(note)


def test_failed_job_is_kept_as_failed(work: Work) -> None:
    with work.store.begin() as connection:
        queue.defer(connection, "test.fail")
    Worker(work).run_waiting()
    assert seen(work) == ["failed"]
    assert statuses(work) == [("failed", 1)]


def test_failed_job_is_repeated(work: Work, tasks) -> None:
    tasks["test.fail"] = Task("test.fail", fail, 3)
    with work.store.begin() as connection:
        queue.defer(connection, "test.fail")
    Worker(work).run_waiting()
    assert statuses(work) == [("todo", 1)]


def start_dead_job(work: Work, seconds: int) -> None:
    """Leaves a job as a worker leaves it that died ``seconds`` ago."""
    with work.store.begin() as connection:
        connection.execute(
            text(
                "WITH w AS (INSERT INTO procrastinate_workers (last_heartbeat)"
                " VALUES (now() - make_interval(secs => :s)) RETURNING id)"
                " UPDATE procrastinate_jobs SET status = 'doing', worker_id = (SELECT id FROM w) WHERE status = 'todo'"
            ),
            {"s": seconds},
        )


def test_job_of_a_dead_worker_runs_again(work: Work) -> None:
    with work.store.begin() as connection:
        queue.defer(connection, "test.note", what="a")
    start_dead_job(work, 60)
    assert queue.rescue(work.store) == 1
    assert queue.rescue(work.store) == 0
    Worker(work).run_waiting()
    assert seen(work) == ["a"]


def test_job_of_a_live_worker_is_left_alone(work: Work) -> None:
    with work.store.begin() as connection:
        queue.defer(connection, "test.note", what="a")
    start_dead_job(work, 5)
    assert queue.rescue(work.store) == 0


def test_job_that_kills_its_workers_ends_as_failed(work: Work) -> None:
    with work.store.begin() as connection:
        queue.defer(connection, "test.note", what="a")
    for _ in range(5):
        start_dead_job(work, 60)
        queue.rescue(work.store)
    assert statuses(work) == [("failed", 5)]


def test_two_rescuers_take_a_job_once(work: Work) -> None:
    with work.store.begin() as connection:
        for number in range(20):
            queue.defer(connection, "test.note", what=str(number))
    start_dead_job(work, 60)
    taken: list[int] = []
    threads = [threading.Thread(target=lambda: taken.append(queue.rescue(work.store))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 20
    assert {attempts for _, attempts in statuses(work)} == {1}


WORKER = """
import sys, time
from gateway.domain.clock import Clock
from gateway.operations import queue
from gateway.settings import Settings
from gateway.store.engine import Store
from sqlalchemy import text

def slow(work, seconds):
    with work.store.begin() as connection:
        connection.execute(text("INSERT INTO seen (what) VALUES ('slow')"))
    print("begun", flush=True)
    time.sleep(seconds)

queue.TASKS["test.slow"] = queue.Task("test.slow", slow, 5)
print("ready", flush=True)
queue.Worker(queue.Work(Store(sys.argv[1]), None, Settings(), Clock())).run()
print("over", flush=True)
"""


def start_worker(work: Work) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", WORKER, work.store.url], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def test_killed_worker_loses_no_job(work: Work, tasks) -> None:
    tasks["test.slow"] = Task("test.slow", lambda work, seconds: note(work, "again"), 5)
    process = start_worker(work)
    with work.store.begin() as connection:
        queue.defer(connection, "test.slow", seconds=600)
    assert process.stdout.readline() == "begun\n"
    process.kill()
    process.wait()
    assert statuses(work) == [("doing", 0)]
    with work.store.begin() as connection:
        connection.execute(text("UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 minute'"))
    assert queue.rescue(work.store) == 1
    Worker(work).run_waiting()
    assert seen(work) == ["slow", "again"]
    assert statuses(work) == [("succeeded", 2)]


def test_worker_ends_its_job_on_sigterm(work: Work, tasks) -> None:
    tasks["test.slow"] = Task("test.slow", note, 5)
    process = start_worker(work)
    with work.store.begin() as connection:
        queue.defer(connection, "test.slow", seconds=1)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "over\n"
    assert process.wait() == 0
    assert statuses(work) == [("succeeded", 1)]


def test_housekeeping_deletes_what_is_over(work: Work) -> None:
    now = datetime(2026, 11, 22, 12, tzinfo=UTC)
    old, fresh = now - timedelta(days=31), now - timedelta(days=29)
    with work.store.begin() as connection:
        for moment in (old, fresh):
            connection.execute(
                text(
                    "INSERT INTO call_request (client_id, request_id, operation, body_sha256, created_at)"
                    " VALUES (1, gen_random_uuid(), 'AddEntries', '', :at)"
                ),
                {"at": moment},
            )
        for minutes in (0, 11):
            connection.execute(
                text("INSERT INTO rate_window VALUES (1, :minute, 1)"), {"minute": now.timestamp() // 60 - minutes}
            )
        queue.defer(connection, "test.note", what="recent")
    Worker(work).run_waiting()
    done = housekeeping.clean(Work(work.store, None, work.settings, Clock(source=lambda: now)))
    assert done["answers"] == 1
    assert done["rate_windows"] == 1
    with work.store.begin() as connection:
        assert connection.execute(text("SELECT created_at FROM call_request")).scalars().all() == [fresh]
        assert connection.execute(text("SELECT count(*) FROM rate_window")).scalar_one() == 1
        late = datetime.now(UTC) + timedelta(days=1)
        assert queries.delete_old_jobs(connection, late - timedelta(days=7)) == 0
        assert queries.delete_old_jobs(connection, late) == 1
