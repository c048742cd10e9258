"""Marks of registers on states of entries: the whole table, and what holds whatever comes."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import marks
from gateway.domain.marks import Mark, Ruling, State, Stay, Step

DAY = date(2026, 10, 20)
CLINIC, OTHER = "400001", "400002"

OUTCOMES = """
                STANDS                       TAKEN                        NOT_SUBJECT             RECOVERED                      REMOVED
ABSENT          ADD ok                       ADD ok                       NOTHING ok.not-subject  REFUSE mark.not-observed       REFUSE mark.not-observed
HERE            CONFIRM ok.confirmed         CONFIRM ok.confirmed         NOTHING ok.not-subject  END ok                         END ok
HERE_CHANGED    CONFIRM ok.confirmed         CONFIRM ok.confirmed         NOTHING ok.not-subject  REFUSE mark.older              REFUSE mark.older
MOVED           CONFIRM ok.confirmed         CONFIRM ok.confirmed         NOTHING ok.not-subject  REFUSE mark.older              REFUSE mark.older
ELSEWHERE       REFUSE observation.elsewhere REFUSE observation.elsewhere NOTHING ok.not-subject  REFUSE observation.elsewhere   REFUSE observation.elsewhere
OVER            ADD ok                       ADD ok                       NOTHING ok.not-subject  NOTHING ok.same                NOTHING ok.same
PAST            CONFIRM ok.confirmed         CONFIRM ok.confirmed         NOTHING ok.not-subject  REFUSE mark.older              REFUSE mark.older
DAY             CONFIRM ok.confirmed         CONFIRM ok.confirmed         NOTHING ok.not-subject  NOTHING ok.same                NOTHING ok.same
LATER           REFUSE mark.older            REFUSE mark.older            NOTHING ok.not-subject  REFUSE mark.older              REFUSE mark.older
"""


def expected() -> dict[tuple[Mark, State], Ruling]:
    titles, *lines = [line.split() for line in OUTCOMES.strip().splitlines()]
    return {
        (Mark[title], State[line[0]]): Ruling(Step[line[1 + 2 * n]], line[2 + 2 * n])
        for line in lines
        for n, title in enumerate(titles)
    }


def test_the_table_of_outcomes() -> None:
    assert dict(marks.TABLE) == expected()
    assert len(marks.TABLE) == len(Mark) * len(State)


def stay(since: int, until: int | None, *, clinic: str = CLINIC, changed: int | None = None, **values: bool) -> Stay:
    """Days are counted from the day of the mark."""
    on = since if changed is None else changed
    end = None if until is None else DAY + timedelta(until)
    return Stay(1, clinic, DAY + timedelta(since), end, DAY + timedelta(on), **values)


@pytest.mark.parametrize(
    ("stays", "state"),
    [
        ([], State.ABSENT),
        ([stay(-9, None)], State.HERE),
        ([stay(0, None)], State.HERE),
        ([stay(-9, None, changed=0)], State.HERE),
        ([stay(-9, None, changed=1)], State.HERE_CHANGED),
        ([stay(1, None)], State.HERE_CHANGED),
        ([stay(-9, None, clinic=OTHER)], State.ELSEWHERE),
        ([stay(-9, 1), stay(1, None, clinic=OTHER)], State.MOVED),
        ([stay(-9, 0), stay(0, None, clinic=OTHER)], State.ELSEWHERE),
        ([stay(-9, -1)], State.OVER),
        ([stay(-9, 0)], State.OVER),
        ([stay(0, 0)], State.DAY),
        ([stay(0, 0, clinic=OTHER)], State.OVER),
        ([stay(0, 0, annulled=True)], State.ABSENT),
        ([stay(-9, -1, clinic=OTHER)], State.OVER),
        ([stay(-9, 1)], State.PAST),
        ([stay(-9, 1, clinic=OTHER)], State.LATER),
        ([stay(1, 2)], State.LATER),
        ([stay(-9, -9, changed=-2, annulled=True)], State.ABSENT),
        ([stay(-9, -9, changed=2, annulled=True)], State.LATER),
        ([stay(-9, -5), stay(-4, -4, changed=-2, annulled=True)], State.OVER),
        ([stay(-9, -5), stay(-4, None)], State.HERE),
    ],
)
def test_states(stays: list[Stay], state: State) -> None:
    assert marks.state_of(stays, CLINIC, DAY) is state
    assert marks.state_of(reversed(stays), CLINIC, DAY) is state


def ruled(mark: Mark, state: State, **facts: object) -> Ruling:
    values = {"day": DAY, "today": DAY, "death_date": None, "insured_in_region": True} | facts
    return marks.ruling(mark, state, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("mark", Mark)
def test_the_dead_and_the_future(mark: Mark, state: State) -> None:
    plain = ruled(mark, state)
    after, before = DAY - timedelta(1), DAY + timedelta(1)
    if mark is Mark.NOT_SUBJECT:
        assert ruled(mark, state, death_date=after, day=before).step is Step.NOTHING
        return
    assert ruled(mark, state, death_date=after).code == "person.dead"
    died_later = ruled(mark, state, death_date=before, today=before)
    assert died_later == (Ruling(Step.REFUSE, "person.dead") if plain.step is Step.ADD else plain)
    assert ruled(mark, state, today=after).code == "mark.date-future"
    elsewhere = ruled(mark, state, insured_in_region=False)
    assert elsewhere == (Ruling(Step.REFUSE, "person.not-insured") if plain.step is Step.ADD else plain)


DAYS = st.integers(-20, 20)


@st.composite
def chains(draw: st.DrawFn) -> list[Stay]:
    """Stays that do not overlap, the last one perhaps open."""
    days = sorted(draw(st.lists(DAYS, min_size=2, max_size=8, unique=True)))
    made = []
    for since, until in zip(days[::2], days[1::2], strict=False):
        clinic = draw(st.sampled_from([CLINIC, OTHER]))
        changed = draw(st.integers(since, 25))
        made.append(stay(since, until, clinic=clinic, changed=changed))
    if draw(st.booleans()):
        clinic = draw(st.sampled_from([CLINIC, OTHER]))
        made.append(stay(days[-1], None, clinic=clinic, changed=draw(st.integers(days[-1], 25))))
    if draw(st.booleans()):
        at = draw(DAYS)
        made.append(stay(at, at, changed=draw(st.integers(at, 25)), annulled=True))
    return draw(st.permutations(made))


@given(chains(), st.sampled_from(Mark))
def test_whatever_the_history_is(stays: list[Stay], mark: Mark) -> None:
    state = marks.state_of(stays, CLINIC, DAY)
    ruling = ruled(mark, state)
    current = marks.running(stays)
    if ruling.step is Step.ADD:
        assert mark in (Mark.STANDS, Mark.TAKEN)
        assert current is None
        assert all(one.annulled or (one.until is not None and one.until <= DAY) for one in stays)
        assert all(one.changed_on <= DAY for one in stays if one.annulled)
    if ruling.step is Step.END:
        assert mark in marks.REASONS
        assert current is not None
        assert (current.organisation, current.since <= DAY, current.changed_on <= DAY) == (CLINIC, True, True)
    if mark is Mark.NOT_SUBJECT:
        assert ruling.step is Step.NOTHING
    if ruling.step is Step.CONFIRM and current is not None and current.organisation != CLINIC:
        assert any(one.holds(CLINIC, DAY) for one in stays)
    if current is not None and current.organisation != CLINIC:
        assert ruling.step in (Step.REFUSE, Step.CONFIRM, Step.NOTHING)


@given(chains(), st.lists(st.tuples(st.sampled_from(Mark), DAYS), max_size=12))
def test_marks_in_a_row_keep_one_observation_at_a_time_and_say_nothing_new_the_second_time(
    stays: list[Stay], told: list[tuple[Mark, int]]
) -> None:
    """Applies marks as lists do, in the order of their days, twice."""
    ordered = sorted(((DAY + timedelta(n), mark) for mark, n in told), key=lambda one: (one[0], one[1] > 2))
    known = list(stays)
    _applied(known, ordered)
    open_stays = [one for one in known if one.until is None and not one.annulled]
    assert len(open_stays) <= 1
    assert all(one.until is None or one.since <= one.until for one in known)
    before = list(known)
    _applied(known, ordered)
    assert known == before


def _applied(known: list[Stay], ordered: list[tuple[date, Mark]]) -> None:
    for day, mark in ordered:
        state = marks.state_of(known, CLINIC, day)
        ruling = marks.ruling(mark, state, day=day, today=DAY + timedelta(30), death_date=None, insured_in_region=True)
        if ruling.step is Step.ADD:
            known.append(Stay(0, CLINIC, day, None, day))
        elif ruling.step is Step.END:
            current = marks.running(known)
            assert current is not None
            known.remove(current)
            known.append(Stay(0, CLINIC, current.since, day, day))
