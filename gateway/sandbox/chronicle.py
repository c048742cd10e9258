"""The invented region row by row: people and histories of one group of organisations after another, ready for COPY.

Groups keep memory flat: people move only within a group, and what happened in an organisation is numbered in the order
of time once its group is complete. Oncology dispensaries, which observe people of everybody, come last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import count
from operator import itemgetter
from random import Random
from typing import Any

from gateway.domain.diagnoses import key_of, rubric
from gateway.domain.persons import age_on
from gateway.domain.schedule import is_oncology
from gateway.sandbox.histories import Case, Historian, World, image
from gateway.sandbox.medicine import Diagnosis
from gateway.sandbox.population import COLUMNS, Invented, Population, line

TABLES = {
    "person": COLUMNS,
    "entry": (
        "id", "person_id", "organisation", "external_id", "version", "seq", "enp", "snils", "last_name", "first_name",
        "middle_name", "name_key", "birth_date", "sex", "death_date", "insurer", "attached_organisation", "diagnosis",
        "diagnosis_key", "diagnosis_group", "outside", "diagnosed_on", "by_attachment", "doctor_snils", "specialty",
        "observed_since", "source", "planned_months", "last_visit_on", "last_visit_result", "next_visit_by", "status",
        "excluded_on", "exclusion_reason", "changed_at",
    ),
    "observation_segment": (
        "id", "entry_id", "person_id", "diagnosis_key", "diagnosis", "organisation", "since", "until", "true_from",
        "true_to", "cause_in", "cause_out", "recorded_from", "recorded_to",
    ),
    "visit": (
        "id", "entry_id", "organisation", "conducted_on", "effective_on", "place", "result", "attempt", "doctor_snils",
        "doctor_type", "recorded_at",
    ),
    "entry_event": (
        "id", "seq", "recorded_at", "entry_id", "version", "organisation", "effective_on", "kind", "cause", "source",
        "actor", "details", "before",
    ),
    "list_ledger": ("organisation", "seq", "forgotten"),
}  # fmt: skip
"""Columns of the blocks by table, in the order in which tables depend on each other."""

PARTS = 2
"""Processes that make the region side by side; the rows depend on it, so it is no setting."""

_GROUP = 2
_ADULT_AGE, _CHILD_AGE = 21, 17
_OFTEN_ILL_AGE = 40
_YOUNG, _CHILD = 0.3, 0.05
_MOVED = 0.02
_IN_DISPENSARY = 0.6
_DISEASES = (1, 1, 1, 1, 2, 2, 2, 3, 3, 4)
_ROUNDS = 12


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be made. ``organisations`` have people of their own, ``dispensaries`` have not."""

    seed: int
    region: int
    persons: int
    entries: int
    insurers: Sequence[str]
    organisations: Sequence[str]
    dispensaries: Sequence[str]
    diagnoses: Sequence[Diagnosis]
    world: World
    as_of: str


Block = tuple[str, int, bytes]
"""Table, rows, COPY text (``DELIMITER ';', NULL ''``) in the columns of `TABLES`."""


def blocks(plan: Plan, part: int) -> Iterator[Block]:
    """The rows of one of `PARTS` parts of the region, which do not know of each other."""
    yield from _Chronicle(plan, part).blocks()


