"""Durable work: tasks that upper packages register, jobs in the database, workers that run them.

A job is deferred in the transaction that writes what it is about, so that both happen or neither. A job of a worker
that died, or that froze for longer than `STALLED_SECONDS`, is run again: a task must tolerate a second run.
Arguments of jobs are ids and dates, never personal values.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from procrastinate import App, PsycopgConnector, RetryStrategy, exceptions
from procrastinate.jobs import Job, Status
from procrastinate.manager import JobManager
from procrastinate.worker import Worker as LibraryWorker
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from gateway.domain.clock import Clock
from gateway.operations import queries
from gateway.settings import Settings
from gateway.store.engine import Store, driver_of

Argument = str | int | bool | None
F = TypeVar("F", bound=Callable[..., object])

STALLED_SECONDS = 30.0
_RESCUE_SECONDS = 10.0
_STOP_SECONDS = 60.0
_BEAT_SECONDS = 5.0
_AGAIN_SECONDS = 1.0
_LONG, _SHORT = "long", "short"
_SHORT_PLACES = 2
_KEEP_SECONDS = (1, 2, 4, 8, 15, 30)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Work:
    """What every task is given. ``owner`` is absent where the worker has no address of the owner role; ``stopping`` is
    set once the worker takes no more jobs and waits for those that run."""

    store: Store
    owner: Store | None
    settings: Settings
    clock: Clock
    stopping: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Task:
    """A function that takes `Work` and the arguments of a job; failed runs are repeated up to ``attempts`` in all.
    ``long`` work has places of its own, so that the short jobs of the calendar never wait behind it."""

    name: str
    function: Callable[..., object]
    attempts: int
    long: bool = False

    @property
    def queue(self) -> str:
        return _LONG if self.long else _SHORT


TASKS: dict[str, Task] = {}

RESCUERS: list[Callable[[Work], None]] = []


def task(name: str, *, attempts: int = 5, long: bool = False) -> Callable[[F], F]:
    """Registers a function under a name that jobs are stored with; names never change."""

    def register(function: F) -> F:
        if name in TASKS:
            raise ValueError(f"task {name} is registered twice")
        TASKS[name] = Task(name, function, attempts, long)
        return function

    return register


def rescuer(function: Callable[[Work], None]) -> Callable[[Work], None]:
    """Registers what every worker does from time to time for work whose process died."""
    RESCUERS.append(function)
    return function


_deferring = App(connector=PsycopgConnector())


def defer(
    connection: Connection,
    name: str,
    *,
    alone: str | None = None,
    single: bool = False,
    delay: float = 0,
    **arguments: Argument,
) -> int | None:
    """Puts a job into the queue within the transaction of ``connection`` and returns its number.

    Jobs with the same ``alone`` never run at the same time. With ``single`` a job that would wait beside an equal one
    (same ``alone``) is not added, and the answer is ``None``. ``delay`` is how many seconds it waits at least.
    """
    if name not in TASKS:
        raise KeyError(name)
    job = _deferring.configure_task(
        name,
        queue=TASKS[name].queue,
        connection=driver_of(connection),
        lock=alone,
        queueing_lock=alone if single else None,
        schedule_at=datetime.now(UTC) + timedelta(seconds=delay) if delay else None,
        task_kwargs=dict(arguments),
        allow_unknown=True,
    )
    try:
        with connection.begin_nested():
            return job.defer()
    except exceptions.AlreadyEnqueued:
        return None


class _Manager(JobManager):
    """Keeps the end of a job also when the database was away for a moment, and only of a job that is still the worker's:
    one that froze and was replaced must not end the job of another."""

    async def finish_job(self, job: Job, status: Status, delete_job: bool) -> None:
        await self._keep(queries.FINISH_JOB, job, status=status.value, delete_job=delete_job)

    async def retry_job(
        self,
        job: Job,
        retry_at: datetime | None = None,
        priority: int | None = None,
        queue: str | None = None,
        lock: str | None = None,
    ) -> None:
        await self._keep(queries.RETRY_JOB, job, retry_at=retry_at or datetime.now(UTC))

    async def _keep(self, statement: str, job: Job, **values: Any) -> None:
        for pause in (*_KEEP_SECONDS, None):
            try:
                await self.connector.execute_query_async(statement, id=job.id, worker=job.worker_id, **values)
                return
            except exceptions.ConnectorException:
                if pause is None:
                    raise
                await asyncio.sleep(pause)


class _Loop(LibraryWorker):
    """The library's loop, which tells running jobs when it is asked to end, by a signal or by a lost connection."""

    def __init__(self, app: App, told: threading.Event, **options: Any) -> None:
        super().__init__(app, **options)
        self._told = told

    def stop(self) -> None:
        self._told.set()
        super().stop()  # type: ignore[no-untyped-call]


