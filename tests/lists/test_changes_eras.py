"""What a token of a former history is worth: copies that are restored, servers that are started anew."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from gateway.access.model import ClientKind
from gateway.errors import GatewayError
from gateway.lists.model import PlanChange
from gateway.lists.tokens import Token
from gateway.settings import Settings
from gateway.store import dump, eras
from gateway.store.engine import Store
from gateway.store.place import Place
from gateway.upgrade import upgrade
from tests.lists.feed import Copy, changes_of, feed, listed
from tests.lists.region import CLINIC, OTHER, Region
from tests.lists.test_batches import codes
from tests.lists.test_changes import follow, refused
from tests.lists.test_pages import fill


def plan(place: Region, entry_id: str, organisation: str = CLINIC) -> None:
    assert codes(place, place.lists.update_plans, PlanChange(entry_id, ("2027-05",)), organisation=organisation) == [
        "ok"
    ]


def numbers(place: Region) -> list[int]:
    with place.store.begin() as connection:
        return list(connection.execute(text("SELECT number FROM feed_era ORDER BY 1")).scalars())


def another_server(place: Region) -> None:
    """As if the database had been taken over by a server that was started now."""
    with place.store.begin() as connection:
        connection.execute(
            text("UPDATE feed_era SET mark = mark || 'x' WHERE number = (SELECT max(number) FROM feed_era)")
        )


def test_a_token_outlives_a_restart_and_no_more_than_that(place: Region) -> None:
    (entry_id,) = fill(place, 1)
    token = feed(place, None).next_token
    another_server(place)
    plan(place, entry_id)
    with place.store.begin() as connection:
        former = connection.execute(text("SELECT mark FROM feed_era WHERE number = 1")).scalar_one()
    token = str(Token(str(eras.Era(1, former)), CLINIC, Token.parse(token).positions))
    page = feed(place, token)
    assert numbers(place) == [1, 2]
    assert [one.kind for one in changes_of(page)] == ["PLANNED"]
    assert Token.parse(page.next_token).era.startswith("2-")
    # the client had read a change that this history has lost and then given its number to another one
    lost = Token.parse(token)
    assert refused(place, str(Token(lost.era, CLINIC, {CLINIC: 2}))) == "changes.token-expired"
    fund = place.call(kind=ClientKind.FUND, organisations=[], client_id=9)
    for positions, code in (({CLINIC: 1}, None), ({CLINIC: 2}, "x"), ({CLINIC: 1, OTHER: 1}, "x")):
        every = str(Token(lost.era, None, positions))
        if code is None:
            assert feed(place, every, organisation=None, call=fund).returned == 1
        else:
            assert refused(place, every, organisation=None, call=fund) == "changes.token-expired"


@pytest.mark.parametrize("first", ["change", "read", "list", "persons"])
def test_whoever_comes_first_begins_the_era_before_anything_is_written(place: Region, first: str) -> None:
    (entry_id,) = fill(place, 1)
    another_server(place)
    if first == "change":
        plan(place, entry_id)
    elif first == "read":
        feed(place, None)
    elif first == "list":
        place.list()
    else:
        with place.store.begin() as connection:
            connection.execute(
                text("CREATE TEMP TABLE changed_person ON COMMIT DROP AS SELECT id AS person_id FROM person")
            )
            connection.execute(text("UPDATE person SET last_name = 'Эльин'"))
            assert place.lists.renew_persons(connection) == 1
    with place.store.begin() as connection:
        positions = connection.execute(text("SELECT positions FROM feed_era WHERE number = 2")).scalar_one()
    assert positions == {CLINIC: 1}


def test_many_at_once_begin_one_era(place: Region) -> None:
    entries = [*fill(place, 4), *fill(place, 4, OTHER)]
    another_server(place)
    failed: list[BaseException] = []
    ready = threading.Barrier(12)

    def work(number: int) -> None:
        try:
            ready.wait(20)
            if number < 8:
                plan(place, entries[number], CLINIC if number < 4 else OTHER)
            elif number < 10:
                feed(place, None)
            else:
                place.list()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == [] and numbers(place) == [1, 2]
    with place.store.begin() as connection:
        positions = connection.execute(text("SELECT positions FROM feed_era WHERE number = 2")).scalar_one()
    assert positions == {CLINIC: 4, OTHER: 4}


def restored(server: Any, place: Region, name: str, file: Path) -> Region:
    """The same region in a database that was restored from a copy."""
    dump.restore(server.owner_url_of(name), file)
    upgrade(Place(server.url(name), server.owner_url_of(name)), Settings())
    other = Region(Store(server.url(name), size=4), place.today, place.lists, place.settings)
    other.serial = place.serial
    return other


def test_a_restored_copy_goes_on_for_those_who_had_not_read_further(
    server: Any, place: Region, owner: Store, make_database: Callable[[], str], tmp_path: Path
) -> None:
    """Two copies of one dump go different ways; every token is continued truly or refused, never mixed."""
    entries = fill(place, 5)
    before = feed(place, None).next_token
    page = place.list()
    plan(place, entries[0])
    at_the_end = feed(place, None).next_token
    dump.backup(owner.url, tmp_path / "copy.dump")
    plan(place, entries[1])
    beyond = feed(place, None).next_token

    copies = [restored(server, place, make_database(), tmp_path / "copy.dump") for _ in range(2)]
    try:
        for copy, chosen in zip(copies, entries[2:4], strict=True):
            # its own changes take the numbers that the lost ones had
            plan(copy, chosen)
            plan(copy, entries[4])
            assert numbers(copy) == [1, 2]
            assert [one.id for one in changes_of(feed(copy, before))] == [entries[0], chosen, entries[4]]
            assert [one.id for one in changes_of(feed(copy, at_the_end))] == [chosen, entries[4]]
            assert refused(copy, beyond) == "changes.token-expired"
            kept = Copy()
            kept.load([row for row in page.body.decode().split("\n") if row])
            kept.apply(follow(copy, page.change_token)[0])
            assert kept.sorted == listed(copy)
        here, there = (feed(copy, None).next_token for copy in copies)
        for copy, token in ((copies[0], there), (copies[1], here), (place, here)):
            assert refused(copy, token) == "changes.token-expired"
        assert feed(place, beyond).returned == 0
    finally:
        for copy in copies:
            copy.store.close()


def test_a_copy_of_an_older_schema_is_restored(server: Any, make_database: Callable[[], str], tmp_path: Path) -> None:
    """It has no eras: the first use makes one."""
    from gateway.store import migrate

    former, empty = make_database(), make_database()
    place = Place(server.url(former), server.owner_url_of(former))
    migrate.upgrade(place.owner_url, place.app_role, to="0004")
    dump.backup(place.owner_url, tmp_path / "copy.dump")
    dump.restore(server.owner_url_of(empty), tmp_path / "copy.dump")
    upgrade(Place(server.url(empty), server.owner_url_of(empty)), Settings())
    store = Store(server.url(empty), size=0)
    with store.driver() as driver:
        assert eras.current(driver).number == 1
    store.close()


def test_an_era_of_another_lineage_is_none_of_this_one(place: Region) -> None:
    fill(place, 1)
    with place.store.driver() as driver:
        now = eras.current(driver)
        assert eras.ends(driver, str(now)) is None
        assert eras.ends(driver, "1-00000000") is None
    with pytest.raises(GatewayError):
        Token.parse(f"1.{now.mark}.{CLINIC}.1")
