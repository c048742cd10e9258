"""Lines of uploaded lists whose persons were not known: completed once a load of the insured has brought them.

They are merged by the rules of an upload, in the name of the client who sent them; what became of each is noted on the
line, and a protocol goes into the mailbox of the organisation.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

from sqlalchemy import Connection, RowMapping

from gateway.access.model import Call
from gateway.errors import GatewayError
from gateway.lists import errand, queries, upload_protocol
from gateway.lists.intake import Intake
from gateway.lists.merging import Merging
from gateway.lists.upload_protocol import Checked
from gateway.lists.uploading import CALL, record
from gateway.nsi.dictionaries import Nsi
from gateway.operations import files, queue
from gateway.operations.queue import Work, task

TASK = "lists.aside"

_PORTION = 5_000
_log = logging.getLogger(__name__)


class Unhurried:
    """Nobody waits for this work, and nothing but the end of its process stops it."""

    def stage(self, text: str, total: int | None = None) -> None:
        return

    def advance(self, done: int) -> None:
        return


class Aside(Merging):
    """Completing what uploads have put aside."""

    def complete(self, connection: Connection, organisation: str, operation: UUID) -> dict[str, int]:
        """Merges the lines of an upload whose persons are known now; how many by code."""
        uploader = queries.uploader(connection, operation)
        call = self._call(connection, uploader, organisation, operation)
        intake = Intake(self, connection, call, organisation, operation, Unhurried())
        intake.take_up()
        if not intake.total:
            return {}
        file = files.get(connection, UUID(uploader["parameters"]["file"])) if uploader is not None else None
        name = file.name if file is not None else "list"
        checked = Checked(name, name, "")
        with TemporaryDirectory(prefix="dn-gateway-") as folder:
            intake.merge(lambda: self._report(connection, intake, checked, Path(folder), uploader is not None))
        counts = intake.counts()
        record(connection, call, intake, counts)
        return counts

    def _report(self, connection: Connection, intake: Intake, checked: Checked, folder: Path, kept: bool) -> None:
        queries.settle(connection, intake.operation)
        upload_protocol.write(
            connection,
            self.settings,
            operation=intake.operation if kept else None,
            organisation=intake.organisation,
            checked=checked,
            folder=folder,
            first_number=len(files.of_operation(connection, intake.operation)) + 1,
            label=f"_aside_{self.clock.today():%Y%m%d}",
        )

    def _call(self, connection: Connection, uploader: RowMapping | None, organisation: str, operation: UUID) -> Call:
        client_id, login, trace = (None, TASK, str(operation))
        if uploader is not None:
            client_id, login, trace = uploader["client_id"], uploader["login"], uploader["trace"]
        return Call(
            caller=errand.caller_of(connection, client_id, login),
            service=errand.SERVICE,
            operation=CALL,
            trace=trace,
            at=self.clock.now(),
            organisation=organisation,
            details={"operation": str(operation), "aside": True},
        )


def defer(connection: Connection) -> None:
    """Has the lines that wait looked at with the commit of this transaction, if there are any."""
    if queries.any_waiting(connection):
        queue.defer(connection, TASK, alone=TASK, single=True)


@task(TASK, long=True)
def complete(work: Work) -> None:
    """Completes the lines of every upload, one transaction each, and forgets what was settled ``operation_days`` ago."""
    feature = Aside(work.settings, Nsi(work.store, work.clock), work.clock)
    with work.store.begin() as connection:
        groups = queries.waiting(connection)
    for group in groups:
        try:
            with work.store.begin() as connection:
                feature.complete(connection, group["organisation"], group["operation_id"])
        except GatewayError as refusal:
            # such as a client that was disabled meanwhile: its lines go on waiting, those of others do not
            _log.warning(
                "Отложенные записи не внесены", extra={"operation": str(group["operation_id"]), "code": refusal.code}
            )
    before = work.clock.now() - timedelta(days=work.settings.operation_days)
    forgotten = True
    while forgotten:
        with work.store.begin() as connection:
            forgotten = queries.forget_settled(connection, before, _PORTION) > 0
