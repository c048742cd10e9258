"""Marks of registers put into lists: what `domain.marks` rules becomes entries, ends and events.

Marks of one person and disease are taken in the order of their days, each on what the one before has made. The clinic's
own word goes first: a mark older than a later change of the entry changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from sqlalchemy import Connection, RowMapping

from gateway.access.model import Call
from gateway.domain import diagnoses, marks
from gateway.domain.marks import Mark, Ruling, Stay, Step
from gateway.errors import GatewayError
from gateway.lists import ledger, queries
from gateway.lists.decisions import Decisions, Facts, ended
from gateway.lists.frame import accepted
from gateway.lists.ledger import Change
from gateway.lists.model import NewEntry

CAUSE = "MARK"
SOURCE = "REGISTER"

_IDS = 100


@dataclass(frozen=True, slots=True)
class MarkItem:
    """A mark of a known person. ``details`` (file, idcase, slId) go with the events it causes."""

    number: int
    enp: str
    code: int
    diagnosis: str
    day: date
    details: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class MarkResult:
    """What became of a mark: the step, its code, and the entry that it made, confirmed or ended."""

    number: int
    step: Step
    code: str
    entry_id: int | None = None


@dataclass(slots=True)
class _Round:
    """Steps that do not depend on each other: at most one for each person and disease."""

    ends: list[dict[str, Any]] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True)
class _Standing:
    """A person and a disease while its marks are taken: stays by true days, where the last one ends in lists, how many
    steps were made."""

    stays: list[Stay] = field(default_factory=list)
    entries: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    until: date = date.min
    steps: int = 0


class Marking(Decisions):
    """Marks of registers."""

    def mark(
        self, connection: Connection, call: Call, organisation: str, items: Sequence[MarkItem]
    ) -> list[MarkResult]:
        """Takes the marks that a clinic's registers bring; all marks of a person that are known together belong into one
        call. The list is locked from here to the end of the transaction."""
        ledger.lock(connection, organisation)
        facts = self.facts(connection, organisation, {item.enp for item in items}, ())
        standing = self._standing_of(connection, facts)
        rounds: list[_Round] = []
        ids = _ids(connection)
        results = []
        for item in sorted(items, key=lambda item: (item.day, item.code not in (1, 2), item.number)):
            person = facts.persons.get(item.enp)
            if person is None:
                results.append(MarkResult(item.number, Step.ASIDE, "ok.aside"))
                continue
            try:
                results.append(self._ruled(facts, person, item, standing, rounds, ids))
            except GatewayError as refusal:
                results.append(MarkResult(item.number, Step.REFUSE, refusal.code))
        for one in rounds:
            queries.end_segments(connection, one.ends)
            ledger.apply(connection, call, organisation, one.changes, SOURCE)
            ledger.take(connection, call, organisation, one.rows, SOURCE)
        call.covers(person["id"] for person in facts.persons.values())
        return results

    def review(
        self, connection: Connection, call: Call, entry_ids: Iterable[int], details: Mapping[int, Mapping[str, str]]
    ) -> dict[str, list[int]]:
        """Sends entries to review: what made or ended them was taken back. Nothing of them changes; each leaves an event
        that its clinic finds in the feed and in the history. Entries by the organisation that holds them."""
        wanted = list(entry_ids)
        locked: set[str] = set()
        while True:
            rows = queries.holders(connection, wanted)
            waiting = {row["organisation"] for row in rows} - locked
            if not waiting:
                break
            for organisation in sorted(waiting):  # an entry may move until its list is held
                ledger.lock(connection, organisation)
            locked |= waiting
        found: dict[str, list[int]] = {}
        for row in rows:
            found.setdefault(row["organisation"], []).append(row["id"])
        call.covers(row["person_id"] for row in rows)
        today = self.clock.today()
        for organisation, ids in sorted(found.items()):
            changes = [Change(id, "REVIEW", CAUSE, today, {}, dict(details[id])) for id in sorted(ids)]
            ledger.apply(connection, call, organisation, changes, SOURCE)
        return found

    def _standing_of(self, connection: Connection, facts: Facts) -> dict[tuple[int, str], _Standing]:
        found: dict[tuple[int, str], _Standing] = {}
        for row in queries.stays(connection, [person["id"] for person in facts.persons.values()]):
            one = found.setdefault((row["person_id"], row["diagnosis_key"]), _Standing())
            changed_on = row["changed_on"] or row["true_from"]
            stay = Stay(
                row["entry_id"], row["organisation"], row["true_from"], row["true_to"], changed_on, row["annulled"]
            )
            one.stays.append(stay)
            one.entries[row["entry_id"]] = dict(row)
            one.until = max(one.until, row["until"] or date.min)
        return found

    def _ruled(
        self,
        facts: Facts,
        person: RowMapping,
        item: MarkItem,
        standing: dict[tuple[int, str], _Standing],
        rounds: list[_Round],
        ids: Iterator[int],
    ) -> MarkResult:
        key = diagnoses.key_of(item.diagnosis, self.settings.observation_key)
        one = standing.setdefault((person["id"], key), _Standing())
        state = marks.state_of(one.stays, facts.organisation, item.day)
        ruling = marks.ruling(
            Mark(item.code),
            state,
            day=item.day,
            today=facts.today,
            death_date=person["death_date"],
            insured_in_region=person["insured_in_region"],
        )
        if ruling.step is Step.ADD:
            return self._put(facts, person, item, one, rounds, ids)
        if ruling.step is Step.END:
            return self._end(facts, item, one, rounds)
        return MarkResult(
            item.number, ruling.step, ruling.code, _meant(one.stays, ruling, facts.organisation, item.day)
        )

    def _put(
        self, facts: Facts, person: RowMapping, item: MarkItem, one: _Standing, rounds: list[_Round], ids: Iterator[int]
    ) -> MarkResult:
        """A new entry from the day of the mark, with no plan yet. An end that counts only from a later open day holds the
        beginning up."""
        bare = Facts(
            organisation=facts.organisation, today=facts.today, persons=facts.persons, segments={},
            doctors=facts.doctors, closed=facts.closed, codes=facts.codes,
        )  # fmt: skip
        new = NewEntry(item.enp, item.diagnosis, observed_since=item.day)
        row = self.newcomer(bare, person, new, empty_plan=True)
        row["effective_from"] = max(row["effective_from"], one.until)
        row["id"] = next(ids)
        row |= {"cause": CAUSE, "details": dict(item.details)}
        _round(rounds, one).rows.append(row)
        one.stays.append(Stay(row["id"], facts.organisation, item.day, None, item.day))
        one.entries[row["id"]] = row
        code = accepted(item.day, row["effective_from"], row["outside"])
        return MarkResult(item.number, Step.ADD, code, row["id"])

    def _end(self, facts: Facts, item: MarkItem, one: _Standing, rounds: list[_Round]) -> MarkResult:
        """The end of the running entry on the day of the mark."""
        stay = marks.running(one.stays)
        assert stay is not None
        entry = one.entries[stay.entry_id]
        reason = marks.REASONS[Mark(item.code)]
        will = {"observed_since": entry["observed_since"], "last_visit_on": entry.get("last_visit_on")}
        until = max(self.ending(facts, will, item.day, reason), entry.get("since") or entry["effective_from"])
        made = _round(rounds, one)
        made.ends.append({"entry_id": stay.entry_id, "until": until, "true_to": item.day})
        made.changes.append(
            Change(stay.entry_id, "EXCLUDED", CAUSE, until, ended(item.day, reason), dict(item.details))
        )
        one.stays.remove(stay)
        one.stays.append(Stay(stay.entry_id, stay.organisation, stay.since, item.day, item.day))
        one.until = max(one.until, until)
        return MarkResult(item.number, Step.END, accepted(item.day, until), stay.entry_id)


def _ids(connection: Connection) -> Iterator[int]:
    """Ids of new entries, fetched as they are needed."""
    while True:
        yield from queries.next_ids(connection, "entry", _IDS)


def _round(rounds: list[_Round], one: _Standing) -> _Round:
    """The round of the next step of a person and disease: its former steps stand in earlier rounds."""
    one.steps += 1
    if one.steps > len(rounds):
        rounds.append(_Round())
    return rounds[one.steps - 1]


def _meant(stays: Iterable[Stay], ruling: Ruling, organisation: str, day: date) -> int | None:
    """The entry of this clinic that a mark without effect speaks of."""
    own = [stay for stay in stays if stay.organisation == organisation and not stay.annulled]
    if ruling.step is Step.CONFIRM:
        own = [stay for stay in own if stay.until is None or stay.holds(organisation, day)]
    return max(own, key=lambda stay: (stay.until is None, stay.since)).entry_id if own else None
