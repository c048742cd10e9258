"""`insured load`: the fund's extract into the table of persons, by COPY and set-based merge, in one transaction.

Persons that are new are added, persons that differ in a column the file has are changed, absence from the file changes
nothing. A wrong line is left out and named in the report.
"""

from __future__ import annotations

import csv
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psycopg
from sqlalchemy import Connection

from gateway.domain.clock import Clock
from gateway.errors import KINDS
from gateway.people import extract, insurers, organisations, queries
from gateway.people.extract import Block, Extract, Refused, opened
from gateway.store import rebuild
from gateway.store.apart import Apart
from gateway.store.engine import Driver, Store, driver_of

Progress = Callable[[str, int], None]
"""Told the stage in Russian and how many lines it has done."""


@dataclass(slots=True)
class LoadCounts:
    """Lines of the file (without its header) and persons: ``taken`` = ``added`` + ``changed`` + ``same``."""

    lines: int = 0
    taken: int = 0
    refused: int = 0
    added: int = 0
    changed: int = 0
    same: int = 0


AfterMerge = Callable[[Connection, LoadCounts], object]
"""Called in the transaction of the merge; ids of changed persons stand in the temporary table
``changed_person (person_id)``. Here the layer above renews what it has copied from persons."""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What became of the file. ``codes`` counts refused lines by code; ``seconds`` is the whole time."""

    counts: LoadCounts
    codes: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0


class _Refusals:
    """Counts refused lines and names them in the report: CSV of line, code and message, without values."""

    def __init__(self, report: IO[str] | None) -> None:
        self.codes: Counter[str] = Counter()
        self._writer = csv.writer(report, delimiter=";", lineterminator="\n") if report else None
        if self._writer:
            self._writer.writerow(("line", "code", "message"))

    def add(self, refused: Iterable[Refused]) -> None:
        for one in refused:
            self.codes[one.code] += 1
            if self._writer:
                self._writer.writerow((one.line, one.code, KINDS[one.code].message))


def load_insured(
    store: Store,
    path: str | Path,
    *,
    report: str | Path | None = None,
    progress: Progress | None = None,
    after_merge: AfterMerge | None = None,
    clock: Clock | None = None,
) -> LoadReport:
    """Loads the extract; ``report`` is the CSV of refused lines. Ctrl-C or any failure leaves the database as it was.

    Raises ``load.columns`` and ``load.file``. As the owner of the schema and into an empty table the lines go straight
    into place and indexes are built after; otherwise through a temporary table.
    """
    tell = progress or (lambda stage, done: None)
    if report is None:
        return _load(store, Path(path), None, tell, after_merge, clock or Clock())
    with Path(report).open("w", encoding="utf-8", newline="") as out:
        return _load(store, Path(path), out, tell, after_merge, clock or Clock())


def _load(
    store: Store, path: Path, report: IO[str] | None, tell: Progress, after_merge: AfterMerge | None, clock: Clock
) -> LoadReport:
    started = time.monotonic()
    refusals, counts = _Refusals(report), LoadCounts()
    with store.begin() as connection:
        driver = driver_of(connection)
        rebuild.memory(driver)
        driver.execute(queries.LOAD_LOCK)
        known = insurers.codes(connection), organisations.codes(connection)
        with opened(path) as stream:
            columns = Extract(stream, *known, clock.today()).columns
        parser = Apart(extract.blocks, path, *known, clock.today())
        load = _Load(driver, parser, columns, refusals, counts, tell)
        if load.may_fill():
            load.fill()
        else:
            load.merge()
        counts.refused = refusals.codes.total()
        if after_merge is not None:
            tell("Обновление списков", counts.changed)
            after_merge(connection, counts)
        tell("Завершение", counts.lines)
    return LoadReport(counts, dict(refusals.codes), time.monotonic() - started)


@dataclass(slots=True)
class _Load:
    """One load in its transaction."""

    driver: Driver
    parser: Apart[Block]
    columns: tuple[str, ...]
    refusals: _Refusals
    counts: LoadCounts
    tell: Progress

    def may_fill(self) -> bool:
        """Whether the role may rebuild indexes, and no person ever had an id."""
        if "insured_in_region" not in self.columns or not rebuild.owns(self.driver, ["person"]):
            return False
        row = self.driver.execute(queries.NEVER_FILLED).fetchone()
        return row is not None and bool(row[0])

    def fill(self) -> None:
        """Straight into the empty table, indexes after. A person's id is its line, which tells repeated lines apart."""
        self.driver.execute(queries.NO_CHANGED_PERSON)
        definitions = rebuild.strip(self.driver, ["person"])
        self._copy("person", "id", " FREEZE,")
        for definition in definitions:
            self.tell("Построение индексов", self.counts.taken)
            try:
                with self.driver.transaction():
                    rebuild.restore(self.driver, definition)
            except psycopg.errors.UniqueViolation:
                self._repeated(queries.REPEATED_PERSONS)
                rebuild.restore(self.driver, definition)
        self.driver.execute(queries.NUMBER_ON)
        self.driver.execute(queries.ANALYZE_PERSON)
        self.counts.added = self.counts.taken

    def merge(self) -> None:
        """Through a temporary table: repeated lines out, differing persons changed, new ones added."""
        run = self.driver.execute
        run(queries.STAGE)
        self._copy("insured_line", "line")
        self.tell("Сравнение", self.counts.taken)
        run(queries.ANALYZE_STAGE)
        self._repeated(queries.REPEATED_LINES)
        columns = (*(name for name in self.columns if name != "enp"), "name_key")
        run(queries.find_changed(columns).encode())
        run(queries.ANALYZE_CHANGED)
        run(queries.CHANGED_PERSON)
        self.tell("Запись изменений", self.counts.taken)
        self.counts.changed = run(queries.change_persons(columns).encode()).rowcount
        self.counts.added = run(
            queries.add_persons(sorted({*self.columns, "name_key", "insured_in_region"})).encode()
        ).rowcount
        self.counts.same = self.counts.taken - self.counts.changed - self.counts.added

    def _repeated(self, statement: str) -> None:
        lines = sorted(row[0] for row in self.driver.execute(statement.encode()))
        self.refusals.add(Refused(line, "load.repeated") for line in lines)
        self.counts.taken -= len(lines)

    def _copy(self, table: str, number: str, option: str = "") -> None:
        statement = queries.copy_extract(table, (number, *self.columns, "name_key"), option)
        with (
            self.driver.cursor() as cursor,
            cursor.copy(statement.encode()) as copy,
            self.parser as blocks,
        ):
            for block in self._counted(blocks):
                copy.write(block)

    def _counted(self, blocks: Iterable[Block]) -> Iterator[bytes]:
        counts = self.counts
        for block in blocks:
            self.refusals.add(block.refused)
            counts.taken += block.taken
            counts.lines += block.taken + len(block.refused)
            self.tell("Чтение файла", counts.lines)
            yield block.ready
