"""Which dictionaries the gateway keeps, what an item is, and what an edition must hold for the rules to work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from gateway.nsi.layouts import LAYOUTS

FIRST_DAY = date(2000, 1, 1)
"""From when the first edition of a dictionary is in force unless its loader says otherwise."""


@dataclass(frozen=True, slots=True)
class Item:
    """A line of a dictionary, in force from ``valid_from`` to ``valid_to``, both days included, absent means open."""

    code: str
    name: str
    parent: str | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    valid_from: date | None = None
    valid_to: date | None = None

    def in_force(self, on: date) -> bool:
        return (self.valid_from is None or self.valid_from <= on) and (self.valid_to is None or on <= self.valid_to)


@dataclass(frozen=True, slots=True)
class Dictionary:
    """``flags`` are attributes that are read as yes or no; ``needs`` those that at least one item must have as yes.

    ``codes`` binds an edition to exactly these codes: the product acts on each, an operator may only rename.
    """

    name: str
    title: str
    flags: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    codes: frozenset[str] = frozenset()
    shipped: bool = True


_LIST_TYPES = ["OBSERVED", "TAKEN", "EXCLUDED", "PLANNED", "VISITED", "NOT_VISITED", "MOVED_IN", "MOVED_OUT"]


def _by_name(dictionaries: Iterable[Dictionary]) -> dict[str, Dictionary]:
    return {dictionary.name: dictionary for dictionary in dictionaries}


COMPUTED = "DICTIONARIES"
TABLES = ("ORGANISATIONS", "INSURERS")
"""Dictionaries kept in tables of their own, since other tables point at them."""

ALL = _by_name(
    (
        Dictionary(COMPUTED, "Справочники шлюза", shipped=False),
        Dictionary("ICD10", "МКБ-10", flags=("terminal",), shipped=False),
        Dictionary("PLACES", "Места проведения", flags=("no_show",), needs=("no_show",)),
        Dictionary(
            "RESULTS",
            "Результаты диспансерного осмотра",
            flags=("no_show", "removal"),
            needs=("no_show", "removal"),
        ),
        Dictionary("EXCLUSION_REASONS", "Причины исключения", flags=("final",), needs=("final",)),
        Dictionary("DOCTOR_TYPES", "Типы врачей"),
        Dictionary("SPECIALTIES", "Медицинские специальности (V021)"),
        Dictionary("LIST_TYPES", "Типы списков", codes=frozenset(_LIST_TYPES)),
        Dictionary("DIAGNOSIS_GROUPS", "Группы диагнозов"),
        Dictionary("INDICATORS", "Показатели диспансерного наблюдения"),
        Dictionary("ORGANISATIONS", "Медицинские организации", flags=("primary_care",), shipped=False),
        Dictionary("INSURERS", "Страховые медицинские организации", shipped=False),
    )
)

OFFICIAL = {"V021": "SPECIALTIES", "F002": "INSURERS", "F003": "ORGANISATIONS", "F032": "ORGANISATIONS"}
"""Dictionaries of ФФОМС that serve the product's rules under its own names; both names answer."""

PROFILES = ("THERAPIST", "CARDIOLOGIST", "OTHER")
"""Values of the attribute ``profile`` of SPECIALTIES: whose appendix of 168н the specialty follows."""


def title_of(name: str) -> str:
    """What a dictionary is called in Russian; one that nobody knows is called by its name."""
    if name in ALL:
        return ALL[name].title
    return LAYOUTS[name].title if name in LAYOUTS else name
