"""Long work: operations, how far they are, their protocol.

Whoever writes for a run names its attempt: a row with a newer one is not touched, so that a run that was frozen and
replaced changes nothing. The newest attempt is taken under the lock of the row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.sql import bindparam

from gateway.operations.model import Operation, Owner, ProtocolLine, Scope, State

_INSERT = text("""
    INSERT INTO operation (id, kind, organisation, insurer, client_id, login, trace, parameters, job_id, created_at)
    VALUES (:id, :kind, :organisation, :insurer, :client_id, :login, :trace, :parameters, :job_id, clock_timestamp())
    """).bindparams(bindparam("parameters", type_=JSONB))

_COLUMNS = """
    o.id, o.kind, o.organisation, o.insurer, o.client_id, o.login, o.state, o.parameters, o.created_at, o.started_at,
    o.ended_at, o.abort_at, o.code, o.message, b.stage, b.done, b.total,
    CASE WHEN o.state = 'RUNNING' AND b.pace > 0 AND b.total >= b.done
              AND (b.total - b.done) / b.pace < 366 * 86400.0
         THEN clock_timestamp() + make_interval(secs => (b.total - b.done) / b.pace) END AS estimated_end"""

_ONE = text(f"SELECT {_COLUMNS} FROM operation o LEFT JOIN operation_beat b ON b.operation_id = o.id WHERE o.id = :id")

_CHOSEN = """
    (NOT :some OR o.insurer IS NULL AND o.organisation = ANY(:organisations))
    AND (CAST(:insurer AS text) IS NULL OR o.insurer = :insurer)
    AND (CAST(:organisation AS text) IS NULL OR o.organisation = :organisation)
    AND (CAST(:kind AS text) IS NULL OR o.kind = :kind)
    AND (CAST(:state AS text) IS NULL OR o.state = :state)
    AND (CAST(:since AS timestamptz) IS NULL OR o.created_at >= :since)"""

_COUNT = text(f"SELECT count(*) FROM operation o WHERE {_CHOSEN}")

# newest first
_PAGE = text(f"""
    SELECT {_COLUMNS} FROM operation o LEFT JOIN operation_beat b ON b.operation_id = o.id
    WHERE {_CHOSEN} ORDER BY o.created_at DESC, o.id OFFSET :skip LIMIT :count""")

_LINES = text("""
    SELECT number, at, level, text FROM operation_line
    WHERE operation_id = :id AND number >= :first ORDER BY number LIMIT :count""")

_LOCK = text("""
    SELECT id, kind, state, attempt, losses, abort_at IS NOT NULL AS aborting FROM operation
    WHERE id = :id FOR NO KEY UPDATE""")

# a new run: the one before, if it broke off, counts as a loss
_TAKE = text("""
    UPDATE operation
    SET state = 'RUNNING', attempt = attempt + 1, losses = losses + CAST(state = 'RUNNING' AS integer),
        started_at = coalesce(started_at, greatest(clock_timestamp(), created_at))
    WHERE id = :id
    RETURNING kind, organisation, insurer, client_id, login, trace, parameters, progress, attempt, losses""")

_FIRST_BEAT = text("""
    INSERT INTO operation_beat (operation_id) VALUES (:id)
    ON CONFLICT (operation_id) DO UPDATE SET at = clock_timestamp(), pace = NULL""")

# the fence: waits for whoever is just now replacing or ending the run
_HOLD = text("""
    UPDATE operation SET progress = :progress WHERE id = :id AND attempt = :attempt AND state = 'RUNNING'
    """).bindparams(bindparam("progress", type_=JSONB))

_STANDS = text("SELECT 1 FROM operation WHERE id = :id AND attempt = :attempt AND state = 'RUNNING' FOR SHARE")

_FINISH = text("""
    UPDATE operation
    SET state = 'DONE', progress = :progress, ended_at = greatest(clock_timestamp(), started_at)
    WHERE id = :id AND attempt = :attempt AND state = 'RUNNING' AND abort_at IS NULL
    """).bindparams(bindparam("progress", type_=JSONB))

# an end that is not success; the next attempt's number makes a run that still goes on write nothing
_END = text("""
    UPDATE operation
    SET state = :state, code = :code, message = :message, attempt = attempt + 1,
        ended_at = greatest(clock_timestamp(), started_at, created_at)
    WHERE id = :id AND attempt = :attempt AND state IN ('QUEUED', 'RUNNING')""")

_REQUEUE = text("""
    UPDATE operation
    SET state = 'QUEUED', losses = losses + :lost, job_id = :job_id
    WHERE id = :id AND attempt = :attempt AND state IN ('QUEUED', 'RUNNING')""")

_REQUEST_ABORT = text("""
    UPDATE operation SET abort_at = coalesce(abort_at, clock_timestamp()), abort_by = coalesce(abort_by, :by)
    WHERE id = :id""")

_STATE = text("""
    SELECT id, kind, state, attempt, losses, abort_at IS NOT NULL AS aborting FROM operation WHERE id = :id""")

_ADD_LINE = text("""
    INSERT INTO operation_line (operation_id, number, at, level, text)
    SELECT :id, coalesce(last.number, 0) + 1, greatest(clock_timestamp() - make_interval(secs => :age), last.at),
           :level, :text
    FROM (VALUES (1)) one LEFT JOIN LATERAL (
        SELECT number, at FROM operation_line WHERE operation_id = :id ORDER BY number DESC LIMIT 1) last ON true""")

# open operations that nobody works on: no job waits or runs, and the last sign of life is old; or an abort was
# requested and the run shows no sign of life to take it
_STRAY = """
    FROM operation o
    LEFT JOIN procrastinate_jobs job ON job.id = o.job_id AND job.status IN ('todo', 'doing')
    LEFT JOIN operation_beat b ON b.operation_id = o.id
    WHERE o.state IN ('QUEUED', 'RUNNING')
      AND (job.id IS NULL OR o.state = 'RUNNING' AND o.abort_at IS NOT NULL)
      AND (o.state = 'QUEUED' OR b.at IS NULL OR abs(extract(epoch FROM clock_timestamp() - b.at)) > :seconds)"""

# who is locked is being looked after
_STRAYED = text(f"""
    SELECT o.id, o.kind, o.state, o.attempt, o.losses, o.abort_at IS NOT NULL AS aborting {_STRAY}
    FOR NO KEY UPDATE OF o SKIP LOCKED""")

# the transaction of a run carries the name of its operation, so that its session can be found and ended when the
# process is gone or frozen and will not let go of its locks by itself
_NAME = text("SELECT set_config('application_name', 'operation ' || CAST(:id AS text), true)")

_CUT_OFF = text("""
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
      AND application_name = 'operation ' || CAST(:id AS text)""")

_CUT_OFF_STRAYED = text(f"""
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
      AND application_name IN (SELECT 'operation ' || o.id {_STRAY} AND o.state = 'RUNNING')""")

_RUNNING = text("SELECT id, attempt FROM operation WHERE state = 'RUNNING' AND id = ANY(:ids)")

_EXPIRED = text("""
    DELETE FROM operation WHERE id IN (
        SELECT o.id FROM operation o
        WHERE o.state IN ('DONE', 'FAILED', 'ABORTED') AND o.ended_at < :before
          AND NOT EXISTS (SELECT 1 FROM file WHERE file.operation_id = o.id)
        ORDER BY o.ended_at LIMIT :portion)""")

_COUNTS = text("SELECT kind, state, count(*) FROM operation GROUP BY kind, state")

BEAT = """
    UPDATE operation_beat b SET at = clock_timestamp(), stage = %(stage)s, done = %(done)s, total = %(total)s,
        pace = %(pace)s
    FROM operation o
    WHERE b.operation_id = %(id)s AND o.id = b.operation_id AND o.attempt = %(attempt)s
    RETURNING o.state = 'RUNNING', o.abort_at IS NOT NULL"""
"""For the connection of the run's own watch: the sign of life; answers whether the run still stands and has to stop."""

