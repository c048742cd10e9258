"""The schema: step by step equals from scratch, and the application's role can only do what it may."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest
from sqlalchemy import text

from gateway.errors import GatewayError
from gateway.settings import Settings
from gateway.store import installation, migrate, views
from gateway.store.embedded import APP
from gateway.store.engine import Store, driver_of
from gateway.store.tables import metadata

STEPS = ["0001", "0002", "0003", "0004", "0005"]

CATALOG = {
    "columns": """
        SELECT c.relname, a.attnum, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
               pg_get_expr(d.adbin, d.adrelid), co.collname
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        LEFT JOIN pg_collation co ON co.oid = a.attcollation
        WHERE a.attnum > 0 AND NOT a.attisdropped AND {scope} AND c.relkind IN ('r', 'v')""",
    "tables": """
        SELECT c.relname, c.relkind, c.relpersistence, c.reloptions, obj_description(c.oid, 'pg_class')
        FROM pg_class c WHERE {scope} AND c.relkind IN ('r', 'v', 'S')""",
    "constraints": """
        SELECT c.relname, k.conname, k.contype, pg_get_constraintdef(k.oid)
        FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid WHERE {scope}""",
    "indexes": """
        SELECT c.relname, pg_get_indexdef(i.indexrelid)
        FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid WHERE {scope}""",
    "views": "SELECT c.relname, pg_get_viewdef(c.oid) FROM pg_class c WHERE {scope} AND c.relkind = 'v'",
}
SCOPE = "c.relnamespace = 'public'::regnamespace AND c.relname !~ '^(procrastinate|alembic)'"


def describe(store: Store, scope: str = SCOPE) -> dict[str, list[str]]:
    with store.begin() as connection:
        driver = driver_of(connection)
        return {
            part: sorted(repr(row) for row in driver.execute(query.format(scope=scope).encode()))
            for part, query in CATALOG.items()
        }


@pytest.fixture
def blank(server, make_database) -> Callable[[], Store]:
    return lambda: Store(server.owner_url_of(make_database()), size=0)


def test_from_scratch_equals_step_by_step(blank) -> None:
    scratch, stepped = blank(), blank()
    with scratch.begin() as connection:
        connection.execute(text("CREATE EXTENSION btree_gist"))
        metadata.create_all(connection)
        views.create(connection)
    for step in STEPS:
        migrate.upgrade(stepped.url, APP, to=step)
    migrate.upgrade(stepped.url, APP)
    expected, found = describe(scratch), describe(stepped)
    for part in CATALOG:
        assert found[part] == expected[part], part


def test_each_step_keeps_data(blank) -> None:
    store = blank()
    migrate.upgrade(store.url, APP, to="0001")
    with store.begin() as connection:
        connection.execute(text("INSERT INTO organisation VALUES ('780001', 'МО', true, '2020-01-01', NULL)"))
    for step in STEPS[1:]:
        assert migrate.upgrade(store.url, APP, to=step)
        with store.begin() as connection:
            assert migrate.current(connection) == step
            assert connection.execute(text("SELECT name FROM organisation")).scalars().all() == ["МО"]


def test_second_run_changes_nothing(owner) -> None:
    before = describe(owner)
    assert not migrate.upgrade(owner.url, APP)
    assert describe(owner) == before


def test_newer_database_is_refused(owner) -> None:
    with owner.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(GatewayError) as refusal:
        migrate.upgrade(owner.url, APP)
    assert refusal.value.code == "store.newer"
    with owner.begin() as connection, pytest.raises(GatewayError) as refusal:
        migrate.require_current(connection)
    assert refusal.value.code == "store.newer"


def test_older_database_is_refused(blank) -> None:
    store = blank()
    migrate.upgrade(store.url, APP, to="0001")
    with store.begin() as connection, pytest.raises(GatewayError) as refusal:
        migrate.require_current(connection)
    assert refusal.value.code == "store.older"


def test_queue_step_is_the_installed_queue(blank) -> None:
    """The frozen copy serves the procrastinate that is installed."""
    from procrastinate.schema import SchemaManager

    copied, installed = blank(), blank()
    migrate.upgrade(copied.url, APP)
    with installed.begin() as connection:
        driver_of(connection).execute(SchemaManager.get_schema().encode())
    scope = "c.relname LIKE 'procrastinate%'"
    assert describe(copied, scope) == describe(installed, scope)


@pytest.mark.parametrize("table", ["audit_record", "audit_batch"])
@pytest.mark.parametrize(
    "statement", ["UPDATE {} SET id = id", "DELETE FROM {}", "TRUNCATE {}", "DROP TABLE {}", "ALTER TABLE {} ADD x int"]
)
def test_application_cannot_change_the_audit(store, table, statement) -> None:
    with store.driver() as driver, pytest.raises(psycopg.errors.InsufficientPrivilege):
        driver.execute(statement.format(table).encode())


def test_rights_of_the_application(store) -> None:
    special = {
        "audit_record": {"SELECT", "INSERT"},
        "audit_batch": {"SELECT", "INSERT"},
        "alembic_version": {"SELECT"},
        "installation": {"SELECT"},
        "attachment_line": {"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE"},
    }
    rights = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
    with store.driver() as driver:
        for table in (*metadata.tables, "alembic_version"):
            held = {
                right
                for right in rights
                if driver.execute("SELECT has_table_privilege(%s, %s)", (table, right)).fetchone()[0]
            }
            assert held == special.get(table, {"SELECT", "INSERT", "UPDATE", "DELETE"}), table


def test_observed_entry_shows_open_entries_only(owner) -> None:
    person = "'7801', '7', 'А', 'Б', 'АБ', '1960-01-01', 1"
    with owner.begin() as connection:
        connection.execute(text("INSERT INTO organisation VALUES ('780001', 'МО', true, '2020-01-01', NULL)"))
        connection.execute(
            text(
                "INSERT INTO person (id, enp, snils, last_name, first_name, name_key, birth_date, sex, insured_in_region)"
                f" VALUES (1, {person}, true)"
            )
        )
        for number, status in enumerate(("OBSERVED", "EXCLUDED", "ANNULLED"), 1):
            connection.execute(
                text(
                    "INSERT INTO entry (id, person_id, organisation, seq, enp, snils, last_name, first_name, name_key,"
                    " birth_date, sex, diagnosis, diagnosis_key, diagnosis_group, by_attachment, observed_since, source,"
                    f" status) VALUES (:id, 1, '780001', 1, {person}, 'I10', 'I10', 'БСК', true, '2024-01-01', 'MO', :s)"
                ),
                {"id": number, "s": status},
            )
        rows = connection.execute(text("SELECT * FROM observed_entry")).all()
    assert [tuple(row) for row in rows] == [(1, 1, "780001", "I10", "I10")]


def test_choice_of_installation_is_made_once(owner) -> None:
    with owner.begin() as connection, pytest.raises(GatewayError) as refusal:
        installation.settle(connection, Settings(observation_key="code"))
    assert refusal.value.code == "store.installation"
    with owner.begin() as connection:
        installation.check(connection, Settings())
