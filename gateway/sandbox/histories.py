"""Invented observations: two years of what could have happened to an entry under the rules of the lists feature.

A history is written day by day with the events that the gateway itself would have recorded: taken, visited, not come,
moved to another organisation, excluded, died.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from itertools import count
from random import Random
from typing import Any, Literal, NamedTuple

from gateway.domain import diagnoses, schedule
from gateway.domain.periods import Month
from gateway.people.doctors import Doctor
from gateway.sandbox.medicine import Diagnosis
from gateway.sandbox.population import Invented

HISTORY_DAYS = 730
_DAY = timedelta(1)

_VISITED, _NOT_COME, _SECOND_TRY = 0.80, 0.90, 0.6
_RECOVERED, _REFUSED, _LEFT = 0.02, 0.02, 0.01
_PLACES = ("1",) * 17 + ("2", "2", "3")
_RESULTS = ("1", "1", "1", "1", "2", "2", "3", "4")
_NO_SHOW_PLACE, _NO_SHOW_RESULT, _REMOVAL_RESULT = "9", "8", "9"
_RECOVERY_REASONS, _DEATH, _DEPARTURE, _REFUSAL = ("1", "2"), "3", "4", "6"


class Event(NamedTuple):
    """A line of `entry_event` before its organisation numbers it."""

    recorded: str
    entry_id: int
    version: int
    organisation: str
    effective_on: date
    kind: str
    cause: str
    source: str
    actor: str
    details: str
    before: str


@dataclass(slots=True)
class Stay:
    """A stretch of observation in one organisation."""

    organisation: str
    since: date
    cause_in: str
    recorded_from: str
    until: date | None = None
    cause_out: str = ""
    recorded_to: str = ""


@dataclass(slots=True)
class Visit:
    """A visit or an attempt."""

    id: int
    organisation: str
    on: date
    place: str
    result: str
    attempt: bool
    doctor: Doctor
    recorded: str


@dataclass(frozen=True, slots=True)
class World:
    """What histories are made from; the same in every process. ``groups`` and ``profiles`` are what the dictionaries say."""

    today: date
    observation_key: Literal["rubric", "code"]
    doctors: Mapping[str, Sequence[Doctor]]
    groups: Mapping[str, str]
    profiles: Mapping[str, str | None]


@dataclass(slots=True)
class Case:
    """An entry with all that happened to it."""

    id: int
    person: Invented
    diagnosis: str
    doctor: Doctor | None
    since: date
    diagnosed_on: date | None
    plan: list[str]
    outside: str | None
    external_id: str
    stays: list[Stay] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    next_visit_by: date | None = None
    excluded_on: date | None = None
    reason: str = ""

    @property
    def organisation(self) -> str:
        return self.stays[-1].organisation

    @property
    def last_visit(self) -> Visit | None:
        return next((visit for visit in reversed(self.visits) if not visit.attempt), None)


class Historian:
    """Writes histories; ids of entries and visits go on from case to case, apart from those of other parts."""

    def __init__(self, world: World, random: Random, part: int, parts: int) -> None:
        self._world, self._random = world, random
        self._entries, self._visits = count(part + 1, parts), count(part + 1, parts)
        self._teams = {
            organisation: {
                kind: [one for one in team if one.doctor_type == kind and one.valid_to is None] for kind in "123456"
            }
            for organisation, team in world.doctors.items()
        }

    def case(
        self, person: Invented, organisation: str, diagnosis: Diagnosis, moved: tuple[date, str] | None
    ) -> Case | None:
        """A history of the person in the organisation; ``moved`` is the day of a move and where to. None if no
        observation could have begun."""
        random, today = self._random, self._world.today
        last_day = (person.death_date or today) - _DAY
        first_day = max(today - timedelta(HISTORY_DAYS), person.birth_date)
        span = (last_day - first_day).days
        if span < 15:
            return None
        since = first_day + timedelta(int(random.random() * span))
        if moved and since >= moved[0]:
            organisation, moved = moved[1], None
        id = next(self._entries)
        doctor = self._doctor(organisation, diagnosis) if random.random() < 0.9 else None
        diagnosed_on = (
            max(person.birth_date, since - timedelta(int(random.random() * 20))) if random.random() < 0.8 else None
        )
        external_id = f"{organisation}-{id}" if random.random() < 0.3 else ""
        case = Case(id, person, diagnosis.code, doctor, since, diagnosed_on, [], None, external_id)
        recorded = self._moment(since, 3)
        case.stays.append(Stay(organisation, since, "TAKEN", recorded))
        interval = self._appoint(case, None) or 12
        case.plan = _plan(since, interval)
        self._event(case, recorded, since, "TAKEN", "MO")
        self._live(case, diagnosis, moved)
        return case

    def _live(self, case: Case, diagnosis: Diagnosis, moved: tuple[date, str] | None) -> None:
        """Goes on from visit to visit until the end of the observation or today."""
        random, today = self._random, self._world.today
        end = case.person.death_date or today
        day = case.since
        while case.excluded_on is None:
            last = case.last_visit
            interval = self._appoint(case, last.on if last else None) or 12
            day += timedelta(max(10, int(interval * 30 + random.random() * 40 - 20)))
            if moved and moved[0] <= min(day, end - _DAY):
                self._move(case, *moved)
                moved = None
                day = max(day, case.stays[-1].since)
            if day >= end:
                break
            luck = random.random()
            if luck < _VISITED:
                self._visit(case, diagnosis, day)
            elif luck < _NOT_COME:
                self._attempt(case, diagnosis, day)
                again = day + timedelta(int(10 + random.random() * 20))
                soon = again < end and not (moved and moved[0] <= again)
                if soon and random.random() < _SECOND_TRY:
                    day = again
                    self._visit(case, diagnosis, day)
        if case.excluded_on is None:
            self._end(case)

    def _visit(self, case: Case, diagnosis: Diagnosis, day: date) -> None:
        random = self._random
        removed = random.random() < _RECOVERED and (day - case.since).days > 180
        result = _REMOVAL_RESULT if removed else random.choice(_RESULTS)
        visit = self._add_visit(case, diagnosis, day, random.choice(_PLACES), result, attempt=False)
        self._appoint(case, day)
        kind = "VISITED"
        if removed:
            kind = "EXCLUDED"
            self._exclude(case, day, random.choice(_RECOVERY_REASONS), visit.recorded)
        self._event(case, visit.recorded, day, kind, "VISIT", details=f'{{"visit": {visit.id}}}')

    def _attempt(self, case: Case, diagnosis: Diagnosis, day: date) -> None:
        visit = self._add_visit(case, diagnosis, day, _NO_SHOW_PLACE, _NO_SHOW_RESULT, attempt=True)
        self._event(case, visit.recorded, day, "ATTEMPTED", "VISIT", details=f'{{"visit": {visit.id}}}')

    def _add_visit(
        self, case: Case, diagnosis: Diagnosis, day: date, place: str, result: str, *, attempt: bool
    ) -> Visit:
        organisation = case.organisation
        doctor = case.doctor if len(case.stays) == 1 else None
        visit = Visit(
            next(self._visits), organisation, day, place, result, attempt, doctor or self._doctor(organisation, diagnosis),
            self._later(case, day, 2),
        )  # fmt: skip
        case.visits.append(visit)
        return visit

    def _move(self, case: Case, day: date, organisation: str) -> None:
        """The register of insured people says that the person is attached elsewhere now."""
        recorded = self._later(case, day, 0)
        former = case.stays[-1]
        former.until, former.cause_out, former.recorded_to = day, "MOVE", recorded
        line = image(case, self._world) | {"attached_organisation": former.organisation, "by_attachment": True}
        before = json.dumps(line, ensure_ascii=False, default=str)
        self._event(case, recorded, day, "MOVED_OUT", "MOVE", source="ERZL", before=before)
        case.stays.append(Stay(organisation, day, "MOVE", recorded))
        # the new organisation names its own doctor and number later
        case.doctor, case.external_id = None, ""
        self._event(case, recorded, day, "MOVED_IN", "MOVE", source="ERZL")
        last = case.last_visit
        self._appoint(case, last.on if last else None)

    def _end(self, case: Case) -> None:
        """The end without an examination, if there is one."""
        today = self._world.today
        death = case.person.death_date
        luck = self._random.random()
        last = case.visits[-1].on if case.visits else case.stays[-1].since
        earliest = max(last, case.stays[-1].since)
        if death is not None:
            reason, day = _DEATH, min(today - _DAY, max(earliest, death + timedelta(1 + int(luck * 20))))
        elif luck < _REFUSED + _LEFT:
            reason = _REFUSAL if luck < _REFUSED else _DEPARTURE
            day = earliest + timedelta(int(self._random.random() * (today - earliest).days))
        else:
            return
        recorded = self._later(case, day, 5)
        self._exclude(case, day, reason, recorded)
        self._event(case, recorded, day, "EXCLUDED", "EXCLUSION")

    def _exclude(self, case: Case, day: date, reason: str, recorded: str) -> None:
        stay = case.stays[-1]
        case.excluded_on, case.reason = day, reason
        stay.until, stay.cause_out, stay.recorded_to = day, "EXCLUDED", recorded

    def _appoint(self, case: Case, last_visit_on: date | None) -> int | None:
        found = schedule.appointment(
            case.diagnosis,
            profile=self._world.profiles.get(case.doctor.specialty or "") if case.doctor else None,
            birth_date=case.person.birth_date,
            observed_since=case.since,
            last_visit_on=last_visit_on,
            on=last_visit_on or case.since,
        )
        case.next_visit_by = found.by
        case.outside = found.outside
        return found.interval_months

    def _doctor(self, organisation: str, diagnosis: Diagnosis) -> Doctor:
        teams = self._teams[organisation]
        team = [doctor for kind in diagnosis.leads for doctor in teams[kind]]
        return team[int(self._random.random() * len(team))] if team else teams["4"][0]

    def _moment(self, day: date, within: int) -> str:
        """A minute of working time, up to so many days later but before today."""
        day = min(day + timedelta(int(self._random.random() * (within + 1))), self._world.today - _DAY)
        second = 28_800 + int(self._random.random() * 36_000)
        return f"{datetime.combine(day, time()) + timedelta(seconds=second)}+03"

    def _later(self, case: Case, day: date, within: int) -> str:
        """The same, but not before what is recorded already: events of an entry follow each other."""
        return max(self._moment(day, within), case.events[-1].recorded)

    def _event(
        self,
        case: Case,
        recorded: str,
        day: date,
        kind: str,
        cause: str,
        *,
        source: str = "MO",
        details: str = "",
        before: str = "",
    ) -> None:
        organisation = case.organisation
        actor = f"mis-{organisation}" if source == "MO" else "erzl"
        version = len(case.events) + 1
        case.events.append(
            Event(recorded, case.id, version, organisation, day, kind, cause, source, actor, details, before)
        )


def _plan(since: date, interval: int) -> list[str]:
    """Months of the visits to come within two years, as ``yyyy-MM``."""
    first = Month.of(since)
    return [str(first.shift(months)) for months in range(interval, 25, interval)][:24]


def image(case: Case, world: World, seq: int = 0) -> dict[str, Any]:
    """The columns of `entry` as the case stands."""
    person, last = case.person, case.last_visit
    return {
        "id": case.id,
        "person_id": person.id,
        "organisation": case.organisation,
        "external_id": case.external_id or None,
        "version": len(case.events),
        "seq": seq,
        "enp": person.enp,
        "snils": person.snils,
        "last_name": person.last_name,
        "first_name": person.first_name,
        "middle_name": person.middle_name,
        "name_key": person.name_key,
        "birth_date": person.birth_date,
        "sex": person.sex,
        "death_date": person.death_date,
        "insurer": person.insurer,
        "attached_organisation": person.attached_organisation,
        "diagnosis": case.diagnosis,
        "diagnosis_key": diagnoses.key_of(case.diagnosis, world.observation_key),
        "diagnosis_group": world.groups[case.diagnosis],
        "outside": case.outside,
        "diagnosed_on": case.diagnosed_on,
        "by_attachment": person.attached_organisation == case.organisation,
        "doctor_snils": case.doctor.snils if case.doctor else None,
        "specialty": case.doctor.specialty if case.doctor else None,
        "observed_since": case.since,
        "source": "MO",
        "planned_months": case.plan,
        "last_visit_on": last.on if last else None,
        "last_visit_result": last.result if last else None,
        "next_visit_by": case.next_visit_by,
        "status": "EXCLUDED" if case.excluded_on else "OBSERVED",
        "excluded_on": case.excluded_on,
        "exclusion_reason": case.reason or None,
        "changed_at": case.events[-1].recorded,
    }
