"""All SQL of ДН lists; each statement says in one line what it is for."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, CursorResult, RowMapping, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import BigInteger, Text

Rows = Sequence[RowMapping]


def _all(connection: Connection, statement: Any, **values: Any) -> Rows:
    return connection.execute(statement, values).mappings().all()


def _one(connection: Connection, statement: Any, **values: Any) -> RowMapping | None:
    return connection.execute(statement, values).mappings().one_or_none()


def now(connection: Connection) -> datetime:
    """The database's own time: what freezes and what expires lists goes by one clock on every machine."""
    found: datetime = connection.execute(text("SELECT now()")).scalar_one()
    return found


# The ledger -----------------------------------------------------------------------------------------------------------

_LOCK = text("SELECT seq FROM list_ledger WHERE organisation = :organisation FOR UPDATE")
_OPEN = text("INSERT INTO list_ledger (organisation) VALUES (:organisation) ON CONFLICT DO NOTHING")
_ADVANCE = text("UPDATE list_ledger SET seq = seq + :count WHERE organisation = :organisation RETURNING seq")


def lock_ledger(connection: Connection, organisation: str) -> int | None:
    """Serialises changes of one organisation's list; None if it has no ledger yet."""
    found: int | None = connection.execute(_LOCK, {"organisation": organisation}).scalar_one_or_none()
    return found


def open_ledger(connection: Connection, organisation: str) -> None:
    connection.execute(_OPEN, {"organisation": organisation})


def advance(connection: Connection, organisation: str, count: int) -> int:
    """Takes ``count`` numbers; returns the last of them."""
    last: int = connection.execute(_ADVANCE, {"organisation": organisation, "count": count}).scalar_one()
    return last


# Facts for decisions --------------------------------------------------------------------------------------------------

_ORGANISATION = text("SELECT code FROM organisation WHERE code = :organisation")

_PERSONS = text(
    "SELECT id, enp, snils, last_name, first_name, middle_name, name_key, birth_date, sex, death_date, insurer,"
    " insured_in_region, attached_organisation FROM person WHERE enp = ANY(:enps)"
).bindparams(bindparam("enps", type_=ARRAY(Text)))

_SEGMENTS_OF_PERSONS = text(
    "SELECT person_id, diagnosis_key, organisation, entry_id, since, until FROM observation_segment"
    " WHERE person_id = ANY(:persons) AND (until IS NULL OR until > since)"
).bindparams(bindparam("persons", type_=ARRAY(BigInteger)))

_CLOSED = text(
    "SELECT DISTINCT ON (month) month, reopened_at FROM closed_month WHERE organisation = :organisation"
    " ORDER BY month, edition DESC"
)

_EXTERNAL_IDS = text(
    "SELECT external_id FROM entry WHERE organisation = :organisation AND external_id = ANY(:ids) AND status <> 'ANNULLED'"
).bindparams(bindparam("ids", type_=ARRAY(Text)))

_ENTRIES = text(
    "SELECT e.id, e.organisation, e.version, e.status, e.person_id, e.diagnosis, e.diagnosis_key, e.specialty,"
    " e.doctor_snils, e.birth_date, e.death_date, e.observed_since, e.diagnosed_on, e.last_visit_on,"
    " e.last_visit_result, e.excluded_on, e.exclusion_reason, p.insured_in_region, p.death_date AS person_death"
    " FROM entry e JOIN person p ON p.id = e.person_id WHERE e.id = ANY(:ids)"
).bindparams(bindparam("ids", type_=ARRAY(BigInteger)))

_DOCTORS = text(
    "SELECT snils, doctor_type, specialty, valid_from, valid_to FROM doctor"
    " WHERE organisation = :organisation AND snils = ANY(:snils)"
).bindparams(bindparam("snils", type_=ARRAY(Text)))

_VISITS_ON = text(
    "SELECT entry_id, conducted_on, attempt FROM visit WHERE entry_id = ANY(:ids) AND annulled_at IS NULL"
).bindparams(bindparam("ids", type_=ARRAY(BigInteger)))

_VISIT = text("SELECT id, entry_id, organisation, conducted_on, attempt, annulled_at FROM visit WHERE id = :id")

_LAST_VISIT = text(
    "SELECT conducted_on, result FROM visit WHERE entry_id = :entry_id AND annulled_at IS NULL AND NOT attempt"
    " AND id <> :without ORDER BY conducted_on DESC, id DESC LIMIT 1"
)

_ENDING_VISIT = text(
    "SELECT (details->>'visit')::bigint FROM entry_event WHERE entry_id = :entry_id AND kind = 'EXCLUDED'"
    " ORDER BY version DESC LIMIT 1"
)

_SEGMENTS = text(
    "SELECT id, organisation, diagnosis, diagnosis_key, since, until, true_from, true_to, cause_in, cause_out"
    " FROM observation_segment WHERE entry_id = :entry_id ORDER BY since, id"
)


def organisation_exists(connection: Connection, organisation: str) -> bool:
    return _one(connection, _ORGANISATION, organisation=organisation) is not None


