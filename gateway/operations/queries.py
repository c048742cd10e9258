"""SQL of durable work and of housekeeping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

# jobs of workers that are gone: back to "todo", or "failed" after too many attempts, after a request to abort, and where
# an equal job already waits. Rows are locked and looked at again, so that two rescuers never take one job
_RESCUE = text("""
    WITH stalled AS (
        SELECT job.id FROM procrastinate_jobs job
        LEFT JOIN procrastinate_workers worker ON worker.id = job.worker_id
        WHERE job.status = 'doing'
          AND (job.worker_id IS NULL OR worker.last_heartbeat < now() - make_interval(secs => :seconds))
        FOR UPDATE OF job SKIP LOCKED
    )
    UPDATE procrastinate_jobs job
    SET status = CASE
            WHEN job.attempts + 1 >= :most OR job.abort_requested OR EXISTS (
                SELECT 1 FROM procrastinate_jobs other
                WHERE other.queueing_lock = job.queueing_lock AND other.status = 'todo'
            ) THEN 'failed'::procrastinate_job_status
            ELSE 'todo'::procrastinate_job_status
        END,
        attempts = job.attempts + 1,
        scheduled_at = now(),
        worker_id = NULL
    FROM stalled WHERE job.id = stalled.id
    RETURNING job.id""")

# answers kept for resends, in portions so that locks stay short
_OLD_ANSWERS = text("""
    DELETE FROM call_request WHERE (client_id, request_id) IN (
        SELECT client_id, request_id FROM call_request WHERE created_at < :before ORDER BY created_at LIMIT :portion
    )""")

_OLD_RATE_WINDOWS = text("DELETE FROM rate_window WHERE minute < :minute")

# the newest run of each job stays: the calendar catches up from it
_OLD_RUNS = text("""
    DELETE FROM job_run run
    WHERE started_at < :before AND EXISTS (SELECT 1 FROM job_run later WHERE later.job = run.job AND later.period > run.period)
""")

# jobs that ended, with their events (a trigger keeps the events' reference away)
_OLD_JOBS = text("""
    DELETE FROM procrastinate_jobs job
    WHERE job.status IN ('succeeded', 'failed', 'cancelled', 'aborted')
      AND NOT EXISTS (SELECT 1 FROM procrastinate_events event WHERE event.job_id = job.id AND event.at >= :before)""")

_JOBS = text("""
    SELECT job.id, job.task_name, job.status::text, job.attempts, max(event.at)
    FROM procrastinate_jobs job LEFT JOIN procrastinate_events event ON event.job_id = job.id
    GROUP BY job.id ORDER BY job.id DESC LIMIT :limit""")


@dataclass(frozen=True, slots=True)
class JobLine:
    """A job as `job list` shows it."""

    number: int
    task: str
    status: str
    attempts: int
    changed_at: datetime | None


def rescue_stalled(connection: Connection, seconds: float, most: int) -> Sequence[int]:
    return connection.execute(_RESCUE, {"seconds": seconds, "most": most}).scalars().all()


def delete_old_answers(connection: Connection, before: datetime, portion: int) -> int:
    return connection.execute(_OLD_ANSWERS, {"before": before, "portion": portion}).rowcount


def delete_old_rate_windows(connection: Connection, minute: int) -> int:
    return connection.execute(_OLD_RATE_WINDOWS, {"minute": minute}).rowcount


def delete_old_runs(connection: Connection, before: datetime) -> int:
    return connection.execute(_OLD_RUNS, {"before": before}).rowcount


def delete_old_jobs(connection: Connection, before: datetime) -> int:
    return connection.execute(_OLD_JOBS, {"before": before}).rowcount


def last_jobs(connection: Connection, limit: int) -> list[JobLine]:
    return [JobLine(*row) for row in connection.execute(_JOBS, {"limit": limit})]
