"""Long work: its start, state, protocol and abort.

Every operation ends as DONE, FAILED (code and Russian message) or ABORTED. A run whose process died is followed by
another one; a run that was replaced writes nothing more.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection

from gateway.errors import GatewayError
from gateway.operations import queries, runs
from gateway.operations.kinds import BODIES, Body, operation
from gateway.operations.model import Operation, Owner, ProtocolLine, Scope, State
from gateway.operations.run import Run
from gateway.operations.runs import EXPIRE, run

__all__ = [
    "BODIES", "EXPIRE", "Body", "Run", "counts", "get", "lines", "operation", "page", "request_abort", "run", "start",
]  # fmt: skip


def start(
    connection: Connection,
    kind: str,
    parameters: Mapping[str, Any],
    *,
    owner: Owner,
    client_id: int | None,
    login: str,
    trace: str,
    most: int | None = None,
) -> UUID:
    """Begins an operation with the transaction of ``connection``; ``parameters`` are JSON without personal values.

    Raises ``operation.too-many`` for a client that has ``most`` unfinished ones: it would hold up everybody else.
    """
    if kind not in BODIES:
        raise KeyError(kind)
    if most is not None and client_id is not None and queries.unfinished(connection, client_id) >= most:
        raise GatewayError("operation.too-many", limit=most)
    operation_id = uuid4()
    queries.insert_operation(
        connection,
        operation_id,
        kind,
        owner,
        parameters,
        client_id=client_id,
        login=login,
        trace=trace,
        job_id=runs.defer(connection, operation_id),
    )
    return operation_id


def get(connection: Connection, operation_id: UUID) -> Operation | None:
    return queries.operation(connection, operation_id)


def lines(connection: Connection, operation_id: UUID, from_line: int = 1, count: int = 1000) -> list[ProtocolLine]:
    """The protocol from a line on; lines are numbered from 1."""
    return queries.operation_lines(connection, operation_id, from_line, count)


def page(
    connection: Connection,
    scope: Scope,
    *,
    organisation: str | None = None,
    kind: str | None = None,
    state: str | None = None,
    since: datetime | None = None,
    start: int = 1,
    count: int = 100,
) -> tuple[int, list[Operation]]:
    """How many operations of the scope there are and ``count`` of them from number ``start`` on, newest first.

    ``since`` is the earliest moment of their beginning. Raises ``operation.kind`` for an unknown kind or state.
    """
    if (kind is not None and kind not in BODIES) or (state is not None and state not in State.__members__):
        raise GatewayError("operation.kind")
    return queries.operations(
        connection,
        scope,
        organisation=organisation,
        kind=kind,
        state=state,
        since=since,
        skip=start - 1,
        count=count,
    )


def counts(connection: Connection) -> dict[tuple[str, str], int]:
    """How many operations the database keeps, by kind and state."""
    return queries.operation_counts(connection)


def request_abort(connection: Connection, operation_id: UUID, by: str) -> Operation:
    """Asks an operation to end: one that waits ends at once, one that runs at its next safe point, an ended one stays.

    Raises ``object.not-found``.
    """
    standing = queries.lock_operation(connection, operation_id)
    if standing is None:
        raise GatewayError("object.not-found")
    if not standing.state.ended:
        queries.note_abort(connection, operation_id, by)
    if standing.state is State.QUEUED:
        runs.end(connection, standing, State.ABORTED, "operation.aborted")
    found = queries.operation(connection, operation_id)
    assert found is not None
    return found
