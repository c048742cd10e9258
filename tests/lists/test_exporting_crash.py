"""Exports whose worker or PostgreSQL is killed, that are aborted, or that run out of disk, at every stage: the state is
true, no file is there by half, and the next run leaves exactly the files of an undisturbed one."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import event, text

from gateway.lists.model import Exclusion, PlanChange
from gateway.operations import works
from gateway.operations.model import Operation, State
from gateway.operations.queue import Work
from gateway.settings import Settings
from gateway.store.embedded import Server, create_database
from gateway.store.engine import Store
from gateway.store.place import Place
from gateway.upgrade import upgrade
from tests.lists.region import CLINIC, Region, region
from tests.lists.test_batches import DAY, codes
from tests.lists.test_exporting import begin, caller, export, fill, fund, made_by, page, perform, records

pytestmark = pytest.mark.trial

_CHILD = """
import itertools, os, signal, sys
from datetime import date
from sqlalchemy import event
from gateway.operations import works
from gateway.operations.queue import Work
from gateway.store.engine import Store
from tests.lists.region import region
url, operation, kind, stop, folder = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]
store = Store(url, size=6)
place = region(store, date(2026, 11, 18), itertools.count(1), data_dir=folder)
seen = 0
def count(*_):
    global seen
    seen += 1
    if seen == stop:
        os.kill(os.getpid(), signal.SIGKILL)
