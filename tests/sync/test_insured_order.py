"""Comparisons in the order of months, and facts of a day before what is known now."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pytest

from gateway.errors import GatewayError
from tests.lists.region import OTHER
from tests.sync.upstream_region import MONTH, Hand, by_hand

NEWER = date(2026, 11, 3)


@pytest.fixture
def place(store, owner) -> Iterator[Hand]:
    with by_hand(store, owner) as place:
        yield place


def test_an_older_month_is_not_applied_over_a_later_one(place: Hand) -> None:
    (entry,) = place.observe(place.region.person())
    place.begin()
    assert place.compare()["state"] == "APPLIED"
    with pytest.raises(GatewayError) as refusal:
        place.compare(MONTH.shift(-1))
    assert refusal.value.code == "reconcile.older"
    assert place.compare(MONTH.shift(-1), dry=True)["state"] == "PLANNED"
    assert place.compare(MONTH)["state"] == "APPLIED"
    assert place.entry(entry)["version"] == 1


def test_an_attachment_known_since_after_the_day_stands(place: Hand) -> None:
    """On the first of the month the register knew the former clinic; the person went to another one two days later, and
    that one has put the person on its list."""
    enp = place.region.person()
    place.begin()
    place.do(
        "UPDATE person SET attached_organisation = :clinic, attached_since = :since WHERE enp = :enp",
        clinic=OTHER, since=NEWER, enp=enp,
    )  # fmt: skip
    (entry,) = place.observe(enp, organisation=OTHER)
    row = place.compare()
    assert (row["state"], row["counts"].get("REPORT/NEWER")) == ("APPLIED", 1)
    assert place.entry(entry)["organisation"] == OTHER
    known = place.one("SELECT attached_organisation, attached_since FROM person WHERE enp = :enp", enp=enp)
    assert known == {"attached_organisation": OTHER, "attached_since": NEWER}
