"""Pages of a snapshot: membership, order and values stand still while the list changes."""

from __future__ import annotations

from datetime import date, timedelta
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from gateway.access.model import ClientKind
from gateway.domain.periods import Month
from gateway.errors import GatewayError
from gateway.lists import blocks
from gateway.lists.model import Exclusion, NewEntry, PlanChange
from tests.lists.region import CLINIC, OTHER, Plain, Region
from tests.lists.test_batches import DAY, codes, conduct


def fill(place: Region, count: int, organisation: str = CLINIC) -> list[str]:
    items = [NewEntry(place.person(f"Фамилия{n:04d}"), "I10", ("2026-12",)) for n in range(count)]
    return [str(result.id) for result in place.do(place.lists.add, items, organisation=organisation)]


def rows(body: bytes) -> list[str]:
    return [row for row in body.decode().split("\n") if row]


def test_names_sort_with_yo_beside_ye(place: Region) -> None:
    for last in ("Жуков", "Ёлкин", "Елкин", "Яшин", "Ежов", "Ёжиков"):
        place.add(place.person(last))
    names = [row.split("|")[5] for row in rows(place.list().body)]
    assert [name.replace("Ё", "Е").replace("ё", "е") for name in names] == [
        "Ежиков", "Ежов", "Елкин", "Елкин", "Жуков", "Яшин",
    ]  # fmt: skip


def test_pages_cover_the_list_once(place: Region) -> None:
    entries = fill(place, 620)
    page = place.list(count=100)
    found = rows(page.body)
    while len(found) < page.total_records:
        found += rows(place.list(start=len(found) + 1, count=130, snapshot=page.snapshot_id).body)
    assert [row.split(":")[0] for row in found] == [str(n) for n in range(1, 621)]
    assert sorted(row.split(":")[1].split("|")[0] for row in found) == sorted(entries)


def test_a_snapshot_keeps_membership_order_and_values(place: Region) -> None:
    entries = fill(place, 300)
    page = place.list(count=10)
    frozen = rows(place.list(count=300).body)
    assert codes(place, place.lists.exclude, *[Exclusion(id, DAY, "6") for id in entries[:50]])[0] == "ok"
    codes(place, place.lists.update_plans, *[PlanChange(id, ("2027-05",)) for id in entries[50:90]])
    codes(place, place.lists.conduct, *[conduct(id) for id in entries[80:120]])
    fill(place, 5)
    for count in (300, 7):
        assert rows(place.list(count=count, snapshot=page.snapshot_id).body) == frozen[:count]
    assert place.list().total_records == 255
    codes(place, place.lists.update_plans, *[PlanChange(id, ("2027-06",)) for id in entries[100:300]])
    assert rows(place.list(count=300, snapshot=page.snapshot_id).body) == frozen


def test_an_unchanged_list_is_fixed_once(place: Region) -> None:
    entries = fill(place, 3)
    first, second = place.list(), place.list()
    assert second.snapshot_id == first.snapshot_id and second.body == first.body
    codes(place, place.lists.update_plans, PlanChange(entries[0], ("2027-05",)))
    third = place.list()
    assert third.snapshot_id != first.snapshot_id and third.body != first.body


def test_a_first_page_may_begin_anywhere(place: Region) -> None:
    fill(place, 260)
    whole = rows(place.list(count=1000).body)
    for start in (1, 2, 249, 250, 251, 260, 261):
        page = place.list(start=start, count=5)
        assert rows(page.body) == whole[start - 1 : start + 4]
        assert page.returned_records == len(whole[start - 1 : start + 4])


def test_the_fund_reads_every_list_in_one(place: Region) -> None:
    mine, theirs = fill(place, 255), fill(place, 10, OTHER)
    call = place.call(kind=ClientKind.FUND, organisations=[], client_id=9)
    page = place.list(organisation=None, call=call, count=260)
    rest = place.list(organisation=None, call=call, start=261, count=10, snapshot=page.snapshot_id)
    found = [row.split(":")[1].split("|")[0] for row in rows(page.body) + rows(rest.body)]
    assert found == [*mine, *theirs] and page.total_records == 265


