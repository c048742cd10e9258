"""The calendar: one run per job and period, whoever leads and whatever was missed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from gateway.access import chain
from gateway.domain.clock import Clock
from gateway.errors import GatewayError
from gateway.operations import queue
from gateway.people import queries as people_queries
from gateway.store.engine import Store
from gateway.sync import calendar
from gateway.sync import queries as sync_queries
from gateway.sync.calendar import Calendar, Job, begin, period_of

ZONE = ZoneInfo("Europe/Moscow")
NIGHTLY = Job("nightly", "test.note", "10 3 * * *", timedelta(days=2), "ночью")
MONTHLY = Job("monthly", "test.note", "0 4 5 * *", timedelta(days=32), "ежемесячно", each=True)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZONE)


@pytest.fixture(autouse=True)
def tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(queue.TASKS, "test.note", queue.Task("test.note", lambda work, **_: None, 1))


def runs(store: Store) -> list[str]:
    with store.begin() as connection:
        return list(connection.execute(text("SELECT period FROM job_run ORDER BY period")).scalars())


def jobs_deferred(store: Store) -> int:
    with store.begin() as connection:
        return connection.execute(text("SELECT count(*) FROM procrastinate_jobs")).scalar_one()


def wait_for(right: Callable[[], bool], seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not right():
        assert time.monotonic() < until, "has not come"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("job", "now", "last", "expected"),
    [
        (NIGHTLY, "2026-11-22 03:09", None, ["2026-11-21 03:10"]),
        (NIGHTLY, "2026-11-22 03:10", "2026-11-21 03:10", ["2026-11-22 03:10"]),
        (NIGHTLY, "2026-11-22 12:00", "2026-11-22 03:10", []),
        (NIGHTLY, "2026-11-22 12:00", "2026-11-12 03:10", ["2026-11-22 03:10"]),
        (NIGHTLY, "2026-11-22 12:00", "2026-11-23 03:10", []),
        (MONTHLY, "2027-01-05 04:00", None, ["2027-01-05 04:00"]),
        (MONTHLY, "2027-01-31 04:00", "2026-10-05 04:00", ["2026-11-05 04:00", "2026-12-05 04:00", "2027-01-05 04:00"]),
        (MONTHLY, "2028-03-01 00:00", "2028-02-05 04:00", []),
    ],
)
def test_what_is_due(job: Job, now: str, last: str | None, expected: list[str]) -> None:
    assert job.due(at(now), at(last) if last else None) == [at(one) for one in expected]


@settings(deadline=None, max_examples=60)
@given(
    start=st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)),
    steps=st.lists(st.integers(1, 9000), min_size=1, max_size=25),
    job=st.sampled_from([NIGHTLY, MONTHLY]),
)
def test_each_period_is_begun_at_most_once_and_monthly_ones_never_missed(start, steps, job) -> None:
    """However often and late the calendar looks."""
    now = first = start.replace(tzinfo=ZONE)
    begun: list[datetime] = []
    for minutes in steps:
        begun += job.due(now, begun[-1] if begun else None)
        now += timedelta(minutes=minutes)
    assert begun == sorted(set(begun))
    if job.each and begun:
        assert begun == list(job.slots(begun[0] - timedelta(minutes=1), now - timedelta(minutes=steps[-1])))
    assert all(moment <= now for moment in begun)
    assert all(moment > first - job.span for moment in begun)


def test_period_is_begun_once_with_its_task(store) -> None:
    period = period_of(at("2026-11-22 03:10"))
    assert period == "2026-11-22T03:10+03:00"
    assert begin(store, NIGHTLY, period, "a")
    assert not begin(store, NIGHTLY, period, "b")
    assert runs(store) == [period]
    assert jobs_deferred(store) == 1


def test_task_that_cannot_be_deferred_leaves_no_run(store, monkeypatch) -> None:
    monkeypatch.delitem(queue.TASKS, "test.note")
    with pytest.raises(KeyError):
        begin(store, NIGHTLY, "2026-11-22", "a")
    assert runs(store) == []


def test_calendar_that_has_lost_the_lock_writes_nothing(store) -> None:
    with store.driver() as stranger:
        pid = stranger.info.backend_pid
        assert not begin(store, NIGHTLY, "2026-11-22", "a", session=pid)
        stranger.execute("SELECT pg_advisory_lock(%s)", (calendar.LOCK,))
        assert begin(store, NIGHTLY, "2026-11-22", "a", session=pid)
        stranger.execute("SELECT pg_advisory_unlock(%s)", (calendar.LOCK,))
        assert not begin(store, NIGHTLY, "2026-11-23", "a", session=pid)
    assert runs(store) == ["2026-11-22"]


def test_missed_period_is_caught_up_at_start(store) -> None:
    begin(store, MONTHLY, period_of(at("2026-08-05 04:00")), "before")
    stop = threading.Event()
    clock = Clock(source=lambda: at("2026-11-22 12:00"))
    thread = threading.Thread(target=Calendar(store, {"monthly": MONTHLY}, clock).run, args=[stop])
    thread.start()
    try:
        wait_for(lambda: len(runs(store)) == 4)
    finally:
        stop.set()
        thread.join()
    assert [one[:10] for one in runs(store)] == ["2026-08-05", "2026-09-05", "2026-10-05", "2026-11-05"]


PROCESS = """
import sys, threading
from datetime import datetime, timedelta, timezone
from gateway.domain.clock import Clock
from gateway.operations import queue
from gateway.store.engine import Store
from gateway.sync.calendar import Calendar, Job

