"""An invented region with its register of insured persons, and ways to run comparisons in tests."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text

from gateway.domain.clock import Clock
from gateway.domain.periods import Month
from gateway.operations import files, works
from gateway.operations.model import Operation
from gateway.operations.queue import Work
from gateway.sandbox import region
from gateway.sandbox.ferzl import life, queries
from gateway.sandbox.ferzl.server import StandIn
from gateway.settings import Settings
from gateway.store.engine import Store
from gateway.sync.insured import work
from tests.lists.region import CLINIC, OTHER, Plain, Region
from tests.lists.region import region as region_of_lists

MONTH = Month(2026, 10)
TODAY = date(2026, 11, 20)
OKATO = "40000"
SINCE = date(2026, 1, 12)


@dataclass
class Place:
    """The gateway's database, the stand-in over the same one, and the settings of a worker."""

    store: Store
    owner: Store
    stand_in: StandIn
    settings: Settings
    today: date = TODAY

    @property
    def work(self) -> Work:
        moment = datetime(self.today.year, self.today.month, self.today.day, 9, tzinfo=UTC)
        return Work(self.store, None, self.settings, Clock(source=lambda: moment))

    def request(self, month: Month = MONTH, *, dry: bool = False) -> UUID:
        with self.store.begin() as connection:
            return work.request(connection, month, dry=dry, today=self.today, login="test", trace="t")

    def run(self, operation: UUID) -> Operation:
        works.run(self.work, str(operation))
        with self.store.begin() as connection:
            found = works.get(connection, operation)
        assert found is not None
        return found

    def compare(self, month: Month = MONTH, *, dry: bool = False) -> dict[str, Any]:
        """A whole comparison; its row."""
        operation = self.request(month, dry=dry)
        found = self.run(operation)
        assert found.state == "DONE", (found.code, found.message, self.lines(operation))
        return self.reconcile(operation)

    def reconcile(self, operation: UUID) -> dict[str, Any]:
        return self.one("SELECT * FROM reconcile WHERE id = :id", id=operation)

    def lines(self, operation: UUID) -> list[str]:
        with self.store.begin() as connection:
            return [line.text for line in works.lines(connection, operation)]

    def files(self, operation: UUID) -> dict[str, str]:
        with self.store.begin() as connection:
            return {
                one.name: files.read(connection, one.file_id, 0, one.size).decode("utf-8-sig")
                for one in files.of_operation(connection, operation)
            }

    def all(self, query: str, **values: Any) -> list[dict[str, Any]]:
        with self.owner.begin() as connection:
            return [dict(row) for row in connection.execute(text(query), values).mappings()]

    def one(self, query: str, **values: Any) -> dict[str, Any]:
        (found,) = self.all(query, **values)
        return found

    def value(self, query: str, **values: Any) -> Any:
        return next(iter(self.one(query, **values).values()))

    def do(self, statement: str, **values: Any) -> int:
        with self.owner.begin() as connection:
            return connection.execute(text(statement), values).rowcount


@contextmanager
def served(owner: Store, *, ready_after: int = 1, **settings: Any) -> Iterator[tuple[StandIn, Settings]]:
    """The stand-in on a port of its own, over the tables it will have; settings by which a worker asks it."""
    service = StandIn(owner, okato=OKATO, token="secret", ready_after=ready_after)
    thread = threading.Thread(target=service.run)
    thread.start()
    values = {
        "ferzl_url": service.url,
        "ferzl_token": "secret",
        "ferzl_seconds": 3,
        "ferzl_poll_seconds": 1,
        # of its own: a worker clears scratch folders that its database knows nothing of
        "data_dir": tempfile.mkdtemp(prefix="dn-gateway-insured-"),
    } | settings
    try:
        yield service, replace(Settings(), **values)
    finally:
        service.stop()
        thread.join()
        shutil.rmtree(str(values["data_dir"]), ignore_errors=True)


@contextmanager
def opened(store: Store, owner: Store, *, persons: int = 2500, entries: int = 2000, **settings: Any) -> Iterator[Place]:
    """A region whose register knows exactly what the gateway knows; the first month has not passed yet."""
    region.fill(owner, Settings(), persons=persons, entries=entries, today=TODAY)
    with owner.begin() as connection:
        queries.make(connection, OKATO, life.ELSEWHERE)
    with served(owner, **settings) as (service, values):
        yield Place(store, owner, service, values)


