"""SQL of entries: the ledger, the facts for decisions, the changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, TextClause, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import BigInteger, Text

from gateway.lists.queries.shared import Rows, all_rows, one_row
from gateway.store import eras

# The ledger -----------------------------------------------------------------------------------------------------------

_LOCK = text(f"SELECT seq, {eras.SETTLED} AS settled FROM list_ledger WHERE organisation = :organisation FOR UPDATE")
_OPEN = text("INSERT INTO list_ledger (organisation) VALUES (:organisation) ON CONFLICT DO NOTHING")
_ADVANCE = text("UPDATE list_ledger SET seq = seq + :count WHERE organisation = :organisation RETURNING seq")


def lock_ledger(connection: Connection, organisation: str) -> RowMapping | None:
    """Serialises changes of one organisation's list: seq, and whether the era is settled; None without a ledger."""
    return one_row(connection, _LOCK, organisation=organisation)


def open_ledger(connection: Connection, organisation: str) -> None:
    connection.execute(_OPEN, {"organisation": organisation})


def advance(connection: Connection, organisation: str, count: int) -> int:
    """Takes ``count`` numbers; returns the last of them."""
    last: int = connection.execute(_ADVANCE, {"organisation": organisation, "count": count}).scalar_one()
    return last


# Facts for decisions --------------------------------------------------------------------------------------------------

_ORGANISATION = text("SELECT code FROM organisation WHERE code = :organisation")

_PERSON = (
    "SELECT id, enp, snils, last_name, first_name, middle_name, name_key, birth_date, sex, death_date, insurer,"
    " insured_in_region, attached_organisation, successor_id, xmin::text AS mark FROM person"
)
_PERSONS = text(f"{_PERSON} WHERE enp = ANY(:enps)").bindparams(bindparam("enps", type_=ARRAY(Text)))
_PERSONS_OF = text(f"{_PERSON} WHERE id = ANY(:ids)").bindparams(bindparam("ids", type_=ARRAY(BigInteger)))

_SEGMENTS_OF_PERSONS = text(
    """
    SELECT coalesce(m.successor_id, s.person_id) AS person_id, s.diagnosis_key, s.organisation, s.entry_id, s.since, s.until
    FROM observation_segment s
    LEFT JOIN (SELECT id, successor_id FROM person WHERE successor_id = ANY(:persons)) AS m ON m.id = s.person_id
    WHERE s.person_id = ANY(:persons || ARRAY(SELECT id FROM person WHERE successor_id = ANY(:persons)))
      AND (s.until IS NULL OR s.until > s.since)
    """
).bindparams(bindparam("persons", type_=ARRAY(BigInteger)))

_CLOSED = text(
    "SELECT DISTINCT ON (month) month, reopened_at FROM closed_month WHERE organisation = :organisation"
    " ORDER BY month, edition DESC"
)

_KEPT_BY = text("SELECT EXISTS (SELECT FROM observation_segment WHERE organisation = :organisation AND since <= :day)")

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
    return one_row(connection, _ORGANISATION, organisation=organisation) is not None


def persons(connection: Connection, enps: Iterable[str]) -> dict[str, RowMapping]:
    """Insured persons by ЕНП, under a merged number the person that it goes on as; ``mark`` is another one after every
    change of the person."""
    found = {row["enp"]: row for row in all_rows(connection, _PERSONS, enps=list(enps))}
    merged = {enp: row["successor_id"] for enp, row in found.items() if row["successor_id"] is not None}
    if merged:
        heirs = {row["id"]: row for row in all_rows(connection, _PERSONS_OF, ids=list(set(merged.values())))}
        found |= {enp: heirs[successor] for enp, successor in merged.items()}
    return found


def segments_of_persons(connection: Connection, person_ids: Iterable[int]) -> Rows:
    """Every stretch of observation of these persons, whoever observes; theirs are those of numbers that go on as them."""
    return all_rows(connection, _SEGMENTS_OF_PERSONS, persons=list(person_ids))


def closed_months(connection: Connection, organisation: str) -> frozenset[int]:
    """Months of the organisation that are closed now."""
    rows = all_rows(connection, _CLOSED, organisation=organisation)
    return frozenset(row["month"] for row in rows if row["reopened_at"] is None)


def kept_by(connection: Connection, organisation: str, day: date) -> bool:
    """Whether the organisation kept a list on a day or before."""
    return bool(connection.execute(_KEPT_BY, {"organisation": organisation, "day": day}).scalar_one())


def external_ids(connection: Connection, organisation: str, ids: Iterable[str]) -> set[str]:
    """Which of the externalIds are taken."""
    return {row["external_id"] for row in all_rows(connection, _EXTERNAL_IDS, organisation=organisation, ids=list(ids))}