queue.TASKS["test.note"] = queue.Task("test.note", lambda work: None, 1)
base = datetime.now(timezone.utc)
job = Job("often", "test.note", "* * * * *", timedelta(minutes=2), "каждую минуту")
quick = Clock(source=lambda: base + (datetime.now(timezone.utc) - base) * 120)
calendar = Calendar(Store(sys.argv[1]), {"often": job}, quick)
threading.Thread(target=calendar.run, args=[threading.Event()], daemon=True).start()
import gateway.sync.calendar as module
import time
while True:
    print("leads" if calendar.leads else "waits", flush=True)
    while True:
        before = calendar.leads
        time.sleep(0.02)
        calendar._catch_up()
        if calendar.leads != before:
            break
"""
"""A calendar whose clock runs 120 times too fast and that looks 50 times a second."""


def start_process(store: Store) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", PROCESS, store.url], stdout=subprocess.PIPE, text=True)


def leader(store: Store) -> int | None:
    with store.begin() as connection:
        return connection.execute(
            text("SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = :lock AND granted"),
            {"lock": calendar.LOCK},
        ).scalar()


@pytest.mark.trial
def test_killed_and_frozen_leaders_are_replaced_and_no_period_runs_twice(store) -> None:
    first = start_process(store)
    assert first.stdout.readline() == "waits\n"
    assert first.stdout.readline() == "leads\n"
    second = start_process(store)
    assert second.stdout.readline() == "waits\n"
    try:
        wait_for(lambda: len(runs(store)) >= 3)
        first.kill()
        first.wait()
        assert second.stdout.readline() == "leads\n"
        begun = len(runs(store))
        wait_for(lambda: len(runs(store)) >= begun + 3)

        third = start_process(store)
        assert third.stdout.readline() == "waits\n"
        session = leader(store)
        os.kill(second.pid, signal.SIGSTOP)
        assert third.stdout.readline() == "leads\n"
        assert leader(store) != session
        os.kill(second.pid, signal.SIGCONT)
        assert second.stdout.readline() == "waits\n"
        begun = len(runs(store))
        wait_for(lambda: len(runs(store)) >= begun + 3)
    finally:
        for process in (first, second, third):
            process.kill()
            process.wait()
    with store.begin() as connection:
        by = connection.execute(text("SELECT count(*), count(DISTINCT started_by) FROM job_run")).one()
    assert by[0] == len(set(runs(store)))
    assert by[1] == 3


def test_a_leading_calendar_holds_up_neither_sealing_nor_loading(store: Store) -> None:
    """Each has a lock of its own: the leader keeps its for days."""
    with store.driver() as leader:
        assert leader.execute(sync_queries.LEAD, (calendar.LOCK,)).fetchone() == (True,)
        with store.begin() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '2s'"))
            assert chain.seal(connection) == 0
            connection.execute(text(people_queries.LOAD_LOCK))
        leader.execute("SELECT pg_advisory_unlock_all()")


class Jumping:
    """A calendar that looks whenever its clock is set, as the leader does."""

    def __init__(self, store: Store, *jobs: Job) -> None:
        self._store = store
        self._now = at("2026-01-01 00:00")
        self._calendar = Calendar(store, {job.name: job for job in jobs}, Clock(ZONE, source=lambda: self._now))

    def look(self, *moments: str) -> None:
        with self._store.driver() as leader:
            leader.execute("SELECT pg_advisory_lock(%s)", (calendar.LOCK,))
            self._calendar._session = leader.info.backend_pid
            for moment in moments:
                self._now = at(moment)
                self._calendar._catch_up()
            leader.execute("SELECT pg_advisory_unlock(%s)", (calendar.LOCK,))


NIGHT = Job("night", "test.note", "0 3 * * *", timedelta(days=2), "ночью", each=True)
MONTH = Job("month", "test.note", "0 4 1 * *", timedelta(days=32), "ежемесячно", each=True)
LAST_DAY = Job("last", "test.note", "0 23 last * *", timedelta(days=32), "в последний день", each=True)


@pytest.mark.parametrize(
    ("job", "moments", "expected"),
    [
        pytest.param(
            NIGHT,
            ["2026-05-10 12:00", "2026-05-11 12:00", "2026-05-10 12:05", "2026-05-11 12:05", "2026-05-12 03:00"],
            ["05-10", "05-11", "05-12"],
            id="a day ahead and back",
        ),
        pytest.param(
            NIGHT,
            ["2026-05-10 12:00", "2026-05-09 12:00", "2026-05-10 12:00", "2026-05-11 03:00"],
            ["05-09", "05-10", "05-11"],
            id="a day back",
        ),
        pytest.param(
            NIGHTLY,
            ["2026-05-10 12:00", "2031-01-01 12:00", "2026-05-11 03:10", "2026-05-12 03:10"],
            ["05-10", "05-11", "05-12"],
            id="years ahead by mistake",
        ),
        pytest.param(NIGHT, ["2024-02-28 12:00", "2024-03-01 12:00"], ["02-28", "02-29", "03-01"], id="leap day"),
        pytest.param(NIGHT, ["2026-02-28 12:00", "2026-03-01 12:00"], ["02-28", "03-01"], id="no leap day"),
        pytest.param(MONTH, ["2026-12-31 23:59", "2027-01-01 04:00"], ["12-01", "01-01"], id="new year"),
        pytest.param(
            LAST_DAY, ["2028-01-31 23:00", "2028-03-01 00:00"], ["01-31", "02-29"], id="the last day of February"
        ),
    ],
)
def test_clock_that_jumps(store: Store, job: Job, moments: list[str], expected: list[str]) -> None:
    """One run per period, none left out, whatever the clock does."""
    Jumping(store, job).look(*[one for moment in moments for one in (moment, moment)])
    with store.begin() as connection:
        periods = connection.execute(text("SELECT period FROM job_run WHERE period < '2030' ORDER BY period")).scalars()
        assert [period[5:10] for period in periods] == expected


@settings(deadline=None, max_examples=15)
@given(jumps=st.lists(st.integers(-72, 72), min_size=1, max_size=12))
def test_no_jump_of_the_clock_leaves_out_a_period(jumps: list[int]) -> None:
    """By the rule alone: the rows of the calendar as a set, looked at with the clock of the moment."""
    now = at("2026-12-30 12:00")
    begun = set(NIGHT.due(now, None))
    first = min(begun)
    for hours in jumps:
        now += timedelta(hours=hours)
        begun |= set(NIGHT.due(now, max((one for one in begun if one <= now), default=None)))
        assert begun >= set(NIGHT.slots(first, now))


def test_late_and_left_out_periods_are_said(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    Jumping(store, NIGHTLY).look("2026-11-20 03:10", "2026-11-22 12:10")
    assert [record.getMessage() for record in caplog.records if "Задание" in record.getMessage()] == [
        "Задание календаря начато",
        "Задание календаря начато",
        "Задание календаря начато с опозданием на 540 мин",
    ]
    assert "Пропущено периодов задания: 1" in caplog.messages


def test_lateness_is_seen_from_the_rows(store: Store) -> None:
    begin(store, NIGHTLY, period_of(at("2026-11-20 03:10")), "a")
    with store.begin() as connection:
        connection.execute(text("UPDATE job_run SET started_at = :at"), {"at": at("2026-11-20 05:00")})
    ((_, begun),) = calendar.overview(store, {"nightly": NIGHTLY})
    assert begun is not None
    assert begun.late == timedelta(0)
    begin(store, NIGHTLY, period_of(at("2026-11-19 03:10")), "a")
    ((_, begun),) = calendar.overview(store, {"nightly": NIGHTLY})
    assert begun is not None
    assert begun.late == timedelta(minutes=110)
    assert calendar.lateness(begun.period, at("2026-11-20 03:11")) == timedelta(0)
    assert calendar.lateness(begun.period, at("2026-11-19 03:11")) == timedelta(0)


def test_a_new_installation_is_not_late(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """It begins with the last period of each job, whose time was before anybody knew the job."""
    caplog.set_level("INFO")
    Jumping(store, NIGHTLY, CHAIN).look("2026-11-22 12:00")
    assert len(runs(store)) == 2
    assert [record.getMessage() for record in caplog.records if "опозданием" in record.getMessage()] == []
    listed = calendar.overview(store, {"nightly": NIGHTLY, "chain": CHAIN})
    assert [begun.late for _, begun in listed if begun is not None] == [timedelta(0)] * 2


# monthly work ---------------------------------------------------------------------------------------------------------

CHAIN = Job("chain", "test.note", "0 2 1 * *", timedelta(days=32), "ежемесячно", each=True, waits=True, dated=True)


def deferred(store: Store) -> list[str]:
    """The periods that the task was told of."""
    with store.begin() as connection:
        return list(
            connection.execute(
                text("SELECT args->>'period' FROM procrastinate_jobs ORDER BY args->>'period'")
            ).scalars()
        )


def test_a_new_monthly_job_waits_for_its_next_period(store: Store) -> None:
    """An installation in the middle of a month closes nothing of the past."""
    clock = Jumping(store, CHAIN)
    clock.look("2026-11-22 12:00", "2026-11-22 12:01")
    assert deferred(store) == []
    assert runs(store) == ["2026-11-01T02:00+03:00"]
    clock.look("2026-12-01 01:59", "2026-12-01 02:00", "2026-12-01 02:01")
    assert deferred(store) == ["2026-12-01T02:00+03:00"]


def test_all_calendars_down_over_firsts_of_the_month_are_caught_up(store: Store) -> None:
    Jumping(store, CHAIN).look("2026-10-20 12:00")
    Jumping(store, CHAIN).look("2027-01-12 09:30", "2027-01-12 09:31")
    firsts = ["2026-11-01T02:00+03:00", "2026-12-01T02:00+03:00", "2027-01-01T02:00+03:00"]
    assert deferred(store) == firsts
    assert runs(store)[1:] == firsts


def test_a_run_by_hand_takes_the_period_from_the_calendar(store: Store) -> None:
    now = at("2026-11-22 12:00")
    period = calendar.by_hand(store, NIGHTLY, now, "оператор")
    assert period == "2026-11-22T03:10+03:00"
    Jumping(store, NIGHTLY).look("2026-11-22 12:00")
    assert runs(store) == [period]
    with pytest.raises(GatewayError, match="job.begun") as refusal:
        calendar.by_hand(store, NIGHTLY, now, "другой")
    assert "оператор" in refusal.value.message
    assert calendar.by_hand(store, NIGHTLY, now, "другой", again=True) == period + "#2"
    assert calendar.by_hand(store, NIGHTLY, now, "другой", again=True) == period + "#3"
    ((_, last),) = calendar.overview(store, {"nightly": NIGHTLY})
    assert last is not None
    assert (last.period, last.late) == (period + "#3", timedelta(0))
    with store.begin() as connection:
        noted = connection.execute(text("SELECT details - 'account' FROM audit_record WHERE operation = 'JobRun'"))
        assert list(noted.scalars()) == [{"job": "nightly", "period": period + end} for end in ("", "#2", "#3")]
    Jumping(store, NIGHTLY).look("2026-11-22 12:05", "2026-11-23 03:10")
    assert runs(store)[-1] == "2026-11-23T03:10+03:00"


def test_many_hands_begin_a_period_once(store: Store) -> None:
    begun: list[str] = []

    def hand() -> None:
        try:
            begun.append(calendar.by_hand(store, NIGHTLY, at("2026-11-22 12:00"), "a"))
        except GatewayError:
            return

    threads = [threading.Thread(target=hand) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(begun) == len(runs(store)) == 1


STUCK = """
import os, signal, sys
from gateway.operations import queue
from gateway.store.engine import Store
from gateway.sync import calendar
from gateway.sync.calendar import Calendar, Job
from datetime import datetime, timedelta
from gateway.domain.clock import Clock
import threading
from zoneinfo import ZoneInfo

