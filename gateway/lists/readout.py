"""The lines of a named list from one record on, as a stream: what was frozen, whatever has changed since.

A second thread reads ahead on a connection of its own, so that the database renders while the caller writes.
"""

from __future__ import annotations

import contextlib
import json
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import psycopg

from gateway.errors import GatewayError
from gateway.formats import listing_csv, listing_xml
from gateway.lists import blocks, queries
from gateway.lists.choice import FILTERS
from gateway.lists.model import Line
from gateway.lists.pages import Head
from gateway.lists.queries import BLOCK, SLICE
from gateway.store.engine import Driver, Store

T = TypeVar("T")

Numbered = tuple[int, Line]

_AHEAD = 6
"""Slices that may wait for the caller: the memory of an export does not depend on the list."""

_BLOCKS_AT_ONCE = 4
_TURN_SECONDS = 0.2
_CANCEL_SECONDS = 2.0

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    """How lines leave. ``fresh`` reads a slice of entries: it is given the query and the number of the first, and returns
    the records and the key of the last. ``sealed`` makes the same records of the lines that closed lists keep."""

    fresh: Callable[[Driver, str, Values, int], tuple[list[T], Values]]
    sealed: Callable[[int, Sequence[bytes]], list[T]]


# forms ----------------------------------------------------------------------------------------------------------------


def _text(
    line: str, end: str, numbered: Callable[[int, Sequence[bytes]], list[bytes]]
) -> Callable[[Driver, str, Values, int], tuple[list[bytes], Values]]:
    """Lines rendered in the database, each with ``end``."""
    mark = end.encode()

    def read(driver: Driver, entries: str, values: Values, first: int) -> tuple[list[bytes], Values]:
        found = driver.execute(queries.joined(line, entries), values, binary=True).fetchone()
        if found is None or found[0] is None:
            return [], {}
        body, count, *key = found
        lines = body.split(mark)
        if lines.pop() or len(lines) != count:
            raise LookupError("lines of a slice can not be told apart")
        return numbered(first, lines), dict(zip(_KEY, key, strict=True))

    return read


_KEY = ("name_key", "birth_date", "id")


def _row(driver: Driver, entries: str, values: Values, first: int) -> tuple[list[Numbered], Values]:
    found = driver.execute(queries.rows(entries), values).fetchall()
    if not found:
        return [], {}
    width = len(_KEY)
    records = [(number, tuple(row[width:])) for number, row in enumerate(found, first)]
    return records, dict(zip(_KEY, found[-1], strict=False))


def _sealed_csv(first: int, lines: Sequence[bytes]) -> list[bytes]:
    return [listing_csv.line(number, listing_xml.values_of(line)) for number, line in enumerate(lines, first)]


def _sealed_row(first: int, lines: Sequence[bytes]) -> list[Numbered]:
    return [(number, listing_xml.values_of(line)) for number, line in enumerate(lines, first)]


XML = Form(_text(queries.LINE_XML, listing_xml.END, listing_xml.numbered), listing_xml.sealed)
CSV = Form(_text(queries.LINE_CSV, listing_csv.END, listing_csv.numbered), _sealed_csv)
ROW = Form(_row, _sealed_row)
"""Numbers and values as text."""


# reading --------------------------------------------------------------------------------------------------------------


def read(driver: Driver, head: Head, start: int, form: Form[T]) -> Iterator[list[T]]:
    """Records of the list from number ``start`` on, in slices. Raises ``list.snapshot-expired`` where the images that
    tell how lines stood are no longer kept, LookupError if a piece is not whole."""
    before = 0
    for piece_id, end in zip(head.pieces, head.ends, strict=True):
        skip = max(0, start - 1 - before)
        if skip < end - before:
            source = _sealed if head.edition == "CLOSED" else _living
            found = 0
            for part in source(driver, head, piece_id, before, skip, form):
                found += len(part)
                yield part
            if found != end - before - skip:
                raise LookupError(f"piece {piece_id} is not whole")
        before = end


def _living(driver: Driver, head: Head, piece_id: int, before: int, skip: int, form: Form[T]) -> Iterator[list[T]]:
    """A piece whose lines are found by the entries and what was kept of them, on one view of the database."""
    driver.execute(queries.ONE_VIEW)
    row = driver.execute(queries.PIECE_OF_EXPORT, (piece_id,)).fetchone()
    if row is None:
        raise LookupError("a snapshot names a piece that is gone")
    organisation, seq, frozen, kept, unchanged = row
    if not kept:
        raise GatewayError("list.snapshot-expired")
    wish = json.loads(head.choice)
    filters = {name: wish[name] for name in FILTERS if name in wish}
    values = {"piece_id": piece_id, "organisation": organisation, "seq": seq, "skip": skip} | filters
    begun = False
    while True:
        if frozen:
            entries = queries.slice_of_frozen()
        else:
            entries = queries.slice_of_counted(filters, unchanged=unchanged, begun=begun)
        part, key = form.fresh(driver, entries, values, before + values["skip"] + 1)
        if part:
            yield part
        if len(part) < SLICE:
            break
        values |= key
        values["skip"] += len(part)
        begun = True
    driver.execute(queries.END_VIEW)


def _sealed(driver: Driver, head: Head, piece_id: int, before: int, skip: int, form: Form[T]) -> Iterator[list[T]]:
    """A piece of a closed list: its rendered lines."""
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