def persons(connection: Connection, enps: Iterable[str]) -> dict[str, RowMapping]:
    """Insured persons by ЕНП."""
    return {row["enp"]: row for row in _all(connection, _PERSONS, enps=list(enps))}


def segments_of_persons(connection: Connection, person_ids: Iterable[int]) -> Rows:
    """Every stretch of observation of these persons, whoever observes."""
    return _all(connection, _SEGMENTS_OF_PERSONS, persons=list(person_ids))


def closed_months(connection: Connection, organisation: str) -> frozenset[int]:
    """Months of the organisation that are closed now."""
    rows = _all(connection, _CLOSED, organisation=organisation)
    return frozenset(row["month"] for row in rows if row["reopened_at"] is None)


def external_ids(connection: Connection, organisation: str, ids: Iterable[str]) -> set[str]:
    """Which of the externalIds are taken."""
    return {row["external_id"] for row in _all(connection, _EXTERNAL_IDS, organisation=organisation, ids=list(ids))}


def entries(connection: Connection, ids: Iterable[int]) -> dict[int, RowMapping]:
    """Entries with what decisions need, whoever they belong to."""
    return {row["id"]: row for row in _all(connection, _ENTRIES, ids=list(ids))}


def doctors(connection: Connection, organisation: str, snils: Iterable[str]) -> Rows:
    """Lines of the organisation's directory of doctors."""
    return _all(connection, _DOCTORS, organisation=organisation, snils=list(snils))


def visit_days(connection: Connection, ids: Iterable[int]) -> set[tuple[int, date, bool]]:
    """(entry, day, attempt) of visits in force."""
    return {
        (row["entry_id"], row["conducted_on"], row["attempt"]) for row in _all(connection, _VISITS_ON, ids=list(ids))
    }


def visit(connection: Connection, visit_id: int) -> RowMapping | None:
    return _one(connection, _VISIT, id=visit_id)


def last_visit(connection: Connection, entry_id: int, without: int = 0) -> RowMapping | None:
    """The latest visit in force that was not an attempt."""
    return _one(connection, _LAST_VISIT, entry_id=entry_id, without=without)


def ending_visit(connection: Connection, entry_id: int) -> int | None:
    """The visit that ended the observation last, if it was a visit."""
    found: int | None = connection.execute(_ENDING_VISIT, {"entry_id": entry_id}).scalar()
    return found


def segments(connection: Connection, entry_id: int) -> Rows:
    """The chain of segments of an entry."""
    return _all(connection, _SEGMENTS, entry_id=entry_id)


# Changes --------------------------------------------------------------------------------------------------------------

_NEXT_IDS = {
    "entry": text("SELECT nextval(pg_get_serial_sequence('entry', 'id')) FROM generate_series(1, :count)"),
    "visit": text("SELECT nextval(pg_get_serial_sequence('visit', 'id')) FROM generate_series(1, :count)"),
}

_ENTRY_COLUMNS = (
    "id, person_id, organisation, external_id, seq, enp, snils, last_name, first_name, middle_name, name_key,"
    " birth_date, sex, death_date, insurer, attached_organisation, diagnosis, diagnosis_key, diagnosis_group, outside,"
    " diagnosed_on, by_attachment, doctor_snils, specialty, observed_since, source, planned_months, next_visit_by, status"
)

_INSERT_ENTRIES = text(
    f"""
    WITH rows AS MATERIALIZED (
        SELECT r.*, (x.value->>'effective_from')::date AS effective_from
        FROM jsonb_array_elements(:rows) AS x(value),
             LATERAL jsonb_populate_record(NULL::entry, x.value) AS r
    ), put AS (
        INSERT INTO entry ({_ENTRY_COLUMNS}) SELECT {_ENTRY_COLUMNS} FROM rows
    ), chain AS (
        INSERT INTO observation_segment
            (entry_id, person_id, diagnosis_key, diagnosis, organisation, since, true_from, cause_in)
        SELECT id, person_id, diagnosis_key, diagnosis, organisation, effective_from, observed_since, 'TAKEN' FROM rows
    )
    INSERT INTO entry_event (entry_id, version, organisation, seq, effective_on, kind, cause, source, actor, trace)
    SELECT id, 1, organisation, seq, effective_from, 'TAKEN', source, source, :actor, :trace FROM rows
    """
).bindparams(bindparam("rows", type_=JSONB))

_PATCHED = (
    "insurer", "death_date", "snils", "last_name", "first_name", "middle_name", "name_key", "attached_organisation",
    "diagnosis", "diagnosis_key", "diagnosis_group", "outside", "diagnosed_on", "by_attachment", "doctor_snils",
    "specialty", "observed_since", "planned_months", "last_visit_on", "last_visit_result", "next_visit_by", "status",
    "excluded_on", "exclusion_reason",
)  # fmt: skip

