"""SQL of alerts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

_OPEN_ALERTS = text("SELECT key, detail, text FROM alert WHERE ended_at IS NULL")
_OPEN_ALERT = text(
    "INSERT INTO alert (key, detail, text, ended_at) VALUES (:key, :detail, :text, CASE WHEN :over THEN now() END)"
    " ON CONFLICT DO NOTHING RETURNING id"
)
_CLOSE_ALERT = text("UPDATE alert SET ended_at = now() WHERE key = :key AND ended_at IS NULL RETURNING text")
_TOLD = text("SELECT EXISTS (SELECT 1 FROM alert WHERE key = :key AND detail = :detail)")
_NOTE = text("INSERT INTO alert_note (lines) VALUES (:lines) RETURNING id").bindparams(bindparam("lines", type_=JSONB))
_NOTED = text("SELECT * FROM alert_note WHERE id = :id")
_MAILED = text("UPDATE alert_note SET mailed_at = now() WHERE id = :id")
_CALLED = text("UPDATE alert_note SET called_at = now() WHERE id = :id")

# how the newest job of each task that has ended did end
_OUTCOMES = text("""
    SELECT named.task, last.status::text
    FROM unnest(CAST(:tasks AS text[])) AS named (task)
    CROSS JOIN LATERAL (
        SELECT status FROM procrastinate_jobs
        WHERE task_name = named.task AND status IN ('succeeded', 'failed') ORDER BY id DESC LIMIT 1) AS last""")

# how long the oldest job of each task that has not ended stands as it is, in seconds: what happened to it last, or the
# moment it is put off to. The time without workers, of which the operator was told, does not count
_UNENDED = text("""
    WITH away AS (
        SELECT max(CASE WHEN ended_at IS NULL THEN now() ELSE ended_at END) AS until FROM alert WHERE key = :away)
    SELECT job.task_name, job.status::text, extract(epoch FROM now() - min(greatest(job.scheduled_at, away.until, (
        SELECT max(at) FROM procrastinate_events event WHERE event.job_id = job.id))))
    FROM procrastinate_jobs job CROSS JOIN away
    WHERE (job.status = 'todo' OR job.status = 'doing') AND job.task_name = ANY(CAST(:tasks AS text[]))
    GROUP BY 1, 2""")

# notes whose sending waits for a worker
_WAITING_NOTES = text("""
    SELECT task_name, CAST(args->>'note' AS bigint) FROM procrastinate_jobs
    WHERE status = 'todo' AND task_name = ANY(CAST(:tasks AS text[])) ORDER BY id""")


def open_alerts(connection: Connection) -> dict[str, RowMapping]:
    """Troubles that were told and are not over, by key."""
    return {row["key"]: row for row in connection.execute(_OPEN_ALERTS).mappings()}


def open_alert(connection: Connection, key: str, detail: str, text: str, *, over: bool = False) -> bool:
    """Notes a trouble; ``over`` if it has passed already. False where it is noted."""
    values = {"key": key, "detail": detail, "text": text, "over": over}
    return connection.execute(_OPEN_ALERT, values).first() is not None


def close_alert(connection: Connection, key: str) -> None:
    connection.execute(_CLOSE_ALERT, {"key": key})


def is_told(connection: Connection, key: str, detail: str) -> bool:
    return bool(connection.execute(_TOLD, {"key": key, "detail": detail}).scalar_one())


def keep_note(connection: Connection, lines: Sequence[Mapping[str, Any]]) -> int:
    number: int = connection.execute(_NOTE, {"lines": list(lines)}).scalar_one()
    return number


def alert_note(connection: Connection, number: int) -> RowMapping | None:
    return connection.execute(_NOTED, {"id": number}).mappings().one_or_none()


def note_mailed(connection: Connection, number: int) -> None:
    connection.execute(_MAILED, {"id": number})


def note_called(connection: Connection, number: int) -> None:
    connection.execute(_CALLED, {"id": number})


def outcomes(connection: Connection, tasks: Iterable[str]) -> dict[str, str]:
    """By task: ``succeeded`` or ``failed``."""
    return {row[0]: row[1] for row in connection.execute(_OUTCOMES, {"tasks": list(tasks)})}


def unended(connection: Connection, tasks: Iterable[str], away: str) -> dict[tuple[str, str], float]:
    """By task and ``todo`` or ``doing``: for how many seconds its oldest job stands so. Time is not counted while the alert
    ``away`` stands open."""
    rows = connection.execute(_UNENDED, {"tasks": list(tasks), "away": away})
    return {(row[0], row[1]): float(row[2]) for row in rows}


def waiting_notes(connection: Connection, tasks: Iterable[str]) -> list[tuple[str, int]]:
    """Task and note of what no worker has taken yet."""
    return [(row[0], row[1]) for row in connection.execute(_WAITING_NOTES, {"tasks": list(tasks)})]
