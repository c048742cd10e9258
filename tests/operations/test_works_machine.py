"""Whatever is started, killed, frozen, aborted and run again, in any order: an operation ends truly and once, and what
it did is exactly what its progress says."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import text

from gateway.domain.clock import Clock
from gateway.errors import GatewayError
from gateway.operations import runs, works
from gateway.operations.model import Operation, Owner, State
from gateway.operations.queue import Work
from gateway.operations.watch import Stopped
from gateway.operations.works import Body, Run
from gateway.settings import Settings
from tests.operations.running import only

STEPS = 4


class Killed(BaseException):
    """Stands for a process that is gone: nothing of the runtime handles it."""


class Refused(GatewayError):
    def __init__(self) -> None:
        super().__init__("export.format")


class Machine(RuleBasedStateMachine):
    """One operation of four steps, each an effect and its progress in a transaction."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self.work = work
        self.frozen: list[Run] = []
        self.trouble: tuple[int, type[BaseException]] | None = None
        self.end: Operation | None = None
        works.BODIES["STEPS"] = Body("STEPS", "", self.body)
        with work.store.begin() as connection:
            connection.execute(text("DELETE FROM procrastinate_jobs"))
            self.id: UUID = works.start(
                connection, "STEPS", {}, owner=Owner(), client_id=None, login="test", trace=""
            )  # fmt: skip

    def body(self, run: Run) -> None:
        for number in range(run.progress.get("next", 0), STEPS):
            if self.trouble is not None and self.trouble[0] == number:
                raise self.trouble[1]
            self.step(run, number)

    def step(self, run: Run, number: int) -> None:
        with run.begin() as connection:
            connection.execute(text("INSERT INTO seen VALUES (:id, :number)"), {"id": str(self.id), "number": number})
            run.progress["next"] = number + 1
            if number + 1 == STEPS:
                run.finish(connection)

    @property
    def now(self) -> Operation:
        with self.work.store.begin() as connection:
            found = works.get(connection, self.id)
        assert found is not None
        return found

    def rows(self) -> dict[str, Any]:
        with self.work.store.begin() as connection:
            seen = connection.execute(
                text("SELECT number FROM seen WHERE id = :id ORDER BY number"), {"id": str(self.id)}
            ).scalars()
            row = connection.execute(text("SELECT progress, losses FROM operation WHERE id = :id"), {"id": self.id})
            progress, losses = row.one()
            return {"seen": list(seen), "progress": progress, "losses": losses}

    @rule()
    def run_to_its_end(self) -> None:
        self.trouble = None
        before = self.now
        runs.run(self.work, str(self.id))
        expected = {State.QUEUED: {State.DONE}, State.RUNNING: {State.DONE, State.ABORTED, State.FAILED}}
        assert self.now.state in expected.get(before.state, {before.state})

    @rule(at=st.integers(0, STEPS - 1), kind=st.sampled_from([Killed, Killed, RuntimeError, Refused]))
    def run_into_trouble(self, at: int, kind: type[BaseException]) -> None:
        self.trouble = at, kind
        try:
            runs.run(self.work, str(self.id))
        except Killed:
            assert kind is Killed

    @precondition(lambda self: len(self.frozen) < 3)
    @rule()
    def take_and_freeze(self) -> None:
        run = runs.take(self.work, self.id)
        if run is not None:
            self.frozen.append(run)

    @precondition(lambda self: self.frozen)
    @rule(which=st.integers(0, 2))
    def wake_for_a_step(self, which: int) -> None:
        """Only the newest run of an operation that still runs may write."""
        run = self.frozen[which % len(self.frozen)]
        with self.work.store.begin() as connection:
            attempt = connection.execute(text("SELECT attempt FROM operation WHERE id = :id"), {"id": self.id}).scalar()
        found = self.now
        number = run.progress.get("next", 0)
        try:
            self.step(run, number)
        except Stopped:
            assert found.state is not State.RUNNING or attempt != run.attempt or found.aborting
            with run:
                self.frozen.remove(run)
        else:
            assert found.state is State.RUNNING and attempt == run.attempt
            if run.finished:
                with run:
                    self.frozen.remove(run)

    @rule()
    def abort(self) -> None:
        before = self.now
        with self.work.store.begin() as connection:
            found = works.request_abort(connection, self.id, "test")
        assert found.state is (State.ABORTED if before.state is State.QUEUED else before.state)
        assert found.aborting == (found.state is State.RUNNING)

    @rule()
    def lose_the_job_and_look(self) -> None:
        with self.work.store.begin() as connection:
            connection.execute(text("DELETE FROM procrastinate_jobs"))
            connection.execute(text("UPDATE operation_beat SET at = at - interval '1 minute'"))
        runs.rescue(self.work)
        assert self.now.state is not State.RUNNING

    @invariant()
    def end_is_final_and_whole(self) -> None:
        found = self.now
        assert self.end is None or found == self.end
        if found.state.ended:
            self.end = found
        assert found.state.ended == (found.ended_at is not None)
        assert (found.code is not None) == (found.state in (State.FAILED, State.ABORTED))

    @invariant()
    def effects_are_what_progress_says(self) -> None:
        rows = self.rows()
        assert rows["seen"] == list(range(rows["progress"].get("next", 0)))
        assert (self.now.state is State.DONE) == (len(rows["seen"]) == STEPS)
        assert rows["losses"] <= runs.LOSSES

    def teardown(self) -> None:
        """Left to itself, the operation comes to an end."""
        for run in self.frozen:
            run.__exit__(None, None, None)
        self.lose_the_job_and_look()
        self.run_to_its_end()
        assert self.now.state.ended
        self.end_is_final_and_whole()
        self.effects_are_what_progress_says()


def test_any_sequence_keeps_the_state_true(store, owner, tmp_path: Path) -> None:
    with owner.begin() as connection:
        connection.execute(text("CREATE TABLE seen (id text, number int, PRIMARY KEY (id, number))"))
        connection.execute(text("GRANT ALL ON seen TO dn_app"))
    work = Work(store, None, Settings(data_dir=str(tmp_path)), Clock())
    bounds = settings(
        max_examples=25, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
    )  # fmt: skip
    with only({}):
        run_state_machine_as_test(lambda: Machine(work), settings=bounds)
