"""The rules of an observation, without I/O: what may be planned, conducted, ended, and on which day it takes effect.

Every rule raises `GatewayError` with the code of the refusal; dates are days of the region's calendar. The end of an
observation is the first day on which the person is no longer under it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date

from gateway.domain.periods import Month
from gateway.errors import GatewayError

PLAN_MONTHS_AHEAD = 24
PLAN_MONTHS_MOST = 24


@dataclass(frozen=True, slots=True)
class Person:
    """What the rules need to know of an insured person."""

    id: int
    birth_date: date
    death_date: date | None
    insured_in_region: bool


@dataclass(frozen=True, slots=True)
class Directory:
    """Meanings of dictionary codes: places and results of visits, reasons of exclusion, types of doctors."""

    places: Collection[str]
    no_show_places: Collection[str]
    results: Collection[str]
    no_show_results: Collection[str]
    removal_results: Collection[str]
    reasons: Collection[str]
    doctor_types: Collection[str]


def effective(day: date, closed: Collection[int]) -> date:
    """The day from which a change dated ``day`` counts: itself, or the first day after the last closed month."""
    last = max(closed, default=0)
    return day if Month.of(day).number > last else Month.from_number(last).shift(1).first_day


def plan(texts: Iterable[str], today: date, *, empty_allowed: bool) -> list[str]:
    """Planned months ``yyyy-MM`` in order: from January of this year to 24 months ahead, no month twice."""
    months: list[Month] = []
    for text in texts:
        try:
            months.append(Month.parse(text))
        except GatewayError:
            raise GatewayError("plan.format") from None
    if not months and not empty_allowed:
        raise GatewayError("plan.empty")
    if len(set(months)) != len(months):
        raise GatewayError("plan.repeated")
    first, last = Month(today.year, 1), Month.of(today).shift(PLAN_MONTHS_AHEAD)
    if len(months) > PLAN_MONTHS_MOST or any(not first <= month <= last for month in months):
        raise GatewayError("plan.range")
    return [str(month) for month in sorted(months)]


def may_be_observed(person: Person) -> None:
    """The dead, and people not insured in the region, are refused."""
    if person.death_date is not None:
        raise GatewayError("person.dead")
    if not person.insured_in_region:
        raise GatewayError("person.not-insured")


def beginning(person: Person, diagnosed_on: date | None, observed_since: date | None, today: date) -> date:
    """The day an observation begins: as sent, else today; not before the diagnosis, the birth, nor in the future."""
    if diagnosed_on is not None:
        if diagnosed_on > today:
            raise GatewayError("diagnosis.date-future")
        if diagnosed_on < person.birth_date:
            raise GatewayError("diagnosis.date-before-birth")
    since = observed_since or today
    if since > today:
        raise GatewayError("observation.date-future")
    if since < (diagnosed_on or person.birth_date):
        raise GatewayError("observation.date-before-diagnosis")
    return since


def is_open(status: str) -> None:
    """Only an entry under observation can be planned, conducted, ended."""
    if status == "ANNULLED":
        raise GatewayError("observation.annulled")
    if status != "OBSERVED":
        raise GatewayError("observation.not-open")


def visit(
    *,
    conducted_on: date,
    place: str,
    result: str,
    excluded_on: date | None,
    reason: str | None,
    observed_since: date,
    death_date: date | None,
    today: date,
    codes: Directory,
) -> bool:
    """Checks a visit and its possible end of the observation; returns whether it is only an attempt («не явился»).

    «Не явился» is a place with its own result, and both stand together; the result «Снят с диспансерного учета» stands
    if and only if there is an exclusion (seed L, question 4).
    """
    if conducted_on > today:
        raise GatewayError("visit.date-future")
    if conducted_on < observed_since:
        raise GatewayError("visit.date-before")
    if death_date is not None and conducted_on > death_date:
        raise GatewayError("visit.after-death")
    if place not in codes.places:
        raise GatewayError("visit.place")
    if result not in codes.results:
        raise GatewayError("visit.result")
    attempt = place in codes.no_show_places
    if attempt != (result in codes.no_show_results):
        raise GatewayError("visit.no-show")
    if (excluded_on is None) != (reason is None):
        raise GatewayError("exclusion.pair")
    if (excluded_on is not None) != (result in codes.removal_results):
        raise GatewayError("visit.removal")
    if excluded_on is not None and reason is not None:
        ending(excluded_on, reason, observed_since=observed_since, last_visit_on=conducted_on, today=today, codes=codes)
    return attempt


def ending(
    excluded_on: date, reason: str, *, observed_since: date, last_visit_on: date | None, today: date, codes: Directory
) -> None:
    """Checks the end of an observation: a known reason, not in the future, not before its beginning or last visit."""
    if reason not in codes.reasons:
        raise GatewayError("exclusion.reason")
    if excluded_on > today:
        raise GatewayError("exclusion.date-future")
    if excluded_on < observed_since or (last_visit_on is not None and excluded_on < last_visit_on):
        raise GatewayError("exclusion.date-before")


def doctor_type(known: str | None, given: str, codes: Directory) -> str:
    """The type of the doctor of a visit: as in the organisation's directory; if empty there, as given in the call."""
    if given and given not in codes.doctor_types:
        raise GatewayError("doctor.type")
    if known and given and known != given:
        raise GatewayError("doctor.type-differs")
    found = known or given
    if not found:
        raise GatewayError("doctor.incomplete")
    return found
