"""Long work: every operation ends truly, what it did and its end are one, and a run that was replaced writes nothing."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from gateway.domain.clock import Clock
from gateway.errors import GatewayError
from gateway.operations import files, queue, runs, watch, works
from gateway.operations.model import Operation, Owner, Scope, State
from gateway.operations.queue import Work
from gateway.operations.run import scratch
from gateway.operations.works import Body, Run
from gateway.settings import Settings
from gateway.store.engine import driver_of
from tests.operations.running import only, run_waiting

CLINIC = Owner("400001")
SEEN = "CREATE TABLE seen (n bigint GENERATED ALWAYS AS IDENTITY, what text)"
Function = Callable[[Run], None]


@pytest.fixture
def work(store, owner, tmp_path: Path) -> Work:
    with owner.begin() as connection:
        connection.execute(text(SEEN))
        connection.execute(text("GRANT ALL ON seen TO dn_app"))
    return Work(store=store, owner=owner, settings=Settings(data_dir=str(tmp_path)), clock=Clock())


@pytest.fixture
def bodies() -> Iterator[dict[str, Body]]:
    """The kinds of this module, instead of the product's."""
    with only({}) as bodies:
        yield bodies


@pytest.fixture
def begin(work: Work, bodies: dict[str, Body]) -> Callable[[Function], Begun]:
    def begin(function: Function, **parameters: object) -> Begun:
        bodies["TEST"] = Body("TEST", "Проверка", function)
        with work.store.begin() as connection:
            operation_id = works.start(
                connection, "TEST", parameters, owner=CLINIC, client_id=7, login="mis", trace="abc"
            )
        return Begun(work, operation_id)

    return begin


class Begun:
    """An operation of a test."""

    def __init__(self, work: Work, operation_id) -> None:
        self.work = work
        self.id = operation_id
        self._thread: threading.Thread | None = None

    def run(self) -> Begun:
        """As its job runs it."""
        runs.run(self.work, str(self.id))
        return self

    def run_aside(self) -> Begun:
        self._thread = threading.Thread(target=self.run)
        self._thread.start()
        return self

    def join(self) -> Begun:
        assert self._thread is not None
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self

    @property
    def now(self) -> Operation:
        with self.work.store.begin() as connection:
            found = works.get(connection, self.id)
        assert found is not None
        return found

    @property
    def lines(self) -> list[str]:
        with self.work.store.begin() as connection:
            return [line.text for line in works.lines(connection, self.id)]

    def abort(self) -> Operation:
        with self.work.store.begin() as connection:
            return works.request_abort(connection, self.id, "mis")

    def until(self, right: Callable[[Operation], bool]) -> Operation:
        until = time.monotonic() + 30
        while not right(found := self.now):
            assert time.monotonic() < until, found
            time.sleep(0.02)
        return found


def note(connection, what: str) -> None:
    connection.execute(text("INSERT INTO seen (what) VALUES (:what)"), {"what": what})


def seen(work: Work) -> list[str]:
    with work.store.begin() as connection:
        return list(connection.execute(text("SELECT what FROM seen ORDER BY n")).scalars())


def jobs_waiting(work: Work) -> int:
    with work.store.begin() as connection:
        return connection.execute(
            text("SELECT count(*) FROM procrastinate_jobs WHERE status = 'todo' AND task_name = 'operations.run'")
        ).scalar_one()


def kill(begun: Begun) -> None:
    """Leaves an operation as a run leaves it whose process died a minute ago; its job is lost as well."""
    with begun.work.store.begin() as connection:
        connection.execute(text("DELETE FROM procrastinate_jobs"))
        connection.execute(text("UPDATE operation_beat SET at = at - interval '1 minute'"))


def twenty(run: Run) -> None:
    """Goes on from its progress."""
    run.stage("Счёт", 20)
    for number in range(run.progress.get("next", 0), 20):
        with run.begin() as connection:
            note(connection, str(number))
            run.progress["next"] = number + 1
        run.advance(number + 1)


def test_work_begins_with_its_transaction_and_ends_as_done(begin, work: Work) -> None:
    begun = begin(twenty, records=5)
    assert begun.now.state is State.QUEUED
    run_waiting(work.store, work.owner, work.settings)
    found = begun.now
    assert (found.state, found.stage, found.done, found.total) == (State.DONE, "Счёт", 20, 20)
    assert (found.kind, found.owner, found.client_id, found.login) == ("TEST", CLINIC, 7, "mis")
    assert found.parameters == {"records": 5}
    assert found.code is None and found.message is None and found.estimated_end is None and not found.aborting
    assert found.created_at <= found.started_at <= found.ended_at
    assert begun.lines == ["Начата", "Счёт", "Выполнена"]
    assert seen(work) == [str(number) for number in range(20)]