def entries(connection: Connection, ids: Iterable[int]) -> dict[int, RowMapping]:
    """Entries with what decisions need, whoever they belong to."""
    return {row["id"]: row for row in all_rows(connection, _ENTRIES, ids=list(ids))}


def doctors(connection: Connection, organisation: str, snils: Iterable[str]) -> Rows:
    """Lines of the organisation's directory of doctors."""
    return all_rows(connection, _DOCTORS, organisation=organisation, snils=list(snils))


def visit_days(connection: Connection, ids: Iterable[int]) -> set[tuple[int, date, bool]]:
    """(entry, day, attempt) of visits in force."""
    return {
        (row["entry_id"], row["conducted_on"], row["attempt"])
        for row in all_rows(connection, _VISITS_ON, ids=list(ids))
    }


def visit(connection: Connection, visit_id: int) -> RowMapping | None:
    return one_row(connection, _VISIT, id=visit_id)


def last_visit(connection: Connection, entry_id: int, without: int = 0) -> RowMapping | None:
    """The latest visit in force that was not an attempt."""
    return one_row(connection, _LAST_VISIT, entry_id=entry_id, without=without)


def ending_visit(connection: Connection, entry_id: int) -> int | None:
    """The visit that ended the observation last, if it was a visit."""
    found: int | None = connection.execute(_ENDING_VISIT, {"entry_id": entry_id}).scalar()
    return found


def segments(connection: Connection, entry_id: int) -> Rows:
    """The chain of segments of an entry."""
    return all_rows(connection, _SEGMENTS, entry_id=entry_id)


# Changes --------------------------------------------------------------------------------------------------------------

_NEXT_IDS = {
    "entry": text("SELECT nextval(pg_get_serial_sequence('entry', 'id')) FROM generate_series(1, :count)"),
    "visit": text("SELECT nextval(pg_get_serial_sequence('visit', 'id')) FROM generate_series(1, :count)"),
}

ENTRY_COLUMNS = (
    "id", "person_id", "organisation", "external_id", "seq", "enp", "snils", "last_name", "first_name", "middle_name",
    "name_key", "birth_date", "sex", "death_date", "insurer", "attached_organisation", "diagnosis", "diagnosis_key",
    "diagnosis_group", "outside", "diagnosed_on", "by_attachment", "doctor_snils", "specialty", "observed_since", "source",
    "planned_months", "next_visit_by", "status",
)  # fmt: skip
"""What a new entry is given; the rest of its columns have their defaults."""

_LISTED = ", ".join(ENTRY_COLUMNS)

_INSERT_ENTRIES = text(
    f"""
    WITH rows AS MATERIALIZED (
        SELECT r.*, (x.value->>'effective_from')::date AS effective_from,
               coalesce(x.value->>'cause', r.source) AS cause, x.value->'details' AS details
        FROM jsonb_array_elements(:rows) AS x(value),
             LATERAL jsonb_populate_record(NULL::entry, x.value) AS r
    ), put AS (
        INSERT INTO entry ({_LISTED}) SELECT {_LISTED} FROM rows
    ), chain AS (
        INSERT INTO observation_segment
            (entry_id, person_id, diagnosis_key, diagnosis, organisation, since, true_from, cause_in)
        SELECT id, person_id, diagnosis_key, diagnosis, organisation, effective_from, observed_since, 'TAKEN' FROM rows
    )
    INSERT INTO entry_event (entry_id, version, organisation, seq, effective_on, kind, cause, source, actor, trace, details)
    SELECT id, 1, organisation, seq, effective_from, 'TAKEN', cause, source, :actor, :trace, details FROM rows
    """
).bindparams(bindparam("rows", type_=JSONB))

_PATCHED = (
    "person_id", "enp", "external_id", "insurer", "death_date", "snils", "last_name", "first_name", "middle_name", "name_key", "attached_organisation",
    "diagnosis", "diagnosis_key", "diagnosis_group", "outside", "diagnosed_on", "by_attachment", "doctor_snils",
    "specialty", "observed_since", "planned_months", "last_visit_on", "last_visit_result", "next_visit_by", "status",
    "excluded_on", "exclusion_reason",
)  # fmt: skip


