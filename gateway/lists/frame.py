"""What every part of the lists feature stands on: settings, dictionaries, the clock, and the facts read for a decision."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy import Connection, RowMapping

from gateway.access.model import Call, Foreign, ItemResult
from gateway.domain import diagnoses, observation, schedule
from gateway.domain.clock import Clock
from gateway.errors import ACCEPTED, GatewayError
from gateway.lists import ledger, queries
from gateway.nsi.dictionaries import Nsi
from gateway.settings import Settings

Row = RowMapping | Mapping[str, Any]
"""A row as it was read, or as it will be."""


@dataclass(frozen=True, slots=True)
class Placement:
    """What a diagnosis means for an entry: key, group, whether it is outside the orders, and the next visit."""

    diagnosis: str
    key: str
    group: str
    outside: str | None
    next_visit_by: date | None


@dataclass(slots=True)
class Outcome:
    """A decision on one item: the code to answer with and the id of what it makes or changes."""

    code: str
    id: int | None = None


class Frame:
    """Shared by the parts of `Lists`."""

    def __init__(self, settings: Settings, nsi: Nsi, clock: Clock) -> None:
        self.settings = settings
        self.nsi = nsi
        self.clock = clock

    def directory(self) -> observation.Directory:
        """Codes in force today."""
        today = self.clock.today()
        places = self.nsi.items("PLACES", today)
        results = self.nsi.items("RESULTS", today)
        return observation.Directory(
            places=places.keys(),
            no_show_places={code for code, item in places.items() if item.attributes.get("no_show")},
            results=results.keys(),
            no_show_results={code for code, item in results.items() if item.attributes.get("no_show")},
            removal_results={code for code, item in results.items() if item.attributes.get("removal")},
            reasons=self.nsi.items("EXCLUSION_REASONS", today).keys(),
            doctor_types=self.nsi.items("DOCTOR_TYPES", today).keys(),
        )

    def place(
        self,
        text: str,
        *,
        specialty: str | None,
        birth_date: date,
        observed_since: date,
        last_visit_on: date | None = None,
    ) -> Placement:
        """A diagnosis as it will stand in an entry; refuses what the setting ``diagnosis_outside`` refuses."""
        today = self.clock.today()
        diagnosis = diagnoses.parse(text)
        if wrong := self.nsi.diagnosis_error(diagnosis, today):
            raise GatewayError(wrong)
        appointment = self.next_visit(diagnosis, specialty, birth_date, observed_since, last_visit_on)
        if appointment.outside == "ORDER" and self.settings.diagnosis_outside == "refuse":
            raise GatewayError("diagnosis.outside")
        return Placement(
            diagnosis=diagnosis,
            key=diagnoses.key_of(diagnosis, self.settings.observation_key),
            group=self.nsi.group_of(diagnosis, today),
            outside=appointment.outside,
            next_visit_by=appointment.by,
        )

    def next_visit(
        self, diagnosis: str, specialty: str | None, birth_date: date, observed_since: date, last_visit_on: date | None
    ) -> schedule.Appointment:
        """The term of the next visit by 168н or 548н."""
        today = self.clock.today()
        profile = self.nsi.profile_of(specialty, today) if specialty else None
        return schedule.appointment(
            diagnosis,
            profile=profile,
            birth_date=birth_date,
            observed_since=observed_since,
            last_visit_on=last_visit_on,
            on=today,
        )

    def due(
        self, entry: Row, *, last_visit_on: date | None, specialty: str | None = None
    ) -> dict[str, date | str | None]:
        """The term of the next visit as columns of `entry`. Who has come of age is no longer outside the orders."""
        appointment = self.next_visit(
            entry["diagnosis"],
            specialty or entry["specialty"],
            entry["birth_date"],
            disease_since(entry),
            last_visit_on,
        )
        return {"next_visit_by": appointment.by, "outside": appointment.outside}

    def own_entry(self, connection: Connection, call: Call, entry_id: str) -> tuple[str, RowMapping]:
        """The organisation and the locked entry for a single correction; one outside the set answers like a missing one."""
        call.caller.may_change()
        number = id_of(entry_id)
        owner = queries.owner(connection, number)
        if owner is None:
            raise GatewayError("object.not-found")
        organisation = owner["organisation"]
        if not call.caller.sees(organisation) or (call.organisation and call.organisation != organisation):
            raise Foreign()
        call.organisation = organisation
        ledger.lock(connection, organisation)
        entry = queries.entries(connection, [number])[number]
        if entry["organisation"] != organisation:
            raise Foreign()
        call.covers([entry["person_id"]])
        return organisation, entry

    def others(
        self,
        connection: Connection,
        organisation: str,
        entry: RowMapping,
        key: str,
        since: date,
        until: date | None = None,
    ) -> None:
        """Refuses a stretch of observation that meets another one of the same person and disease."""
        segments = [
            row
            for row in queries.segments_of_persons(connection, [entry["person_id"]])
            if row["entry_id"] != entry["id"]
        ]
        meets(segments, organisation, entry["person_id"], key, since, until)


def disease_since(entry: Row) -> date:
    """Since when the person of an entry is observed for its present disease: a change to another one begins anew."""
    since: date = entry["observed_since"]
    return max(since, entry["diagnosed_on"] or since)


def meets(
    segments: Iterable[RowMapping],
    organisation: str,
    person_id: int,
    key: str,
    since: date,
    until: date | None = None,
) -> None:
    """Raises elsewhere / exists / overlap if [since, until) meets a segment of the person and key."""
    for row in segments:
        if row["person_id"] != person_id or row["diagnosis_key"] != key:
            continue
        if until is not None and row["since"] >= until:
            continue
        if row["until"] is None:
            own = row["organisation"] == organisation
            raise GatewayError("observation.exists" if own else "observation.elsewhere")
        if row["until"] > since:
            raise GatewayError("observation.overlap")


def id_of(text: str) -> int:
    """The number in an entryId or visitId; anything else names nothing."""
    if text.isascii() and text.isdigit() and len(text) <= 18:
        return int(text)
    raise GatewayError("object.not-found")


def batch(call: Call, items: Sequence[Any], decide: Callable[[Any], Outcome]) -> list[ItemResult]:
    """Decides every item in order; a refused one leaves a code and nothing else. Foreign objects are counted apart."""
    results: list[ItemResult] = []
    foreign = 0
    for number, item in enumerate(items, 1):
        try:
            outcome = decide(item)
        except GatewayError as refusal:
            foreign += isinstance(refusal, Foreign)
            results.append(ItemResult(number, refusal.code, refusal.message))
        else:
            id = None if outcome.id is None else str(outcome.id)
            results.append(ItemResult(number, outcome.code, ACCEPTED[outcome.code], id))
    counts: dict[str, int] = {}
    for result in results:
        counts[result.code] = counts.get(result.code, 0) + 1
    call.details["items"] = counts
    if foreign:
        call.details["foreign"] = foreign
    return results


def accepted(day: date, effective_on: date, outside: str | None = None) -> str:
    """The code of an item that took effect."""
    if effective_on != day:
        return "ok.closed-month"
    if outside == "CHILD":
        return "ok.child"
    return "ok.outside" if outside else "ok"
