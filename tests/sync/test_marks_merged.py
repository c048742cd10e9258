"""What registers told of people whose numbers were merged, or who became known later: it goes on with the person, counts in the
indicators from then on, and leaves the figures of closed months alone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import Any

import pytest
from sqlalchemy import text

from gateway.domain.periods import Month
from gateway.lists.indicators import Wish
from gateway.store.engine import Store
from gateway.store.tables import metadata
from tests.lists.region import CLINIC, Region, region
from tests.lists.test_indicators import settings
from tests.sync.registers import Bill, Register, Who
from tests.sync.test_marks import close, kept, put, rows, run
from tests.sync.upstream_region import Hand, by_hand

FOLLOW = {"entry", "observation_segment", "mark", "care_event"}
"""Tables whose rows of a merged person go on with its successor; a comparison keeps whom it asked about."""


@pytest.fixture
def merging(store: Store, owner: Store) -> Iterator[Hand]:
    with by_hand(store, owner) as place:
        yield place


def figures(place: Region, month: int) -> tuple[int, int]:
    """Numerator and denominator of the clinic."""
    with place.store.begin() as connection:
        found = place.lists.figures(connection, Wish("BSK", 2026, month, CLINIC))
    return found.numerator, found.denominator


def named(place: Region, enp: str) -> dict[str, int]:
    """How many rows of each table name the person."""
    (person,) = rows(place, "SELECT id FROM person WHERE enp = :enp", enp=enp)
    tables = [one.name for one in metadata.sorted_tables if "person_id" in one.columns and one.name in FOLLOW]
    count = "SELECT count(*) AS n FROM {} WHERE person_id = :id"
    return {one: int(rows(place, count.format(one), id=person["id"])[0]["n"]) for one in tables}


def test_no_table_that_names_a_person_is_forgotten() -> None:
    found = {one.name for one in metadata.sorted_tables if "person_id" in one.columns}
    assert found == FOLLOW | {"reconcile_fact"}


def test_marks_and_care_follow_a_merged_number(merging: Hand) -> None:
    place = merging.region
    one, heir = place.person(), place.person()
    run(place, put(place, Register([Bill(Who(one), "I20.8", 2, services=(("B04.015.003", "I20.8"),))])))
    before = named(place, one)
    assert before == {"entry": 1, "observation_segment": 1, "mark": 1, "care_event": 2}
    merging.begin()
    merging.merge(one, heir)
    assert merging.applied()["merge"] == 1
    assert named(place, one) == dict.fromkeys(before, 0)
    assert named(place, heir) == before
    assert merging.applied() == {}


def test_care_of_a_stay_that_cannot_follow_stands_with_both(merging: Hand, tmp_path: Any) -> None:
    place = settings(merging.region, tmp_path, care="DN_VISIT", match="KEY")
    one, heir = place.person(), place.person()
    merging.observe(one, heir)
    run(place, put(place, Register([Bill(Who(one), "I10", 1, services=())])))
    merging.begin()
    close(place, Month(2026, 10))
    assert figures(place, 10) == (1, 2)
    merging.merge(one, heir)
    assert merging.applied()["join"] == 1
    assert (named(place, one)["care_event"], named(place, heir)["care_event"]) == (1, 1)
    assert (named(place, one)["mark"], named(place, heir)["mark"]) == (0, 1)
    assert figures(place, 10) == (1, 2)
    assert figures(place, 11)[0] == figures(place, 11)[1]
    assert merging.applied() == {}
    assert named(place, heir)["care_event"] == 1


@pytest.fixture
def place(store: Store) -> Region:
    return region(store, date(2026, 11, 18))


def test_care_of_a_person_who_becomes_known_counts_from_then_on(place: Region, tmp_path: Any) -> None:
    place = settings(place, tmp_path, care="DN_VISIT")
    who = Who(place.person())
    place.at(date(2026, 9, 1)).add(who.enp, "I10")
    _rename(place, who.enp, "4000000000000003")
    run(place, put(place, Register([Bill(who, "I20.8", 2, services=())])))
    close(place, Month(2026, 10))
    _rename(place, "4000000000000003", who.enp)
    assert figures(place, 10) == (0, 1)
    run(place)
    assert [row["step"] for row in kept(place)] == ["ADD"]
    assert figures(place, 10) == (0, 1)
    assert figures(place, 11) == (1, 1)


def _rename(place: Region, enp: str, other: str) -> None:
    with place.store.begin() as connection:
        connection.execute(text("UPDATE person SET enp = :other WHERE enp = :enp"), {"enp": enp, "other": other})
