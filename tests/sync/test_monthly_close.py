"""Month close as long work: the lines it keeps, one transaction per organisation, aborts and broken runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from gateway.domain.clock import Clock
from gateway.domain.periods import Month
from gateway.errors import GatewayError
from gateway.lists import Lists, closing, queries
from gateway.nsi.dictionaries import Nsi
from gateway.operations import works
from gateway.operations.model import Operation
from gateway.operations.queue import Work
from gateway.sandbox import region
from gateway.services.observation_v1 import RENDER
from gateway.settings import Settings
from gateway.store.engine import Store

pytestmark = pytest.mark.trial

MONTH = Month(2026, 9)
TODAY = date(2026, 11, 20)


@dataclass
class Place:
    store: Store
    work: Work
    lists: Lists
    organisations: list[str]

    def start(self, *organisations: str) -> UUID:
        with self.store.begin() as connection:
            return closing.request_close(connection, MONTH, organisations, today=TODAY, login="test", trace="t")

    def run(self, operation: UUID) -> Operation:
        works.run(self.work, str(operation))
        with self.store.begin() as connection:
            found = works.get(connection, operation)
        assert found is not None
        return found

    def all(self, query: str, **values: Any) -> list[dict[str, Any]]:
        with self.store.begin() as connection:
            return [dict(row) for row in connection.execute(text(query), values).mappings()]

    @property
    def closed(self) -> list[str]:
        return [row["organisation"] for row in self.all("SELECT organisation FROM closed_month ORDER BY 1")]


@pytest.fixture(scope="module")
def filled(server, template, make_database_once) -> str:
    """A region that every test has a copy of."""
    name = make_database_once(template)
    owner = Store(server.owner_url_of(name), size=4)
    region.fill(owner, Settings(), persons=1500, entries=900, today=TODAY)
    owner.close()
    return name


@pytest.fixture
def database(make_database, filled: str) -> str:
    return make_database(filled)


@pytest.fixture
def place(store, tmp_path) -> Iterator[Place]:
    clock = Clock(source=lambda: datetime(2026, 11, 20, 9, tzinfo=UTC))
    settings = Settings(data_dir=str(tmp_path))
    with store.begin() as connection:
        organisations = queries.organisations(connection)
    yield Place(
        store, Work(store, None, settings, clock), Lists(settings, Nsi(store, clock), clock), organisations
    )  # fmt: skip


def test_what_is_kept_is_what_the_contract_writes(place: Place) -> None:
    def kept(organisation: str, render: Any) -> list[tuple[Any, ...]]:
        with place.store.engine.connect() as connection, connection.begin() as transaction:
            place.lists.close(connection, organisation, MONTH, "test", render)
            rows = connection.execute(
                text(
                    "SELECT p.choice, b.number, b.body, b.keys FROM list_piece p JOIN list_block b ON b.piece_id = p.id"
                    " WHERE p.edition > 0 ORDER BY 1, 2"
                )
            )
            found = [tuple(row) for row in rows]
            transaction.rollback()
            return found

    for organisation in place.organisations[:5]:
        made = kept(organisation, None)
        assert made
        assert made == kept(organisation, RENDER)


def test_all_are_closed_with_a_record_each(place: Place) -> None:
    done = place.run(place.start())
    assert (done.state, done.done, done.total) == ("DONE", len(place.organisations), len(place.organisations))
    assert place.closed == place.organisations
    audited = place.all("SELECT organisation FROM audit_record WHERE operation = 'MonthClose' ORDER BY 1")
    assert [row["organisation"] for row in audited] == place.organisations
    again = place.run(place.start())
    assert (again.state, again.total) == ("DONE", 0)


def test_a_broken_run_goes_on_with_those_that_are_left(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends in the middle of the third organisation."""
    operation, real, calls = place.start(), Lists.close, []

    class Gone(BaseException):
        pass

    def close(self: Any, *args: Any, **values: Any) -> int:
        calls.append(args[1])
        edition = real(self, *args, **values)
        if len(calls) == 3:
            raise Gone
        return edition

    monkeypatch.setattr(closing.Closing, "close", close)
    with pytest.raises(Gone):
        works.run(place.work, str(operation))
    assert place.closed == place.organisations[:2]
    assert place.run(operation).state == "DONE"
    assert place.closed == place.organisations
    assert place.all("SELECT max(edition) AS most FROM closed_month") == [{"most": 1}]


def test_an_abort_keeps_whole_organisations(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    operation, real = place.start(), closing._keep

    def keep(driver: Any, organisation: str, *more: Any) -> None:
        if organisation == place.organisations[1]:
            with place.store.begin() as connection:
                works.request_abort(connection, operation, "test")
        real(driver, organisation, *more)

    monkeypatch.setattr(closing, "_keep", keep)
    ended = place.run(operation)
    assert (ended.state, ended.code) == ("ABORTED", "operation.aborted")
    closed = place.closed
    assert closed == place.organisations[: len(closed)]
    assert len(closed) < len(place.organisations)
    monkeypatch.undo()
    assert place.run(place.start()).state == "DONE"
    assert place.closed == place.organisations


def test_one_that_cannot_be_closed_is_said_and_passed_over(place: Place) -> None:
    first = place.organisations[0]
    with place.store.begin() as connection:
        place.lists.close(connection, first, Month(2026, 10), "test")
    operation = place.start()
    assert place.run(operation).state == "DONE"
    with place.store.begin() as connection:
        said = [line.text for line in works.lines(connection, operation) if line.level == "WARNING"]
    assert [line.split(" — ")[0] for line in said] == [f"{first}: month.order"]
    assert len(place.all("SELECT 1 FROM closed_month WHERE month = 202609")) == len(place.organisations) - 1
    (kept,) = place.all("SELECT progress->'refused' AS refused FROM operation WHERE id = :id", id=operation)
    assert kept == {"refused": {first: "month.order"}}


def test_named_organisations_are_looked_at_before(place: Place) -> None:
    first, second, *_ = place.organisations
    assert place.run(place.start(first)).state == "DONE"
    assert place.closed == [first]
    with place.store.begin() as connection:
        place.lists.close(connection, second, Month(2026, 10), "test")
    for organisation, code in ((first, "month.closed"), (second, "month.order"), ("nobody", "object.not-found")):
        with pytest.raises(GatewayError, match=code):
            place.start(organisation)
    with place.store.begin() as connection, pytest.raises(GatewayError, match="month.not-over"):
        closing.request_close(connection, Month(2026, 11), today=TODAY, login="test", trace="t")
