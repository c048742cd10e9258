"""The brake: what it holds, what a decision does, and what clinics changed while the plan waited."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pytest

from gateway.domain.periods import Month
from gateway.errors import GatewayError
from gateway.lists.model import Exclusion
from gateway.sync.insured import work
from tests.lists.region import OTHER
from tests.sync.upstream_region import MONTH, Hand, by_hand, done

DIED = date(2026, 10, 15)
NOVEMBER = Month(2026, 11)
STATE = "SELECT md5(string_agg(t::text, '' ORDER BY t::text)) FROM {} t"
TABLES = ("person", "entry", "entry_event", "observation_segment", "list_ledger")


@pytest.fixture
def place(store, owner) -> Iterator[Hand]:
    with by_hand(store, owner, brake_count=2) as place:
        yield place


def decide(place: Hand) -> None:
    with place.store.begin() as connection:
        operation = work.approve(connection, login="test", trace="t")
    assert place.run(operation).state == "DONE"


def refuse(place: Hand) -> None:
    with place.store.begin() as connection:
        work.refuse(connection, login="test")


def state(place: Hand) -> list[str]:
    return [place.value(STATE.format(name)) for name in TABLES]


def causes(row: dict) -> list[str]:
    return sorted({one["why"] for one in row["brake"]})


def test_what_clinics_changed_while_the_plan_waited_stands(place: Hand) -> None:
    """The plan ends six entries. Meanwhile one was ended for another reason, one was annulled, one got another diagnosis,
    one was visited, and the fund loaded that one person is alive after all."""
    enps = [place.region.person() for _ in range(6)]
    ended, annulled, renamed, visited, alive, untouched = place.observe(*enps)
    place.begin()
    for enp in enps:
        place.die(enp, DIED)
    row = place.compare()
    assert (row["state"], causes(row), row["counts"]["END/DEATH"]) == ("BRAKED", ["LIST"], 6)
    lists = place.region.lists
    place.region.do(lists.exclude, [Exclusion(ended, date(2026, 11, 2), "1")])
    place.region.do(lists.annul_entry, annulled, "ошибка", organisation=None)
    place.region.do(lists.change_diagnosis, renamed, "I11.9", date(2026, 11, 1), "уточнён", organisation=None)
    place.do("UPDATE person SET as_of = now(), last_name = 'Живой' WHERE enp = :enp", enp=enps[4])
    before = {one: place.entry(one) for one in (ended, annulled)}
    decide(place)
    assert place.reconcile(row["id"])["state"] == "APPLIED"
    assert done(place.reconcile(row["id"]))["end/death"] == 3
    for one, found in before.items():
        after = place.entry(one)
        assert [after[name] for name in ("status", "excluded_on", "exclusion_reason", "version")][:3] == [
            found[name] for name in ("status", "excluded_on", "exclusion_reason")
        ]
    assert place.entry(renamed)["diagnosis"] == "I11.9"
    assert {place.entry(one)["exclusion_reason"] for one in (renamed, visited, untouched)} == {"3"}
    assert place.entry(alive)["status"] == "OBSERVED"
    assert place.one("SELECT last_name, death_date FROM person WHERE enp = :enp", enp=enps[4]) == {
        "last_name": "Живой", "death_date": None,
    }  # fmt: skip
    applied = place.all("SELECT entry_id FROM reconcile_change WHERE reconcile_id = :id AND applied", id=row["id"])
    assert {str(one["entry_id"]) for one in applied} == {renamed, visited, untouched}


def test_returns_and_merges_that_no_longer_hold_are_left_out(place: Hand) -> None:
    """Three deaths are withdrawn and three numbers merged, but the brake holds for other entries; meanwhile clinics decided."""
    back = [place.region.person() for _ in range(2)]
    merged, heir = place.region.person(), place.region.person()
    many = [place.region.person() for _ in range(4)]
    first, second = place.observe(*back)
    (given,) = place.observe(merged, diagnosis="E11.9")
    place.observe(*many)
    place.begin()
    for enp in back:
        place.die(enp, DIED)
    assert place.applied()["end/death"] == 2
    place.at(date(2026, 12, 10))
    for enp in back:
        place.die(enp, None)
    place.merge(merged, heir, date(2026, 11, 10))
    for enp in many:
        place.die(enp, date(2026, 11, 15))
    row = place.compare(NOVEMBER)
    assert (row["state"], row["counts"]["RETURN/RETURN"], row["counts"]["MERGE/MERGE"]) == ("BRAKED", 2, 1)
    place.do("UPDATE person SET death_date = NULL WHERE enp = :enp", enp=back[0])
    place.region.do(place.region.lists.reopen, first, "ошибка", organisation=None)
    place.region.do(place.region.lists.exclude, [Exclusion(first, date(2026, 12, 1), "1")])
    place.region.do(place.region.lists.exclude, [Exclusion(given, date(2026, 12, 1), "1")])
    decide(place)
    found = done(place.reconcile(row["id"]))
    assert (found["return"], found["end/death"], found.get("merge"), found.get("hindered")) == (1, 4, None, None)
    assert (place.entry(first)["status"], place.entry(first)["exclusion_reason"]) == ("EXCLUDED", "1")
    assert (place.entry(given)["enp"], place.entry(given)["exclusion_reason"]) == (merged, "1")
    assert place.entry(second)["status"] == "OBSERVED"


def test_months_closed_while_the_plan_waited_stay_closed(place: Hand) -> None:
    enps = [place.region.person() for _ in range(4)]
    entries = place.observe(*enps)
    place.begin()
    for enp in enps:
        place.die(enp, DIED)
    assert place.compare()["state"] == "BRAKED"
    place.close(MONTH)
    decide(place)
    for one in entries:
        assert place.stays(one)[-1][2:] == (date(2026, 11, 1), date(2026, 1, 12), DIED)
        assert place.entry(one)["excluded_on"] == DIED
    assert place.region.ids(month=10, edition="CLOSED") == entries


def test_a_refused_plan_leaves_everything(place: Hand) -> None:
    enps = [place.region.person() for _ in range(4)]
    place.observe(*enps)
    place.begin()
    for enp in enps:
        place.die(enp, DIED)
    before = state(place)
    assert place.compare()["state"] == "BRAKED"
    refuse(place)
    assert state(place) == before
    with place.store.begin() as connection, pytest.raises(GatewayError) as refusal:
        work.approve(connection, login="test", trace="t")
    assert refusal.value.code == "reconcile.none"


def test_an_approved_plan_without_its_extract_is_not_applied(place: Hand) -> None:
    """A crash of the database server empties the extract: the plan is not applied in part."""
    enps = [place.region.person() for _ in range(4)]
    place.observe(*enps)
    place.begin()
    place.region.person()
    for enp in enps[:3]:
        place.die(enp, DIED)
    assert place.compare()["state"] == "BRAKED"
    before = state(place)
    place.do("TRUNCATE attachment_line")
    with place.store.begin() as connection:
        operation = work.approve(connection, login="test", trace="t")
    found = place.run(operation)
    assert (found.state, found.code) == ("FAILED", "reconcile.extract")
    assert state(place) == before


def test_a_list_of_five_may_lose_one(store, owner) -> None:
    with by_hand(store, owner) as place:
        enps = [place.region.person() for _ in range(5)]
        place.observe(*enps)
        place.begin()
        place.die(enps[0], DIED)
        assert place.applied()["end/death"] == 1


def test_an_extract_that_shrank_is_held(store, owner) -> None:
    """Nobody is gone, the extract only lost lines: nothing would change, and still it waits."""
    with by_hand(store, owner, brake_shrink=3) as place:
        enps = [place.region.person() for _ in range(40)]
        place.observe(*enps)
        place.begin()
        assert place.applied() == {}
        place.at(date(2026, 12, 10))
        lost(place, enps[:4])
        before = state(place)
        row = place.compare(NOVEMBER)
        assert (row["state"], row["brake"]) == ("BRAKED", [{"why": "EXTRACT", "lines": 36, "former": 40}])
        assert not [name for name in row["counts"] if name.startswith(("END", "MOVE", "MERGE"))]
        refuse(place)
        assert state(place) == before


def lost(place: Hand, enps: list[str]) -> None:
    """People whose attachment the register no longer shows."""
    for enp in enps:
        place.do("UPDATE upstream.attachment SET area = '3' WHERE oip = :oip", oip=place.oip(enp))


def test_an_extract_that_lost_one_clinic_is_held(store, owner) -> None:
    """A fiftieth of the extract, but most of one clinic."""
    with by_hand(store, owner, brake_shrink=50) as place:
        many = [place.region.person() for _ in range(60)]
        few = [place.region.person(attached=OTHER) for _ in range(16)]
        place.observe(*few, organisation=OTHER)
        place.begin()
        assert place.applied() == {}
        place.at(date(2026, 12, 10))
        lost(place, few[:11])
        row = place.compare(NOVEMBER)
        assert (row["state"], row["brake"]) == (
            "BRAKED", [{"why": "CLINIC", "organisation": OTHER, "lines": 5, "former": 16}],
        )  # fmt: skip
        assert f"Тормоз: у {OTHER} в выписке прикреплений 5 строк, прежде было 16" in place.lines(row["id"])
        refuse(place)
        place.do("UPDATE upstream.attachment SET area = '1'")
        lost(place, many[:3] + few[:3])
        assert place.compare(NOVEMBER)["state"] == "APPLIED"
        assert place.region.ids(organisation=OTHER, call=place.region.call(organisations=[OTHER]), month=12) != []
