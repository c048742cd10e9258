"""The calendar: which work begins when, once per period over all machines.

One calendar leads by an advisory lock of PostgreSQL on a connection of its own; only the leader runs APScheduler, with
jobs in memory. A job does nothing but defer a task: the row of `job_run` and the task are written in one transaction, so
that a period has one run whatever happens. Periods missed while all was down are caught up from these rows.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

import psycopg
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from sqlalchemy.exc import SQLAlchemyError

from gateway.domain.clock import Clock
from gateway.operations import queue
from gateway.store.engine import Store
from gateway.sync import queries

LOCK = 7_305_002
_PULSE_SECONDS = 0.3
_IDLE_SECONDS = 5
_GRACE_SECONDS = 6 * 3600
_CATCH_UP_SECONDS = 60
_COUNTED = 1_000

LATE = timedelta(minutes=5)
"""A run that begins later than this after its time is marked as late."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """A line of the calendar: ``cron`` (minute hour day month weekday) in the region's time, ``span`` the longest gap
    between two runs. ``each`` catches up every missed period, otherwise only the last one counts."""

    name: str
    task: str
    cron: str
    span: timedelta
    text: str
    each: bool = False
    arguments: Mapping[str, queue.Argument] = field(default_factory=dict)

    def slots(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """The moments of the job later than ``after`` and not later than ``until``."""
        trigger = self.trigger(until)
        moment = trigger.get_next_fire_time(None, after + timedelta(microseconds=1))
        while moment is not None and moment <= until:
            yield moment
            moment = trigger.get_next_fire_time(moment, moment + timedelta(microseconds=1))

    def trigger(self, now: datetime) -> CronTrigger:
        return CronTrigger.from_crontab(self.cron, timezone=now.tzinfo)

    def due(self, now: datetime, last: datetime | None) -> list[datetime]:
        """The periods to begin now; ``last`` is the newest one that was begun. A new job begins with its last period."""
        slots = list(self.slots(now - self.span, now))[-1:]
        if self.each and last is not None:
            return list(self.slots(last, now))
        return [slot for slot in slots if last is None or slot > last]


def period_of(slot: datetime) -> str:
    """How `job_run.period` names a moment: local time to the minute with its offset, such as 2026-11-22T03:10+03:00."""
    return slot.isoformat(timespec="minutes")


def lateness(period: str, begun: datetime) -> timedelta:
    """How late a period was begun; nothing where it was in time (the calendar looks once a minute)."""
    late = begun - datetime.fromisoformat(period)
    return late if late > LATE else timedelta(0)


def begin(store: Store, job: Job, period: str, by: str, session: int | None = None) -> bool:
    """Begins a period of a job unless it was begun before; the run and its task are one transaction."""
    with store.begin() as connection:
        if not queries.claim(connection, job.name, period, by, session, LOCK):
            return False
        queue.defer(connection, job.task, alone=job.task, single=not job.arguments, delay=0, **job.arguments)
    _log.info("Задание календаря начато", extra={"job": job.name, "period": period})
    return True


def _note_delay(job: Job, slot: datetime, now: datetime, last: datetime | None) -> None:
    """Says of a period that it begins late, and of those before it that they were left out: the last one stands for all."""
    details = {"job": job.name, "period": period_of(slot)}
    if late := lateness(period_of(slot), now):
        _log.warning("Задание календаря начато с опозданием на %d мин", late // timedelta(minutes=1), extra=details)
    if last is not None and not job.each:
        skipped = sum(1 for _ in islice(job.slots(last, slot), _COUNTED)) - 1
        if skipped > 0:
            _log.warning("Пропущено периодов задания: %d", skipped, extra=details)


class Calendar:
    """One candidate for leading. `run` returns when ``stop`` is set."""

    def __init__(self, store: Store, jobs: Mapping[str, Job], clock: Clock) -> None:
        self._store = store
        self._jobs = jobs
        self._clock = clock
        self._name = f"{socket.gethostname()}:{os.getpid()}"
        self._session: int | None = None

    @property
    def leads(self) -> bool:
        return self._session is not None

    def run(self, stop: threading.Event) -> None:
        """Tries to lead until told to stop; after a lost connection tries again."""
        while not stop.is_set():
            try:
                with self._connect() as connection:
                    while not stop.is_set():
                        if self._won(connection):
                            self._lead(connection, stop)
                        stop.wait(1.0)
            except psycopg.Error:
                _log.warning("Календарь потерял связь с базой данных")
                stop.wait(1.0)

    def _connect(self) -> psycopg.Connection[tuple[object, ...]]:
        """A session that the server ends by itself when its holder is frozen, which lets another calendar lead."""
        connection = psycopg.connect(self._store.url, autocommit=True, connect_timeout=5)
        connection.execute(f"SET idle_session_timeout = '{_IDLE_SECONDS}s'".encode())
        return connection

    def _won(self, connection: psycopg.Connection[tuple[object, ...]]) -> bool:
        row = connection.execute(queries.LEAD, (LOCK,)).fetchone()
        return row is not None and row[0] is True

    def _lead(self, connection: psycopg.Connection[tuple[object, ...]], stop: threading.Event) -> None:
        self._session = connection.info.backend_pid
        scheduler = self._scheduler()
        _log.info("Календарь ведёт этот процесс")
        try:
            scheduler.start()
            while not stop.wait(_PULSE_SECONDS):
                connection.execute("SELECT 1")
        finally:
            self._session = None
            with contextlib.suppress(Exception):
                scheduler.shutdown(wait=True)

    def _scheduler(self) -> BackgroundScheduler:
        scheduler = BackgroundScheduler(
            timezone=self._clock.zone,
            executors={"default": ThreadPoolExecutor(2)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": _GRACE_SECONDS},
        )
        for job in self._jobs.values():
            scheduler.add_job(self._fire, job.trigger(self._clock.now()), args=[job], id=job.name)
        at_once = datetime.now(self._clock.zone)
        scheduler.add_job(self._catch_up, "interval", seconds=_CATCH_UP_SECONDS, id="catch-up", next_run_time=at_once)
        return scheduler

    def _catch_up(self) -> None:
        for job in self._jobs.values():
            self._fire(job)

    def _fire(self, job: Job) -> None:
        """Begins what is due. A failure is tried again by the next catch-up, since no run was recorded."""
        session = self._session
        if session is None:
            return
        try:
            now = self._clock.now()
            last = self._last(job, now)
            for slot in job.due(now, last):
                if begin(self._store, job, period_of(slot), self._name, session):
                    _note_delay(job, slot, now, last)
                    last = slot
        except SQLAlchemyError:
            _log.exception("Задание календаря не начато", extra={"job": job.name})

    def _last(self, job: Job, now: datetime) -> datetime | None:
        with self._store.begin() as connection:
            period = queries.last_runs(connection, [job.name], period_of(now)).get(job.name)
        return datetime.fromisoformat(period[0]) if period else None


Listed = tuple[Job, str | None, datetime | None]


def overview(store: Store, jobs: Mapping[str, Job]) -> list[Listed]:
    """The calendar with the newest period of each job and when it was begun, for `job list`."""
    with store.begin() as connection:
        last = queries.last_runs(connection, jobs)
    return [(job, *last.get(job.name, (None, None))) for job in jobs.values()]
