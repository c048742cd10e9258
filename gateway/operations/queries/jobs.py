"""Jobs of the queue, the workers that hold them, and housekeeping."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

# jobs of workers that are gone: back to "todo", or "failed" after too many attempts, after a request to abort, and where
# an equal job already waits. Rows are locked and looked at again, so that two rescuers never take one job. A heartbeat in
# the future is one of before the clock was set back: who lives writes a new one soon
_RESCUE = text("""
    WITH stalled AS (
        SELECT job.id FROM procrastinate_jobs job
        LEFT JOIN procrastinate_workers worker ON worker.id = job.worker_id
        WHERE job.status = 'doing'
          AND (job.worker_id IS NULL
               OR abs(extract(epoch FROM now() - worker.last_heartbeat)) > :seconds)
        FOR UPDATE OF job SKIP LOCKED
    )
    UPDATE procrastinate_jobs job
    SET status = CASE
            WHEN job.attempts + 1 >= greatest(CAST(CAST(:most AS jsonb) ->> job.task_name AS integer), 5) OR job.abort_requested OR EXISTS (
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

_MINE = """
    WITH mine AS (
        SELECT id FROM procrastinate_jobs WHERE id = %(id)s AND status = 'doing' AND worker_id = %(worker)s FOR UPDATE
    )"""

FINISH_JOB = f"{_MINE} SELECT procrastinate_finish_job_v1(id, %(status)s, %(delete_job)s) FROM mine"
"""For the worker's own connection: the end of a job that is still its own."""

RETRY_JOB = f"{_MINE} SELECT procrastinate_retry_job_v2(id, %(retry_at)s, NULL, NULL, NULL) FROM mine"
"""The same for a job to be run again."""

# repeats that wait longer than any does: the clock was set back since
_PULL = text("""
    UPDATE procrastinate_jobs SET scheduled_at = now()
    WHERE status = 'todo' AND scheduled_at > now() + interval '1 hour'""")

# a worker shows itself once for long work and once for short jobs
_LIVE_WORKERS = text("""
    SELECT (count(*) + 1) / 2 FROM procrastinate_workers
    WHERE abs(extract(epoch FROM now() - last_heartbeat)) <= :seconds""")

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


def rescue_stalled(connection: Connection, seconds: float, most: Mapping[str, int]) -> Sequence[int]:
    """The jobs of workers without a sign of life for ``seconds``; ``most`` is how often a task is tried."""
    numbers = connection.execute(_RESCUE, {"seconds": seconds, "most": json.dumps(most)}).scalars().all()
    connection.execute(_PULL)
    return numbers


def live_workers(connection: Connection, seconds: float) -> int:
    """How many workers have shown a sign of life within ``seconds``."""
    count: int = connection.execute(_LIVE_WORKERS, {"seconds": seconds}).scalar_one()
    return count


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