@dataclass
class Hand(Place):
    """A few people in two clinics, whose fates are written by hand into the tables of the stand-in."""

    region: Region = field(kw_only=True)

    def observe(self, *enps: str, organisation: str = CLINIC, diagnosis: str = "I10", since: date = SINCE) -> list[str]:
        """Puts people under observation; ids of their entries."""
        return [self.region.add(enp, diagnosis, organisation=organisation, observed_since=since) for enp in enps]

    def begin(self) -> None:
        """The register begins to know whom the gateway knows."""
        with self.owner.begin() as connection:
            queries.make(connection, OKATO, life.ELSEWHERE)

    def at(self, day: date) -> None:
        """Another day comes."""
        self.today = day
        self.region = self.region.at(day)

    def person(self, enp: str, **columns: Any) -> None:
        self._set("upstream.person", enp, columns)

    def die(self, enp: str, day: date | None) -> None:
        """Dies, or turns out to be alive."""
        self.person(enp, death_date=day)

    def merge(self, enp: str, heir: str | None, day: date = date(2026, 10, 10)) -> None:
        """Goes on as the other number."""
        self.person(enp, merged_into=heir and self.oip(heir), merged_at=day)
        self.note(enp, day)

    def move(self, enp: str, organisation: str, day: date) -> None:
        """Chooses another clinic."""
        self.do(
            "UPDATE upstream.attachment SET until = CAST(:day AS date) - 1, status = 'НАП' WHERE oip = :oip AND until IS NULL",
            oip=self.oip(enp), day=day,
        )  # fmt: skip
        self.do(
            "INSERT INTO upstream.attachment (oip, organisation, since) VALUES (:oip, :organisation, :day)",
            oip=self.oip(enp), organisation=organisation, day=day,
        )  # fmt: skip

    def insure(self, enp: str, okato: str, day: date, number: str | None = None) -> None:
        """Takes a policy of a territory; with ``number`` it has another ЕНП."""
        self.do(
            "UPDATE upstream.policy SET until = CAST(:day AS date) - 1, status = 'Аннулированный' WHERE oip = :oip AND until IS NULL",
            oip=self.oip(enp), day=day,
        )  # fmt: skip
        self.do(
            "INSERT INTO upstream.policy (oip, enp, since, status, okato, insurer)"
            " VALUES (:oip, :enp, :day, 'Действующий', :okato, '40001')",
            oip=self.oip(enp), enp=number or enp, day=day, okato=okato,
        )  # fmt: skip
        self.note(enp, day)

    def note(self, enp: str, day: date) -> None:
        """The register names a change of insurance of that day."""
        self.do(
            "INSERT INTO upstream.change (oip, enp, kind, happened_on) VALUES (:oip, :enp, 'CHANGED', :day)",
            oip=self.oip(enp), enp=enp, day=day,
        )  # fmt: skip

    def oip(self, enp: str) -> str:
        return str(self.value("SELECT oip FROM upstream.person WHERE enp = :enp", enp=enp))

    def close(self, month: Month, *organisations: str) -> None:
        for organisation in organisations or (CLINIC, OTHER):
            with self.store.begin() as connection:
                self.region.lists.close(connection, organisation, month, "test", Plain())

    def entry(self, entry_id: str) -> dict[str, Any]:
        return self.one("SELECT * FROM entry WHERE id = :id", id=int(entry_id))

    def stays(self, entry_id: str) -> list[tuple[Any, ...]]:
        """Organisation, first day, day after the last, true first and last days."""
        rows = self.all(
            "SELECT organisation, since, until, true_from, true_to FROM observation_segment WHERE entry_id = :id ORDER BY since, id",
            id=int(entry_id),
        )
        return [tuple(row.values()) for row in rows]

    def applied(self, month: Month = MONTH) -> dict[str, int]:
        """A whole comparison that is applied; what it did."""
        row = self.compare(month)
        assert row["state"] == "APPLIED", row["brake"]
        return done(row)

    def _set(self, table: str, enp: str, columns: dict[str, Any]) -> None:
        values = ", ".join(f"{name} = :{name}" for name in columns)
        assert self.do(f"UPDATE {table} SET {values} WHERE enp = :enp", enp=enp, **columns) == 1


def done(row: dict[str, Any]) -> dict[str, int]:
    """What a comparison changed."""
    return {name: number for name, number in row["counts"]["applied"].items() if number and name != "notices"}


@contextmanager
def by_hand(store: Store, owner: Store, **settings: Any) -> Iterator[Hand]:
    """Two clinics without people."""
    made = region_of_lists(store, TODAY)
    with served(owner, **{"brake_shrink": 100} | settings) as (service, values):
        yield Hand(store, owner, service, values, region=made)


@dataclass(frozen=True)
class Cohort:
    """Five people of one clinic: four under observation, and the one that the last of them goes on as."""

    dead: str
    left: str
    moved: str
    merged: str
    heir: str

    @classmethod
    def made(cls, place: Hand) -> Cohort:
        enps = [place.region.person() for _ in range(5)]
        place.observe(*enps[:4])
        return cls(*enps)

    def live(self, place: Hand) -> None:
        """The month comes to them."""
        place.die(self.dead, date(2026, 10, 15))
        place.insure(self.left, "41000", date(2026, 10, 9))
        place.move(self.moved, OTHER, date(2026, 10, 12))
        place.merge(self.merged, self.heir)

    def lines(self, place: Hand) -> list[tuple]:
        """How they stand in lists, without their names."""
        enps = [self.dead, self.left, self.moved, self.merged, self.heir]
        rows = place.all(
            "SELECT array_position(:enps, e.enp) AS who, array_position(:enps, p.enp) AS person, e.status, e.organisation,"
            " e.excluded_on, e.exclusion_reason, e.attached_organisation, e.version, s.organisation AS stay, s.since, s.until,"
            " s.true_from, s.true_to, s.cause_in, s.cause_out,"
            " (SELECT string_agg(v.kind || v.cause, ',' ORDER BY v.version) FROM entry_event v WHERE v.entry_id = e.id) AS events"
            " FROM entry e JOIN observation_segment s ON s.entry_id = e.id JOIN person p ON p.id = s.person_id"
            " WHERE e.enp = ANY(:enps) ORDER BY e.id, s.since, s.id",
            enps=enps,
        )
        return [tuple(row.values()) for row in rows]
