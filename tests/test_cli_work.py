"""Long work at the command line: seen, followed to its end, aborted by Ctrl-C; the exit code tells the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from gateway.access.model import Call, Caller, ClientKind
from gateway.cli import main
from gateway.domain.clock import Clock
from gateway.lists import Lists
from gateway.lists.model import Choice
from gateway.nsi.dictionaries import Nsi
from gateway.operations import runs, works
from gateway.operations.model import Operation, State
from gateway.operations.queue import Work
from gateway.settings import Settings
from gateway.store.engine import Store


@pytest.fixture(autouse=True)
def environment(store: Store, owner: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DN_GATEWAY_DATABASE_URL", store.url)
    monkeypatch.setenv("DN_GATEWAY_DATABASE_OWNER_URL", owner.url)
    monkeypatch.setenv("DN_GATEWAY_DATA_DIR", str(tmp_path))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture
def export(store: Store) -> UUID:
    """An export of the region's list, which is empty, as the operator begins it."""
    clock, values = Clock(), Settings()
    caller = Caller(0, "operator", ClientKind.FUND, frozenset(), None, frozenset())
    call = Call(caller=caller, service="operator", operation="ExportList", trace="t", at=datetime.now(UTC))
    with store.begin() as connection:
        return Lists(values, Nsi(store, clock), clock).request_export(
            connection, call, None, Choice(2026, "OBSERVED", month=1), format="CSV"
        )


def state(store: Store, operation_id: UUID) -> Operation:
    with store.begin() as connection:
        found = works.get(connection, operation_id)
    assert found is not None
    return found


@contextmanager
def followed(operation_id: UUID) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway.cli", "operation", "show", str(operation_id), "--follow"],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def pretend_worker(store: Store) -> None:
    """A worker that is alive and takes nothing."""
    with store.begin() as connection:
        connection.execute(text("INSERT INTO procrastinate_workers (last_heartbeat) VALUES (now() + interval '25 s')"))


def read_until(process: subprocess.Popen[str], words: str) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if words in line:
            return
    raise AssertionError(words)


def test_listed_shown_and_aborted(store: Store, export: UUID) -> None:
    listed = run("operation", "list", "--kind", "EXPORT_LIST").output
    assert listed.startswith(f"{export}\tEXPORT_LIST\tфонд\t")
    assert listed.endswith("\tждёт\nПоказано 1 из 1\n")
    assert run("operation", "list", "--state", "DONE").output == "Показано 0 из 0\n"
    assert run("operation", "list", "--kind", "NOTHING").exit_code == 1
    assert run("operation", "show", str(export)).output == "Выгрузка списка: ждёт\n"
    for _ in range(2):
        result = run("operation", "abort", str(export))
        assert (result.exit_code, result.output) == (0, "Выгрузка списка: прервана\n")
    assert state(store, export).state is State.ABORTED
    shown = run("operation", "show", str(export))
    assert shown.exit_code == 0
    assert "operation.aborted: Работа прервана по требованию" in shown.output
    with store.begin() as connection:
        noted = connection.execute(
            text("SELECT details->>'operation' FROM audit_record WHERE operation = 'AbortOperation'")
        )
        assert noted.scalars().all() == [str(export)] * 2


def test_missing_operation(store: Store) -> None:
    for command in ("show", "abort"):
        result = run("operation", command, "00000000-0000-4000-8000-000000000000")
        assert result.exit_code == 1
        assert "object.not-found" in result.output


def test_followed_to_its_end_with_a_worker_of_its_own(store: Store, export: UUID) -> None:
    with followed(export) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "Исполнитель заданий не запущен: работу выполнит эта команда" in err
    assert "Выполнена" in err
    assert "Выгрузка списка: выполнена" in out
    assert ".csv\t" in out
    assert state(store, export).state is State.DONE
    with store.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM procrastinate_workers")).scalar_one() == 0


def test_ctrl_c_aborts_and_waits_for_the_end(store: Store, export: UUID) -> None:
    pretend_worker(store)
    with followed(export) as process:
        read_until(process, "Ждёт исполнителя")
        process.send_signal(signal.SIGINT)
        read_until(process, "operation.aborted")
        assert process.wait(60) == 130
    assert state(store, export).state is State.ABORTED


def test_second_ctrl_c_leaves_the_work_to_its_end(store: Store, export: UUID, tmp_path: Path) -> None:
    pretend_worker(store)
    taken = runs.take(Work(store, None, Settings(data_dir=str(tmp_path)), Clock()), export)
    assert taken is not None
    with taken, followed(export) as process:
        read_until(process, "Начата")
        process.send_signal(signal.SIGINT)
        read_until(process, "Прерывается")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        found = state(store, export)
        assert found.state is State.RUNNING
        assert found.aborting


def test_failed_work_is_exit_code_one(store: Store, export: UUID) -> None:
    with store.begin() as connection:
        connection.execute(text("DELETE FROM list_snapshot"))
    with followed(export) as process:
        _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert f"Ошибка {state(store, export).code}: " in err