_CHANGE_ENTRIES = text(
    f"""
    WITH changes AS MATERIALIZED (
        SELECT * FROM jsonb_to_recordset(:changes) AS c(
            entry_id bigint, seq bigint, kind text, cause text, effective_on date, patch jsonb, details jsonb)
    ), event AS (
        INSERT INTO entry_event (entry_id, version, organisation, seq, effective_on, kind, cause, source, actor, trace,
                                 details, before)
        SELECT e.id, e.version + 1, e.organisation, c.seq, c.effective_on, c.kind, c.cause, :source, :actor, :trace,
               nullif(c.details, '{{}}'), to_jsonb(e)
        FROM changes c JOIN entry e ON e.id = c.entry_id
    )
    UPDATE entry SET version = entry.version + 1, seq = c.seq, changed_at = now(),
        {", ".join(f"{name} = n.{name}" for name in _PATCHED)}
    FROM changes c JOIN entry o ON o.id = c.entry_id, LATERAL jsonb_populate_record(o, c.patch) AS n
    WHERE entry.id = c.entry_id
    """
).bindparams(bindparam("changes", type_=JSONB))

_INSERT_VISITS = text(
    """
    INSERT INTO visit (id, entry_id, organisation, conducted_on, effective_on, place, result, attempt, doctor_snils,
                       doctor_type)
    SELECT * FROM jsonb_to_recordset(:rows) AS r(
        id bigint, entry_id bigint, organisation text, conducted_on date, effective_on date, place text, result text,
        attempt boolean, doctor_snils text, doctor_type text)
    """
).bindparams(bindparam("rows", type_=JSONB))

_ANNUL_VISITS = text(
    "UPDATE visit SET annulled_at = now(), annul_reason = :reason"
    " WHERE entry_id = :entry_id AND (id = :visit_id OR :visit_id IS NULL) AND annulled_at IS NULL"
).bindparams(bindparam("visit_id", type_=BigInteger))

_END_SEGMENTS = text(
    """
    UPDATE observation_segment s SET until = greatest(s.since, r.until), true_to = r.true_to, cause_out = 'EXCLUDED',
           recorded_to = now()
    FROM jsonb_to_recordset(:rows) AS r(entry_id bigint, until date, true_to date)
    WHERE s.entry_id = r.entry_id AND s.until IS NULL
    """
).bindparams(bindparam("rows", type_=JSONB))

_SET_SEGMENT = text(
    "UPDATE observation_segment SET until = :until, true_to = :true_to, cause_out = :cause, recorded_to = now()"
    " WHERE id = :id"
)

_REOPEN_SEGMENT = text(
    "UPDATE observation_segment SET until = NULL, true_to = NULL, cause_out = NULL, recorded_to = NULL WHERE id = :id"
)

_ADD_SEGMENT = text(
    "INSERT INTO observation_segment"
    " (entry_id, person_id, diagnosis_key, diagnosis, organisation, since, true_from, cause_in)"
    " VALUES (:entry_id, :person_id, :diagnosis_key, :diagnosis, :organisation, :since, :true_from, :cause)"
)


def next_ids(connection: Connection, table: str, count: int) -> list[int]:
    """Ids for rows that are about to be inserted in one statement."""
    return list(connection.execute(_NEXT_IDS[table], {"count": count}).scalars()) if count else []


def insert_entries(connection: Connection, rows: Sequence[Mapping[str, Any]], *, actor: str, trace: str) -> None:
    """New entries, their first segments and their first events, set-based."""
    connection.execute(_INSERT_ENTRIES, {"rows": _plain(rows), "actor": actor, "trace": trace})


def change_entries(
    connection: Connection, changes: Sequence[Mapping[str, Any]], *, source: str, actor: str, trace: str
) -> None:
    """Events with the lines as they stood, then the new values, in one statement."""
    connection.execute(_CHANGE_ENTRIES, {"changes": changes, "source": source, "actor": actor, "trace": trace})