def test_work_of_a_transaction_that_failed_never_was(work: Work, bodies) -> None:
    bodies["TEST"] = Body("TEST", "Проверка", twenty)
    with pytest.raises(RuntimeError), work.store.begin() as connection:
        works.start(connection, "TEST", {}, owner=CLINIC, client_id=None, login="x", trace="")
        raise RuntimeError
    with work.store.begin() as connection:
        assert works.page(connection, Scope()) == (0, [])
    assert jobs_waiting(work) == 0


def test_effects_and_end_are_one_commit(begin, work: Work) -> None:
    def body(run: Run) -> None:
        with run.begin() as connection:
            note(connection, "effect")
            run.finish(connection)
            assert begun.now.state is State.RUNNING
        assert begun.now.state is State.DONE
        run.check()

    begun = begin(body)
    begun.run()
    assert begun.now.state is State.DONE
    assert seen(work) == ["effect"]
    assert begun.run().lines.count("Начата") == 1


def test_rolled_back_end_is_no_end(begin, work: Work) -> None:
    def body(run: Run) -> None:
        run.line("до отката")
        with run.begin() as connection:
            note(connection, "effect")
            run.finish(connection)
            raise GatewayError("file.format", what="проверка")

    begun = begin(body).run()
    found = begun.now
    assert (found.state, found.code) == (State.FAILED, "file.format")
    assert found.message == "Формат файла не распознан: проверка"
    assert seen(work) == []
    assert begun.lines == ["Начата", "до отката", "Формат файла не распознан: проверка"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (GatewayError("export.format"), "export.format"),
        (OSError(errno.ENOSPC, "no space"), "server.disk-full"),
        (OSError(errno.EDQUOT, "quota"), "server.disk-full"),
        (psycopg.errors.DiskFull("x"), "server.disk-full"),
    ],
)
def test_refusal_ends_the_work_at_once(begin, error: Exception, code: str, work: Work) -> None:
    def body(run: Run) -> None:
        raise error

    begun = begin(body).run()
    assert (begun.now.state, begun.now.code) == (State.FAILED, code)
    run_waiting(work.store)
    assert jobs_waiting(work) == 0


def test_unexpected_error_is_repeated_and_then_ends_the_work(begin, work: Work, caplog) -> None:
    def body(run: Run) -> None:
        run.progress["secret"] = "Иванов"
        raise RuntimeError("Иванов")

    begun = begin(body).run()
    assert begun.now.state is State.QUEUED
    assert jobs_waiting(work) == 2  # its first one, which the test did not take, and the next
    begun.run()
    assert begun.now.state is State.QUEUED
    begun.run()
    found = begun.now
    assert (found.state, found.code) == (State.FAILED, "server.error")
    assert "Иванов" not in " ".join([*begun.lines, found.message])
    assert [one.exc_info is not None for one in caplog.records if one.levelname == "ERROR"] == [True] * 3


def test_lost_database_is_repeated(begin, work: Work) -> None:
    def body(run: Run) -> None:
        if "once" in seen(work):
            return
        with run.begin() as connection:
            note(connection, "lost")
            pid = driver_of(connection).info.backend_pid
            with work.store.begin() as other:
                note(other, "once")
                other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
            connection.execute(text("SELECT 1"))

    begun = begin(body).run()
    assert begun.now.state is State.QUEUED
    assert begun.run().now.state is State.DONE
    assert seen(work) == ["once"]


def test_killed_run_is_followed_by_one_that_goes_on(begin, work: Work) -> None:
    def body(run: Run) -> None:
        twenty(run)

    class Killed(BaseException):
        pass

    def killed(run: Run) -> None:
        run.stage("Счёт", 20)
        for number in range(7):
            with run.begin() as connection:
                note(connection, str(number))
                run.progress["next"] = number + 1
        raise Killed

    begun = begin(killed)
    with pytest.raises(Killed):
        begun.run()
    assert begun.now.state is State.RUNNING
    kill(begun)
    works.BODIES["TEST"] = Body("TEST", "", body)
    runs.rescue(work)
    assert begun.now.state is State.QUEUED
    run_waiting(work.store, settings=work.settings)
    assert begun.now.state is State.DONE
    assert seen(work) == [str(number) for number in range(20)]
    assert begun.lines == ["Начата", "Счёт", "Продолжена", "Счёт", "Выполнена"]


