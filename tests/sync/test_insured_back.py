"""The way back: deaths that were an error, people who return to the region or to their clinic. What a clinic decided since
stands."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import date

import pytest

from gateway.domain.periods import Month
from gateway.lists.model import Exclusion
from tests.lists.feed import changes_of, feed
from tests.lists.region import CLINIC, OTHER
from tests.sync.upstream_region import MONTH, SINCE, Hand, by_hand, done

DIED = date(2026, 10, 15)
NOVEMBER, DECEMBER = Month(2026, 11), Month(2026, 12)


@pytest.fixture
def place(store, owner) -> Iterator[Hand]:
    with by_hand(store, owner) as place:
        yield place


def dead(place: Hand) -> tuple[str, str]:
    """A person observed and ended by the register, whose death is withdrawn then: ЕНП and entry."""
    enp = place.region.person()
    (entry,) = place.observe(enp)
    place.begin()
    place.die(enp, DIED)
    assert place.applied()["end/death"] == 1
    assert place.entry(entry)["excluded_on"] == DIED
    place.die(enp, None)
    place.at(date(2026, 12, 10))
    return enp, entry


def test_a_withdrawn_death_leaves_no_gap(place: Hand) -> None:
    enp, entry = dead(place)
    assert place.applied(NOVEMBER)["return"] == 1
    found = place.entry(entry)
    assert (found["status"], found["excluded_on"], found["exclusion_reason"]) == ("OBSERVED", None, None)
    assert place.stays(entry) == [(CLINIC, SINCE, None, SINCE, None)]
    assert place.value("SELECT death_date FROM person WHERE enp = :enp", enp=enp) is None
    assert found["next_visit_by"] is not None
    assert place.applied(NOVEMBER) == {}


def test_a_withdrawn_death_in_a_closed_month_counts_from_the_first_open_day(place: Hand) -> None:
    _, entry = dead(place)
    place.close(MONTH)
    place.close(NOVEMBER)
    assert place.applied(NOVEMBER)["return"] == 1
    assert place.stays(entry) == [
        (CLINIC, SINCE, DIED, SINCE, DIED), (CLINIC, date(2026, 12, 1), None, DIED, None),
    ]  # fmt: skip
    assert place.applied(NOVEMBER) == {}


def test_what_the_clinic_decided_since_stands(place: Hand) -> None:
    """The clinic itself reopened the entry and then ended it for a reason of its own."""
    enp, entry = dead(place)
    place.do("UPDATE person SET death_date = NULL WHERE enp = :enp", enp=enp)
    place.region.do(place.region.lists.reopen, entry, "ошибка", organisation=None)
    place.region.do(place.region.lists.exclude, [Exclusion(entry, date(2026, 12, 3), "1")])
    before = place.entry(entry)
    assert place.applied(NOVEMBER) == {}
    assert place.entry(entry) == before | {
        name: place.entry(entry)[name] for name in ("attached_organisation", "insurer")
    }


def test_an_entry_that_the_clinic_annulled_stays_so(place: Hand) -> None:
    _, entry = dead(place)
    place.region.do(place.region.lists.annul_entry, entry, "ошибка", organisation=None)
    assert place.applied(NOVEMBER).keys() <= {"persons"}
    assert place.entry(entry)["status"] == "ANNULLED"


def test_another_entry_for_the_disease_hinders_and_is_told(place: Hand) -> None:
    enp, entry = dead(place)
    place.do("UPDATE person SET death_date = NULL WHERE enp = :enp", enp=enp)
    place.observe(enp, organisation=OTHER, since=date(2026, 11, 5))
    row = place.compare(NOVEMBER)
    assert done(row)["hindered"] == 1
    assert place.entry(entry)["status"] == "EXCLUDED"
    told = place.files(row["id"])[f"reconcile-insured-{NOVEMBER}-{CLINIC}.csv"]
    assert [line[1] for line in csv.reader(io.StringIO(told), delimiter=";")][1:] == ["HINDERED"]


def test_back_in_the_region_at_another_clinic(place: Hand) -> None:
    """Out of the region in October, back in November and attached to another clinic: reopened, and moved there."""
    enp = place.region.person()
    (entry,) = place.observe(enp)
    place.begin()
    place.insure(enp, "41000", date(2026, 10, 9))
    assert place.applied()["end/departure"] == 1
    assert place.entry(entry)["exclusion_reason"] == "4"
    place.insure(enp, "40000", date(2026, 11, 12))
    place.move(enp, OTHER, date(2026, 11, 12))
    place.at(date(2026, 12, 10))
    assert {"return": 1, "move/move": 1}.items() <= place.applied(NOVEMBER).items()
    found = place.entry(entry)
    assert (found["status"], found["organisation"]) == ("OBSERVED", OTHER)
    stays = [stay[:3] for stay in place.stays(entry) if stay[1] != stay[2]]
    assert stays == [(CLINIC, SINCE, date(2026, 10, 9)), (OTHER, date(2026, 11, 12), None)]
    assert place.applied(NOVEMBER) == {}


def test_a_move_and_the_move_back_as_both_clinics_see_them(place: Hand) -> None:
    """MOVED lists, change feed and a mailbox file of both clinics, and the entry is where it was."""
    enp = place.region.person()
    (entry,) = place.observe(enp)
    place.begin()
    calls = {code: place.region.call(organisations=[code]) for code in (CLINIC, OTHER)}
    tokens = {code: feed(place.region, None, organisation=code, call=calls[code]).next_token for code in calls}
    for month, today, former, following, day in (
        (MONTH, date(2026, 11, 20), CLINIC, OTHER, date(2026, 10, 7)),
        (NOVEMBER, date(2026, 12, 10), OTHER, CLINIC, date(2026, 11, 9)),
    ):
        place.at(today)
        place.move(enp, following, day)
        row = place.compare(month)
        assert done(row)["move/move"] == 1
        for code, kind in ((former, "MOVED_OUT"), (following, "MOVED_IN")):
            at = {"organisation": code, "call": place.region.call(organisations=[code]), "month": month.month}
            assert place.region.ids(kind, **at) == [entry]
            assert place.region.ids("MOVED_IN" if kind == "MOVED_OUT" else "MOVED_OUT", **at) == []
            page = feed(place.region, tokens[code], organisation=code, call=at["call"])
            (change,) = [one for one in changes_of(page) if one.cause == "MOVE"]
            assert (change.id, change.kind, change.source) == (entry, kind, "ERZL")
            tokens[code] = page.next_token
            (file,) = place.all(
                "SELECT name FROM file WHERE operation_id = :id AND mailbox AND kind = 'NOTICE' AND organisation = :code",
                id=row["id"], code=code,
            )  # fmt: skip
            (line,) = list(csv.DictReader(io.StringIO(place.files(row["id"])[file["name"]]), delimiter=";"))
            assert (line["Код"], line["Запись"], line["Прежняя МО"], line["Новая МО"]) == (
                "MOVE", f'="{entry}"', f'="{former}"', f'="{following}"',
            )  # fmt: skip
            assert (line["Фактическая дата"], line["Действует с"]) == (f"{day:%d.%m.%Y}", f"{day:%d.%m.%Y}")
    assert place.entry(entry)["organisation"] == CLINIC
    assert [stay[:3] for stay in place.stays(entry)] == [
        (CLINIC, SINCE, date(2026, 10, 7)), (OTHER, date(2026, 10, 7), date(2026, 11, 9)),
        (CLINIC, date(2026, 11, 9), None),
    ]  # fmt: skip
    assert place.applied(NOVEMBER) == {}
