"""The lines of a named list from one record on, as a stream: what was frozen, whatever has changed since.

Other threads read ahead on connections of their own, so that the database renders while the caller writes.
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
from psycopg.types.string import ByteaBinaryLoader

from gateway.errors import GatewayError
from gateway.formats import listing_csv, listing_xml
from gateway.lists import blocks, queries
from gateway.lists.choice import FILTERS
from gateway.lists.model import Line
from gateway.lists.pages import Head
from gateway.lists.queries import BLOCK
from gateway.store.engine import Driver, Store

T = TypeVar("T")

Numbered = tuple[int, Line]

_BATCH = 500
_AHEAD = 12
"""Batches of each reader that may wait for the caller: the memory of an export does not depend on the list."""

_READERS = 2
"""One piece is rendered while the lines of the one before it are still on their way."""

_BLOCKS_AT_ONCE = 4
_TURN_SECONDS = 0.2
_CANCEL_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Form(Generic[T]):
    """How lines leave: ``sql`` is what the database sends of each, ``binary`` tells that it is one text, taken as bytes.
    ``fresh`` makes records of such rows, ``sealed`` the same records of the lines that closed lists keep rendered; both
    are given the number of the first."""

    sql: str
    binary: bool
    fresh: Callable[[int, Sequence[Any]], list[T]]
    sealed: Callable[[int, Sequence[bytes]], list[T]]


@dataclass(frozen=True, slots=True)
class Part:
    """What is read of a piece: the lines after the first ``skip`` up to ``end``; ``before`` it in the list are so many."""

    piece_id: int
    before: int
    skip: int
    end: int


# forms ----------------------------------------------------------------------------------------------------------------


def _fresh_xml(first: int, rows: Sequence[tuple[bytes]]) -> list[bytes]:
    return listing_xml.numbered(first, [line for (line,) in rows])


def _fresh_csv(first: int, rows: Sequence[tuple[bytes]]) -> list[bytes]:
    return listing_csv.numbered(first, [line for (line,) in rows])


def _sealed_csv(first: int, lines: Sequence[bytes]) -> list[bytes]:
    return [listing_csv.line(number, listing_xml.values_of(line)) for number, line in enumerate(lines, first)]


def _fresh_row(first: int, rows: Sequence[Line]) -> list[Numbered]:
    return list(enumerate(rows, first))


def _sealed_row(first: int, lines: Sequence[bytes]) -> list[Numbered]:
    return [(number, listing_xml.values_of(line)) for number, line in enumerate(lines, first)]


XML = Form(queries.LINE_XML, True, _fresh_xml, listing_xml.sealed)
CSV = Form(queries.LINE_CSV, True, _fresh_csv, _sealed_csv)
ROW = Form(queries.LINE_ROW, False, _fresh_row, _sealed_row)
"""Numbers and values as text."""


# reading --------------------------------------------------------------------------------------------------------------


def parts(head: Head, start: int) -> list[Part]:
    """Where the records from number ``start`` on lie."""
    found, before = [], 0
    for piece_id, end in zip(head.pieces, head.ends, strict=True):
        skip = max(0, start - 1 - before)
        if skip < end - before:
            found.append(Part(piece_id, before, skip, end - before))
        before = end
    return found


def read(driver: Driver, head: Head, part: Part, form: Form[T]) -> Iterator[list[T]]:
    """Records of a part in batches. Raises ``list.snapshot-expired`` where the images that tell how lines stood are no
    longer kept, LookupError if the piece is not whole."""
    number = part.before + part.skip + 1
    batches = _sealed(driver, part) if head.edition == "CLOSED" else _living(driver, head, part, form)
    make = form.sealed if head.edition == "CLOSED" else form.fresh
    for batch in batches:
        yield make(number, batch)
        number += len(batch)
    if number != part.before + part.end + 1:
        raise LookupError(f"piece {part.piece_id} is not whole")


def _living(driver: Driver, head: Head, part: Part, form: Form[T]) -> Iterator[Sequence[Any]]:
    """Rows of a piece, found by the entries and what was kept of them, on one view of the database."""
    for statement in queries.ONE_VIEW:
        driver.execute(statement)
    row = driver.execute(queries.PIECE_OF_EXPORT, (part.piece_id,)).fetchone()
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
    values = {"piece_id": part.piece_id, "organisation": organisation, "seq": seq, "skip": part.skip} | filters
    with driver.cursor(name="list_lines") as cursor:
        if form.binary:
            cursor.adapters.register_loader("text", ByteaBinaryLoader)
        cursor.execute(query, values, binary=form.binary)
        while rows := cursor.fetchmany(_BATCH):
            yield rows
    driver.execute(queries.END_VIEW)


def _sealed(driver: Driver, part: Part) -> Iterator[list[bytes]]:
    """Rendered lines of a piece of a closed list."""
    number = part.skip // BLOCK
    while found := driver.execute(queries.BODIES, (part.piece_id, number, _BLOCKS_AT_ONCE)).fetchall():
        for (body,) in found:
            if body is None:
                raise GatewayError("list.snapshot-expired")
            yield blocks.unpack(body)[max(0, part.skip - number * BLOCK) :]
            number += 1


# reading ahead --------------------------------------------------------------------------------------------------------


class _Left(Exception):
    """Nobody takes the lines any more."""


class _Reader(Generic[T]):
    """A thread that reads parts one after another. It can be stopped while a statement runs that has sent nothing yet."""

    def __init__(self, store: Store, head: Head, parts: Sequence[Part], form: Form[T]) -> None:
        self._store = store
        self._head = head
        self._parts = parts
        self._form = form
        self._waiting: queue.Queue[list[T] | BaseException | None] = queue.Queue(_AHEAD)
        self._left = threading.Event()
        self._lock = threading.Lock()
        self._driver: Driver | None = None
        self._thread = threading.Thread(target=self._work, name="list-readout", daemon=True)
        self._thread.start()

    def take(self, check: Callable[[], None]) -> Iterator[list[T]]:
        """The batches of the next part."""
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

    def leave(self) -> None:
        self._left.set()

    def join(self) -> None:
        """Waits for the end. A statement is cancelled only while it is the thread's own: connections are shared."""
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
                for part in self._parts:
                    for batch in read(driver, self._head, part, self._form):
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
    """Records from number ``start`` on in batches, read by threads of their own: pieces in turn, handed out in order.

    ``check`` is called while the caller waits for lines, and may raise.
    """
    wanted = parts(head, start)
    readers = [_Reader(store, head, wanted[n::_READERS], form) for n in range(min(_READERS, len(wanted)))]
    try:
        yield (batch for n in range(len(wanted)) for batch in readers[n % _READERS].take(check))
    finally:
        for reader in readers:
            reader.leave()
        for reader in readers:
            reader.join()
