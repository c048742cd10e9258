"""Alerts to real peers: each trouble once, and once when it is over; what cannot be delivered harms nothing."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import text

from gateway.domain.clock import Clock
from gateway.errors import GatewayError
from gateway.operations import queue
from gateway.operations.queue import Work, Worker
from gateway.settings import Settings, load
from gateway.store.engine import Store
from gateway.sync import alerts, calendar, jobs, monthly
from gateway.sync.calendar import Job, period_of
from tests.operations.test_files_notes import HttpServer, MailServer, served

ZONE = ZoneInfo("Europe/Moscow")
NIGHTLY = Job("nightly", "test.work", "10 3 * * *", timedelta(days=2), "ночная работа")
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=ZONE)


@dataclass
class Place:
    """A worker whose clock is set by the test, and its two peers."""

    store: Store
    mail: MailServer
    web: HttpServer
    settings: Settings
    now: datetime = NOON
    working: list[bool] = field(default_factory=lambda: [True])

    @property
    def work(self) -> Work:
        return Work(self.store, None, self.settings, Clock(ZONE, source=lambda: self.now))

    def look(self, *jobs: Job, since: datetime | None = None) -> list[tuple[str, str]]:
        """Looks twice, delivers, and returns what was told with it: state and key."""
        before = len(self.web.posted)
        for _ in range(2):
            alerts.look(self.work, {job.name: job for job in jobs or (NIGHTLY,)}, since)
        self.run()
        posted = [json.loads(content) for _, _, content in self.web.posted[before:]]
        return [(line["state"], line["key"]) for one in posted for line in one["alerts"]]

    def run(self) -> None:
        Worker(self.work).run_waiting()

    def known(self, job: Job = NIGHTLY) -> None:
        """The calendar has begun a period of the job before."""
        self.do(
            "INSERT INTO job_run (job, period, started_at, started_by) VALUES (:job, :period, :slot, 'test')",
            job=job.name, period=period_of(SLOT - DAY), slot=SLOT - DAY,
        )  # fmt: skip

    def begin(self, slot: datetime, job: Job = NIGHTLY) -> None:
        """The calendar begins a period now."""
        assert calendar.begin(self.store, job, period_of(slot), "test")
        self.do("UPDATE job_run SET started_at = :now WHERE period = :period", now=self.now, period=period_of(slot))

    def do(self, statement: str, **values: Any) -> None:
        with self.store.begin() as connection:
            connection.execute(text(statement), values)

    def value(self, query: str) -> Any:
        with self.store.begin() as connection:
            return connection.execute(text(query)).scalar_one()


@pytest.fixture
def place(store: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    with served(MailServer()) as mail, served(HttpServer()) as web:
        made = Place(
            store, mail, web,
            Settings(
                smtp_url=mail.url, mail_from="dn@example.org", webhook_secret="ключ", alert_webhook=web.url,
                alert_emails="one@example.org, two@example.org",
            ),
        )  # fmt: skip

        def job(work: Work) -> None:
            if not made.working[0]:
                raise RuntimeError

        monkeypatch.setitem(queue.TASKS, "test.work", queue.Task("test.work", job, 1))
        yield made


SLOT = datetime(2026, 11, 22, 3, 10, tzinfo=ZONE)
DAY = timedelta(days=1)


def test_a_failed_job_is_told_once_and_once_when_it_is_well_again(place: Place) -> None:
    place.now, place.working[0] = SLOT, False
    place.begin(SLOT)
    place.run()
    assert place.look() == [("BEGAN", "job/nightly/failed")]
    assert place.look() == []
    place.now = SLOT + DAY
    place.begin(SLOT + DAY)
    place.run()
    assert place.look() == []
    place.now, place.working[0] = SLOT + 2 * DAY, True
    place.begin(SLOT + 2 * DAY)
    place.run()
    assert place.look() == [("ENDED", "job/nightly/failed")]
    assert place.look() == []
    assert [letter["subject"] for letter in place.mail.letters] == ["Шлюз ДН: неполадок 1", "Шлюз ДН: снова в порядке"]
    first, last = place.mail.letters
    assert first["to"] == "one@example.org, two@example.org"
    assert "Неполадка: Задание nightly (ночная работа) не выполнено" in first.get_content()
    assert "Снова в порядке: Задание nightly (ночная работа) не выполнено" in last.get_content()


def test_the_same_trouble_later_is_told_again(place: Place) -> None:
    told = []
    for day, working in enumerate((False, True, False, True)):
        place.now, place.working[0] = SLOT + day * DAY, working
        place.begin(place.now)
        place.run()
        told += place.look()
    assert [state for state, _ in told] == ["BEGAN", "ENDED"] * 2


def test_a_calendar_that_stands_still_is_told_by_the_workers(place: Place) -> None:
    place.now = SLOT
    place.begin(SLOT)
    place.run()
    assert place.look() == []
    place.now = SLOT + DAY + timedelta(minutes=14)
    assert place.look() == []
    place.now += timedelta(minutes=2)
    assert place.look() == [("BEGAN", "job/nightly/late")]
    place.now += timedelta(hours=5)
    assert place.look() == []
    place.begin(SLOT + DAY)
    assert place.look() == [("ENDED", "job/nightly/late")]
    assert place.look() == []


def test_a_run_that_was_late_while_nobody_looked_is_told_once(place: Place) -> None:
    place.known()
    place.now = SLOT + timedelta(hours=2)
    place.begin(SLOT)
    place.run()
    assert place.look() == [("PASSED", "job/nightly/late")]
    assert place.look() == []
    assert "начато с опозданием на 120 мин" in place.mail.letters[0].get_content()


def test_a_job_is_not_late_for_what_was_before_it_was_known(place: Place) -> None:
    """The first day of an installation: no period yet, then the last one before it."""
    assert place.look() == []
    place.begin(SLOT)
    place.run()
    assert place.look() == []


def test_a_calendar_that_was_never_begun_is_told(place: Place) -> None:
    """The worker has been there longer than the time of the job is past."""
    place.now = SLOT + timedelta(minutes=14)
    assert place.look(since=SLOT - timedelta(minutes=1)) == []
    place.now = SLOT + timedelta(minutes=16)
    assert place.look(since=SLOT + timedelta(minutes=1)) == []
    assert place.look(since=SLOT - timedelta(minutes=1)) == [("BEGAN", "job/nightly/late")]
    place.begin(SLOT)
    place.run()
    assert place.look() == [("ENDED", "job/nightly/late")]


def age(place: Place, minutes: int) -> None:
    """So long ago the queue's last event was."""
    place.do("UPDATE procrastinate_events SET at = now() - make_interval(mins => :minutes)", minutes=minutes)


