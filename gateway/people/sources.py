"""Where a person is looked for that we do not know: a source outside, asked within a bound of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gateway.domain.persons import enp_error
from gateway.people import queries
from gateway.store import failures
from gateway.store.engine import Store

UNANSWERED = "источник сведений о застрахованных не отвечает"
"""The note where a person may be unknown only because the source is down."""

LEARNED = "сведения о лице — из внешнего источника от {day:%d.%m.%Y}"
"""The note where nobody knew the person here before the call."""

Facts = Mapping[str, Any]
"""A person as columns: ``enp``, the names, ``name_key``, ``birth_date``, ``sex``, and what else the source proves."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Who is looked for: an ЕНП; or СНИЛС (11 digits) and birth date; or names and birth date (``yyyy-MM-dd``)."""

    enp: str | None = None
    snils: str | None = None
    last_name: str | None = None
    first_name: str | None = None
    middle_name: str | None = None
    birth_date: str | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """What a source said in time: persons, and which of the questions it left without an answer."""

    persons: tuple[Facts, ...]
    unanswered: tuple[Wanted, ...]


@dataclass(frozen=True, slots=True)
class Learned:
    """ЕНП of people who were found outside, and those whom the source left without an answer."""

    found: frozenset[str] = frozenset()
    unanswered: frozenset[str] = frozenset()


class PersonSource(Protocol):
    """A source of insured persons. It never raises and never takes longer than its bound for all questions together."""

    def ask(self, wanted: Sequence[Wanted]) -> Heard: ...


def learn(store: Store, source: PersonSource, wanted: Sequence[Wanted]) -> Heard:
    """Asks and keeps the persons who were found, as of now, with the source FERZL."""
    heard = source.ask(wanted)
    if heard.persons:
        with store.begin() as connection:
            for facts in heard.persons:
                queries.add_confirmed(connection, facts)
    return heard


def learn_unknown(store: Store, source: PersonSource, enps: Sequence[str]) -> Learned | None:
    """Looks for those of the ЕНП that nobody has here; None where everybody is known, so that nobody was asked."""
    right = sorted({enp for enp in enps if enp_error(enp) is None})
    unknown = failures.on_driver(store, lambda driver: driver.execute(queries.UNKNOWN_ENPS, (right,)).fetchall())
    if not unknown:
        return None
    heard = learn(store, source, [Wanted(enp=row[0]) for row in unknown])
    return Learned(
        frozenset(facts["enp"] for facts in heard.persons),
        frozenset(one.enp for one in heard.unanswered if one.enp),
    )
