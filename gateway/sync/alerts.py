"""Alerts: the operator is told once when a job or a step of the monthly work fails, is late or waits, and once when it is
well again.

Every worker looks a few times a minute, so that a calendar that stands still is seen as well; while there is no worker,
the leading calendar looks and sends. What is new with one look is one note, sent by e-mail and by HTTP, each with repeats
of its own; a note that cannot be delivered harms nothing else.
"""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from email.message import EmailMessage

from sqlalchemy import Connection, RowMapping

from gateway import settings as configuration
from gateway.operations import notes
from gateway.operations.queue import Work, defer, live_workers, task
from gateway.settings import Settings
from gateway.sync import monthly, queries
from gateway.sync.calendar import Begun, Job, last_runs, moment_of, period_of
from gateway.sync.signs import Sign

MAIL, CALL = "alerts.mail", "alerts.call"
LOCK = 7_305_013

OVERDUE = timedelta(minutes=15)
"""A period that nobody has begun so long after its time is late; so is one whose task no worker has taken so long."""

LONGEST = timedelta(days=1)
"""A task runs until its next period at most, and no longer than this; beyond that, by `OVERDUE`, it hangs."""

WORKERLESS = timedelta(minutes=5)
"""Without workers for so long, work of the calendar lies about."""

WORKERS = "workers"

_ATTEMPTS = 7
_BEGAN, _ENDED, _PASSED = "BEGAN", "ENDED", "PASSED"
_WORDS = {_BEGAN: "Неполадка", _ENDED: "Снова в порядке", _PASSED: "Прошло"}

_log = logging.getLogger(__name__)


def look(work: Work, jobs: Mapping[str, Job], since: datetime | None = None) -> None:
    """How a worker compares what it sees with what was told, and defers a note of what is new. ``since`` is when the worker
    began: a job whose time has come since then, and that nobody has ever begun, is late."""
    if not _addressed(work):
        return
    with work.store.begin() as connection:
        if queries.my_turn(connection, LOCK):
            now = work.clock.now()
            _tell(connection, (*monthly.signs(connection), *_signs(connection, jobs, now, since or now)))


def look_for_workers(work: Work, jobs: Mapping[str, Job]) -> None:
    """How the calendar looks: where no worker is alive and work of the calendar waits, it says so, and sends itself what
    waits to be sent. What cannot be sent now is tried again with the next look, or by a worker that comes."""
    if not _addressed(work):
        return
    with work.store.begin() as connection:
        if live_workers(connection) or not queries.my_turn(connection, LOCK):
            return
        _tell(connection, _workers(connection, jobs))
        waiting = queries.waiting_notes(connection, _WAYS)
    for way, note in waiting:
        try:
            _WAYS[way](work, note)
        except Exception as failure:
            _log.warning("Сообщение о неполадке не отправлено: %s", type(failure).__name__)


def _addressed(work: Work) -> bool:
    return bool(work.settings.alert_emails or work.settings.alert_webhook)


def _tell(connection: Connection, signs: Iterable[Sign]) -> None:
    told = queries.open_alerts(connection)
    lines = [line for sign in signs if (line := _line(connection, sign, told.get(sign.key))) is not None]
    if lines:
        note = queries.keep_note(connection, lines)
        for way in _WAYS:
            defer(connection, way, note=note)


def _line(connection: Connection, sign: Sign, told: RowMapping | None) -> dict[str, str] | None:
    """What is new about a sign, noted as told."""
    state = None
    if sign.bad and told is None and queries.open_alert(connection, sign.key, sign.detail, sign.text):
        state = _BEGAN
    elif not sign.bad and told is not None:
        queries.close_alert(connection, sign.key)
        return {"key": sign.key, "state": _ENDED, "text": told["text"]}
    elif sign.passed and not queries.is_told(connection, sign.key, sign.detail):
        queries.open_alert(connection, sign.key, sign.detail, sign.text, over=True)
        state = _PASSED
    return None if state is None else {"key": sign.key, "state": state, "text": sign.text}


def _workers(connection: Connection, jobs: Mapping[str, Job]) -> Iterator[Sign]:
    """Seen by the calendar; that they are back is seen by themselves."""
    waits = queries.unended(connection, (job.task for job in jobs.values()), WORKERS)
    if any(seconds > WORKERLESS.total_seconds() for seconds in waits.values()):
        yield Sign(WORKERS, "", "Нет ни одного исполнителя заданий: начатое ждёт", bad=True)


