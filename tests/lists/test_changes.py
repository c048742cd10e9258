"""The change feed: every change once, in order, with the line as it stood after it; a full load and the feed join."""

from __future__ import annotations

import base64
import threading
import time
import zlib
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from gateway.access.model import ClientKind, Foreign
from gateway.domain.periods import Month
from gateway.errors import GatewayError
from gateway.lists.changes import shares
from gateway.lists.model import Exclusion, NewEntry, PlanChange
from gateway.lists.tokens import Token
from tests.lists.feed import Change, Copy, changes_of, feed, listed
from tests.lists.region import CLINIC, OTHER, Plain, Region
from tests.lists.test_batches import DAY, codes, conduct
from tests.lists.test_pages import fill, rows
from tests.lists.test_persons import renew

ERA = "1-0123abcd"


def refused(place: Region, token: str | None, count: int = 10, **values: Any) -> str:
    with pytest.raises(GatewayError) as refusal:
        feed(place, token, count, **values)
    return refusal.value.code


def shown(place: Region, entry_id: str) -> tuple[str, ...]:
    """The line of an entry as GetEntry has it now."""
    with place.store.begin() as connection:
        return tuple(value or "" for value in place.lists.view(connection, int(entry_id)).line)


def follow(place: Region, token: str, count: int = 1000, **values: Any) -> tuple[list[Change], str]:
    """All changes up to now, and the next token."""
    found: list[Change] = []
    while True:
        page = feed(place, token, count, **values)
        found += changes_of(page)
        token = page.next_token
        if not page.more:
            return found, token


def test_every_change_comes_with_the_line_it_made(place: Region) -> None:
    token = feed(place, None)
    assert (token.returned, token.more, token.body) == (0, False, b"")
    seen: list[tuple[str, tuple[str, ...]]] = []
    enp = place.person("Ванин")

    def step(kind: str, entry_id: str) -> None:
        seen.append((kind, shown(place, entry_id)))

    first = place.add(enp, external_id="A-1")
    step("TAKEN", first)
    second = place.add(place.person("Яшин"), "E11.9")
    step("TAKEN", second)
    assert codes(place, place.lists.update_plans, PlanChange(first, ("2027-05",))) == ["ok"]
    step("PLANNED", first)
    (result,) = place.do(place.lists.conduct, [conduct(first)])
    step("VISITED", first)
    assert codes(place, place.lists.conduct, conduct(first, place="9", result="8")) == ["ok"]
    step("ATTEMPTED", first)
    place.do(place.lists.change_diagnosis, first, "I11.9", DAY, "уточнение", organisation=None)
    step("DIAGNOSIS_CHANGED", first)
    place.do(place.lists.annul_visit, result.id, "ошибка", organisation=None)
    step("VISIT_ANNULLED", first)
    with place.store.begin() as connection:
        connection.execute(text("UPDATE person SET last_name = 'Эльин' WHERE enp = :enp"), {"enp": enp})
    assert renew(place, enp) == 1
    step("PERSON_CHANGED", first)
    assert codes(place, place.lists.exclude, Exclusion(first, DAY, "6")) == ["ok"]
    step("EXCLUDED", first)
    place.do(place.lists.reopen, first, "ошибка", organisation=None)
    step("REOPENED", first)
    place.do(place.lists.annul_entry, first, "ошибка", organisation=None)
    step("ANNULLED", first)

    for count in (1000, 3, 1):
        found, after = follow(place, token.next_token, count)
        assert [(one.kind, one.line) for one in found] == seen
        assert [one.sequence for one in found] == list(range(1, len(seen) + 1))
        assert all(one.changed_at == one.value("changed_at") for one in found)
        assert feed(place, after).returned == 0
    assert found[-1].value("status") == "ANNULLED"


def test_what_is_not_committed_is_not_read_and_holds_up_no_other_list(place: Region) -> None:
    fund = place.call(kind=ClientKind.FUND, organisations=[], client_id=9)
    entries = fill(place, 3) + fill(place, 3, OTHER)
    token = feed(place, None, organisation=None, call=fund).next_token
    call = place.call()
    with place.store.begin() as connection:
        place.lists.update_plans(connection, call, CLINIC, [PlanChange(entries[0], ("2027-05",))])
        codes(place, place.lists.update_plans, PlanChange(entries[3], ("2027-05",)), organisation=OTHER)
        early = feed(place, token, organisation=None, call=fund)
        assert [one.id for one in changes_of(early)] == [entries[3]]
    late = feed(place, early.next_token, organisation=None, call=fund)
    assert [one.id for one in changes_of(late)] == [entries[0]]


