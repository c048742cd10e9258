"""Ways to upload lists in tests: files from plain rows, the operation run at once, what it left behind."""

from __future__ import annotations

import csv
import io
import tempfile
from dataclasses import replace
from typing import Any
from uuid import UUID

from sqlalchemy import text

from gateway.access.model import Call
from gateway.operations import files, works
from gateway.operations.model import Operation, Owner
from gateway.operations.queue import Work
from tests.lists.region import CLINIC, OTHER, Region

NAMES = {
    "external_id": "externalId", "enp": "enp", "diagnosis": "diagnosis", "diagnosed_on": "diagnosedOn",
    "organisation": "organisation", "doctor_snils": "doctorSnils", "specialty": "specialty",
    "observed_since": "observedSince", "planned_months": "plannedMonths", "excluded_on": "excludedOn",
    "exclusion_reason": "exclusionReason",
}  # fmt: skip


def table(*rows: dict[str, Any]) -> bytes:
    """A list in CSV; only columns that a row has."""
    used = [name for name in NAMES if any(name in row for row in rows)]
    out = io.StringIO()
    writer = csv.writer(out, delimiter=";")
    writer.writerow([NAMES[name] for name in used])
    writer.writerows([["" if row.get(name) is None else row[name] for name in used] for row in rows])
    return out.getvalue().encode()


def work_of(place: Region) -> Work:
    return Work(place.store, None, replace(place.settings, data_dir=tempfile.gettempdir()), place.lists.clock)


def put(place: Region, content: bytes, name: str = "list.csv", organisation: str = CLINIC) -> UUID:
    with place.store.begin() as connection:
        return files.put(connection, place.settings, owner=Owner(organisation), client_id=1, name=name, content=content)


def request(place: Region, file_id: UUID, organisation: str = CLINIC, call: Call | None = None) -> UUID:
    call = call or place.call("UploadList", organisations=[organisation])
    with place.store.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO client (id, login, kind, organisations) VALUES (1, 'clinic', 'MO', :organisations)"
                " ON CONFLICT DO NOTHING"
            ),
            {"organisations": [CLINIC, OTHER]},
        )
    with place.store.begin() as connection:
        return place.lists.request_upload(connection, call, organisation, file_id, "MERGE")


def state(place: Region, operation: UUID) -> Operation:
    with place.store.begin() as connection:
        found = works.get(connection, operation)
    assert found is not None
    return found


def upload(place: Region, content: bytes, name: str = "list.csv", organisation: str = CLINIC) -> Operation:
    """Puts a file, asks for its upload and does the work."""
    operation = request(place, put(place, content, name, organisation), organisation)
    works.run(work_of(place), str(operation))
    return state(place, operation)


def protocol(place: Region, operation: UUID, suffix: str = ".csv", *, after: str = "") -> bytes:
    """The newest protocol file of an operation with the suffix."""
    with place.store.begin() as connection:
        found = [one for one in files.of_operation(connection, operation) if one.name.endswith(suffix)]
        found = [one for one in found if after in one.name]
        return files.read(connection, found[-1].file_id, 0, found[-1].size)


def codes(place: Region, operation: Operation | UUID, **given: Any) -> list[str]:
    """Codes of the records in order, as the protocol for people says them."""
    number = operation if isinstance(operation, UUID) else operation.operation_id
    rows = csv.reader(io.StringIO(protocol(place, number, **given).decode("utf-8-sig")), delimiter=";")
    return [row[1] for row in list(rows)[1:]]


def uploaded(place: Region, *rows: dict[str, Any], organisation: str = CLINIC) -> list[str]:
    """Codes of the records of a list that is uploaded."""
    done = upload(place, table(*rows), organisation=organisation)
    assert done.state == "DONE", done
    return codes(place, done)


def entries(place: Region, organisation: str = CLINIC) -> list[dict[str, Any]]:
    with place.store.begin() as connection:
        rows = connection.execute(
            text("SELECT * FROM entry WHERE organisation = :organisation ORDER BY id"), {"organisation": organisation}
        )
        return [dict(row) for row in rows.mappings()]


def events(place: Region, organisation: str = CLINIC) -> list[tuple[Any, ...]]:
    """(seq, version, kind, cause) in order."""
    with place.store.begin() as connection:
        rows = connection.execute(
            text("SELECT seq, version, kind, cause FROM entry_event WHERE organisation = :organisation ORDER BY seq"),
            {"organisation": organisation},
        )
        return [tuple(row) for row in rows]
