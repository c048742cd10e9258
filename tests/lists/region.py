"""A small invented region for the tests of lists."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import text

from gateway.access.model import Call, Caller, ClientKind
from gateway.domain import persons
from gateway.domain.clock import Clock
from gateway.lists import Lists
from gateway.lists.model import Choice, Line, NewEntry, Page
from gateway.nsi.dictionaries import Nsi
from gateway.settings import Settings
from gateway.store.engine import Store

CLINIC, OTHER = "400001", "400002"
DOCTOR = persons.make_snils(112233445)
UNTYPED = persons.make_snils(223344556)


class Plain:
    """A renderer that shows the values."""

    def __call__(self, lines: Sequence[Line]) -> list[bytes]:
        return ["|".join(value or "" for value in line).encode() for line in lines]

    def join(self, first: int, lines: Sequence[bytes]) -> bytes:
        return b"\n".join(b"%d:%s" % (first + n, line) for n, line in enumerate(lines))


@dataclass
class Region:
    """What tests work with: the feature at a given day, and ways to make people and calls."""

    store: Store
    today: date
    lists: Lists
    settings: Settings
    serial: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def at(self, day: date, **settings: Any) -> Region:
        """The same region on another day or with other settings."""
        return region(self.store, day, serial=self.serial, **settings)

    def person(self, last: str = "Иванов", *, birth: date = date(1960, 5, 17), **other: Any) -> str:
        """Adds an insured person; returns the ЕНП."""
        enp = persons.make_enp(40, birth, 1, next(self.serial))
        row = {
            "enp": enp,
            "snils": None,
            "last": last,
            "first": "Пётр",
            "middle": "Ильич",
            "birth": birth,
            "death": None,
            "insured": True,
            "attached": CLINIC,
            "insurer": "40001",
        } | other
        row["key"] = persons.name_key(row["last"], row["first"], row["middle"])
        with self.store.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO person (enp, snils, last_name, first_name, middle_name, name_key, birth_date, sex,"
                    " death_date, insurer, insured_in_region, attached_organisation)"
                    " VALUES (:enp, :snils, :last, :first, :middle, :key, :birth, 1, :death, :insurer, :insured, :attached)"
                ),
                row,
            )
        return enp

    def call(self, operation: str = "Test", *, organisations: Sequence[str] = (CLINIC,), **caller: Any) -> Call:
        values: dict[str, Any] = {
            "client_id": 1,
            "login": "clinic",
            "kind": ClientKind.MO,
            "organisations": frozenset(organisations),
            "insurer": None,
            "rights": frozenset({operation}),
        } | caller
        return Call(
            Caller(**values), "DispensaryObservation", operation, uuid4().hex, datetime.now(UTC), request_id=uuid4()
        )

    def do(self, method: Callable[..., Any], *args: Any, organisation: str | None = CLINIC) -> Any:
        """Runs a changing method in a transaction; ``organisation`` None for single corrections."""
        call = self.call(organisations=[organisation] if organisation else (CLINIC,))
        with self.store.begin() as connection:
            if organisation is None:
                return method(connection, call, *args)
            return method(connection, call, organisation, *args)

    def add(self, enp: str, diagnosis: str = "I10", *, organisation: str = CLINIC, **values: Any) -> str:
        """Puts a person under observation; returns the entryId."""
        values.setdefault("planned_months", (str(self.today)[:7],))
        (result,) = self.do(self.lists.add, [NewEntry(enp, diagnosis, **values)], organisation=organisation)
        assert result.id is not None, result
        return str(result.id)

    def list(
        self, list_type: str = "OBSERVED", *, organisation: str | None = CLINIC, snapshot: UUID | None = None,
        start: int = 1, count: int = 1000, call: Call | None = None, **choice: Any,
    ) -> Page:  # fmt: skip
        if not choice.keys() & {"month", "quarter"}:
            choice["month"] = self.today.month
        choice.setdefault("year", self.today.year)
        return self.lists.page(
            self.store,
            call or self.call(),
            organisation,
            Choice(list_type=list_type, **choice),
            start,
            count,
            snapshot,
            Plain(),
        )

    def ids(self, list_type: str = "OBSERVED", **values: Any) -> list[str]:
        """entryIds of a list."""
        return [
            row.split(":", 1)[1].split("|")[0]
            for row in self.list(list_type, **values).body.decode().split("\n")
            if row
        ]


def region(store: Store, today: date, serial: itertools.count[int] | None = None, **settings: Any) -> Region:
    clock = Clock(source=lambda: datetime(today.year, today.month, today.day, 9, tzinfo=UTC))
    values = Settings(**settings)
    made = Region(store, today, Lists(values, Nsi(store, clock), clock), values)
    if serial is not None:
        made.serial = serial
        return made
    with store.begin() as connection:
        for code in (CLINIC, OTHER):
            connection.execute(
                text("INSERT INTO organisation (code, name, valid_from) VALUES (:code, :code, '2000-01-01')"),
                {"code": code},
            )
        connection.execute(text("INSERT INTO insurer (code, name, valid_from) VALUES ('40001', 'СК', '2000-01-01')"))
        for organisation, snils, doctor_type in (
            (CLINIC, DOCTOR, "1"),
            (CLINIC, UNTYPED, None),
            (OTHER, DOCTOR, "3"),
        ):
            connection.execute(
                text(
                    "INSERT INTO doctor (organisation, snils, last_name, first_name, doctor_type, specialty, valid_from)"
                    " VALUES (:organisation, :snils, 'Врачёв', 'Врач', :type, '76', '2020-01-01')"
                ),
                {"organisation": organisation, "snils": snils, "type": doctor_type},
            )
    return made
