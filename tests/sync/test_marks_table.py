"""Each mark on each state of an entry, in the database: what the table of outcomes says is what happens."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from gateway.domain import marks as rules
from gateway.domain.marks import Mark, State, Step
from gateway.lists.model import Exclusion
from gateway.store.engine import Store
from tests.lists.region import CLINIC, OTHER, Region, region
from tests.lists.uploads import entries
from tests.sync.registers import DAY, Bill, Who
from tests.sync.test_marks import rows, take

TODAY = date(2026, 11, 18)
EARLY, LATE = date(2026, 9, 1), date(2026, 11, 2)


@pytest.fixture
def place(store: Store) -> Region:
    return region(store, TODAY)


def absent(place: Region) -> str:
    return place.person()


def here(place: Region) -> str:
    enp = place.person()
    place.at(EARLY).add(enp)
    return enp


def here_changed(place: Region) -> str:
    enp = place.person()
    place.add(enp, observed_since=LATE)
    return enp


def moved(place: Region) -> str:
    enp = here(place)
    with place.store.begin() as connection:
        row = {"enp": enp, "other": OTHER, "day": LATE}
        connection.execute(text("INSERT INTO list_ledger (organisation) VALUES (:other) ON CONFLICT DO NOTHING"), row)
        for statement in (
            "UPDATE entry SET organisation = :other WHERE enp = :enp",
            "UPDATE observation_segment s SET until = :day, true_to = :day, cause_out = 'MOVE' FROM entry e"
            " WHERE e.id = s.entry_id AND e.enp = :enp",
            "INSERT INTO observation_segment (entry_id, person_id, diagnosis_key, diagnosis, organisation, since, true_from,"
            " cause_in) SELECT id, person_id, diagnosis_key, diagnosis, :other, :day, :day, 'MOVE' FROM entry WHERE enp = :enp",
        ):
            connection.execute(text(statement), row)
    return enp


def elsewhere(place: Region) -> str:
    enp = place.person()
    place.at(EARLY).add(enp, organisation=OTHER)
    return enp


def over(place: Region, day: date = date(2026, 10, 1), clinic: str = CLINIC) -> str:
    enp = place.person()
    entry = place.at(EARLY).add(enp, organisation=clinic)
    place.do(place.lists.exclude, [Exclusion(entry, day, "1")], organisation=clinic)
    return enp


def past(place: Region) -> str:
    return over(place, LATE)


def later(place: Region) -> str:
    return over(place, LATE, OTHER)


def within_the_day(place: Region) -> str:
    enp = place.person()
    entry = place.at(DAY).add(enp, observed_since=DAY)
    place.do(place.lists.exclude, [Exclusion(entry, DAY, "1")])
    return enp


MAKERS: dict[State, Callable[[Region], str]] = {
    State.ABSENT: absent, State.HERE: here, State.HERE_CHANGED: here_changed, State.MOVED: moved,
    State.ELSEWHERE: elsewhere, State.OVER: over, State.PAST: past, State.LATER: later,
    State.DAY: within_the_day,
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "marks"), [("H", (1, 2, 4, 6)), ("C", (1, 2, 4, 6)), ("DP", (1, 2, 3))], ids=["H", "C", "D"]
)
def test_each_mark_on_each_state(place: Region, kind: str, marks: tuple[int, ...]) -> None:
    cells = [(Mark(mark), state) for mark in marks for state in State]
    people = [MAKERS[state](place) for _, state in cells]
    before = {entry["id"]: entry for entry in rows(place, "SELECT * FROM entry")}
    bills = [Bill(Who(enp), mark=mark, id=str(n)) for n, (enp, (mark, _)) in enumerate(zip(people, cells, strict=True))]
    found = take(place, *bills, kind=kind)
    assert found == [(str(rules.TABLE[cell].step), rules.TABLE[cell].code) for cell in cells]
    after = {entry["id"]: entry for entry in rows(place, "SELECT * FROM entry")}
    made = rows(
        place, "SELECT m.*, e.organisation AS held FROM mark m LEFT JOIN entry e ON e.id = m.entry_id ORDER BY m.id"
    )
    for (mark, _), (step, _), row in zip(cells, found, made, strict=True):
        if step == Step.ADD:
            new = after.pop(row["entry_id"])
            assert (new["status"], new["organisation"], new["observed_since"]) == ("OBSERVED", CLINIC, DAY)
        elif step == Step.END:
            ended = after[row["entry_id"]]
            assert (ended["status"], ended["excluded_on"]) == ("EXCLUDED", DAY)
            assert ended["exclusion_reason"] == rules.REASONS[mark]
            del after[row["entry_id"]], before[row["entry_id"]]
    assert after == before


STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from([1, 2, 4, 6]), st.integers(0, 30), st.sampled_from(["I10", "I20.8", "I20.0"])),
    min_size=1, max_size=14,
)  # fmt: skip


def _told(marks: list[tuple[int, int]]) -> dict[int, str]:
    """Steps by number of the marks (day, code) of one person and disease that nobody observed, told without the product's
    table: whoever is not observed is taken, whoever is observed is confirmed or ended, and a second end finds it done."""
    steps, observed, ever = {}, False, False
    for number, (_, code) in sorted(enumerate(marks), key=lambda one: (one[1][0], one[1][1] in (4, 6), one[0])):
        if code in (1, 2):
            steps[number] = "CONFIRM" if observed else "ADD"
            observed = ever = True
        else:
            steps[number] = "END" if observed else "NOTHING" if ever else "REFUSE"
            observed = False
    return steps


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
def test_registers_do_what_is_said_whatever_comes(place: Region, told: list[tuple[int, int, int, str]]) -> None:
    """Several people, diseases and marks in one register; then the same cases under another account change nothing."""
    people = [place.person() for _ in range(3)]
    first = date(2026, 9, 28)
    number = int(rows(place, "SELECT count(*) AS n FROM mark_file")[0]["n"]) + 1
    bills = [
        Bill(Who(people[who]), diagnosis, mark, first + timedelta(day), id=str(n))
        for n, (who, mark, day, diagnosis) in enumerate(told)
    ]
    found = take(place, *bills, number=number, account=str(number))
    groups: dict[tuple[int, str], list[int]] = {}
    for n, (who, _, _, diagnosis) in enumerate(told):
        groups.setdefault((who, diagnosis[:3]), []).append(n)
    expected: dict[int, str] = {}
    for (who, rubric), members in groups.items():
        steps = _told([(told[n][2], told[n][1]) for n in members])
        expected |= {members[at]: step for at, step in steps.items()}
        observed = rows(
            place, "SELECT 1 FROM entry WHERE enp = :enp AND diagnosis_key = :key AND status = 'OBSERVED'",
            enp=people[who], key=rubric,
        )  # fmt: skip
        last = [step for at, step in sorted(steps.items(), key=lambda one: _order(told[members[one[0]]], one[0]))]
        assert len(observed) == _ends_observed(last)
    assert [step for step, _ in found] == [expected[n] for n in range(len(told))]
    _sound(place)
    before = rows(place, "SELECT * FROM entry ORDER BY id"), rows(place, "SELECT * FROM entry_event ORDER BY id")
    again = take(place, *bills, number=number + 1, account=str(number + 1))
    assert {step for step, _ in again} <= {"CONFIRM", "NOTHING", "REFUSE"}
    after = rows(place, "SELECT * FROM entry ORDER BY id"), rows(place, "SELECT * FROM entry_event ORDER BY id")
    assert after == before


def _order(mark: tuple[int, int, int, str], number: int) -> tuple[int, bool, int]:
    return mark[2], mark[1] in (4, 6), number


def _ends_observed(steps: list[str]) -> bool:
    """Whether a person is observed after these steps."""
    effective = [step for step in steps if step in ("ADD", "END")]
    return bool(effective) and effective[-1] == "ADD"


def _sound(place: Region) -> None:
    """One open entry for a person and disease, numbers without gaps, an event for each version."""
    double = rows(
        place, "SELECT 1 FROM entry WHERE status = 'OBSERVED' GROUP BY person_id, diagnosis_key HAVING count(*) > 1"
    )
    assert double == []
    numbers = [row["seq"] for row in rows(place, "SELECT seq FROM entry_event ORDER BY seq")]
    assert numbers == list(range(1, len(numbers) + 1))
    for entry in entries(place):
        open_stays = rows(
            place, "SELECT 1 FROM observation_segment WHERE entry_id = :id AND until IS NULL", id=entry["id"]
        )
        assert len(open_stays) == (entry["status"] == "OBSERVED")
        (count,) = rows(place, "SELECT count(*) AS n FROM entry_event WHERE entry_id = :id", id=entry["id"])
        assert count["n"] == entry["version"]
