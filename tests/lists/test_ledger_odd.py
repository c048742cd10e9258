"""The first change after a start of the server: it begins an era, and long work must not make others wait for that."""

from __future__ import annotations

from sqlalchemy import text

from gateway.lists import ledger
from gateway.store import eras
from gateway.store.engine import driver_of
from tests.lists.region import CLINIC, OTHER, Region


def test_long_work_that_begins_an_era_holds_up_no_other_list(place: Region) -> None:
    place.add(place.person()), place.add(place.person(), organisation=OTHER)
    with place.store.begin() as connection:
        # as after a restart of the server
        connection.execute(text("UPDATE feed_era SET mark = mark || 'x'"))
    with place.store.begin() as long_work:
        ledger.lock(long_work, CLINIC)
        with place.store.begin() as other:
            other.execute(text("SET LOCAL lock_timeout = '2s'"))
            ledger.lock(other, OTHER)
        with place.store.begin() as reader:
            reader.execute(text("SET LOCAL lock_timeout = '2s'"))
            eras.current(driver_of(reader))
