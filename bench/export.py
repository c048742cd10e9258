"""ExportList of the whole region, through the body of the operation, beside COPY of the same rows; and DBF beside `dbf`.

An export runs in a process of its own, as in a worker: its memory is watched from after a first small export on.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from multiprocessing import get_context
from pathlib import Path
from uuid import UUID, uuid4

import dbf as foreign
import psycopg

from gateway import settings as configuration
from gateway.access.model import Call, Caller, ClientKind
from gateway.domain.clock import Clock
from gateway.formats import dbf
from gateway.formats.listing import COLUMNS
from gateway.lists import Lists
from gateway.lists.layouts import DBF_FIELDS
from gateway.lists.model import Choice
from gateway.lists.queries import LINE_SQL
from gateway.nsi.dictionaries import Nsi
from gateway.operations import works
from gateway.operations.queue import Work
from gateway.store.engine import Store

PER_FILE = 10_000
_MIB = 1024 * 1024

_PLAIN = ", ".join("e.id" if column.name == "entryId" else f"e.{column.line}" for column in COLUMNS[1:])
FLOOR = f"COPY (SELECT {_PLAIN} FROM entry e WHERE e.status = 'OBSERVED') TO STDOUT"
ORDERED = FLOOR.replace(") TO", " ORDER BY e.organisation, e.name_key, e.birth_date, e.id) TO")


@dataclass(frozen=True, slots=True)
class Measured:
    """Medians of records a second, of the floors' and of the ratios of interleaved pairs; MiB of growth at the most."""

    records: int
    rate: float
    floor: float
    ratio: float
    ordered: float
    grown: float


def measure(url: str, owner_url: str, form: str, rounds: int, *, per_file: int = PER_FILE) -> Measured:
    rates, floors, ratios, ordered, grown, records = [], [], [], [], 0.0, 0
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as worker:
        worker.submit(_export, url, owner_url, form, per_file, True).result()
        for _ in range(rounds):
            floor = _copied(url, FLOOR)
            seconds, records, growth = worker.submit(_export, url, owner_url, form, per_file, False).result()
            ordered.append(records / seconds / _copied(url, ORDERED))
            rates.append(records / seconds)
            floors.append(floor)
            ratios.append(records / seconds / floor)
            grown = max(grown, growth)
    middle = statistics.median
    return Measured(records, middle(rates), middle(floors), middle(ratios), middle(ordered), grown)


def _copied(url: str, statement: str) -> float:
    """Rows a second of a COPY that goes nowhere."""
    began, count = time.perf_counter(), 0
    with psycopg.connect(url) as connection, connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        for _ in copy:
            count += 1
    return count / (time.perf_counter() - began)


def _export(url: str, owner_url: str, form: str, per_file: int, warm: bool) -> tuple[float, int, float]:
    """Seconds, records and MiB of growth of one export; its files are gone afterwards."""
    store, clock = Store(url, size=6), Clock()
    with tempfile.TemporaryDirectory(prefix="dn-gateway-bench-") as folder:
        settings = configuration.load(data_dir=folder, environ={})
        today = clock.today()
        organisation = None
        if warm:
            with store.driver() as driver:
                organisation = driver.execute("SELECT min(organisation) FROM list_ledger").fetchone()[0]
        caller = Caller(0, "bench", ClientKind.FUND, frozenset(), None, frozenset())
        call = Call(caller, "operator", "ExportList", uuid4().hex, datetime.now(UTC))
        with store.begin() as connection:
            operation_id = Lists(settings, Nsi(store, clock), clock).request_export(
                connection, call, organisation, Choice(today.year, "OBSERVED", month=today.month),
                records_per_file=per_file, format=form,
            )  # fmt: skip
        with growth() as grown:
            began = time.perf_counter()
            works.run(Work(store, None, settings, clock), str(operation_id))
            seconds = time.perf_counter() - began
        records = _ended(store, operation_id)
    store.close()
    with psycopg.connect(owner_url, autocommit=True) as owner:
        owner.execute("DELETE FROM file WHERE operation_id = %s", [operation_id])
    return seconds, records, grown[0]


def _ended(store: Store, operation_id: UUID) -> int:
    with store.begin() as connection:
        found = works.get(connection, operation_id)
    with store.driver() as driver:
        row = driver.execute(
            "SELECT (progress->>'done')::bigint FROM operation WHERE id = %s", [operation_id]
        ).fetchone()
    if found is None or found.state != "DONE" or row is None:
        raise SystemExit(f"выгрузка не выполнена: {found}")
    return int(row[0])


@contextmanager
def growth() -> Iterator[list[float]]:
    """MiB that this process grows by while the block runs, at the most."""
    start, over, most = _resident(), threading.Event(), [0.0]

    def watch() -> None:
        while not over.wait(0.05):
            most[0] = max(most[0], (_resident() - start) / _MIB)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def dbf_rates(url: str, records: int, rounds: int) -> tuple[float, float, float]:
    """Records a second of our writer and of the package `dbf`, with the ratio: the lines of a list, all columns."""
    with psycopg.connect(url) as connection:
        found = connection.execute(
            f"SELECT {LINE_SQL.format(e='e')} FROM entry e WHERE e.status = 'OBSERVED' LIMIT {records}".encode()
        ).fetchall()
    rows = [(str(number), *row) for number, row in enumerate(found, 1)]
    ours, theirs = [], []
    with tempfile.TemporaryDirectory(prefix="dn-gateway-bench-") as folder:
        for number in range(rounds):
            path = Path(folder) / f"{number}.dbf"
            began = time.perf_counter()
            _ours(path, rows)
            ours.append(len(rows) / (time.perf_counter() - began))
            began = time.perf_counter()
            _theirs(path.with_name(f"foreign{number}.dbf"), rows)
            theirs.append(len(rows) / (time.perf_counter() - began))
    pairs = [one / two for one, two in zip(ours, theirs, strict=True)]
    return statistics.median(ours), statistics.median(theirs), statistics.median(pairs)


def _ours(path: Path, rows: list[tuple[str | None, ...]]) -> None:
    table, source = dbf.Table(DBF_FIELDS), iter(rows)
    with path.open("wb") as out:
        out.write(table.head(len(rows), date.today()))
        while batch := list(itertools.islice(source, 1000)):
            out.write(table.records(batch))
        out.write(dbf.END)


def _theirs(path: Path, rows: list[tuple[str | None, ...]]) -> None:
    shapes = {"C": "{0.name} C({0.width})", "N": "{0.name} N({0.width},0)", "D": "{0.name} D", "L": "{0.name} L"}
    convert = {"C": str, "N": int, "D": date.fromisoformat, "L": lambda value: value == "true"}
    kinds = [convert[field.kind] for field in DBF_FIELDS]
    table = foreign.Table(
        str(path), "; ".join(shapes[field.kind].format(field) for field in DBF_FIELDS), codepage="cp866", dbf_type="db3"
    )
    table.open(foreign.READ_WRITE)
    for row in rows:
        table.append(tuple(None if not value else kind(value) for kind, value in zip(kinds, row, strict=True)))
    table.close()
