"""Below the clients: what is repeated and how long is waited, what counts for the breaker, and where its state shows."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text

from gateway import doctor, web
from gateway.domain.clock import Clock
from gateway.errors import GatewayError
from gateway.settings import Settings
from gateway.store.place import Place
from gateway.sync.upstream import access, contracts
from gateway.sync.upstream.breaker import FAILURES, Breaker, states
from gateway.sync.upstream.ferzl import Ferzl
from tests.sync.upstream.spoken import ENP, OIP, Always, Said, Spoken, client, pd

DAY = date(2026, 11, 1)
LEDGER = "http://ffoms.ru/types/"
COMPLETED = "<c:processingStatus>COMPLETED</c:processingStatus>"


def down(ask: Callable[[], object], code: str = "upstream.down") -> None:
    with pytest.raises(GatewayError) as refusal:
        ask()
    assert refusal.value.code == code


# versions -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["", "3.6", "4.5", "24.1.2"])
def test_the_version_stands_in_both_namespaces(service: Spoken, version: str) -> None:
    service.says(pd())
    found = client(service, version=version).person(ENP, DAY)
    assert found is not None
    path = f"{version}/" if version else ""
    (asked,) = service.asked
    assert asked.namespace == f"{LEDGER}{path}mpiPersonInfoSchema"
    assert asked.message.findtext(f".//{{{LEDGER}{path}commonTypes}}enp") == ENP
    service.says("<c:opToken>t</c:opToken>")
    assert client(service, version=version).start_attachments(DAY) == "t"
    assert service.asked[-1].namespace == f"{LEDGER}{path}mpiAsyncOperationsSchema"


@pytest.mark.parametrize("version", ["4.5/../x", "v24", "24.1.2.3.4", " ", "24."])
def test_a_version_that_no_namespace_can_carry(version: str) -> None:
    for refuse in (lambda: contracts.document(contracts.PERSON_INFO, version), lambda: Settings(ferzl_version=version)):
        down(refuse, "setting.invalid")


@pytest.mark.parametrize(
    ("version", "day"), [("", "2026-11-01"), ("3.6", "2026-11-01"), ("4.5", "2026-11-01"), ("24.1.2", None)]
)
def test_newer_versions_ask_for_the_extract_without_a_day(service: Spoken, version: str, day: str | None) -> None:
    service.says("<c:opToken>t</c:opToken>")
    client(service, version=version).start_attachments(DAY)
    (asked,) = service.asked
    assert (asked.value("dt"), asked.value("fieldNameAttached"), asked.value("value")) == (day, "smo_okato", "40000")


# repetition -----------------------------------------------------------------------------------------------------------


def dropped(_: object) -> Said | None:
    return None


@pytest.mark.parametrize("said", [None, Said(status=503, kind="text/html"), Said(status=500, kind="text/html")])
def test_a_start_is_not_repeated(service: Spoken, said: Said | None) -> None:
    """It may have begun the work; what only reads is asked again."""
    service.say = lambda _: said
    asked = client(service)
    down(lambda: asked.start_changes(DAY, DAY))
    down(lambda: asked.start_attachments(DAY))
    assert service.operations == ["getInsuranceStatusChangesStart", "getViewDataAttachStart"]
    service.asked.clear()
    down(lambda: asked.person(ENP, DAY))
    down(lambda: asked.changes("t"))
    assert service.operations == ["getPersonData"] * 4 + ["getInsuranceStatusChangesPoll"] * 4


def test_a_start_that_is_not_answered_in_time_is_not_repeated(service: Spoken) -> None:
    let = threading.Event()

    def hang(_: object) -> Said | None:
        let.wait(60)
        return None

    service.say = hang
    down(lambda: client(service, read_seconds=0.3).start_attachments(DAY))
    let.set()
    assert service.operations == ["getViewDataAttachStart"]


def test_a_start_that_nobody_received_is_repeated() -> None:
    pauses: list[float] = []
    nowhere = Spoken("http://127.0.0.1:1")
    down(lambda: client(nowhere, pause=pauses.append).start_attachments(DAY))
    assert len(pauses) == 3


def test_pauses_grow_to_a_ceiling_and_differ(service: Spoken) -> None:
    """Before the n-th repetition between half and all of min(20, 2^(n-1)) seconds."""
    service.say = dropped
    rows = []
    for _ in range(3):
        pauses: list[float] = []
        asked = client(service, pause=pauses.append, attempts=9)
        down(lambda asked=asked: asked.person(ENP, DAY))
        rows.append(pauses)
    for row in rows:
        assert len(row) == 8
        for pause, ceiling in zip(row, (1, 2, 4, 8, 16, 20, 20, 20), strict=True):
            assert ceiling / 2 <= pause <= ceiling
    assert len({tuple(row) for row in rows}) == 3


# the breaker ----------------------------------------------------------------------------------------------------------


def test_only_silence_counts_for_the_breaker(service: Spoken) -> None:
    """A refused key, a SOAP fault, another status, an answer over the cap: the service is there."""
    fault = b'<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><e:Fault/></e:Body></e:Envelope>'
    for said, code, told in (
        (Said(status=401), "upstream.fault", "succeeded"),
        (Said(status=403), "upstream.fault", "succeeded"),
        (Said(status=500, whole=fault), "upstream.fault", "succeeded"),
        (Said(status=404), "upstream.unusable", "succeeded"),
        (Said(whole=b" " * (17 << 20)), "upstream.unusable", "succeeded"),
        (Said(status=503), "upstream.down", "failed"),
        (None, "upstream.down", "failed"),
    ):
        breaker = Always()
        service.say = lambda _, said=said: said
        asked = client(service, breaker=breaker)
        down(lambda asked=asked: asked.person(ENP, DAY), code)
        assert breaker.told == [told], said


def silent(store, service: Spoken, name: str = "ferzl") -> Ferzl:
    """A client whose breaker has just opened."""
    service.say = dropped
    asked = client(service, breaker=Breaker(store, name), attempts=1)
    for _ in range(FAILURES):
        down(lambda: asked.person(ENP, DAY))
    assert len(service.asked) == FAILURES
    down(lambda: asked.person(ENP, DAY))
    assert len(service.asked) == FAILURES
    service.asked.clear()
    return asked


def a_minute_later(owner) -> None:
    with owner.begin() as connection:
        connection.execute(text("UPDATE upstream_state SET open_until = now()"))


def open_now(store, name: str = "ferzl") -> bool:
    with store.begin() as connection:
        return states(connection)[name].open


def test_after_a_minute_one_caller_tries(store, owner, service: Spoken) -> None:
    """Others are refused while it waits for its answer; a failure opens the breaker again, an answer closes it."""
    asked = silent(store, service)
    a_minute_later(owner)
    heard, let = threading.Event(), threading.Event()

    def slow(_: object) -> Said:
        heard.set()
        let.wait(60)
        return Said(pd())

    service.say = slow
    found: list[object] = []
    trying = threading.Thread(target=lambda: found.append(asked.person(ENP, DAY)))
    trying.start()
    assert heard.wait(60)
    for _ in range(3):
        down(lambda: asked.person(ENP, DAY))
    let.set()
    trying.join()
    assert len(service.asked) == 1
    assert found != [None]
    assert not open_now(store)
    assert asked.person(ENP, DAY) is not None


def test_a_trial_that_fails_opens_it_again(store, owner, service: Spoken) -> None:
    asked = silent(store, service)
    a_minute_later(owner)
    down(lambda: asked.person(ENP, DAY))
    down(lambda: asked.person(ENP, DAY))
    assert len(service.asked) == 1
    assert open_now(store)


@pytest.mark.parametrize("said", [Said(status=401), Said(status=404), Said("", status=200)])
def test_a_trial_that_is_refused_closes_it(store, owner, service: Spoken, said: Said) -> None:
    asked = silent(store, service)
    a_minute_later(owner)
    service.say = lambda _: said
    for _ in range(2):
        with pytest.raises(GatewayError) as refusal:
            asked.person(ENP, DAY)
        assert refusal.value.code != "upstream.down"
    assert len(service.asked) == 2
    assert not open_now(store)


def test_a_key_that_cannot_be_read_does_not_take_the_trial(store, owner, service: Spoken, tmp_path: Path) -> None:
    silent(store, service)
    a_minute_later(owner)
    service.says(pd())
    key = tmp_path / "key"
    asked = access.ferzl(replace(Settings(), ferzl_url=service.url, ferzl_token_file=str(key)), store)
    down(lambda: asked.person(ENP, DAY), "upstream.off")
    key.write_text("secret", encoding="ascii")
    assert asked.person(ENP, DAY) is not None


def exposed(settings: Settings) -> dict[str, float]:
    """The state of breakers by service, as `/metrics` of a web process shows it."""
    app = web.create_app(settings)

    async def read() -> str:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1") as http:
            return (await http.get("/metrics")).text

    try:
        found = re.findall(r'^dn_gateway_upstream_open\{service="([^"]+)"\} (\S+)$', asyncio.run(read()), re.MULTILINE)
    finally:
        for one in (app.edge, app.files, app.desk.gate, app.desk.store):
            one.close()
    return {name: float(value) for name, value in found}


def test_its_state_shows_in_metrics_and_doctor(store, owner, service: Spoken, server, database) -> None:
    settings = Settings(database_url=server.url(database), ferzl_url=service.url)

    def said_by_doctor() -> dict[str, doctor.Level]:
        place = Place(server.url(database), server.owner_url_of(database))
        return {one.text: one.level for one in doctor.examine(place, settings, Clock())}

    silent(store, service)
    assert exposed(settings)["ferzl"] == 1
    assert said_by_doctor()["служба ferzl не опрашивается: 5 сбоев подряд"] is doctor.Level.BAD
    service.says(pd())
    a_minute_later(owner)
    assert client(service, breaker=Breaker(store, "ferzl")).person_by_oip(OIP, DAY) is not None
    assert exposed(settings)["ferzl"] == 0
    assert said_by_doctor()["служба ferzl отвечает"] is doctor.Level.GOOD
