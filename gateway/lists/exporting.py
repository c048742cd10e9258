"""ExportList: a frozen list as files of N records, one after another, each there as soon as it is whole.

A run first names the list and leaves the one audit record of the export; then every file is one transaction with the
progress, so that a run that took over goes on with the next file, and all files together are the list as it was named.
A list without records becomes one file that says 0.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from gateway.access import audit
from gateway.access.model import Call, ClientKind, Foreign
from gateway.domain.periods import Month, Period
from gateway.errors import GatewayError
from gateway.formats.listing import ListHeader
from gateway.lists import errand, queries, readout
from gateway.lists.choice import FILTERS, Resolved, compose, resolve
from gateway.lists.layouts import LAYOUTS, Losses, copy
from gateway.lists.model import Choice
from gateway.lists.pages import Head, Pages
from gateway.nsi.dictionaries import Nsi
from gateway.operations import files, works
from gateway.operations.model import Owner
from gateway.operations.works import Run, operation
from gateway.store import failures
from gateway.store.engine import driver_of

KIND = "EXPORT_LIST"
DELIVERIES = ("DOWNLOAD", "MAILBOX")
RECORDS_MOST = 1_000_000
"""Records a file, at most; a sheet of Excel holds a few more."""

_HOURS = 72
"""How long the list of an export stays named: its runs may wait for a database that is gone."""

_TRIES = 5


class Exporting(Pages):
    """Exports of lists."""

    def request_export(
        self,
        connection: Connection,
        call: Call,
        organisation: str | None,
        choice: Choice,
        *,
        start_record: int = 1,
        records_per_file: int = 1000,
        delivery: str = "DOWNLOAD",
        format: str = "XML",
    ) -> UUID:
        """Checks everything that can be checked and begins the operation; returns its id.

        ``organisation`` None means every list the caller sees. MAILBOX puts the files into the mailbox of their owner:
        the organisation, the insurer that asked, or the fund. Raises the codes of GetList's choice, ``export.format``,
        ``export.delivery``, ``export.count``, ``export.start``, ``list.not-closed``, ``object.not-found``.
        """
        if format not in LAYOUTS:
            raise GatewayError("export.format")
        if delivery not in DELIVERIES:
            raise GatewayError("export.delivery")
        if not 1 <= records_per_file <= RECORDS_MOST:
            raise GatewayError("export.count", limit=RECORDS_MOST)
        if start_record < 1:
            raise GatewayError("export.start")
        caller = call.caller
        if caller.kind is ClientKind.MO:
            organisation = caller.own(organisation)
        call.organisation = organisation
        insurer = caller.insurer if caller.kind is ClientKind.INSURER else None
        wish = resolve(choice, organisation=organisation, insurer=insurer, nsi=self.nsi, today=self.clock.today())
        if organisation is not None and not queries.organisation_exists(connection, organisation):
            raise GatewayError("object.not-found")
        if wish.closed:
            self.closed_pieces(connection, organisation, wish)
        call.details |= {"format": format, "delivery": delivery}
        operation = works.start(
            connection,
            KIND,
            {
                "snapshot": str(self._promise(connection, call, wish)),
                "start": start_record,
                "per_file": records_per_file,
                "delivery": delivery,
                "format": format,
            },
            owner=Owner(insurer=insurer) if insurer else Owner(organisation),
            client_id=caller.client_id or None,
            login=caller.login,
            trace=call.trace,
            most=self.settings.operations_per_client,
        )
        call.details["operation"] = str(operation)
        return operation

    def _promise(self, connection: Connection, call: Call, wish: Resolved) -> UUID:
        """A snapshot that will name the list. It keeps the choice, which may hold an ЕНП and so is no parameter."""
        id, now = uuid4(), queries.now(connection)
        queries.insert_snapshot(
            connection,
            id=id,
            client_id=call.caller.client_id,
            choice=wish.key,
            edition="CLOSED" if wish.closed else "CURRENT",
            pieces=[],
            ends=[],
            token="",
            as_of=now,
            closed_at=None,
            expires_at=now + timedelta(hours=_HOURS),
        )
        return id


@operation(KIND, "Выгрузка списка")
def export(run: Run) -> None:
    """The body: names the list, unless an earlier run has, and writes the files that are not there yet."""
    work = run.work
    lists = Exporting(work.settings, Nsi(work.store, work.clock), work.clock)
    head = _known(run) if "records" in run.progress else _named(run, lists)
    _Files(run, head).write()


def _known(run: Run) -> Head:
    with run.work.store.begin() as connection:
        row = driver_of(connection).execute(queries.HEAD_OF_EXPORT, (run.parameters["snapshot"],)).fetchone()
    if row is None:
        raise GatewayError("list.snapshot-expired")
    return Head(*row)


def _named(run: Run, lists: Exporting) -> Head:
    """Names the list on one unchanging view of the database; again if another call made the same piece meanwhile."""
    run.stage("Определение состава списка")
    for attempt in range(_TRIES):
        try:
            with run.begin(isolation="REPEATABLE READ") as connection:
                return _name(run, lists, connection)
        except DBAPIError as error:
            if attempt == _TRIES - 1 or not failures.is_conflict(error):
                raise
    raise AssertionError


def _name(run: Run, lists: Exporting, connection: Connection) -> Head:
    call = errand.call_of(connection, run, "ExportList")
    id = UUID(run.parameters["snapshot"])
    row = queries.choice_of(connection, id)
    if row is None:
        raise GatewayError("list.snapshot-expired")
    organisation, wish = _wish(row["choice"], lists.clock.today())
    if organisation is not None and not call.caller.sees(organisation):
        raise Foreign()
    head = lists.name(connection, call, organisation, wish, hours=_HOURS, id=id)
    start = run.parameters["start"]
    records = max(0, head.total - start + 1)
    call.organisation, call.snapshot_id = organisation, head.id
    call.first_record, call.records = start, records
    call.details |= {"format": run.parameters["format"], "delivery": run.parameters["delivery"]}
    audit.write(connection, call)
    run.progress |= {"records": records, "done": 0, "files": 0, "replaced": 0, "cut": 0}
    run.line(f"Записей в списке: {head.total}, к выгрузке: {records}")
    return head


def _wish(choice: str, today: date) -> tuple[str | None, Resolved]:
    """The organisation and the choice that a snapshot was given out for."""
    kept = json.loads(choice)
    first = Month.of(date.fromisoformat(kept["first"]))
    length = Month.of(date.fromisoformat(kept["last"])).month - first.month + 1
    organisation = None if kept["organisation"] == "*" else kept["organisation"]
    filters = {name: kept.get(name) for name in FILTERS}
    period = Period(first, length)
    wish = compose(
        kept["type"], period, closed=kept["closed"], filters=filters, organisation=organisation, today=today
    )  # fmt: skip
    return organisation, wish


class _Files:
    """The files of one export, from the first that is missing on."""

    def __init__(self, run: Run, head: Head) -> None:
        self._run = run
        self._head = head
        self._organisation, self._wish = _wish(head.choice, date.min)
        self._layout = LAYOUTS[run.parameters["format"]]
        self._per_file: int = run.parameters["per_file"]
        self._start: int = run.parameters["start"]
        self._records: int = run.progress["records"]
        self._left: list[Any] = []

    def write(self) -> None:
        run, progress = self._run, self._run.progress
        count = max(1, -(-self._records // self._per_file))
        run.stage(f"Запись файлов: {count}", self._records)
        run.advance(progress["done"])
        first = self._start + progress["done"]
        with readout.ahead(run.work.store, self._head, first, self._layout.form, run.check) as batches:
            while progress["files"] < count:
                self._file(batches, last=progress["files"] + 1 == count)
        run.advance(self._records)

    def _file(self, batches: Iterator[list[Any]], *, last: bool) -> None:
        run, progress, layout = self._run, dict(self._run.progress), self._layout
        size = min(self._per_file, self._records - progress["done"])
        header, lost = self._header(self._start + progress["done"], size), Losses(progress["replaced"], progress["cut"])
        taken = self._take(batches, size, progress["done"])
        made: Path | None = None
        if layout.prepare is not None:
            made = run.folder / f"file.{layout.suffix}"
            layout.prepare(made, header, taken)
        with run.begin() as connection:
            if not last:
                queries.commit_soon(connection)
            with self._writer(connection, header, progress["files"] + 1) as out:
                if made is not None:
                    copy(made, out)
                elif layout.write is not None:
                    layout.write(out, header, taken, lost)
            progress["done"] += size
            progress["files"] += 1
            run.progress |= progress | asdict(lost)
            if last:
                self._say(lost)
                run.finish(connection)

    def _writer(self, connection: Connection, header: ListHeader, number: int) -> files.Writer:
        run = self._run
        return files.Writer(
            connection,
            run.work.settings,
            name=file_name(header, self._layout.suffix),
            kind="EXPORT",
            owner=run.owner,
            operation_id=run.id,
            number=number,
            mailbox=run.parameters["delivery"] == "MAILBOX",
            client_id=run.client_id,
        )

    def _take(self, batches: Iterator[list[Any]], size: int, done: int) -> Iterator[Sequence[Any]]:
        """The next ``size`` records in portions; what a batch holds over is kept for the next file."""
        while size:
            batch = self._left or next(batches)
            part, self._left = batch[:size], batch[size:]
            size -= len(part)
            done += len(part)
            yield part
            self._run.advance(done)

    def _header(self, first: int, size: int) -> ListHeader:
        head = self._head
        return ListHeader(
            organisation=self._organisation,
            insurer=self._run.owner.insurer,
            period=str(self._wish.period),
            list_type=self._wish.values["type"],
            edition=head.edition,
            as_of=head.as_of,
            closed_at=head.closed_at,
            change_token=head.token,
            first=first,
            records=size,
            total=head.total,
        )

    def _say(self, lost: Losses) -> None:
        run = self._run
        if lost.replaced:
            run.line(f"Значений со знаками, которых нет в cp866 (заменены на «?»): {lost.replaced}", "WARNING")
        if lost.cut:
            run.line(f"Значений, укороченных до ширины поля: {lost.cut}", "WARNING")
        run.line(f"Выгружено записей: {self._records}, файлов: {run.progress['files']}")


def file_name(header: ListHeader, suffix: str) -> str:
    """``DN_400001_2026-11_OBSERVED_000001-001000.xml``: organisation or ALL (and ``S`` with the insurer), period, type, CLOSED, numbers of records."""
    first, last = (header.first, header.first + header.records - 1) if header.records else (0, 0)
    width = max(6, len(str(header.total)))
    kind = header.list_type + ("_CLOSED" if header.edition == "CLOSED" else "")
    whose = header.organisation or "ALL"
    if header.insurer:
        whose += f"_S{header.insurer}"
    return f"DN_{whose}_{header.period}_{kind}_{first:0{width}}-{last:0{width}}.{suffix}"
