"""Clients and calls for the tests of access."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from types import SimpleNamespace
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from gateway.access import clients, rights
from gateway.access.gate import Gate
from gateway.access.model import Call, Caller, ClientKind
from gateway.domain.clock import Clock
from gateway.settings import Settings
from gateway.store.engine import Store

SETTINGS = Settings(guess_delay_seconds=1.0)


class Hands:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.at: datetime | None = None

    def __call__(self) -> datetime:
        return self.at or datetime.now(UTC)


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def make_gate(store: Store, hands: Hands) -> Iterator[Callable[..., Gate]]:
    """Makes gates, each with the memory and threads of a process of its own."""
    made: list[Gate] = []

    def make(on: Store | None = None, settings: Settings = SETTINGS) -> Gate:
        gate = Gate(on or store, settings, Clock(source=hands))
        made.append(gate)
        return gate

    yield make
    for gate in made:
        gate.close()


@pytest.fixture
def organisations(store: Store) -> tuple[str, str]:
    with store.begin() as connection:
        for code in ("400001", "400002"):
            connection.execute(
                text("INSERT INTO organisation (code, name, valid_from) VALUES (:code, :code, :day)"),
                {"code": code, "day": date(2020, 1, 1)},
            )
    return "400001", "400002"


@pytest.fixture
def client(store: Store, organisations: tuple[str, str]) -> SimpleNamespace:
    """A clinic's client with all rights: login and secret."""
    with store.begin() as connection:
        secret = clients.add(connection, "clinic-1", "MO", organisations=["400001"], rights=rights.ALL)
    return SimpleNamespace(login="clinic-1", secret=secret)


@pytest.fixture
def caller(store: Store, client: SimpleNamespace) -> Caller:
    with store.begin() as connection:
        identity = connection.execute(text("SELECT id FROM client WHERE login = 'clinic-1'")).scalar_one()
    return Caller(identity, "clinic-1", ClientKind.MO, frozenset({"400001"}), None, rights.ALL)


@pytest.fixture
def make_call(caller: Caller) -> Callable[..., Call]:
    def make(operation: str = "AddEntries", request_id: UUID | None = None, body: bytes = b"body") -> Call:
        return Call(
            caller=caller,
            service="DispensaryObservation",
            operation=operation,
            trace=str(uuid4()),
            at=datetime.now(UTC),
            address="10.0.0.1",
            request_id=request_id,
            body_sha256=hashlib.sha256(body).digest(),
        )

    return make


@pytest.fixture
def records(store: Store) -> Callable[[], list[SimpleNamespace]]:
    """The audit records of calls, without those of operators."""

    def read() -> list[SimpleNamespace]:
        with store.begin() as connection:
            rows = connection.execute(
                text("SELECT * FROM audit_record WHERE service <> 'operator' ORDER BY id")
            ).mappings()
            return [SimpleNamespace(**row) for row in rows]

    return read
