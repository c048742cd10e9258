"""Batches that keep a list: adding, planning, conducting, excluding. Good items take effect, bad ones leave a code."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date
from typing import Any

from sqlalchemy import Connection, RowMapping

from gateway.access.model import Call, Foreign, ItemResult
from gateway.domain import observation, persons
from gateway.domain.observation import effective
from gateway.errors import GatewayError
from gateway.lists import ledger, queries
from gateway.lists.frame import Frame, Outcome, accepted, batch, id_of, meets
from gateway.lists.ledger import Change
from gateway.lists.model import Conduct, Exclusion, NewEntry, PlanChange


class Doctors:
    """The part of the organisation's directory that a batch names."""

    def __init__(self, connection: Connection, organisation: str, snils: Iterable[str | None]) -> None:
        wanted = {persons.snils_digits(text) for text in snils if text}
        self.rows = queries.doctors(connection, organisation, wanted) if wanted else []

    def find(self, snils: str, day: date) -> RowMapping:
        """The line in force on the day."""
        digits = persons.snils_digits(snils)
        if wrong := persons.snils_error(digits):
            raise GatewayError(wrong)
        for row in self.rows:
            in_force = row["valid_from"] <= day and (row["valid_to"] is None or day <= row["valid_to"])
            if row["snils"] == digits and in_force:
                return row
        raise GatewayError("doctor.unknown")