ADD_LINE = """
    WITH run AS (SELECT id FROM operation WHERE id = %(id)s AND attempt = %(attempt)s FOR SHARE)
    INSERT INTO operation_line (operation_id, number, at, level, text)
    SELECT run.id, coalesce(last.number, 0) + 1,
           greatest(clock_timestamp() - make_interval(secs => %(age)s), last.at), %(level)s, %(text)s
    FROM run LEFT JOIN LATERAL (
        SELECT number, at FROM operation_line WHERE operation_id = run.id ORDER BY number DESC LIMIT 1) last ON true"""
"""The same for a line of the protocol; ``age`` in seconds is how long ago it was said."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What decides on the next step of an operation."""

    operation_id: UUID
    kind: str
    state: State
    attempt: int
    losses: int
    aborting: bool


def _standing(row: RowMapping) -> Standing:
    state = State(row["state"])
    return Standing(row["id"], row["kind"], state, row["attempt"], row["losses"], row["aborting"])


def insert_operation(
    connection: Connection,
    operation_id: UUID,
    kind: str,
    owner: Owner,
    parameters: Mapping[str, Any],
    *,
    client_id: int | None,
    login: str,
    trace: str,
    job_id: int | None,
) -> None:
    connection.execute(
        _INSERT,
        {
            "id": operation_id,
            "kind": kind,
            "organisation": owner.organisation,
            "insurer": owner.insurer,
            "client_id": client_id,
            "login": login,
            "trace": trace,
            "parameters": dict(parameters),
            "job_id": job_id,
        },
    )