queue.TASKS["test.note"] = queue.Task("test.note", lambda work, **_: None, 1)
job = Job("chain", "test.note", "0 2 1 * *", timedelta(days=32), "ежемесячно", each=True, waits=True, dated=True)
zone = ZoneInfo("Europe/Moscow")
now = [datetime(2026, 11, 20, 12, tzinfo=zone)]
one = Calendar(Store(sys.argv[1]), {"chain": job}, Clock(zone, source=lambda: now[0]))
if "freeze" in sys.argv:
    real = queue.defer

    def defer(*args, **values):
        print("frozen", flush=True)
        os.kill(os.getpid(), signal.SIGSTOP)
        return real(*args, **values)

    calendar.queue.defer = defer
threading.Thread(target=one.run, args=[threading.Event()], daemon=True).start()
for line in sys.stdin:
    now[0] = datetime.fromisoformat(line.strip()).replace(tzinfo=zone)
    one._catch_up()
    print("looked", one.leads, flush=True)
"""
"""A calendar whose clock is told; with ``freeze`` it stops itself between the row of a run and its commit."""


def told(process: subprocess.Popen[str], moment: str) -> str:
    process.stdin.write(moment + "\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


@pytest.mark.trial
def test_leader_frozen_for_a_minute_in_the_middle_of_a_run_writes_nothing_late(store: Store) -> None:
    def start(*more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", STUCK, store.url, *more], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    first = start("freeze")
    second = None
    try:
        wait_for(lambda: leader(store) is not None)
        wait_for(lambda: runs(store) == ["2026-11-01T02:00+03:00"])
        second = start()
        assert told(second, "2026-11-20 12:00") == "looked False"
        assert told(first, "2026-12-01 02:00") == "frozen"
        frozen_at = time.monotonic()
        wait_for(lambda: told(second, "2026-12-01 02:01") == "looked True")
        wait_for(lambda: deferred(store) == ["2026-12-01T02:00+03:00"])
        assert runs(store) == ["2026-11-01T02:00+03:00", "2026-12-01T02:00+03:00"]
        time.sleep(max(0.0, 60 - (time.monotonic() - frozen_at)))
        by = started_by(store)
        os.kill(first.pid, signal.SIGCONT)
        assert first.stdout.readline().startswith("looked")
        assert told(first, "2026-12-01 02:05") == "looked False"
        assert told(second, "2027-01-01 02:00") == "looked True"
        assert started_by(store)[:2] == by
        assert deferred(store) == ["2026-12-01T02:00+03:00", "2027-01-01T02:00+03:00"]
        assert len(runs(store)) == 3
    finally:
        for process in (first, second):
            if process is not None:
                process.kill()
                process.wait()


def started_by(store: Store) -> list[str]:
    with store.begin() as connection:
        return list(connection.execute(text("SELECT started_by FROM job_run ORDER BY period")).scalars())
