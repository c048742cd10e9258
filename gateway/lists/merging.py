"""How a record of an uploaded list meets the list: what it adds, changes or ends, or why it is refused.

A record names its entry by externalId, else by person and disease. What a record does not say stays as it is. A record
takes effect as a whole or not at all, and the same record again changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sqlalchemy import RowMapping

from gateway.domain import diagnoses, observation, persons
from gateway.domain.observation import effective
from gateway.errors import GatewayError
from gateway.formats.listing import ListRecord
from gateway.lists.decisions import Decisions, Facts, ended, known
from gateway.lists.frame import accepted, disease_since
from gateway.lists.ledger import Change
from gateway.lists.model import NewEntry
from gateway.nsi.dictionaries import Item

CAUSE = "UPLOAD"
NOT_HERE = "ok.aside"
SAME = "ok.same"


@dataclass(frozen=True, slots=True)
class Standing:
    """The entries that records of a portion may mean: by externalId, and by person and disease; none is annulled."""

    named: Mapping[str, RowMapping]
    of_person: Mapping[tuple[int, str], list[RowMapping]]


@dataclass(slots=True)
class Verdict:
    """What becomes of a record. ``row`` is a new entry (its id is given later: changes of it have ``entry_id`` 0),
    ``refined`` the day a more exact diagnosis counts from, ``until`` the day the observation ends on in lists."""

    code: str
    entry: RowMapping | None = None
    person_id: int | None = None
    row: dict[str, Any] | None = None
    changes: list[Change] = field(default_factory=list)
    refined: date | None = None
    until: date | None = None


class Merging(Decisions):
    """The rules of UploadList, mode MERGE."""

    def key(self, diagnosis: str) -> str:
        return diagnoses.key_of(diagnosis, self.settings.observation_key)

    def verdict(self, record: ListRecord, facts: Facts, standing: Standing) -> Verdict:
        """Decides on a record that is right in itself (`plain_refusal`). Raises `GatewayError` with the refusal."""
        person = facts.persons.get(record.enp)
        if person is None:
            return Verdict(NOT_HERE)
        entry, fresh = self._meant(record, person, standing)
        if entry is None:
            found = self._added(record, facts, person, fresh)
        elif entry["status"] == "OBSERVED":
            found = self._kept(record, facts, person, entry)
        else:
            found = self._over(record, facts, person, entry)
        found.person_id = person["id"]
        return found

    def _meant(
        self, record: ListRecord, person: RowMapping, standing: Standing
    ) -> tuple[RowMapping | None, list[RowMapping]]:
        """The entry of a record; where there is none, the person's former entries for the disease."""
        key = self.key(record.diagnosis)
        entry = standing.named.get(record.external_id) if record.external_id else None
        if entry is not None:
            if entry["person_id"] != person["id"]:
                raise GatewayError("upload.person-differs")
            if entry["diagnosis_key"] != key:
                raise GatewayError("upload.diagnosis-differs")
            return entry, []
        entries = standing.of_person.get((person["id"], key), [])
        past = [row for row in entries if row["status"] != "OBSERVED"]
        for row in past:
            nameless = not record.external_id or row["external_id"] is None
            if nameless and record.excluded_on is not None and row["excluded_on"] == record.excluded_on:
                return row, []
        for row in entries:
            if row["status"] == "OBSERVED":
                if record.external_id and row["external_id"] is not None:
                    raise GatewayError("conflict.external-id")
                return row, []
        return None, past

    def _added(self, record: ListRecord, facts: Facts, person: RowMapping, past: list[RowMapping]) -> Verdict:
        """A new entry, also one whose observation is over already. A person who was observed here before is taken again
        only with a beginning: a line that lags behind an exclusion must not undo it."""
        if past and record.observed_since is None:
            raise GatewayError("observation.not-open")
        observation.may_be_observed(known(person))
        item = NewEntry(
            enp=record.enp,
            diagnosis=record.diagnosis,
            planned_months=record.planned_months or (),
            external_id=record.external_id,
            diagnosed_on=record.diagnosed_on,
            observed_since=record.observed_since,
            doctor_snils=record.doctor_snils,
            specialty=record.specialty,
        )
        day, reason = record.excluded_on, record.exclusion_reason
        row = self.newcomer(facts, person, item, empty_plan=True, excluded_on=day, exclusion_reason=reason)
        found = Verdict(accepted(row["observed_since"], row["effective_from"], row["outside"]), row=row)
        if day is not None and reason is not None:
            row["true_to"] = day
            found.until = row["effective_to"]
            found.changes.append(Change(0, "EXCLUDED", CAUSE, row["effective_to"], ended(day, reason)))
            if found.code != "ok.closed-month":
                found.code = accepted(day, row["effective_to"], row["outside"])
        return found

    def _kept(self, record: ListRecord, facts: Facts, person: RowMapping, entry: RowMapping) -> Verdict:
        """An entry under observation: what the record says otherwise is corrected, and its end is taken over."""
        patch = self._differences(record, facts, person, entry)
        found = Verdict(SAME, entry)
        day, reason = record.excluded_on, record.exclusion_reason
        if patch:
            found.code = accepted(facts.today, facts.today, patch.get("outside"))
            kind, since = "CORRECTED", facts.today
            if "diagnosis" in patch:
                kind, since = "DIAGNOSIS_CHANGED", self._refined(facts, entry, day)
                found.refined = since
                found.code = accepted(facts.today, effective(facts.today, facts.closed), patch["outside"])
            elif patch.keys() <= {"planned_months", "doctor_snils", "specialty", "next_visit_by", "outside"}:
                kind = "PLANNED"
            found.changes.append(Change(entry["id"], kind, CAUSE, since, patch))
        if day is not None and reason is not None:
            until = self.ending(facts, entry, day, reason)
            found.until = until
            found.code = accepted(day, until)
            found.changes.append(Change(entry["id"], "EXCLUDED", CAUSE, until, ended(day, reason)))
        if record.observed_since not in (None, entry["observed_since"]):
            found.code = "ok.beginning"
        return found

    def _over(self, record: ListRecord, facts: Facts, person: RowMapping, entry: RowMapping) -> Verdict:
        """An entry that is over: the same record again, or one that only adds the name the clinic's system gives it."""
        told = (record.excluded_on, record.exclusion_reason)
        if told != (entry["excluded_on"], entry["exclusion_reason"]):
            raise GatewayError("observation.not-open")
        patch = self._differences(record, facts, person, entry)
        if patch.keys() - {"external_id"}:
            raise GatewayError("observation.not-open")
        found = Verdict(SAME, entry)
        if patch:
            found.code = "ok"
            found.changes.append(Change(entry["id"], "CORRECTED", CAUSE, facts.today, patch))
        if record.observed_since not in (None, entry["observed_since"]):
            found.code = "ok.beginning"
        return found

    def _differences(self, record: ListRecord, facts: Facts, person: RowMapping, entry: RowMapping) -> dict[str, Any]:
        """What the record says otherwise than the entry, as columns of `entry`; only what differs is checked."""
        patch: dict[str, Any] = {}
        if record.external_id and entry["external_id"] is None:
            patch["external_id"] = record.external_id
        if record.diagnosed_on not in (None, entry["diagnosed_on"]):
            observation.beginning(known(person), record.diagnosed_on, disease_since(entry), facts.today)
            patch["diagnosed_on"] = record.diagnosed_on
        patch |= self._leading(record, facts, entry)
        if record.planned_months is not None and set(record.planned_months) != set(entry["planned_months"]):
            patch["planned_months"] = observation.plan(record.planned_months, facts.today, empty_allowed=True)
        if record.diagnosis != entry["diagnosis"]:
            patch["diagnosis"] = record.diagnosis
        if patch.keys() & {"diagnosis", "diagnosed_on", "specialty"}:
            patch |= self._placed(entry, patch)
        return patch

    def _leading(self, record: ListRecord, facts: Facts, entry: RowMapping) -> dict[str, Any]:
        """The doctor and the specialty, where the record names others."""
        patch: dict[str, Any] = {}
        doctor = persons.snils_digits(record.doctor_snils) if record.doctor_snils else entry["doctor_snils"]
        if doctor == entry["doctor_snils"] and record.specialty in (None, entry["specialty"]):
            return patch
        named = record.doctor_snils if doctor != entry["doctor_snils"] else None
        specialty = self.specialty(facts.doctors, named, record.specialty, facts.today)
        if doctor != entry["doctor_snils"]:
            patch["doctor_snils"] = doctor
        if specialty and specialty != entry["specialty"]:
            patch["specialty"] = specialty
        return patch

    def _placed(self, entry: RowMapping, patch: dict[str, Any]) -> dict[str, Any]:
        """What follows from another diagnosis of the same rubric, another date of it, or another specialty."""
        will = dict(entry) | patch
        if "diagnosis" not in patch:
            return self.due(will, last_visit_on=entry["last_visit_on"])
        place = self.place(
            will["diagnosis"],
            specialty=will["specialty"],
            birth_date=entry["birth_date"],
            observed_since=disease_since(will),
            last_visit_on=entry["last_visit_on"],
        )
        return {
            "diagnosis_key": place.key,
            "diagnosis_group": place.group,
            "outside": place.outside,
            "next_visit_by": place.next_visit_by,
        }

    def _refined(self, facts: Facts, entry: RowMapping, excluded_on: date | None) -> date:
        """The day from which an entry is observed for a more exact code of its rubric: today, or the end that the same
        record tells; in lists not before the first open day, nor before the present stretch begins."""
        day = effective(min(facts.today, excluded_on or facts.today), facts.closed)
        for row in facts.segments.get(entry["person_id"], ()):
            if row["entry_id"] == entry["id"] and row["until"] is None:
                day = max(day, row["since"])
        return day


