"""Who a run of long work acts for: the call that ledger and audit record for it."""

from __future__ import annotations

from sqlalchemy import Connection

from gateway.access.model import Call, Caller, ClientKind
from gateway.errors import GatewayError
from gateway.lists import queries
from gateway.operations.works import Run

SERVICE = "operation"
OPERATOR = 0
"""Stands for `client_id` where the operator began the work at the command line; the audit leaves it out."""


def call_of(connection: Connection, run: Run, operation: str) -> Call:
    """The call of a run: its client as it stands now, or the operator, who sees every list as the fund does.

    ``operation`` is the name in the audit, as in the contract. Raises ``access.denied`` for a client that is
    gone and ``access.client-disabled``.
    """
    return Call(
        caller=caller_of(connection, run.client_id, run.login),
        service=SERVICE,
        operation=operation,
        trace=run.trace,
        at=run.work.clock.now(),
        organisation=run.owner.organisation,
        details={"operation": str(run.id)},
    )


def caller_of(connection: Connection, client_id: int | None, login: str) -> Caller:
    """The client as it stands; the operator where ``client_id`` is absent. Raises ``access.client-disabled``."""
    if client_id is None:
        return Caller(OPERATOR, login, ClientKind.FUND, frozenset(), None, frozenset())
    client = queries.client_of(connection, client_id)
    if client is None:
        raise GatewayError("access.denied")
    if client["disabled_at"] is not None:
        raise GatewayError("access.client-disabled")
    return Caller(
        client_id=client["id"],
        login=client["login"],
        kind=ClientKind(client["kind"]),
        organisations=frozenset(client["organisations"]),
        insurer=client["insurer"],
        rights=frozenset(client["rights"]),
        requests_per_minute=client["requests_per_minute"],
    )
