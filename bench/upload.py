"""UploadList of 100,000 new records as GSM, through the body of the operation, beside parsing and copying the same rows."""

from __future__ import annotations

import io
import os
import resource
import tempfile
import time
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID, uuid4

import psycopg
from lxml import etree

from gateway import settings as configuration
from gateway.access.model import Call, Caller, ClientKind
from gateway.domain.clock import Clock
from gateway.lists import Lists
from gateway.nsi.dictionaries import Nsi
from gateway.operations import files, works
from gateway.operations.model import Owner
from gateway.operations.queue import Work
from gateway.sandbox import region
from gateway.store.embedded import Server, create_database
from gateway.store.engine import Store
from gateway.store.place import Place
from gateway.upgrade import upgrade

_NAME = "GSM{organisation}_2611_1"
_DIAGNOSES = ("I10", "I11.9", "I20.8", "E11.9", "J44.8")
_FIELDS = ("CODE_L", "ENP", "DIAG_CODE", "DIAG_DATE", "DATE_DN_IN", "DN_PRVS", "MCOD")
_PART = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Measured:
    """Records a second of the whole work and of its floor, seconds under the lock of the list, MiB of growth."""

    rate: float
    floor: float
    locked: float
    grown: float


def document(organisation: str, enps: list[str], day: date) -> bytes:
    """A list of the national system with a record for each person."""
    out = io.StringIO()
    out.write(
        '<?xml version="1.0" encoding="windows-1251"?>\n<DN_LIST><ZGLV><VERSION>P1.20</VERSION><FILE_TYPE>GSM</FILE_TYPE>'
        f"<DATA>{day}</DATA><FILENAME>{_NAME.format(organisation=organisation)}</FILENAME><REGION_CD>40</REGION_CD>"
        f"<NN_FILE>1</NN_FILE><SD_Z>{len(enps)}</SD_Z></ZGLV>\n"
    )
    for number, enp in enumerate(enps):
        out.write(
            f"<ZAP><CODE_L>{organisation}-{number:08d}</CODE_L><ENP>{enp}</ENP><CODE_PINF>ДН</CODE_PINF>"
            f"<DIAG_CODE>{_DIAGNOSES[number % len(_DIAGNOSES)]}</DIAG_CODE><DIAG_DATE>{day}</DIAG_DATE>"
            f"<DATE_DN_IN>{day}</DATE_DN_IN><DN_PRVS>76</DN_PRVS><STATUS_DN_IN>1</STATUS_DN_IN>"
            f"<REASON_DN_IN>101</REASON_DN_IN><MCOD>{organisation}</MCOD><MO_ASSIGN>1</MO_ASSIGN>"
            f"<DATE_CHECKING>{day}</DATE_CHECKING></ZAP>\n"
        )
    out.write("</DN_LIST>\n")
    return out.getvalue().encode("cp1251")


def measure(server: Server, records: int, rounds: int = 3) -> Measured:
    """Medians over rounds, each in a database of its own."""
    found = sorted((_round(server, records) for _ in range(rounds)), key=lambda one: one.rate / one.floor)
    return found[len(found) // 2]


def _round(server: Server, records: int) -> Measured:
    database = f"dn_bench_upload_{uuid4().hex[:8]}"
    with psycopg.connect(server.admin_url(), autocommit=True) as admin:
        create_database(admin, database)
        try:
            place = Place(server.url(database), server.owner_url_of(database))
            settings = configuration.load(environ={}, data_dir=tempfile.gettempdir())
            upgrade(place, settings)
            owner = Store(place.owner_url, size=4)
            region.fill(owner, settings, persons=2 * records, entries=1_000)
            organisation, content = _content(owner, records)
            owner.close()
            began = time.perf_counter()
            _floor(place.app_url, content)
            floor = records / (time.perf_counter() - began)
            seconds, locked, grown = _apart(place.app_url, settings, organisation, content)
            return Measured(records / seconds, floor, locked, grown)
        finally:
            admin.execute(f"DROP DATABASE {database} WITH (FORCE)".encode())


def _content(owner: Store, records: int) -> tuple[str, bytes]:
    with owner.driver() as driver:
        organisation = driver.execute("SELECT min(code) FROM organisation").fetchone()
        enps = driver.execute(
            "SELECT enp FROM person p WHERE death_date IS NULL AND insured_in_region AND birth_date < '2000-01-01'"
            " AND NOT EXISTS (SELECT FROM entry e WHERE e.person_id = p.id) ORDER BY md5(enp) LIMIT %s",
            [records],
        ).fetchall()
    assert organisation is not None and len(enps) == records
    return organisation[0], document(organisation[0], [row[0] for row in enps], date(2026, 1, 12))


def _floor(url: str, content: bytes) -> None:
    """What nobody does without: the events of the parser, and COPY of the rows into a table without indexes."""
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMPORARY TABLE plain (code text, enp text, diagnosis text, diagnosed_on date, since date,"
            " specialty text, organisation text)"
        )
        with cursor.copy("COPY plain FROM STDIN") as copy:
            for _, record in etree.iterparse(io.BytesIO(content), tag="ZAP"):
                copy.write_row([record.findtext(name) for name in _FIELDS])
                record.clear()


def _apart(url: str, settings: configuration.Settings, organisation: str, content: bytes) -> tuple[float, float, float]:
    """The work in a process of its own: seconds, of these under the lock, growth of memory in MiB."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, " ".join(map(str, _work(url, settings, organisation, content))).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    os.waitpid(pid, 0)
    seconds, locked, grown = map(float, said.split())
    return seconds, locked, grown


def _work(url: str, settings: configuration.Settings, organisation: str, content: bytes) -> tuple[float, float, float]:
    clock = Clock()
    store = Store(url, size=4)
    lists = Lists(settings, Nsi(store, clock), clock)
    operation = _started(store, lists, organisation, content)
    del content
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    works.run(Work(store, None, settings, clock), str(operation))
    seconds = time.perf_counter() - began
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    with store.begin() as connection:
        done = works.get(connection, operation)
        assert done is not None and done.state == "DONE" and done.ended_at is not None, done
        locked = max(line.at for line in works.lines(connection, operation) if line.text == "Запись изменений")
    return seconds, _seconds(locked, done.ended_at), grown


def _seconds(start: datetime, end: datetime) -> float:
    return (end - start).total_seconds()


def _started(store: Store, lists: Lists, organisation: str, content: bytes) -> UUID:
    caller = Caller(0, "bench", ClientKind.FUND, frozenset(), None, frozenset())
    file_id = None
    with store.begin() as connection:
        for offset in range(0, len(content), _PART):
            file_id = files.put_part(
                connection, lists.settings, owner=Owner(organisation), client_id=None, file_id=file_id,
                name=_NAME.format(organisation=organisation) + ".xml", offset=offset,
                content=content[offset : offset + _PART], last=offset + _PART >= len(content), sha256=None,
            )  # fmt: skip
        assert file_id is not None
        call = Call(caller, "bench", "UploadList", uuid4().hex, lists.clock.now())
        return lists.request_upload(connection, call, organisation, file_id)
