"""People for tests: a small directory of organisations and insurers, and lines of the fund's extract."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from uuid import uuid4

import pytest

from gateway.access.model import Call, Caller, ClientKind
from gateway.domain.persons import make_enp, make_snils
from gateway.people import insurers, organisations
from gateway.people.extract import COLUMNS
from gateway.people.insurers import Insurer
from gateway.people.organisations import Organisation
from gateway.store.engine import Store

START = date(2000, 1, 1)
MINE, OTHER = "400001", "400002"


@pytest.fixture
def directory(store: Store) -> Store:
    """The test's store with two organisations and two insurers."""
    with store.begin() as connection:
        organisations.put(connection, [Organisation(code, "Поликлиника", True, START) for code in (MINE, OTHER)])
        insurers.put(connection, [Insurer(code, "СМО", START) for code in ("40001", "40002")])
    return store


@pytest.fixture
def extract_line() -> Callable[..., dict[str, str]]:
    """A right line of the extract for the person with this number, with changes by column."""

    def make(number: int, **changes: str) -> dict[str, str]:
        values = {
            "enp": make_enp(40, date(1960, 1, 15), 2, number),
            "snils": make_snils(10_000_000 + number),
            "last_name": "Королёва",
            "first_name": "Алёна",
            "middle_name": "Петровна",
            "birth_date": "1960-01-15",
            "sex": "2",
            "policy_kind": "3",
            "policy_number": "",
            "insurer": "40001",
            "insured_in_region": "1",
            "attached_organisation": MINE,
            "attached_since": "2020-05-01",
            "death_date": "",
        }
        return {**values, **changes}

    return make


@pytest.fixture
def extract_text() -> Callable[..., str]:
    """The lines as a file with a header of these columns."""

    def make(lines: list[dict[str, str]], columns: tuple[str, ...] = COLUMNS) -> str:
        rows = [";".join(columns), *(";".join(line[name] for name in columns) for line in lines)]
        return "\n".join(rows) + "\n"

    return make


@pytest.fixture
def call() -> Callable[..., Call]:
    """A call of a client of this kind."""

    def make(
        kind: ClientKind = ClientKind.MO, organisations: tuple[str, ...] = (MINE,), insurer: str | None = None
    ) -> Call:
        caller = Caller(
            client_id=1,
            login="mis",
            kind=kind,
            organisations=frozenset(organisations if kind is ClientKind.MO else ()),
            insurer=insurer,
            rights=frozenset({"FindPerson"}),
        )
        return Call(caller, "DispensaryObservation", "FindPerson", uuid4().hex, datetime.now(UTC))

    return make