def test_an_insurer_reads_its_insured(place: Region) -> None:
    place.add(place.person(insurer="40002"))
    entry_id = place.add(place.person())
    call = place.call(kind=ClientKind.INSURER, organisations=[], insurer="40001", client_id=8)
    assert place.ids(organisation=None, call=call) == [entry_id]


def test_filters(place: Region) -> None:
    enp = place.person()
    first = place.add(enp, "I10", planned_months=("2026-12",))
    second = place.add(enp, "E11.9", planned_months=("2027-01",), doctor_snils="112-233-445 95")
    assert place.ids(diagnosis_group="СД") == [second]
    assert place.ids(enp=enp, planned_month="2026-12") == [first]
    assert place.ids(doctor_snils="11223344595") == [second]
    with place.store.begin() as connection:
        place.at(date(2026, 12, 2)).lists.close(connection, CLINIC, Month(2026, 11), "test", Plain())
    closed = {"month": 11, "edition": "CLOSED"}
    assert place.ids(diagnosis_group="СД", **closed) == [second]
    assert place.ids(planned_month="2026-12", enp=enp, **closed) == [first]
    assert place.ids(doctor_snils="11223344595", **closed) == [second]
    assert place.ids(diagnosis_group="ОНКО", **closed) == []


def test_a_snapshot_is_its_clients_own_and_ends(place: Region) -> None:
    fill(place, 2)
    page = place.list()
    for call, snapshot in ((place.call(client_id=2), page.snapshot_id), (place.call(), uuid4())):
        with pytest.raises(GatewayError, match="list.snapshot-expired"):
            place.list(call=call, snapshot=snapshot)
    with pytest.raises(GatewayError, match="list.choice-differs"):
        place.list("TAKEN", snapshot=page.snapshot_id)
    with place.store.begin() as connection:
        connection.execute(text("UPDATE list_snapshot SET expires_at = now() - interval '1 second'"))
    with pytest.raises(GatewayError, match="list.snapshot-expired"):
        place.list(snapshot=page.snapshot_id)


def test_expiry_drops_lines_and_keeps_the_ids_that_were_sent(place: Region) -> None:
    fill(place, 600)
    page = place.list(count=100)
    place.list(count=300, snapshot=page.snapshot_id)
    with place.store.begin() as connection:
        assert place.lists.expire_snapshots(connection) == 0
        connection.execute(text("UPDATE list_piece SET expires_at = now() - interval '1 day'"))
    with place.store.begin() as connection:
        place.lists.expire_snapshots(connection)
        left = connection.execute(text("SELECT number, body, cardinality(ids) FROM list_block ORDER BY number")).all()
    assert [tuple(row) for row in left] == [(0, None, 250), (1, None, 250)]


def test_expiry_fixes_who_was_on_a_first_page(place: Region) -> None:
    """The audit says which records left; who they were is found before the images that tell it are forgotten."""
    entries = fill(place, 300)
    place.list(count=10)
    codes(place, place.lists.exclude, *[Exclusion(id, DAY, "6") for id in entries[:50]])
    with place.store.begin() as connection:
        connection.execute(text("UPDATE list_piece SET expires_at = now() - interval '1 day'"))
    with place.store.begin() as connection:
        assert place.lists.fix_counted(connection) == 1
        assert place.lists.fix_counted(connection) == 0
        place.lists.expire_snapshots(connection)
        left = connection.execute(text("SELECT number, ids FROM list_block")).all()
    assert [(row.number, row.ids) for row in left] == [(0, [int(id) for id in entries[:250]])]


def test_a_piece_outlives_the_last_snapshot_that_names_it(place: Region) -> None:
    """A snapshot made some minutes after its piece does not write to it: the piece expires first by so much."""
    fill(place, 600)
    ids = place.ids()
    page = place.list(call=place.call(client_id=2), count=10)
    with place.store.begin() as connection:
        connection.execute(text("UPDATE list_piece SET expires_at = now() - interval '9 minutes'"))
        place.lists.expire_snapshots(connection)
    rest = place.list(call=place.call(client_id=2), snapshot=page.snapshot_id, start=300, count=300)
    assert [row.split(":")[1].split("|")[0] for row in rows(rest.body)] == ids[299:599]


