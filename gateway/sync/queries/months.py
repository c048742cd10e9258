"""SQL of the monthly work."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import Connection, RowMapping, bindparam, text
from sqlalchemy.types import Text

_TURN = text("SELECT pg_try_advisory_xact_lock(:lock)")
_BEGIN_MONTH = text("INSERT INTO month_run (month) VALUES (:month) ON CONFLICT DO NOTHING RETURNING month")

# in the order in which months are closed; one that failed may rest for a while
_OPEN_MONTHS = text("""
    SELECT *, changed_at < now() - CAST(:rest AS interval) AS rested FROM month_run
    WHERE state <> 'DONE' ORDER BY month FOR UPDATE""")
_MONTH = text("SELECT *, true AS rested FROM month_run WHERE month = :month FOR UPDATE")
_SET_MONTH = text(
    "UPDATE month_run SET step = :step, state = :state, code = :code, changed_at = now() WHERE month = :month"
)
_STEPS = text("""
    SELECT s.organisation, s.operation_id, s.tries, s.state, s.code, o.state AS operation_state, o.code AS operation_code,
           o.progress
    FROM month_step s LEFT JOIN operation o ON o.id = s.operation_id
    WHERE s.month = :month AND s.step = :step ORDER BY s.organisation""")
_PUT_STEP = text("""
    INSERT INTO month_step (month, step, organisation, operation_id) VALUES (:month, :step, :organisation, :operation)
    ON CONFLICT (month, step, organisation) DO UPDATE SET operation_id = :operation, tries = month_step.tries + 1,
        state = 'RUNNING', code = NULL, began_at = now(), ended_at = NULL""")
_FOLLOW = text("UPDATE month_step SET operation_id = :operation WHERE month = :month AND step = :step")
_SET_STEP = text("""
    UPDATE month_step SET state = :state, code = :code,
        ended_at = CASE WHEN :state IN ('RUNNING', 'BRAKED') THEN NULL ELSE now() END
    WHERE month = :month AND step = :step AND organisation = :organisation
      AND (state, code) IS DISTINCT FROM (:state, :code)""").bindparams(bindparam("code", type_=Text))

# the newest comparison of a month that is meant to be applied, and the operation that applies it after a decision
_COMPARISON = text("""
    SELECT r.id, r.state, r.decided_by, o.state AS operation_state, o.code AS operation_code,
           a.state AS apply_state, a.code AS apply_code
    FROM reconcile r LEFT JOIN operation o ON o.id = r.id
    LEFT JOIN LATERAL (
        SELECT state, code FROM operation
        WHERE kind = 'RECONCILE_APPLY' AND parameters->>'reconcile' = r.id::text ORDER BY created_at DESC LIMIT 1) a ON true
    WHERE r.kind = :kind AND r.period = :month AND NOT r.dry ORDER BY r.created_at DESC, r.id LIMIT 1""")

_CLOSED = text("""
    SELECT organisation FROM (
        SELECT DISTINCT ON (organisation) organisation, reopened_at FROM closed_month WHERE month = :month
        ORDER BY organisation, edition DESC) AS last
    WHERE reopened_at IS NULL ORDER BY organisation""")

# organisations that a month's close has refused and that have not closed it since
_LEFT_OPEN = text("""
    SELECT s.month, array_agg(s.organisation ORDER BY s.organisation) AS organisations
    FROM month_step s
    WHERE s.step = 'CLOSE' AND s.organisation <> '' AND s.state = 'PASSED' AND NOT EXISTS (
        SELECT 1 FROM closed_month c
        WHERE c.organisation = s.organisation AND c.month = s.month AND c.reopened_at IS NULL)
    GROUP BY s.month""")

_COMPARED = text("""
    SELECT period, bool_or(state = 'BRAKED') AS braked FROM reconcile WHERE kind = :kind
    GROUP BY period ORDER BY period DESC LIMIT :count""")

_LATEST_MONTHS = text("""
    SELECT m.month, m.step, m.state, m.code, m.began_at, m.changed_at,
           m.state <> 'DONE' AND m.began_at < now() - CAST(:late AS interval) AS late,
           m.state <> 'DONE' AND EXISTS (
               SELECT 1 FROM month_step s WHERE s.month = m.month AND s.step = m.step
                 AND (s.state = 'FAILED' OR s.state = 'RUNNING' AND s.tries > 1 OR s.state = 'BRAKED' AND s.code IS NOT NULL)
           ) AS failing
    FROM month_run m ORDER BY m.month DESC LIMIT :count""")
_STEPS_OF = text("""
    SELECT step, state, count(*) AS count, min(operation_id::text) AS operation_id, min(code) AS code, min(began_at) AS began_at,
           max(ended_at) AS ended_at
    FROM month_step WHERE month = :month GROUP BY step, state ORDER BY began_at, state""")


def my_turn(connection: Connection, lock: int) -> bool:
    """Whether this transaction is the only one at the work that the lock stands for."""
    return bool(connection.execute(_TURN, {"lock": lock}).scalar_one())


def begin_month(connection: Connection, month: int) -> bool:
    """Whether the work of a month begins with this; it begins once."""
    return connection.execute(_BEGIN_MONTH, {"month": month}).first() is not None


def open_months(connection: Connection, rest: str) -> Sequence[RowMapping]:
    """Months whose work is not done, oldest first; ``rested``: nothing has changed for ``rest`` (an interval)."""
    return connection.execute(_OPEN_MONTHS, {"rest": rest}).mappings().all()


def month(connection: Connection, number: int) -> RowMapping | None:
    return connection.execute(_MONTH, {"month": number}).mappings().one_or_none()


def set_month(connection: Connection, number: int, step: str, state: str, code: str | None) -> None:
    connection.execute(_SET_MONTH, {"month": number, "step": step, "state": state, "code": code})


def steps(connection: Connection, number: int, step: str) -> Sequence[RowMapping]:
    """What a step is made of, with the operations."""
    return connection.execute(_STEPS, {"month": number, "step": step}).mappings().all()


def put_step(connection: Connection, number: int, step: str, organisation: str, operation: UUID | None) -> None:
    """Begins a part of a step, or begins it again."""
    values = {"month": number, "step": step, "organisation": organisation, "operation": operation}
    connection.execute(_PUT_STEP, values)


def follow(connection: Connection, number: int, step: str, operation: UUID) -> None:
    """A step goes on in another operation."""
    connection.execute(_FOLLOW, {"month": number, "step": step, "operation": operation})


def set_step(
    connection: Connection, number: int, step: str, organisation: str, state: str, code: str | None
) -> None:  # fmt: skip
    values = {"month": number, "step": step, "organisation": organisation, "state": state, "code": code}
    connection.execute(_SET_STEP, values)


def comparison(connection: Connection, kind: str, number: int) -> RowMapping | None:
    return connection.execute(_COMPARISON, {"kind": kind, "month": number}).mappings().one_or_none()


def closed(connection: Connection, number: int) -> list[str]:
    """Organisations whose month is closed."""
    return list(connection.execute(_CLOSED, {"month": number}).scalars())


def left_open(connection: Connection) -> dict[int, list[str]]:
    """By month: organisations that could not be closed with it and are open still."""
    return {row["month"]: row["organisations"] for row in connection.execute(_LEFT_OPEN).mappings()}


def compared(connection: Connection, kind: str, count: int) -> Sequence[RowMapping]:
    """The newest months that were compared, and whether a comparison waits for a decision."""
    return connection.execute(_COMPARED, {"kind": kind, "count": count}).mappings().all()


def latest_months(connection: Connection, count: int, late: str) -> Sequence[RowMapping]:
    """The newest months with how they stand; ``late``: not done within the interval."""
    return connection.execute(_LATEST_MONTHS, {"count": count, "late": late}).mappings().all()


def steps_of(connection: Connection, number: int) -> Sequence[RowMapping]:
    """The steps of a month by state."""
    return connection.execute(_STEPS_OF, {"month": number}).mappings().all()