def test_what_was_begun_and_no_worker_takes_is_told(place: Place) -> None:
    place.now = SLOT
    place.begin(SLOT)
    age(place, 14)
    assert signs(place) == []
    age(place, 16)
    assert signs(place) == [("BEGAN", "job/nightly/stuck")]
    assert signs(place) == []
    place.run()
    assert place.look() == [("ENDED", "job/nightly/stuck")]


def test_what_a_worker_does_not_end_is_told(place: Place) -> None:
    place.now = SLOT
    place.begin(SLOT)
    with_worker(place)
    place.do("UPDATE procrastinate_jobs SET status = 'doing', worker_id = (SELECT max(id) FROM procrastinate_workers)")
    age(place, 24 * 60 + 14)
    assert signs(place) == []
    age(place, 24 * 60 + 16)
    assert signs(place) == [("BEGAN", "job/nightly/stuck")]
    assert "выполняется слишком долго" in place.value("SELECT text FROM alert")


def signs(place: Place) -> list[tuple[str, str]]:
    """What a worker tells that runs no jobs."""
    before = place.value("SELECT coalesce(max(id), 0) FROM alert_note")
    alerts.look(place.work, {NIGHTLY.name: NIGHTLY})
    with place.store.begin() as connection:
        notes = connection.execute(
            text("SELECT lines FROM alert_note WHERE id > :before"), {"before": before}
        ).scalars()
        return [(line["state"], line["key"]) for lines in notes for line in lines]


def with_worker(place: Place) -> None:
    place.do("INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now())")


def without_workers(place: Place) -> None:
    place.do("DELETE FROM procrastinate_workers")


