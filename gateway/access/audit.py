"""The audit: one record per call in an append-only table. What its columns hold, and how a record is written.

A record says who (client, login, address), when, what (service, operation, organisation), over whom (persons, or the
range of a snapshot) and with what outcome. It is the journal behind `GetMyCalls` as well. Order 21 of ФСТЭК (measures
РСБ) and the law 152-ФЗ ask for it.
"""

from __future__ import annotations

import getpass
import json
import os
import re
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection

from gateway.access.model import Attempt, Call, Outcome
from gateway.store.engine import Driver, driver_of

AUDIT_COLUMNS = (
    "trace", "client_id", "login", "address", "service", "operation", "organisation", "request_id", "outcome", "code",
    "persons", "snapshot_id", "first_record", "records", "details",
)  # fmt: skip
"""The columns a writer fills; `id` and `at` (the database's clock) fill themselves."""

LOGIN = re.compile(r"[A-Za-z0-9._-]{3,64}")

_TYPES = {
    "client_id": "bigint", "request_id": "uuid", "persons": "bigint[]", "snapshot_id": "uuid",
    "first_record": "bigint", "records": "integer", "details": "jsonb",
}  # fmt: skip
_OPERATOR = "operator"


def values(call: Call, outcome: Outcome = Outcome.OK, code: str | None = None) -> dict[str, Any]:
    """The record of a call by column, ready for psycopg: persons each once in order, details as JSON text."""
    return {
        "trace": call.trace,
        "client_id": call.caller.client_id or None,
        "login": call.caller.login,
        "address": call.address or None,
        "service": call.service,
        "operation": call.operation,
        "organisation": call.organisation,
        "request_id": call.request_id,
        "outcome": str(outcome),
        "code": code,
        "persons": sorted(set(call.persons)) or None,
        "snapshot_id": call.snapshot_id,
        "first_record": call.first_record,
        "records": call.records,
        "details": json.dumps(call.details, ensure_ascii=False, default=str) if call.details else None,
    }


def sql_values(**expressions: str) -> str:
    """The ``INSERT`` for a CTE of a hot statement, so that reading and its record are one round trip and one commit.

    ``expressions`` gives the SQL of columns that the statement itself finds, such as
    ``persons="(SELECT array_agg(id) FROM found)"``; all others are parameters that `parameters` fills.
    """
    shown = (expressions.get(name, f"%(audit_{name})s::{_TYPES.get(name, 'text')}") for name in AUDIT_COLUMNS)
    return f"INSERT INTO audit_record ({', '.join(AUDIT_COLUMNS)}) SELECT {', '.join(shown)}"


def parameters(call: Call, outcome: Outcome = Outcome.OK, code: str | None = None) -> dict[str, Any]:
    """`values` under the names that `sql_values` uses, ``audit_`` before each."""
    return {f"audit_{name}": value for name, value in values(call, outcome, code).items()}


_INSERT = sql_values().encode()
_INSERT_ATTEMPT = sql_values(login="(SELECT login FROM client WHERE login = %(audit_login)s)").encode()


def write(connection: Connection, call: Call, outcome: Outcome = Outcome.OK, code: str | None = None) -> None:
    """The record of a call inside its transaction."""
    write_on(driver_of(connection), call, outcome, code)


def write_on(driver: Driver, call: Call, outcome: Outcome = Outcome.OK, code: str | None = None) -> None:
    """The same on a connection of the driver."""
    driver.execute(_INSERT, parameters(call, outcome, code))


def write_attempt(driver: Driver, attempt: Attempt, outcome: Outcome, code: str) -> None:
    """The record of a call that had no caller. A name that is no client's may be a password or an ЕНП: left out."""
    login = attempt.login if attempt.login and LOGIN.fullmatch(attempt.login) else None
    _write_plain(
        driver,
        _INSERT_ATTEMPT,
        trace=attempt.trace,
        login=login,
        address=attempt.address or None,
        service=attempt.service,
        operation=attempt.operation,
        request_id=attempt.request_id,
        outcome=str(outcome),
        code=code,
    )


def note(connection: Connection, operation: str, details: Mapping[str, Any]) -> None:
    """The record of what an operator did (service ``operator``), with the system account that did it: clients, secrets,
    loads, months, export and retention of the audit."""
    _write_plain(
        driver_of(connection),
        _INSERT,
        trace=str(uuid4()),
        service=_OPERATOR,
        operation=operation,
        outcome=str(Outcome.OK),
        details=json.dumps({**details, "account": account()}, ensure_ascii=False, default=str),
    )


def account() -> str:
    """The system account of this process; its number where the account has no name (a container)."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _write_plain(driver: Driver, statement: bytes, **given: Any) -> None:
    driver.execute(statement, {f"audit_{name}": given.get(name) for name in AUDIT_COLUMNS})
