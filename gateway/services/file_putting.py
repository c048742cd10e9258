"""What PUT at the HTTP door does with the database: in a thread, piece by piece, and nothing visible before the last."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from gateway.access import calls, queries
from gateway.access.model import Foreign
from gateway.errors import GatewayError
from gateway.operations import files
from gateway.operations.model import FileInfo, Owner
from gateway.services import file_headers, ownership, transfer
from gateway.services.contract import Desk
from gateway.services.file_visit import Visit
from gateway.store.engine import driver_of


@dataclass(slots=True)
class Incoming:
    """A file that is being put: whose it is, and what has come of it. ``known``: it was there before."""

    name: str
    owner: Owner
    known: FileInfo | None
    size: int = 0
    digest: Any = field(default_factory=hashlib.sha256)


class Putting:
    """Begins, stores and finishes files that come as bodies."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def begin(self, visit: Visit) -> Incoming:
        """In a thread: whose the file is, and that nothing of an earlier try is left."""
        file_id, call = visit.file_id, visit.call
        call.caller.may_change()
        expected = file_headers.sha256_of(visit.headers)
        name = files.checked_name(file_headers.name_of(visit.headers) or str(file_id))
        call.details["file"] = str(file_id)
        with self._begun() as connection:
            owner = files.owner_of(connection, file_id)
            if owner is None:
                owner = ownership.owner_for(connection, call.caller, visit.organisation)
            elif not ownership.scope_of(call.caller).sees(owner):
                raise Foreign()
            call.organisation = owner.organisation
            known = files.restart(
                connection,
                self._desk.settings,
                owner=owner,
                client_id=call.caller.client_id,
                file_id=file_id,
                name=name,
            )
        if known is not None and expected not in (None, known.sha256):
            raise GatewayError("file.complete")
        return Incoming(name, owner, known)

    def store(self, visit: Visit, coming: Incoming, content: bytes) -> None:
        """In a thread: the next piece of the body; only counted where the file is there already."""
        coming.digest.update(content)
        if coming.known is None:
            with self._begun() as connection:
                self._put(connection, visit, coming, content, last=False)
        coming.size += len(content)

    def finish(self, visit: Visit, coming: Incoming, content: bytes) -> FileInfo:
        """In a thread: the last piece, with which the file appears, and the record of the call."""

        def finished(connection: Connection) -> FileInfo:
            _bound_waits(connection)
            visit.call.details["length"] = visit.bytes_in
            if file_headers.sha256_of(visit.headers) not in (None, coming.digest.hexdigest()):
                raise GatewayError("file.sha256")
            if coming.known is None:
                self._put(connection, visit, coming, content, last=True)
            elif coming.known.sha256 != coming.digest.hexdigest():
                raise GatewayError("file.complete")
            file = files.get(connection, visit.file_id)
            if file is None:
                raise GatewayError("object.not-found")
            transfer.note(visit.call, file)
            return file

        coming.digest.update(content)
        return calls.read(self._desk.store, visit.call, finished)

    @contextmanager
    def _begun(self) -> Iterator[Connection]:
        """A transaction that waits for nobody's lock for long."""
        with self._desk.store.begin() as connection:
            _bound_waits(connection)
            yield connection

    def _put(self, connection: Connection, visit: Visit, coming: Incoming, content: bytes, *, last: bool) -> None:
        files.put_part(
            connection,
            self._desk.settings,
            owner=coming.owner,
            client_id=visit.call.caller.client_id,
            file_id=visit.file_id,
            name=coming.name,
            offset=coming.size,
            content=content,
            last=last,
            sha256=coming.digest.hexdigest() if last else None,
        )


def _bound_waits(connection: Connection) -> None:
    queries.bound_waits(driver_of(connection), calls.LOCK_MS, calls.STATEMENT_MS)