class Batches(Frame):
    """Operations over 1..1000 items of one organisation."""

    def add(self, connection: Connection, call: Call, organisation: str, items: Sequence[NewEntry]) -> list[ItemResult]:
        """AddEntries: puts people under observation."""
        self.begin(connection, call, organisation)
        today = self.clock.today()
        found = queries.persons(connection, {item.enp for item in items})
        people = {row["id"] for row in found.values()}
        taken = list(queries.segments_of_persons(connection, people))
        names = queries.external_ids(connection, organisation, {item.external_id for item in items if item.external_id})
        doctors = Doctors(connection, organisation, (item.doctor_snils for item in items))
        closed = queries.closed_months(connection, organisation)
        ids = queries.next_ids(connection, "entry", len(items))
        rows: list[dict[str, Any]] = []
        mine: set[tuple[int, str]] = set()

        def decide(item: NewEntry) -> Outcome:
            person = self._person(found, item.enp)
            since = observation.beginning(_facts(person), item.diagnosed_on, item.observed_since, today)
            specialty = self._specialty(doctors, item, today)
            place = self.place(
                item.diagnosis, specialty=specialty, birth_date=person["birth_date"], observed_since=since
            )
            months = observation.plan(item.planned_months, today, empty_allowed=False)
            effective_from = effective(since, closed)
            if (person["id"], place.key) in mine:
                raise GatewayError("observation.exists")
            meets(taken, organisation, person["id"], place.key, effective_from)
            if item.external_id in names:
                raise GatewayError("conflict.external-id")
            mine.add((person["id"], place.key))
            if item.external_id:
                names.add(item.external_id)
            id = ids[len(rows)]
            rows.append(
                {
                    "id": id,
                    "person_id": person["id"],
                    "external_id": item.external_id,
                    **{name: person[name] for name in _COPIED},
                    "diagnosis": place.diagnosis,
                    "diagnosis_key": place.key,
                    "diagnosis_group": place.group,
                    "outside": place.outside,
                    "diagnosed_on": item.diagnosed_on,
                    "by_attachment": person["attached_organisation"] == organisation,
                    "doctor_snils": persons.snils_digits(item.doctor_snils) if item.doctor_snils else None,
                    "specialty": specialty,
                    "observed_since": since,
                    "planned_months": months,
                    "next_visit_by": place.next_visit_by,
                    "status": "OBSERVED",
                    "effective_from": effective_from,
                }
            )
            return Outcome(accepted(since, effective_from, place.outside), id)

        results = batch(call, items, decide)
        ledger.take(connection, call, organisation, rows)
        call.covers(people)
        return results

    def update_plans(
        self, connection: Connection, call: Call, organisation: str, items: Sequence[PlanChange]
    ) -> list[ItemResult]:
        """UpdatePlans: a new plan, and the doctor who leads if one is named."""
        entries = self._entries(connection, call, organisation, items)
        today = self.clock.today()
        doctors = Doctors(connection, organisation, (item.doctor_snils for item in items))
        changes: list[Change] = []

        def decide(item: PlanChange) -> Outcome:
            entry = entries.take(item)
            observation.is_open(entry["status"])
            patch: dict[str, Any] = {"planned_months": observation.plan(item.planned_months, today, empty_allowed=True)}
            specialty = self._specialty(doctors, item, today) or entry["specialty"]
            if item.doctor_snils:
                patch["doctor_snils"] = persons.snils_digits(item.doctor_snils)
            if specialty != entry["specialty"]:
                patch["specialty"] = specialty
                patch |= self.due(entry, last_visit_on=entry["last_visit_on"], specialty=specialty)
            entries.done(entry)
            changes.append(Change(entry["id"], "PLANNED", "PLAN", today, patch))
            return Outcome("ok", entry["id"])

        results = batch(call, items, decide)
        ledger.apply(connection, call, organisation, changes)
        return results

    def conduct(
        self, connection: Connection, call: Call, organisation: str, items: Sequence[Conduct]
    ) -> list[ItemResult]:
        """ConductObservations: visits and attempts, with or without the end of the observation."""
        entries = self._entries(connection, call, organisation, items)
        today = self.clock.today()
        codes = self.directory()
        doctors = Doctors(connection, organisation, (item.doctor_snils for item in items))
        closed = queries.closed_months(connection, organisation)
        days = queries.visit_days(connection, entries.rows)
        ids = queries.next_ids(connection, "visit", len(items))
        visits: list[dict[str, Any]] = []
        changes: list[Change] = []
        ends: list[dict[str, Any]] = []

        def decide(item: Conduct) -> Outcome:
            entry = entries.take(item)
            observation.is_open(entry["status"])
            attempt = observation.visit(
                conducted_on=item.conducted_on,
                place=item.place,
                result=item.result,
                excluded_on=item.excluded_on,
                reason=item.exclusion_reason,
                observed_since=entry["observed_since"],
                death_date=entry["person_death"],
                today=today,
                codes=codes,
            )
            if item.excluded_on and entry["last_visit_on"] and item.excluded_on < entry["last_visit_on"]:
                raise GatewayError("exclusion.date-before")
            doctor = doctors.find(item.doctor_snils, item.conducted_on)
            doctor_type = observation.doctor_type(doctor["doctor_type"], item.doctor_type, codes)
            if (entry["id"], item.conducted_on, attempt) in days:
                raise GatewayError("visit.repeated")
            entries.done(entry)
            effective_on = effective(item.conducted_on, closed)
            visit_id = ids[len(visits)]
            visits.append(
                {
                    "id": visit_id,
                    "entry_id": entry["id"],
                    "organisation": organisation,
                    "conducted_on": item.conducted_on,
                    "effective_on": effective_on,
                    "place": item.place,
                    "result": item.result,
                    "attempt": attempt,
                    "doctor_snils": doctor["snils"],
                    "doctor_type": doctor_type,
                }
            )
            change = Change(entry["id"], "ATTEMPTED" if attempt else "VISITED", "VISIT", effective_on)
            change.details["visit"] = visit_id
            if not attempt and (entry["last_visit_on"] is None or item.conducted_on >= entry["last_visit_on"]):
                change.patch |= {
                    "last_visit_on": item.conducted_on,
                    "last_visit_result": item.result,
                    **self.due(entry, last_visit_on=item.conducted_on),
                }
            shifted = effective_on != item.conducted_on
            if item.excluded_on and item.exclusion_reason:
                until = effective(item.excluded_on, closed)
                shifted = shifted or until != item.excluded_on
                change.kind, change.effective_on = "EXCLUDED", until
                change.patch |= _ended(item.excluded_on, item.exclusion_reason)
                ends.append({"entry_id": entry["id"], "until": until, "true_to": item.excluded_on})
            changes.append(change)
            return Outcome("ok.closed-month" if shifted else "ok", visit_id)

        results = batch(call, items, decide)
        queries.insert_visits(connection, visits)
        queries.end_segments(connection, ends)
        ledger.apply(connection, call, organisation, changes)
        return results

    def exclude(
        self, connection: Connection, call: Call, organisation: str, items: Sequence[Exclusion]
    ) -> list[ItemResult]:
        """ExcludeEntries: the end of an observation without an examination."""
        entries = self._entries(connection, call, organisation, items)
        today = self.clock.today()
        codes = self.directory()
        closed = queries.closed_months(connection, organisation)
        changes: list[Change] = []
        ends: list[dict[str, Any]] = []

        def decide(item: Exclusion) -> Outcome:
            entry = entries.take(item)
            observation.is_open(entry["status"])
            observation.ending(
                item.excluded_on,
                item.exclusion_reason,
                observed_since=entry["observed_since"],
                last_visit_on=entry["last_visit_on"],
                today=today,
                codes=codes,
            )
            entries.done(entry)
            until = effective(item.excluded_on, closed)
            ends.append({"entry_id": entry["id"], "until": until, "true_to": item.excluded_on})
            patch = _ended(item.excluded_on, item.exclusion_reason)
            changes.append(Change(entry["id"], "EXCLUDED", "EXCLUSION", until, patch))
            return Outcome(accepted(item.excluded_on, until), entry["id"])

        results = batch(call, items, decide)
        queries.end_segments(connection, ends)
        ledger.apply(connection, call, organisation, changes)
        return results

    def begin(self, connection: Connection, call: Call, organisation: str) -> None:
        """Locks the list of an organisation that exists."""
        call.organisation = organisation
        if not queries.organisation_exists(connection, organisation):
            raise GatewayError("object.not-found")
        ledger.lock(connection, organisation)

    def _entries(self, connection: Connection, call: Call, organisation: str, items: Sequence[Any]) -> Entries:
        self.begin(connection, call, organisation)
        return Entries(connection, call, organisation, items)

    def _person(self, found: dict[str, RowMapping], enp: str) -> RowMapping:
        if wrong := persons.enp_error(enp):
            raise GatewayError(wrong)
        person = found.get(enp)
        if person is None:
            raise GatewayError("person.unknown")
        observation.may_be_observed(_facts(person))
        return person

    def _specialty(self, doctors: Doctors, item: NewEntry | PlanChange, today: date) -> str | None:
        """The specialty named, else the doctor's own."""
        doctor = doctors.find(item.doctor_snils, today) if item.doctor_snils else None
        if item.specialty:
            if not self.nsi.has("SPECIALTIES", item.specialty, today):
                raise GatewayError("doctor.specialty")
            return item.specialty
        return doctor["specialty"] if doctor else None


