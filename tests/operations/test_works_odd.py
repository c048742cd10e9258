"""Long work at its edges: cancels that come as errors of the driver, long protocols, folders that cannot be made."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.errors import GatewayError
from gateway.operations import files, queries, works
from gateway.operations.model import Owner, State
from gateway.operations.queue import Work
from gateway.operations.run import Run
from gateway.store.engine import driver_of
from tests.operations.test_works import begin, bodies, work  # noqa: F401


def test_abort_cancels_a_statement_of_the_driver(begin, work: Work, caplog) -> None:  # noqa: F811
    """Files and COPY speak to the driver past SQLAlchemy: its errors are no `DBAPIError`."""

    def body(run: Run) -> None:
        with run.begin() as connection:
            run.stage("Запрос")
            driver_of(connection).execute("SELECT pg_sleep(600)")

    begun = begin(body)
    with work.store.begin() as connection:
        connection.execute(text("UPDATE operation SET losses = 4"))
    with caplog.at_level(logging.ERROR):
        begun.run_aside().until(lambda one: one.stage == "Запрос")
        begun.abort()
        found = begun.join().now
    assert (found.state, found.code) == (State.ABORTED, "operation.aborted")
    assert not caplog.records


def test_a_line_costs_the_same_however_long_the_protocol_is(begin, work: Work) -> None:  # noqa: F811
    begun = begin(lambda run: None)
    with work.store.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO operation_line (operation_id, number, level, text)"
                " SELECT :id, n, 'INFO', 'строка' FROM generate_series(1, 20000) n"
            ),
            {"id": begun.id},
        )
    counted = text("SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'operation_line'")
    with work.store.begin() as connection:
        queries.add_line(connection, begun.id, "INFO", "ещё")
        assert connection.execute(counted).scalar_one() < 100
    with work.store.begin() as connection:
        values = {"id": begun.id, "attempt": 0, "age": 0.0, "level": "INFO", "text": "и ещё"}
        driver_of(connection).execute(queries.ADD_LINE, values)
        assert connection.execute(counted).scalar_one() < 100


def test_a_folder_that_cannot_be_made_ends_the_work(begin, work: Work, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "work").write_text("не каталог")

    def body(run: Run) -> None:
        (run.folder / "content").write_bytes(b"")

    begun = begin(body)
    for _ in range(5):
        if begun.now.state.ended:
            break
        begun.run()
    assert begun.now.state is State.FAILED


def test_abort_reaches_a_run_that_has_written_a_file(begin, work: Work) -> None:  # noqa: F811
    """A file names its operation, so the transaction holds a key lock of it: to abort must not wait for that one's end."""

    def body(run: Run) -> None:
        with run.begin() as connection:
            with files.Writer(
                connection, work.settings, name="a.csv", kind="PROTOCOL", owner=run.owner, operation_id=run.id
            ) as out:
                out.write(b"a")
            run.stage("Запрос")
            connection.execute(text("SELECT pg_sleep(20)"))

    begun = begin(body).run_aside()
    begun.until(lambda one: one.stage == "Запрос")
    try:
        with work.store.begin() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '3s'"))
            works.request_abort(connection, begun.id, "mis")
    finally:
        found = begun.join().now
    assert (found.state, found.code) == (State.ABORTED, "operation.aborted")


def test_a_client_may_have_so_many_unfinished_operations(begin, work: Work) -> None:  # noqa: F811
    begin(lambda run: None)  # registers its kind; the operator's own operations are not counted
    (kind,) = set(works.BODIES) - {"EXPORT_LIST", "UPLOAD_LIST"}

    def start() -> None:
        with work.store.begin() as connection:
            owner = Owner("400001")
            works.start(connection, kind, {}, owner=owner, client_id=99, login="clinic", trace="t", most=2)

    start()
    start()
    with pytest.raises(GatewayError, match=r"operation\.too-many"):
        start()
