"""Brings a database to the schema of this program: steps of Alembic, named views, grants of the application's role."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from gateway.errors import GatewayError
from gateway.store import views
from gateway.store.engine import Store

OLDEST_SERVER = 15
_LOCK = 7_305_001
_APPEND_ONLY = ("audit_record", "audit_batch")
_READ_ONLY = ("alembic_version", "installation")
_SCRATCH = ("attachment_line",)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def head() -> str:
    """The revision this program works with."""
    revision = _scripts().get_current_head()
    assert revision is not None
    return revision


def current(connection: Connection) -> str | None:
    """The revision of the database, ``None`` for an empty one."""
    return MigrationContext.configure(connection).get_current_revision()


def upgrade(owner_url: str, app_role: str, *, to: str | None = None) -> bool:
    """Upgrades in one transaction and grants; returns whether any step ran. A second run changes nothing.

    ``to`` stops at an earlier step. Raises ``store.version`` for a server older than 15 and ``store.newer`` for a
    database that a newer program has upgraded.
    """
    store = Store(owner_url, size=0)
    with store.begin() as connection:
        require_server(connection)
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        found = current(connection)
        _require_known(found)
        goal = to or head()
        if found != goal:
            views.drop(connection)
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, goal)
            if goal == head():
                views.create(connection)
        if goal == head():
            grant(connection, app_role)
    return found != goal


def require_current(connection: Connection) -> None:
    """For processes that start: raises ``store.newer`` or ``store.older`` unless the schema is this program's."""
    found = current(connection)
    _require_known(found)
    if found != head():
        raise GatewayError("store.older", found=found or "—", needed=head())


def require_server(connection: Connection) -> None:
    version = connection.execute(text("SELECT current_setting('server_version_num')::int")).scalar_one()
    if version < OLDEST_SERVER * 10_000:
        raise GatewayError("store.version", found=str(version // 10_000))


def _require_known(revision: str | None) -> None:
    known = {script.revision for script in _scripts().walk_revisions()}
    if revision is not None and revision not in known:
        raise GatewayError("store.newer", found=revision)


def grant(connection: Connection, app_role: str) -> None:
    """What the application may do: rows of all tables, but the audit only grows and the schema stays the owner's."""
    role = connection.dialect.identifier_preparer.quote(app_role)
    own = connection.execute(text("SELECT current_user")).scalar_one()
    if own == app_role:
        return
    for statement in (
        f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}",
        f"GRANT USAGE ON SCHEMA public TO {role}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
        f"GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {role}",
        f"GRANT TRUNCATE ON {', '.join(_SCRATCH)} TO {role}",
        f"REVOKE UPDATE, DELETE ON {', '.join(_APPEND_ONLY)} FROM {role}",
        f"REVOKE INSERT, UPDATE, DELETE ON {', '.join(_READ_ONLY)} FROM {role}",
    ):
        connection.execute(text(statement))
