"""Closed months stay closed, whatever the register says of them and how late: no line of a closed list changes, a change counts
from the first open day, and its true day is kept."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway.domain.periods import Month
from tests.lists.region import CLINIC
from tests.sync.upstream_region import MONTH, Hand, by_hand

pytestmark = [pytest.mark.trial, pytest.mark.timeout(900)]

FIRST, LAST = date(2026, 7, 1), MONTH.last_day
CLOSABLE = (Month(2026, 8), Month(2026, 9), MONTH)
TYPES = ("OBSERVED", "TAKEN", "EXCLUDED", "PLANNED", "VISITED", "NOT_VISITED", "MOVED_IN", "MOVED_OUT")

days = st.dates(FIRST, LAST)
fates = st.tuples(
    st.sampled_from(("died", "left", "moved", "merged", "joined", "nothing")), days, days, st.integers(0, 2)
)
lives = st.lists(fates, min_size=4, max_size=10)
closes = st.lists(st.integers(0, 3), min_size=3, max_size=3)


@dataclass
class Life:
    """A person observed from ``since`` on, whom ``kind`` befalls on ``day``; a mover goes to ``following``."""

    kind: str
    day: date
    since: date
    home: str
    following: str
    enp: str
    entry: str


@pytest.fixture(scope="module")
def numbers() -> Iterator[int]:
    return itertools.count(1)


@pytest.fixture
def place(store, owner) -> Iterator[Hand]:
    with by_hand(store, owner, brake_share=100) as place:
        place.region.person(attached=CLINIC)
        place.begin()
        yield place


def settle(place: Hand, numbers: Iterator[int]) -> list[str]:
    """Three clinics of their own, so that their months close apart from those of other examples."""
    made = [f"41{next(numbers):04d}" for _ in range(3)]
    for code in made:
        place.do(
            "INSERT INTO organisation (code, name, valid_from) VALUES (:code, :code, '2000-01-01')", code=code
        )  # fmt: skip
    return made


def born(place: Hand, home: str, **other: Any) -> str:
    """A person whom both know."""
    enp = place.region.person(attached=home, **other)
    place.do(
        "INSERT INTO upstream.person (oip, enp, last_name, first_name, birth_date, sex, edited_on)"
        " SELECT lpad((100000000000 + id)::text, 12, '0'), enp, last_name, first_name, birth_date, sex, '2020-01-01'"
        " FROM person WHERE enp = :enp", enp=enp,
    )  # fmt: skip
    place.do("INSERT INTO upstream.policy (oip, enp, since, status, okato, insurer) VALUES (:oip, :enp, '2015-01-01', 'Действующий', '40000', '40001')", oip=place.oip(enp), enp=enp)  # fmt: skip
    place.do("INSERT INTO upstream.attachment (oip, organisation, since) VALUES (:oip, :home, '2018-01-01')", oip=place.oip(enp), home=home)  # fmt: skip
    return enp


def live(place: Hand, one: Life) -> None:
    match one.kind:
        case "died":
            place.die(one.enp, one.day)
        case "left":
            place.insure(one.enp, "41000", one.day)
        case "moved":
            place.move(one.enp, one.following, one.day)
        case "merged" | "joined":
            heir = born(place, one.home)
            if one.kind == "joined":
                place.observe(heir, organisation=one.home, since=one.since)
            place.merge(one.enp, heir, one.day)


def first_open(closed: int) -> date:
    """The first open day after so many of the months that close in these tests."""
    return CLOSABLE[closed - 1].shift(1).first_day if closed else date.min


def frozen(place: Hand, closed: dict[str, int]) -> dict[tuple[str, ...], bytes]:
    """Every closed list as it is served."""
    return {
        (code, str(month), kind): place.region.list(
            kind, month=month.month, year=month.year, edition="CLOSED", organisation=code,
            call=place.region.call(organisations=[code]),
        ).body
        for code, count in closed.items() for month in CLOSABLE[:count] for kind in TYPES
    }  # fmt: skip


def stays(place: Hand, closed: dict[str, int]) -> list[tuple[Any, ...]]:
    """Days of closed months on which entries stood in lists."""
    rows = place.all(
        "SELECT entry_id, organisation, since, coalesce(until, '9999-12-31'::date) AS until FROM observation_segment"
        " WHERE organisation = ANY(:codes)", codes=list(closed),
    )  # fmt: skip
    found = set()
    for row in rows:
        day, end = row["since"], min(row["until"], first_open(closed[row["organisation"]]))
        while day < end:
            found.add((row["entry_id"], row["organisation"], day))
            day += timedelta(1)
    return sorted(found)


@settings(
    max_examples=14, deadline=None, phases=(Phase.explicit, Phase.generate), suppress_health_check=list(HealthCheck)
)
@given(lives=lives, closes=closes, back=st.booleans(), more=st.integers(0, 3))
def test_closed_months_stay_closed(
    place: Hand, numbers: Iterator[int], lives: list[Any], closes: list[int], back: bool, more: int
) -> None:
    codes = settle(place, numbers)
    people = []
    for kind, day, since, number in lives:
        home, following = codes[number], codes[(number + 1) % 3]
        enp = born(place, home)
        (entry,) = place.observe(enp, organisation=home, since=since)
        people.append(Life(kind, day, since, home, following, enp, entry))
    closed = dict(zip(codes, closes, strict=True))
    for code, count in closed.items():
        for month in CLOSABLE[:count]:
            place.close(month, code)
    for one in people:
        live(place, one)
    before = frozen(place, closed), stays(place, closed)
    place.applied()
    assert (frozen(place, closed), stays(place, closed)) == before
    for one in people:
        check(place, one, {code: first_open(count) for code, count in closed.items()})

    # deaths that were an error, with more months closed meanwhile
    for code in codes:
        for month in CLOSABLE[closed[code] : max(closed[code], more)]:
            place.close(month, code)
        closed[code] = max(closed[code], more)
    for one in people:
        if one.kind == "died" and back:
            place.die(one.enp, None)
    ended = {one.entry: place.stays(one.entry)[-1] for one in people if one.kind == "died"}
    before = frozen(place, closed), stays(place, closed)
    place.applied()
    assert (frozen(place, closed), stays(place, closed)) == before
    for one in people:
        if one.kind == "died" and back:
            home, _, until, _, true_to = ended[one.entry]
            found = place.stays(one.entry)[-1]
            day = max(until, first_open(closed[home]))
            assert place.entry(one.entry)["status"] == "OBSERVED"
            assert (found[0], found[2]) == (home, None)
            assert found[1] == day or (day == until and found[1] == ended[one.entry][1])
            assert found[3] <= max(true_to, one.since)
    assert place.applied() == {}


def check(place: Hand, one: Life, opened: dict[str, date]) -> None:
    """Effective and true day of what befell a person."""
    found, chain = place.entry(one.entry), place.stays(one.entry)
    home, since, until, true_from, true_to = chain[0]
    assert (home, since, true_from) == (one.home, one.since, one.since)
    # news of a time before the person was observed end what had not begun
    told = max(one.day, true_from)
    match one.kind:
        case "nothing" | "merged":
            assert (found["status"], len(chain), until) == ("OBSERVED", 1, None)
        case "died" | "left":
            assert (until, true_to) == (max(one.day, since, opened[home]), told)
            assert found["excluded_on"] == max(one.day, one.since)
            assert found["exclusion_reason"] == {"died": "3", "left": "4"}[one.kind]
        case "joined":
            assert until == max(one.day, since, opened[home]) and true_to in (one.day, told)
            assert (found["status"], found["exclusion_reason"]) == ("EXCLUDED", "9")
        case "moved":
            day = max(one.day, since, opened[home], opened[one.following])
            assert (until, true_to) == (day, told)
            assert chain[1:] == [(one.following, day, None, one.day, None)]
            assert (found["organisation"], found["status"]) == (one.following, "OBSERVED")