def test_pages_of_many_lists_are_shared(place: Region) -> None:
    fund = place.call(kind=ClientKind.FUND, organisations=[], client_id=9)
    token = feed(place, None, organisation=None, call=fund).next_token
    fill(place, 40), fill(place, 5, OTHER)
    page = feed(place, token, 20, organisation=None, call=fund)
    found = changes_of(page)
    assert [one.value("organisation") for one in found] == [CLINIC] * 15 + [OTHER] * 5 and page.more
    rest, _ = follow(place, page.next_token, 7, organisation=None, call=fund)
    assert [one.sequence for one in found[:15] + rest] == list(range(1, 41))


@given(
    behind=st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(1, 50), min_size=1, max_size=8),
    count=st.integers(1, 200),
)
@settings(max_examples=300, deadline=None)
def test_shares_are_alike_and_use_all_there_is(behind: dict[str, int], count: int) -> None:
    given_ = shares(behind, count)
    assert sum(given_.values()) == min(count, sum(behind.values()))
    for name, waiting in behind.items():
        assert min(waiting, count // len(behind)) <= given_.get(name, 0) <= waiting


# tokens ---------------------------------------------------------------------------------------------------------------


@given(
    st.dictionaries(st.from_regex(r"[0-9]{6}", fullmatch=True), st.integers(1, 10**12), max_size=300),
    st.integers(1, 10**6),
)
@settings(max_examples=100, deadline=None)
def test_a_token_reads_as_it_was_written(positions: dict[str, int], number: int) -> None:
    era = f"{number}-0123abcd"
    for token in (Token(era, None, positions), *(Token(era, name, {name: seq}) for name, seq in positions.items())):
        assert Token.parse(str(token)) == token
        assert len(str(token)) < 4500


@given(st.text(max_size=60) | st.from_regex(r"1\.1-0123abcd\.(\*|400001)\.[0-9A-Za-z_=-]{0,40}", fullmatch=True))
@settings(max_examples=500, deadline=None)
def test_what_is_no_token_is_refused(text_: str) -> None:
    try:
        assert str(Token.parse(text_)).startswith("1.")
    except GatewayError as refusal:
        assert refusal.code == "changes.token"


def test_a_damaged_vector_is_refused() -> None:
    whole = str(Token(ERA, None, {f"4000{n:02d}": n * 37 for n in range(1, 60)}))
    at = whole.rindex(".") + 1
    for place in range(at, len(whole), 7):
        other = "A" if whole[place] != "A" else "B"
        for damaged in (whole[:place] + other + whole[place + 1 :], whole[:place]):
            with pytest.raises(GatewayError, match=r"changes\.token"):
                Token.parse(damaged)


def test_a_vector_that_inflates_without_end_is_refused() -> None:
    bomb = f"1.{ERA}.*.{base64.urlsafe_b64encode(zlib.compress(bytes(10) * 10**6, 9)).decode()}"
    assert len(bomb) < 15_000
    with pytest.raises(GatewayError, match=r"changes\.token"):
        Token.parse(bomb)


def test_a_token_is_of_its_list(place: Region) -> None:
    fill(place, 2), fill(place, 2, OTHER)
    fund = place.call(kind=ClientKind.FUND, organisations=[], client_id=9)
    mine = feed(place, None).next_token
    theirs = feed(place, None, organisation=OTHER, call=fund).next_token
    every = feed(place, None, organisation=None, call=fund).next_token
    assert refused(place, theirs) == "changes.token-scope"
    assert refused(place, every) == "changes.token-scope"
    assert refused(place, every, organisation=None) == "changes.token-scope"
    assert refused(place, every, organisation=OTHER, call=fund) == "changes.token-scope"
    for token in (theirs, theirs.replace(OTHER, "499999")):
        with pytest.raises(Foreign):
            feed(place, token, organisation=None)
    assert refused(place, None, organisation="499999", call=fund) == "object.not-found"
    both = place.call(organisations=[CLINIC, OTHER])
    assert refused(place, None, organisation=None, call=both) == "organisation.required"
    assert feed(place, mine, organisation=None, call=both).next_token == mine
    assert feed(place, theirs, organisation=None, call=both).next_token == theirs


@pytest.mark.parametrize("count", [0, -1, 10_001])
def test_a_count_outside_the_limits_is_refused(place: Region, count: int) -> None:
    assert refused(place, None, count) == "list.page"


def test_a_token_ahead_of_the_history_or_of_another_one_is_refused(place: Region) -> None:
    fill(place, 3)
    token = Token.parse(feed(place, None).next_token)
    for era, seq in ((token.era, 4), (ERA, 1), (ERA, 0), ("99-" + token.era[-8:], 1)):
        assert refused(place, str(Token(era, CLINIC, {CLINIC: seq}))) == "changes.token-expired"
    fund = place.call(kind=ClientKind.FUND, organisations=[], client_id=9)
    for positions in ({CLINIC: 4}, {CLINIC: 3, "499999": 1}):
        ahead = str(Token(token.era, None, positions))
        assert refused(place, ahead, organisation=None, call=fund) == "changes.token-expired"


def test_the_feed_reaches_back_as_far_as_images_are_kept(place: Region) -> None:
    entries = fill(place, 6)
    fill(place, 2, OTHER)
    token = Token.parse(feed(place, None).next_token)
    codes(place, place.lists.update_plans, *[PlanChange(id, ("2027-05",)) for id in entries])
    with place.store.begin() as connection:
        connection.execute(
            text("UPDATE entry_event SET recorded_at = now() - interval '3 days' WHERE seq IN (1, 2, 3, 5)")
        )
    before = datetime.now(UTC) - timedelta(days=1)
    forgotten = 1
    while forgotten:
        with place.store.begin() as connection:
            forgotten = place.lists.forget_images(connection, before)
    with place.store.begin() as connection:
        ledgers = connection.execute(text("SELECT organisation, forgotten FROM list_ledger ORDER BY 1")).all()
    # the fifth is as old, but a younger one stands before it
    assert [tuple(row) for row in ledgers] == [(CLINIC, 3), (OTHER, 2)]
    for seq in range(13):
        position = str(Token(token.era, CLINIC, {CLINIC: seq}))
        if seq < 3:
            assert refused(place, position) == "changes.token-expired"
        else:
            assert [one.sequence for one in changes_of(feed(place, position))] == list(range(seq + 1, 13))
    every = str(Token(token.era, None, {CLINIC: 3}))
    fund = place.call(kind=ClientKind.FUND, organisations=[], client_id=9)
    assert refused(place, every, organisation=None, call=fund) == "changes.token-expired"


def test_images_that_are_forgotten_while_a_page_is_read(place: Region) -> None:
    """The ledger was read before: the page is refused, not given without a line."""
    (entry_id,) = fill(place, 1)
    token = Token.parse(feed(place, None).next_token)
    codes(place, place.lists.update_plans, PlanChange(entry_id, ("2027-05",)))
    codes(place, place.lists.update_plans, PlanChange(entry_id, ("2027-06",)))
    with place.store.begin() as connection:
        connection.execute(text("UPDATE entry_event SET before = NULL"))
    assert refused(place, str(token)) == "changes.token-expired"


# who sees what --------------------------------------------------------------------------------------------------------


def test_an_insurer_reads_of_its_insured_and_learns_who_left(place: Region) -> None:
    own, other = ("40001", "40002")
    calls = {
        code: place.call(kind=ClientKind.INSURER, organisations=[], insurer=code, client_id=n)
        for n, code in enumerate((own, other), 7)
    }
    tokens = {code: feed(place, None, organisation=None, call=call).next_token for code, call in calls.items()}
    enp, theirs = place.person("Ванин"), place.person("Яшин", insurer=other)
    entry_id, foreign_id = place.add(enp), place.add(theirs)
    codes(place, place.lists.update_plans, PlanChange(entry_id, ("2027-05",)))
    with place.store.begin() as connection:
        connection.execute(
            text("UPDATE person SET insurer = :insurer, attached_organisation = :other WHERE enp = :enp"),
            {"insurer": other, "other": OTHER, "enp": enp},
        )
    renew(place, enp)
    codes(place, place.lists.update_plans, PlanChange(entry_id, ("2027-06",)))

    found, _ = follow(place, tokens[own], organisation=None, call=calls[own])
    assert [(one.id, one.kind, one.value("insurer")) for one in found] == [
        (entry_id, "TAKEN", own), (entry_id, "PLANNED", own), (entry_id, "PERSON_CHANGED", ""),
    ]  # fmt: skip
    left = found[-1]
    assert left.version == 3 and left.value("planned_months") == "2027-05"
    # nothing of the time after
    assert left.value("attached_organisation") == CLINIC
    assert left.value("changed_at") == left.changed_at

    came, _ = follow(place, tokens[other], 1, organisation=None, call=calls[other])
    assert [(one.id, one.kind, one.sequence) for one in came] == [
        (foreign_id, "TAKEN", 2), (entry_id, "PERSON_CHANGED", 4), (entry_id, "PLANNED", 5),
    ]  # fmt: skip
    assert came[-1].line == shown(place, entry_id)
    for code, changes in ((own, found), (other, came)):
        copy = Copy(insurer=code)
        copy.apply(changes)
        assert copy.sorted == listed(place, organisation=None, call=calls[code])


def test_a_move_is_told_to_both_lists(place: Region) -> None:
    """The former list gets the line as it last was there, the new one the line as it is."""
    fund = place.call(kind=ClientKind.FUND, organisations=[], client_id=9)
    entry_id = place.add(place.person())
    fill(place, 1, OTHER)
    tokens = {
        code: feed(place, None, organisation=code, call=fund).next_token for code in (CLINIC, OTHER)
    } | {None: feed(place, None, organisation=None, call=fund).next_token}  # fmt: skip
    last = shown(place, entry_id)
    move(place, int(entry_id))
    codes(place, place.lists.update_plans, PlanChange(entry_id, ("2027-05",)), organisation=OTHER)

    (out,) = changes_of(feed(place, tokens[CLINIC]))
    assert (out.kind, out.version, out.value("organisation")) == ("MOVED_OUT", 2, CLINIC)
    differ = [n for n, (one, two) in enumerate(zip(out.line, last, strict=True)) if one != two]
    assert {(out.line[n], last[n]) for n in differ} == {("2", "1"), (out.changed_at, last[differ[-1]])}
    came = changes_of(feed(place, tokens[OTHER], organisation=OTHER, call=fund))
    assert [(one.kind, one.version, one.value("organisation")) for one in came] == [
        ("MOVED_IN", 3, OTHER), ("PLANNED", 4, OTHER),
    ]  # fmt: skip
    assert came[-1].line == shown(place, entry_id)

    # whichever list comes first, the newer version stays
    for count in (1, 2, 1000):
        copy = Copy()
        copy.put(last)
        found, _ = follow(place, str(tokens[None]), count, organisation=None, call=fund)
        copy.apply(found)
        assert copy.lines[entry_id] == shown(place, entry_id)
        copy = Copy()
        copy.put(last)
        copy.apply(found[::-1])
        assert copy.lines[entry_id] == shown(place, entry_id)


def move(place: Region, entry_id: int) -> None:
    """A move of an entry to the other organisation, as an event of each list."""
    with place.store.begin() as connection:
        connection.execute(text("SELECT 1 FROM list_ledger ORDER BY organisation FOR UPDATE"))
        for organisation, kind in ((CLINIC, "MOVED_OUT"), (OTHER, "MOVED_IN")):
            connection.execute(
                text(
                    """
                    WITH l AS (UPDATE list_ledger SET seq = seq + 1 WHERE organisation = :organisation RETURNING seq),
                    v AS (INSERT INTO entry_event (entry_id, version, organisation, seq, effective_on, kind, cause, source,
                                                   before)
                          SELECT e.id, e.version + 1, :organisation, l.seq, :day, :kind, 'MOVE', 'ERZL',
                                 CASE WHEN :kind = 'MOVED_OUT' THEN to_jsonb(e) END FROM entry e, l WHERE e.id = :id)
                    UPDATE entry SET version = version + 1, seq = l.seq, organisation = :organisation, changed_at = now()
                    FROM l WHERE id = :id
                    """
                ),
                {"organisation": organisation, "kind": kind, "id": entry_id, "day": DAY},
            )
        connection.execute(
            text("UPDATE observation_segment SET organisation = :other WHERE entry_id = :id"),
            {"other": OTHER, "id": entry_id},
        )


def test_one_audit_record_per_call_names_the_numbers_read(place: Region) -> None:
    insurer = place.call(kind=ClientKind.INSURER, organisations=[], insurer="40001", client_id=8)
    empty = feed(place, None).next_token
    fill(place, 3)
    place.add(place.person(insurer="40002"))
    feed(place, empty, 2)
    feed(place, empty.replace(CLINIC, OTHER), organisation=OTHER, call=place.call(organisations=[OTHER]))
    feed(
        place, Token.parse(empty).era and str(Token(Token.parse(empty).era, None, {})), organisation=None, call=insurer
    )
    with place.store.begin() as connection:
        records = connection.execute(
            text("SELECT organisation, records, details, cardinality(persons), outcome FROM audit_record ORDER BY id")
        ).all()
    assert [tuple(row) for row in records] == [
        (CLINIC, 0, None, None, "OK"),
        (CLINIC, 2, {"changes": {CLINIC: [0, 2]}}, None, "OK"),
        (OTHER, 0, None, None, "OK"),
        (None, 3, {"changes": {CLINIC: [0, 4]}}, 3, "OK"),
    ]


# joined with the list -------------------------------------------------------------------------------------------------


def test_a_closed_list_joins_the_feed_where_it_was_frozen(place: Region) -> None:
    entries = fill(place, 3)
    later = place.at(date(2026, 12, 2))
    with place.store.begin() as connection:
        later.lists.close(connection, CLINIC, Month(2026, 11), "test", Plain())
    codes(later, later.lists.exclude, Exclusion(entries[0], date(2026, 12, 1), "6"))
    page = later.list(month=11, edition="CLOSED")
    assert page.total_records == 3
    copy = Copy()
    copy.load(rows(page.body))
    found, _ = follow(later, page.change_token)
    assert [one.kind for one in found] == ["EXCLUDED"]
    copy.apply(found)
    assert copy.sorted == listed(later)


def writer(place: Region, entries: list[str], organisation: str, seed: int, until: Callable[[], bool]) -> None:
    """Changes own entries at random, each in a transaction that stays open for a while."""
    chance = Random(seed)
    ended: list[str] = []
    free = [place.person(f"Новый{seed}") for _ in range(40)]
    while until():
        with place.store.begin() as connection:
            call = place.call(organisations=[organisation])
            chosen = chance.sample(entries, chance.randint(1, 8))
            kind = chance.randrange(4)
            if kind == 0 and free:
                items = [NewEntry(free.pop(), "I10", ("2026-12",)) for _ in range(min(3, len(free)))]
                made = place.lists.add(connection, call, organisation, items)
                entries += [str(result.id) for result in made]
            elif kind == 1 and ended:
                place.lists.reopen(connection, call, ended.pop(), "ошибка")
            elif kind == 2:
                results = place.lists.exclude(connection, call, organisation, [Exclusion(chosen[0], DAY, "6")])
                ended += [str(result.id) for result in results if result.code == "ok"]
            else:
                months = (f"2027-{chance.randint(1, 9):02d}",)
                place.lists.update_plans(connection, call, organisation, [PlanChange(one, months) for one in chosen])
            if chance.random() < 0.3:
                time.sleep(chance.random() * 0.02)


@pytest.mark.parametrize("seed", range(3))
def test_a_load_and_the_feed_give_the_list(place: Region, seed: int) -> None:
    """Under writers: pages of a snapshot and then changes from its token, at several moments and paces."""
    chance = Random(seed)
    fund = place.call(kind=ClientKind.FUND, organisations=[], client_id=9)
    halves = [fill(place, 60) for _ in range(2)]
    theirs = fill(place, 40, OTHER)
    going = threading.Event()
    going.set()
    crews = [(halves[0], CLINIC), (halves[1], CLINIC), (theirs, OTHER)]
    threads = [
        threading.Thread(target=writer, args=(place, ids, organisation, seed * 10 + n, going.is_set))
        for n, (ids, organisation) in enumerate(crews)
    ]
    for thread in threads:
        thread.start()
    copies: list[tuple[Copy, str, str | None, Any]] = []
    try:
        for organisation, caller in ((CLINIC, None), (None, fund), (CLINIC, None), (None, fund)):
            page = place.list(organisation=organisation, call=caller, count=50)
            copy = Copy()
            found = rows(page.body)
            while len(found) < page.total_records:
                rest = place.list(
                    organisation=organisation, call=caller, start=len(found) + 1, count=chance.choice((30, 250)),
                    snapshot=page.snapshot_id,
                )  # fmt: skip
                found += rows(rest.body)
            copy.load(found)
            token = page.change_token
            for _ in range(chance.randint(1, 4)):
                some = feed(place, token, chance.choice((1, 7, 100)), organisation=organisation, call=caller)
                copy.apply(changes_of(some))
                token = some.next_token
            copies.append((copy, token, organisation, caller))
    finally:
        going.clear()
        for thread in threads:
            thread.join()
    for copy, token, organisation, caller in copies:
        found_, _ = follow(place, token, chance.choice((3, 50, 1000)), organisation=organisation, call=caller)
        copy.apply(found_)
        assert copy.sorted == listed(place, organisation=organisation, call=caller)


def test_a_feed_from_the_beginning_makes_the_list(place: Region) -> None:
    """Position 0 of a list whose images are all kept."""
    token = feed(place, None).next_token
    entries = fill(place, 5)
    codes(place, place.lists.exclude, Exclusion(entries[1], DAY, "6"))
    found, _ = follow(place, token, 2)
    copy = Copy()
    copy.apply(found)
    assert copy.sorted == listed(place)