def test_the_calendar_tells_that_there_is_no_worker(place: Place) -> None:
    """It sends the note itself, once; workers tell that they are back, once, and nothing that waited for them."""
    jobs_ = {NIGHTLY.name: NIGHTLY}
    place.now = SLOT
    alerts.look_for_workers(place.work, jobs_)
    place.begin(SLOT)
    age(place, 4)
    alerts.look_for_workers(place.work, jobs_)
    age(place, 6)
    with_worker(place)
    alerts.look_for_workers(place.work, jobs_)
    assert place.web.posted == place.mail.letters == []
    without_workers(place)
    place.web.status = 500
    for status in (500, 200, 200):
        place.web.status = status
        alerts.look_for_workers(place.work, jobs_)
    assert len(place.mail.letters) == 1
    assert "Нет ни одного исполнителя заданий" in place.mail.letters[0].get_content()
    said = [json.loads(content)["alerts"] for _, _, content in place.web.posted[1:]]
    assert [[(line["state"], line["key"]) for line in one] for one in said] == [[("BEGAN", "workers")]]
    age(place, 60)
    assert place.look() == [("ENDED", "workers")]
    assert place.look() == []
    assert len(place.mail.letters) == 2


def test_the_leading_calendar_looks_for_workers(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calendar, "WATCH_AFTER", timedelta(0))
    looked, stop = threading.Event(), threading.Event()
    clock = place.work.clock
    thread = threading.Thread(target=calendar.Calendar(place.store, {}, clock, watch=looked.set).run, args=[stop])
    thread.start()
    try:
        assert looked.wait(60)
    finally:
        stop.set()
        thread.join()


def test_a_month_fails_is_late_and_waits(place: Place) -> None:
    place.do("INSERT INTO month_run (month, step, state, code) VALUES (202610, 'MARKS', 'FAILED', 'server.disk-full')")
    place.do("INSERT INTO month_step (month, step, state) VALUES (202610, 'MARKS', 'FAILED')")
    assert place.look() == [("BEGAN", "month/2026-10/marks/failed")]
    assert "признаки из реестров счетов: не выполнено: server.disk-full" in place.mail.letters[0].get_content()
    # repeated, and it runs: not well yet
    place.do("UPDATE month_run SET state = 'RUNNING', code = NULL")
    place.do("UPDATE month_step SET state = 'RUNNING', tries = 2")
    assert place.look() == []
    place.do("UPDATE month_run SET began_at = now() - interval '4 days'")
    assert place.look() == [("BEGAN", "month/2026-10/late")]
    place.do("UPDATE month_step SET state = 'DONE'")
    assert place.look() == [("ENDED", "month/2026-10/marks/failed")]
    place.do("UPDATE month_run SET state = 'DONE'")
    assert place.look() == [("ENDED", "month/2026-10/late")]
    assert place.look() == []


def test_a_step_that_fails_right_after_another_was_left_out_is_told(place: Place) -> None:
    place.do("INSERT INTO month_run (month, step, state, code) VALUES (202610, 'INSURED', 'FAILED', 'upstream.down')")
    place.do("INSERT INTO month_step (month, step, state) VALUES (202610, 'INSURED', 'FAILED')")
    assert place.look() == [("BEGAN", "month/2026-10/insured/failed")]
    place.do("UPDATE month_step SET state = 'PASSED'")
    place.do("UPDATE month_run SET step = 'MARKS', code = 'server.disk-full'")
    place.do("INSERT INTO month_step (month, step, state) VALUES (202610, 'MARKS', 'FAILED')")
    assert place.look() == [("ENDED", "month/2026-10/insured/failed"), ("BEGAN", "month/2026-10/marks/failed")]


def test_a_comparison_that_waits_is_told_whoever_began_it(place: Place) -> None:
    place.do("INSERT INTO reconcile (id, kind, period, state) VALUES (gen_random_uuid(), 'INSURED', 202610, 'BRAKED')")
    assert place.look() == [("BEGAN", "reconcile/2026-10/braked")]
    assert "Сверка с застрахованными за 2026-10 ждёт решения" in place.mail.letters[0].get_content()
    place.do("UPDATE reconcile SET state = 'REFUSED'")
    place.do("INSERT INTO reconcile (id, kind, period, state) VALUES (gen_random_uuid(), 'INSURED', 202610, 'APPLIED')")
    assert place.look() == [("ENDED", "reconcile/2026-10/braked")]


