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
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count, islice

import psycopg
from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from gateway.access import audit
from gateway.domain.clock import Clock
from gateway.errors import GatewayError
from gateway.operations import queue
from gateway.store.engine import Store
from gateway.sync import queries

LOCK = 7_305_002
_PULSE_SECONDS = 0.3
_IDLE_SECONDS = 5
_GRACE_SECONDS = 6 * 3600
_CATCH_UP_SECONDS = 60
_WATCH_SECONDS = 60
_COUNTED = 1_000
_REPEAT = "#"
_COUNTING = "начало отсчёта"

LATE = timedelta(minutes=5)
"""A run that begins later than this after its time is marked as late."""

WATCH_AFTER = timedelta(minutes=5)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    """A line of the calendar: ``cron`` (minute hour day month weekday) in the region's time, ``span`` the longest gap
    between two runs. ``each`` catches up every missed period, otherwise only the last one counts; ``waits`` leaves out the
    period that was over before the calendar first knew the job; ``dated`` tells the task its ``period``."""

    name: str
    task: str
    cron: str
    span: timedelta
    text: str
    each: bool = False
    waits: bool = False
    dated: bool = False
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
        if self.each and last is not None:
            return list(self.slots(last, now))
        slot = self.last_slot(now)
        return [slot] if slot is not None and (last is None or slot > last) else []

    def last_slot(self, now: datetime) -> datetime | None:
        """The newest moment of the job that is not later than ``now``."""
        return next(iter(list(self.slots(now - self.span, now))[-1:]), None)


def period_of(slot: datetime) -> str:
    """How `job_run.period` names a moment: local time to the minute with its offset, such as 2026-11-22T03:10+03:00."""
    return slot.isoformat(timespec="minutes")


def moment_of(period: str) -> datetime:
    """The moment that a period is named after, also that of a repeat (``2026-11-22T03:10+03:00#2``)."""
    return datetime.fromisoformat(period.partition(_REPEAT)[0])


def lateness(period: str, begun: datetime) -> timedelta:
    """How late a period was begun; nothing where it was in time (the calendar looks once a minute), or for a repeat."""
    late = begun - moment_of(period)
    return late if late > LATE and _REPEAT not in period else timedelta(0)


@dataclass(frozen=True, slots=True)
class Begun:
    """A period of a job that was begun. The ``first`` one is never late: its time may have passed before anybody knew the
    job."""

    period: str
    at: datetime
    first: bool

    @property
    def late(self) -> timedelta:
        return timedelta(0) if self.first else lateness(self.period, self.at)


def last_runs(connection: Connection, jobs: Iterable[str], until: str | None = None) -> dict[str, Begun]:
    """By job: its newest period, not later than ``until``."""
    return {name: Begun(*found) for name, found in queries.last_runs(connection, jobs, until).items()}


def begin(store: Store, job: Job, period: str, by: str, session: int | None = None, *, audited: bool = False) -> bool:
    """Begins a period of a job unless it was begun before; the run, its task and its record are one transaction."""
    with store.begin() as connection:
        if not queries.claim(connection, job.name, period, by, session, LOCK):
            return False
        if audited:
            audit.note(connection, "JobRun", {"job": job.name, "period": period})
        arguments = {**job.arguments, **({"period": period.partition(_REPEAT)[0]} if job.dated else {})}
        queue.defer(connection, job.task, alone=job.task, single=not arguments, delay=0, **arguments)
    _log.info("Задание календаря начато", extra={"job": job.name, "period": period})
    return True


def by_hand(store: Store, job: Job, now: datetime, by: str, *, again: bool = False) -> str:
    """Begins the newest period of a job that nobody has begun, and so keeps the calendar from it; returns the period.

    A period that was begun is refused with ``job.begun``, or with ``again`` begun once more under a number of its own.
    """
    slot = job.last_slot(now)
    first = period_of(now if slot is None else slot)
    for number in count(1):
        period = first if number == 1 else f"{first}{_REPEAT}{number}"
        if begin(store, job, period, by, audited=True):
            return period
        if not again:
            break
    with store.begin() as connection:
        raise GatewayError("job.begun", period=first, by=queries.begun_by(connection, job.name, first))


def _note_delay(job: Job, slot: datetime, now: datetime, last: datetime | None) -> None:
    """Says of a period that it begins late, and of those before it that they were left out: the last one stands for all."""
    details = {"job": job.name, "period": period_of(slot)}
    if last is not None and (late := lateness(period_of(slot), now)):
        _log.warning("Задание календаря начато с опозданием на %d мин", late // timedelta(minutes=1), extra=details)
    if last is not None and not job.each:
        skipped = sum(1 for _ in islice(job.slots(last, slot), _COUNTED)) - 1
        if skipped > 0:
            _log.warning("Пропущено периодов задания: %d", skipped, extra=details)


class Calendar:
    """One candidate for leading. `run` returns when ``stop`` is set. The leader calls ``watch`` once a minute, first
    `WATCH_AFTER` after it has begun to lead: workers that were started with it need some time."""

    def __init__(
        self, store: Store, jobs: Mapping[str, Job], clock: Clock, watch: Callable[[], None] | None = None
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._clock = clock
        self._watch = watch
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
        if self._watch is not None:
            first = at_once + WATCH_AFTER
            scheduler.add_job(self._watch, "interval", seconds=_WATCH_SECONDS, id="watch", next_run_time=first)
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
            if last is None and job.waits:
                self._begin_counting(job, now, session)
                return
            for slot in job.due(now, last):
                if begin(self._store, job, period_of(slot), self._name, session):
                    _note_delay(job, slot, now, last)
                    last = slot
        except SQLAlchemyError:
            _log.exception("Задание календаря не начато", extra={"job": job.name})

    def _begin_counting(self, job: Job, now: datetime, session: int) -> None:
        """Notes the period before the first one, so that a first one that is missed is caught up."""
        slot = job.last_slot(now)
        if slot is not None:
            with self._store.begin() as connection:
                queries.claim(connection, job.name, period_of(slot), _COUNTING, session, LOCK)

    def _last(self, job: Job, now: datetime) -> datetime | None:
        with self._store.begin() as connection:
            found = last_runs(connection, [job.name], period_of(now)).get(job.name)
        return moment_of(found.period) if found else None


def overview(store: Store, jobs: Mapping[str, Job]) -> list[tuple[Job, Begun | None]]:
    """The calendar with the newest period of each job, for `job list`."""
    with store.begin() as connection:
        last = last_runs(connection, jobs)
    return [(job, last.get(job.name)) for job in jobs.values()]