def reasons(items: Mapping[str, Item]) -> dict[str, str]:
    """Codes of reasons of exclusion by what a file may write for them: the code, the name, a value of the attribute
    ``external`` (several are separated by blanks)."""
    names: dict[str, str] = {}
    for code, item in items.items():
        for text in (*str(item.attributes.get("external") or "").split(), item.name):
            names.setdefault(text.casefold(), code)
    return names | {code.casefold(): code for code in items}


def plain_refusal(record: ListRecord, organisation: str, reasons: Mapping[str, str]) -> tuple[str, str] | None:
    """Why a record is refused for what it says alone: code and field. Puts diagnosis and reason into their normal form."""
    if record.problems:
        return record.problems[0].code, record.problems[0].field
    if record.organisation not in (None, organisation):
        return "upload.organisation", "organisation"
    if wrong := persons.enp_error(record.enp):
        return wrong, "enp"
    try:
        record.diagnosis = diagnoses.parse(record.diagnosis)
    except GatewayError as refusal:
        return refusal.code, "diagnosis"
    if (record.excluded_on is None) != (record.exclusion_reason is None):
        return "exclusion.pair", "excludedOn"
    if record.exclusion_reason is not None:
        code = reasons.get(record.exclusion_reason.strip().casefold())
        if code is None:
            return "exclusion.reason", "exclusionReason"
        record.exclusion_reason = code
    return None
