"""What is deleted when its time is over: answers for resends, rate windows, finished jobs, old runs of the calendar."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import Connection

from gateway.operations import queries
from gateway.operations.queue import Work, task

TASK = "housekeeping"

_PORTION = 5_000
_RATE_MINUTES = 10
_JOB_DAYS = 7
_RUN_DAYS = 60


@task(TASK)
def clean(work: Work) -> dict[str, int]:
    """Deletes what has expired by the settings and returns the counts by kind."""
    now = work.clock.now()

    def in_one(delete: Callable[[Connection], int]) -> int:
        with work.store.begin() as connection:
            return delete(connection)

    answers = 0
    expired = now - timedelta(days=work.settings.request_days)
    while deleted := in_one(lambda connection: queries.delete_old_answers(connection, expired, _PORTION)):
        answers += deleted
    minute = int(now.timestamp() // 60) - _RATE_MINUTES
    return {
        "answers": answers,
        "rate_windows": in_one(lambda connection: queries.delete_old_rate_windows(connection, minute)),
        "jobs": in_one(lambda connection: queries.delete_old_jobs(connection, now - timedelta(days=_JOB_DAYS))),
        "runs": in_one(lambda connection: queries.delete_old_runs(connection, now - timedelta(days=_RUN_DAYS))),
    }
