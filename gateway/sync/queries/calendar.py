"""SQL of the calendar."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from sqlalchemy import Connection, text

# the one row of a job and a period; written only while the leader's own session still holds the lock, so that a leader
# that was frozen and has lost it writes nothing
_CLAIM = text("""
    INSERT INTO job_run (job, period, started_by)
    SELECT :job, :period, :by
    WHERE CAST(:session AS integer) IS NULL OR EXISTS (
        SELECT 1 FROM pg_locks
        WHERE locktype = 'advisory' AND objid::bigint = :lock AND pid = CAST(:session AS integer) AND granted
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
    ON CONFLICT (job, period) DO NOTHING
    RETURNING job""")

# the newest period of each job; with a bound the newest one before it: those begun while the clock was ahead come after
_LAST = text("""
    SELECT named.job, run.period, run.started_at, NOT EXISTS (
        SELECT 1 FROM job_run former WHERE former.job = named.job AND former.period < run.period)
    FROM unnest(CAST(:jobs AS text[])) AS named (job)
    CROSS JOIN LATERAL (
        SELECT period, started_at FROM job_run
        WHERE job = named.job AND (CAST(:until AS text) IS NULL OR period <= :until)
        ORDER BY period DESC LIMIT 1
    ) run""")

# a leader that freezes between the row and the commit loses its transaction: nobody waits for it, and it writes nothing late
_SHORT = text("SET LOCAL idle_in_transaction_session_timeout = '5s'")

_BEGUN_BY = text("SELECT started_by FROM job_run WHERE job = :job AND period = :period")

LEAD = "SELECT pg_try_advisory_lock(%s)"


def claim(connection: Connection, job: str, period: str, by: str, session: int | None, lock: int) -> bool:
    """Takes a period of a job; ``session`` is the backend of the leader, ``None`` for a run by hand."""
    connection.execute(_SHORT)
    row = connection.execute(_CLAIM, {"job": job, "period": period, "by": by, "session": session, "lock": lock})
    return row.first() is not None


def begun_by(connection: Connection, job: str, period: str) -> str | None:
    """Who began a period."""
    found: str | None = connection.execute(_BEGUN_BY, {"job": job, "period": period}).scalar_one_or_none()
    return found


def last_runs(
    connection: Connection, jobs: Iterable[str], until: str | None = None
) -> Mapping[str, tuple[str, datetime, bool]]:
    """By job: its newest period not later than ``until``, when that was started, and whether it is the first one."""
    rows = connection.execute(_LAST, {"jobs": list(jobs), "until": until})
    return {row[0]: (row[1], row[2], row[3]) for row in rows}
