"""AddEntries as a clinic calls it: an unknown person is looked for in the register, and the work goes on where that is down."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from typing import Any

import pytest
from sqlalchemy import text

from gateway.domain.persons import make_enp
from gateway.people import sources
from tests.serving import Answer, Gateway, running_gateway
from tests.sync.upstream_region import Hand, by_hand

BORN = date(1951, 4, 9)
NOBODY = [make_enp(40, BORN, 2, number) for number in range(1000)]
HANGS = 30.0
OUTSIDE = "из внешнего источника"


@pytest.fixture
def place(store, owner) -> Iterator[Hand]:
    """People whom the register knows and the gateway under test does not: they stand in another database."""
    with by_hand(store, owner) as place:
        place.region.serial = itertools.count(50_000)
        yield place


@pytest.fixture
def start(server, template, place: Hand) -> Callable[..., Any]:
    def started(**settings: object) -> Any:
        url = place.stand_in.url
        asked = {"search_upstream": "ferzl", "ferzl_url": url, "ferzl_token": "secret", "search_seconds": 2.0}
        return running_gateway(server, template, **asked, **settings)

    return started


def add(gateway: Gateway, enps: list[str]) -> list[tuple[str, str]]:
    """Adds people to the list; code and message of each."""
    return said(gateway.change("AddEntries", items(enps)))


def items(enps: list[str]) -> str:
    month = f"{date.today():%Y-%m}"
    return "".join(
        f"<items><enp>{enp}</enp><diagnosis>I10</diagnosis><plannedMonths>{month}</plannedMonths></items>"
        for enp in enps
    )


def said(answer: Answer) -> list[tuple[str, str]]:
    return [(str(one.findtext("{*}code")), str(one.findtext("{*}message"))) for one in answer.result]


def test_an_unknown_person_is_found_outside(place: Hand, start) -> None:
    strangers = [place.region.person("Чужой", birth=BORN) for _ in range(3)]
    place.begin()
    with start() as gateway:
        found = add(gateway, [*strangers, NOBODY[0], gateway.persons[0]])
        assert [code.split(".")[0] for code, _ in found] == ["ok", "ok", "ok", "person", "ok"]
        assert [OUTSIDE in message for _, message in found] == [True, True, True, False, False]
        assert sources.UNANSWERED not in found[3][1]
        with gateway.owner.begin() as connection:
            assert connection.execute(text("SELECT count(*) FROM person WHERE source = 'FERZL'")).scalar_one() == 3
            details = connection.execute(text("SELECT details FROM audit_record WHERE operation = 'AddEntries'"))
            assert ["found 3" in one["upstream"] for one in details.scalars()] == [True]
        person = gateway.call("FindPerson", f"<enp>{strangers[0]}</enp>").result.find("{*}persons")
        assert person is not None and person.findtext("{*}source") == "FERZL"


def test_a_source_that_hangs_holds_up_neither_the_batch_nor_the_database(place: Hand, start) -> None:
    """A thousand unknown numbers while the register does not answer: the batch ends within its bound, and while it waits
    no connection stays in a transaction and other clients are served."""
    place.begin()
    with start(workers=1, threads=4) as gateway, ThreadPoolExecutor(1) as pool:
        place.stand_in.order("delay", times=10_000, seconds=HANGS)
        began = time.monotonic()
        waiting = pool.submit(add, gateway, [*NOBODY[:999], gateway.persons[0]])
        until = time.monotonic() + HANGS
        while place.stand_in.waiting is None:
            assert time.monotonic() < until
            time.sleep(0.02)
        with gateway.owner.begin() as connection:
            held = connection.execute(
                text(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                    " AND backend_type = 'client backend' AND pid <> pg_backend_pid() AND xact_start IS NOT NULL"
                )
            ).scalar_one()
        assert held == 0
        assert gateway.call("FindPerson", f"<enp>{gateway.persons[1]}</enp>").fault is None
        assert not waiting.done()
        found = waiting.result()
        assert time.monotonic() - began < HANGS / 2
        assert found[-1][0] == "ok"
        assert {code for code, _ in found[:-1]} == {"person.unknown"}
        assert all(message.endswith(sources.UNANSWERED) for _, message in found[:-1])


def test_an_open_breaker_is_told_and_the_work_goes_on(place: Hand, start) -> None:
    stranger = place.region.person("Чужой", birth=BORN)
    place.begin()
    with start() as gateway:
        place.stand_in.order("drop", times=10_000)
        for number in range(3):
            found = add(gateway, [stranger, NOBODY[number], NOBODY[100 + number], gateway.persons[number]])
            assert [code for code, _ in found] == ["person.unknown", "person.unknown", "person.unknown", "ok"]
            assert [message.endswith(sources.UNANSWERED) for _, message in found] == [True, True, True, False]
        with gateway.owner.begin() as connection:
            query = text("SELECT open_until > now() FROM upstream_state WHERE name LIKE 'ferzl%'")
            assert connection.execute(query).scalar_one()
        place.stand_in.calm()
        assert add(gateway, [stranger])[0][0] == "person.unknown"
        with gateway.owner.begin() as connection:
            connection.execute(text("UPDATE upstream_state SET open_until = now()"))
        (found,) = add(gateway, [stranger])
        assert found[0].startswith("ok") and OUTSIDE in found[1]


def test_a_thousand_strangers_of_a_living_source(place: Hand, start) -> None:
    """As many as the bound of time allows are found, the others are told to be asked about again; a repeat goes on."""
    strangers = [place.region.person("Чужой", birth=BORN) for _ in range(300)]
    place.begin()
    with start() as gateway:
        left, most = strangers, 20
        while left and most:
            found = add(gateway, left)
            assert all(OUTSIDE in message or message.endswith(sources.UNANSWERED) for _, message in found)
            left, most = [enp for enp, (code, _) in zip(left, found, strict=True) if code == "person.unknown"], most - 1
        assert left == []
