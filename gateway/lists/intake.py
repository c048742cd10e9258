"""One uploaded list on its way into the list of an organisation, within one transaction.

Records are decided on, and new entries put, before the organisation's ledger is locked: until the commit nobody sees
them. Under the lock it is verified that what the decisions rest on has not moved, and numbers and events are given; so
the calls of the clinic wait for seconds only. What cannot be mended there is decided anew; the last try locks first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import Connection, RowMapping
from sqlalchemy.exc import DBAPIError

from gateway.access.model import Call
from gateway.errors import GatewayError
from gateway.formats.listing import ListRecord
from gateway.lists import ledger, queries
from gateway.lists.merging import CAUSE, NOT_HERE, Merging, Standing, Verdict, plain_refusal, reasons
from gateway.store import failures

PORTION = 2_000
TRIES = 4

_FIELDS = queries.RECORD_COLUMNS[4:-2]


class Steps(Protocol):
    """Who is told how far the work is, and may stop it at safe points by raising."""

    def stage(self, text: str, total: int | None = None) -> None: ...
    def advance(self, done: int) -> None: ...


class Moved(Exception):
    """What decisions rest on has changed since."""


class Intake:
    """The records of one file for one organisation; ``operation`` is named in every event."""

    def __init__(
        self, merging: Merging, connection: Connection, call: Call, organisation: str, operation: UUID, steps: Steps
    ) -> None:
        self.organisation = organisation
        self.operation = operation
        self.total = 0
        self.numbers: tuple[int, int] | None = None
        self._merging = merging
        self._connection = connection
        self._call = call
        self._steps = steps
        self._new = self._changes = 0
        self._closed: frozenset[int] = frozenset()
        queries.open_upload(connection)

    def read(self, records: Iterable[ListRecord]) -> None:
        """Takes over every record of the file; nothing is decided before the last one was read."""
        self.total = queries.copy_records(self._connection, self._plain(records))
        queries.mark_repeated(self._connection)

    def take_up(self) -> None:
        """Takes over the lines of the operation that were put aside and whose persons are known now."""
        self.total = queries.take_up(self._connection, self.operation)

    def merge(self, finish: Callable[[], None]) -> None:
        """Brings the records into the list. ``finish`` is called once all is decided and before the ledger is locked,
        again after a decision has changed; its effects belong to the transaction.

        Raises ``server.busy`` if other transactions get in the way each time.
        """
        for number in range(1, TRIES + 1):
            try:
                with self._connection.begin_nested():
                    self._try(finish, lock_first=number == TRIES)
                return
            except Moved:
                continue
            except DBAPIError as error:
                if not failures.is_conflict(error):
                    raise
        raise GatewayError("server.busy")

    def put_aside(self) -> None:
        """Keeps the records whose persons are not known yet."""
        queries.put_aside(self._connection, self.organisation, self.operation, NOT_HERE)

    def counts(self) -> dict[str, int]:
        """Records by code."""
        return queries.counts(self._connection)

    def _plain(self, records: Iterable[ListRecord]) -> Iterator[Sequence[Any]]:
        known = reasons(self._merging.nsi.items("EXCLUSION_REASONS", self._merging.clock.today()))
        for count, record in enumerate(records):
            if not count % PORTION:
                self._steps.advance(count)
            if wrong := plain_refusal(record, self.organisation, known):
                yield (record.number, *(None,) * (len(queries.RECORD_COLUMNS) - 3), *wrong)
                continue
            rest = [getattr(record, name) for name in _FIELDS[:-1]]
            months = None if record.planned_months is None else list(record.planned_months)
            key = self._merging.key(record.diagnosis)
            yield (record.number, record.enp, record.diagnosis, key, *rest, months, None, None)

    def _try(self, finish: Callable[[], None], *, lock_first: bool) -> None:
        connection, organisation = self._connection, self.organisation
        self._new = self._changes = 0
        self.numbers = None
        if lock_first:
            ledger.lock(connection, organisation)
        seen = queries.ledger_seq(connection, organisation)
        self._closed = queries.closed_months(connection, organisation)
        self._steps.stage("Сверка записей со списком", self.total)
        done = 0
        for records in self._portions():
            self._decide(records)
            done += len(records)
            self._steps.advance(done)
        finish()
        if not (self._new or self._changes):
            return
        self._steps.stage("Внесение новых записей", None)
        if self._new:
            self._put(seen)
        self._steps.stage("Запись изменений", None)
        ledger.lock(connection, organisation)
        self._verify(seen)
        self._apply(seen)

    def _portions(self) -> Iterator[list[ListRecord]]:
        after = 0
        while rows := queries.records_after(self._connection, after, PORTION):
            yield [_record(row) for row in rows]
            after = rows[-1]["number"]

    def _decide(self, records: Sequence[ListRecord]) -> None:
        connection, organisation = self._connection, self.organisation
        enps, doctors = {record.enp for record in records}, [record.doctor_snils for record in records]
        facts = self._merging.facts(connection, organisation, enps, doctors)
        if facts.closed != self._closed:
            raise Moved
        names = [record.external_id for record in records if record.external_id]
        persons = {person["id"]: person for person in facts.persons.values()}
        standing = _standing(queries.standing(connection, organisation, names, list(persons)))
        decided: list[tuple[int, Verdict]] = []
        for record in records:
            try:
                verdict = self._merging.verdict(record, facts, standing)
            except GatewayError as refusal:
                verdict = Verdict(refusal.code)
            decided.append((record.number, verdict))
        marks = {id: str(person["mark"]) for id, person in persons.items()}
        self._keep(decided, marks)

    def _keep(self, decided: Sequence[tuple[int, Verdict]], marks: dict[int, str]) -> None:
        """Puts decisions into the temporary tables."""
        fresh = [verdict.row for _, verdict in decided if verdict.row is not None]
        ids = queries.next_ids(self._connection, "entry", len(fresh))
        for made, id in zip(fresh, ids, strict=True):
            made["id"] = id
        verdicts, entries, changes = [], [], []
        for number, verdict in decided:
            row, entry = verdict.row, verdict.entry
            entry_id = row["id"] if row else entry["id"] if entry else None
            verdicts.append((number, verdict.code, entry_id, verdict.person_id))
            if row is not None:
                self._new += 1
                row |= {"ordinal": self._new, "number": number, "mark": marks[row["person_id"]]}
                entries.append([row.get(name) for name in queries.NEW_COLUMNS])
            for change in verdict.changes:
                self._changes += 1
                changes.append((self._changes, number, *_change(change, verdict, entry_id)))
        for table, columns, rows in (
            ("upload_verdict", queries.VERDICT_COLUMNS, verdicts),
            ("upload_entry", queries.NEW_COLUMNS, entries),
            ("upload_change", queries.CHANGE_COLUMNS, changes),
        ):
            if rows:
                queries.copy_decided(self._connection, table, columns, rows)

    def _put(self, base: int) -> None:
        source = ledger.source_of(self._call)
        queries.put_uploaded(self._connection, organisation=self.organisation, base=base, source=source)

    def _verify(self, seen: int) -> None:
        """Decides anew, under the lock, on records whose entries have changed. Raises `Moved` where that is not enough."""
        connection = self._connection
        if queries.closed_months(connection, self.organisation) != self._closed or queries.persons_moved(connection):
            raise Moved
        numbers = queries.stale(connection) if queries.ledger_seq(connection, self.organisation) != seen else []
        for start in range(0, len(numbers), PORTION):
            portion = numbers[start : start + PORTION]
            before = queries.decided(connection, portion)
            queries.forget_decided(connection, portion)
            self._decide([_record(row) for row in queries.records_of(connection, portion)])
            if queries.decided(connection, portion) != before:
                raise Moved

    def _apply(self, seen: int) -> None:
        """Numbers and events, in the order: new entries, corrections, ends."""
        connection = self._connection
        phases = queries.changes_by_phase(connection)
        total = self._new + sum(phases.values())
        if not total:
            return
        base = queries.advance(connection, self.organisation, total) - total
        self.numbers = base + 1, base + total
        values = {
            "cause": CAUSE,
            "source": ledger.source_of(self._call),
            "actor": self._call.caller.login,
            "trace": self._call.trace,
            "details": {"operation": str(self.operation)},
        }
        if self._new:
            if base != seen:
                queries.renumber_uploaded(connection, base)
            queries.put_events(connection, values | {"organisation": self.organisation, "base": base})
        base += self._new
        for phase in sorted(phases):
            queries.change_uploaded(connection, phase, values | {"base": base})
            base += phases[phase]


def _record(row: RowMapping) -> ListRecord:
    """A record as it was read, its diagnosis in the normal form."""
    values = dict(row)
    del values["key"]
    if values["planned_months"] is not None:
        values["planned_months"] = tuple(values["planned_months"])
    return ListRecord(**values)


def _standing(rows: Iterable[RowMapping]) -> Standing:
    named: dict[str, RowMapping] = {}
    of_person: dict[tuple[int, str], list[RowMapping]] = {}
    for row in rows:
        if row["external_id"] is not None:
            named[row["external_id"]] = row
        of_person.setdefault((row["person_id"], row["diagnosis_key"]), []).append(row)
    return Standing(named, of_person)


def _change(change: ledger.Change, verdict: Verdict, entry_id: int | None) -> tuple[Any, ...]:
    """A change in the order of `CHANGE_COLUMNS` from ``phase`` on; of a new entry no version is expected."""
    ends = change.kind == "EXCLUDED"
    version = verdict.entry["version"] if verdict.entry is not None else None
    patch = json.dumps({name: ledger.plain(value) for name, value in change.patch.items()}, ensure_ascii=False)
    refined = None if ends else verdict.refined
    until, true_to = (verdict.until, change.patch["excluded_on"]) if ends else (None, None)
    return 2 if ends else 1, entry_id, version, change.kind, change.effective_on, patch, refined, until, true_to
