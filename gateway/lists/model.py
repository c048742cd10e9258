"""What doors hand to the lists feature and get back: plain values in the words of the contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An item of AddEntries; months as ``yyyy-MM``."""

    enp: str
    diagnosis: str
    planned_months: tuple[str, ...] = ()
    external_id: str | None = None
    diagnosed_on: date | None = None
    observed_since: date | None = None
    doctor_snils: str | None = None
    specialty: str | None = None


@dataclass(frozen=True, slots=True)
class PlanChange:
    """An item of UpdatePlans: the new plan replaces the old one whole."""

    entry_id: str
    planned_months: tuple[str, ...] = ()
    doctor_snils: str | None = None
    specialty: str | None = None
    expected_version: int | None = None


@dataclass(frozen=True, slots=True)
class Conduct:
    """An item of ConductObservations: a visit or an attempt, with or without the end of the observation."""

    entry_id: str
    conducted_on: date
    place: str
    result: str
    doctor_snils: str
    doctor_type: str
    excluded_on: date | None = None
    exclusion_reason: str | None = None
    expected_version: int | None = None


@dataclass(frozen=True, slots=True)
class Exclusion:
    """An item of ExcludeEntries. ``excluded_on`` is the first day on which the person is not under observation."""

    entry_id: str
    excluded_on: date
    exclusion_reason: str
    expected_version: int | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """Which list: a month or a quarter, the type, the edition and filters."""

    year: int
    list_type: str
    month: int | None = None
    quarter: int | None = None
    edition: str = "CURRENT"
    diagnosis_group: str | None = None
    enp: str | None = None
    doctor_snils: str | None = None
    planned_month: str | None = None


LINE_COLUMNS = (
    "entry_id", "external_id", "version", "enp", "snils", "last_name", "first_name", "middle_name",
    "birth_date", "sex", "death_date", "insurer", "attached_organisation", "diagnosis", "diagnosis_group",
    "diagnosed_on", "organisation", "by_attachment", "doctor_snils", "specialty", "observed_since", "source",
    "planned_months", "last_visit_on", "last_visit_result", "next_visit_by", "status", "excluded_on",
    "exclusion_reason", "changed_at", "outside",
)  # fmt: skip
"""Order of the values of a line as pages read it (recordNumber is put before them when a page leaves). All are text or None, as XML wants them (dates ``yyyy-MM-dd``, times
with zone, ``true``/``false``); planned_months is ``yyyy-MM`` separated by blanks, '' when there is none; outside is
None, ORDER or CHILD and leaves as ``extra/Item{name=outside}``."""

Line = tuple[str | None, ...]


class LineRenderer(Protocol):
    """How a door writes lines. Stored blocks outlive it: bytes of one contract version stay right for ever."""

    def __call__(self, lines: Sequence[Line]) -> list[bytes]:
        """Each line without its record number, without any NUL byte."""
        ...

    def join(self, first: int, lines: Sequence[bytes]) -> bytes:
        """Ready elements one after another, numbered ``first``, ``first + 1``, …"""
        ...


Head = tuple[str, str, str, str, str]
"""Of a change: sequence, changedAt, kind, cause, source, as XML wants them."""


class ChangeRenderer(Protocol):
    """How a door writes changes."""

    def __call__(self, heads: Sequence[Head], lines: Sequence[Line]) -> bytes:
        """Ready elements one after another, each of a head and its line."""
        ...


@dataclass(frozen=True, slots=True)
class ChangePage:
    """Changes in the order of each list; ``body`` is all of them rendered, ``more`` whether others wait already."""

    next_token: str
    more: bool
    returned: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a frozen list; ``body`` is the rendered lines in order."""

    snapshot_id: UUID
    edition: str
    as_of: datetime
    closed_at: datetime | None
    change_token: str
    total_records: int
    start_record: int
    returned_records: int
    body: bytes


@dataclass(frozen=True, slots=True)
class VisitView:
    """A visit or attempt of an entry, as GetEntry shows it."""

    visit_id: str
    organisation: str
    conducted_on: date
    place: str
    result: str
    attempt: bool
    doctor_snils: str
    doctor_type: str
    recorded_at: datetime
    annulled_at: datetime | None
    annul_reason: str | None


@dataclass(frozen=True, slots=True)
class SegmentView:
    """A stretch of observation in one organisation; ``until`` is the first day after it, absent while it lasts."""

    organisation: str
    diagnosis: str
    since: date
    until: date | None
    cause_in: str
    cause_out: str | None


@dataclass(frozen=True, slots=True)
class EventView:
    """A change of an entry: kind, cause, source, and who recorded it when."""

    version: int
    recorded_at: datetime
    effective_on: date
    kind: str
    cause: str
    source: str
    actor: str | None


REGISTER_COLUMNS = ("registerFile", "registerCase", "registerDate")
"""Which case of a register of accounts spoke of an entry last: name of the packet, IDCASE, day. They leave as items of
``extra``."""


@dataclass(frozen=True, slots=True)
class EntryView:
    """An entry with its history; ``register`` has the values of `REGISTER_COLUMNS`."""

    line: Line
    register: Line
    visits: tuple[VisitView, ...] = field(default=())
    segments: tuple[SegmentView, ...] = field(default=())
    events: tuple[EventView, ...] = field(default=())
