"""All SQL of people; each statement says in one line what it is for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from functools import cache
from typing import Any

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
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
    "insurer": "h.insurer = %(insurer)s",
}
"""Criteria as conditions on a person ``p`` who goes on as ``h``. Under the C collation '!' follows the blank that ends a first name, so the
range of `any_middle_name` holds the names with any middle name or none."""


@cache
def find(conditions: tuple[str, ...], bounded: bool) -> bytes:
    """Finds persons, reads their entries under observation, and leaves the audit record, all in one statement. Whose number
    was merged is shown as the person that it goes on as, once; with an ЕНП the names may be those of either.

    ``bounded`` limits entries to `organisations`. The audit names the persons that are found. Where nobody is found and the
    search is not ``final``, nothing is audited yet: it goes on elsewhere.
    """
    narrowed = "enp" in conditions
    where = " AND ".join(
        f"({CONDITIONS[name]} OR {CONDITIONS[name].replace('p.', 'h.')})"
        if narrowed and name not in ("enp", "insurer")
        else CONDITIONS[name]
        for name in conditions
    )
    return f"""
        WITH found AS MATERIALIZED (
            SELECT DISTINCT ON (h.name_key, h.birth_date, h.id) h.*
            FROM person p JOIN person h ON h.id = coalesce(p.successor_id, p.id) WHERE {where}
            ORDER BY h.name_key, h.birth_date, h.id LIMIT %(limit)s
        ), audited AS (
            {audit.sql_values(persons="(SELECT array_agg(id) FROM found)", records="(SELECT count(*) FROM found)")}
            WHERE %(final)s OR EXISTS (SELECT FROM found)
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


# Following the register of insured persons -----------------------------------------------------------------------------

CONFIRMED = "CREATE TEMP TABLE confirmed (person_id bigint PRIMARY KEY, facts jsonb, at timestamptz) ON COMMIT DROP"

_TOLD = """
    FROM confirmed c JOIN person o ON o.id = c.person_id,
         LATERAL jsonb_populate_record(o, c.facts
             - CASE WHEN c.facts->>'name_key' = o.name_key THEN ARRAY['last_name', 'first_name', 'middle_name'] ELSE '{}' END
             - CASE WHEN o.attached_since > %(day)s THEN ARRAY['attached_organisation', 'attached_since'] ELSE '{}' END) AS n
    WHERE c.facts IS NOT NULL AND c.at >= o.as_of
"""


def differing_facts(columns: Sequence[str]) -> str:
    """Persons whose confirmed facts are not what we know."""
    old, new = (", ".join(f"{alias}.{name}" for name in columns) for alias in ("o", "n"))
    return f"""
        INSERT INTO changed_person SELECT o.id {_TOLD} AND ({old}) IS DISTINCT FROM ({new})
    """


def take_facts(columns: Sequence[str]) -> str:
    """Confirmed facts into their persons."""
    told = f"SELECT o.id, c.at, {', '.join(f'n.{name}' for name in columns)} {_TOLD}"
    return f"""
        UPDATE person p SET {", ".join(f"{name} = t.{name}" for name in columns)}, source = 'FERZL', as_of = t.at
        FROM ({told}) AS t WHERE p.id = t.id
    """


NEAR_ASTRAY = """
    CREATE TEMP TABLE near_astray ON COMMIT DROP AS
    SELECT p.id, p.enp, p.attached_organisation, p.insurer, p.insured_in_region
    FROM attachment_line l JOIN person p ON p.enp = l.enp LEFT JOIN insurer i ON i.code = l.insurer
    WHERE p.death_date IS NULL AND p.as_of <= %(at)s AND (p.attached_since IS NULL OR p.attached_since <= %(day)s)
      AND (p.attached_organisation, p.insurer, p.insured_in_region)
          IS DISTINCT FROM (l.organisation, coalesce(i.code, p.insurer), true)
"""
"""Persons of whom some line of the extract says something else: few of all, so that what all lines of a person say together
is asked for these only. Reads no temporary table: the server may share the work out."""

ASTRAY = """
    CREATE TEMP TABLE astray_person ON COMMIT DROP AS
    SELECT n.id, l.organisation, l.since, coalesce(i.code, n.insurer) AS insurer
    FROM (SELECT n.id, min(l.organisation) AS organisation, min(l.since) AS since, min(l.insurer) AS insurer
          FROM (SELECT DISTINCT id, enp FROM near_astray) AS n JOIN attachment_line l USING (enp)
          WHERE NOT EXISTS (SELECT FROM confirmed c WHERE c.person_id = n.id)
          GROUP BY n.id HAVING min(l.organisation) = max(l.organisation)) AS l
    JOIN (SELECT DISTINCT * FROM near_astray) AS n USING (id) LEFT JOIN insurer i ON i.code = l.insurer
    WHERE (n.attached_organisation, n.insurer, n.insured_in_region)
          IS DISTINCT FROM (l.organisation, coalesce(i.code, n.insurer), true)
    ORDER BY n.id
"""
"""Of them, whom nobody asked about, and whose clinic or insurer in the extract is one and another one."""

FOLLOW_EXTRACT = """
    UPDATE person p SET attached_organisation = a.organisation, attached_since = a.since, insurer = a.insurer,
        insured_in_region = true, source = 'FERZL', as_of = now()
    FROM astray_person a WHERE p.id = a.id
"""
NOTE_ASTRAY = "INSERT INTO changed_person SELECT id FROM astray_person"

UNKNOWN_ENPS = """
    SELECT n.enp FROM unnest(%s::text[]) AS n(enp) WHERE NOT EXISTS (SELECT FROM person p WHERE p.enp = n.enp) ORDER BY n.enp
"""
"""Numbers that no person has."""

_ADD_CONFIRMED = text(
    """
    INSERT INTO person (enp, snils, last_name, first_name, middle_name, name_key, birth_date, sex, death_date, insurer,
                        insured_in_region, attached_organisation, attached_since, source, as_of)
    SELECT n.enp, n.snils, n.last_name, n.first_name, n.middle_name, n.name_key, n.birth_date, n.sex, n.death_date, n.insurer,
           coalesce(n.insured_in_region, false), n.attached_organisation, n.attached_since, 'FERZL', now()
    FROM jsonb_populate_record(NULL::person, :facts) AS n ON CONFLICT (enp) DO NOTHING
    """
).bindparams(bindparam("facts", type_=JSONB))


def add_confirmed(connection: Connection, facts: Row) -> None:
    """A person by the facts of the register, unless somebody has the ЕНП."""
    connection.execute(_ADD_CONFIRMED, {"facts": dict(facts)})
