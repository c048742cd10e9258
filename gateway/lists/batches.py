"""Batches that keep a list: adding, planning, conducting, excluding. Good items take effect, bad ones leave a code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping

from gateway.access.model import Call, Foreign, ItemResult
from gateway.domain import observation, persons
from gateway.domain.observation import effective
from gateway.errors import GatewayError
from gateway.lists import ledger, queries
from gateway.lists.decisions import Decisions, Doctors, ended
from gateway.lists.frame import Outcome, accepted, batch, id_of
from gateway.lists.ledger import Change
from gateway.lists.model import Conduct, Exclusion, NewEntry, PlanChange


class Batches(Decisions):
    """Operations over 1..1000 items of one organisation."""

    def add(self, connection: Connection, call: Call, organisation: str, items: Sequence[NewEntry]) -> list[ItemResult]:
        """AddEntries: puts people under observation."""
        self.begin(connection, call, organisation)
        facts = self.facts(
            connection, organisation, {item.enp for item in items}, (item.doctor_snils for item in items)
        )
        names = queries.external_ids(connection, organisation, {item.external_id for item in items if item.external_id})
        ids = queries.next_ids(connection, "entry", len(items))
        rows: list[dict[str, Any]] = []
        mine: set[tuple[int, str]] = set()

        def decide(item: NewEntry) -> Outcome:
            person = self.person(facts, item.enp)
            row = self.newcomer(facts, person, item)
            if (person["id"], row["diagnosis_key"]) in mine:
                raise GatewayError("observation.exists")
            if item.external_id in names:
                raise GatewayError("conflict.external-id")
            mine.add((person["id"], row["diagnosis_key"]))
            if item.external_id:
                names.add(item.external_id)
            row["id"] = ids[len(rows)]
            rows.append(row)
            return Outcome(accepted(row["observed_since"], row["effective_from"], row["outside"]), row["id"])

        results = batch(call, items, decide)
        ledger.take(connection, call, organisation, rows)
        call.covers(person["id"] for person in facts.persons.values())
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
            specialty = self.specialty(doctors, item.doctor_snils, item.specialty, today) or entry["specialty"]
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
                change.patch |= ended(item.excluded_on, item.exclusion_reason)
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
        facts = self.facts(connection, organisation, (), ())
        changes: list[Change] = []
        ends: list[dict[str, Any]] = []

        def decide(item: Exclusion) -> Outcome:
            entry = entries.take(item)
            observation.is_open(entry["status"])
            until = self.ending(facts, entry, item.excluded_on, item.exclusion_reason)
            entries.done(entry)
            ends.append({"entry_id": entry["id"], "until": until, "true_to": item.excluded_on})
            patch = ended(item.excluded_on, item.exclusion_reason)
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
