"""The close of a month for every organisation of a region, through the body of the operation, beside CREATE TABLE AS of the
same lines. Works on a copy of the database of the bench, since what is closed stays closed."""

from __future__ import annotations

import os
import resource
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from uuid import uuid4

import psycopg

from gateway import settings as configuration
from gateway.domain.clock import Clock
from gateway.domain.periods import Month
from gateway.lists import closing
from gateway.operations import works
from gateway.operations.queue import Work
from gateway.store.embedded import Server, create_database
from gateway.store.engine import Store

_LINES = """
    SELECT p.id AS piece, b.number, m.n, e.* FROM list_piece p JOIN list_block b ON b.piece_id = p.id
    CROSS JOIN LATERAL unnest(b.ids) WITH ORDINALITY AS m(entry_id, n) JOIN entry e ON e.id = m.entry_id
    WHERE p.edition > 0 AND p.as_of >= %s
"""


@dataclass(frozen=True, slots=True)
class Measured:
    """Lines a second of the close and of its floor, how many lines, MiB of growth of the process."""

    rate: float
    floor: float
    lines: int
    grown: float


def measure(server: Server, database: str) -> Measured:
    """One close and its floor, in a copy of the database."""
    copy = f"dn_bench_close_{uuid4().hex[:8]}"
    with psycopg.connect(server.admin_url(), autocommit=True) as admin:
        create_database(admin, copy, database)
        try:
            url = server.url(copy)
            with psycopg.connect(url) as connection:
                began = _one(connection, "SELECT clock_timestamp()")
            seconds, grown = _apart(url)
            with psycopg.connect(server.owner_url_of(copy)) as connection:
                lines = int(str(_one(connection, f"SELECT count(*) FROM ({_LINES}) AS l", began)))
                start = time.perf_counter()
                connection.execute(f"CREATE TABLE bench_lines AS {_LINES}".encode(), [began])
                connection.commit()
                bare = time.perf_counter() - start
            return Measured(lines / seconds, lines / bare, lines, grown)
        finally:
            admin.execute(f"DROP DATABASE {copy} WITH (FORCE)".encode())


def _one(connection: psycopg.Connection, query: str, *values: object) -> object:
    row = connection.execute(query.encode(), values).fetchone()
    assert row is not None
    return row[0]


def _apart(url: str) -> tuple[float, float]:
    """The work in a process of its own: seconds, growth of memory in MiB."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(writing, " ".join(map(str, _work(url))).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    os.waitpid(pid, 0)
    seconds, grown = map(float, said.split())
    return seconds, grown


def _work(url: str) -> tuple[float, float]:
    settings, clock = configuration.load(environ={}, data_dir=tempfile.gettempdir()), Clock()
    store = Store(url, size=4)
    month = Month.of(date.today()).shift(-1)
    with store.begin() as connection:
        operation = closing.request_close(connection, month, today=clock.today(), login="bench", trace=uuid4().hex)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter()
    works.run(Work(store, None, settings, clock), str(operation))
    seconds = time.perf_counter() - began
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    with store.begin() as connection:
        done = works.get(connection, operation)
    assert done is not None and done.state == "DONE", done
    return seconds, grown
