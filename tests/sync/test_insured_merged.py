"""Numbers that the register has merged: entries follow the number that a person goes on as, and no history is lost."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pytest

from gateway.domain.persons import make_enp
from gateway.lists.model import Exclusion
from tests.lists.region import CLINIC, OTHER
from tests.sync.upstream_region import SINCE, Hand, by_hand

REPLACED = make_enp(40, date(1960, 5, 17), 1, 9001)


@pytest.fixture
def place(store, owner) -> Iterator[Hand]:
    with by_hand(store, owner) as place:
        yield place


def reported(place: Hand) -> set[str]:
    return {
        row["cause"]
        for row in place.all("SELECT DISTINCT cause FROM reconcile_change WHERE action = 'REPORT' AND NOT applied")
    }


def test_a_chain_of_merges_ends_with_the_last_number(place: Hand) -> None:
    one, two, three = (place.region.person() for _ in range(3))
    (entry,) = place.observe(one)
    place.begin()
    place.merge(one, two)
    place.merge(two, three)
    assert place.applied()["merge"] == 1
    assert place.entry(entry)["enp"] == three
    assert place.stays(entry) == [(CLINIC, SINCE, None, SINCE, None)]
    assert place.applied() == {}


def test_a_circle_of_merges_is_told_and_changes_nothing(place: Hand) -> None:
    one, two, itself = (place.region.person() for _ in range(3))
    entries = place.observe(one, two, itself)
    place.begin()
    place.merge(one, two)
    place.merge(two, one)
    place.merge(itself, itself)
    assert place.applied() == {}
    assert reported(place) == {"NO_SUCCESSOR"}
    assert [place.entry(one)["version"] for one in entries] == [1, 1, 1]


def test_merged_into_somebody_unknown_is_told(place: Hand) -> None:
    one, gone = place.region.person(), place.region.person()
    entries = place.observe(one, gone)
    place.begin()
    place.merge(one, None)
    place.person(gone, merged_into="999999999999", merged_at=date(2026, 10, 3))
    place.note(gone, date(2026, 10, 3))
    assert place.applied() == {}
    assert reported(place) == {"NO_SUCCESSOR"}
    assert [place.entry(one)["status"] for one in entries] == ["OBSERVED", "OBSERVED"]


def test_a_successor_that_keeps_the_number_is_the_same_person(place: Hand) -> None:
    """Two records of one number became one: nothing to follow, and the entry is not joined to itself."""
    one, other = place.region.person(), place.region.person()
    (entry,) = place.observe(one)
    place.begin()
    place.merge(one, other)
    place.do("UPDATE upstream.policy SET enp = :one WHERE enp = :other", one=one, other=other)
    place.move(other, OTHER, date(2026, 10, 20))
    assert place.applied()["move/move"] == 1
    assert (place.entry(entry)["status"], place.entry(entry)["enp"], place.entry(entry)["organisation"]) == ("OBSERVED", one, OTHER)  # fmt: skip
    assert place.applied() == {}


def test_a_number_that_the_register_replaced(place: Hand) -> None:
    """The register answers about the old number with a person whose policy in force has another one."""
    one = place.region.person("Иволгин")
    (entry,) = place.observe(one)
    place.begin()
    place.insure(one, "40000", date(2026, 10, 8), number=REPLACED)
    assert place.applied()["merge"] == 1
    found = place.entry(entry)
    assert (found["enp"], found["last_name"], found["status"]) == (REPLACED, "Иволгин", "OBSERVED")
    place.do("UPDATE upstream.person SET enp = :new WHERE enp = :old", new=REPLACED, old=one)
    assert place.applied() == {}


def test_merged_and_dead_in_one_month(place: Hand) -> None:
    one, heir = place.region.person(), place.region.person()
    (entry,) = place.observe(one)
    place.begin()
    place.merge(one, heir)
    place.die(heir, date(2026, 10, 25))
    assert {"merge": 1, "end/death": 1}.items() <= place.applied().items()
    found = place.entry(entry)
    assert (found["enp"], found["status"], found["excluded_on"]) == (heir, "EXCLUDED", date(2026, 10, 25))
    assert place.stays(entry)[-1][1:3] == (SINCE, date(2026, 10, 25))
    assert place.applied() == {}


def test_merged_and_dead_where_both_were_observed(place: Hand) -> None:
    one, heir = place.region.person(), place.region.person()
    entries = place.observe(one, heir)
    place.begin()
    place.merge(one, heir)
    place.die(heir, date(2026, 10, 25))
    assert {"join": 1, "end/death": 1}.items() <= place.applied().items()
    assert [place.entry(one)["status"] for one in entries] == ["EXCLUDED", "EXCLUDED"]
    assert [place.entry(one)["exclusion_reason"] for one in entries] == ["9", "3"]
    assert place.applied() == {}


def test_merged_and_moved_in_one_month(place: Hand) -> None:
    one, heir = place.region.person(), place.region.person()
    (entry,) = place.observe(one)
    place.begin()
    place.merge(one, heir)
    place.move(heir, OTHER, date(2026, 10, 20))
    assert {"merge": 1, "move/move": 1}.items() <= place.applied().items()
    found = place.entry(entry)
    assert (found["enp"], found["organisation"]) == (heir, OTHER)
    assert [stay[:3] for stay in place.stays(entry)] == [
        (CLINIC, SINCE, date(2026, 10, 20)), (OTHER, date(2026, 10, 20), None),
    ]  # fmt: skip
    assert place.region.ids("MOVED_OUT", month=10) == place.region.ids("MOVED_IN", month=10, organisation=OTHER, call=place.region.call(organisations=[OTHER])) == [entry]  # fmt: skip
    assert place.applied() == {}


def test_two_merged_into_a_third(place: Hand) -> None:
    one, two, heir = (place.region.person() for _ in range(3))
    first, second = place.observe(one, two)
    place.begin()
    place.merge(one, heir)
    place.merge(two, heir)
    assert {"merge": 1, "join": 1}.items() <= place.applied().items()
    kept = place.one("SELECT * FROM entry WHERE status = 'OBSERVED'")
    assert (str(kept["id"]), kept["enp"]) == (first, heir)
    with place.store.begin() as connection:
        view = place.region.lists.view(connection, int(first))
    assert len(view.segments) == 2
    assert place.entry(second)["exclusion_reason"] == "9"
    assert place.applied() == {}


def test_a_past_observation_of_the_successor_does_not_hinder(place: Hand) -> None:
    """The successor was observed for the same disease and no longer is: the entry goes over, and counts for the successor
    from the day on which it is free. The stay in the list has no gap."""
    one, heir = place.region.person(), place.region.person()
    kept, past = place.observe(one, heir, since=date(2026, 2, 1))
    place.region.do(place.region.lists.exclude, [Exclusion(past, date(2026, 6, 1), "1")])
    place.begin()
    place.merge(one, heir)
    assert place.applied()["merge"] == 1
    assert reported(place) == set()
    found = place.entry(kept)
    assert (found["enp"], found["status"]) == (heir, "OBSERVED")
    assert [stay[:3] for stay in place.stays(kept)] == [
        (CLINIC, date(2026, 2, 1), date(2026, 6, 1)), (CLINIC, date(2026, 6, 1), None),
    ]  # fmt: skip
    counted = place.all("SELECT p.enp FROM observation_segment s JOIN person p ON p.id = s.person_id WHERE s.entry_id = :id ORDER BY since", id=int(kept))  # fmt: skip
    assert [row["enp"] for row in counted] == [one, heir]
    assert place.entry(past)["exclusion_reason"] == "1"
    assert {kept} <= set(place.region.ids(month=3)) and place.region.ids(month=9) == [kept]
    assert place.region.ids("TAKEN", month=6) == [] and kept not in place.region.ids("EXCLUDED", month=6)
    assert place.applied() == {}


def test_merged_people_of_different_diseases(place: Hand) -> None:
    one, heir = place.region.person(), place.region.person()
    (entry,) = place.observe(one, diagnosis="E11.9")
    (own,) = place.observe(heir)
    place.begin()
    place.merge(one, heir)
    assert place.applied()["merge"] == 1
    assert {place.entry(one)["enp"] for one in (entry, own)} == {heir}
    assert place.entry(own)["version"] == 1
    assert place.applied() == {}