class _Chronicle:
    def __init__(self, plan: Plan, part: int) -> None:
        world, seed = plan.world, plan.seed
        self._plan = plan
        self._random = Random(f"choices {seed} {part}")  # noqa: S311
        self._population = Population(seed, plan.region, plan.insurers, world.today, part, PARTS)
        self._historian = Historian(world, Random(f"histories {seed} {part}"), part, PARTS)  # noqa: S311
        numbers = range(len(plan.organisations))
        self._groups = [numbers[start : start + _GROUP] for start in range(0, len(numbers), _GROUP)][part::PARTS]
        self._dispensaries = plan.dispensaries[part::PARTS]
        mine = [plan.organisations[number] for group in self._groups for number in group]
        self._ledgers = Counter(dict.fromkeys((*mine, *self._dispensaries), 0))
        self._segments, self._events = count(part + 1, PARTS), count(part + 1, PARTS)
        self._deferred: dict[str, list[tuple[Invented, Diagnosis]]] = {code: [] for code in self._dispensaries}
        self._diagnoses = {
            sex: [one for one in plan.diagnoses for _ in range(one.weight) if one.sex in (None, sex)] for sex in (1, 2)
        }

    def blocks(self) -> Iterator[Block]:
        codes = self._plan.organisations
        for numbers in self._groups:
            cases: list[Case] = []
            for number in numbers:
                people, moves = self._people(number, codes[number], [codes[one] for one in numbers])
                yield self._block("person", [line(person, self._plan.as_of) for person in people])
                cases += self._cases(people, moves, _share(self._plan.entries, number, len(codes)), codes[number])
            yield from self._histories(cases)
        for code, patients in self._deferred.items():
            found = (self._historian.case(person, code, diagnosis, None) for person, diagnosis in patients)
            yield from self._histories([case for case in found if case])
        yield self._block("list_ledger", [f"{code};{seq};{seq}\n" for code, seq in sorted(self._ledgers.items())])

    def _people(
        self, number: int, code: str, group: Sequence[str]
    ) -> tuple[list[Invented], dict[int, tuple[date, str]]]:
        """People of an organisation; some have moved to the other one of the group, and when."""
        chance, today = self._random.random, self._plan.world.today
        others = [other for other in group if other != code]
        people: list[Invented] = []
        moves: dict[int, tuple[date, str]] = {}
        for _ in range(_share(self._plan.persons, number, len(self._plan.organisations))):
            person = self._population.person(code)
            if others and person.attached_organisation and person.death_date is None and chance() < _MOVED:
                day = max(person.birth_date, today - timedelta(30 + int(chance() * 400)))
                person = person._replace(attached_organisation=others[0], attached_since=day)
                moves[person.id] = day, others[0]
            people.append(person)
        return people, moves

    def _cases(
        self, people: Sequence[Invented], moves: dict[int, tuple[date, str]], wanted: int, code: str
    ) -> list[Case]:
        """Histories of the organisation's people, up to ``wanted`` with those left to a dispensary."""
        chance, today = self._random.random, self._plan.world.today
        ill = [
            person
            for person in people
            if person.insured_in_region and self._may_be_ill(age_on(person.birth_date, today))
        ]
        self._random.shuffle(ill)
        has: dict[int, set[str]] = {}
        cases: list[Case] = []
        made = 0
        for round in range(_ROUNDS):
            for person in ill:
                for _ in range(_DISEASES[int(chance() * len(_DISEASES))] if round == 0 else 1):
                    if made == wanted:
                        return cases
                    diagnosis = self._diagnosis(person, has.setdefault(person.id, set()))
                    if diagnosis is None:
                        continue
                    if self._deferred and is_oncology(diagnosis.code) and chance() < _IN_DISPENSARY:
                        self._patients(person).append((person, diagnosis))
                        made += 1
                    elif case := self._historian.case(person, code, diagnosis, moves.get(person.id)):
                        cases.append(case)
                        made += 1
        return cases

    def _may_be_ill(self, age: int) -> bool:
        if age >= _OFTEN_ILL_AGE:
            return True
        return (age >= _ADULT_AGE and self._random.random() < _YOUNG) or (
            age <= _CHILD_AGE and self._random.random() < _CHILD
        )

    def _diagnosis(self, person: Invented, has: set[str]) -> Diagnosis | None:
        """A diagnosis of another rubric than those the person has."""
        possible = self._diagnoses[person.sex]
        for _ in range(4):
            found = possible[int(self._random.random() * len(possible))]
            if rubric(found.code) not in has:
                has.add(rubric(found.code))
                return found
        return None

    def _patients(self, person: Invented) -> list[tuple[Invented, Diagnosis]]:
        return self._deferred[self._dispensaries[person.id // PARTS % len(self._dispensaries)]]

    def _histories(self, cases: Sequence[Case]) -> Iterator[Block]:
        """The rows of complete cases; events get their numbers in the order of time."""
        events = sorted((event for case in cases for event in case.events), key=itemgetter(0, 1, 2))
        last: dict[int, int] = {}
        event_lines: list[str] = []
        for event in events:
            self._ledgers[event.organisation] += 1
            last[event.entry_id] = seq = self._ledgers[event.organisation]
            event_lines.append(f"{next(self._events)};{seq};{';'.join(map(str, event))}\n")
        world = self._plan.world
        yield self._block("entry", [_entry(image(case, world, last[case.id])) for case in cases])
        yield self._block("observation_segment", [text for case in cases for text in self._stays(case)])
        yield self._block("visit", [text for case in cases for text in _visits(case)])
        yield self._block("entry_event", event_lines)

    def _stays(self, case: Case) -> Iterator[str]:
        key = key_of(case.diagnosis, self._plan.world.observation_key)
        for stay in case.stays:
            since, until = stay.since, stay.until or ""
            yield (
                f"{next(self._segments)};{case.id};{case.person.id};{key};{case.diagnosis};{stay.organisation};{since};"
                f"{until};{since};{until};{stay.cause_in};{stay.cause_out};{stay.recorded_from};{stay.recorded_to}\n"
            )

    def _block(self, table: str, lines: Sequence[str]) -> Block:
        return table, len(lines), "".join(lines).encode()


def _visits(case: Case) -> Iterator[str]:
    for visit in case.visits:
        yield (
            f"{visit.id};{case.id};{visit.organisation};{visit.on};{visit.on};{visit.place};{visit.result};"
            f"{visit.attempt};{visit.doctor.snils};{visit.doctor.doctor_type};{visit.recorded}\n"
        )


def _entry(values: dict[str, Any]) -> str:
    values["planned_months"] = "{" + ",".join(map(str, values["planned_months"])) + "}"
    return ";".join(["" if value is None else str(value) for value in values.values()]) + "\n"


def _share(whole: int, number: int, parts: int) -> int:
    """The ``number``-th of equal shares."""
    return whole * (number + 1) // parts - whole * number // parts
