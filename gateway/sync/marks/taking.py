"""One packet taken, in one transaction: read whole, its persons found, its marks put into lists, everything kept and told."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from gateway.access import audit
from gateway.access.model import Call, Outcome
from gateway.domain.marks import Step
from gateway.errors import ACCEPTED, GatewayError
from gateway.formats.zl_list import Packet
from gateway.lists import Lists
from gateway.lists.marking import MarkItem
from gateway.store import failures
from gateway.sync.marks import queries, report, staging

PORTION = 1_000
TRIES = 4
AUDITED = 1_000
"""So many persons are named in the audit record of a packet; of more, the rows of `mark` tell them."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a packet came from: its file of the gateway, the clinic that put it (None: the fund), the operation."""

    file_id: UUID
    clinic: str | None
    operation_id: UUID


@dataclass(slots=True)
class Taken:
    """What became of a packet: cases read, counts by code and by step, entries sent to review. ``same``: it was taken
    before."""

    cases: int = 0
    codes: dict[str, int] = field(default_factory=dict)
    steps: dict[str, int] = field(default_factory=dict)
    cares: int = 0
    reviews: int = 0
    same: bool = False


class Taking:
    """The work on one packet; ``folder`` is scratch."""

    def __init__(self, lists: Lists, connection: Connection, call: Call, source: Source, folder: Path) -> None:
        self._lists = lists
        self._connection = connection
        self._call = call
        self._source = source
        self._folder = folder
        self._dry = False

    def take(self, packet: Packet, *, dry: bool, advance: Callable[[int], None]) -> Taken:
        """Takes the packet over, or with ``dry`` only tells what it would do.

        Raises ``mark.organisation``, ``file.structure``, ``server.busy``; then nothing of it may be committed.
        """
        connection, account = self._connection, packet.account
        self._dry = dry
        self._call.organisation = account.organisation
        clinic = self._source.clinic
        if clinic is not None and clinic != account.organisation:
            raise GatewayError("mark.organisation")
        sha256 = digest(packet.files)
        queries.take_turn(connection, account.organisation)
        if queries.is_taken(connection, sha256):
            if not dry:
                self._note(packet, sha256, "SAME")
            return Taken(same=True)
        taken = Taken(staging.stage(connection, packet, clinic=clinic, advance=advance))
        queries.find_persons(connection)
        path = self._folder / "report.csv"
        undo = connection.begin_nested()
        told = self._put(packet, sha256, taken, path)
        if dry:
            undo.rollback()
        else:
            undo.commit()
        self._report(packet, path, told)
        self._audit(packet, taken, sha256)
        return taken

    def _put(self, packet: Packet, sha256: str, taken: Taken, path: Path) -> int:
        """Decides and writes, anew if other transactions got in the way; how many rows the report has."""
        for _ in range(TRIES):
            self._call.persons.clear()
            try:
                with self._connection.begin_nested():
                    return self._try(packet, sha256, taken, path)
            except DBAPIError as error:
                if not failures.is_conflict(error):
                    raise
        raise GatewayError("server.busy")

    def _try(self, packet: Packet, sha256: str, taken: Taken, path: Path) -> int:
        connection, account = self._connection, packet.account
        first = account.first or (None, None)
        queries.find_former(
            connection, organisation=account.organisation, year=account.year, account=account.code,
            kind=packet.name.kind, first_account=first[0], first_year=first[1],
        )  # fmt: skip
        gone = queries.replace(connection, by=self._call.caller.login)
        reviews = review(self._lists, connection, self._call, gone)
        self._mark(packet)
        file = self._note(packet, sha256, "TAKEN")
        taken.cares = queries.keep(connection, file)
        taken.codes, taken.steps = queries.counts(connection), queries.steps(connection)
        taken.reviews = sum(len(rows) for rows in reviews.values())
        queries.keep_counts(connection, file, taken.codes)
        own = reviews.pop(account.organisation, [])
        self._tell_others(packet, reviews)
        return report.spool(path, packet.name.text, _chain(report.told(connection), own))

    def _mark(self, packet: Packet) -> None:
        """Puts the marks into lists, a portion of people at a time."""
        connection = self._connection
        for organisation in queries.clinics(connection):
            after = 0
            while rows := queries.portion(connection, organisation, after, PORTION):
                items = [item(row, packet.name.text) for row in rows]
                results = self._lists.mark(connection, self._call, organisation, items)
                queries.copy_results(connection, ((one.number, one.step, one.code, one.entry_id) for one in results))
                after = rows[-1]["person_id"]
        queries.put_aside(connection)
        queries.settle_results(connection)

    def _note(self, packet: Packet, sha256: str, state: str) -> int:
        account = packet.account
        return queries.insert_file(
            self._connection, name=packet.name.text, kind=packet.name.kind, sha256=sha256, state=state, code=None,
            organisation=account.organisation, year=account.year, month=account.month, account=account.code,
            account_number=account.number, account_date=account.dated, file_id=self._source.file_id,
            operation_id=self._source.operation_id,
        )  # fmt: skip

    def _report(self, packet: Packet, path: Path, told: int) -> None:
        """The clinic's own report; a clinic that put the packet itself is told also that there is nothing to tell."""
        organisation = packet.account.organisation
        if not (told or self._source.clinic or self._dry):
            return
        known = queries.is_organisation(self._connection, organisation)
        report.put(
            self._connection, self._lists.settings, name=f"{packet.name.text}_marks{'_plan' if self._dry else ''}.csv",
            content=path, organisation=organisation if known and not self._dry else self._source.clinic,
            operation=self._source.operation_id, mailbox=known and not self._dry,
        )  # fmt: skip

    def _tell_others(self, packet: Packet, reviews: Mapping[str, list[dict[str, Any]]]) -> None:
        """Reports to clinics that hold entries of this clinic's cases now."""
        for organisation, rows in reviews.items():
            report.put(
                self._connection, self._lists.settings, name=f"{packet.name.text}_review.csv",
                content=report.text(packet.name.text, rows), organisation=organisation,
                operation=self._source.operation_id, mailbox=True,
            )  # fmt: skip

    def _audit(self, packet: Packet, taken: Taken, sha256: str) -> None:
        call = self._call
        if len(set(call.persons)) > AUDITED:
            call.persons.clear()
        call.details |= {"file": packet.name.text, "sha256": sha256, "items": taken.codes, "cares": taken.cares}
        if self._dry:
            call.details["dry"] = True
        call.records = sum(taken.steps.get(step, 0) for step in (Step.ADD, Step.CONFIRM, Step.END))
        refused = taken.codes.keys() - ACCEPTED.keys()
        audit.write(self._connection, call, Outcome.PARTIAL if refused else Outcome.OK)