def test_work_that_kills_its_processes_ends_as_lost(begin, work: Work) -> None:
    class Killed(BaseException):
        pass

    def body(run: Run) -> None:
        raise Killed

    begun = begin(body)
    for _ in range(runs.LOSSES):
        if begun.now.state is State.QUEUED:
            with pytest.raises(Killed):
                begun.run()
        kill(begun)
        runs.rescue(work)
    assert (begun.now.state, begun.now.code) == (State.FAILED, "operation.lost")
    assert jobs_waiting(work) == 0


def test_work_that_shows_signs_of_life_is_left_alone(begin, work: Work) -> None:
    release = threading.Event()
    begun = begin(lambda run: release.wait(30)).run_aside()
    begun.until(lambda one: one.state is State.RUNNING)
    with work.store.begin() as connection:
        connection.execute(text("DELETE FROM procrastinate_jobs"))
    runs.rescue(work)
    assert begun.now.state is State.RUNNING
    release.set()
    assert begun.join().now.state is State.DONE


def test_waiting_work_without_a_job_gets_one(begin, work: Work) -> None:
    begun = begin(twenty)
    kill(begun)
    runs.rescue(work)
    runs.rescue(work)
    assert jobs_waiting(work) == 1
    run_waiting(work.store, settings=work.settings)
    assert begun.now.state is State.DONE


def test_replaced_run_writes_nothing(begin, work: Work) -> None:
    """As a worker that was frozen in the middle of a transaction and wakes after another has done the work."""
    frozen, wake = threading.Event(), threading.Event()

    def body(run: Run) -> None:
        first = run.attempt == 1
        if first:
            run.folder.joinpath("draft").write_text("x")
        with run.begin() as connection:
            note(connection, f"attempt {run.attempt}")
            if first:
                frozen.set()
                assert wake.wait(30)
            run.finish(connection)

    begun = begin(body).run_aside()
    assert frozen.wait(30)
    begun.run()
    assert begun.now.state is State.DONE
    ended = begun.now.ended_at
    wake.set()
    begun.join()
    assert seen(work) == ["attempt 2"]
    assert begun.now.ended_at == ended
    assert begun.lines == ["Начата", "Продолжена", "Выполнена"]
    assert list(scratch(work.settings).iterdir()) == []


@pytest.mark.parametrize("isolation", [None, "REPEATABLE READ", "SERIALIZABLE"])
@pytest.mark.parametrize("replaced", [False, True])
def test_fence_holds_at_every_isolation(begin, work: Work, isolation: str | None, replaced: bool) -> None:
    def body(run: Run) -> None:
        with run.begin(isolation=isolation) as connection:
            note(connection, str(run.attempt))
            time.sleep(2 * watch.TICK_SECONDS)
            if replaced and run.attempt == 1:
                begun.run()
            run.progress["at"] = 1

    begun = begin(body)
    begun.run()
    assert begun.now.state is State.DONE
    assert seen(work) == (["2"] if replaced else ["1"])


def test_abort_stops_python_at_its_safe_point(begin, work: Work) -> None:
    def body(run: Run) -> None:
        run.stage("Счёт", 10)
        while True:
            with run.begin() as connection:
                note(connection, "x")
            time.sleep(0.01)

    begun = begin(body).run_aside()
    begun.until(lambda one: one.stage == "Счёт")
    assert begun.abort().aborting
    assert begun.abort().aborting
    found = begun.join().now
    assert (found.state, found.code, found.aborting) == (State.ABORTED, "operation.aborted", False)
    assert begun.lines[-2:] == ["Получено требование прервать работу", "Работа прервана по требованию"]
    assert begun.abort() == found


def test_abort_cancels_a_long_statement(begin, work: Work) -> None:
    def body(run: Run) -> None:
        with run.begin() as connection:
            note(connection, "half")
            run.stage("Запрос")
            connection.execute(text("SELECT pg_sleep(600)"))

    begun = begin(body).run_aside()
    begun.until(lambda one: one.stage == "Запрос")
    begun.abort()
    assert begun.join().now.state is State.ABORTED
    assert seen(work) == []
    with work.store.begin() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


def test_abort_before_the_begin_ends_at_once(begin, work: Work) -> None:
    begun = begin(twenty)
    found = begun.abort()
    assert (found.state, found.code) == (State.ABORTED, "operation.aborted")
    assert found.ended_at is not None
    run_waiting(work.store, settings=work.settings)
    assert begun.now == found
    assert seen(work) == []


