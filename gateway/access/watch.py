"""Notices in every process within a second or two that clients, secrets or certificates have changed.

A thread reads once a second one number over all rows of access. While it stands still, what was verified stays verified
and a call needs no look at the database; when it changes, or cannot be read for two seconds, everything is verified
anew. The number is made of the transaction ids that wrote the rows, so a change made past the gateway counts too.
"""

from __future__ import annotations

import logging
from math import inf
from threading import Event, Lock, Thread
from time import monotonic

import psycopg

from gateway.access import queries

PERIOD = 1.0
"""Seconds between two looks."""

FRESH = 2.0
"""Seconds after the last look during which its answer is believed."""

_log = logging.getLogger("gateway.access")


class Watch:
    """One thread with one connection of its own, started by the first use and ended by `close`."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._seen = -inf
        self._print: str | None = None
        self._generation = 0
        self._lock = Lock()
        self._stop = Event()
        self._thread: Thread | None = None

    def generation(self) -> int | None:
        """The number of the state of access now, ``None`` when it is not known freshly enough. No I/O."""
        return self._generation if monotonic() - self._seen < FRESH else None

    def forget(self) -> None:
        """Begins a new generation at once: for a process that has itself just committed a change."""
        with self._lock:
            self._generation += 1

    def start(self) -> None:
        """Starts the thread unless it runs."""
        if self._thread is not None and self._thread.is_alive():
            return
        with self._lock:
            if (self._thread is None or not self._thread.is_alive()) and not self._stop.is_set():
                self._thread = Thread(target=self._run, name="access-watch", daemon=True)
                self._thread.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=FRESH)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                with psycopg.connect(self._url, autocommit=True, connect_timeout=2) as connection:
                    connection.execute("SET statement_timeout = '2s'")
                    while not self._stop.is_set():
                        self._look(connection)
                        self._stop.wait(PERIOD)
            except psycopg.Error:
                _log.warning("состояние доступа не читается, секреты проверяются заново", exc_info=True)
                self._stop.wait(PERIOD)

    def _look(self, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        asked = monotonic()
        found = queries.fingerprint(connection)
        with self._lock:
            if found != self._print:
                self._print = found
                self._generation += 1
            self._seen = asked
