"""The second thread of a run: shows its signs of life and learns that it has to stop.

It has a connection of its own, so that neither a long statement of the run nor a rollback holds it up.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from time import monotonic
from uuid import UUID

import psycopg

from gateway.operations import queries
from gateway.store.engine import Driver

TICK_SECONDS = 0.5
HAND_OVER_SECONDS = 20.0
"""How long a run goes on after its worker was told to stop; then its next safe point leaves it to another worker."""

_CANCEL_SECONDS = 2.0
_OPTIONS = "-c lock_timeout=1s -c statement_timeout=5s"

_log = logging.getLogger(__name__)


class Stopped(Exception):
    """The run must not go on; raised at its safe points."""


class Aborted(Stopped):
    """An abort was requested."""


class Replaced(Stopped):
    """The operation has ended, or another run has taken it over."""


class HandedOver(Stopped):
    """The worker ends; another one goes on from the progress."""


class Watch:
    """Started with the run and closed at its end. Values are set by the run's thread and written twice a second."""

    def __init__(self, url: str, operation_id: UUID, attempt: int, stopping: threading.Event) -> None:
        self.reason: type[Stopped] | None = None
        self._url = url
        self._key = {"id": operation_id, "attempt": attempt}
        self._stopping = stopping
        self._told: float | None = None
        self._stage: str | None = None
        self._done: int | None = None
        self._total: int | None = None
        self._from: tuple[int, float] | None = None
        self._lines: deque[tuple[float, str, str]] = deque()
        self._quiet = False
        self._guarded: Driver | None = None
        self._cancelled = False
        self._guarding = threading.Lock()
        self._writing = threading.Lock()
        self._connection: Driver | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="operation-watch", daemon=True)
        self._thread.start()

    def stage(self, text: str, total: int | None) -> None:
        self._stage, self._total, self._done, self._from = text, total, None if total is None else 0, None

    def advance(self, done: int) -> None:
        if self._from is None:
            self._from = done, monotonic()
        self._done = done

    def line(self, text: str, level: str) -> None:
        self._lines.append((monotonic(), level, text))

    def flush(self) -> None:
        """Writes now what would be written with the next tick; what cannot be written waits for it."""
        with self._writing:
            try:
                self._beat()
                self._write_lines()
            except psycopg.Error:
                self._disconnect()

    def be_quiet(self) -> None:
        """A transaction holds the row of the operation: no lines and no cancel until `speak`."""
        with self._writing, self._guarding:
            self._quiet = True

    def speak(self) -> None:
        self._quiet = False

    def guard(self, driver: Driver) -> None:
        """From now on a reason to stop cancels the statement that runs on the connection."""
        with self._guarding:
            self._guarded, self._cancelled = driver, False

    def release(self) -> bool:
        """The connection is left alone again; whether a cancel was sent on it, which may still be on its way."""
        with self._guarding:
            self._guarded = None
            return self._cancelled

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self.flush()
        self._disconnect()

    def _watch(self) -> None:
        while not self._over.wait(TICK_SECONDS):
            self.flush()
            self._heed_stopping()
            if self.reason is not None and self.reason is not HandedOver:
                self._cancel()

    def _heed_stopping(self) -> None:
        if not self._stopping.is_set():
            self._told = None
        elif self._told is None:
            self._told = monotonic()
        elif self.reason is None and monotonic() - self._told > HAND_OVER_SECONDS:
            self.reason = HandedOver

    def _beat(self) -> None:
        row = self._connected().execute(queries.BEAT, self._key | self._values()).fetchone()
        if row is None or not row[0]:
            self.reason = Replaced
        elif row[1] and self.reason is not Aborted:
            self.reason = Aborted
            self.line("Получено требование прервать работу", "WARNING")

    def _values(self) -> dict[str, object]:
        pace = None
        if self._from is not None and self._done is not None:
            done, since = self._from
            passed = monotonic() - since
            pace = (self._done - done) / passed if passed > 0 and self._done > done else None
        return {"stage": self._stage, "done": self._done, "total": self._total, "pace": pace}

    def _write_lines(self) -> None:
        while self._lines and not self._quiet:
            said, level, text = self._lines[0]
            values = self._key | {"age": monotonic() - said, "level": level, "text": text}
            self._connected().execute(queries.ADD_LINE, values)
            self._lines.popleft()

    def _connected(self) -> Driver:
        if self._connection is None:
            self._connection = psycopg.connect(self._url, autocommit=True, connect_timeout=5, options=_OPTIONS)
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
            self._connection = None

    def _cancel(self) -> None:
        with self._guarding:
            if self._guarded is None or self._quiet:
                return
            self._cancelled = True
            try:
                self._guarded.cancel_safe(timeout=_CANCEL_SECONDS)
            except psycopg.Error:
                _log.warning("Запрос прерванной работы не отменён: нет связи с базой данных")
