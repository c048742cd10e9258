"""Who is hashed first: a few threads that take waiting work by rank, so that guessing does not hold up known callers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from enum import IntEnum
from threading import Condition, Thread
from typing import Any, TypeVar

from gateway.errors import GatewayError

T = TypeVar("T")

WAITING = 1000
"""How much work may wait; beyond it the newest of the lowest rank is answered ``server.busy``."""


class Rank(IntEnum):
    """KNOWN: this client has succeeded from this address; NEW: nothing is known; SUSPECT: the address has failed."""

    KNOWN = 0
    NEW = 1
    SUSPECT = 2


class Turns:
    """A pool of ``threads`` daemon threads with one queue per rank; threads start with the first work."""

    def __init__(self, threads: int, waiting: int = WAITING) -> None:
        self._most = max(1, threads)
        self._waiting = waiting
        self._queues: dict[Rank, deque[tuple[Future[Any], Callable[[], Any]]]] = {rank: deque() for rank in Rank}
        self._changed = Condition()
        self._threads: list[Thread] = []
        self._closed = False

    def submit(self, rank: Rank, work: Callable[[], T]) -> Future[T]:
        """The result of ``work`` when its turn has come."""
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                raise GatewayError("server.busy", retry_after=1)
            self._queues[rank].append((future, work))
            overdue = self._overdue()
            if len(self._threads) < self._most:
                thread = Thread(target=self._run, name=f"secrets-{len(self._threads)}", daemon=True)
                self._threads.append(thread)
                thread.start()
            self._changed.notify()
        if overdue is not None and overdue.set_running_or_notify_cancel():
            overdue.set_exception(GatewayError("server.busy", retry_after=5))
        return future

    def _overdue(self) -> Future[Any] | None:
        """Takes out the newest work of the lowest rank if too much waits."""
        if sum(map(len, self._queues.values())) <= self._waiting:
            return None
        lowest = max(rank for rank, queue in self._queues.items() if queue)
        return self._queues[lowest].pop()[0]

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        with self._changed:
            while True:
                for queue in self._queues.values():
                    if queue:
                        return queue.popleft()
                if self._closed:
                    return None
                self._changed.wait()

    def _run(self) -> None:
        while (waiting := self._next()) is not None:
            future, work = waiting
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = work()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
            del future, work, waiting

    def close(self) -> None:
        """Takes no more work; what waits is still done."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
