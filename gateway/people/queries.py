"""All SQL of people; each statement says in one line what it is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from typing import Any

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Date, Text

from gateway.access import audit

Row = Mapping[str, Any]

# Organisations and insurers -------------------------------------------------------------------------------------------

_PUT_ORGANISATION = text(
    "INSERT INTO organisation (code, name, primary_care, valid_from, valid_to)"
    " VALUES (:code, :name, :primary_care, :valid_from, :valid_to)"
    " ON CONFLICT (code) DO UPDATE SET name = excluded.name, primary_care = excluded.primary_care,"
    " valid_from = excluded.valid_from, valid_to = excluded.valid_to"
)
_PUT_INSURER = text(
    "INSERT INTO insurer (code, name, valid_from, valid_to) VALUES (:code, :name, :valid_from, :valid_to)"
    " ON CONFLICT (code) DO UPDATE SET name = excluded.name, valid_from = excluded.valid_from,"
    " valid_to = excluded.valid_to"
)
_LOCK_ORGANISATION = text("SELECT code FROM organisation WHERE code = :code FOR NO KEY UPDATE")


def organisation_codes(connection: Connection) -> Sequence[str]:
    return connection.execute(text("SELECT code FROM organisation")).scalars().all()


def insurer_codes(connection: Connection) -> Sequence[str]:
    return connection.execute(text("SELECT code FROM insurer")).scalars().all()


def put_organisations(connection: Connection, rows: Sequence[Row]) -> None:
    if rows:
        connection.execute(_PUT_ORGANISATION, rows)


def put_insurers(connection: Connection, rows: Sequence[Row]) -> None:
    if rows:
        connection.execute(_PUT_INSURER, rows)


def lock_organisation(connection: Connection, code: str) -> bool:
    """Serialises savers of one organisation's directory; False if there is no such organisation."""
    return connection.execute(_LOCK_ORGANISATION, {"code": code}).first() is not None


# Doctors --------------------------------------------------------------------------------------------------------------

_DOCTOR = "snils, last_name, first_name, middle_name, doctor_type, specialty, valid_from, valid_to"
_DOCTORS = text(
    f"SELECT {_DOCTOR} FROM doctor WHERE organisation = :organisation"
    " AND (:day IS NULL OR valid_from <= :day AND (valid_to IS NULL OR valid_to >= :day))"
    " ORDER BY last_name, first_name, middle_name, snils, valid_from"
).bindparams(bindparam("day", type_=Date))
_DOCTORS_BY_SNILS = text(
    f"SELECT {_DOCTOR} FROM doctor WHERE organisation = :organisation AND snils = ANY(:snils)"
    " ORDER BY snils, valid_from"
).bindparams(bindparam("snils", type_=ARRAY(Text)))
_PUT_DOCTOR = text(
    f"INSERT INTO doctor (organisation, {_DOCTOR})"
    " VALUES (:organisation, :snils, :last_name, :first_name, :middle_name, :doctor_type, :specialty, :valid_from,"
    " :valid_to) ON CONFLICT (organisation, snils, valid_from) DO UPDATE SET last_name = excluded.last_name,"
    " first_name = excluded.first_name, middle_name = excluded.middle_name, doctor_type = excluded.doctor_type,"
    " specialty = excluded.specialty, valid_to = excluded.valid_to RETURNING id"
)


def doctors(connection: Connection, organisation: str, on: date | None) -> list[tuple[Any, ...]]:
    """The directory of an organisation by name, all periods or those of one day."""
    return [tuple(row) for row in connection.execute(_DOCTORS, {"organisation": organisation, "day": on})]


def doctors_by_snils(connection: Connection, organisation: str, snils: Sequence[str]) -> list[tuple[Any, ...]]:
    """All periods of the named doctors."""
    bound = {"organisation": organisation, "snils": list(snils)}
    return [tuple(row) for row in connection.execute(_DOCTORS_BY_SNILS, bound)]


def put_doctors(connection: Connection, organisation: str, rows: Sequence[Row]) -> list[int]:
    """Adds periods or replaces those that begin on the same day; ids in the order of the rows."""
    return [connection.execute(_PUT_DOCTOR, {"organisation": organisation, **row}).scalar_one() for row in rows]


# Finding persons, on the driver's connection ------------------------------------------------------------------------

CONDITIONS = {
    "enp": "p.enp = %(enp)s",
    "snils": "p.snils = %(snils)s",
    "birth_date": "p.birth_date = %(birth_date)s::date",
    "full_name": "p.name_key = %(full_name)s",
    "any_middle_name": "p.name_key >= %(any_middle_name)s AND p.name_key < %(any_middle_name)s || '!'",
    "insurer": "p.insurer = %(insurer)s",
}
"""Criteria as conditions on a person ``p``. Under the C collation '!' follows the blank that ends a first name, so the
range of `any_middle_name` holds the names with any middle name or none."""