def changed_entries(changes: str) -> TextClause:
    """The statement that changes entries: events with the lines as they stood, then the new values.

    ``changes`` is a query of entry_id, seq, kind, cause, effective_on, patch, details.
    """
    return text(
        f"""
        WITH changes AS MATERIALIZED ({changes}), event AS (
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
    )


_CHANGE_ENTRIES = changed_entries(
    "SELECT * FROM jsonb_to_recordset(:changes) AS c("
    "entry_id bigint, seq bigint, kind text, cause text, effective_on date, patch jsonb, details jsonb)"
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
    " WHERE entry_id = :entry_id AND organisation = :organisation AND (id = :visit_id OR :visit_id IS NULL)"
    " AND annulled_at IS NULL"
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


def annul_visits(
    connection: Connection, entry_id: int, organisation: str, reason: str, visit_id: int | None = None
) -> None:
    """One visit, or all of an entry, taken back with its trace."""
    values = {"entry_id": entry_id, "organisation": organisation, "reason": reason, "visit_id": visit_id}
    connection.execute(_ANNUL_VISITS, values)


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
_KNOWN_OF_PERSON = ", ".join(f"p.{name}" for name in _COPIES)

_CHANGED_PERSONS = text("SELECT EXISTS (SELECT FROM changed_person)")
_LOCK_EVERY_LEDGER = text("LOCK TABLE list_ledger IN EXCLUSIVE MODE")

# few of those who changed have entries: they are found before persons are read
_CONCERNED = """
CREATE TEMP TABLE concerned ON COMMIT DROP AS
SELECT e.id, e.person_id FROM (SELECT DISTINCT person_id FROM changed_person) AS c JOIN entry e USING (person_id)
WHERE e.status <> 'ANNULLED'
"""


def _renewed(moving: bool) -> str:
    """Entries that differ from their persons, found once, with the lines as they stand: entries are read whole a single
    time. An entry that is about to move gets its new clinic by the move."""
    copied = ", ".join(
        "coalesce(m.organisation, e.attached_organisation)"
        if moving and name == "attached_organisation"
        else f"e.{name}"
        for name in _COPIES
    )
    return f"""
        CREATE TEMP TABLE renewed ON COMMIT DROP AS
        SELECT e.id, e.version, e.organisation, p.id AS person_id, to_jsonb(e) AS before,
               row_number() OVER (PARTITION BY e.organisation ORDER BY e.id) AS n
        FROM concerned c JOIN entry e ON e.id = c.id JOIN person p ON p.id = c.person_id
        {"LEFT JOIN planned m ON m.entry_id = e.id AND m.action = 'MOVE'" if moving else ""}
        WHERE ({copied}) IS DISTINCT FROM ({_KNOWN_OF_PERSON})
    """


_RENEWED_LISTS = """
CREATE TEMP TABLE renewed_list ON COMMIT DROP AS
SELECT l.organisation, l.seq AS base, k.count
FROM list_ledger l JOIN (SELECT organisation, count(*) AS count FROM renewed GROUP BY organisation) AS k USING (organisation)
"""

_RENEWED_LEDGERS = """
UPDATE list_ledger l SET seq = r.base + r.count FROM renewed_list r WHERE r.organisation = l.organisation
"""

_RENEWED_EVENTS = """
INSERT INTO entry_event (entry_id, version, organisation, seq, effective_on, kind, cause, source, before)
SELECT r.id, r.version + 1, r.organisation, l.base + r.n, :today, 'PERSON_CHANGED', 'PERSON', 'ERZL', r.before
FROM renewed r JOIN renewed_list l USING (organisation)
"""

_RENEWED_ENTRIES = f"""
UPDATE entry e SET version = e.version + 1, seq = l.base + r.n, changed_at = now(),
    {", ".join(f"{name} = p.{name}" for name in _COPIES)}
FROM renewed r JOIN renewed_list l USING (organisation) JOIN person p ON p.id = r.person_id WHERE e.id = r.id
"""


def has_changed_persons(connection: Connection) -> bool:
    found: bool = connection.execute(_CHANGED_PERSONS).scalar_one()
    return found


def lock_every_ledger(connection: Connection) -> None:
    """Waits for the changes of all lists that run and holds up the next ones, of lists without a ledger too."""
    connection.execute(_LOCK_EVERY_LEDGER)


def renew_persons(connection: Connection, today: date, *, moving: bool = False) -> int:
    """Copies, versions, numbers and events of all entries concerned. Every ledger is locked already.

    With ``moving`` the temporary table ``planned`` says which of them are about to move.
    """
    found = (_CONCERNED, "ANALYZE concerned", _renewed(moving), "ANALYZE renewed")
    for statement in (*found, _RENEWED_LISTS, _RENEWED_LEDGERS):
        connection.execute(text(statement))
    connection.execute(text(_RENEWED_EVENTS), {"today": today})
    return connection.execute(text(_RENEWED_ENTRIES)).rowcount
