"""Months and quarters, the units of plans, lists and reports."""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date

from gateway.errors import GatewayError

_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])\Z")
_NAMES = (
    "январь", "февраль", "март", "апрель", "май", "июнь",
    "июль", "август", "сентябрь", "октябрь", "ноябрь", "декабрь",
)  # fmt: skip
_QUARTERS = ("I", "II", "III", "IV")
_YEARS = range(1900, 3000)


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A calendar month, years 1..9999; ordered in time."""

    year: int
    month: int

    def __post_init__(self) -> None:
        if not (1 <= self.year <= 9999 and 1 <= self.month <= 12):
            raise ValueError("month out of range")

    @classmethod
    def parse(cls, text: str) -> Month:
        """From ``yyyy-MM``; raises ``plan.format`` for anything else."""
        found = _MONTH.match(text)
        if not found or found[1] == "0000":
            raise GatewayError("plan.format")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def of(cls, day: date) -> Month:
        return cls(day.year, day.month)

    @classmethod
    def from_number(cls, number: int) -> Month:
        """From the integer ``yyyymm`` as tables keep it; ValueError if it is none."""
        return cls(*divmod(number, 100))

    @property
    def number(self) -> int:
        return self.year * 100 + self.month

    @property
    def first_day(self) -> date:
        return date(self.year, self.month, 1)

    @property
    def last_day(self) -> date:
        return date(self.year, self.month, monthrange(self.year, self.month)[1])

    def shift(self, months: int) -> Month:
        """The month so many later (earlier if negative); ValueError outside years 1..9999."""
        year, month = divmod(self.year * 12 + self.month - 1 + months, 12)
        return Month(year, month + 1)

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"


def add_months(day: date, months: int) -> date:
    """The same day so many months later, or the last day of that month if it is shorter (31.01 + 1 = 28.02)."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    if day.day <= 28:
        return date(year, month + 1, day.day)
    return date(year, month + 1, min(day.day, monthrange(year, month + 1)[1]))


@dataclass(frozen=True, slots=True)
class Period:
    """A reporting period: one month or one quarter of a year from 1900 to 2999.

    ``str()`` is ``2026-11`` or ``2026-Q4``; ``label`` is the Russian name for people.
    """

    first: Month
    length: int

    @classmethod
    def month(cls, year: int, month: int) -> Period:
        """Raises ``list.period`` outside 1..12."""
        if year not in _YEARS or not 1 <= month <= 12:
            raise GatewayError("list.period")
        return cls(Month(year, month), 1)

    @classmethod
    def quarter(cls, year: int, quarter: int) -> Period:
        """Raises ``list.period`` outside 1..4."""
        if year not in _YEARS or not 1 <= quarter <= 4:
            raise GatewayError("list.period")
        return cls(Month(year, quarter * 3 - 2), 3)

    @property
    def first_day(self) -> date:
        return self.first.first_day

    @property
    def last_day(self) -> date:
        return self.months[-1].last_day

    @property
    def months(self) -> tuple[Month, ...]:
        return tuple(self.first.shift(number) for number in range(self.length))

    @property
    def label(self) -> str:
        if self.length == 1:
            return f"{_NAMES[self.first.month - 1]} {self.first.year} г."
        return f"{_QUARTERS[self.first.month // 3]} квартал {self.first.year} г."

    def __str__(self) -> str:
        if self.length == 1:
            return str(self.first)
        return f"{self.first.year:04d}-Q{self.first.month // 3 + 1}"
