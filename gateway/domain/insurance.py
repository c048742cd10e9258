"""What an answer of the register of insured persons means for a list: dead, gone, moved, merged, or nothing.

The register (РС ЕРЗЛ, ФЕРЗЛ) gives facts; these rules read them as of one day. What is not proven is reported and never
acted on: no policy in force is not a departure, no attachment is not a change of clinic.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum

THERAPY = "1"
"""Area type of an attachment for primary care by a therapist; a dentist's or an obstetrician's does not move a list."""

ACTIVE = "ДПП"
"""Status of an attachment in force."""


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy. ``status`` is a word of the register («Действующий», …); ``okato`` is the territory of insurance."""

    enp: str
    since: date
    until: date | None
    status: str
    okato: str
    insurer: str | None = None

    def in_force(self, day: date) -> bool:
        return (
            self.status.strip().upper().startswith("Д")
            and self.since <= day
            and (self.until is None or day <= self.until)
        )


@dataclass(frozen=True, slots=True)
class Attachment:
    """An attachment to an organisation: ``area`` 1 therapist, 2 obstetrician, 3 dentist, 4 ambulance, 5 ФАП."""

    organisation: str
    area: str
    since: date
    until: date | None
    status: str

    def in_force(self, day: date) -> bool:
        """Whether it is the primary clinic of the day."""
        return (
            self.area == THERAPY
            and self.status.strip().upper() == ACTIVE
            and self.since <= day
            and (self.until is None or day <= self.until)
        )


@dataclass(frozen=True, slots=True)
class Insured:
    """What the register knows of one person."""

    oip: str
    last_name: str
    first_name: str
    middle_name: str | None
    birth_date: date
    sex: int
    death_date: date | None
    merged_at: date | None
    policies: tuple[Policy, ...]
    attachments: tuple[Attachment, ...]


class Finding(StrEnum):
    """What became of a person. The last four are reported and change no list; UNKNOWN: the register has no such number."""

    SAME = "SAME"
    DEAD = "DEAD"
    LEFT = "LEFT"
    MOVED = "MOVED"
    MERGED = "MERGED"
    NO_POLICY = "NO_POLICY"
    NO_ATTACHMENT = "NO_ATTACHMENT"
    UNCLEAR = "UNCLEAR"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A finding with its true day and, where it applies, the organisation of the new attachment."""

    finding: Finding
    since: date | None = None
    organisation: str | None = None
    policy: Policy | None = None


def same_region(one: str, other: str) -> bool:
    """Whether two codes of ОКАТО (5, 8 or 11 digits) lie in one region of the country."""
    return region_of(one) == region_of(other)


def region_of(okato: str) -> str:
    """The part of a code of ОКАТО that names the region: two digits, more for the okrugs inside 11 and 71."""
    if okato[:3] == "111":
        return "111"
    if okato[:3] == "711":
        return "7114" if okato[3:5] >= "40" else "711"
    return okato[:2]


def verdict(person: Insured, *, day: date, region: str, known: str | None) -> Verdict:
    """What the facts mean on ``day`` for a list of the region ``region`` (ОКАТО), whose person was last known to be
    attached to ``known``. Death goes before departure, departure before a change of clinic."""
    if person.merged_at is not None and person.merged_at <= day:
        return Verdict(Finding.MERGED, person.merged_at)
    if person.death_date is not None and person.death_date <= day:
        return Verdict(Finding.DEAD, person.death_date)
    policy = _policy(person.policies, day)
    if policy is None:
        return Verdict(Finding.NO_POLICY)
    if not same_region(policy.okato, region):
        if any(other.in_force(day) and same_region(other.okato, region) for other in person.policies):
            return Verdict(Finding.UNCLEAR)
        return Verdict(Finding.LEFT, policy.since, policy=policy)
    clinics = {one.organisation: one for one in person.attachments if one.in_force(day)}
    if not clinics:
        return Verdict(Finding.NO_ATTACHMENT, policy=policy)
    if len(clinics) > 1:
        return Verdict(Finding.UNCLEAR, policy=policy)
    ((organisation, attachment),) = clinics.items()
    finding = Finding.SAME if organisation == known else Finding.MOVED
    return Verdict(finding, attachment.since, organisation, policy)


def _policy(policies: Sequence[Policy], day: date) -> Policy | None:
    """The policy in force; of several the latest."""
    return max((one for one in policies if one.in_force(day)), key=lambda one: one.since, default=None)