def test_abort_after_the_end_changes_nothing(begin) -> None:
    begun = begin(twenty).run()
    found = begun.now
    assert begun.abort() == found == begun.now


def test_abort_of_a_dead_run_takes_effect_without_another_run(begin, work: Work) -> None:
    class Killed(BaseException):
        pass

    def body(run: Run) -> None:
        raise Killed

    begun = begin(body)
    with pytest.raises(Killed):
        begun.run()
    assert begun.abort().state is State.RUNNING
    kill(begun)
    runs.rescue(work)
    assert begun.now.state is State.ABORTED


def test_abort_between_two_runs_ends_at_once(begin, work: Work) -> None:
    def body(run: Run) -> None:
        raise RuntimeError

    begun = begin(body).run()
    assert begun.abort().state is State.ABORTED
    begun.run()
    assert begun.lines.count("Начата") == 1


def test_abort_of_a_missing_operation(work: Work) -> None:
    import uuid

    with work.store.begin() as connection, pytest.raises(GatewayError) as refused:
        works.request_abort(connection, uuid.uuid4(), "x")
    assert refused.value.code == "object.not-found"


def test_lines_are_seen_while_the_work_goes_on(begin, work: Work) -> None:
    release = threading.Event()

    def body(run: Run) -> None:
        with run.begin():
            run.line("посреди транзакции", "WARNING")
            release.wait(30)

    begun = begin(body).run_aside()
    begun.until(lambda _: "посреди транзакции" in begun.lines)
    release.set()
    begun.join()
    with work.store.begin() as connection:
        found = works.lines(connection, begun.id)
        assert [line.number for line in found] == [1, 2, 3]
        assert [line.level for line in found] == ["INFO", "WARNING", "INFO"]
        assert found == sorted(found, key=lambda line: line.at)
        assert works.lines(connection, begun.id, 2, 1) == found[1:2]


def test_estimate_comes_from_the_pace_of_the_stage(begin, work: Work) -> None:
    release = threading.Event()

    def body(run: Run) -> None:
        run.stage("Счёт", 1000)
        run.advance(100)
        time.sleep(1)
        run.advance(110)
        release.wait(30)

    begun = begin(body).run_aside()
    found = begun.until(lambda one: one.estimated_end is not None)
    with work.store.begin() as connection:
        remaining = found.estimated_end - connection.execute(text("SELECT clock_timestamp()")).scalar_one()
    assert timedelta(seconds=40) < remaining < timedelta(seconds=600)
    for shift in ("1 day", "-1 day"):
        with work.store.begin() as connection:
            connection.execute(
                text("UPDATE operation SET started_at = started_at + :s, created_at = created_at + :s"),
                {"s": timedelta(days=1 if shift == "1 day" else -1)},
            )
        assert begun.now.estimated_end > datetime.now(UTC)
    release.set()
    begun.join()


def test_worker_that_ends_hands_its_work_over(begin, work: Work, monkeypatch) -> None:
    monkeypatch.setattr(watch, "HAND_OVER_SECONDS", 0.1)

    def body(run: Run) -> None:
        for number in range(run.progress.get("next", 0), 1000):
            with run.begin() as connection:
                note(connection, str(number))
                run.progress["next"] = number + 1
            if run.attempt == 1:
                time.sleep(0.05)

    begun = begin(body)
    work.stopping.set()
    begun.run()
    assert begun.now.state is State.QUEUED
    work.stopping.clear()
    begun.run()
    assert begun.now.state is State.DONE
    assert seen(work) == [str(number) for number in range(1000)]


def test_folder_is_the_runs_own_and_goes_with_it(begin, work: Work) -> None:
    found: list[Path] = []

    def body(run: Run) -> None:
        found.append(run.folder)
        (run.folder / "part").write_bytes(b"x")
        assert run.folder.stat().st_mode & 0o077 == 0
        runs.rescue(work)
        assert (run.folder / "part").exists()

    left = scratch(work.settings) / "00000000-0000-4000-8000-000000000000" / "1"
    left.mkdir(parents=True)
    begun = begin(body).run()
    assert begun.now.state is State.DONE
    assert not found[0].exists()
    assert not left.parent.exists()


def test_kind_that_this_program_does_not_know_is_left_to_another(begin, work: Work) -> None:
    begun = begin(twenty)
    body = works.BODIES.pop("TEST")
    begun.run()
    assert begun.now.state is State.QUEUED
    works.BODIES["TEST"] = body
    assert begun.run().now.state is State.DONE


