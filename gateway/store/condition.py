"""Facts about the database that an operator's check-up looks at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

_ROLE = text("""
    SELECT current_user, rolsuper, pg_has_role(current_user, c.relowner, 'USAGE'),
           has_table_privilege(c.oid, 'UPDATE') OR has_table_privilege(c.oid, 'DELETE') OR has_table_privilege(c.oid, 'TRUNCATE')
    FROM pg_roles, pg_class c WHERE rolname = current_user AND c.oid = 'audit_record'::regclass""")

# a worker shows itself once for long work and once for short jobs
_WORKERS = text(
    "SELECT (count(*) + 1) / 2 FROM procrastinate_workers WHERE last_heartbeat > now() - interval '30 seconds'"
)

_FAILED = text("SELECT count(*) FROM procrastinate_jobs WHERE status = 'failed'")

_WAITING = text("""
    SELECT count(*) FROM procrastinate_jobs
    WHERE status = 'todo' AND coalesce(scheduled_at, now()) <= now()""")

_LEADER = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid::bigint = :lock AND granted")

_ASIDE = text("SELECT count(*), min(noted_at) FROM list_aside WHERE settled_at IS NULL")

_SEALED = text("SELECT max(sealed_at) FROM audit_batch")


@dataclass(frozen=True, slots=True)
class Role:
    """What the role of a connection may do to the audit: anything but reading and adding is too much."""

    name: str
    superuser: bool
    owns_schema: bool
    may_change_audit: bool


@dataclass(frozen=True, slots=True)
class Processes:
    """Live workers, jobs that failed, jobs that are due and wait, and whether a calendar leads; lines of
    uploaded lists that wait for their persons, and since when."""

    workers: int
    failed: int
    waiting: int
    calendar: bool
    sealed_at: datetime | None
    aside: int
    aside_since: datetime | None


def server_version(connection: Connection) -> str:
    return str(connection.execute(text("SHOW server_version")).scalar_one())


def role(connection: Connection) -> Role:
    return Role(*connection.execute(_ROLE).one())


def processes(connection: Connection, calendar_lock: int) -> Processes:
    aside, aside_since = connection.execute(_ASIDE).one()
    return Processes(
        workers=connection.execute(_WORKERS).scalar_one(),
        failed=connection.execute(_FAILED).scalar_one(),
        waiting=connection.execute(_WAITING).scalar_one(),
        calendar=connection.execute(_LEADER, {"lock": calendar_lock}).scalar_one() > 0,
        sealed_at=connection.execute(_SEALED).scalar_one(),
        aside=aside,
        aside_since=aside_since,
    )
