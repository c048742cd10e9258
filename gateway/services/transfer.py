"""Files on their way in, whole or in parts, and what the audit keeps of a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID

from gateway.access.model import Call
from gateway.errors import GatewayError
from gateway.operations import files
from gateway.operations.model import FileInfo
from gateway.services import ownership
from gateway.services.contract import Desk

if TYPE_CHECKING:
    from sqlalchemy import Connection

_EXTENSIONS = frozenset({"csv", "dbf", "p7s", "sig", "txt", "xlsx", "xml", "zip"})


def put_part(desk: Desk, connection: Connection, call: Call, request: Any, offset: int, last: bool) -> UUID:
    """Takes a part of a file into a new or begun file of the caller's; its id."""
    call.caller.may_change()
    if request.file_id is None:
        file_id, owner = None, ownership.owner_for(connection, call.caller, request.organisation)
    else:
        file_id, owner = UUID(request.file_id), ownership.file_owner_of(connection, call, request.file_id)
        if request.organisation not in (None, owner.organisation):
            raise GatewayError("object.not-found")
    call.organisation = owner.organisation
    made = files.put_part(
        connection,
        desk.settings,
        owner=owner,
        client_id=call.caller.client_id,
        file_id=file_id,
        name=request.file_name,
        offset=offset,
        content=request.content,
        last=last,
        sha256=request.sha256,
    )
    call.details |= {"file": str(made), "extension": _extension(request.file_name), "offset": offset}
    return made


def note(call: Call, file: FileInfo) -> None:
    """What the audit keeps of a file: never its name, which a client may have made of a person's."""
    call.details |= {"file": str(file.file_id), "kind": file.kind, "extension": _extension(file.name)}


def _extension(name: str) -> str | None:
    """The extension of a file's name, if it is a known one."""
    found = name.rpartition(".")[2].lower()
    return found if found in _EXTENSIONS else None