def test_unknown_kind_is_not_begun(work: Work, bodies) -> None:
    with work.store.begin() as connection, pytest.raises(KeyError):
        works.start(connection, "NOTHING", {}, owner=CLINIC, client_id=None, login="x", trace="")


def test_kind_is_registered_once(bodies) -> None:
    works.operation("TEST", "Проверка")(twenty)
    with pytest.raises(ValueError):
        works.operation("TEST", "Проверка")(twenty)


def test_page_shows_what_the_viewer_may_see(work: Work, bodies) -> None:
    bodies["A"] = Body("A", "", twenty)
    bodies["B"] = Body("B", "", twenty)
    owners = {
        "clinic": Owner("400001"),
        "neighbour": Owner("400002"),
        "insurer": Owner(insurer="40001"),
        "insurer at clinic": Owner("400001", "40001"),
        "fund": Owner(),
    }
    ids = {}
    for number, (name, owner) in enumerate(owners.items()):
        with work.store.begin() as connection:
            ids[works.start(
                connection, "AB"[number % 2], {}, owner=owner, client_id=1, login="x", trace=""
            )] = name  # fmt: skip

    def names(scope: Scope, **values) -> list[str]:
        with work.store.begin() as connection:
            total, found = works.page(connection, scope, **values)
        assert all(scope.sees(one.owner) for one in found)
        assert total >= len(found)
        return [ids[one.operation_id] for one in found]

    every = list(owners)[::-1]
    assert names(Scope()) == every
    assert names(Scope(frozenset({"400001"}))) == ["clinic"]
    assert names(Scope(frozenset({"400001", "400002"}))) == ["neighbour", "clinic"]
    assert names(Scope(frozenset())) == []
    assert names(Scope(insurer="40001")) == ["insurer at clinic", "insurer"]
    assert names(Scope(), organisation="400001") == ["insurer at clinic", "clinic"]
    assert names(Scope(), kind="B") == ["insurer at clinic", "neighbour"]
    assert names(Scope(), state="DONE") == []
    assert names(Scope(), start=2, count=2) == every[1:3]
    assert names(Scope(), since=datetime.now(UTC) + timedelta(minutes=1)) == []
    for wrong in ({"kind": "C"}, {"state": "OVER"}):
        with pytest.raises(GatewayError) as refused:
            names(Scope(), **wrong)
        assert refused.value.code == "operation.kind"


def test_old_operations_go_when_their_files_are_gone(begin, work: Work) -> None:
    done, kept, open_one = begin(twenty).run(), begin(twenty).run(), begin(twenty)
    file = {"name": "a.csv", "kind": "EXPORT", "owner": CLINIC, "operation_id": kept.id}
    with work.store.begin() as connection, files.Writer(connection, work.settings, **file) as out:
        out.write(b"x")

    def expire(days: float) -> int:
        clock = Clock(source=lambda: datetime.now(UTC) + timedelta(days=days))
        return runs.expire(Work(work.store, None, work.settings, clock))

    assert expire(work.settings.operation_days - 0.1) == 0
    assert expire(-1000) == 0
    assert expire(work.settings.operation_days + 0.1) == 1
    with work.store.begin() as connection:
        assert works.get(connection, done.id) is None
        assert works.lines(connection, done.id) == []
        connection.execute(text("DELETE FROM file"))
    assert kept.now.state is State.DONE
    assert expire(10_000) == 1
    assert open_one.now.state is State.QUEUED


def test_database_clock_set_back_does_not_hide_the_dead(begin, work: Work) -> None:
    class Killed(BaseException):
        pass

    def body(run: Run) -> None:
        raise Killed

    begun = begin(body)
    with pytest.raises(Killed):
        begun.run()
    with work.store.begin() as connection:
        connection.execute(
            text(
                "WITH w AS (INSERT INTO procrastinate_workers (last_heartbeat)"
                " VALUES (now() + interval '1 day') RETURNING id)"
                " UPDATE procrastinate_jobs SET status = 'doing', worker_id = (SELECT id FROM w)"
            )
        )
        connection.execute(text("UPDATE operation_beat SET at = at + interval '1 day'"))
    assert queue.rescue(work.store) == 1
    works.BODIES["TEST"] = Body("TEST", "", twenty)
    run_waiting(work.store, settings=work.settings)
    assert begun.now.state is State.DONE