class Entries:
    """The entries a batch names: each may be changed once, by its owner, at the version the caller expects."""

    def __init__(self, connection: Connection, call: Call, organisation: str, items: Sequence[Any]) -> None:
        numbers = [int(item.entry_id) for item in items if item.entry_id.isascii() and item.entry_id.isdigit()]
        self.rows = queries.entries(connection, {number for number in numbers if number < 10**18})
        self.organisation = organisation
        self.changed: set[int] = set()
        call.covers(row["person_id"] for row in self.rows.values() if row["organisation"] == organisation)

    def take(self, item: Any) -> RowMapping:
        entry = self.rows.get(id_of(item.entry_id))
        if entry is None:
            raise GatewayError("object.not-found")
        if entry["organisation"] != self.organisation:
            raise Foreign()
        if entry["id"] in self.changed:
            raise GatewayError("conflict.duplicate-item")
        if item.expected_version is not None and item.expected_version != entry["version"]:
            raise GatewayError("conflict.version")
        return entry

    def done(self, entry: RowMapping) -> None:
        """Notes that the entry is changed, so that another item for it is refused."""
        self.changed.add(entry["id"])


_COPIED = (
    "enp", "snils", "last_name", "first_name", "middle_name", "name_key", "birth_date", "sex", "death_date", "insurer",
    "attached_organisation",
)  # fmt: skip


def _facts(person: RowMapping) -> observation.Person:
    return observation.Person(person["id"], person["birth_date"], person["death_date"], person["insured_in_region"])


def _ended(day: date, reason: str) -> dict[str, Any]:
    return {"status": "EXCLUDED", "excluded_on": day, "exclusion_reason": reason}
