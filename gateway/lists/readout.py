"""The lines of a named list from one record on, as a stream: what was frozen, whatever has changed since.

A second thread reads ahead on a connection of its own, so that the database renders while the caller writes.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import re
import select
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import psycopg
from psycopg.pq.abc import PGconn

from gateway.errors import GatewayError
from gateway.formats import listing_csv, listing_xml
from gateway.lists import blocks, queries
from gateway.lists.choice import FILTERS
from gateway.lists.model import Line
from gateway.lists.pages import Head
from gateway.lists.queries import BLOCK
from gateway.store.engine import Driver, Store

T = TypeVar("T")

Row = bytes | memoryview
Numbered = tuple[int, Line]

_BATCH = 500
_AHEAD = 8
"""Batches that may wait for the caller: the memory of an export does not depend on the list."""

_BLOCKS_AT_ONCE = 8
_PAUSE_SECONDS = 0.0005
"""Lets some rows gather in the socket: the server sends every eight, and waking up for them would cost more than they."""

_TURN_SECONDS = 0.2
_CANCEL_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    """How lines leave: ``sql`` is what COPY sends of each, ``fresh`` makes records of its rows, and ``sealed`` the same
    records of the lines that closed lists keep rendered; both are given the number of the first."""

    sql: str
    binary: bool
    fresh: Callable[[int, Sequence[Row]], list[T]]
    sealed: Callable[[int, Sequence[bytes]], list[T]]


# forms ----------------------------------------------------------------------------------------------------------------

_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"b": b"\b", b"f": b"\f", b"v": b"\v"}


def _fresh_xml(first: int, rows: Sequence[Row]) -> list[bytes]:
    return [listing_xml.NUMBERED % (number, bytes(row)) for number, row in enumerate(rows, first)]


def _fresh_csv(first: int, rows: Sequence[Row]) -> list[bytes]:
    return [b"%d%b" % (number, bytes(row)) for number, row in enumerate(rows, first)]


def _sealed_csv(first: int, lines: Sequence[bytes]) -> list[bytes]:
    return [listing_csv.line(number, listing_xml.values_of(line)) for number, line in enumerate(lines, first)]


def _fresh_row(first: int, rows: Sequence[Row]) -> list[Numbered]:
    made: list[Numbered] = []
    for number, row in enumerate(map(bytes, rows), first):
        cells = row[:-1].split(b"\t")
        if b"\\" in row:
            cells = list(map(_plain, cells))
        made.append((number, tuple([cell.decode() for cell in cells])))
    return made


def _plain(value: bytes) -> bytes:
    """A value as it was before COPY."""
    return _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), value)


def _sealed_row(first: int, lines: Sequence[bytes]) -> list[Numbered]:
    return [(number, listing_xml.values_of(line)) for number, line in enumerate(lines, first)]


XML = Form(queries.LINE_XML, True, _fresh_xml, listing_xml.numbered)
CSV = Form(queries.LINE_CSV, True, _fresh_csv, _sealed_csv)
ROW = Form(queries.LINE_ROW, False, _fresh_row, _sealed_row)
"""Numbers and values as text; an absent value may come as an empty one."""


# reading --------------------------------------------------------------------------------------------------------------


def read(driver: Driver, head: Head, start: int, form: Form[T]) -> Iterator[list[T]]:
    """Records of the list from number ``start`` on, in batches. Raises ``list.snapshot-expired`` where the images that
    tell how lines stood are no longer kept, LookupError if a piece is not whole."""
    before = 0
    for piece_id, end in zip(head.pieces, head.ends, strict=True):
        skip = max(0, start - 1 - before)
        if skip < end - before:
            found = 0
            for batch in _piece(driver, head, piece_id, before, skip, form):
                found += len(batch)
                yield batch
            if found != end - before - skip:
                raise LookupError(f"piece {piece_id} is not whole")
        before = end


def _piece(driver: Driver, head: Head, piece_id: int, before: int, skip: int, form: Form[T]) -> Iterator[list[T]]:
    if head.edition == "CLOSED":
        yield from _sealed(driver, piece_id, before, skip, form)
        return
    for statement in queries.ONE_VIEW:
        driver.execute(statement)
    row = driver.execute(queries.PIECE_OF_EXPORT, (piece_id,)).fetchone()
    if row is None:
        raise LookupError("a snapshot names a piece that is gone")
    organisation, seq, frozen, kept, unchanged = row
    if not kept:
        raise GatewayError("list.snapshot-expired")
    wish = json.loads(head.choice)
    filters = {name: wish[name] for name in FILTERS if name in wish}
    if frozen:
        query = queries.lines_of_frozen(form.sql)
    else:
        query = queries.lines_of_counted(form.sql, filters, unchanged=unchanged)
    values = {"piece_id": piece_id, "organisation": organisation, "seq": seq, "skip": skip} | filters
    number = before + skip + 1
    for rows in copied(driver, queries.copied(query, binary=form.binary), values, binary=form.binary):
        yield form.fresh(number, rows)
        number += len(rows)
    driver.execute(queries.END_VIEW)


_SIGNATURE = 19
"""Bytes of a binary COPY before its first row."""

_PREFIX = 6
"""Bytes of a binary row of one column before its value: the number of columns and the length."""


def copied(driver: Driver, statement: bytes, values: Mapping[str, Any], *, binary: bool) -> Iterator[list[Row]]:
    """Rows of a COPY of one column in the binary format, or lines of the text format, in batches."""
    with driver.cursor() as cursor, cursor.copy(statement, values) as copy:
        rows: Iterator[Row] = _values(driver) if binary else map(bytes, copy)
        while batch := list(itertools.islice(rows, _BATCH)):
            yield batch
        if binary and copy.read():
            raise LookupError("COPY goes on after its end")


def _values(driver: Driver) -> Iterator[memoryview]:
    """Values of a binary COPY of one column, from libpq itself: half the time of the driver's own loop."""
    connection = driver.pgconn
    take, ready = connection.get_copy_data, select.poll()
    ready.register(connection.socket, select.POLLIN)
    before = _SIGNATURE + _PREFIX
    while True:
        size, data = take(1)
        if size > before:
            yield data[before:]
            before = _PREFIX
        elif size == 0:
            ready.poll()
            time.sleep(_PAUSE_SECONDS)
            connection.consume_input()
        elif size > 0:
            return
        else:
            raise _failure(connection)


