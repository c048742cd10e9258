"""When the next dispensary visit is due: orders 168н (adults) and 548н (oncology).

168н (edition 91н of 28.02.2024) says "by clinical guidelines, but not less than N a year", so a date here is an outer
bound, never an exact plan. Its 102 rows (154 ranges of codes) are the product's own table ``data/observation_168n.csv``;
the order has three appendices: therapist, cardiologist, other specialists. How it is read:

- profile: rows of the doctor's own appendix where it has the code; otherwise, and when no profile is known, all rows;
- precision: a row that names the sub-rubric itself goes before a row of its rubric or range (D23.1 before D23);
- several rows left: the longest interval, since a code alone does not tell the rows apart;
- ``FIXED`` one number; ``SPAN`` ("1-3 a year", "every 3-4 months") the longest of the span; ``BY_NOTE`` (2 or 4 a year
  by a trait that a code does not show) the longest; ``TWO_PERIODS`` the first interval for the first years of
  observation (D31, D23.1 and N87.2 two years, the others one), then the next; ``NO_NUMBER`` (E11, B20-B24: the order
  gives none) 12 months as the outer bound;
- a rubric given without sub-rubric, where the order names only sub-rubrics of it, counts as inside (J47 for J47.0).

548н: C00-C97 and D00-D09 whoever leads: every 3 months in year one, every 6 in year two, yearly afterwards.

The year of observation is that of the day counted from, ``last_visit_on`` or else ``observed_since``; months are calendar
months, the day is clipped to the end of a shorter month. Neither order applies under 18.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache, lru_cache
from importlib.resources import files
from typing import Literal

from gateway.domain.diagnoses import rubric, within
from gateway.domain.periods import add_months
from gateway.domain.persons import age_on

ADULT_AGE = 18
_ONCOLOGY = (("C00", "C97"), ("D00", "D09"))
_ONCOLOGY_STEPS = ((1, 3), (2, 6))
_ONCOLOGY_LATER = 12
_APPENDIX = {"THERAPIST": "THERAPIST", "CARDIOLOGIST": "CARDIOLOGIST", "OTHER": "SPECIALIST"}


@dataclass(frozen=True, slots=True)
class Row:
    """A range of codes of one row of 168н; ``number`` is appendix and row (1.9), intervals are months."""

    number: str
    profile: str
    first_code: str
    last_code: str
    first_interval: int
    first_years: int | None
    then_interval: int | None
    rule: str
    condition: str
    duration: str
    note: str

    @property
    def exact(self) -> bool:
        return self.first_code == self.last_code and "." in self.first_code

    def interval(self, observed_since: date, counted_from: date) -> int:
        if self.first_years is None or self.then_interval is None:
            return self.first_interval
        if counted_from < add_months(observed_since, 12 * self.first_years):
            return self.first_interval
        return self.then_interval


@dataclass(frozen=True, slots=True)
class Appointment:
    """``by`` is the last day on which the next visit is in time; it and the interval are absent when ``outside`` is set.

    ``outside``: ORDER, the diagnosis is in neither order; CHILD, under 18 on the day. ``rule`` tells how the interval
    was read (the rules of this module, or ONCOLOGY), ``row`` is the row of 168н.
    """

    order: Literal["168N", "548N"] | None
    outside: Literal["ORDER", "CHILD"] | None
    interval_months: int | None
    by: date | None
    rule: str
    row: str = ""


_CHILD = Appointment(None, "CHILD", None, None, "CHILD")
_OUTSIDE = Appointment(None, "ORDER", None, None, "ORDER")


def _number(text: str) -> int | None:
    return int(text) if text else None


@cache
def table() -> tuple[Row, ...]:
    """All ranges of 168н in the order of the order."""
    text = (files("gateway.domain") / "data" / "observation_168n.csv").read_text(encoding="utf-8")
    return tuple(
        Row(
            number=line["row"],
            profile=line["profile"],
            first_code=line["first_code"],
            last_code=line["last_code"],
            first_interval=int(line["first_interval"]),
            first_years=_number(line["first_years"]),
            then_interval=_number(line["then_interval"]),
            rule=line["rule"],
            condition=line["condition"],
            duration=line["duration"],
            note=line["note"],
        )
        for line in csv.DictReader(text.splitlines(), delimiter=";")
    )


@lru_cache(maxsize=8192)
def is_oncology(diagnosis: str) -> bool:
    """Whether 548н leads the diagnosis: C00-C97, D00-D09."""
    return any(within(diagnosis, first, last) for first, last in _ONCOLOGY)


@lru_cache(maxsize=8192)
def rows_of(diagnosis: str, profile: str | None) -> Sequence[Row]:
    """The rows of 168н that decide for a code and a profile (THERAPIST, CARDIOLOGIST, OTHER or None); may be empty."""
    rows = [row for row in table() if within(diagnosis, row.first_code, row.last_code)]
    if not rows and diagnosis == rubric(diagnosis):
        rows = [row for row in table() if rubric(row.first_code) == diagnosis]
    appendix = _APPENDIX.get(profile or "")
    rows = [row for row in rows if row.profile == appendix] or rows
    return tuple([row for row in rows if row.exact] or rows)


def _oncology_interval(observed_since: date, counted_from: date) -> int:
    for year, interval in _ONCOLOGY_STEPS:
        if counted_from < add_months(observed_since, 12 * year):
            return interval
    return _ONCOLOGY_LATER


def appointment(
    diagnosis: str,
    *,
    profile: str | None,
    birth_date: date,
    observed_since: date,
    last_visit_on: date | None,
    on: date,
) -> Appointment:
    """The next visit of a person observed since ``observed_since`` for a normal code; ``on`` decides about age."""
    if age_on(birth_date, on) < ADULT_AGE:
        return _CHILD
    counted_from = last_visit_on or observed_since
    if is_oncology(diagnosis):
        interval = _oncology_interval(observed_since, counted_from)
        return Appointment("548N", None, interval, add_months(counted_from, interval), "ONCOLOGY")
    rows = rows_of(diagnosis, profile)
    if not rows:
        return _OUTSIDE
    interval, row = rows[0].interval(observed_since, counted_from), rows[0]
    for other in rows[1:]:
        longer = other.interval(observed_since, counted_from)
        if longer > interval:
            interval, row = longer, other
    return Appointment("168N", None, interval, add_months(counted_from, interval), row.rule, row.number)
