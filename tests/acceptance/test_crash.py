"""B3 and the crash trial: workers, PostgreSQL and connections killed under load. Nothing acknowledged is lost, nothing is
half done, an answer is never empty-handed, and clients go on by themselves."""

from __future__ import annotations

import base64
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest
from lxml import etree
from sqlalchemy import text

from gateway.store.embedded import Server
from tests import markers
from tests.acceptance.conftest import migrated
from tests.acceptance.messages import add, current, people_with
from tests.serving import CLINIC, EXCHANGE, OBSERVATION, Gateway, running_gateway, working

BATCH = 10


@pytest.fixture
def durable(folder: Path) -> Iterator[tuple[Server, Gateway]]:
    """A gateway over a PostgreSQL of its own that really writes to disk."""
    with Server(folder / "data") as server, running_gateway(server, migrated(server)) as gateway:
        yield server, gateway
    log = (server.folder / "log" / "postgresql.log").read_text(encoding="utf-8", errors="replace")
    assert "terminated by signal" not in log or "DETAIL" not in log
    assert markers.leaks(log) == []


class Readers:
    """Clients that page the list meanwhile: an answer that says 200 carries the data it names."""

    def __init__(self, gateway: Gateway, count: int = 2) -> None:
        self.gateway = gateway
        self.stop = threading.Event()
        self.pages = 0
        self.wrong: list[str] = []
        self.threads = [threading.Thread(target=self._read) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def _read(self) -> None:
        while not self.stop.is_set():
            try:
                answer = self.gateway.call("GetList", current(recordCount="200"))
                if answer.fault in ("server.database", "server.busy", "server.error"):
                    time.sleep(0.1)
                elif answer.fault is not None:
                    self.wrong.append(answer.fault)
                elif int(answer.result.findtext("{*}returnedRecords") or -1) != len(
                    answer.result.findall("{*}entries")
                ):
                    self.wrong.append("строк не столько, сколько названо")
                else:
                    self.pages += 1
            except httpx.HTTPError:
                time.sleep(0.1)

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()
        assert self.wrong == []
        assert self.pages > 20


class Writers:
    """Clients that add batches and keep what was acknowledged; a call without an answer is repeated with its requestId."""

    def __init__(self, gateway: Gateway, enps: list[str], count: int = 4) -> None:
        self.gateway = gateway
        self.stop = threading.Event()
        self.acknowledged: list[str] = []
        self.gaps: list[float] = []
        self.wrong: list[str] = []
        self.threads = [threading.Thread(target=self._write, args=(enps[n::count],)) for n in range(count)]
        for thread in self.threads:
            thread.start()

    def _write(self, enps: list[str]) -> None:
        while enps and not self.stop.is_set():
            batch = [enps.pop() for _ in range(min(BATCH, len(enps)))]
            request_id = str(uuid4())
            began = time.monotonic()
            while True:
                try:
                    answer = self.gateway.change("AddEntries", "".join(map(add, batch)), request_id=request_id)
                    if answer.fault is None:
                        break
                    if answer.fault not in ("server.database", "server.busy", "server.error"):
                        self.wrong.append(str(answer.fault))
                        return
                except httpx.HTTPError:
                    pass
                if time.monotonic() - began > 60:
                    self.wrong.append("нет ответа 60 с")
                    return
                time.sleep(0.1)
            self.gaps.append(time.monotonic() - began)
            codes = [row.findtext("{*}code") for row in answer.result]
            if codes != ["ok"] * len(batch):
                self.wrong.append(f"повтор дал другое: {codes}")
            self.acknowledged += batch

    def end(self) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()


def check(gateway: Gateway, writers: Writers) -> None:
    """Every acknowledged person has one entry, one stretch, one event; no batch is there in part."""
    assert writers.wrong == []
    with gateway.owner.begin() as connection:
        entries = set(connection.execute(text("SELECT enp FROM entry")).scalars())
        counts = connection.execute(
            text(
                "SELECT (SELECT count(*) FROM entry), (SELECT count(*) FROM observation_segment),"
                " (SELECT count(*) FROM entry_event), (SELECT seq FROM list_ledger WHERE organisation = :own),"
                " (SELECT count(*) FROM call_request WHERE answer IS NULL),"
                " (SELECT count(*) FROM call_request), (SELECT count(*) FROM audit_record WHERE outcome = 'OK' AND operation = 'AddEntries')"
            ),
            {"own": CLINIC},
        ).one()
    assert set(writers.acknowledged) <= entries
    assert len(set(counts[:4])) == 1 and counts[0] == len(entries)
    assert counts[4] == 0
    assert counts[5] == counts[6]
    assert len(writers.acknowledged) > 100


@pytest.mark.trial
def test_workers_are_killed_under_load(durable: tuple[Server, Gateway]) -> None:
    _, gateway = durable
    writers = Writers(gateway, people_with(gateway.store, 20_000, CLINIC))
    for _ in range(6):
        time.sleep(random.uniform(1.0, 2.0))
        gateway.kill_worker()
    time.sleep(3)
    writers.end()
    check(gateway, writers)
    assert max(writers.gaps) < 30


@pytest.mark.trial
def test_postgresql_is_killed_under_load(durable: tuple[Server, Gateway]) -> None:
    """Killed, and stopped as `pg_ctl stop -m immediate` does; every client goes on within ten seconds."""
    server, gateway = durable
    writers = Writers(gateway, people_with(gateway.store, 20_000, CLINIC))
    readers = Readers(gateway)
    for number in (signal.SIGKILL, signal.SIGQUIT, signal.SIGKILL):
        time.sleep(2)
        os.kill(int((server.data / "postmaster.pid").read_text().split()[0]), number)
        server.start()
        time.sleep(2)
    time.sleep(2)
    writers.end()
    readers.end()
    gateway.owner.close()
    check(gateway, writers)
    assert max(writers.gaps) < 10


@pytest.mark.trial
def test_connections_are_cut_under_load(durable: tuple[Server, Gateway]) -> None:
    """Every connection to the database is ended again and again while calls are in progress."""
    server, gateway = durable
    writers = Writers(gateway, people_with(gateway.store, 20_000, CLINIC))
    readers = Readers(gateway)
    gateway.store.close()
    with psycopg.connect(server.admin_url(), autocommit=True) as admin:
        for _ in range(10):
            time.sleep(0.5)
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'dn_app'")
    time.sleep(1)
    writers.end()
    readers.end()
    check(gateway, writers)
    assert max(writers.gaps) < 10


@pytest.mark.trial
def test_workers_are_killed_while_whole_lists_come_and_go(durable: tuple[Server, Gateway]) -> None:
    """The processes of the web server die while files come in parts and uploads and exports are asked for; a call without
    an answer is repeated with its requestId. Every file is whole, every work is done once, the lists are right."""
    _, gateway = durable
    stop = threading.Event()

    def kill() -> None:
        while not stop.wait(random.uniform(0.5, 1.0)):
            gateway.kill_worker()

    killer = threading.Thread(target=kill)
    enps = people_with(gateway.store, 1200, CLINIC)
    with working(gateway):
        killer.start()
        try:
            ended = [send_and_order(gateway, enps[first : first + 300]) for first in range(0, 1200, 300)]
        finally:
            stop.set()
            killer.join()
    with gateway.owner.begin() as connection:
        made = connection.execute(text("SELECT kind, state, count(*) FROM operation GROUP BY 1, 2 ORDER BY 1")).all()
        assert [tuple(row) for row in made] == [("EXPORT_LIST", "DONE", 4), ("UPLOAD_LIST", "DONE", 4)]
        counts = text(
            "SELECT (SELECT count(*) FROM file WHERE kind = 'UPLOAD'), (SELECT count(*) FROM file WHERE ready_at IS NULL),"
            " (SELECT count(*) FROM entry WHERE status = 'OBSERVED')"
        )
        assert tuple(connection.execute(counts).one()) == (4, 0, 1200)
    assert ended == [300, 600, 900, 1200]


def send_and_order(gateway: Gateway, enps: list[str]) -> int:
    """Sends a list in parts, has it taken over and exported; how many records the exported files hold."""
    rows = "".join(f"{enp};I10;2024-05-06\r\n" for enp in enps)
    content = f"enp;diagnosis;observedSince\r\n{rows}".encode()
    file_id, step = "", 2000
    for offset in range(0, len(content), step):
        part = base64.b64encode(content[offset : offset + step]).decode()
        known = f"<fileId>{file_id}</fileId>" if file_id else ""
        last = str(offset + step >= len(content)).lower()
        fields = (
            f"{known}<fileName>list.csv</fileName><offset>{offset}</offset><content>{part}</content><last>{last}</last>"
        )
        file_id = str(insisted(gateway, "PutFilePart", fields, EXCHANGE).findtext("{*}fileId"))
    finished(gateway, insisted(gateway, "UploadList", f"<fileId>{file_id}</fileId>", OBSERVATION))
    exported = finished(
        gateway, insisted(gateway, "ExportList", f"{current()}<recordsPerFile>500</recordsPerFile>", OBSERVATION)
    )
    return sum(
        int(name.rpartition("-")[2].partition(".")[0]) - int(name.rpartition("_")[2].partition("-")[0]) + 1
        for name in (one.findtext("{*}fileName") or "" for one in exported.findall("{*}files"))
    )


def insisted(gateway: Gateway, operation: str, fields: str, namespace: str, *, changes: bool = True) -> etree._Element:
    """The answer to a call that is repeated, with its requestId, until there is one."""
    request = f"<requestId>{uuid4()}</requestId>" if changes else ""
    deadline = time.monotonic() + 60
    while True:
        assert time.monotonic() < deadline, "нет ответа 60 с"
        try:
            answer = gateway.call(operation, request + fields, namespace=namespace)
        except httpx.HTTPError:
            time.sleep(0.1)
            continue
        if answer.fault not in ("server.database", "server.busy", "server.error"):
            return answer.result
        time.sleep(0.1)


def finished(gateway: Gateway, begun: etree._Element) -> etree._Element:
    """The operation at its end."""
    asked = f"<operationId>{begun.findtext('{*}operationId')}</operationId>"
    while True:
        found = insisted(gateway, "GetOperation", asked, EXCHANGE, changes=False)
        if found.findtext("{*}operation/{*}state") not in ("QUEUED", "RUNNING"):
            return found
        time.sleep(0.1)
