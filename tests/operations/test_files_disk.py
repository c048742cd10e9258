"""Trial B7: the disk of the database is full. Work fails with its reason, nothing is there by half, a retry succeeds."""

from __future__ import annotations

import os
import random
import subprocess
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from gateway.errors import GatewayError
from gateway.operations import files, works
from gateway.operations.model import Owner, Scope, State
from gateway.operations.works import Body, Run
from gateway.settings import Settings
from gateway.store import failures
from gateway.store.engine import Store
from tests.operations.running import run_waiting
from tests.serving import Gateway, running_gateway

MIB = 1024 * 1024
CLINIC = Owner("400001")


class Disk:
    """A small file system for the tablespace of file parts."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def grow(self) -> None:
        subprocess.run(["mount", "-o", "remount,size=64m", self.path], check=True)

    def hold_parts(self, admin_url: str) -> None:
        """Moves the content of files onto this disk."""
        with psycopg.connect(admin_url, autocommit=True) as admin:
            admin.execute(f"CREATE TABLESPACE {self.name} LOCATION '{self.path}'".encode())
            admin.execute(f"ALTER TABLE file_part SET TABLESPACE {self.name}".encode())

    @property
    def name(self) -> str:
        return f"small_{os.getpid()}_{self.path.parent.name.replace('-', '_')}"


@pytest.fixture
def disk(server: Any, folder: Path, require: Callable[[str], None]) -> Iterator[Disk]:
    """8 MiB that the account of the embedded server may write to."""
    path = folder / "small"
    path.mkdir()
    data = getattr(server, "data", None)
    if data is None:
        require("tmpfs")
    owner = data.stat()
    options = f"size=8m,mode=700,uid={owner.st_uid},gid={owner.st_gid}"
    if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], capture_output=True).returncode:
        require("tmpfs")
    try:
        made = Disk(path)
        yield made
        with psycopg.connect(server.admin_url(), autocommit=True) as admin:
            admin.execute(f"DROP TABLESPACE IF EXISTS {made.name}".encode())
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


@pytest.fixture
def full(disk: Disk, server: Any, make_database: Callable[..., str], template: str) -> Iterator[tuple[Store, Disk]]:
    """A database whose file parts lie on the small disk; it goes before the disk does."""
    name = make_database(template)
    disk.hold_parts(server.admin_url(name))
    store = Store(server.url(name), size=8)
    yield store, disk
    store.close()
    with psycopg.connect(server.admin_url(), autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def write(store: Store, size: int) -> None:
    with (
        store.begin() as connection,
        files.Writer(connection, Settings(), name="a", kind="EXPORT", owner=CLINIC, mailbox=True) as out,
    ):
        for number in range(size // MIB):
            out.write(random.Random(number).randbytes(MIB))


def visible(store: Store) -> list[int]:
    with store.begin() as connection:
        return [one.size for one in files.mailbox(connection, Scope())[1]]


@pytest.mark.trial
def test_full_disk_leaves_no_half_file(full: tuple[Store, Disk]) -> None:
    store, disk = full
    write(store, 3 * MIB)
    with pytest.raises(Exception) as failed:
        write(store, 20 * MIB)
    refusal = failures.named(failed.value)
    assert refusal is not None
    assert refusal.code == "server.disk-full"
    assert visible(store) == [3 * MIB]
    disk.grow()
    write(store, 20 * MIB)
    assert visible(store) == [3 * MIB, 20 * MIB]


@pytest.mark.trial
def test_operation_on_a_full_disk_says_so(
    full: tuple[Store, Disk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two files go well, the third does not fit: the operation has failed with its reason, and says it at once."""
    store, disk = full

    def body(run: Run) -> None:
        for number in range(int(run.progress.get("made", 0)), 6):
            with run.begin() as connection:
                with files.Writer(
                    connection, run.work.settings, name=f"{number}", kind="EXPORT", owner=run.owner,
                    operation_id=run.id, number=number,
                ) as out:  # fmt: skip
                    out.write(random.Random(number).randbytes(2 * MIB))
                run.progress["made"] = number + 1
                if number == 5:
                    run.finish(connection)

    monkeypatch.setitem(works.BODIES, "TEST", Body("TEST", "Проверка", body))

    def attempt() -> tuple[State, str | None, int]:
        with store.begin() as connection:
            operation = works.start(connection, "TEST", {}, owner=CLINIC, client_id=1, login="mis", trace="abc")
        run_waiting(store, settings=settings)
        with store.begin() as connection:
            found = works.get(connection, operation)
            assert found is not None
            return found.state, found.code, len(files.of_operation(connection, operation))

    settings = Settings(data_dir=str(tmp_path))
    state, code, made = attempt()
    assert (state, code) == (State.FAILED, "server.disk-full")
    assert 0 < made < 6
    disk.grow()
    assert attempt() == (State.DONE, None, 6)


@pytest.mark.trial
def test_put_on_a_full_disk(disk: Disk, server: Any, template: str) -> None:
    with running_gateway(server, template, workers=1) as gateway:
        with gateway.store.begin() as connection:
            name = connection.exec_driver_sql("SELECT current_database()").scalar_one()
        disk.hold_parts(server.admin_url(name))
        content = random.Random(1).randbytes(12 * MIB)
        file_id = uuid4()
        answer = put(gateway, file_id, content)
        assert (answer.status_code, answer.json()["code"]) == (507, "server.disk-full")
        assert get(gateway, file_id).status_code == 404
        disk.grow()
        assert put(gateway, file_id, content).status_code == 201
        assert get(gateway, file_id).content == content


def put(gateway: Gateway, file_id: Any, content: bytes) -> Any:
    return gateway.http.put(f"{gateway.url}/files/{file_id}", content=content, headers=credentials(gateway))


def get(gateway: Gateway, file_id: Any) -> Any:
    return gateway.http.get(f"{gateway.url}/files/{file_id}", headers=credentials(gateway))


def credentials(gateway: Gateway) -> dict[str, str]:
    login = gateway.clients["clinic"]
    return {"authorization": "Basic " + b64encode(f"{login.login}:{login.password}".encode()).decode()}


def test_full_disk_of_the_reader(store: Store, tmp_path: Path) -> None:
    """A spooled file that does not fit is refused by name and not left behind."""
    with store.begin() as connection:
        file_id = files.put(connection, Settings(), owner=CLINIC, client_id=1, name="a", content=b"a" * 100)
    target = tmp_path / "full"
    target.symlink_to("/dev/full")
    with pytest.raises(GatewayError, match="server.disk-full"):
        files.fetch(store, file_id, target)
    assert not target.exists()
