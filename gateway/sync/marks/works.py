"""RECONCILE_MARKS: the registers of a month, packet after packet, each in a transaction of its own.

A run that was broken off goes on with the packets that are left. A packet that is wrong as a whole is refused, noted and
reported; the others go on.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from gateway.access import audit
from gateway.access.model import Outcome
from gateway.domain.marks import Step
from gateway.domain.periods import Month
from gateway.errors import ACCEPTED, GatewayError, Side
from gateway.formats.list_protocol import message_of
from gateway.formats.zl_list import Packet, name_of
from gateway.lists import Lists, errand
from gateway.nsi.dictionaries import Nsi
from gateway.operations import files, works
from gateway.operations.model import FileInfo, Owner
from gateway.operations.queue import Work, task
from gateway.operations.works import Run
from gateway.sync.marks import queries, report
from gateway.sync.marks.taking import Source, Taken, Taking, item

KIND = "RECONCILE_MARKS"
CALL = "ReconcileMarks"
KEEP = "marks.keep"

_STEPS = {
    Step.ADD: "взято под наблюдение", Step.CONFIRM: "подтверждено", Step.END: "снято с наблюдения",
    Step.ASIDE: "отложено до появления лица",
}  # fmt: skip


def start(
    connection: Connection,
    period: Month,
    file_ids: Sequence[UUID] = (),
    *,
    dry: bool = False,
    login: str,
    trace: str,
) -> UUID:
    """Starts the work of the fund on packets of a month: those named, or without any those that clinics have put and that
    were not looked at yet. With ``dry`` only the plan is written, as files of the operation."""
    parameters = {"period": str(period), "files": [str(one) for one in file_ids], "dry": dry}
    return works.start(connection, KIND, parameters, owner=Owner(), client_id=None, login=login, trace=trace)


@works.operation(KIND, "Признаки наблюдения из реестров счетов")
def body(run: Run) -> None:
    """The body of the operation."""
    work = run.work
    Registers(run, Lists(work.settings, Nsi(work.store, work.clock), work.clock)).take()


class Registers:
    """One run over the packets of a month."""

    def __init__(self, run: Run, lists: Lists) -> None:
        self._run = run
        self._lists = lists
        self._period = Month.parse(run.parameters["period"])
        self._dry = bool(run.parameters["dry"])

    def take(self) -> None:
        run = self._run
        if not self._dry:
            self._take_up()
        wanted = self._wanted()
        run.line(f"Файлов реестров за {self._period}{'' if self._named else ' и прежние месяцы'}: {len(wanted)}")
        for number, file_id in enumerate(wanted, 1):
            if str(file_id) in run.progress.get("done", []):
                continue
            with run.work.store.begin() as connection:
                file = files.get(connection, file_id)
            if file is None:
                run.line(f"Файл {number} из {len(wanted)} больше не хранится", "WARNING")
                continue
            try:
                self._packet(file, f"Файл {number} из {len(wanted)}")
            except GatewayError as refusal:
                if refusal.kind.side is not Side.CLIENT or not refusal.code.startswith(("file.", "mark.")):
                    raise
                self._refused(file, refusal)

    def _wanted(self) -> list[UUID]:
        """Packets that were named, else those that clinics have put for the month or, too late for their own, for one
        before it: a run that goes on takes them in the same order."""
        if self._named:
            return self._named
        with self._run.work.store.begin() as connection:
            found = queries.untaken(connection)
        done = [UUID(one) for one in self._run.progress.get("done", [])]
        names = ((file_id, name_of(name)) for file_id, name in found)
        return list(
            dict.fromkeys([*done, *(one for one, name in names if name and (name.year, name.month) <= self._of)])
        )

    @property
    def _named(self) -> list[UUID]:
        return [UUID(one) for one in self._run.parameters["files"]]

    @property
    def _of(self) -> tuple[int, int]:
        return self._period.year, self._period.month

    def _packet(self, file: FileInfo, label: str) -> None:
        run = self._run
        run.stage(f"{label}: чтение")
        folder = run.folder / str(file.file_id)
        folder.mkdir(exist_ok=True)
        path = folder / "packet"
        files.fetch(run, file.file_id, path, run.check)
        settings = self._lists.settings
        packet = Packet(path, file.name, archive_bytes=settings.archive_bytes, folder=folder)
        period = (packet.account.year, packet.account.month)
        if period > self._of or (self._named and period != self._of):
            raise GatewayError("mark.period")
        run.stage(f"{label}: {packet.name.text}", packet.account.cases)
        with run.begin() as connection:
            call = errand.call_of(connection, run, CALL)
            source = Source(file.file_id, file.owner.organisation, run.id)
            taken = Taking(self._lists, connection, call, source, folder).take(
                packet, dry=self._dry, advance=run.advance
            )
            self._done(file)
        for one in (path, *packet.files):
            one.unlink(missing_ok=True)
        self._say(packet.name.text, taken)

    def _done(self, file: FileInfo) -> None:
        self._run.progress["done"] = [*self._run.progress.get("done", []), str(file.file_id)]

    def _say(self, name: str, taken: Taken) -> None:
        run = self._run
        if taken.same:
            run.line(f"{name}: файл с таким содержанием уже принят, изменений нет")
            return
        did = ", ".join(f"{text} {taken.steps[step]}" for step, text in _STEPS.items() if taken.steps.get(step))
        run.line(f"{name}: случаев {taken.cases}; {did or 'изменений нет'}")
        for code, count in taken.codes.items():
            if code not in ("ok", "ok.same", "ok.confirmed"):
                run.line(f"{name}: {code} — {message_of(code)}: {count}", "INFO" if code in ACCEPTED else "WARNING")
        if taken.reviews:
            run.line(f"{name}: записей отправлено на проверку: {taken.reviews}", "WARNING")

    def _refused(self, file: FileInfo, refusal: GatewayError) -> None:
        """Notes and reports a packet that is wrong as a whole, so that it is not tried each time."""
        run = self._run
        shown = re.sub(r"[^\w.-]", "_", file.name)[:100]
        run.line(f"{shown}: {refusal.code} — {refusal.message}", "WARNING")
        if self._dry:
            return
        name = name_of(file.name)
        row = {
            "record": None, "case_id": None, "episode": None, "carrier": None, "mark": None, "diagnosis": None,
            "marked_on": None, "code": refusal.code, "field": None, "entry_id": None,
        }  # fmt: skip
        with run.begin() as connection:
            call = errand.call_of(connection, run, CALL)
            queries.insert_file(
                connection, name=name.text if name else shown, kind=name.kind if name else "", sha256=file.sha256,
                state="REFUSED", code=refusal.code, organisation=file.owner.organisation, year=None, month=None,
                account=None, account_number=None, account_date=None, file_id=file.file_id, operation_id=run.id,
            )  # fmt: skip
            report.put(
                connection, self._lists.settings, name=f"{shown}_marks.csv", content=report.text(shown, [row]),
                organisation=file.owner.organisation, operation=run.id, mailbox=file.owner.organisation is not None,
            )  # fmt: skip
            call.organisation = file.owner.organisation
            call.details |= {"file": shown}
            audit.write(connection, call, Outcome.REFUSED, refusal.code)
            self._done(file)

    def _take_up(self) -> None:
        """Marks and care that were put aside and whose persons are known now."""
        run = self._run
        run.stage("Отложенные признаки")
        with run.begin() as connection:
            queries.settle_care(connection)
            waiting = queries.settled(connection)
            settled: list[dict[str, Any]] = []
            for organisation, rows in groupby(waiting, key=lambda row: row["organisation"]):
                settled += self._taken_up(connection, organisation, list(rows))
            if settled:
                queries.settle_marks(connection, settled)
        if settled:
            run.line(f"Отложенных признаков внесено: {len(settled)}")

    def _taken_up(self, connection: Connection, organisation: str, rows: Sequence[Any]) -> list[dict[str, Any]]:
        call = errand.call_of(connection, self._run, CALL)
        call.organisation = organisation
        queries.take_turn(connection, organisation)
        items = [item({**row, "number": number}, row["file"]) for number, row in enumerate(rows)]
        results = self._lists.mark(connection, call, organisation, items)
        call.details |= {"aside": len(rows)}
        audit.write(connection, call, Outcome.OK)
        return [
            {
                "id": rows[one.number]["id"], "person_id": rows[one.number]["person_id"], "step": str(one.step),
                "outcome": one.code, "entry_id": one.entry_id,
            }
            for one in results
        ]  # fmt: skip


@task(KEEP)
def keep(work: Work) -> int:
    """Packets that clinics have put wait for the work of their month as long as files of mailboxes do."""
    with work.store.begin() as connection:
        return queries.keep_untaken(connection, work.clock.now() + timedelta(days=work.settings.mailbox_days))
