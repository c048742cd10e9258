"""Search falls through: an unknown person is looked for in the register; where that is down the work goes on with a note."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import pytest
from sqlalchemy import text

from gateway.domain.persons import make_enp
from gateway.errors import GatewayError
from gateway.people import persons, sources
from gateway.people.persons import Criteria
from gateway.people.sources import Wanted
from gateway.sandbox.ferzl import life, queries
from gateway.sandbox.ferzl.server import StandIn
from gateway.settings import Settings
from gateway.sync.upstream import access, search
from gateway.sync.upstream.breaker import FAILURES, states
from tests.lists.region import CLINIC, Region, region
from tests.sync.upstream.spoken import BIRTH, ENP, Said, Spoken

DAY = date(2026, 11, 18)
NOBODY = make_enp(40, date(1970, 1, 1), 1, 77)


@pytest.fixture
def place(store) -> Region:
    return region(store, DAY)


@pytest.fixture
def stand_in(place: Region, owner) -> Iterator[StandIn]:
    """A register that knows one person more than the gateway."""
    place.person("Знакомый")
    place.person("Чужой", birth=date(1955, 5, 5))
    with owner.begin() as connection:
        queries.make(connection, "40000", life.ELSEWHERE)
        connection.execute(text("DELETE FROM person WHERE last_name = 'Чужой'"))
    service = StandIn(owner, okato="40000", token="secret")
    thread = threading.Thread(target=service.run)
    thread.start()
    yield service
    service.stop()
    thread.join()


@pytest.fixture
def source(stand_in: StandIn, place: Region) -> Iterator[search.Search]:
    values = replace(
        Settings(), ferzl_url=stand_in.url, ferzl_token="secret", search_upstream="ferzl", search_seconds=2.0
    )
    made = search.made(values, place.store, place.lists.clock)
    assert made is not None
    yield made
    made.close()


def unknown(owner) -> str:
    with owner.begin() as connection:
        found = connection.execute(text("SELECT enp FROM upstream.person WHERE last_name = 'Чужой'"))
        return str(found.scalar_one())


def audited(place: Region) -> list[tuple]:
    with place.store.begin() as connection:
        return [
            tuple(row)
            for row in connection.execute(
                text("SELECT records, persons IS NOT NULL, details FROM audit_record ORDER BY id")
            )
        ]


def test_an_unknown_person_is_found_outside_and_kept(place, owner, source) -> None:
    enp = unknown(owner)
    call = place.call("FindPerson")
    (found,) = persons.find(place.store, call, Criteria(enp=enp), None, source)
    assert (found.enp, found.last_name, found.source, found.attached_organisation) == (enp, "Чужой", "FERZL", CLINIC)
    assert call.note is None
    assert audited(place) == [(1, True, {"upstream": "found 1"})]
    (again,) = persons.find(place.store, place.call("FindPerson"), Criteria(enp=enp))
    assert again == found


def test_by_names_and_birth_date(place, owner, source) -> None:
    criteria = Criteria(last_name="чужой", first_name="Пётр", birth_date=date(1955, 5, 5))
    (found,) = persons.find(place.store, place.call("FindPerson"), criteria, None, source)
    assert found.enp == unknown(owner)


def test_who_is_known_is_not_asked_about(place, stand_in, source) -> None:
    stand_in.order("drop", times=100)
    criteria = Criteria(last_name="Знакомый", first_name="Пётр", birth_date=date(1960, 5, 17))
    call = place.call("FindPerson")
    (found,) = persons.find(place.store, call, criteria, None, source)
    assert (found.source, call.note) == ("LOCAL", None)


def test_nobody_anywhere(place, stand_in, source) -> None:
    call = place.call("FindPerson")
    assert persons.find(place.store, call, Criteria(enp=NOBODY), None, source) == []
    assert call.note is None
    assert audited(place) == [(0, False, {"upstream": "found 0"})]


@pytest.mark.parametrize("fault", ["http-500", "drop", "fault", "error-item-500", "delay", "gzip-bomb"])
def test_a_source_that_is_down_is_a_note(place, owner, stand_in, source, fault: str) -> None:
    enp = unknown(owner)
    stand_in.order(fault, times=100, seconds=8)
    call = place.call("FindPerson")
    began = time.monotonic()
    assert persons.find(place.store, call, Criteria(enp=enp), None, source) == []
    assert time.monotonic() - began < 5
    assert call.note == sources.UNANSWERED
    assert audited(place) == [(0, False, {"upstream": "unanswered"})]


def test_the_breaker_spares_a_dead_source(place, owner, stand_in, source) -> None:
    stand_in.order("drop", times=10_000)
    for _ in range(6):
        assert source.ask([Wanted(enp=unknown(owner))]).unanswered
    with place.store.begin() as connection:
        assert connection.execute(
            text("SELECT open_until > now() FROM upstream_state WHERE name = 'ferzl-search'")
        ).scalar_one()


def test_a_search_that_does_not_wait_leaves_the_comparison_alone(place, owner, stand_in) -> None:
    """A register that is slow for a search is not down for long work."""
    enp = unknown(owner)
    values = replace(
        Settings(), ferzl_url=stand_in.url, ferzl_token="secret", search_upstream="ferzl", search_seconds=0.3
    )
    stand_in.order("delay", times=FAILURES + 1, seconds=2)
    for _ in range(FAILURES + 1):
        with pytest.raises(GatewayError) as refusal:
            access.search(values, place.store).person(enp, DAY)
        assert refusal.value.code == "upstream.down"
    with place.store.begin() as connection:
        open_ = {name: one.open for name, one in states(connection).items()}
    assert open_ == {"ferzl-search": True}
    assert access.ferzl(values, place.store).person(enp, DAY) is not None


def test_unknown_numbers_of_a_batch(place, owner, stand_in, source) -> None:
    enp = unknown(owner)
    learned = sources.learn_unknown(place.store, source, [enp, NOBODY, "мусор"])
    assert learned == sources.Learned(found=frozenset({enp}))
    place.add(enp)
    stand_in.order("drop", times=100)
    assert sources.learn_unknown(place.store, source, [enp]) is None
    learned = sources.learn_unknown(place.store, source, [enp, NOBODY])
    assert learned == sources.Learned(unanswered=frozenset({NOBODY}))


def test_it_is_off_by_default(place) -> None:
    assert search.made(Settings(), place.store, place.lists.clock) is None


# the identification service -------------------------------------------------------------------------------------------


def identified(inside: str) -> Said:
    body = (
        '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><i:doIdentificationResponse'
        f' xmlns:i="http://identification.ws.eis.spb.ru/"><return>{inside}</return></i:doIdentificationResponse>'
        "</e:Body></e:Envelope>"
    )
    return Said(whole=body.encode())


FOUND = identified(
    f"<surname>Вымыслов</surname><name>Пётр</name><birthday>{BIRTH}</birthday><polisN>{ENP}</polisN><idSmo>1</idSmo><numTest>1</numTest>"
)
NOT_FOUND = identified("<surname>Вымыслов</surname><numTest>0</numTest>")
WHO = Criteria(last_name="вымыслов", first_name="пётр", birth_date=BIRTH)


@pytest.fixture
def ident(service: Spoken, place: Region) -> Iterator[search.Search]:
    values = replace(
        Settings(),
        ident_url=service.url,
        ident_login="L",
        ident_password="P",
        search_upstream="ident",
        search_seconds=2.0,
    )
    made = search.made(values, place.store, place.lists.clock)
    assert made is not None
    yield made
    made.close()


def test_the_identification_service_finds_a_person(place, service: Spoken, ident) -> None:
    service.say = lambda _: FOUND
    call = place.call("FindPerson")
    (found,) = persons.find(place.store, call, WHO, None, ident)
    assert (found.enp, found.last_name, found.source, found.insured_in_region) == (ENP, "Вымыслов", "FERZL", "true")
    assert (call.note, audited(place)) == (None, [(1, True, {"upstream": "found 1"})])
    (asked,) = service.asked
    assert (asked.operation, asked.value("arg0"), asked.value("surname")) == ("doIdentification", "L", "вымыслов")
    assert persons.find(place.store, place.call("FindPerson"), WHO, None, ident) == [found]
    assert len(service.asked) == 1
    place.add(ENP)


def test_the_identification_service_knows_nobody(place, service: Spoken, ident) -> None:
    service.say = lambda _: NOT_FOUND
    call = place.call("FindPerson")
    assert persons.find(place.store, call, WHO, None, ident) == []
    assert (call.note, audited(place)) == (None, [(0, False, {"upstream": "found 0"})])


@pytest.mark.parametrize(
    "said", [None, Said(status=503), Said(status=401), replace(FOUND, status=500), Said(whole=b"<html/>")]
)
def test_an_identification_service_that_is_down_is_a_note(place, service: Spoken, ident, said: Said | None) -> None:
    service.say = lambda _: said
    call = place.call("FindPerson")
    assert persons.find(place.store, call, WHO, None, ident) == []
    assert call.note == sources.UNANSWERED
    assert audited(place) == [(0, False, {"upstream": "unanswered"})]


def test_the_breaker_of_the_identification_service(place, service: Spoken, ident) -> None:
    service.say = lambda _: None
    for _ in range(FAILURES + 2):
        assert ident.ask([Wanted(enp=ENP)]).unanswered
    assert len(service.asked) == FAILURES
    with place.store.begin() as connection:
        assert states(connection)["ident"].open
