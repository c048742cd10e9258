"""What the register says in bulk: deaths and changes of the month, the extract of attachments on the day after it.

Tokens of started requests and everything obtained stand in the database, so that a run that broke off goes on from there.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gateway.domain.periods import Month
from gateway.errors import GatewayError
from gateway.formats import archive
from gateway.operations.works import Run
from gateway.store import rebuild
from gateway.store.engine import driver_of
from gateway.sync.insured import brake, queries
from gateway.sync.upstream import attachments
from gateway.sync.upstream.answers import unusable

if TYPE_CHECKING:
    from gateway.sync.upstream.ferzl import Ferzl

T = TypeVar("T")

CHANGES, ATTACHMENTS = "changes", "attachments"
_EXTRACT_BYTES = 1 << 33
_LOOK_SECONDS = 0.2


class Gathering:
    """The bulk part of one comparison."""

    def __init__(self, run: Run, ferzl: Ferzl, month: Month) -> None:
        self._run = run
        self._ferzl = ferzl
        self._month = month
        self._day = month.shift(1).first_day

    def all(self) -> None:
        """Fills the candidates from every source, each once."""
        self._started(CHANGES, lambda: self._ferzl.start_changes(self._month.first_day, self._month.last_day))
        self._started(ATTACHMENTS, lambda: self._ferzl.start_attachments(self._day))
        if "dead" not in self._run.progress:
            self._deaths()
        if "changed" not in self._run.progress:
            self._changes()
        if "compared" not in self._run.progress:
            self.extract()
            self._compare()

    def extract(self) -> None:
        """Loads the extract unless it is there: a crash of the database server empties its table."""
        run = self._run
        with run.begin() as connection:
            if "extract" in run.progress and queries.extract_lines(connection) == run.progress["extract"]:
                return
        path = run.folder / "attachments.zip"
        self._polled(ATTACHMENTS, lambda token: self._ferzl.attachments(token, path) or None)
        run.stage("Загрузка выписки прикреплений")
        content = self._unpacked(path)
        clinics: Counter[str] = Counter()
        with run.begin() as connection:
            run.progress["extract"] = queries.load_attachments(connection, self._rows(content, clinics))
            queries.count(connection, run.id, extract=run.progress["extract"], clinics=clinics)
            queries.close_token(connection, run.id, ATTACHMENTS)
        run.line(f"Действующих прикреплений в выписке: {run.progress['extract']}")

    def _unpacked(self, path: Path) -> Path:
        try:
            return archive.unpacked(path, self._run.folder, archive_bytes=_EXTRACT_BYTES)[0]
        except GatewayError as error:
            raise unusable(f"выписка прикреплений: {error.message}") from None

    def _rows(self, content: Path, clinics: Counter[str]) -> Iterator[tuple[str, str, date, str | None]]:
        """Lines for the database; counts them by clinic on the way."""
        days: dict[str, date] = {}
        for number, line in enumerate(attachments.lines(content, self._day), 1):
            if number % 10_000 == 0:
                self._run.advance(number)
            day = days.get(line.since)
            if day is None:
                day = days[line.since] = date.fromisoformat(line.since)
            clinics[line.organisation] += 1
            yield line.enp, line.organisation, day, line.insurer or None

    def _deaths(self) -> None:
        run = self._run
        run.stage("Умершие за месяц")
        found = []
        for short in self._ferzl.dead(self._month.first_day, self._month.last_day):
            found.append(short.enp)
            run.advance(len(found))
        with run.begin() as connection:
            queries.name_candidates(connection, run.id, "DEATH", found)
            queries.count(connection, run.id, deaths=len(set(found)))
            run.progress["dead"] = len(set(found))

    def _changes(self) -> None:
        run = self._run
        found = self._polled(CHANGES, self._ferzl.changes)
        with run.begin() as connection:
            for reason, enps in (("DEPARTED", found.departed), ("ARRIVED", found.arrived), ("CHANGED", found.changed)):
                queries.name_candidates(connection, run.id, reason, enps)
                queries.count(connection, run.id, **{reason.lower(): len(enps)})
            queries.close_token(connection, run.id, CHANGES)
            run.progress["changed"] = True

    def _compare(self) -> None:
        run = self._run
        run.stage("Сравнение прикреплений")
        with run.begin() as connection:
            # of an extract that lost lines nobody is asked about because of it: that could be the whole region
            shrunk = brake.shrunk(connection, run.work.settings, run.id)
            rebuild.memory(driver_of(connection))
            queries.compare_attachments(connection, run.id, absent=not shrunk)
            run.progress["compared"] = True
        if shrunk:
            run.line("Выписка уменьшилась: о лицах, которых в ней нет, спросит сверка после решения approve", "WARNING")

    def _started(self, name: str, start: Callable[[], str]) -> None:
        run = self._run
        with run.begin() as connection:
            if queries.token(connection, run.id, name) is not None:
                return
        token = start()
        with run.begin() as connection:
            queries.keep_token(connection, run.id, name, token)

    def _polled(self, name: str, poll: Callable[[str], T | None]) -> T:
        """Asks at the interval of the settings until the service is done; an abort is heeded at once.

        Raises ``upstream.endless`` after ``ferzl_wait_hours``.
        """
        run, settings = self._run, self._run.work.settings
        run.stage({CHANGES: "Ожидание изменений страхования", ATTACHMENTS: "Ожидание выписки прикреплений"}[name])
        with run.begin() as connection:
            token = queries.token(connection, run.id, name)
        assert token is not None
        while (found := poll(token)) is None:
            with run.begin() as connection:
                age = queries.token_age(connection, run.id, name)
            if age > settings.ferzl_wait_hours * 3600:
                raise GatewayError("upstream.endless", hours=settings.ferzl_wait_hours)
            until = time.monotonic() + settings.ferzl_poll_seconds
            while time.monotonic() < until:
                run.check()
                time.sleep(_LOOK_SECONDS)
        return found
