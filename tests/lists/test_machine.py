"""Random sequences of operations: whatever is called in whatever order, the truths of a list hold."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from sqlalchemy import text

from gateway.domain.periods import Month
from gateway.errors import GatewayError
from gateway.lists.model import Conduct, Exclusion, NewEntry, PlanChange
from tests.lists.region import CLINIC, DOCTOR, OTHER, Plain, Region

TODAY = date(2026, 11, 18)
DAYS = st.integers(0, 120).map(lambda n: TODAY - timedelta(n))
ORGANISATIONS = st.sampled_from([CLINIC, OTHER])
DIAGNOSES = st.sampled_from(["I10", "I20.8", "I25.1", "E11.9", "C50.9"])

_TRUTHS = {
    "stretches of one person and disease never meet": """
        SELECT count(*) FROM observation_segment a JOIN observation_segment b ON a.id < b.id
        AND a.person_id = b.person_id AND a.diagnosis_key = b.diagnosis_key
        AND daterange(a.since, a.until) && daterange(b.since, b.until)""",
    "an open entry has exactly one open stretch, with its diagnosis and organisation": """
        SELECT count(*) FROM entry e WHERE e.status = 'OBSERVED' AND 1 <> (
            SELECT count(*) FROM observation_segment s WHERE s.entry_id = e.id AND s.until IS NULL
            AND s.diagnosis = e.diagnosis AND s.organisation = e.organisation)""",
    "an ended entry has no open stretch": """
        SELECT count(*) FROM entry e JOIN observation_segment s ON s.entry_id = e.id
        WHERE e.status <> 'OBSERVED' AND s.until IS NULL""",
    "versions count events and the last event numbers the entry": """
        SELECT count(*) FROM entry e JOIN LATERAL (
            SELECT count(*) AS n, max(v.version) AS version, max(v.seq) AS seq FROM entry_event v WHERE v.entry_id = e.id
        ) v ON true WHERE e.version <> v.n OR e.version <> v.version OR e.seq <> v.seq""",
    "a ledger counts its events": """
        SELECT count(*) FROM list_ledger l WHERE l.seq <>
            (SELECT count(*) FROM entry_event v WHERE v.organisation = l.organisation)""",
    "the last visit is the latest in force": """
        SELECT count(*) FROM entry e WHERE e.status <> 'ANNULLED' AND e.last_visit_on IS DISTINCT FROM (
            SELECT max(v.conducted_on) FROM visit v
            WHERE v.entry_id = e.id AND v.annulled_at IS NULL AND NOT v.attempt)""",
    "no effective day lies in a closed month": """
        SELECT count(*) FROM closed_month c JOIN entry_event v ON v.organisation = c.organisation
        AND v.recorded_at > c.closed_at AND c.reopened_at IS NULL
        AND to_char(v.effective_on, 'YYYYMM')::int = c.month""",
}


@pytest.mark.trial
def test_random_sequences_keep_the_truths(place: Region) -> None:
    class Machine(RuleBasedStateMachine):
        def __init__(self) -> None:
            super().__init__()
            self.people = [place.person() for _ in range(3)]
            self.entries: list[str] = []
            self.visits: list[str] = []

        def pick(self, among: list[str], n: int) -> str:
            return among[n % len(among)]

        def single(self, method: object, *args: object) -> None:
            try:
                place.do(method, *args, organisation=None)  # type: ignore[arg-type]
            except GatewayError as refusal:
                assert refusal.kind.side == "Client"

        @rule(n=st.integers(0, 9), diagnosis=DIAGNOSES, since=DAYS, organisation=ORGANISATIONS)
        def add(self, n: int, diagnosis: str, since: date, organisation: str) -> None:
            item = NewEntry(self.pick(self.people, n), diagnosis, ("2026-12",), observed_since=since)
            (result,) = place.do(place.lists.add, [item], organisation=organisation)
            if result.id:
                self.entries.append(result.id)

        @precondition(lambda self: self.entries)
        @rule(n=st.integers(0, 99), organisation=ORGANISATIONS)
        def plan(self, n: int, organisation: str) -> None:
            items = [PlanChange(self.pick(self.entries, n), ("2027-02",))]
            place.do(place.lists.update_plans, items, organisation=organisation)

        @precondition(lambda self: self.entries)
        @rule(
            n=st.integers(0, 99),
            day=DAYS,
            kind=st.sampled_from(["seen", "absent", "ended"]),
            organisation=ORGANISATIONS,
        )
        def conduct(self, n: int, day: date, kind: str, organisation: str) -> None:
            place_, result = {"seen": ("1", "1"), "absent": ("9", "8"), "ended": ("2", "9")}[kind]
            ended = kind == "ended"
            doctor_type = "1" if organisation == CLINIC else "3"
            item = Conduct(
                self.pick(self.entries, n), day, place_, result, DOCTOR, doctor_type, TODAY if ended else None,
                "1" if ended else None,
            )  # fmt: skip
            (done,) = place.do(place.lists.conduct, [item], organisation=organisation)
            if done.id:
                self.visits.append(done.id)

        @precondition(lambda self: self.entries)
        @rule(n=st.integers(0, 99), day=DAYS, organisation=ORGANISATIONS)
        def exclude(self, n: int, day: date, organisation: str) -> None:
            place.do(place.lists.exclude, [Exclusion(self.pick(self.entries, n), day, "6")], organisation=organisation)

        @precondition(lambda self: self.entries)
        @rule(n=st.integers(0, 99), day=DAYS, diagnosis=DIAGNOSES)
        def change_diagnosis(self, n: int, day: date, diagnosis: str) -> None:
            self.single(place.lists.change_diagnosis, self.pick(self.entries, n), diagnosis, day, "ошибка")

        @precondition(lambda self: self.entries)
        @rule(n=st.integers(0, 99))
        def reopen(self, n: int) -> None:
            self.single(place.lists.reopen, self.pick(self.entries, n), "ошибка")

        @precondition(lambda self: self.entries)
        @rule(n=st.integers(0, 99))
        def annul(self, n: int) -> None:
            self.single(place.lists.annul_entry, self.pick(self.entries, n), "ошибка")

        @precondition(lambda self: self.visits)
        @rule(n=st.integers(0, 99))
        def annul_visit(self, n: int) -> None:
            self.single(place.lists.annul_visit, self.pick(self.visits, n), "ошибка")

        @rule(back=st.integers(1, 4), organisation=ORGANISATIONS)
        def close(self, back: int, organisation: str) -> None:
            month = Month.of(TODAY).shift(-back)
            try:
                with place.store.begin() as connection:
                    place.lists.close(connection, organisation, month, "test", Plain())
            except GatewayError as refusal:
                assert refusal.code in ("month.closed", "month.order")

        @invariant()
        def truths(self) -> None:
            with place.store.begin() as connection:
                for name, query in _TRUTHS.items():
                    assert connection.execute(text(query)).scalar() == 0, name

    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=25,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
