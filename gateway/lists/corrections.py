"""Corrections: an error is taken back, its trace stays, and a closed month keeps what it held."""

from __future__ import annotations

from datetime import date

from sqlalchemy import Connection, RowMapping

from gateway.access.model import Call, Foreign
from gateway.domain import diagnoses, observation
from gateway.domain.observation import effective
from gateway.errors import GatewayError
from gateway.lists import ledger, queries
from gateway.lists.frame import Frame, disease_since, id_of
from gateway.lists.history import History
from gateway.lists.ledger import Change
from gateway.lists.model import EntryView


class Corrections(History, Frame):
    """Single changes of one entry; each answers with the entry and its history."""

    def change_diagnosis(
        self, connection: Connection, call: Call, entry_id: str, diagnosis: str, since: date, reason: str
    ) -> EntryView:
        """ChangeDiagnosis: from ``since`` the person is observed for another diagnosis, in the same entry.

        A code of the same rubric only makes the diagnosis more exact: its date stays, and the terms of visits go on.
        """
        reason = _reason(reason)
        organisation, entry = self.own_entry(connection, call, entry_id)
        observation.is_open(entry["status"])
        if since > self.clock.today():
            raise GatewayError("observation.date-future")
        if since < entry["observed_since"]:
            raise GatewayError("observation.date-before-diagnosis")
        another = diagnoses.rubric(diagnoses.parse(diagnosis)) != diagnoses.rubric(entry["diagnosis"])
        place = self.place(
            diagnosis,
            specialty=entry["specialty"],
            birth_date=entry["birth_date"],
            observed_since=since if another else disease_since(entry),
            last_visit_on=entry["last_visit_on"],
        )
        if place.diagnosis == entry["diagnosis"]:
            raise GatewayError("diagnosis.same")
        open_segment = queries.segments(connection, entry["id"])[-1]
        closed = queries.closed_months(connection, organisation)
        day = max(effective(since, closed), open_segment["since"])
        self.others(connection, organisation, entry, place.key, day)
        queries.set_segment(connection, open_segment["id"], day, since, "DIAGNOSIS")
        queries.add_segment(
            connection,
            entry_id=entry["id"],
            person_id=entry["person_id"],
            diagnosis_key=place.key,
            diagnosis=place.diagnosis,
            organisation=organisation,
            since=day,
            true_from=since,
            cause="DIAGNOSIS",
        )
        patch = {
            "diagnosis": place.diagnosis,
            "diagnosis_key": place.key,
            "diagnosis_group": place.group,
            "outside": place.outside,
            "diagnosed_on": since if another else entry["diagnosed_on"],
            "next_visit_by": place.next_visit_by,
        }
        change = Change(entry["id"], "DIAGNOSIS_CHANGED", "CORRECTION", day, patch, {"reason": reason})
        ledger.apply(connection, call, organisation, [change])
        return self.view(connection, entry["id"])

    def annul_entry(self, connection: Connection, call: Call, entry_id: str, reason: str) -> EntryView:
        """AnnulEntry: the entry was an error. What closed months hold of it stays, and what organisations from which it moved
        had of it; open months of its own organisation forget it."""
        reason = _reason(reason)
        organisation, entry = self.own_entry(connection, call, entry_id)
        if entry["status"] == "ANNULLED":
            raise GatewayError("observation.annulled")
        closed = queries.closed_months(connection, organisation)
        day = self.clock.today()
        for segment in queries.segments(connection, entry["id"]):
            if segment["organisation"] == organisation:
                until = _kept(segment, closed, day)
                queries.set_segment(connection, segment["id"], until, segment["true_from"], "ANNULLED")
        queries.annul_visits(connection, entry["id"], organisation, reason)
        patch = {"status": "ANNULLED", "next_visit_by": None}
        change = Change(entry["id"], "ANNULLED", "CORRECTION", day, patch, {"reason": reason})
        ledger.apply(connection, call, organisation, [change])
        return self.view(connection, entry["id"])

    def annul_visit(self, connection: Connection, call: Call, visit_id: str, reason: str) -> EntryView:
        """AnnulVisit: the visit was an error; the entry shows the latest visit that is left."""
        call.caller.may_change()
        reason = _reason(reason)
        visit = queries.visit(connection, id_of(visit_id))
        if visit is None:
            raise GatewayError("object.not-found")
        organisation, entry = self.own_entry(connection, call, str(visit["entry_id"]))
        if visit["organisation"] != organisation:
            raise Foreign()
        visit = queries.visit(connection, visit["id"]) or visit
        if visit["annulled_at"] is not None:
            raise GatewayError("visit.annulled")
        if entry["status"] == "EXCLUDED" and queries.ending_visit(connection, entry["id"]) == visit["id"]:
            raise GatewayError("visit.ended-entry")
        queries.annul_visits(connection, entry["id"], organisation, reason, visit["id"])
        last = queries.last_visit(connection, entry["id"])
        last_on = last["conducted_on"] if last else None
        patch = {"last_visit_on": last_on, "last_visit_result": last["result"] if last else None}
        if entry["status"] == "OBSERVED":
            patch |= self.due(entry, last_visit_on=last_on)
        details = {"reason": reason, "visit": visit["id"]}
        change = Change(entry["id"], "VISIT_ANNULLED", "CORRECTION", self.clock.today(), patch, details)
        ledger.apply(connection, call, organisation, [change])
        return self.view(connection, entry["id"])

    def reopen(self, connection: Connection, call: Call, entry_id: str, reason: str) -> EntryView:
        """ReopenEntry: the exclusion was an error. The observation goes on without a gap, unless a closed month saw it end."""
        reason = _reason(reason)
        organisation, entry = self.own_entry(connection, call, entry_id)
        if entry["status"] == "ANNULLED":
            raise GatewayError("observation.annulled")
        if entry["status"] != "EXCLUDED":
            raise GatewayError("observation.open")
        observation.may_be_observed(
            observation.Person(
                entry["person_id"], entry["birth_date"], entry["person_death"], entry["insured_in_region"]
            )
        )
        last = queries.segments(connection, entry["id"])[-1]
        if last["organisation"] != organisation or last["until"] is None:
            raise GatewayError("reopen.impossible")
        closed = queries.closed_months(connection, organisation)
        day = effective(last["until"], closed)
        self.others(connection, organisation, entry, entry["diagnosis_key"], last["until"])
        if day == last["until"]:
            queries.reopen_segment(connection, last["id"])
        else:
            queries.add_segment(
                connection,
                entry_id=entry["id"],
                person_id=entry["person_id"],
                diagnosis_key=entry["diagnosis_key"],
                diagnosis=entry["diagnosis"],
                organisation=organisation,
                since=day,
                true_from=last["true_to"] or day,
                cause="REOPENED",
            )
        patch = {
            "status": "OBSERVED",
            "excluded_on": None,
            "exclusion_reason": None,
            **self.due(entry, last_visit_on=entry["last_visit_on"]),
        }
        change = Change(entry["id"], "REOPENED", "CORRECTION", day, patch, {"reason": reason})
        ledger.apply(connection, call, organisation, [change])
        return self.view(connection, entry["id"])


def _reason(text: str) -> str:
    text = text.strip()
    if not text:
        raise GatewayError("reason.empty")
    return text


def _kept(segment: RowMapping, closed: frozenset[int], today: date) -> date:
    """The end of a segment of an annulled entry: its beginning, or the first open day after the last closed month it met."""
    since, until = segment["since"], segment["until"] or today
    kept: date = since
    for month in sorted(closed):
        first = date(month // 100, month % 100, 1)
        after = date(first.year + first.month // 12, first.month % 12 + 1, 1)
        if since < after and first < until:
            kept = min(until, after)
    return kept