def insert_visits(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    if rows:
        connection.execute(_INSERT_VISITS, {"rows": _plain(rows)})


def annul_visits(connection: Connection, entry_id: int, reason: str, visit_id: int | None = None) -> None:
    """One visit, or all of an entry, taken back with its trace."""
    connection.execute(_ANNUL_VISITS, {"entry_id": entry_id, "reason": reason, "visit_id": visit_id})


def end_segments(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Ends the open segments of entries that are excluded."""
    if rows:
        connection.execute(_END_SEGMENTS, {"rows": _plain(rows)})


def set_segment(connection: Connection, segment_id: int, until: date, true_to: date, cause: str) -> None:
    connection.execute(_SET_SEGMENT, {"id": segment_id, "until": until, "true_to": true_to, "cause": cause})


def reopen_segment(connection: Connection, segment_id: int) -> None:
    connection.execute(_REOPEN_SEGMENT, {"id": segment_id})


def add_segment(connection: Connection, **values: Any) -> None:
    connection.execute(_ADD_SEGMENT, values)


def _plain(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {name: value.isoformat() if isinstance(value, date | datetime) else value for name, value in row.items()}
        for row in rows
    ]


_COPIES = (
    "enp", "snils", "last_name", "first_name", "middle_name", "name_key", "birth_date", "sex", "death_date", "insurer",
    "attached_organisation",
)  # fmt: skip
_DIFFER = (
    "e.status <> 'ANNULLED' AND "
    f"({', '.join('e.' + name for name in _COPIES)}) IS DISTINCT FROM ({', '.join('p.' + name for name in _COPIES)})"
)

_LEDGERS_OF_CHANGED = text(
    "SELECT DISTINCT e.organisation FROM changed_person c JOIN entry e ON e.person_id = c.person_id"
    f" JOIN person p ON p.id = c.person_id WHERE {_DIFFER} ORDER BY 1"
)
_LOCK_LEDGERS = text(
    "SELECT seq FROM list_ledger WHERE organisation = ANY(:organisations) ORDER BY organisation FOR UPDATE"
).bindparams(bindparam("organisations", type_=ARRAY(Text)))

_RENEW_PERSONS = text(
    f"""
    WITH changed AS MATERIALIZED (
        SELECT e.id, e.organisation, p.id AS person_id,
               row_number() OVER (PARTITION BY e.organisation ORDER BY e.id) AS n
        FROM changed_person c JOIN entry e ON e.person_id = c.person_id JOIN person p ON p.id = c.person_id
        WHERE {_DIFFER}
    ), ledger AS (
        UPDATE list_ledger l SET seq = l.seq + k.n
        FROM (SELECT organisation, count(*) AS n FROM changed GROUP BY organisation) AS k
        WHERE l.organisation = k.organisation RETURNING l.organisation, l.seq - k.n AS base
    ), event AS (
        INSERT INTO entry_event (entry_id, version, organisation, seq, effective_on, kind, cause, source, before)
        SELECT e.id, e.version + 1, e.organisation, l.base + c.n, :today, 'PERSON_CHANGED', 'PERSON', 'ERZL', to_jsonb(e)
        FROM changed c JOIN ledger l ON l.organisation = c.organisation JOIN entry e ON e.id = c.id
    )
    UPDATE entry SET version = entry.version + 1, seq = l.base + c.n, changed_at = now(),
        {", ".join(f"{name} = p.{name}" for name in _COPIES)}
    FROM changed c JOIN ledger l ON l.organisation = c.organisation JOIN person p ON p.id = c.person_id
    WHERE entry.id = c.id
    """
)

_FORGET_IMAGES = text(
    "UPDATE entry_event SET before = NULL WHERE id IN (SELECT id FROM entry_event WHERE before IS NOT NULL"
    " AND recorded_at < :before AND kind <> 'MOVED_OUT' LIMIT :portion)"
)


def ledgers_of_changed(connection: Connection) -> list[str]:
    """Organisations with entries whose copies differ from the persons of ``changed_person``."""
    return list(connection.execute(_LEDGERS_OF_CHANGED).scalars())


def lock_ledgers(connection: Connection, organisations: Sequence[str]) -> None:
    """Takes several ledgers, in the order that every taker of several keeps."""
    connection.execute(_LOCK_LEDGERS, {"organisations": list(organisations)})


def renew_persons(connection: Connection, today: date) -> int:
    """Copies, versions, numbers and events of all entries concerned, in one statement."""
    return connection.execute(_RENEW_PERSONS, {"today": today}).rowcount


def forget_images(connection: Connection, before: datetime, portion: int) -> int:
    return connection.execute(_FORGET_IMAGES, {"before": before, "portion": portion}).rowcount


# Lines and history ----------------------------------------------------------------------------------------------------

LINE_SQL = """
    {e}.id::text, {e}.external_id, {e}.version::text, {e}.enp, {e}.snils, {e}.last_name, {e}.first_name,
    {e}.middle_name, {e}.birth_date::text, {e}.sex::text, {e}.death_date::text, {e}.insurer,
    {e}.attached_organisation, {e}.diagnosis, {e}.diagnosis_group, {e}.diagnosed_on::text, {e}.organisation,
    {e}.by_attachment::text, {e}.doctor_snils, {e}.specialty, {e}.observed_since::text, {e}.source,
    array_to_string({e}.planned_months, ' '), {e}.last_visit_on::text, {e}.last_visit_result,
    {e}.next_visit_by::text, {e}.status, {e}.excluded_on::text, {e}.exclusion_reason,
    to_char({e}.changed_at, 'YYYY-MM-DD"T"HH24:MI:SS.MSTZH:TZM'), {e}.outside
"""

_LINES = text(
    f"SELECT e.person_id, {LINE_SQL.format(e='e')} FROM entry e WHERE e.id = ANY(:ids) ORDER BY e.id"
).bindparams(bindparam("ids", type_=ARRAY(BigInteger)))

_VISITS = text(
    "SELECT id::text AS visit_id, organisation, conducted_on, place, result, attempt, doctor_snils, doctor_type,"
    " recorded_at, annulled_at, annul_reason FROM visit WHERE entry_id = :entry_id ORDER BY conducted_on, id"
)

_EVENTS = text(
    "SELECT version, recorded_at, effective_on, kind, cause, source, actor, organisation FROM entry_event"
    " WHERE entry_id = :entry_id ORDER BY version, id"
)

_IDS_OF_PERSON = text(
    "SELECT e.id FROM entry e WHERE e.enp = :enp"
    " AND (:organisations IS NULL OR e.organisation = ANY(:organisations)) AND (:insurer IS NULL OR e.insurer = :insurer)"
    " AND e.person_id = (SELECT id FROM person WHERE enp = :enp) ORDER BY e.id"
).bindparams(bindparam("organisations", type_=ARRAY(Text)), bindparam("insurer", type_=Text))

_OWNER = text("SELECT organisation, insurer FROM entry WHERE id = :id")


def lines(connection: Connection, ids: Sequence[int]) -> list[tuple[Any, ...]]:
    """(person, line…) of entries as they stand now."""
    return [tuple(row) for row in connection.execute(_LINES, {"ids": list(ids)})]


def visits(connection: Connection, entry_id: int) -> Rows:
    return _all(connection, _VISITS, entry_id=entry_id)


def events(connection: Connection, entry_id: int) -> Rows:
    return _all(connection, _EVENTS, entry_id=entry_id)


def ids_of_person(
    connection: Connection, enp: str, organisations: Collection[str] | None, insurer: str | None
) -> list[int]:
    """Entries of a person that the caller may see; None means no bound."""
    bound = None if organisations is None else list(organisations)
    return list(connection.execute(_IDS_OF_PERSON, {"enp": enp, "organisations": bound, "insurer": insurer}).scalars())


def owner(connection: Connection, entry_id: int) -> RowMapping | None:
    return _one(connection, _OWNER, id=entry_id)


# Frozen lists ---------------------------------------------------------------------------------------------------------

BLOCK = 250
"""Lines a block."""

_OBSERVED_ON = "s.since <= :day AND (s.until IS NULL OR s.until > :day)"
_OBSERVED_IN = "s.since <= :last AND (s.until IS NULL OR s.until > :first)"
_VISITED_IN = (
    "EXISTS (SELECT 1 FROM visit v WHERE v.entry_id = e.id AND v.organisation = :organisation AND NOT v.attempt"
    " AND v.annulled_at IS NULL AND v.effective_on BETWEEN :first AND :last)"
)

CONDITIONS = {
    "OBSERVED": _OBSERVED_ON,
    "TAKEN": "s.cause_in = 'TAKEN' AND s.since BETWEEN :first AND :last",
    "EXCLUDED": "s.cause_out = 'EXCLUDED' AND s.until BETWEEN :first AND :last",
    "PLANNED": f"{_OBSERVED_IN} AND e.planned_months && :months",
    "VISITED": _VISITED_IN,
    "NOT_VISITED": f"{_OBSERVED_ON} AND e.planned_months && :months AND NOT {_VISITED_IN}",
    "MOVED_IN": "s.cause_in = 'MOVE' AND s.since BETWEEN :first AND :last",
    "MOVED_OUT": "s.cause_out = 'MOVE' AND s.until BETWEEN :first AND :last",
}
"""Types of lists as conditions on an entry ``e`` and a segment ``s`` of the organisation."""

_FILTERS = {
    "group": "e.diagnosis_group = :group",
    "enp": "e.enp = :enp",
    "doctor": "e.doctor_snils = :doctor",
    "month": ":month = ANY(e.planned_months)",
    "insurer": "e.insurer = :insurer",
}


def _members(list_type: str, filters: Collection[str]) -> str:
    where = " AND ".join(["e.status <> 'ANNULLED'", *(_FILTERS[name] for name in sorted(filters))])
    return f"""
        SELECT e.id, e.name_key, e.birth_date FROM entry e WHERE {where} AND e.id IN (
            SELECT s.entry_id FROM observation_segment s
            {"JOIN entry e ON e.id = s.entry_id" if "e." in CONDITIONS[list_type] else ""}
            WHERE s.organisation = :organisation AND {CONDITIONS[list_type]})
    """


_BLOCKS_OF = f"""
    numbered AS (
        SELECT id, row_number() OVER (ORDER BY name_key, birth_date, id) AS n FROM members
    ), blocks AS MATERIALIZED (
        SELECT ((n - 1) / {BLOCK})::int AS number, array_agg(id ORDER BY n) AS ids FROM numbered GROUP BY 1
    )
"""


def _freeze(members: str) -> str:
    return f"""
        WITH members AS ({members}), {_BLOCKS_OF}, piece AS (
            INSERT INTO list_piece (organisation, choice, seq, edition, as_of, total, frozen, expires_at)
            SELECT :organisation, :choice, seq, :edition, now(),
                   coalesce((SELECT sum(cardinality(ids)) FROM blocks), 0), true, :expires_at
            FROM list_ledger WHERE organisation = :organisation ON CONFLICT DO NOTHING RETURNING id
        )
        INSERT INTO list_block (piece_id, number, ids) SELECT piece.id, blocks.number, blocks.ids FROM piece, blocks
    """


def _observed(filters: Collection[str]) -> str:
    return " AND ".join(
        ["e.organisation = :organisation", "e.status = 'OBSERVED'", *(_FILTERS[name] for name in sorted(filters))]
    )


def _count(filters: Collection[str]) -> str:
    return f"""
        INSERT INTO list_piece (organisation, choice, seq, edition, as_of, total, frozen, expires_at)
        SELECT :organisation, :choice, seq, 0, now(), (SELECT count(*) FROM entry e WHERE {_observed(filters)}), false,
               :expires_at
        FROM list_ledger WHERE organisation = :organisation ON CONFLICT DO NOTHING
        RETURNING organisation, id, total, seq, frozen
    """


def _freeze_at(filters: Collection[str]) -> str:
    """Who was under observation at a number of the ledger: those who have not changed since, and the others by the line
    that their first later change kept."""
    return f"""
        WITH members AS (
            SELECT e.id, e.name_key, e.birth_date FROM entry e WHERE {_observed(filters)} AND e.seq <= :seq
            UNION ALL
            SELECT e.id, e.name_key, e.birth_date
            FROM (SELECT DISTINCT ON (entry_id) before FROM entry_event
                  WHERE organisation = :organisation AND seq > :seq ORDER BY entry_id, seq) AS f,
                 LATERAL jsonb_populate_record(NULL::entry, f.before) AS e
            WHERE f.before IS NOT NULL AND {_observed(filters)}
        ), {_BLOCKS_OF}, piece AS (
            UPDATE list_piece SET frozen = true WHERE id = :piece_id AND NOT frozen RETURNING id
        )
        INSERT INTO list_block (piece_id, number, ids) SELECT piece.id, blocks.number, blocks.ids FROM piece, blocks
    """


def _first_lines(filters: Collection[str]) -> str:
    return f"""
        SELECT {LINE_SQL.format(e="e")} FROM entry e WHERE {_observed(filters)}
        ORDER BY e.name_key, e.birth_date, e.id LIMIT :count OFFSET :start
    """


_PIECES = text(
    """
    SELECT p.organisation, p.id, p.total, p.seq, p.frozen FROM list_ledger l
    JOIN list_piece p ON p.organisation = l.organisation AND p.choice = :choice AND p.seq = l.seq AND p.edition = 0
    WHERE l.organisation = ANY(:organisations) AND (p.expires_at > :until OR p.expires_at IS NULL)
    """
).bindparams(bindparam("organisations", type_=ARRAY(Text)))

_EXTEND = text(
    "UPDATE list_piece SET expires_at = greatest(expires_at, :expires_at)"
    " WHERE id = ANY(:ids) AND expires_at < CAST(:expires_at AS timestamptz) - interval '10 minutes'"
).bindparams(bindparam("ids", type_=ARRAY(BigInteger)))

_ORGANISATIONS = text("SELECT organisation FROM list_ledger ORDER BY organisation")

_INSERT_SNAPSHOT = text(
    "INSERT INTO list_snapshot (id, client_id, choice, edition, pieces, ends, token, as_of, closed_at, expires_at)"
    " VALUES (:id, :client_id, :choice, :edition, :pieces, :ends, :token, :as_of, :closed_at, :expires_at)"
).bindparams(bindparam("pieces", type_=ARRAY(BigInteger)), bindparam("ends", type_=ARRAY(BigInteger)))

_EXPIRE = text(
    f"""
    WITH gone AS MATERIALIZED (
        UPDATE list_piece SET expires_at = NULL, choice = choice || '#' || id
        WHERE expires_at < :now AND edition = 0 RETURNING id
    ), named AS MATERIALIZED (
        SELECT s.id, s.as_of, cardinality(s.pieces) AS parts, piece_id
        FROM list_snapshot s, unnest(s.pieces) AS piece_id WHERE piece_id IN (SELECT id FROM gone)
    ), sent AS MATERIALIZED (
        SELECT n.piece_id, b.number FROM named n
        JOIN audit_record a ON a.snapshot_id = n.id AND a.records > 0 AND a.at >= (SELECT min(as_of) FROM named),
        LATERAL generate_series((a.first_record - 1) / {BLOCK}, (a.first_record + a.records - 2) / {BLOCK}) AS b(number)
        WHERE n.parts = 1
    ), unsent AS (
        DELETE FROM list_block b USING gone g
        WHERE b.piece_id = g.id AND NOT EXISTS (SELECT 1 FROM named n WHERE n.piece_id = g.id AND n.parts > 1)
          AND NOT EXISTS (SELECT 1 FROM sent s WHERE s.piece_id = b.piece_id AND s.number = b.number)
        RETURNING b.piece_id, b.number
    )
    UPDATE list_block b SET body = NULL FROM gone g WHERE b.piece_id = g.id AND b.body IS NOT NULL
      AND NOT EXISTS (SELECT 1 FROM unsent u WHERE u.piece_id = b.piece_id AND u.number = b.number)
    """
)


def freeze(
    connection: Connection, organisation: str, choice: str, values: Mapping[str, Any], edition: int, expires_at: Any
) -> None:
    """Fixes membership and order of a list of one organisation, at one moment, unless it is fixed already.

    ``values``: type, first, last, day, months and filters.
    """
    sql = _freeze(_members(values["type"], _filters(values)))
    _bound(connection, sql, values, organisation=organisation, choice=choice, edition=edition, expires_at=expires_at)


def count(
    connection: Connection, organisation: str, choice: str, values: Mapping[str, Any], expires_at: Any
) -> RowMapping | None:
    """Names the list of those under observation now by the number of the ledger; who they were is found when asked for.

    None if there is no ledger, or the piece was made by another transaction that this one cannot see.
    """
    sql = _count(_filters(values))
    made = _bound(connection, sql, values, organisation=organisation, choice=choice, expires_at=expires_at)
    return made.mappings().one_or_none()


def freeze_at(connection: Connection, piece_id: int, organisation: str, seq: int, filters: Mapping[str, Any]) -> None:
    """Fixes membership and order of a counted piece as they stood at its number."""
    _bound(connection, _freeze_at(_filters(filters)), filters, piece_id=piece_id, organisation=organisation, seq=seq)


def first_lines(
    connection: Connection, organisation: str, filters: Mapping[str, Any], start: int, count: int
) -> list[tuple[Any, ...]]:
    """Lines of those under observation now, from ``start`` (from 0)."""
    sql = _first_lines(_filters(filters))
    found = _bound(connection, sql, filters, organisation=organisation, start=start, count=count)
    return [tuple(row) for row in found]


def _filters(values: Mapping[str, Any]) -> list[str]:
    return [name for name in _FILTERS if values.get(name) is not None]


def _bound(connection: Connection, sql: str, values: Mapping[str, Any], **more: Any) -> CursorResult[Any]:
    """Runs a composed statement with just the values that it names."""
    every = {**values, **more}
    return connection.execute(text(sql), {name: every[name] for name in set(re.findall(r"(?<!:):([a-z_]+)", sql))})


def pieces(connection: Connection, organisations: Sequence[str], choice: str, until: datetime) -> dict[str, RowMapping]:
    """Pieces of the choice that are still exactly the list: no change since, and not about to expire."""
    rows = _all(connection, _PIECES, organisations=list(organisations), choice=choice, until=until)
    return {row["organisation"]: row for row in rows}


def extend(connection: Connection, ids: Sequence[int], expires_at: datetime) -> None:
    """Keeps pieces at least as long as the snapshot that now names them."""
    if ids:
        connection.execute(_EXTEND, {"ids": list(ids), "expires_at": expires_at})


def organisations(connection: Connection) -> list[str]:
    """Organisations that keep a list."""
    return list(connection.execute(_ORGANISATIONS).scalars())


def insert_snapshot(connection: Connection, **values: Any) -> None:
    connection.execute(_INSERT_SNAPSHOT, values)


_INSERT_PIECE = text(
    "INSERT INTO list_piece (organisation, choice, seq, edition, as_of, total, frozen, expires_at)"
    " VALUES (:organisation, :choice, :seq, :edition, now(), :total, true, :expires_at) ON CONFLICT DO NOTHING RETURNING id"
)
_INSERT_BLOCK = text(
    "INSERT INTO list_block (piece_id, number, ids, body) VALUES (:piece_id, :number, :ids, :body)"
).bindparams(bindparam("ids", type_=ARRAY(BigInteger)))
_SEAL_BLOCK = text("UPDATE list_block SET body = :body, keys = :keys WHERE piece_id = :piece_id AND number = :number")
_BLOCKS_WITH_KEYS = text("SELECT number, ids, body, keys FROM list_block WHERE piece_id = :piece_id ORDER BY number")


def insert_piece(connection: Connection, **values: Any) -> int | None:
    """A piece made elsewhere than in ``freeze``; None if there is one already."""
    found: int | None = connection.execute(_INSERT_PIECE, values).scalar_one_or_none()
    return found


def insert_block(connection: Connection, **values: Any) -> None:
    connection.execute(_INSERT_BLOCK, values)


def seal_block(connection: Connection, **values: Any) -> None:
    """Rendered lines and filter keys of a block of a month close."""
    connection.execute(_SEAL_BLOCK, values)


def blocks_with_keys(connection: Connection, piece_id: int) -> Rows:
    return _all(connection, _BLOCKS_WITH_KEYS, piece_id=piece_id)


def expire(connection: Connection, now: datetime) -> int:
    """Drops rendered lines of pieces whose time is over; ids of blocks that were sent stay, as the audit points at them."""
    return connection.execute(_EXPIRE, {"now": now}).rowcount


# Month closes ---------------------------------------------------------------------------------------------------------

_CLOSED_PIECE = text(
    """
    SELECT p.id, p.total, p.seq, c.closed_at FROM list_piece p,
        (SELECT max(closed_at) AS closed_at FROM (
            SELECT DISTINCT ON (month) closed_at FROM closed_month
            WHERE organisation = :organisation AND month BETWEEN :first AND :last ORDER BY month, edition DESC) AS m) AS c
    WHERE p.organisation = :organisation AND p.choice = :choice AND p.edition > 0 AND p.as_of >= c.closed_at
    ORDER BY p.id DESC LIMIT 1
    """
)
_LAST_CLOSE = text(
    "SELECT edition, closed_at, reopened_at FROM closed_month WHERE organisation = :organisation AND month = :month"
    " ORDER BY edition DESC LIMIT 1"
)
_CLOSE = text(
    "INSERT INTO closed_month (organisation, month, edition, closed_at, closed_by)"
    " VALUES (:organisation, :month, :edition, now(), :actor)"
)
_REOPEN = text(
    "UPDATE closed_month SET reopened_at = now(), reopened_by = :actor, reopen_reason = :reason"
    " WHERE organisation = :organisation AND month = :month AND edition = :edition"
)


def closed_piece(connection: Connection, organisation: str, choice: str, first: int, last: int) -> RowMapping | None:
    """The newest frozen list of closed months ``first``..``last``, not older than their last close."""
    return _one(connection, _CLOSED_PIECE, organisation=organisation, choice=choice, first=first, last=last)


def last_close(connection: Connection, organisation: str, month: int) -> RowMapping | None:
    return _one(connection, _LAST_CLOSE, organisation=organisation, month=month)


def close(connection: Connection, **values: Any) -> None:
    connection.execute(_CLOSE, values)


def reopen(connection: Connection, **values: Any) -> None:
    connection.execute(_REOPEN, values)


# Blocks, on the driver's connection -----------------------------------------------------------------------------------

_HEAD = "s.id, s.pieces, s.ends, s.token, s.as_of, s.closed_at, s.edition, s.choice"

STANDING = f"""
    SELECT {_HEAD} FROM list_snapshot s
    JOIN list_piece p ON p.id = s.pieces[1] JOIN list_ledger l ON l.organisation = p.organisation AND l.seq = p.seq
    WHERE s.client_id = %s AND s.choice = %s AND s.edition = 'CURRENT' AND s.as_of > now() - interval '1 minute'
      AND p.choice = %s ORDER BY s.as_of DESC LIMIT 1
"""
"""A snapshot of the last minute over one organisation that still is exactly the list."""

STANDING_CLOSED = f"""
    SELECT {_HEAD} FROM list_snapshot s JOIN list_piece p ON p.id = s.pieces[1]
    WHERE s.client_id = %(client_id)s AND s.choice = %(choice)s AND s.edition = 'CLOSED'
      AND s.expires_at > now() + interval '1 hour' AND p.organisation = %(organisation)s
      AND s.closed_at = (
        SELECT CASE WHEN bool_and(m.reopened_at IS NULL) THEN max(m.closed_at) END FROM (
            SELECT DISTINCT ON (month) closed_at, reopened_at FROM closed_month
            WHERE organisation = %(organisation)s AND month BETWEEN %(first)s AND %(last)s
            ORDER BY month, edition DESC) AS m)
    ORDER BY s.expires_at DESC LIMIT 1
"""
"""A snapshot of the closed edition that is in force."""

SNAPSHOT = f"SELECT {_HEAD} FROM list_snapshot s WHERE s.id = %s AND s.client_id = %s AND s.expires_at > now()"

PIECE = "SELECT organisation, seq, frozen, choice FROM list_piece WHERE id = %s"

BLOCKS = "SELECT number, ids, body FROM list_block WHERE piece_id = %s AND number BETWEEN %s AND %s ORDER BY number"

RENDERED = """
    UPDATE list_block b SET body = r.body FROM unnest(%s::int[], %s::bytea[]) AS r(number, body)
    WHERE b.piece_id = %s AND b.number = r.number
"""

LINES_AT = f"""
    SELECT CASE WHEN e.organisation <> %(organisation)s OR e.seq > %(seq)s THEN e.id END, {LINE_SQL.format(e="e")}
    FROM unnest(%(ids)s::bigint[]) WITH ORDINALITY AS w(id, n) JOIN entry e ON e.id = w.id ORDER BY w.n
"""
"""Lines in the order of ids; the first value names an entry that has changed or left since."""

LINES_BEFORE = f"""
    SELECT w.id, {LINE_SQL.format(e="e")}
    FROM unnest(%(ids)s::bigint[]) AS w(id)
    CROSS JOIN LATERAL (
        SELECT v.before FROM entry_event v WHERE v.entry_id = w.id AND v.organisation = %(organisation)s
          AND v.before IS NOT NULL AND (v.seq > %(seq)s OR v.kind = 'MOVED_OUT')
        ORDER BY v.seq > %(seq)s DESC, CASE WHEN v.seq > %(seq)s THEN v.seq ELSE -v.seq END LIMIT 1) AS h
    CROSS JOIN LATERAL jsonb_populate_record(NULL::entry, h.before) AS e
"""
"""Lines as they stood at a number of the ledger: the image kept by the first later change, or by the move out."""
