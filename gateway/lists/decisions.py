"""The decisions that batches and uploads share: who may be observed, what a new entry holds, how an observation ends."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection, RowMapping

from gateway.domain import observation, persons
from gateway.domain.observation import effective
from gateway.errors import GatewayError
from gateway.lists import queries
from gateway.lists.frame import Frame, Row, meets
from gateway.lists.model import NewEntry


class Doctors:
    """The part of the organisation's directory that a batch names."""

    def __init__(self, connection: Connection, organisation: str, snils: Iterable[str | None]) -> None:
        wanted = {persons.snils_digits(text) for text in snils if text}
        self._lines: dict[str, list[RowMapping]] = {}
        for row in queries.doctors(connection, organisation, wanted) if wanted else ():
            self._lines.setdefault(row["snils"], []).append(row)

    def find(self, snils: str, day: date) -> RowMapping:
        """The line in force on the day."""
        digits = persons.snils_digits(snils)
        if wrong := persons.snils_error(digits):
            raise GatewayError(wrong)
        for row in self._lines.get(digits, ()):
            if row["valid_from"] <= day and (row["valid_to"] is None or day <= row["valid_to"]):
                return row
        raise GatewayError("doctor.unknown")


@dataclass(frozen=True, slots=True)
class Facts:
    """What a batch is decided on: persons by ЕНП, their stretches of observation by person, doctors, closed months."""

    organisation: str
    today: date
    persons: Mapping[str, RowMapping]
    segments: Mapping[int, list[RowMapping]]
    doctors: Doctors
    closed: frozenset[int]
    codes: observation.Directory


class Decisions(Frame):
    """Rules over the facts; each raises `GatewayError` with the code of the refusal."""

    def facts(
        self, connection: Connection, organisation: str, enps: Collection[str], doctors: Iterable[str | None]
    ) -> Facts:
        """Reads what a batch for these persons is decided on."""
        found = queries.persons(connection, enps)
        segments: dict[int, list[RowMapping]] = {}
        for row in queries.segments_of_persons(connection, [person["id"] for person in found.values()]):
            segments.setdefault(row["person_id"], []).append(row)
        return Facts(
            organisation=organisation,
            today=self.clock.today(),
            persons=found,
            segments=segments,
            doctors=Doctors(connection, organisation, doctors),
            closed=queries.closed_months(connection, organisation),
            codes=self.directory(),
        )

    def person(self, facts: Facts, enp: str) -> RowMapping:
        """The insured person who may be put under observation."""
        if wrong := persons.enp_error(enp):
            raise GatewayError(wrong)
        person = facts.persons.get(enp)
        if person is None:
            raise GatewayError("person.unknown")
        observation.may_be_observed(known(person))
        return person

    def specialty(self, doctors: Doctors, doctor_snils: str | None, specialty: str | None, today: date) -> str | None:
        """The specialty named, else the doctor's own."""
        doctor = doctors.find(doctor_snils, today) if doctor_snils else None
        if specialty:
            if not self.nsi.has("SPECIALTIES", specialty, today):
                raise GatewayError("doctor.specialty")
            return specialty
        return doctor["specialty"] if doctor else None

    def newcomer(
        self,
        facts: Facts,
        person: RowMapping,
        item: NewEntry,
        *,
        empty_plan: bool = False,
        excluded_on: date | None = None,
        exclusion_reason: str | None = None,
    ) -> dict[str, Any]:
        """A new entry as columns of `entry` without ``id``, and ``effective_from``.

        An observation that is over already has ``effective_to`` as well; it is still to be ended by a change.
        """
        today = facts.today
        since = observation.beginning(known(person), item.diagnosed_on, item.observed_since, today)
        specialty = self.specialty(facts.doctors, item.doctor_snils, item.specialty, today)
        place = self.place(item.diagnosis, specialty=specialty, birth_date=person["birth_date"], observed_since=since)
        months = observation.plan(item.planned_months, today, empty_allowed=empty_plan)
        effective_from, effective_to = effective(since, facts.closed), None
        if excluded_on is not None and exclusion_reason is not None:
            observation.ending(
                excluded_on, exclusion_reason, observed_since=since, last_visit_on=None, today=today, codes=facts.codes
            )
            effective_to = max(effective(excluded_on, facts.closed), effective_from)
        segments = facts.segments.get(person["id"], ())
        meets(segments, facts.organisation, person["id"], place.key, effective_from, effective_to)
        return {
            "person_id": person["id"],
            "external_id": item.external_id,
            **{name: person[name] for name in COPIED},
            "diagnosis": place.diagnosis,
            "diagnosis_key": place.key,
            "diagnosis_group": place.group,
            "outside": place.outside,
            "diagnosed_on": item.diagnosed_on,
            "by_attachment": person["attached_organisation"] == facts.organisation,
            "doctor_snils": persons.snils_digits(item.doctor_snils) if item.doctor_snils else None,
            "specialty": specialty,
            "observed_since": since,
            "planned_months": months,
            "next_visit_by": place.next_visit_by,
            "status": "OBSERVED",
            "effective_from": effective_from,
            "effective_to": effective_to,
        }

    def ending(self, facts: Facts, entry: Row, excluded_on: date, reason: str) -> date:
        """Checks the end of an open entry; the first day on which lists no longer show it as observed."""
        observation.ending(
            excluded_on,
            reason,
            observed_since=entry["observed_since"],
            last_visit_on=entry["last_visit_on"],
            today=facts.today,
            codes=facts.codes,
        )
        return effective(excluded_on, facts.closed)


COPIED = (
    "enp", "snils", "last_name", "first_name", "middle_name", "name_key", "birth_date", "sex", "death_date", "insurer",
    "attached_organisation",
)  # fmt: skip
"""Columns of `person` that an entry copies."""


def known(person: Row) -> observation.Person:
    """What the rules need to know of a row of `person`."""
    return observation.Person(person["id"], person["birth_date"], person["death_date"], person["insured_in_region"])


def ended(day: date, reason: str) -> dict[str, Any]:
    """An entry that is over, as columns of `entry`."""
    return {"status": "EXCLUDED", "excluded_on": day, "exclusion_reason": reason}
