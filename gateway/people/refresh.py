"""Persons follow what the register of insured persons confirmed: facts about single people, the extract for everybody else."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection

from gateway.people import queries
from gateway.store.engine import driver_of

FACTS = (
    "last_name", "first_name", "middle_name", "name_key", "birth_date", "sex", "death_date", "insurer", "insured_in_region",
    "attached_organisation", "attached_since",
)  # fmt: skip
"""Names of facts, as columns of `person`; what is absent from the facts of a person stays as it is."""


def begin(connection: Connection) -> None:
    """Holds up other loads of persons and makes the temporary tables: ``confirmed (person_id, facts, at)`` for the layer
    above to fill with everybody who was asked about, and ``changed_person (person_id)`` for it to read."""
    driver = driver_of(connection)
    driver.execute(queries.LOAD_LOCK)
    driver.execute(queries.CONFIRMED.encode())
    driver.execute(queries.NO_CHANGED_PERSON)


def confirm(connection: Connection, day: date) -> int:
    """Facts of ``confirmed``, true on a day, into their persons; how many of them changed. A name that only differs in case
    stays, and so do a clinic that is known since later than the day, and who was loaded after the answer."""
    driver = driver_of(connection)
    driver.execute(b"ANALYZE confirmed")
    changed = driver.execute(queries.differing_facts(FACTS).encode(), {"day": day}).rowcount
    driver.execute(queries.take_facts(FACTS).encode(), {"day": day})
    return changed


def follow_extract(connection: Connection, day: date, at: datetime) -> int:
    """Clinic and insurer of the extract of a day, as known ``at`` a moment, into the persons who were not asked about; how
    many changed. Whose clinic is known since later than the day stays, and who was loaded after the moment."""
    driver = driver_of(connection)
    driver.execute(queries.NEAR_ASTRAY, {"at": at, "day": day})
    driver.execute(b"ANALYZE near_astray")
    driver.execute(queries.ASTRAY)
    driver.execute(b"ANALYZE astray_person")
    driver.execute(queries.FOLLOW_EXTRACT)
    changed = driver.execute(queries.NOTE_ASTRAY).rowcount
    driver.execute(b"ANALYZE changed_person")
    return changed


def add(connection: Connection, facts: Mapping[str, Any]) -> None:
    """A person whom the register knows and we do not; ``facts`` has ``enp``, the names, birth date and sex."""
    queries.add_confirmed(connection, facts)