@cache
def find(conditions: tuple[str, ...], bounded: bool) -> bytes:
    """Finds persons, reads their entries under observation, and leaves the audit record, all in one statement.

    ``bounded`` limits entries to `organisations`. The audit names the persons that are found.
    """
    return f"""
        WITH found AS MATERIALIZED (
            SELECT p.* FROM person p WHERE {" AND ".join(CONDITIONS[name] for name in conditions)}
            ORDER BY p.name_key, p.birth_date, p.id LIMIT %(limit)s
        ), audited AS (
            {audit.sql_values(persons="(SELECT array_agg(id) FROM found)", records="(SELECT count(*) FROM found)")}
        )
        SELECT f.enp, f.snils, f.last_name, f.first_name, f.middle_name, f.birth_date::text, f.sex::text,
               f.death_date::text, f.insurer, f.insured_in_region::text, f.attached_organisation,
               f.attached_since::text, f.source, to_char(f.as_of, 'YYYY-MM-DD"T"HH24:MI:SSTZH:TZM'),
               (SELECT string_agg(o.entry_id || ' ' || o.diagnosis, ',' ORDER BY o.diagnosis, o.entry_id)
                FROM observed_entry o
                WHERE o.person_id = f.id {"AND o.organisation = ANY(%(organisations)s)" if bounded else ""})
        FROM found f ORDER BY f.name_key, f.birth_date, f.id
    """.encode()


# Loading the fund's extract, on the driver's connection ---------------------------------------------------------------

LOAD_LOCK = "SELECT pg_advisory_xact_lock(7305005)"
"""One load at a time."""

NEVER_FILLED = """
    SELECT NOT EXISTS (SELECT FROM person)
       AND NOT (SELECT is_called FROM person_id_seq)
"""
"""Whether no person ever had an id, so that lines may give theirs."""

NUMBER_ON = "SELECT setval('person_id_seq', greatest((SELECT max(id) FROM person), 1))"

REPEATED_PERSONS = """
    DELETE FROM person p USING (SELECT enp, min(id) AS first FROM person GROUP BY enp HAVING count(*) > 1) AS d
    WHERE p.enp = d.enp AND p.id > d.first RETURNING p.id
"""

STAGE = """
    CREATE TEMP TABLE insured_line (
        line bigint, enp text, snils text, last_name text, first_name text, middle_name text, name_key text COLLATE "C",
        birth_date date, sex smallint, policy_kind text, policy_number text, insurer text, insured_in_region boolean DEFAULT true,
        attached_organisation text, attached_since date, death_date date
    ) ON COMMIT DROP
"""

REPEATED_LINES = """
    DELETE FROM insured_line l USING (
        SELECT enp, min(line) AS first FROM insured_line GROUP BY enp HAVING count(*) > 1) AS d
    WHERE l.enp = d.enp AND l.line > d.first RETURNING l.line
"""

NO_CHANGED_PERSON = "CREATE TEMP TABLE changed_person (person_id bigint) ON COMMIT DROP"
CHANGED_PERSON = "CREATE TEMP TABLE changed_person ON COMMIT DROP AS SELECT person_id FROM changed_line"
ANALYZE_STAGE = "ANALYZE insured_line"
ANALYZE_CHANGED = "ANALYZE changed_line"
ANALYZE_PERSON = "ANALYZE person"


def copy_extract(table: str, columns: Sequence[str], option: str = "") -> str:
    """Takes ready lines of an extract; ``option`` stands before the others."""
    return f"COPY {table} ({', '.join(columns)}) FROM STDIN ({option} DELIMITER ';', NULL '')"


def find_changed(columns: Sequence[str]) -> str:
    """Lines that differ from the person they name, in the columns the file has."""
    old, new = ", ".join(f"p.{name}" for name in columns), ", ".join(f"l.{name}" for name in columns)
    return f"""
        CREATE TEMP TABLE changed_line ON COMMIT DROP AS
        SELECT p.id AS person_id, {new} FROM insured_line l JOIN person p ON p.enp = l.enp
        WHERE ({old}) IS DISTINCT FROM ({new})
    """


def change_persons(columns: Sequence[str]) -> str:
    """The changed lines into their persons."""
    return f"""
        UPDATE person p SET {", ".join(f"{name} = c.{name}" for name in columns)}, source = 'LOCAL', as_of = now()
        FROM changed_line c WHERE p.id = c.person_id
    """


def add_persons(columns: Sequence[str]) -> str:
    """Lines whose ЕНП nobody has become persons."""
    names = ", ".join(columns)
    return f"""
        INSERT INTO person ({names}) SELECT {names} FROM insured_line l
        WHERE NOT EXISTS (SELECT FROM person p WHERE p.enp = l.enp) ORDER BY line ON CONFLICT (enp) DO NOTHING
    """
