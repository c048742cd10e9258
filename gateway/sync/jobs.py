"""The lines of the calendar, and the tasks that lie above `operations` in the layers."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from gateway.access import chain
from gateway.lists import Lists, aside
from gateway.nsi.dictionaries import Nsi
from gateway.operations import housekeeping, mailbox, works
from gateway.operations.queue import Work, rescuer, task
from gateway.settings import Settings
from gateway.sync import alerts, marks, monthly, queries
from gateway.sync.calendar import Job

_log = logging.getLogger(__name__)


@task("audit.seal")
def seal_audit(work: Work) -> None:
    """Closes the records of the audit that no batch covers yet."""
    with work.store.begin() as connection:
        chain.seal(connection)


@task("audit.retention")
def forget_audit(work: Work) -> None:
    """Removes sealed batches older than ``audit_days``; only the owner role may."""
    if work.owner is None:
        _log.warning("Срок хранения журнала доступа не применён: не задан адрес роли-владельца")
        return
    with work.owner.begin() as connection:
        chain.forget(connection, work.clock.now() - timedelta(days=work.settings.audit_days))


@task("snapshots.expire")
def expire_snapshots(work: Work) -> None:
    """Drops the rendered lines of list snapshots whose time is over."""
    lists = Lists(work.settings, Nsi(work.store, work.clock), work.clock)
    fixed = True
    while fixed:
        with work.store.begin() as connection:
            fixed = lists.fix_counted(connection) > 0
    with work.store.begin() as connection:
        lists.expire_snapshots(connection)


@task("lists.images")
def forget_images(work: Work) -> None:
    """Drops the lines that changes older than ``change_days`` kept."""
    lists = Lists(work.settings, Nsi(work.store, work.clock), work.clock)
    before = work.clock.now() - timedelta(days=work.settings.change_days)
    forgotten = True
    while forgotten:
        with work.store.begin() as connection:
            forgotten = lists.forget_images(connection, before) > 0


@task("reconcile.clean")
def clean_comparisons(work: Work) -> dict[str, int]:
    """Deletes what comparisons, monthly work and alerts have left: tokens that serve nothing, an extract that no comparison
    needs, and what is older than ``operation_days``."""
    before = work.clock.now() - timedelta(days=work.settings.operation_days)
    with work.store.begin() as connection:
        counts = queries.forget_comparisons(connection, before)
    with work.store.begin() as connection:
        counts |= queries.forget_told(connection, before)
    with work.store.begin() as connection:
        counts["extract"] = int(queries.drop_extract(connection))
    return counts


_BEGAN = time.monotonic()


@rescuer
def watch(work: Work) -> None:
    """Looks for what the operator has to be told of."""
    up = timedelta(seconds=time.monotonic() - _BEGAN)
    alerts.look(work, of(work.settings), work.clock.now() - up)


def watch_workers(work: Work) -> None:
    """What the leading calendar does: looks whether there are workers."""
    alerts.look_for_workers(work, of(work.settings))


JOBS: dict[str, Job] = {
    job.name: job
    for job in (
        Job("audit.seal", "audit.seal", "* * * * *", timedelta(minutes=2), "Печать журнала доступа"),
        Job(
            "snapshots.expire",
            "snapshots.expire",
            "25 * * * *",
            timedelta(hours=2),
            "Удаление истёкших снимков списков",
        ),
        Job(marks.KEEP, marks.KEEP, "15 * * * *", timedelta(hours=2), "Хранение переданных реестров до их месяца"),
        Job(mailbox.EXPIRE, mailbox.EXPIRE, "35 * * * *", timedelta(hours=2), "Удаление файлов с истёкшим сроком"),
        Job(works.EXPIRE, works.EXPIRE, "20 4 * * *", timedelta(days=2), "Удаление операций с истёкшим сроком"),
        Job(aside.TASK, aside.TASK, "35 4 * * *", timedelta(days=2), "Отложенные записи загруженных списков"),
        Job("lists.images", "lists.images", "55 3 * * *", timedelta(days=2), "Срок хранения образов записей"),
        Job("housekeeping", housekeeping.TASK, "10 3 * * *", timedelta(days=2), "Удаление данных с истёкшим сроком"),
        Job(
            "reconcile.clean",
            "reconcile.clean",
            "50 4 * * *",
            timedelta(days=2),
            "Удаление ключей, выписки и сверок с истёкшим сроком",
        ),
        Job(monthly.GO, monthly.GO, "* * * * *", timedelta(minutes=2), "Следующий шаг обработки месяца"),
        Job(
            monthly.BEGIN,
            monthly.BEGIN,
            "0 2 5 * *",
            timedelta(days=32),
            "Обработка прошедшего месяца",
            each=True,
            waits=True,
            dated=True,
        ),
        Job("audit.retention", "audit.retention", "40 3 * * *", timedelta(days=2), "Срок хранения журнала доступа"),
    )
}
"""By name; times are those of the region."""


def of(settings: Settings) -> Mapping[str, Job]:
    """The calendar of an installation."""
    return JOBS | {monthly.BEGIN: replace(JOBS[monthly.BEGIN], cron=f"0 2 {settings.monthly_day} * *")}
