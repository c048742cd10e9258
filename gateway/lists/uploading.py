"""UploadList: a whole list of an organisation taken over from a file, good records at once and bad ones named.

The file is read to its end before anything of it takes effect; then its records are merged in one transaction with the
protocol files, the record of the audit and the end of the operation. Absence from the file never excludes.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection

from gateway.access import audit
from gateway.access.model import Call, ClientKind, Foreign, Outcome
from gateway.errors import ACCEPTED, KINDS, GatewayError
from gateway.formats import list_file
from gateway.formats.list_file import ListFile
from gateway.formats.list_protocol import message_of
from gateway.lists import errand, queries, upload_protocol
from gateway.lists.intake import Intake
from gateway.lists.merging import Merging
from gateway.lists.upload_protocol import Checked
from gateway.nsi.dictionaries import Nsi
from gateway.operations import files, works
from gateway.operations.model import FileInfo, Owner
from gateway.operations.works import Run

KIND = "UPLOAD_LIST"
CALL = "UploadList"
MERGE = "MERGE"

AUDITED = 1_000
"""So many persons are named in the audit record of an upload; of more, it gives the numbers of the list's changes."""

_KEEP = timedelta(days=7)


class Uploading(Merging):
    """Taking over whole lists."""

    def request_upload(
        self, connection: Connection, call: Call, organisation: str, file_id: UUID, mode: str = MERGE
    ) -> UUID:
        """Starts the work on a file that was put for the organisation; returns the operation.

        Raises ``access.forbidden``, ``upload.mode``, ``object.not-found``, ``file.incomplete``.
        """
        call.caller.may_change()
        call.organisation = organisation
        if not call.caller.sees(organisation):
            raise Foreign
        if not queries.organisation_exists(connection, organisation):
            raise GatewayError("object.not-found")
        if mode != MERGE:
            raise GatewayError("upload.mode")
        file = self._file(connection, call, organisation, file_id)
        files.keep(connection, file_id, self.clock.now() + _KEEP)
        parameters = {
            "organisation": organisation,
            "file": str(file_id),
            "sha256": file.sha256,
            "mode": mode,
        }
        operation = works.start(
            connection,
            KIND,
            parameters,
            owner=Owner(organisation),
            client_id=call.caller.client_id or None,
            login=call.caller.login,
            trace=call.trace,
            most=self.settings.operations_per_client,
        )
        call.details |= {"operation": str(operation), "file": str(file_id)}
        return operation

    def upload(self, run: Run) -> None:
        """The work itself. A file that was the last one loaded, without a refusal, is recognised and changes nothing."""
        run.stage("Получение файла")
        file_id = UUID(run.parameters["file"])
        with run.work.store.begin() as connection:
            file = files.get(connection, file_id)
        if file is None:
            raise GatewayError("object.not-found")
        path = run.folder / "list"
        files.fetch(run, file_id, path, run.check)
        if (former := self._former(run)) is not None:
            run.line(KINDS["upload.already"].message.format(operation=former) + "; изменений нет")
            with run.begin() as connection:
                run.progress["refused"] = 0
                run.finish(connection)
            return
        run.stage("Чтение файла")
        opened = list_file.opened(path, file.name, archive_bytes=self.settings.archive_bytes, folder=run.folder)
        with run.begin() as connection:
            self._merge(run, connection, opened, file.name)

    def _merge(self, run: Run, connection: Connection, opened: ListFile, name: str) -> None:
        organisation = run.parameters["organisation"]
        call = errand.call_of(connection, run, CALL)
        call.caller.may_change()
        if not call.caller.sees(organisation):
            raise Foreign
        intake = Intake(self, connection, call, organisation, run.id, run)
        intake.read(opened.records())
        checked = Checked(name, opened.name, opened.format)

        def finish() -> None:
            queries.supersede(connection, organisation, run.id)
            intake.put_aside()
            run.stage("Запись протокола")
            upload_protocol.write(
                connection,
                self.settings,
                operation=run.id,
                organisation=organisation,
                checked=checked,
                folder=run.folder,
            )

        intake.merge(finish)
        counts = intake.counts()
        record(connection, call, intake, counts)
        run.progress["refused"] = sum(count for code, count in counts.items() if code not in ACCEPTED)
        for code, count in counts.items():
            run.line(f"{code} — {message_of(code)}: {count}", "INFO" if code in ACCEPTED else "WARNING")
        run.finish(connection)

    def _file(self, connection: Connection, call: Call, organisation: str, file_id: UUID) -> FileInfo:
        """The file, which is the organisation's, or the fund's own where the fund uploads."""
        owner = files.owner_of(connection, file_id)
        if owner is None:
            raise GatewayError("object.not-found")
        own = [Owner(organisation), *([Owner()] if call.caller.kind is ClientKind.FUND else [])]
        if owner not in own:
            raise Foreign
        file = files.get(connection, file_id)
        if file is None:
            raise GatewayError("file.incomplete")
        return file

    def _former(self, run: Run) -> UUID | None:
        """The operation that loaded the same content last and took every record of it."""
        with run.work.store.begin() as connection:
            last = queries.last_upload(connection, run.parameters["organisation"], KIND)
        if last is None or last["sha256"] != run.parameters["sha256"] or last["refused"] != 0:
            return None
        found: UUID = last["id"]
        return found


def record(connection: Connection, call: Call, intake: Intake, counts: dict[str, int]) -> None:
    """The record of a merge in the audit: persons, or the numbers that their changes have in the list."""
    persons = queries.persons_changed(connection, AUDITED + 1)
    if len(persons) <= AUDITED:
        call.covers(persons)
    if intake.numbers is not None:
        call.details |= {"first_seq": intake.numbers[0], "last_seq": intake.numbers[1]}
    call.details["items"] = counts
    call.records = sum(count for code, count in counts.items() if code in ACCEPTED)
    refused = counts.keys() - ACCEPTED.keys()
    audit.write(connection, call, Outcome.PARTIAL if refused else Outcome.OK)


@works.operation(KIND, "Загрузка списка")
def body(run: Run) -> None:
    """The body of an upload."""
    work = run.work
    Uploading(work.settings, Nsi(work.store, work.clock), work.clock).upload(run)
