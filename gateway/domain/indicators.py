"""Indicators of dispensary observation, without I/O: the rules of one, the codes they cover, the share, and how it is told.

Both shares of the national projects count unique people. Denominator: under observation on any day from 1 January to the
end of the period. Numerator: those of them who got the care that the rules name. The orders leave open which codes are
meant and whether the care must be for the same disease, so each is a dated setting (dictionary INDICATORS).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from functools import lru_cache
from typing import Any

from gateway.domain import diagnoses
from gateway.domain.periods import Month

Ranges = tuple[tuple[str, str], ...]

VISIT = "VISIT"
CARE: Mapping[str, str] = {
    VISIT: "проведённое диспансерное наблюдение (без неявок и аннулированных)",
    "DN_VISIT": "посещение с целью ДН в реестрах счетов",
    "DN_SERVICE": "услуга в рамках ДН в реестрах счетов",
    "EXAMINATION": "обследование в реестрах счетов",
    "TREATMENT": "лечение в реестрах счетов",
}
"""What a numerator may count: visits of the lists, and kinds of care that registers tell of."""

_SUFFIXES = ("", *(f".{n}" for n in range(10)), *(f".{n:02}" for n in range(100)))


class Match(StrEnum):
    """What the care must be for: the person's own disease by the key of observation, any of the indicator, any at all."""

    KEY = "KEY"
    GROUP = "GROUP"
    ANY = "ANY"


class Attribution(StrEnum):
    """Whose people who moved are: of the organisation that observed last in the period, or of each one of the year."""

    PERIOD_END = "PERIOD_END"
    YEAR = "YEAR"


class Part(StrEnum):
    """The people behind an indicator; the gap is those of the denominator who are not in the numerator."""

    NUMERATOR = "NUMERATOR"
    DENOMINATOR = "DENOMINATOR"
    GAP = "GAP"


@dataclass(frozen=True, slots=True)
class Rules:
    """An indicator as it is counted in one period. ``group`` names the DIAGNOSIS_GROUPS line that gave the ranges."""

    code: str
    name: str
    ranges: str
    group: str | None
    care: tuple[str, ...]
    match: Match
    attribution: Attribution

    @classmethod
    def of(cls, code: str, name: str, attributes: Mapping[str, Any], group_ranges: Mapping[str, str]) -> Rules:
        """From a line of INDICATORS: own ranges, or those of a group. Raises KeyError if its group has none."""
        group = None if attributes.get("ranges") else str(attributes.get("group") or "")
        ranges = str(attributes["ranges"]) if group is None else group_ranges[group]
        return cls(
            code, name, ranges, group, care_of(str(attributes["care"])), Match(attributes["match"]),
            Attribution(attributes["attribution"]),
        )  # fmt: skip

    @property
    def settings(self) -> list[tuple[str, str]]:
        """What is in force, as names and values."""
        shown = [("ranges", self.ranges), ("care", " ".join(self.care)), ("match", self.match.value)]
        shown.append(("attribution", self.attribution.value))
        return [*([("group", self.group)] if self.group else []), *shown]


@dataclass(frozen=True, slots=True)
class Span:
    """From 1 January to the end of a month of the same year."""

    month: Month

    @property
    def first(self) -> date:
        return date(self.month.year, 1, 1)

    @property
    def last(self) -> date:
        return self.month.last_day


def care_of(text: str) -> tuple[str, ...]:
    """Kinds of care separated by blanks, each once and in order; ValueError for none or an unknown one."""
    named = text.split()
    if not named or not CARE.keys() >= set(named):
        raise ValueError("no such care")
    return tuple(kind for kind in CARE if kind in named)


@lru_cache(64)
def codes_of(ranges: Ranges) -> tuple[str, ...]:
    """Every code that МКБ-10 may have in the ranges, in order: what a set-based query compares with."""
    return tuple(sorted({code for first, last in ranges for code in _codes(first, last)}))


def _codes(first: str, last: str) -> Iterator[str]:
    for rubric in _rubrics(first[:3], last[:3]):
        for suffix in _SUFFIXES:
            if diagnoses.within(rubric + suffix, first, last):
                yield rubric + suffix


def _rubrics(first: str, last: str) -> Iterator[str]:
    for letter in range(ord(first[0]), ord(last[0]) + 1):
        for number in range(100):
            if first <= (rubric := f"{chr(letter)}{number:02}") <= last:
                yield rubric


def share(numerator: int, denominator: int) -> Decimal | None:
    """Percent with two places, halves up; None of nobody."""
    if not denominator:
        return None
    return (Decimal(100 * numerator) / denominator).quantize(Decimal("0.01"), ROUND_HALF_UP)


# texts ----------------------------------------------------------------------------------------------------------------

_MATCHED = {
    Match.KEY: "по тому же заболеванию, по которому лицо состоит под наблюдением",
    Match.GROUP: "по любому диагнозу показателя",
    Match.ANY: "по любому диагнозу",
}
_ATTRIBUTED = {
    Attribution.PERIOD_END: "перешедшее лицо относится к организации, которая вела его последней в периоде",
    Attribution.YEAR: "перешедшее лицо относится к каждой организации, которая вела его в этом году",
}
_INSURED = "из лиц, застрахованных этой СМО по сведениям на сегодня"


def denominator_text(rules: Rules, span: Span, *, organisation: bool, insurer: bool) -> str:
    """How the denominator was counted."""
    parts = [
        f"Уникальные лица, состоявшие под диспансерным наблюдением хотя бы один день с {span.first:%d.%m.%Y}"
        f" по {span.last:%d.%m.%Y} с диагнозом {rules.ranges}",
        *([_ATTRIBUTED[rules.attribution]] if organisation else []),
        *([_INSURED] if insurer else []),
        "изменения действуют с первого открытого дня, поэтому закрытый месяц не пересчитывается",
    ]
    return "; ".join(parts)


def numerator_text(rules: Rules, span: Span) -> str:
    """How the numerator was counted."""
    care = "; ".join(CARE[kind] for kind in rules.care)
    return (
        f"Лица знаменателя, у которых с {span.first:%d.%m.%Y} по {span.last:%d.%m.%Y} есть хотя бы одно из: {care}"
        f" — {_MATCHED[rules.match]}, в любой организации"
    )


def month_end_text(span: Span, closed: int, lists: int) -> str:
    """Why the month-end list holds fewer, and whether the figures may still change: closed months among the lists."""
    parts = [
        f"Уникальные лица знаменателя, состоящие под наблюдением на {span.last:%d.%m.%Y}, как в списке за месяц",
        "знаменатель больше на тех, кто в этом году снят с наблюдения, умер, выехал или перешёл",
        _closed_text(closed, lists),
    ]
    return "; ".join(parts)


def _closed_text(closed: int, lists: int) -> str:
    if not closed:
        return "месяц не закрыт, числа ещё могут измениться"
    if closed == lists:
        return "месяц закрыт, числа окончательны"
    return f"месяц закрыт у {closed} организаций из {lists}, у остальных числа ещё могут измениться"
