"""Whose long work and files are: what a client sees, what it makes, and its objects by id.

An object of somebody else answers like a missing one; the audit tells them apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from gateway.access.model import Call, Caller, ClientKind, Foreign
from gateway.errors import GatewayError
from gateway.operations import files, works
from gateway.operations.model import FileInfo, Operation, Owner, Scope

if TYPE_CHECKING:
    from sqlalchemy import Connection


def scope_of(caller: Caller) -> Scope:
    """Whose operations and files a client sees: a clinic those of its organisations, an insurer its own, the fund all."""
    if caller.kind is ClientKind.INSURER:
        return Scope(insurer=caller.insurer)
    return Scope(None if caller.kind is ClientKind.FUND else caller.organisations)


def owner_for(connection: Connection, caller: Caller, organisation: str | None) -> Owner:
    """Whose will be what a client makes; ``organisation`` is the one that its call names.

    Raises ``organisation.required`` and ``object.not-found`` as every call of a clinic does; ``object.not-found`` also
    where the fund names an organisation that there is not.
    """
    if caller.kind is ClientKind.INSURER:
        return Owner(insurer=caller.insurer)
    if caller.kind is ClientKind.FUND:
        if organisation is not None and not files.is_organisation(connection, organisation):
            raise GatewayError("object.not-found")
        return Owner(organisation)
    return Owner(caller.own(organisation))


def named(call: Call, organisation: str | None) -> None:
    """Notes an organisation that a call may name but does not need; one outside the caller's set is refused."""
    if organisation is not None:
        if not call.caller.sees(organisation):
            raise Foreign()
        call.organisation = organisation


def operation_of(connection: Connection, call: Call, operation_id: str) -> Operation:
    """An operation of the caller's. Raises ``object.not-found``."""
    found = works.get(connection, UUID(operation_id))
    if found is None:
        raise GatewayError("object.not-found")
    _check(call, found.owner)
    return found


def file_owner_of(connection: Connection, call: Call, file_id: str) -> Owner:
    """Whose a file of the caller's is, also one that is still being received. Raises ``object.not-found``."""
    owner = files.owner_of(connection, UUID(file_id))
    if owner is None:
        raise GatewayError("object.not-found")
    _check(call, owner)
    return owner


def file_of(connection: Connection, call: Call, file_id: str) -> FileInfo:
    """A whole file of the caller's. Raises ``object.not-found``, ``file.incomplete``."""
    file_owner_of(connection, call, file_id)
    found = files.get(connection, UUID(file_id))
    if found is None:
        raise GatewayError("file.incomplete")
    return found


def _check(call: Call, owner: Owner) -> None:
    if not scope_of(call.caller).sees(owner):
        raise Foreign()
    call.organisation = owner.organisation