@pytest.mark.parametrize(
    ("choice", "code"),
    [
        ({"month": 13}, "list.period"),
        ({"month": 1, "quarter": 1}, "list.period"),
        ({"quarter": 5}, "list.period"),
        ({"year": 1800}, "list.period"),
        ({"list_type": "ALL"}, "list.type"),
        ({"edition": "OLD"}, "list.edition"),
        ({"edition": "CLOSED"}, "list.not-closed"),
        ({"diagnosis_group": "XX"}, "list.group"),
        ({"enp": "1"}, "person.enp-format"),
        ({"doctor_snils": "1"}, "person.snils-format"),
        ({"planned_month": "2026"}, "plan.format"),
        ({"start": 0}, "list.page"),
        ({"count": 0}, "list.page"),
        ({"count": 10001}, "list.page"),
    ],
)
def test_a_wrong_choice_is_refused_by_name(place: Region, choice: dict[str, object], code: str) -> None:
    with pytest.raises(GatewayError) as caught:
        place.list(**choice)  # type: ignore[arg-type]
    assert caught.value.code == code


def test_one_audit_record_per_page(place: Region) -> None:
    fill(place, 12)
    page = place.list(count=5)
    place.list(count=5)
    place.list(start=6, count=5, snapshot=page.snapshot_id)
    with place.store.begin() as connection:
        records = connection.execute(
            text("SELECT snapshot_id, first_record, records, outcome FROM audit_record ORDER BY id")
        ).all()
    assert [tuple(row) for row in records] == [
        (page.snapshot_id, 1, 5, "OK"),
        (page.snapshot_id, 1, 5, "OK"),
        (page.snapshot_id, 6, 5, "OK"),
    ]


def test_what_an_entry_was_on_a_past_day(place: Region) -> None:
    past = place.at(date(2026, 9, 10))
    entry_id = past.add(past.person(), observed_since=date(2026, 9, 5), planned_months=("2026-09",))
    codes(place, place.lists.exclude, Exclusion(entry_id, date(2026, 11, 3), "6"))
    assert place.ids(month=8) == [] and place.ids(month=9) == place.ids(month=10) == [entry_id]
    assert place.ids() == [] and place.ids("EXCLUDED") == [entry_id]
    assert place.ids("PLANNED", month=9) == place.ids("NOT_VISITED", month=9) == [entry_id]
    assert place.ids("PLANNED", quarter=3) == [entry_id]


@given(
    sizes=st.lists(st.integers(0, 30), min_size=1, max_size=6),
    start=st.integers(0, 200),
    count=st.integers(1, 200),
)
@settings(max_examples=200, deadline=None)
def test_parts_of_pieces_are_the_slice_of_their_union(sizes: list[int], start: int, count: int) -> None:
    union = [(piece, n) for piece, size in enumerate(sizes) for n in range(size)]
    ends = [sum(sizes[: n + 1]) for n in range(len(sizes))]
    found = [
        (part.piece_id, n)
        for part in blocks.parts(range(len(sizes)), ends, start, count)
        for n in range(part.first, part.last)
    ]
    assert found == union[start : start + count]


def test_days_apart(place: Region) -> None:
    """A running list is another list tomorrow, even when nothing changed."""
    fill(place, 2)
    today = place.list()
    tomorrow = place.at(DAY + timedelta(1)).list()
    assert tomorrow.total_records == today.total_records and tomorrow.snapshot_id != today.snapshot_id


@pytest.mark.parametrize("list_type", ["OBSERVED", "TAKEN"])
def test_an_organisation_that_does_not_exist_has_no_list(place: Region, list_type: str) -> None:
    call = place.call(kind=ClientKind.FUND, organisations=[], client_id=9)
    assert place.list(list_type, organisation=OTHER, call=call).total_records == 0
    with pytest.raises(GatewayError, match="object.not-found"):
        place.list(list_type, organisation="499999", call=call)