def test_a_calendar_that_stands_still_is_seen_by_the_jobs_of_each_minute(place: Place) -> None:
    """Their last time is never long past: the first one that was missed counts."""
    often = Job("often", "test.work", "* * * * *", timedelta(minutes=2), "ежеминутно")
    place.now = NOON
    place.begin(NOON, often)
    place.run()
    place.now = NOON + timedelta(minutes=16)
    assert place.look(often) == []
    place.now += timedelta(minutes=1)
    assert place.look(often) == [("BEGAN", "job/often/late")]


def test_the_real_calendar_is_looked_at_by_every_worker(place: Place) -> None:
    place.do("INSERT INTO job_run (job, period, started_by) VALUES ('audit.seal', '2026-11-22T10:00+03:00', 'x')")
    assert jobs.watch in queue.RESCUERS
    jobs.watch(place.work)
    place.run()
    assert [json.loads(content)["alerts"][0]["key"] for _, _, content in place.web.posted] == ["job/audit.seal/late"]


def test_posts_are_signed(place: Place) -> None:
    place.known()
    place.now = SLOT + timedelta(hours=2)
    place.begin(SLOT)
    place.look()
    ((_, headers, content),) = place.web.posted
    assert headers["x-dn-signature"] == "sha256=" + hmac.new("ключ".encode(), content, hashlib.sha256).hexdigest()
    assert json.loads(content)["alerts"][0]["text"].startswith("Задание nightly")


def test_failing_ways_touch_neither_each_other_nor_the_work(place: Place) -> None:
    place.known()
    place.web.status, place.mail.refuse = 500, b"450 later"
    place.now = SLOT + timedelta(hours=2)
    place.begin(SLOT)
    place.look()
    assert (
        place.value("SELECT count(*) FROM procrastinate_jobs WHERE task_name = 'test.work' AND status = 'succeeded'")
        == 1
    )
    assert place.mail.letters == []
    place.web.status = 200
    place.do("UPDATE procrastinate_jobs SET scheduled_at = NULL WHERE status = 'todo'")
    place.run()
    assert place.value("SELECT mailed_at IS NULL AND called_at IS NOT NULL FROM alert_note") is True
    place.mail.refuse = b""
    place.do("UPDATE procrastinate_jobs SET scheduled_at = NULL WHERE status = 'todo'")
    place.run()
    assert (len(place.mail.letters), len(place.web.posted)) == (1, 2)
    alerts.mail(place.work, place.value("SELECT id FROM alert_note"))
    alerts.call(place.work, place.value("SELECT id FROM alert_note"))
    assert (len(place.mail.letters), len(place.web.posted)) == (1, 2)


def test_nobody_is_told_without_an_address(place: Place) -> None:
    place.known()
    place.settings = replace(place.settings, alert_emails="", alert_webhook="")
    place.now = SLOT + timedelta(hours=2)
    place.begin(SLOT)
    assert place.look() == []
    assert place.value("SELECT count(*) FROM alert") == 0
    place.settings = replace(place.settings, alert_emails="a@example.org", smtp_url="")
    place.look()
    assert place.mail.letters == place.web.posted == []


def test_two_workers_tell_once(place: Place) -> None:
    place.known()
    place.now = SLOT + timedelta(hours=2)
    place.begin(SLOT)
    with place.store.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": alerts.LOCK})
        assert place.look() == []
    assert place.look() == [("PASSED", "job/nightly/late")]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alert_emails", "operator"), ("alert_emails", "a@b\nBcc: c@d"), ("alert_emails", "a@b.ru; c@d.ru"),
        ("alert_webhook", "ftp://a/b"), ("alert_webhook", "http://"), ("alert_webhook", "http://a b/"),
        ("monthly_day", 0), ("monthly_day", 29), ("monthly_format", "PDF"),
    ],
)  # fmt: skip
def test_wrong_settings(name: str, value: object) -> None:
    with pytest.raises(GatewayError, match="setting.invalid"):
        load(environ={}, **{name: value})


def test_jobs_of_the_monthly_work_are_known() -> None:
    assert {monthly.BEGIN, monthly.GO, alerts.MAIL, alerts.CALL} <= queue.TASKS.keys()
