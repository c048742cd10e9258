"""The extract of attachments from the answer of the register into the database, beside making the same rows in Python.

The whole way of the comparison is timed: the call to a stand-in on its own port, the answer spooled to disk, its content
decoded and unzipped, every line checked and copied. The floor reads the unpacked CSV and makes its COPY lines, which go
nowhere. Each extract is loaded in a process of its own, as in a worker, so that its memory can be watched.
"""

from __future__ import annotations

import base64
import csv
import io
import re
import shutil
import statistics
import tempfile
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing import get_context
from pathlib import Path
from threading import Thread
from uuid import UUID, uuid4

import psycopg
from lxml import etree

from bench.export import growth
from gateway import settings as configuration
from gateway.domain.clock import Clock
from gateway.domain.periods import Month
from gateway.operations import works
from gateway.operations.model import Owner
from gateway.operations.queue import Work
from gateway.operations.works import Run
from gateway.sandbox.ferzl import replies
from gateway.store.embedded import Server, create_database
from gateway.store.engine import Store
from gateway.sync.insured import gathering, queries
from gateway.sync.upstream import access

KIND = "BENCH_EXTRACT"
_PIECE = 3 * 256 * 1024
_MARK = "<!-- content -->"
_NAMESPACE = re.compile(r"\{http://ffoms\.ru/types/((?:[0-9.]+/)?)(mpi\w+)\}")

# one line in ten is a dentist's or of an attachment that ended: read, and left out
_LINES = """
    COPY (SELECT %(month)s, p.enp, p.insurer, 'СМО ' || p.insurer, '40000', p.sex, 40, p.attached_organisation, '',
                 'МО ' || p.attached_organisation, '40000', '', CASE WHEN p.id %% 20 = 0 THEN 3 ELSE 1 END, '', 1,
                 least(p.attached_since, %(day)s::date), CASE WHEN p.id %% 20 = 1 THEN %(day)s::date - 1 END, '', '', '',
                 CASE WHEN p.id %% 20 = 1 THEN 'НАП' ELSE 'ДПП' END
          FROM person p WHERE p.attached_organisation IS NOT NULL ORDER BY p.id LIMIT %(lines)s) TO STDOUT (FORMAT CSV)
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """Medians of lines a second, of the floor's and of the ratios; lines of the extract; MiB of growth at the most."""

    rate: float
    floor: float
    ratio: float
    lines: int
    grown: float


def measure(server: Server, database: str, lines: int, rounds: int) -> Measured:
    """Loads an extract of so many people of the database, again and again, into a copy of it."""
    copy = f"dn_bench_extract_{uuid4().hex[:8]}"
    month = Month.of(date.today()).shift(-1)
    with (
        psycopg.connect(server.admin_url(), autocommit=True) as admin,
        tempfile.TemporaryDirectory(prefix="dn-gateway-bench-") as folder,
    ):
        create_database(admin, copy, database)
        try:
            content, count = _written(server.url(copy), Path(folder), month, lines)
            with _register(content.with_suffix(".b64")) as address:
                return _rounds(server.url(copy), address, month, content, count, rounds)
        finally:
            admin.execute(f"DROP DATABASE {copy} WITH (FORCE)".encode())


def _rounds(url: str, address: str, month: Month, content: Path, count: int, rounds: int) -> Measured:
    rates, floors, most = [], [], 0.0
    for _ in range(rounds):
        floors.append(count / _bare(content))
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as worker:
            worker.submit(_warm, url).result()
            seconds, grown = worker.submit(_load, url, address, str(month)).result()
        rates.append(count / seconds)
        most = max(most, grown)
    pairs = [one / two for one, two in zip(rates, floors, strict=True)]
    middle = statistics.median
    return Measured(middle(rates), middle(floors), middle(pairs), count, most)


