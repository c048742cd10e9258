"""Doctors as their organisation keeps them (справочник врачей ВМУ): read, and saved in batches by СНИЛС."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from sqlalchemy import Connection

from gateway.access.model import Call, ItemResult
from gateway.domain.persons import snils_digits, snils_error
from gateway.errors import ACCEPTED, KINDS, GatewayError
from gateway.people import queries
from gateway.people.names import name_error, tidy


class Dictionaries(Protocol):
    """What is asked of the dictionaries."""

    def has(self, dictionary: str, code: str, on: date) -> bool: ...


@dataclass(frozen=True, slots=True)
class Doctor:
    """A doctor in one period of work. ``snils`` is 11 digits; ``doctor_type`` by DOCTOR_TYPES; ``specialty`` by V021
    (SPECIALTIES); ``valid_to`` is the last day of the period, None while it lasts. Type and specialty may be unknown:
    a visit then needs the type in its call.
    """

    snils: str
    last_name: str
    first_name: str
    middle_name: str | None
    doctor_type: str | None
    specialty: str | None
    valid_from: date
    valid_to: date | None = None

    def works_on(self, day: date) -> bool:
        return self.valid_from <= day and (self.valid_to is None or day <= self.valid_to)

    def overlaps(self, other: Doctor) -> bool:
        return (other.valid_to is None or self.valid_from <= other.valid_to) and (
            self.valid_to is None or other.valid_from <= self.valid_to
        )


def all_of(connection: Connection, organisation: str, on: date | None = None) -> list[Doctor]:
    """Doctors of the organisation by name, all periods, or only those at work on a day.

    The organisation must exist (``object.not-found``).
    """
    found = [Doctor(*row) for row in queries.doctors(connection, organisation, on)]
    if not found and organisation not in queries.organisation_codes(connection):
        raise GatewayError("object.not-found")
    return found


def periods(connection: Connection, organisation: str, snils: Iterable[str]) -> dict[str, list[Doctor]]:
    """Every period of the named doctors in the organisation, by СНИЛС."""
    found: dict[str, list[Doctor]] = {}
    for row in queries.doctors_by_snils(connection, organisation, sorted(set(snils))):
        found.setdefault(row[0], []).append(Doctor(*row))
    return found


def put(connection: Connection, organisation: str, doctors: Iterable[Doctor]) -> list[int]:
    """Writes periods as they stand, without the rules of `save`; ids in their order."""
    return queries.put_doctors(connection, organisation, [_row(doctor) for doctor in doctors])


def save(
    connection: Connection, call: Call, organisation: str, items: Sequence[Doctor], nsi: Dictionaries
) -> list[ItemResult]:
    """Adds periods of doctors or replaces those that begin on the same day; each item is taken or refused by itself.

    Periods of one doctor must not overlap (``doctor.dates``): to change the type from a day on, close the running
    period in one item and begin the next in another. The organisation must exist (``object.not-found``).
    """
    if not queries.lock_organisation(connection, organisation):
        raise GatewayError("object.not-found")
    call.organisation = organisation
    clean = [_clean(item) for item in items]
    known = periods(connection, organisation, (doctor.snils for doctor in clean))
    results: list[ItemResult] = []
    taken: list[Doctor] = []
    for number, doctor in enumerate(clean, 1):
        code = _refusal(doctor, known.get(doctor.snils, []), taken, nsi, call.at.date())
        if code is None:
            taken.append(doctor)
            others = [one for one in known.get(doctor.snils, []) if one.valid_from != doctor.valid_from]
            known[doctor.snils] = [*others, doctor]
            results.append(ItemResult(number, "ok", ACCEPTED["ok"]))
        else:
            results.append(ItemResult(number, code, KINDS[code].message))
    ids = iter(put(connection, organisation, taken))
    return [
        ItemResult(one.number, one.code, one.message, str(next(ids))) if one.code == "ok" else one for one in results
    ]


def _clean(doctor: Doctor) -> Doctor:
    return Doctor(
        snils_digits(doctor.snils),
        tidy(doctor.last_name),
        tidy(doctor.first_name),
        tidy(doctor.middle_name) or None if doctor.middle_name else None,
        doctor.doctor_type or None,
        doctor.specialty or None,
        doctor.valid_from,
        doctor.valid_to,
    )


def _refusal(
    doctor: Doctor, known: Sequence[Doctor], taken: Sequence[Doctor], nsi: Dictionaries, today: date
) -> str | None:
    names = [doctor.last_name, doctor.first_name, *([doctor.middle_name] if doctor.middle_name else [])]
    wrong = snils_error(doctor.snils) or next(filter(None, map(name_error, names)), None)
    if wrong:
        return wrong
    if doctor.doctor_type and not nsi.has("DOCTOR_TYPES", doctor.doctor_type, today):
        return "doctor.type"
    if doctor.specialty and not nsi.has("SPECIALTIES", doctor.specialty, today):
        return "doctor.specialty"
    if doctor.valid_to is not None and doctor.valid_to < doctor.valid_from:
        return "doctor.dates"
    if any(one.snils == doctor.snils and one.valid_from == doctor.valid_from for one in taken):
        return "conflict.duplicate-item"
    if any(one.valid_from != doctor.valid_from and one.overlaps(doctor) for one in known):
        return "doctor.dates"
    return None


def _row(doctor: Doctor) -> dict[str, object]:
    return {
        "snils": doctor.snils,
        "last_name": doctor.last_name,
        "first_name": doctor.first_name,
        "middle_name": doctor.middle_name,
        "doctor_type": doctor.doctor_type,
        "specialty": doctor.specialty,
        "valid_from": doctor.valid_from,
        "valid_to": doctor.valid_to,
    }
