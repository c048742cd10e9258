"""The lines of the calendar, and the tasks that lie above `operations` in the layers."""

from __future__ import annotations

import logging
from datetime import timedelta

from gateway.access import chain
from gateway.lists import Lists, aside
from gateway.nsi.dictionaries import Nsi
from gateway.operations import housekeeping, mailbox, works
from gateway.operations.queue import Work, task
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
        Job(mailbox.EXPIRE, mailbox.EXPIRE, "35 * * * *", timedelta(hours=2), "Удаление файлов с истёкшим сроком"),
        Job(works.EXPIRE, works.EXPIRE, "20 4 * * *", timedelta(days=2), "Удаление операций с истёкшим сроком"),
        Job(aside.TASK, aside.TASK, "35 4 * * *", timedelta(days=2), "Отложенные записи загруженных списков"),
        Job("lists.images", "lists.images", "55 3 * * *", timedelta(days=2), "Срок хранения образов записей"),
        Job("housekeeping", housekeeping.TASK, "10 3 * * *", timedelta(days=2), "Удаление данных с истёкшим сроком"),
        Job("audit.retention", "audit.retention", "40 3 * * *", timedelta(days=2), "Срок хранения журнала доступа"),
    )
}
"""By name; times are those of the region."""
