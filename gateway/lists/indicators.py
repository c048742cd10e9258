"""GetIndicator and GetIndicatorPersons: the shares of people under observation who had care, and the people behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from gateway.access.model import Call, ClientKind
from gateway.domain import indicators as domain
from gateway.domain.indicators import Part, Rules, Span
from gateway.domain.periods import Month
from gateway.errors import GatewayError
from gateway.lists import queries
from gateway.lists.choice import YEARS
from gateway.lists.frame import Frame
from gateway.nsi.own import ranges

DICTIONARY = "INDICATORS"


@dataclass(frozen=True, slots=True)
class Wish:
    """Which indicator, by the end of which month, of which organisation (None: of all that the caller sees)."""

    indicator: str
    year: int
    month: int
    organisation: str | None = None


@dataclass(frozen=True, slots=True)
class Figures:
    """An indicator of a period; shares in percent, ``share`` None of nobody. Rules are told in Russian."""

    indicator: str
    name: str
    organisation: str | None
    period_start: date
    period_end: date
    numerator: int
    denominator: int
    share: Decimal | None
    month_end: int
    target: Decimal | None
    as_of: datetime
    numerator_rule: str
    denominator_rule: str
    month_end_rule: str
    settings: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class IndicatorPerson:
    """A person of an indicator with the entry by which it counts: the one that lasted at the period's end, else the latest."""

    enp: str
    last_name: str
    first_name: str
    middle_name: str | None
    birth_date: date
    diagnosis: str
    organisation: str
    entry_id: str
    observed_since: date
    last_care_on: date | None


@dataclass(frozen=True, slots=True)
class PeoplePage:
    """A page of people by name."""

    snapshot_id: UUID
    as_of: datetime
    total: int
    persons: Sequence[IndicatorPerson]


class Indicators(Frame):
    """Counting indicators."""

    def indicator(self, connection: Connection, call: Call, wish: Wish) -> Figures:
        """GetIndicator. Raises ``indicator.unknown``, ``indicator.period``, ``object.not-found`` for an organisation."""
        count = self._noted(connection, call, wish)
        return self._figures(connection, wish, count)

    def figures(self, connection: Connection, wish: Wish, insurer: str | None = None) -> Figures:
        """The figures; ``insurer`` bounds them to its insured."""
        return self._figures(connection, wish, self.count_of(connection, wish, insurer))

    def _figures(self, connection: Connection, wish: Wish, count: queries.Count) -> Figures:
        rules, span = count.rules, count.span
        found = queries.indicator_figures(connection, count)
        values = {"indicator": wish.indicator, "year": wish.year, "month": wish.month}
        return Figures(
            indicator=rules.code,
            name=rules.name,
            organisation=wish.organisation,
            period_start=span.first,
            period_end=span.last,
            numerator=found["numerator"],
            denominator=found["denominator"],
            share=domain.share(found["numerator"], found["denominator"]),
            month_end=found["month_end"],
            target=queries.indicator_target(connection, organisation=wish.organisation, **values),
            as_of=found["as_of"],
            numerator_rule=domain.numerator_text(rules, span),
            denominator_rule=domain.denominator_text(
                rules, span, organisation=wish.organisation is not None, insurer=count.insurer is not None
            ),
            month_end_rule=domain.month_end_text(span, *queries.indicator_closes(connection, count)),
            settings=tuple(rules.settings),
        )

    def indicator_persons(
        self,
        connection: Connection,
        call: Call,
        wish: Wish,
        part: str,
        start: int,
        records: int,
        snapshot_id: UUID | None = None,
    ) -> PeoplePage:
        """GetIndicatorPersons: a page of ``records`` people from number ``start``.

        Without ``snapshot_id`` it counts; a page of a snapshot is of the people that were counted then. Raises also
        ``indicator.part``, ``list.snapshot-expired``, ``list.choice-differs``.
        """
        if part not in Part.__members__:
            raise GatewayError("indicator.part")
        call.details["part"] = part
        call.first_record = start
        count = self._noted(connection, call, wish)
        choice = " ".join((*map(str, (wish.indicator, count.span.month, count.organisation, count.insurer)), part))
        hours, client_id = self.settings.snapshot_hours, call.caller.client_id
        page = {"hours": hours, "client_id": client_id, "start": start, "records": records}
        if snapshot_id is None:
            found = queries.indicator_people(connection, count, Part(part), choice=choice, **page)
        elif (kept := queries.kept_people(connection, id=snapshot_id, **page)) is None:
            raise GatewayError("list.snapshot-expired")
        elif kept["choice"] != choice:
            raise GatewayError("list.choice-differs")
        else:
            found = kept
        rows = queries.indicator_persons(connection, count, found["persons"])
        call.covers(row["person_id"] for row in rows)
        names = IndicatorPerson.__dataclass_fields__
        people = [IndicatorPerson(**{name: row[name] for name in names}) for row in rows]
        return PeoplePage(found["id"], found["as_of"], found["total"], people)

    def _noted(self, connection: Connection, call: Call, wish: Wish) -> queries.Count:
        """What is to be counted. The audit names an indicator that there is, never what else a client may have sent."""
        call.organisation = wish.organisation
        call.details |= {"year": wish.year, "month": wish.month}
        count = self.count_of(connection, wish, _insurer(call))
        call.details["indicator"] = count.rules.code
        return count

    def count_of(self, connection: Connection, wish: Wish, insurer: str | None = None) -> queries.Count:
        """What is to be counted, with the rules in force at the end of the period."""
        if wish.year not in YEARS or not 1 <= wish.month <= 12:
            raise GatewayError("indicator.period")
        span = Span(Month(wish.year, wish.month))
        if span.month.first_day > self.clock.today():
            raise GatewayError("indicator.period")
        if wish.organisation is not None and not queries.organisation_exists(connection, wish.organisation):
            raise GatewayError("object.not-found")
        rules = self._rules(wish.indicator, span.last)
        return queries.Count(
            rules, self._codes(rules, span.last), span, self.settings.observation_key, wish.organisation, insurer
        )

    def _rules(self, code: str, day: date) -> Rules:
        """The rules in force on the last day of the period, so that a later edition leaves former figures alone."""
        item = self.nsi.items(DICTIONARY, day).get(code)
        if item is None:
            raise GatewayError("indicator.unknown")
        groups = self.nsi.items("DIAGNOSIS_GROUPS", day)
        spans = {name: str(group.attributes["ranges"]) for name, group in groups.items() if _has_ranges(group)}
        try:
            return Rules.of(item.code, item.name, item.attributes, spans)
        except KeyError:
            raise GatewayError("indicator.group") from None

    def _codes(self, rules: Rules, day: date) -> list[str]:
        """Codes of МКБ-10 that the rules cover; of a group those that no former group takes."""
        codes = domain.codes_of(ranges(rules.ranges))
        if rules.group is None:
            return list(codes)
        return [code for code in codes if self.nsi.group_of(code, day) == rules.group]


def _has_ranges(item: Any) -> bool:
    return bool(item.attributes.get("ranges"))


def _insurer(call: Call) -> str | None:
    return call.caller.insurer if call.caller.kind is ClientKind.INSURER else None