def _signs(connection: Connection, jobs: Mapping[str, Job], now: datetime, since: datetime) -> Iterator[Sign]:
    yield Sign(WORKERS, "", "", bad=False)
    tasks = [job.task for job in jobs.values()]
    ended = queries.outcomes(connection, tasks)
    unended = queries.unended(connection, tasks, WORKERS)
    begun = last_runs(connection, jobs, period_of(now))
    for job in jobs.values():
        if job.task in ended:
            text = f"{_named(job)} не выполнено"
            yield Sign(f"job/{job.name}/failed", "", text, bad=ended[job.task] == "failed")
        yield _slowness(job, unended)
        yield from _lateness(job, begun.get(job.name), now, since)


def _named(job: Job) -> str:
    return f"Задание {job.name} ({job.text})"


def _slowness(job: Job, unended: Mapping[tuple[str, str], float]) -> Sign:
    """Whether what was begun is not taken by any worker, or does not end."""
    key = f"job/{job.name}/stuck"
    if unended.get((job.task, "doing"), 0) > (min(job.span, LONGEST) + OVERDUE).total_seconds():
        return Sign(key, "", f"{_named(job)} выполняется слишком долго", bad=True)
    waits = unended.get((job.task, "todo"), 0) > OVERDUE.total_seconds()
    return Sign(key, "", f"{_named(job)} начато, но исполнители его не берут", bad=waits)


def _lateness(job: Job, begun: Begun | None, now: datetime, since: datetime) -> Iterator[Sign]:
    """Whether a period is overdue now, or its last one was before it began."""
    key, after = f"job/{job.name}/late", moment_of(begun.period) if begun else since
    slot = next(job.slots(after, now), None)
    if slot is not None and now - slot > OVERDUE:
        yield Sign(key, period_of(slot), f"{_named(job)} не начато в срок: календарь не работает", bad=True)
    elif begun is not None:
        text = f"{_named(job)} начато с опозданием на {begun.late // timedelta(minutes=1)} мин"
        yield Sign(key, begun.period, text, bad=False, passed=begun.late > OVERDUE)


# notes ----------------------------------------------------------------------------------------------------------------


@task(MAIL, attempts=_ATTEMPTS)
def mail(work: Work, note: int) -> None:
    """Sends a note by e-mail; without ``smtp_url`` it is left out."""
    found = _note(work, note)
    if found is None or found["mailed_at"] is not None or not work.settings.alert_emails:
        return
    if not work.settings.smtp_url:
        _log.warning("Сообщение о неполадке не отправлено: не задан почтовый сервер (smtp_url)")
        return
    notes.send(work.settings, message(work.settings, found["lines"], found["made_at"].astimezone(work.clock.zone)))
    with work.store.begin() as connection:
        queries.note_mailed(connection, note)


@task(CALL, attempts=_ATTEMPTS)
def call(work: Work, note: int) -> None:
    """Posts a note to ``alert_webhook``."""
    found = _note(work, note)
    if found is None or found["called_at"] is not None or not work.settings.alert_webhook:
        return
    notes.post(work.settings.alert_webhook, body(found["lines"], found["made_at"]), work.settings.webhook_secret)
    with work.store.begin() as connection:
        queries.note_called(connection, note)


_WAYS = {MAIL: mail, CALL: call}


def _note(work: Work, number: int) -> RowMapping | None:
    with work.store.begin() as connection:
        return queries.alert_note(connection, number)


def message(settings: Settings, lines: Sequence[Mapping[str, str]], at: datetime) -> EmailMessage:
    """The letter: what is wrong, what is well again."""
    bad = sum(line["state"] == _BEGAN for line in lines)
    letter = EmailMessage()
    letter["Subject"] = f"Шлюз ДН: неполадок {bad}" if bad else "Шлюз ДН: снова в порядке"
    letter["From"] = settings.mail_from or f"dn-gateway@{socket.getfqdn()}"
    letter["To"] = ", ".join(configuration.addresses(settings.alert_emails))
    letter["Date"] = at
    letter["Auto-Submitted"] = "auto-generated"
    said = [f"{_WORDS[line['state']]}: {line['text']}" for line in lines]
    letter.set_content("\n".join([f"{at:%d.%m.%Y %H:%M}", "", *said, ""]))
    return letter


def body(lines: Sequence[Mapping[str, str]], at: datetime) -> bytes:
    """The note in JSON: ``{"at", "alerts": [{"key", "state": BEGAN | ENDED | PASSED, "text"}]}``."""
    return json.dumps({"at": at.isoformat(), "alerts": list(lines)}, ensure_ascii=False).encode()
