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
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from procrastinate import App, PsycopgConnector, RetryStrategy, exceptions
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

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Work:
    """What every task is given. ``owner`` is absent where the worker has no address of the owner role."""

    store: Store
    owner: Store | None
    settings: Settings
    clock: Clock


@dataclass(frozen=True, slots=True)
class Task:
    """A function that takes `Work` and the arguments of a job; failed runs are repeated up to ``attempts`` in all."""

    name: str
    function: Callable[..., object]
    attempts: int


TASKS: dict[str, Task] = {}


def task(name: str, *, attempts: int = 5) -> Callable[[F], F]:
    """Registers a function under a name that jobs are stored with; names never change."""

    def register(function: F) -> F:
        if name in TASKS:
            raise ValueError(f"task {name} is registered twice")
        TASKS[name] = Task(name, function, attempts)
        return function

    return register


_deferring = App(connector=PsycopgConnector())


def defer(
    connection: Connection, name: str, *, alone: str | None = None, single: bool = False, **arguments: Argument
) -> int | None:
    """Puts a job into the queue within the transaction of ``connection`` and returns its number.

    Jobs with the same ``alone`` never run at the same time. With ``single`` a job that would wait beside an equal one
    (same ``alone``) is not added, and the answer is ``None``.
    """
    if name not in TASKS:
        raise KeyError(name)
    job = _deferring.configure_task(
        name,
        connection=driver_of(connection),
        lock=alone,
        queueing_lock=alone if single else None,
        task_kwargs=dict(arguments),
        allow_unknown=True,
    )
    try:
        with connection.begin_nested():
            return job.defer()
    except exceptions.AlreadyEnqueued:
        return None


class Worker:
    """Runs jobs until it is told to stop; takes over the jobs of workers that are gone."""

    def __init__(self, work: Work, *, concurrency: int = 4, tasks: Mapping[str, Task] | None = None) -> None:
        self._work = work
        self._concurrency = concurrency
        self._app = App(connector=PsycopgConnector(conninfo=work.store.url, min_size=1, max_size=4))
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
        """Works until SIGTERM or SIGINT; a running job may take a minute to end, then it is left to another worker."""
        asyncio.run(self._serve(wait=True))

    def run_waiting(self) -> None:
        """Runs the jobs that wait now and returns (command line, tests)."""
        asyncio.run(self._serve(wait=False))

    async def _serve(self, *, wait: bool) -> None:
        async with self._app.open_async():
            worker = LibraryWorker(
                self._app,
                concurrency=self._concurrency,
                wait=wait,
                listen_notify=wait,
                install_signal_handlers=wait,
                fetch_job_polling_interval=2.0,
                shutdown_graceful_timeout=_STOP_SECONDS,
                stalled_worker_timeout=STALLED_SECONDS,
            )
            aside = [asyncio.create_task(self._rescue()), asyncio.create_task(self._beat(worker))]
            try:
                await worker.run()  # type: ignore[no-untyped-call]
            finally:
                for one in aside:
                    one.cancel()
                await asyncio.gather(*aside, return_exceptions=True)

    async def _beat(self, worker: LibraryWorker) -> None:
        """The library's own heartbeat ends when a worker is told to stop, while its last jobs may run on for long."""
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            if worker.worker_id is not None:
                with contextlib.suppress(exceptions.ConnectorException):
                    await self._app.job_manager.update_heartbeat(worker.worker_id)

    async def _rescue(self) -> None:
        while True:
            try:
                await asyncio.to_thread(rescue, self._work.store)
            except SQLAlchemyError:
                _log.exception("Задания остановленных процессов не проверены")
            await asyncio.sleep(_RESCUE_SECONDS)


def rescue(store: Store, seconds: float = STALLED_SECONDS) -> int:
    """Puts the jobs of workers without a heartbeat for ``seconds`` back into the queue; returns how many.

    A job that has brought down its worker too often ends as failed.
    """
    most = max((one.attempts for one in TASKS.values()), default=5)
    with store.begin() as connection:
        numbers = queries.rescue_stalled(connection, seconds, most)
    if numbers:
        _log.warning("Заданий остановленных процессов возвращено в очередь: %d", len(numbers))
    return len(numbers)
