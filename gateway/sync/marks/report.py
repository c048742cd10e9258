"""What clinics are told of the marks of their registers: CSV in the mailbox, as Excel in Russian opens it.

UTF-8 with BOM, ``;``, CRLF. Rows are refusals, marks that wait for their person, marks that did not go as they were said,
and entries sent to review. Cases are named by their numbers; nothing names a person.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from gateway.errors import ACCEPTED, KINDS
from gateway.formats.cells import exact, harmless
from gateway.formats.list_protocol import message_of
from gateway.operations.files import Writer
from gateway.operations.model import Owner
from gateway.settings import Settings
from gateway.sync.marks import queries

KIND = "PROTOCOL"
TITLES = (
    "Файл", "№ записи", "Случай", "SL_ID", "Признак", "Значение", "Диагноз", "Дата", "Код", "Сообщение", "Элемент",
    "Что сделать", "Идентификатор записи ДН",
)  # fmt: skip

_PORTION = 2_000
_CHUNK = 1 << 20


def told(connection: Connection) -> Iterator[Mapping[str, Any]]:
    """The rows of the packet in the temporary tables."""
    after = (0, -1)
    while rows := queries.told(connection, after, _PORTION):
        yield from rows
        after = rows[-1]["case_number"], rows[-1]["number"]


def spool(path: Path, file: str, rows: Iterable[Mapping[str, Any]]) -> int:
    """Writes the table to local disk; how many rows it has."""
    count = 0
    with path.open("w", encoding="utf-8-sig", newline="") as out:
        writer = csv.writer(out, delimiter=";", lineterminator="\r\n")
        writer.writerow(TITLES)
        for row in rows:
            writer.writerow(_cells(file, row))
            count += 1
    return count


def text(file: str, rows: Iterable[Mapping[str, Any]]) -> bytes:
    """A small table."""
    out = io.StringIO("\ufeff", newline="")
    out.seek(0, io.SEEK_END)
    writer = csv.writer(out, delimiter=";", lineterminator="\r\n")
    writer.writerow(TITLES)
    writer.writerows(_cells(row.get("file") or file, row) for row in rows)
    return out.getvalue().encode()


def put(
    connection: Connection,
    settings: Settings,
    *,
    name: str,
    content: Path | bytes,
    organisation: str | None,
    operation: UUID | None,
    mailbox: bool,
) -> None:
    """Makes a file of the table: in the mailbox of the organisation, or only beside the operation."""
    with Writer(
        connection, settings, name=name, kind=KIND, owner=Owner(organisation), operation_id=operation, mailbox=mailbox
    ) as out:
        if isinstance(content, bytes):
            out.write(content)
            return
        with content.open("rb") as source:
            while piece := source.read(_CHUNK):
                out.write(piece)


def _cells(file: str, row: Mapping[str, Any]) -> list[Any]:
    code = row["code"]
    remedy = "" if code in ACCEPTED else KINDS[code].remedy
    plain = (
        file, row.get("record"), row["case_id"], row["episode"], row["carrier"], row["mark"], row["diagnosis"],
        row["marked_on"], code, message_of(code), row.get("field"), remedy,
    )  # fmt: skip
    # numbers of cases come from strangers
    return [*map(harmless, plain), exact(row["entry_id"])]