def _failure(connection: PGconn) -> psycopg.Error:
    result = connection.get_result()
    if result is None:
        return psycopg.OperationalError("COPY ended without a result")
    return psycopg.errors.error_from_result(result)


def _sealed(driver: Driver, piece_id: int, before: int, skip: int, form: Form[T]) -> Iterator[list[T]]:
    number = skip // BLOCK
    while found := driver.execute(queries.BODIES, (piece_id, number, _BLOCKS_AT_ONCE)).fetchall():
        for (body,) in found:
            if body is None:
                raise GatewayError("list.snapshot-expired")
            passed = max(0, skip - number * BLOCK)
            yield form.sealed(before + number * BLOCK + passed + 1, blocks.unpack(body)[passed:])
            number += 1


# reading ahead --------------------------------------------------------------------------------------------------------


class _Left(Exception):
    """Nobody takes the lines any more."""


class _Reader(Generic[T]):
    """The thread that reads. It can be stopped while a statement runs that has sent nothing yet."""

    def __init__(self, store: Store, head: Head, start: int, form: Form[T]) -> None:
        self._store = store
        self._source = head, start, form
        self._waiting: queue.Queue[list[T] | BaseException | None] = queue.Queue(_AHEAD)
        self._left = threading.Event()
        self._lock = threading.Lock()
        self._driver: Driver | None = None
        self._thread = threading.Thread(target=self._work, name="list-readout", daemon=True)
        self._thread.start()

    def take(self, check: Callable[[], None]) -> Iterator[list[T]]:
        while True:
            try:
                item = self._waiting.get(timeout=_TURN_SECONDS)
            except queue.Empty:
                check()
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def stop(self) -> None:
        """Ends the thread. A statement is cancelled only while it is the thread's own: connections are shared."""
        self._left.set()
        self._thread.join(_TURN_SECONDS)
        while self._thread.is_alive():
            with self._lock:
                if self._driver is not None:
                    with contextlib.suppress(psycopg.Error):
                        self._driver.cancel_safe(timeout=_CANCEL_SECONDS)
            self._thread.join(_TURN_SECONDS)

    def _work(self) -> None:
        try:
            with self._store.driver() as driver, self._owning(driver):
                for batch in read(driver, *self._source):
                    self._put(batch)
            self._put(None)
        except _Left:
            return
        except BaseException as error:
            with contextlib.suppress(_Left):
                self._put(error)

    @contextmanager
    def _owning(self, driver: Driver) -> Iterator[None]:
        with self._lock:
            self._driver = driver
        try:
            yield
        finally:
            with self._lock:
                self._driver = None

    def _put(self, item: list[T] | BaseException | None) -> None:
        while not self._left.is_set():
            try:
                self._waiting.put(item, timeout=_TURN_SECONDS)
            except queue.Full:
                continue
            return
        raise _Left


@contextmanager
def ahead(
    store: Store, head: Head, start: int, form: Form[T], check: Callable[[], None]
) -> Iterator[Iterator[list[T]]]:
    """`read` by a thread of its own. ``check`` is called while the caller waits for lines, and may raise."""
    reader = _Reader(store, head, start, form)
    try:
        yield reader.take(check)
    finally:
        reader.stop()
