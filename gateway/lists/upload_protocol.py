"""The files that tell what became of an uploaded list: for people CSV and XLSX, for machines FLK_P.

They go into the mailbox of the organisation and belong to the operation of the upload.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from uuid import UUID

from sqlalchemy import Connection

from gateway.formats import flk, list_protocol
from gateway.formats.flk import FlkProblem
from gateway.formats.list_protocol import Line
from gateway.lists import queries
from gateway.operations.files import Writer
from gateway.operations.model import Owner
from gateway.settings import Settings

KIND = "PROTOCOL"

_PORTION = 5_000
_CHUNK = 1 << 20
_STEM_CHARS = 150

_ELEMENTS = {
    "externalId": "CODE_L",
    "enp": "ENP",
    "diagnosis": "DIAG_CODE",
    "diagnosedOn": "DIAG_DATE",
    "observedSince": "DATE_DN_IN",
    "excludedOn": "DATE_DN_OUT",
    "exclusionReason": "REASON_DN_OUT",
    "specialty": "DN_PRVS",
    "organisation": "MCOD",
}
"""Names of the contract in DN_LIST."""

_BASES = {"DN_LIST": "ZAP", "XML": "entries"}

_SPOKEN_OF = (
    ("person.snils", "doctorSnils"),
    ("person.", "enp"),
    ("diagnosis.date", "diagnosedOn"),
    ("diagnosis.", "diagnosis"),
    ("observation.date", "observedSince"),
    ("observation.overlap", "observedSince"),
    ("observation.not-open", "externalId"),
    ("observation.", "enp"),
    ("plan.", "plannedMonths"),
    ("doctor.specialty", "specialty"),
    ("doctor.", "doctorSnils"),
    ("exclusion.reason", "exclusionReason"),
    ("exclusion.", "excludedOn"),
    ("conflict.external-id", "externalId"),
    ("upload.person", "enp"),
    ("upload.diagnosis", "diagnosis"),
    ("upload.organisation", "organisation"),
    ("upload.", "externalId"),
)
"""Beginnings of codes and the field of a record that they speak of."""


@dataclass(frozen=True, slots=True)
class Checked:
    """The file that was uploaded: its name, the name of the data file inside, its format."""

    name: str
    inner: str
    format: str


def write(
    connection: Connection, settings: Settings, *, operation: UUID | None, organisation: str, checked: Checked,
    folder: Path, first_number: int = 1, label: str = "",
) -> None:  # fmt: skip
    """Writes the three files from the records and verdicts of the upload in this transaction.

    ``label`` tells the names of a later protocol from those of the first.
    """
    stem = PurePath(checked.name).stem[:_STEM_CHARS] + label

    def put(number: int, name: str, portions: Iterable[bytes]) -> None:
        with Writer(
            connection, settings, name=name, kind=KIND, owner=Owner(organisation), operation_id=operation,
            number=first_number + number, mailbox=True,
        ) as out:  # fmt: skip
            for portion in portions:
                out.write(portion)

    put(0, f"{stem}_protocol.csv", list_protocol.table(_lines(connection, refused=False)))
    book = folder / "protocol.xlsx"
    about = {"Файл": checked.name, "Медицинская организация": organisation, "Операция": str(operation or "")}
    counts = queries.counts(connection)
    list_protocol.book(book, about, counts, _lines(connection, refused=True), folder)
    put(1, f"{stem}_protocol.xlsx", _content(book))
    name = flk.name_of(f"{PurePath(checked.inner).stem[:_STEM_CHARS]}{label}.xml")
    put(2, name, flk.protocol(name, checked.inner, _problems(connection, checked.format)))


def _lines(connection: Connection, *, refused: bool) -> Iterator[Line]:
    after = 0
    while rows := queries.protocol_lines(connection, after, _PORTION, refused=refused):
        for row in rows:
            field = row["field"] or (_field(row["code"]) if not row["code"].startswith("ok") else None)
            yield Line(row["number"], row["code"], field, row["entry_id"])
        after = rows[-1]["number"]


def _problems(connection: Connection, format: str) -> Iterator[FlkProblem]:
    base = _BASES.get(format)
    for line in _lines(connection, refused=True):
        field = line.field
        element = _ELEMENTS.get(field, field) if field and format == "DN_LIST" else field
        yield FlkProblem(line.code, element, base, line.number)


def _field(code: str) -> str | None:
    return next((field for start, field in _SPOKEN_OF if code.startswith(start)), None)


def _content(path: Path) -> Iterator[bytes]:
    with path.open("rb") as source:
        while content := source.read(_CHUNK):
            yield content
