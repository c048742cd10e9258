"""One thread makes while another takes: parsing a file goes on while the database is fed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from queue import Full, Queue
from threading import Event, Thread
from types import TracebackType
from typing import Generic, TypeVar

T = TypeVar("T")


class Pipe(Generic[T]):
    """Iterates over what ``source`` yields, made in a thread and at most ``ahead`` items in advance.

    A failure of the source is raised where the items are taken; leaving the block early stops the source.
    """

    def __init__(self, source: Iterable[T], ahead: int = 8) -> None:
        self._source = source
        self._queue: Queue[T | None] = Queue(ahead)
        self._stop = Event()
        self._failure: BaseException | None = None
        self._thread = Thread(target=self._make, daemon=True)

    def _make(self) -> None:
        try:
            for item in self._source:
                if not self._put(item):
                    return
        except BaseException as failure:
            self._failure = failure
        self._put(None)

    def _put(self, item: T | None) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0.2)
                return True
            except Full:
                continue
        return False

    def __enter__(self) -> Iterator[T]:
        self._thread.start()
        return self._items()

    def _items(self) -> Iterator[T]:
        while (item := self._queue.get()) is not None:
            yield item
        if self._failure is not None:
            raise self._failure

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