def _operation(row: RowMapping) -> Operation:
    state = State(row["state"])
    return Operation(
        operation_id=row["id"],
        kind=row["kind"],
        owner=Owner(row["organisation"], row["insurer"]),
        client_id=row["client_id"],
        login=row["login"],
        state=state,
        stage=row["stage"],
        done=row["done"],
        total=row["total"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
        estimated_end=row["estimated_end"],
        aborting=row["abort_at"] is not None and not state.ended,
        code=row["code"],
        message=row["message"],
        parameters=row["parameters"],
    )


_UNFINISHED = text("SELECT count(*) FROM operation WHERE client_id = :client_id AND state IN ('QUEUED', 'RUNNING')")


def unfinished(connection: Connection, client_id: int) -> int:
    """How many operations of a client wait or run."""
    found: int = connection.execute(_UNFINISHED, {"client_id": client_id}).scalar_one()
    return found


def operation(connection: Connection, operation_id: UUID) -> Operation | None:
    row = connection.execute(_ONE, {"id": operation_id}).mappings().first()
    return None if row is None else _operation(row)


def operations(
    connection: Connection,
    scope: Scope,
    *,
    organisation: str | None,
    kind: str | None,
    state: str | None,
    since: datetime | None,
    skip: int,
    count: int,
) -> tuple[int, list[Operation]]:
    """How many there are and a page of them, newest first."""
    chosen = {
        "some": scope.organisations is not None and scope.insurer is None,
        "organisations": sorted(scope.organisations or ()),
        "insurer": scope.insurer,
        "organisation": organisation,
        "kind": kind,
        "state": state,
        "since": since,
    }
    total = connection.execute(_COUNT, chosen).scalar_one()
    rows = connection.execute(_PAGE, chosen | {"skip": skip, "count": count}).mappings()
    return total, [_operation(row) for row in rows]


def operation_lines(connection: Connection, operation_id: UUID, first: int, count: int) -> list[ProtocolLine]:
    rows = connection.execute(_LINES, {"id": operation_id, "first": first, "count": count})
    return [ProtocolLine(*row) for row in rows]


def lock_operation(connection: Connection, operation_id: UUID) -> Standing | None:
    """How an operation stands, unchanged until the end of the transaction."""
    row = connection.execute(_LOCK, {"id": operation_id}).mappings().first()
    return None if row is None else _standing(row)


def standing(connection: Connection, operation_id: UUID) -> Standing | None:
    row = connection.execute(_STATE, {"id": operation_id}).mappings().first()
    return None if row is None else _standing(row)


def take(connection: Connection, operation_id: UUID) -> RowMapping:
    """Begins the next run of an operation whose row is locked."""
    row = connection.execute(_TAKE, {"id": operation_id}).mappings().one()
    connection.execute(_FIRST_BEAT, {"id": operation_id})
    return row


def hold(connection: Connection, operation_id: UUID, attempt: int, progress: Mapping[str, Any] | None) -> bool:
    """Whether the run is the newest one; keeps its progress if there is a new one, and the answer until the commit."""
    values: dict[str, Any] = {"id": operation_id, "attempt": attempt}
    if progress is None:
        return connection.execute(_STANDS, values).first() is not None
    return connection.execute(_HOLD, values | {"progress": dict(progress)}).rowcount == 1


def finish(connection: Connection, operation_id: UUID, attempt: int, progress: Mapping[str, Any]) -> bool:
    """Ends a run as done, unless an abort was requested or another run took over."""
    values = {"id": operation_id, "attempt": attempt, "progress": dict(progress)}
    return connection.execute(_FINISH, values).rowcount == 1


def end(connection: Connection, operation_id: UUID, attempt: int, state: State, code: str, message: str) -> bool:
    """Ends an operation as failed or aborted, unless another run took over."""
    values = {"id": operation_id, "attempt": attempt, "state": state, "code": code, "message": message}
    return connection.execute(_END, values).rowcount == 1


def requeue(connection: Connection, operation_id: UUID, attempt: int, job_id: int | None, *, lost: bool) -> None:
    """Puts an operation back to wait for another run; ``lost`` counts the last one as broken off."""
    connection.execute(_REQUEUE, {"id": operation_id, "attempt": attempt, "job_id": job_id, "lost": int(lost)})


def note_abort(connection: Connection, operation_id: UUID, by: str) -> None:
    connection.execute(_REQUEST_ABORT, {"id": operation_id, "by": by})


def add_line(connection: Connection, operation_id: UUID, level: str, text: str, age: float = 0.0) -> None:
    """Adds a line for the one who holds the row of the operation."""
    connection.execute(_ADD_LINE, {"id": operation_id, "level": level, "text": text, "age": age})


def name_session(connection: Connection, operation_id: UUID) -> None:
    """Marks the transaction as one of a run of the operation."""
    connection.execute(_NAME, {"id": operation_id})


def cut_off(connection: Connection, operation_id: UUID) -> int:
    """Ends the sessions in which an earlier run of the operation holds a transaction open."""
    count: int = connection.execute(_CUT_OFF, {"id": operation_id}).scalar_one()
    return count


def cut_off_strayed(connection: Connection, seconds: float) -> int:
    """The same for the runs of all operations that nobody works on."""
    count: int = connection.execute(_CUT_OFF_STRAYED, {"seconds": seconds}).scalar_one()
    return count


def strayed(connection: Connection, seconds: float) -> list[Standing]:
    """Open operations that nobody works on, locked until the end of the transaction."""
    return [_standing(row) for row in connection.execute(_STRAYED, {"seconds": seconds}).mappings()]


def running(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, int]:
    """The attempts of those operations that run now."""
    return {row[0]: row[1] for row in connection.execute(_RUNNING, {"ids": list(ids)})}


def delete_old_operations(connection: Connection, before: datetime, portion: int) -> int:
    return connection.execute(_EXPIRED, {"before": before, "portion": portion}).rowcount


def operation_counts(connection: Connection) -> dict[tuple[str, str], int]:
    """How many operations are kept, by kind and state."""
    return {(row[0], row[1]): row[2] for row in connection.execute(_COUNTS)}