event.listen(store.engine, kind, count)
works.run(Work(store, None, place.settings, place.lists.clock), operation)
"""

Copies = Callable[[], tuple[str, Region]]


@pytest.fixture
def prepared(place: Region, database: str) -> tuple[str, UUID, list[str]]:
    """A database where an export of twelve files waits, and the entries of its list."""
    ids = fill(place, 230)
    operation_id = begin(place, records_per_file=20)
    place.store.close()
    return database, operation_id, ids


@pytest.fixture
def copies(
    prepared: tuple[str, UUID, list[str]], make_database: Callable[..., str], server: Any, tmp_path: Path
) -> Iterator[Copies]:
    stores: list[Store] = []

    def copy() -> tuple[str, Region]:
        for store in stores:
            store.close()
        url = server.url(make_database(prepared[0]))
        stores.append(Store(url, size=8))
        return url, region(stores[-1], DAY, itertools.count(1000), data_dir=str(tmp_path))

    yield copy
    for store in stores:
        store.close()


def state(store: Store, operation_id: UUID) -> Operation:
    with store.begin() as connection:
        found = works.get(connection, operation_id)
    assert found is not None
    return found


def shown(store: Store, operation_id: UUID) -> list[tuple[str, bytes]]:
    """Names of the files and their records."""
    return [(file.name, records(content)) for file, content in made_by(store, operation_id)]


def is_named(store: Store, operation_id: UUID) -> bool:
    with store.begin() as connection:
        row = connection.execute(
            text("SELECT progress ? 'records' FROM operation WHERE id = :id"), {"id": operation_id}
        )
        return bool(row.scalar_one())


def change(place: Region, ids: list[str]) -> None:
    """The list goes on while nobody exports it."""
    codes(place, place.lists.update_plans, *[PlanChange(id, ("2027-06",)) for id in ids[::7]])
    codes(place, place.lists.exclude, *[Exclusion(id, DAY, "6") for id in ids[3::20]])
    fill(place, 5)


def undisturbed(copies: Copies, operation_id: UUID) -> tuple[list[tuple[str, bytes]], int]:
    """What a clean run leaves, and how many statements it takes."""
    _, place = copies()
    counted: list[int] = []
    event.listen(place.store.engine, "before_cursor_execute", lambda *_: counted.append(1))
    assert perform(place, operation_id).state is State.DONE
    statements = len(counted)
    clean = shown(place.store, operation_id)
    assert len(clean) == 12 and b"".join(content for _, content in clean) == page(place)
    return clean, statements


def test_a_killed_worker(prepared: tuple[str, UUID, list[str]], copies: Copies, tmp_path: Path) -> None:
    _, operation_id, ids = prepared
    clean, statements = undisturbed(copies, operation_id)
    points = [("before_cursor_execute", n) for n in range(3, statements + 1, max(1, statements // 10))]
    points += [("commit", n) for n in (1, 2, 3, 9)] + [("before_cursor_execute", statements)]
    for kind, point in points:
        url, place = copies()
        child = subprocess.run(
            [sys.executable, "-c", _CHILD, url, str(operation_id), kind, str(point), str(tmp_path)],
            capture_output=True, cwd=Path(__file__).parents[2], check=False,
        )  # fmt: skip
        assert child.returncode in (0, -signal.SIGKILL), child.stderr.decode()
        left = shown(place.store, operation_id)
        assert left == clean[: len(left)], (kind, point)
        if state(place.store, operation_id).state is not State.DONE:
            assert len(left) < len(clean)
            if is_named(place.store, operation_id):
                change(place, ids)
            assert perform(place, operation_id).state is State.DONE
        assert shown(place.store, operation_id) == clean, (kind, point)


@pytest.mark.parametrize("form", ["XML", "XLSX"])
def test_an_abort(prepared: tuple[str, UUID, list[str]], copies: Copies, form: str) -> None:
    _, operation_id, _ = prepared
    clean, statements = undisturbed(copies, operation_id)
    ends = []
    for point in range(4, statements + 1, max(1, statements // 6)):
        _, place = copies()
        with place.store.begin() as connection:
            connection.execute(
                text(
                    "UPDATE operation SET parameters = parameters || jsonb_build_object('format', CAST(:form AS text))"
                ),
                {"form": form},
            )
        count = 0

        def abort(*_: Any, place: Region = place, point: int = point) -> None:
            nonlocal count
            count += 1
            if count == point:
                # a run that just ends holds its operation: too late
                with (
                    suppress(psycopg.errors.LockNotAvailable),
                    psycopg.connect(place.store.url, options="-c lock_timeout=300ms") as connection,
                ):
                    connection.execute("UPDATE operation SET abort_at = now(), abort_by = 'test'")
                time.sleep(1.2)

        event.listen(place.store.engine, "before_cursor_execute", abort)
        found = perform(place, operation_id)
        event.remove(place.store.engine, "before_cursor_execute", abort)
        ends.append(found.state)
        names = [file.name for file, _ in made_by(place.store, operation_id)]
        assert names == [name.replace("xml", form.lower()) for name, _ in clean[: len(names)]]
        assert found.state is State.ABORTED or len(names) == len(clean)
        assert not [thread for thread in threading.enumerate() if thread.name == "list-readout"]
    assert ends.count(State.ABORTED) >= len(ends) // 2


def test_a_killed_postgresql(folder: Path, tmp_path: Path) -> None:
    with Server(folder / "data") as server:
        with psycopg.connect(server.admin_url(), autocommit=True) as admin:
            create_database(admin, "prepared")
        upgrade(Place(server.url("prepared"), server.owner_url_of("prepared")), Settings())
        store = Store(server.url("prepared"), size=8)
        place = region(store, DAY)
        ids = fill(place, 230)
        operation_id = begin(place, records_per_file=20)
        store.close()
        clean: list[tuple[str, bytes]] = []
        statements = 0
        for number in range(7):
            name = f"copy_{number}"
            with psycopg.connect(server.admin_url(), autocommit=True) as admin:
                create_database(admin, name, "prepared")
            store = Store(server.url(name), size=8)
            place = region(store, DAY, itertools.count(1000), data_dir=str(tmp_path))
            point, count = number * statements // 7, 0

            def kill(*_: Any, point: int = point) -> None:
                nonlocal count
                count += 1
                if count == point:
                    os.kill(int((server.data / "postmaster.pid").read_text().split()[0]), signal.SIGQUIT)
                    time.sleep(0.3)

            event.listen(store.engine, "before_cursor_execute", kill)
            work = Work(store, None, place.settings, place.lists.clock)
            try:
                works.run(work, str(operation_id))
            except Exception:
                assert number
            event.remove(store.engine, "before_cursor_execute", kill)
            if not number:
                clean, statements = shown(store, operation_id), count
            else:
                server.start()
                store.engine.dispose()
                left = shown(store, operation_id)
                assert left == clean[: len(left)] and len(left) < len(clean)
                if is_named(store, operation_id):
                    change(place, ids)
                works.run(work, str(operation_id))
                assert state(store, operation_id).state is State.DONE
                assert shown(store, operation_id) == clean
            store.close()


def test_writers_do_not_disturb_an_export(place: Region, tmp_path: Path) -> None:
    """Eight exports while four writers change every second line: each is the list at the moment it was named."""
    place = place.at(DAY, data_dir=str(tmp_path))
    ids = fill(place, 1500)
    over = threading.Event()
    broken: list[BaseException] = []

    def writer(number: int) -> None:
        turn = 0
        try:
            while not over.is_set():
                part = ids[number::8][turn % 30 :: 30]
                codes(place, place.lists.update_plans, *[PlanChange(id, (f"2027-{turn % 12 + 1:02d}",)) for id in part])
                turn += 1
        except BaseException as error:
            broken.append(error)

    caller(place)
    threads = [threading.Thread(target=writer, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        for number in range(8):
            call = fund(place) if number % 2 else None
            operation_id = begin(place, call, None if call else CLINIC, records_per_file=130)
            assert perform(place, operation_id).state is State.DONE
            with place.store.begin() as connection:
                snapshot = connection.execute(
                    text("SELECT CAST(parameters->>'snapshot' AS uuid) FROM operation WHERE id = :id"),
                    {"id": operation_id},
                ).scalar_one()
            found = b"".join(content for _, content in shown(place.store, operation_id))
            assert found.count(b"<entries>") == 1500
            asked = {"call": call, "organisation": None} if call else {}
            assert found == page(place, snapshot=snapshot, **asked)
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert broken == []


def test_a_full_scratch_disk(place: Region, folder: Path, require: Callable[[str], None]) -> None:
    """Books of Excel are made on disk: without room the export fails with its reason, and the next one succeeds."""
    place = place.at(DAY, data_dir=str(folder / "small"))
    fill(place, 2000)
    small = folder / "small"
    small.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", small], capture_output=True).returncode:
        require("tmpfs")
    try:
        operation_id = begin(place, format="XLSX", records_per_file=2000)
        found = perform(place, operation_id)
        assert (found.state, found.code) == (State.FAILED, "server.disk-full")
        assert made_by(place.store, operation_id) == [] and list(small.rglob("*.*")) == []
        subprocess.run(["mount", "-o", "remount,size=32m", small], check=True)
        ((file, _),) = export(place, format="XLSX", records_per_file=2000)
        assert file.size > 100_000
    finally:
        subprocess.run(["umount", "--lazy", small], check=True)
