"""SQL of errands and of uploaded lists.

An upload is worked on in temporary tables of its transaction: `upload_record` holds the records of the file (``code``:
refused for what they say alone), `upload_verdict` what was decided on the others, `upload_entry` and `upload_change`
what that makes of the list.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import BigInteger, Integer, Text

from gateway.lists.queries.entries import ENTRY_COLUMNS, changed_entries
from gateway.lists.queries.shared import Rows, all_rows, one_row
from gateway.store.copying import copy_rows
from gateway.store.engine import driver_of

_CLIENT = text(
    "SELECT id, login, kind, organisations, insurer, rights, requests_per_minute, disabled_at FROM client WHERE id = :client_id"
)


def client_of(connection: Connection, client_id: int) -> RowMapping | None:
    """A client as it stands, disabled or not."""
    return one_row(connection, _CLIENT, client_id=client_id)


# The records of a file ------------------------------------------------------------------------------------------------

RECORD_COLUMNS = (
    "number", "enp", "diagnosis", "key", "external_id", "diagnosed_on", "observed_since", "excluded_on",
    "exclusion_reason", "doctor_snils", "specialty", "planned_months", "code", "field",
)  # fmt: skip
_RECORD_TYPES = (
    "int4", "text", "text", "text", "text", "date", "date", "date", "text", "text", "text", "text[]", "text", "text",
)  # fmt: skip

NEW_COLUMNS = (
    "ordinal", "number", "mark", "effective_from", "effective_to", "true_to",
    *(name for name in ENTRY_COLUMNS if name not in ("organisation", "seq", "source")),
)  # fmt: skip
CHANGE_COLUMNS = (
    "ordinal", "number", "phase", "entry_id", "version", "kind", "effective_on", "patch", "refined", "until", "true_to",
)  # fmt: skip
VERDICT_COLUMNS = ("number", "code", "entry_id", "person_id")

_TABLES = (
    "CREATE TEMPORARY TABLE upload_record ("
    + ", ".join(f"{name} {kind}" for name, kind in zip(RECORD_COLUMNS, _RECORD_TYPES, strict=True))
    + ", PRIMARY KEY (number)) ON COMMIT DROP",
    "CREATE TEMPORARY TABLE upload_verdict (number int4 PRIMARY KEY, code text, entry_id int8, person_id int8) ON COMMIT DROP",
    "CREATE TEMPORARY TABLE upload_entry ON COMMIT DROP AS SELECT 0 AS ordinal, 0 AS number, '' AS mark,"
    " NULL::date AS effective_from, NULL::date AS effective_to, NULL::date AS true_to, "
    + ", ".join(NEW_COLUMNS[6:])
    + " FROM entry WITH NO DATA",
    "CREATE TEMPORARY TABLE upload_change (ordinal int4, number int4, phase int4, entry_id int8, version int4, kind text,"
    " effective_on date, patch jsonb, refined date, until date, true_to date) ON COMMIT DROP",
)

_REPEATED = text(
    """
    UPDATE upload_record r SET code = 'upload.repeated' FROM (
        SELECT number, external_id, row_number() OVER (PARTITION BY external_id ORDER BY number) AS named,
               row_number() OVER (PARTITION BY coalesce(m.successor, enp), key ORDER BY number) AS alike
        FROM upload_record LEFT JOIN (
            SELECT p.enp, h.enp AS successor FROM person p JOIN person h ON h.id = p.successor_id
            WHERE p.successor_id IS NOT NULL) AS m USING (enp)
        WHERE code IS NULL
    ) AS d WHERE d.number = r.number AND (d.alike > 1 OR (d.external_id IS NOT NULL AND d.named > 1))
    """
)

_ANALYZE = "ANALYZE upload_record"

_RECORDS = text(
    f"SELECT {', '.join(RECORD_COLUMNS[:-2])} FROM upload_record WHERE code IS NULL AND number > :after"
    " ORDER BY number LIMIT :count"
)
_RECORDS_OF = text(
    f"SELECT {', '.join(RECORD_COLUMNS[:-2])} FROM upload_record WHERE number = ANY(:numbers) ORDER BY number"
).bindparams(bindparam("numbers", type_=ARRAY(Integer)))

_STANDING = text(
    """
    SELECT e.id, e.version, e.status, coalesce(p.successor_id, e.person_id) AS person_id, e.external_id, e.diagnosis,
           e.diagnosis_key, e.specialty, e.doctor_snils, e.birth_date, e.observed_since, e.diagnosed_on, e.last_visit_on,
           e.planned_months, e.excluded_on, e.exclusion_reason
    FROM entry e LEFT JOIN person p ON p.id = e.person_id
    WHERE e.organisation = :organisation AND e.status <> 'ANNULLED' AND e.id IN (
        SELECT id FROM entry WHERE organisation = :organisation AND external_id = ANY(:names) AND status <> 'ANNULLED'
        UNION ALL SELECT id FROM entry
        WHERE person_id = ANY(:persons || ARRAY(SELECT id FROM person WHERE successor_id = ANY(:persons))))
    ORDER BY e.id
    """
).bindparams(bindparam("names", type_=ARRAY(Text)), bindparam("persons", type_=ARRAY(BigInteger)))


def open_upload(connection: Connection) -> None:
    """The temporary tables of one upload; they go with the transaction."""
    for statement in _TABLES:
        connection.execute(text(statement))


def copy_records(connection: Connection, rows: Iterable[Sequence[Any]]) -> int:
    """Rows in the order of `RECORD_COLUMNS`."""
    return copy_rows(driver_of(connection), "upload_record", RECORD_COLUMNS, rows, _RECORD_TYPES)


def mark_repeated(connection: Connection) -> None:
    """Refuses records with the externalId, or the person and disease, of an earlier record that is right in itself."""
    connection.execute(_REPEATED)
    connection.execute(text(_ANALYZE))


def records_after(connection: Connection, after: int, count: int) -> Rows:
    return all_rows(connection, _RECORDS, after=after, count=count)


def records_of(connection: Connection, numbers: Sequence[int]) -> Rows:
    return all_rows(connection, _RECORDS_OF, numbers=list(numbers))


def standing(connection: Connection, organisation: str, names: Sequence[str], persons: Sequence[int]) -> Rows:
    """The organisation's entries with these externalIds or of these persons, but for annulled ones; ``person_id`` is whom
    the person of the entry goes on as."""
    return all_rows(connection, _STANDING, organisation=organisation, names=names, persons=persons)


# What was decided -----------------------------------------------------------------------------------------------------

_FORGET = tuple(
    text(f"DELETE FROM {table} WHERE number = ANY(:numbers)").bindparams(bindparam("numbers", type_=ARRAY(Integer)))
    for table in ("upload_verdict", "upload_change")
)

_CODES_OF = text("SELECT number, code, entry_id FROM upload_verdict WHERE number = ANY(:numbers)").bindparams(
    bindparam("numbers", type_=ARRAY(Integer))
)

_COUNTS = text(
    "SELECT coalesce(v.code, r.code) AS code, count(*) AS n FROM upload_record r LEFT JOIN upload_verdict v USING (number)"
    " GROUP BY 1 ORDER BY 1"
)

_LINES = text(
    "SELECT r.number, coalesce(v.code, r.code) AS code, r.field, v.entry_id FROM upload_record r"
    " LEFT JOIN upload_verdict v USING (number) WHERE r.number > :after"
    " AND (NOT :refused OR coalesce(v.code, r.code) NOT LIKE 'ok%') ORDER BY r.number LIMIT :count"
)

_PERSONS_CHANGED = text(
    "SELECT person_id FROM upload_entry UNION SELECT v.person_id FROM upload_change c JOIN upload_verdict v USING (number)"
    " LIMIT :most"
)


def copy_decided(connection: Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    copy_rows(driver_of(connection), table, columns, rows)


def forget_decided(connection: Connection, numbers: Sequence[int]) -> None:
    """Takes back what was decided on records that make no new entry."""
    for statement in _FORGET:
        connection.execute(statement, {"numbers": numbers})


def decided(connection: Connection, numbers: Sequence[int]) -> set[tuple[Any, ...]]:
    """(number, code, entry) of verdicts."""
    return {tuple(row) for row in connection.execute(_CODES_OF, {"numbers": numbers})}


def counts(connection: Connection) -> dict[str, int]:
    """Records by code."""
    return {row["code"]: row["n"] for row in all_rows(connection, _COUNTS)}


def protocol_lines(connection: Connection, after: int, count: int, *, refused: bool) -> Rows:
    """Number, code, field and entry of records in order; with ``refused`` only of refused ones."""
    return all_rows(connection, _LINES, after=after, count=count, refused=refused)


def persons_changed(connection: Connection, most: int) -> list[int]:
    """Whose entries are added or changed, ``most`` of them."""
    return list(connection.execute(_PERSONS_CHANGED, {"most": most}).scalars())


# The list -------------------------------------------------------------------------------------------------------------

_SEQ = text("SELECT seq FROM list_ledger WHERE organisation = :organisation")

_GIVEN = {"organisation": ":organisation", "seq": ":base + ordinal", "source": ":source"}

_PUT_ENTRIES = text(
    f"INSERT INTO entry ({', '.join(ENTRY_COLUMNS)}) SELECT {', '.join(_GIVEN.get(name, name) for name in ENTRY_COLUMNS)}"
    " FROM upload_entry ORDER BY person_id, id"
)

_PUT_SEGMENTS = text(
    """
    INSERT INTO observation_segment (entry_id, person_id, diagnosis_key, diagnosis, organisation, since, until, true_from,
                                     true_to, cause_in, cause_out, recorded_to)
    SELECT id, person_id, diagnosis_key, diagnosis, :organisation, effective_from, effective_to, observed_since, true_to,
           'TAKEN', CASE WHEN effective_to IS NOT NULL THEN 'EXCLUDED' END, CASE WHEN effective_to IS NOT NULL THEN now() END
    FROM upload_entry ORDER BY person_id, id
    """
)

# entries that the transaction itself has put, so that nobody waits for these rows
_RENUMBER = text("UPDATE entry SET seq = :base + u.ordinal FROM upload_entry u WHERE entry.id = u.id")

_PUT_EVENTS = text(
    """
    INSERT INTO entry_event (entry_id, version, organisation, seq, effective_on, kind, cause, source, actor, trace, details)
    SELECT id, 1, :organisation, :base + ordinal, effective_from, 'TAKEN', :cause, :source, :actor, :trace, :details
    FROM upload_entry ORDER BY ordinal
    """
).bindparams(bindparam("details", type_=JSONB))

_MOVED_PERSONS = text(
    "SELECT EXISTS (SELECT FROM upload_entry u LEFT JOIN person p ON p.id = u.person_id AND p.xmin::text = u.mark"
    " WHERE p.id IS NULL)"
)

_STALE = text(
    "SELECT DISTINCT c.number FROM upload_change c JOIN entry e ON e.id = c.entry_id WHERE e.version <> c.version"
)

_REFINED_ENDS = text(
    "UPDATE observation_segment s SET until = greatest(s.since, c.refined), true_to = c.refined, cause_out = 'DIAGNOSIS',"
    " recorded_to = now() FROM upload_change c WHERE c.refined IS NOT NULL AND s.entry_id = c.entry_id AND s.until IS NULL"
)
_REFINED_BEGINS = text(
    "INSERT INTO observation_segment"
    " (entry_id, person_id, diagnosis_key, diagnosis, organisation, since, true_from, cause_in)"
    " SELECT e.id, e.person_id, e.diagnosis_key, c.patch->>'diagnosis', e.organisation, c.refined, c.refined, 'DIAGNOSIS'"
    " FROM upload_change c JOIN entry e ON e.id = c.entry_id WHERE c.refined IS NOT NULL"
)
_ENDS = text(
    "UPDATE observation_segment s SET until = greatest(s.since, c.until), true_to = c.true_to, cause_out = 'EXCLUDED',"
    " recorded_to = now() FROM upload_change c WHERE c.until IS NOT NULL AND s.entry_id = c.entry_id AND s.until IS NULL"
)

_CHANGE = changed_entries(
    "SELECT entry_id, :base + row_number() OVER (ORDER BY ordinal) AS seq, kind, CAST(:cause AS text) AS cause, effective_on,"
    " patch, CAST(:details AS jsonb) AS details FROM upload_change WHERE phase = :phase"
).bindparams(bindparam("details", type_=JSONB))

_CHANGES_OF = text("SELECT phase, count(*) AS n FROM upload_change GROUP BY phase")


def ledger_seq(connection: Connection, organisation: str) -> int:
    """The newest number of a list, without waiting for a change that is under way."""
    found: int | None = connection.execute(_SEQ, {"organisation": organisation}).scalar_one_or_none()
    return found or 0


def put_uploaded(connection: Connection, *, organisation: str, base: int, source: str) -> None:
    """New entries and their segments, in the order of persons so that two uploads never wait for each other crosswise."""
    connection.execute(text("ANALYZE upload_entry"))
    connection.execute(_PUT_ENTRIES, {"organisation": organisation, "base": base, "source": source})
    connection.execute(_PUT_SEGMENTS, {"organisation": organisation})


def renumber_uploaded(connection: Connection, base: int) -> None:
    connection.execute(_RENUMBER, {"base": base})


def put_events(connection: Connection, values: Mapping[str, Any]) -> None:
    connection.execute(_PUT_EVENTS, values)


def persons_moved(connection: Connection) -> bool:
    """Whether a person of a new entry is not the one that was read."""
    found: bool = connection.execute(_MOVED_PERSONS).scalar_one()
    return found


def stale(connection: Connection) -> list[int]:
    """Records whose entries have changed since they were decided on."""
    connection.execute(text("ANALYZE upload_change"))
    return list(connection.execute(_STALE).scalars())


def changes_by_phase(connection: Connection) -> dict[int, int]:
    return {row["phase"]: row["n"] for row in all_rows(connection, _CHANGES_OF)}


def change_uploaded(connection: Connection, phase: int, values: Mapping[str, Any]) -> None:
    """Segments, events and new values of the changes of a phase: 1 corrections, 2 ends."""
    if phase == 1:
        connection.execute(_REFINED_ENDS)
        connection.execute(_REFINED_BEGINS)
    else:
        connection.execute(_ENDS)
    connection.execute(_CHANGE, {**values, "phase": phase})


# Former uploads, lines put aside --------------------------------------------------------------------------------------

_LAST_UPLOAD = text(
    "SELECT id, parameters->>'sha256' AS sha256, (progress->>'refused')::int AS refused FROM operation"
    " WHERE organisation = :organisation AND kind = :kind AND state = 'DONE' ORDER BY ended_at DESC, id LIMIT 1"
)

_REFUSED = text("SELECT coalesce((progress->>'refused')::int, 0) FROM operation WHERE id = :operation")

_SUPERSEDE = tuple(
    text(
        "UPDATE list_aside a SET settled_at = now(), settled_by = :operation FROM upload_record r"
        f" WHERE a.organisation = :organisation AND a.settled_at IS NULL AND r.code IS NULL AND {alike}"
    )
    for alike in ("a.record->>'external_id' = r.external_id", "a.enp = r.enp AND a.record->>'key' = r.key")
)

_PUT_ASIDE = text(
    """
    INSERT INTO list_aside (organisation, operation_id, number, enp, record)
    SELECT :organisation, :operation, r.number, r.enp, jsonb_strip_nulls(to_jsonb(r)) - 'number'
    FROM upload_record r JOIN upload_verdict v USING (number) WHERE v.code = :code ORDER BY r.number
    """
)

_WAITING = text(
    "SELECT a.organisation, a.operation_id, count(*) AS n FROM list_aside a JOIN person p ON p.enp = a.enp"
    " WHERE a.settled_at IS NULL GROUP BY 1, 2 ORDER BY min(a.id)"
)

_ANY_WAITING = text("SELECT EXISTS (SELECT FROM list_aside WHERE settled_at IS NULL)")

_TAKE_UP = text(
    """
    INSERT INTO upload_record
    SELECT r.* FROM (
        SELECT a.number, a.record FROM list_aside a JOIN person p ON p.enp = a.enp
        WHERE a.operation_id = :operation AND a.settled_at IS NULL FOR UPDATE OF a SKIP LOCKED
    ) AS a, LATERAL jsonb_populate_record(NULL::upload_record, a.record || jsonb_build_object('number', a.number)) AS r
    """
)

_SETTLE = text(
    "UPDATE list_aside a SET settled_at = now(), code = coalesce(v.code, r.code)"
    " FROM upload_record r LEFT JOIN upload_verdict v USING (number)"
    " WHERE a.operation_id = :operation AND a.number = r.number AND a.settled_at IS NULL"
)

_FORGET_SETTLED = text(
    "DELETE FROM list_aside WHERE id IN (SELECT id FROM list_aside WHERE settled_at < :before LIMIT :portion)"
)

_UPLOADER = text("SELECT client_id, login, trace, parameters FROM operation WHERE id = :operation")


def refused(connection: Connection, operation: UUID) -> int:
    """How many records an upload that is done has refused."""
    found: int = connection.execute(_REFUSED, {"operation": operation}).scalar_one()
    return found


def last_upload(connection: Connection, organisation: str, kind: str) -> RowMapping | None:
    """The newest upload of an organisation that was done: checksum of its file, how many records it refused."""
    return one_row(connection, _LAST_UPLOAD, organisation=organisation, kind=kind)


def supersede(connection: Connection, organisation: str, operation: UUID) -> None:
    """Lines put aside earlier that the file brings again wait no longer."""
    for statement in _SUPERSEDE:
        connection.execute(statement, {"organisation": organisation, "operation": operation})


def put_aside(connection: Connection, organisation: str, operation: UUID, code: str) -> None:
    connection.execute(_PUT_ASIDE, {"organisation": organisation, "operation": operation, "code": code})


def waiting(connection: Connection) -> Rows:
    """Uploads with lines put aside whose persons are known now: organisation, operation, how many."""
    return all_rows(connection, _WAITING)


def any_waiting(connection: Connection) -> bool:
    found: bool = connection.execute(_ANY_WAITING).scalar_one()
    return found


def take_up(connection: Connection, operation: UUID) -> int:
    """Makes those lines of an upload the records of this transaction; lines that another one works on are left to it."""
    return connection.execute(_TAKE_UP, {"operation": operation}).rowcount


def settle(connection: Connection, operation: UUID) -> None:
    """Notes on the lines what became of them."""
    connection.execute(_SETTLE, {"operation": operation})


def forget_settled(connection: Connection, before: datetime, portion: int) -> int:
    return connection.execute(_FORGET_SETTLED, {"before": before, "portion": portion}).rowcount


def uploader(connection: Connection, operation: UUID) -> RowMapping | None:
    """Whose upload it was, while the operation is kept."""
    return one_row(connection, _UPLOADER, operation=operation)
