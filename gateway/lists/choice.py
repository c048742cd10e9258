"""Which list is meant: a validated choice with its period, the day it is seen on, and the keys it is stored under."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from gateway.domain import persons
from gateway.domain.periods import Month, Period
from gateway.errors import GatewayError
from gateway.lists.model import Choice
from gateway.lists.queries import CONDITIONS
from gateway.nsi.dictionaries import Nsi

YEARS = range(2000, 2101)
FILTERS = ("group", "enp", "doctor", "month", "insurer")


@dataclass(frozen=True, slots=True)
class Resolved:
    """``values`` bind the query; ``piece_key`` names the content seen on a day, ``key`` the wish of the caller."""

    period: Period
    closed: bool
    values: Mapping[str, Any]
    piece_key: str
    key: str

    @property
    def filters(self) -> dict[str, str]:
        return {name: self.values[name] for name in FILTERS if self.values.get(name) is not None}


def period_of(choice: Choice) -> Period:
    """The month or the quarter; exactly one of them is named."""
    if (choice.month is None) == (choice.quarter is None) or choice.year not in YEARS:
        raise GatewayError("list.period")
    if choice.month is not None:
        if not 1 <= choice.month <= 12:
            raise GatewayError("list.period")
        return Period.month(choice.year, choice.month)
    if choice.quarter is None or not 1 <= choice.quarter <= 4:
        raise GatewayError("list.period")
    return Period.quarter(choice.year, choice.quarter)


def resolve(choice: Choice, *, organisation: str | None, insurer: str | None, nsi: Nsi, today: date) -> Resolved:
    """Checks every field of a choice; ``insurer`` bounds the list to its insured."""
    period = period_of(choice)
    if choice.list_type not in CONDITIONS:
        raise GatewayError("list.type")
    if choice.edition not in ("CURRENT", "CLOSED"):
        raise GatewayError("list.edition")
    if choice.diagnosis_group is not None and not nsi.has("DIAGNOSIS_GROUPS", choice.diagnosis_group, today):
        raise GatewayError("list.group")
    if choice.enp is not None and (wrong := persons.enp_error(choice.enp)):
        raise GatewayError(wrong)
    doctor = persons.snils_digits(choice.doctor_snils) if choice.doctor_snils is not None else None
    if doctor is not None and (wrong := persons.snils_error(doctor)):
        raise GatewayError(wrong)
    filters = {
        "group": choice.diagnosis_group,
        "enp": choice.enp,
        "doctor": doctor,
        "month": _month(choice.planned_month),
        "insurer": insurer,
    }
    closed = choice.edition == "CLOSED"
    return compose(choice.list_type, period, closed=closed, filters=filters, organisation=organisation, today=today)


def _month(text: str | None) -> str | None:
    try:
        return None if text is None else str(Month.parse(text))
    except GatewayError:
        raise GatewayError("plan.format") from None


def compose(
    list_type: str,
    period: Period,
    *,
    closed: bool,
    filters: Mapping[str, str | None],
    organisation: str | None,
    today: date,
) -> Resolved:
    """A choice whose parts are known to be right."""
    running = not closed and period.first_day <= today <= period.last_day
    day = today if running else period.last_day if closed or period.last_day < today else period.first_day
    wish = {
        "type": list_type,
        "first": period.first_day.isoformat(),
        "last": period.last_day.isoformat(),
        **{name: value for name, value in sorted(filters.items()) if value is not None},
    }
    values = {
        "type": list_type,
        "first": period.first_day,
        "last": period.last_day,
        "day": day,
        "running": running,
        "months": [str(month) for month in period.months],
        **filters,
    }
    return Resolved(
        period=period,
        closed=closed,
        values=values,
        piece_key=_text(wish | {"day": day.isoformat()}),
        key=_text(wish | {"organisation": organisation or "*", "closed": closed}),
    )


def _text(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
