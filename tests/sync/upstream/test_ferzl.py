"""The client of ФЕРЗЛ against the stand-in: facts come through whole, faults never as facts."""

from __future__ import annotations

import threading
import zipfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.domain.insurance import Finding, verdict
from gateway.domain.periods import Month
from gateway.errors import GatewayError
from gateway.sandbox import region
from gateway.sandbox.ferzl import life, queries
from gateway.sandbox.ferzl.server import StandIn
from gateway.settings import Settings
from gateway.sync.upstream.ferzl import Ferzl
from gateway.sync.upstream.wire import Wire

MONTH = Month(2026, 10)
DAY = date(2026, 11, 1)


class Closed:
    """A breaker that never opens."""

    def allow(self) -> bool:
        return True

    def succeeded(self) -> None:
        return

    def failed(self) -> None:
        return


@pytest.fixture
def stand_in(owner) -> Iterator[StandIn]:
    region.fill(owner, Settings(), persons=1500, entries=1000, today=date(2026, 11, 20))
    with owner.begin() as connection:
        queries.make(connection, "40000", life.ELSEWHERE)
        life.pass_month(connection, MONTH, okato="40000", shares=dict.fromkeys(queries.FATES, 2000))
    service = StandIn(owner, okato="40000", token="secret")
    thread = threading.Thread(target=service.run)
    thread.start()
    yield service
    service.stop()
    thread.join()


@pytest.fixture(params=["", "24.1.2"])
def ferzl(stand_in, request) -> Ferzl:
    return made(stand_in, version=request.param)


def made(stand_in: StandIn, **values) -> Ferzl:
    wire = Wire(stand_in.url, Closed(), read_seconds=2, token=lambda: "secret", pause=lambda _: None)
    return Ferzl(wire, wire, **({"version": "", "okato": "40000"} | values))


def fated(owner, condition: str) -> list[tuple[str, str]]:
    with owner.begin() as connection:
        return [
            (row[0], row[1])
            for row in connection.execute(text(f"SELECT oip, enp FROM upstream.person p WHERE {condition}"))
        ]


def test_each_fate_is_understood(ferzl, owner) -> None:
    region_now = "EXISTS (SELECT FROM upstream.policy y WHERE y.oip = p.oip AND y.okato = '41000' AND y.since BETWEEN '2026-10-01' AND '2026-10-31')"
    for condition, expected in (
        ("death_date BETWEEN '2026-10-01' AND '2026-10-31'", Finding.DEAD),
        ("merged_at IS NOT NULL", Finding.MERGED),
        (f"death_date IS NULL AND merged_at IS NULL AND {region_now}", Finding.LEFT),
    ):
        people = fated(owner, condition)
        assert people, condition
        for _, enp in people[:5]:
            person = ferzl.person(enp, DAY)
            assert person is not None
            assert verdict(person, day=DAY, region="40000", known=None).finding is expected, condition


def test_searches(ferzl, owner) -> None:
    dead = {enp for _, enp in fated(owner, "death_date BETWEEN '2026-10-01' AND '2026-10-31'")}
    assert {one.enp for one in ferzl.dead(MONTH.first_day, MONTH.last_day)} == dead
    assert ferzl.person("4000000000000000", DAY) is None
    assert list(ferzl.named("Неттакого", "Имя", None, date(1911, 1, 1))) == []


def test_bulk(ferzl, tmp_path: Path) -> None:
    token = ferzl.start_changes(MONTH.first_day, MONTH.last_day)
    assert ferzl.changes(token) is None
    changes = ferzl.changes(token)
    assert changes is not None
    assert changes.departed
    token = ferzl.start_attachments(DAY)
    assert not ferzl.attachments(token, tmp_path / "extract.zip")
    assert ferzl.attachments(token, tmp_path / "extract.zip")
    with zipfile.ZipFile(tmp_path / "extract.zip") as archive:
        assert archive.testzip() is None
        lines = archive.read(archive.namelist()[0]).decode().splitlines()
    assert len(lines) > 1000
    assert lines[0].split(",")[0] == "11.2026"


@pytest.mark.parametrize(
    "name", ["http-500", "error-item-500", "fault", "no-needed-field", "wrapped-field", "gzip-bomb", "drop"]
)
def test_a_fault_is_no_fact(stand_in, owner, name: str) -> None:
    ferzl = made(stand_in)
    (_, enp), *_ = fated(owner, "death_date BETWEEN '2026-10-01' AND '2026-10-31'")
    stand_in.order(name, times=20)
    with pytest.raises(GatewayError) as raised:
        ferzl.person(enp, DAY)
    assert raised.value.code.startswith("upstream.")
    stand_in.calm()
    assert ferzl.person(enp, DAY) is not None


def test_newer_fields_do_no_harm(stand_in, owner) -> None:
    ferzl = made(stand_in)
    for _, enp in fated(owner, "true")[:50]:
        plain = ferzl.person(enp, DAY)
        stand_in.order("unknown-field")
        assert ferzl.person(enp, DAY) == plain


def test_content_by_mtom_is_the_same(stand_in, tmp_path: Path) -> None:
    ferzl = made(stand_in)
    token = ferzl.start_attachments(DAY)
    ferzl.attachments(token, tmp_path / "one.zip")
    assert ferzl.attachments(token, tmp_path / "one.zip")
    stand_in.order("mtom")
    assert ferzl.attachments(token, tmp_path / "two.zip")
    assert zipfile.ZipFile(tmp_path / "two.zip").namelist() == zipfile.ZipFile(tmp_path / "one.zip").namelist()
    assert (tmp_path / "two.zip").stat().st_size == (tmp_path / "one.zip").stat().st_size


def test_what_passes_is_asked_again(stand_in, owner) -> None:
    ferzl = made(stand_in)
    (_, enp), *_ = fated(owner, "death_date IS NULL")
    stand_in.order("drop", times=2)
    assert ferzl.person(enp, DAY) is not None


def test_a_wrong_token_is_refused(stand_in) -> None:
    wire = Wire(stand_in.url, Closed(), token=lambda: "other", pause=lambda _: None)
    with pytest.raises(GatewayError) as raised:
        Ferzl(wire, wire, version="", okato="40000").person("4000000000000000", DAY)
    assert raised.value.code.startswith("upstream.")