class Worker:
    """Runs jobs until it is told to stop; takes over the jobs of workers that are gone. ``concurrency`` counts long work;
    two short jobs run beside it."""

    def __init__(self, work: Work, *, concurrency: int = 4, tasks: Mapping[str, Task] | None = None) -> None:
        self._work = work
        self._concurrency = concurrency
        self._ended = False
        self._loops: list[_Loop] = []
        self._app = App(connector=PsycopgConnector(conninfo=work.store.url, min_size=1, max_size=6))
        self._app.job_manager = _Manager(self._app.connector)
        for one in (TASKS if tasks is None else tasks).values():
            retry = RetryStrategy(max_attempts=one.attempts - 1, exponential_wait=4) if one.attempts > 1 else False
            self._app.task(name=one.name, retry=retry)(functools.partial(self._run, one))

    def _run(self, one: Task, **arguments: Argument) -> None:
        try:
            one.function(self._work, **arguments)
        except Exception:
            _log.exception("Задание не выполнено", extra={"job": one.name})
            raise

    def run(self) -> None:
        """Works until SIGTERM or SIGINT; a running job may take a minute to end, then it is left to another worker.

        A database that is away for a while is waited for.
        """
        asyncio.run(self._serve(wait=True))

    def run_waiting(self) -> None:
        """Runs the jobs that wait now and returns (command line, tests)."""
        asyncio.run(self._serve(wait=False))

    async def _serve(self, *, wait: bool) -> None:
        if wait:
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, self._end)
        async with self._app.open_async():
            aside = [asyncio.create_task(self._rescue()), asyncio.create_task(self._beat())]
            try:
                await self._work_on(wait)
            finally:
                for one in aside:
                    one.cancel()
                await asyncio.gather(*aside, return_exceptions=True)

    def _end(self) -> None:
        self._ended = True
        for loop in self._loops:
            loop.stop()

    async def _work_on(self, wait: bool) -> None:
        """Runs the library's loops, and again after they have ended because the database was away."""
        while not self._ended:
            self._work.stopping.clear()
            lanes = ((_LONG, self._concurrency), (_SHORT, _SHORT_PLACES)) if wait else ((None, self._concurrency),)
            self._loops = [self._loop(queue, places, wait) for queue, places in lanes]
            ends = await asyncio.gather(*map(self._run_loop, self._loops), return_exceptions=True)
            for end in ends:
                if isinstance(end, BaseException) and not (wait and isinstance(end, exceptions.ConnectorException)):
                    raise end
            if not wait or self._ended:
                return
            _log.warning("Исполнитель потерял связь с базой данных")
            await asyncio.sleep(_AGAIN_SECONDS)

    def _loop(self, queue: str | None, places: int, wait: bool) -> _Loop:
        return _Loop(
            self._app,
            self._work.stopping,
            queues=[queue] if queue else None,
            concurrency=places,
            wait=wait,
            listen_notify=wait,
            install_signal_handlers=False,
            fetch_job_polling_interval=2.0,
            shutdown_graceful_timeout=_STOP_SECONDS,
            stalled_worker_timeout=STALLED_SECONDS,
        )

    async def _run_loop(self, loop: _Loop) -> None:
        """One lane; when it ends, for whatever reason, the other ends too."""
        try:
            await loop.run()  # type: ignore[no-untyped-call]
        finally:
            for other in self._loops:
                if loop is not other and len(self._loops) > 1:
                    other.stop()

    async def _beat(self) -> None:
        """The library's own heartbeat ends when a worker is told to stop, while its last jobs may run on for long."""
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            for loop in self._loops:
                if loop.worker_id is not None:
                    with contextlib.suppress(exceptions.ConnectorException):
                        await self._app.job_manager.update_heartbeat(loop.worker_id)

    async def _rescue(self) -> None:
        while True:
            try:
                await asyncio.to_thread(self._rescue_once)
            except (SQLAlchemyError, OSError):
                _log.exception("Задания остановленных процессов не проверены")
            await asyncio.sleep(_RESCUE_SECONDS)

    def _rescue_once(self) -> None:
        rescue(self._work.store)
        for one in RESCUERS:
            one(self._work)


def live_workers(connection: Connection) -> int:
    """How many workers, on all machines, have shown a sign of life of late."""
    return queries.live_workers(connection, STALLED_SECONDS)


def rescue(store: Store, seconds: float = STALLED_SECONDS) -> int:
    """Puts the jobs of workers without a heartbeat for ``seconds`` back into the queue; returns how many.

    A job that has brought down its worker too often ends as failed.
    """
    most = {one.name: one.attempts for one in TASKS.values()}
    with store.begin() as connection:
        numbers = queries.rescue_stalled(connection, seconds, most)
    if numbers:
        _log.warning("Заданий остановленных процессов возвращено в очередь: %d", len(numbers))
    return len(numbers)