def _written(url: str, folder: Path, month: Month, lines: int) -> tuple[Path, int]:
    """The CSV, beside it the same zipped and in base64; how many lines."""
    day, content = month.shift(1).first_day, folder / "attach.csv"
    values, count = {"month": f"{day:%m.%Y}", "day": day, "lines": lines}, 0
    with (
        psycopg.connect(url) as connection,
        content.open("wb") as out,
        connection.cursor() as cursor,
        cursor.copy(_LINES.encode(), values) as copy,
    ):
        for line in copy:
            out.write(line)
            count += 1
    packed = content.with_suffix(".zip")
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.write(content, content.name)
    with packed.open("rb") as source, content.with_suffix(".b64").open("wb") as target:
        while piece := source.read(_PIECE):
            target.write(base64.b64encode(piece))
    return content, count


def _bare(content: Path) -> float:
    """The floor: seconds of reading the CSV and making the lines that a COPY would take."""
    began, size = time.perf_counter(), 0
    with content.open(encoding="utf-8", newline="") as source:
        for row in csv.reader(source):
            size += len("\t".join((row[1], row[7], row[15], row[2] or "\\N")).encode()) + 1
    return time.perf_counter() - began


@contextmanager
def _register(content: Path) -> Iterator[str]:
    """A stand-in that has the extract ready, whichever token it is asked for; its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = etree.parse(io.BytesIO(self.rfile.read(int(self.headers["content-length"]))))
            said = {etree.QName(one).localname: one.text or "" for one in asked.iter() if isinstance(one.tag, str)}
            match = next(filter(None, (_NAMESPACE.match(str(one.tag)) for one in asked.iter())))
            status = replies.element("opToken", said["opToken"], "c") + replies.element(
                "processingStatus", "COMPLETED", "c"
            )
            whole = replies.envelope(
                "getViewDataAttachPollResponse", match[2], match[1], said["externalRequestId"],
                f"{status}<t:content>{_MARK}</t:content>",
            )  # fmt: skip
            head, tail = whole.encode().split(_MARK.encode())
            self.send_response(200)
            self.send_header("Content-Type", "text/xml; charset=utf-8")
            self.send_header("Content-Length", str(len(head) + content.stat().st_size + len(tail)))
            self.end_headers()
            self.wfile.write(head)
            with content.open("rb") as source:
                shutil.copyfileobj(source, self.wfile, 1 << 20)
            self.wfile.write(tail)

        def log_message(self, format: str, *args: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _warm(url: str) -> None:
    """The growth is counted from a process that stands: programs loaded, a connection open."""
    store = Store(url, size=2)
    with store.begin() as connection:
        queries.extract_lines(connection)
    store.close()


def _load(url: str, address: str, period: str) -> tuple[float, float]:
    """Seconds and MiB of growth of one load."""
    store = Store(url, size=4)
    with tempfile.TemporaryDirectory(prefix="dn-gateway-bench-") as folder:
        settings = configuration.load(data_dir=folder, ferzl_url=address, environ={})
        with store.begin() as connection:
            operation = works.start(
                connection, KIND, {"period": period}, owner=Owner(), client_id=None, login="bench", trace=uuid4().hex
            )
            queries.begin(connection, operation, Month.parse(period).number, True)
            queries.keep_token(connection, operation, gathering.ATTACHMENTS, str(uuid4()))
        with growth() as grown:
            began = time.perf_counter()
            works.run(Work(store, None, settings, Clock()), str(operation))
            seconds = time.perf_counter() - began
        _require(store, operation)
    store.close()
    return seconds, grown[0]


def _require(store: Store, operation: UUID) -> None:
    with store.begin() as connection:
        found = works.get(connection, operation)
    if found is None or found.state != "DONE":
        raise SystemExit(f"выписка не загружена: {found}")


@works.operation(KIND, "Загрузка выписки")
def _body(run: Run) -> None:
    ferzl = access.ferzl(run.work.settings, run.work.store)
    gathering.Gathering(run, ferzl, Month.parse(run.parameters["period"])).extract()
    with run.begin() as connection:
        run.finish(connection)
