"""A run of long work: what the body of an operation is given.

The body may be run again after its process died, and goes on from ``progress``. Everything it writes, it writes in
`Run.begin`: such a transaction commits only while this run is the newest one of an operation that is still running.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import UUID

import psycopg
from sqlalchemy import Connection, RowMapping
from sqlalchemy.exc import DBAPIError

from gateway.operations import queries
from gateway.operations.model import Owner, State
from gateway.operations.queue import Work
from gateway.operations.watch import Aborted, Replaced, Stopped, Watch
from gateway.settings import Settings
from gateway.store.engine import driver_of


def scratch(settings: Settings) -> Path:
    """Where runs of this machine keep files while they work: a folder per operation, in it one per attempt."""
    return Path(settings.data_dir) / "work"


class Run:
    """One attempt at an operation, for one thread."""

    def __init__(self, work: Work, operation_id: UUID, taken: RowMapping) -> None:
        self.work = work
        self.id = operation_id
        self.kind: str = taken["kind"]
        self.owner = Owner(taken["organisation"], taken["insurer"])
        self.client_id: int | None = taken["client_id"]
        self.login: str = taken["login"]
        self.trace: str = taken["trace"]
        self.parameters: Mapping[str, Any] = taken["parameters"]
        self.progress: dict[str, Any] = taken["progress"]
        self.attempt: int = taken["attempt"]
        self.losses: int = taken["losses"]
        self.finished = False
        self._saved = deepcopy(self.progress)
        self._folder: Path | None = None
        self._watch = Watch(work.store.url, operation_id, self.attempt, work.stopping)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, places: TracebackType | None
    ) -> None:
        self._watch.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            try:
                self._folder.parent.rmdir()
            except OSError:
                return

    @property
    def folder(self) -> Path:
        """A folder of this run, for its user alone; made on first use, removed at the end."""
        if self._folder is None:
            folder = scratch(self.work.settings) / str(self.id) / str(self.attempt)
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            folder.parent.chmod(0o700)
            self._folder = folder
        return self._folder

    def stage(self, text: str, total: int | None = None) -> None:
        """Begins a stage; ``total`` is how much there is to do in it. Stages are lines of the protocol as well."""
        self._watch.stage(text, total)
        self.line(text)
        self.check()

    def advance(self, done: int) -> None:
        """How much of the stage is done; cheap, and a safe point."""
        self._watch.advance(done)
        self.check()

    def line(self, text: str, level: str = "INFO") -> None:
        """Says a line of the protocol; it stays whatever becomes of the transaction."""
        self._watch.line(text, level)

    def check(self) -> None:
        """A safe point. Raises `Stopped` where the run must not go on."""
        if self._watch.reason is not None and not self.finished:
            raise self._watch.reason

    def flush(self) -> None:
        """Writes lines and progress of the stage without waiting for the next tick."""
        self._watch.flush()

    @contextmanager
    def begin(self, *, isolation: str | None = None) -> Iterator[Connection]:
        """A transaction that keeps ``progress`` and commits only if this run still stands. An abort cancels its statement.

        ``isolation`` is a level of SQLAlchemy, such as ``REPEATABLE READ``. Raises `Stopped`.
        """
        self.check()
        with self.work.store.engine.connect() as connection:
            if isolation is not None:
                connection.execution_options(isolation_level=isolation)
            try:
                with connection.begin(), self._guarded(connection):
                    queries.name_session(connection, self.id)
                    yield connection
                    self.check()
                    if not self.finished:
                        self._hold(connection)
            except BaseException as error:
                self.finished = False
                if isinstance(error, DBAPIError | psycopg.Error):
                    self._watch.flush()
                    self.check()
                raise
            finally:
                self._watch.speak()
        self._saved = deepcopy(self.progress)

    def finish(self, connection: Connection) -> None:
        """Ends the operation as done with the transaction of `begin`: what it did and its end are one commit."""
        self.check()
        self._watch.flush()
        self._watch.be_quiet()
        if not queries.finish(connection, self.id, self.attempt, self.progress):
            raise self._why(connection)
        queries.add_line(connection, self.id, "INFO", "Выполнена")
        self.finished = True

    def end(self, state: State, code: str, message: str) -> None:
        """Ends the operation as failed or aborted, unless another run has taken it over."""
        self._watch.flush()
        with self.work.store.begin() as connection:
            if queries.end(connection, self.id, self.attempt, state, code, message):
                queries.add_line(connection, self.id, "ERROR", message)

    @contextmanager
    def _guarded(self, connection: Connection) -> Iterator[None]:
        self._watch.guard(driver_of(connection))
        try:
            yield
        finally:
            if self._watch.release():
                connection.invalidate()

    def _hold(self, connection: Connection) -> None:
        progress = self.progress if self.progress != self._saved else None
        if not queries.hold(connection, self.id, self.attempt, progress):
            raise self._why(connection)

    def _why(self, connection: Connection) -> Stopped:
        standing = queries.standing(connection, self.id)
        mine = standing is not None and standing.attempt == self.attempt and not standing.state.ended
        return Aborted() if standing is not None and mine and standing.aborting else Replaced()