def item(row: Mapping[str, Any], file: str) -> MarkItem:
    """A mark that waits, as lists take it."""
    details = {"file": file, "idcase": row["case_id"], "slId": row["episode"]}
    return MarkItem(row["number"], row["enp"], row["code"], row["diagnosis"], row["marked_on"], details)


def review(
    lists: Lists, connection: Connection, call: Call, gone: Sequence[Mapping[str, Any]]
) -> dict[str, list[dict[str, Any]]]:
    """Sends the entries that marks which are gone have made or ended to review; rows of reports by organisation."""
    made = {row["entry_id"]: row for row in gone if row["entry_id"] and row["step"] in (Step.ADD, Step.END)}
    details = {
        entry: {"file": row["file"], "idcase": row["case_id"], "slId": row["episode"], "mark": str(row["code"])}
        for entry, row in made.items()
    }
    found = lists.review(connection, call, made, details)
    return {organisation: [_told(made[entry]) for entry in entries] for organisation, entries in sorted(found.items())}


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "mark": row["code"], "code": "mark.taken-back"}


def _chain(rows: Iterable[Mapping[str, Any]], others: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    yield from rows
    yield from others


def digest(files: Iterable[Path]) -> str:
    """SHA-256 over the contents of a packet: the same files packed anew are the same packet."""
    made = hashlib.sha256()
    for path in files:
        with path.open("rb") as source:
            while piece := source.read(1 << 20):
                made.update(piece)
    return made.hexdigest()
