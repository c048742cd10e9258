"""SQL of marks from registers.

A packet is worked on in temporary tables of its transaction: `mark_patient` holds the personal file, `mark_case` the cases
that speak of dispensary observation or of care that indicators count (``code``: refused for what they say alone),
`mark_line` their marks with what becomes of each, `care_line` their care.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, CursorResult, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import Integer, Text

from gateway.store.copying import copy_rows
from gateway.store.engine import driver_of

Rows = list[dict[str, Any]]

# the temporary tables -------------------------------------------------------------------------------------------------

PATIENT = ("id", "name_key", "birth_date")
CASE = (
    "number", "record", "case_id", "first_id", "corrected", "refused", "patient", "enp", "organisation", "code", "field",
)  # fmt: skip
LINE = ("number", "case_number", "episode", "carrier", "code", "diagnosis", "marked_on")
CARE = ("case_number", "episode", "kind", "service", "diagnosis", "cared_on")

_TYPES = {
    "mark_patient": ("text", "text", "date"),
    "mark_case": ("int4", "text", "text", "text", "bool", "bool", "text", "text", "text", "text", "text"),
    "mark_line": ("int4", "int4", "text", "text", "int2", "text", "date"),
    "care_line": ("int4", "text", "text", "text", "text", "date"),
}

_TABLES = (
    'CREATE TEMP TABLE mark_patient (id text, name_key text COLLATE "C", birth_date date) ON COMMIT DROP',
    "CREATE TEMP TABLE mark_case (number int4 PRIMARY KEY, record text, case_id text, first_id text, corrected boolean,"
    " refused boolean, patient text, enp text, organisation text, code text, field text, person_id bigint,"
    " former_file bigint, former_case text) ON COMMIT DROP",
    "CREATE TEMP TABLE mark_line (number int4 PRIMARY KEY, case_number int4, episode text, carrier text, code smallint,"
    " diagnosis text, marked_on date, kept_id bigint, step text, outcome text, entry_id bigint) ON COMMIT DROP",
    "CREATE TEMP TABLE care_line (case_number int4, episode text, kind text, service text, diagnosis text, cared_on date)"
    " ON COMMIT DROP",
    "CREATE TEMP TABLE mark_result (number int4 PRIMARY KEY, step text, outcome text, entry_id bigint) ON COMMIT DROP",
)
_ANALYZE = ("ANALYZE mark_patient", "ANALYZE mark_case", "ANALYZE mark_line")
_ORDERED = (
    "CREATE INDEX ON mark_case (organisation, person_id)", "CREATE INDEX ON mark_line (case_number)", "ANALYZE mark_case",
)  # fmt: skip

# registers of one clinic are taken one after another, so that a case is known or is not
_TURN = text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 7305007))")


def _rows(result: CursorResult[Any]) -> Rows:
    return [dict(row) for row in result.mappings()]


def open_tables(connection: Connection) -> None:
    """The temporary tables of one packet; they go with the transaction."""
    for statement in _TABLES:
        connection.execute(text(statement))


def copy(connection: Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
    """Rows in the order of the columns of one of the temporary tables."""
    return copy_rows(driver_of(connection), table, columns, rows, _TYPES[table])


def analyze(connection: Connection) -> None:
    for statement in _ANALYZE:
        connection.execute(text(statement))


def take_turn(connection: Connection, organisation: str) -> None:
    connection.execute(_TURN, {"key": f"marks {organisation}"})


# who a case is of -----------------------------------------------------------------------------------------------------

_REPEATED_PATIENT = text("SELECT EXISTS (SELECT FROM mark_patient GROUP BY id HAVING count(*) > 1)")

_REFUSALS = (
    # a second case of one number, a clinic that nobody knows
    """
    UPDATE mark_case c SET code = 'mark.repeated', field = 'IDCASE' FROM (
        SELECT number, row_number() OVER (PARTITION BY case_id ORDER BY number) AS n FROM mark_case WHERE case_id <> ''
    ) AS d WHERE d.number = c.number AND d.n > 1 AND c.code IS NULL
    """,
    """
    UPDATE mark_case c SET code = 'mark.organisation', field = 'LPU'
    WHERE c.code IS NULL AND NOT EXISTS (SELECT FROM organisation o WHERE o.code = c.organisation)
    """,
    # the number tells the person, and a merged one whom it goes on as; another name together with another birthday tells
    # that the number is not his
    """
    UPDATE mark_case c SET person_id = coalesce(p.successor_id, p.id) FROM person p WHERE p.enp = c.enp AND c.code IS NULL
    """,
    """
    UPDATE mark_case c SET code = 'mark.person-differs', field = 'NPOLIS', person_id = NULL
    FROM mark_patient t, person p LEFT JOIN person h ON h.id = p.successor_id
    WHERE p.enp = c.enp AND c.person_id IS NOT NULL AND t.id = c.patient
      AND t.name_key <> p.name_key AND t.birth_date <> p.birth_date
      AND (h.id IS NULL OR t.name_key <> h.name_key AND t.birth_date <> h.birth_date)
    """,
    # without a number: name and birthday, if they are those of one person alone
    """
    UPDATE mark_case c SET person_id = f.id, enp = f.enp FROM (
        SELECT t.id AS patient, min(coalesce(p.successor_id, p.id)) AS id, min(p.enp) AS enp
        FROM mark_patient t JOIN person p ON p.name_key = t.name_key AND p.birth_date = t.birth_date
        WHERE t.id IN (SELECT patient FROM mark_case WHERE enp IS NULL AND code IS NULL)
        GROUP BY t.id HAVING count(DISTINCT coalesce(p.successor_id, p.id)) = 1
    ) AS f WHERE f.patient = c.patient AND c.enp IS NULL AND c.code IS NULL
    """,
    """
    UPDATE mark_case c SET code = 'mark.person', field = 'ID_PAC' WHERE c.enp IS NULL AND c.code IS NULL
    """,
)

# a case is named by its account and its number; a corrected one by the account and number it says it corrects, or by its
# number and person in the newest file of the clinic
_LIVE = """
    SELECT file_id, case_id, person_id FROM mark WHERE file_id = m.id AND taken_back_at IS NULL {also}
    UNION SELECT file_id, case_id, person_id FROM care_event WHERE file_id = m.id AND taken_back_at IS NULL {also}
"""
_FORMER = text(
    f"""
    UPDATE mark_case c SET former_file = f.file_id, former_case = c.case_id FROM (
        SELECT l.case_id, max(l.file_id) AS file_id FROM mark_file m, LATERAL ({_LIVE.format(also="")}) AS l
        WHERE m.organisation = :organisation AND m.year = :year AND m.account = :account AND m.kind = :kind
        GROUP BY l.case_id
    ) AS f WHERE f.case_id = c.case_id AND (c.code IS NULL OR c.refused)
    """
)
_FORMER_CORRECTED = text(
    f"""
    UPDATE mark_case c SET former_file = f.file_id, former_case = f.case_id FROM (
        SELECT DISTINCT ON (c.number) c.number, l.file_id, l.case_id
        FROM mark_case c JOIN mark_file m ON m.organisation = :organisation AND m.kind = :kind,
             LATERAL ({_LIVE.format(also="AND case_id = coalesce(c.first_id, c.case_id)")}) AS l
        WHERE c.corrected AND c.former_file IS NULL AND (c.code IS NULL OR c.refused)
          AND (l.person_id = c.person_id OR (m.year = :first_year AND m.account = :first_account))
        ORDER BY c.number, (m.year = :first_year AND m.account = :first_account) IS NOT TRUE, l.file_id DESC
    ) AS f WHERE f.number = c.number
    """
).bindparams(bindparam("first_year", type_=Integer), bindparam("first_account", type_=Text))

_SAME = text(
    "UPDATE mark_case SET code = 'ok.same' WHERE former_file IS NOT NULL AND NOT corrected AND NOT refused AND code IS NULL"
)


def is_patient_repeated(connection: Connection) -> bool:
    found: bool = connection.execute(_REPEATED_PATIENT).scalar_one()
    return found


def find_persons(connection: Connection) -> None:
    """Who the cases are of, and which are refused for that. A number that nobody has leaves the person open."""
    for statement in (*_REFUSALS, *_ORDERED):
        connection.execute(text(statement))


def find_former(connection: Connection, **account: Any) -> None:
    """Which cases are known already: those are the same again, corrected or refused ones stand for them."""
    connection.execute(_FORMER, account)
    connection.execute(_FORMER_CORRECTED, account)
    connection.execute(_SAME)


# corrected and refused cases ------------------------------------------------------------------------------------------

_KEPT = text(
    """
    UPDATE mark_line l SET kept_id = m.id, step = 'NOTHING', outcome = 'ok.same', entry_id = m.entry_id
    FROM mark_case c, mark m
    WHERE c.number = l.case_number AND c.code IS NULL AND m.file_id = c.former_file AND m.case_id = c.former_case
      AND m.taken_back_at IS NULL AND m.step <> 'REFUSE' AND m.carrier = l.carrier AND m.code = l.code
      AND m.diagnosis = l.diagnosis AND m.marked_on = l.marked_on AND m.person_id = c.person_id
      AND m.organisation = c.organisation
    """
)

_BACK = """
    UPDATE mark m SET taken_back_at = now(), taken_back_by = :by, taken_back_reason = :reason
    FROM mark_file f {tables}
    WHERE f.id = m.file_id AND m.taken_back_at IS NULL AND {which}
    RETURNING f.name AS file, m.case_id, m.episode, m.carrier, m.code, m.diagnosis, m.marked_on, m.step, m.entry_id
"""
_CARE_BACK = """
    UPDATE care_event m SET taken_back_at = now() FROM mark_file f {tables}
    WHERE f.id = m.file_id AND m.taken_back_at IS NULL AND {which}
"""
_REPLACED = {
    "tables": ", mark_case c",
    "which": "m.file_id = c.former_file AND m.case_id = c.former_case AND (c.refused OR (c.corrected AND c.code IS NULL))",
}
_NAMED = {
    "tables": "",
    "which": "f.name = :file AND f.state IN ('TAKEN', 'BACK') AND (CAST(:case_id AS text) IS NULL OR m.case_id = :case_id)",
}
_UNKEPT = " AND NOT EXISTS (SELECT FROM mark_line l WHERE l.kept_id = m.id)"

_ADOPT = text(
    """
    UPDATE mark m SET file_id = :file, case_id = c.case_id, episode = l.episode
    FROM mark_line l JOIN mark_case c ON c.number = l.case_number WHERE m.id = l.kept_id
    """
)


def replace(connection: Connection, *, by: str) -> Rows:
    """Takes back the marks and the care of cases that the packet corrects or that the payer refused, but for marks that
    the corrected case repeats. The marks that are gone."""
    connection.execute(_KEPT)
    values = {"by": by, "reason": "REPLACED"}
    which = {**_REPLACED, "which": _REPLACED["which"] + _UNKEPT}
    rows = _rows(connection.execute(text(_BACK.format(**which)), values))
    connection.execute(text(_CARE_BACK.format(**_REPLACED)))
    return rows


def take_back(connection: Connection, *, file: str, case_id: str | None, by: str, reason: str) -> Rows:
    """Takes back a case, or all cases of a file, that was taken from a register. The marks that are gone.

    A file taken back as a whole may come again.
    """
    values = {"file": file, "case_id": case_id, "by": by, "reason": reason}
    found = _rows(connection.execute(text(_BACK.format(**_NAMED)), values))
    connection.execute(text(_CARE_BACK.format(**_NAMED)), {"file": file, "case_id": case_id})
    if case_id is None:
        connection.execute(
            text("UPDATE mark_file SET state = 'BACK' WHERE name = :file AND state = 'TAKEN'"), {"file": file}
        )
    return found


_IS_KNOWN = text(
    "SELECT EXISTS (SELECT FROM mark_file f WHERE f.name = :file AND f.state IN ('TAKEN', 'BACK') AND (CAST(:case_id AS text) IS NULL"
    " OR EXISTS (SELECT FROM mark m WHERE m.file_id = f.id AND m.case_id = :case_id)"
    " OR EXISTS (SELECT FROM care_event m WHERE m.file_id = f.id AND m.case_id = :case_id)))"
)


def is_known(connection: Connection, *, file: str, case_id: str | None) -> bool:
    """Whether a case of that number, or anything, was taken from a file of that name."""
    found: bool = connection.execute(_IS_KNOWN, {"file": file, "case_id": case_id}).scalar_one()
    return found


# marks into lists -----------------------------------------------------------------------------------------------------

_OPEN_LINE = "l.step IS NULL AND c.code IS NULL AND c.person_id IS NOT NULL"

_CLINICS = text(
    "SELECT DISTINCT c.organisation FROM mark_line l JOIN mark_case c ON c.number = l.case_number"
    f" WHERE {_OPEN_LINE} ORDER BY 1"
)
_COUNT = text(f"SELECT count(*) FROM mark_line l JOIN mark_case c ON c.number = l.case_number WHERE {_OPEN_LINE}")
_PORTION = text(
    f"""
    WITH people AS MATERIALIZED (
        SELECT DISTINCT c.person_id FROM mark_line l JOIN mark_case c ON c.number = l.case_number
        WHERE {_OPEN_LINE} AND c.organisation = :organisation AND c.person_id > :after ORDER BY 1 LIMIT :count
    )
    SELECT l.number, c.person_id, p.enp, l.code, l.diagnosis, l.marked_on, c.case_id, l.episode
    FROM mark_line l JOIN mark_case c ON c.number = l.case_number JOIN people w ON w.person_id = c.person_id
    JOIN person p ON p.id = c.person_id
    WHERE {_OPEN_LINE} AND c.organisation = :organisation ORDER BY c.person_id, l.number
    """
)
_ASIDE = text(
    "UPDATE mark_line l SET step = 'ASIDE', outcome = 'ok.aside' FROM mark_case c"
    " WHERE c.number = l.case_number AND c.code IS NULL AND c.person_id IS NULL AND l.step IS NULL"
)
_RESULTS = text(
    "UPDATE mark_line l SET step = r.step, outcome = r.outcome, entry_id = r.entry_id FROM mark_result r"
    " WHERE r.number = l.number"
)


def clinics(connection: Connection) -> list[str]:
    """Whose marks are still to be taken."""
    return list(connection.execute(_CLINICS).scalars())


def waiting(connection: Connection) -> int:
    """How many marks are still to be taken."""
    found: int = connection.execute(_COUNT).scalar_one()
    return found


def portion(connection: Connection, organisation: str, after: int, count: int) -> Rows:
    """All marks of the next people, ordered by person."""
    values = {"organisation": organisation, "after": after, "count": count}
    return _rows(connection.execute(_PORTION, values))


def put_aside(connection: Connection) -> None:
    """Marks whose persons nobody knows yet wait."""
    connection.execute(_ASIDE)


def copy_results(connection: Connection, rows: Iterable[Sequence[Any]]) -> None:
    copy_rows(
        driver_of(connection), "mark_result", ("number", "step", "outcome", "entry_id"), rows,
        ("int4", "text", "text", "int8"),
    )  # fmt: skip


def settle_results(connection: Connection) -> None:
    connection.execute(text("ANALYZE mark_result"))
    connection.execute(_RESULTS)


# what is kept ---------------------------------------------------------------------------------------------------------

_FILE = text(
    """
    INSERT INTO mark_file (name, kind, sha256, state, code, organisation, year, month, account, account_number, account_date,
                           file_id, operation_id)
    VALUES (:name, :kind, :sha256, :state, :code, :organisation, :year, :month, :account, :account_number, :account_date,
            :file_id, :operation_id) RETURNING id
    """
)
_FILE_COUNTS = text("UPDATE mark_file SET counts = :counts WHERE id = :id").bindparams(bindparam("counts", type_=JSONB))
_TAKEN = text("SELECT id FROM mark_file WHERE sha256 = :sha256 AND state = 'TAKEN'")
_MARKS = text(
    """
    INSERT INTO mark (file_id, case_id, episode, carrier, code, organisation, enp, person_id, diagnosis, marked_on, step,
                      outcome, entry_id)
    SELECT :file, c.case_id, l.episode, l.carrier, l.code, c.organisation, CASE WHEN c.person_id IS NULL THEN c.enp END,
           c.person_id, l.diagnosis, l.marked_on, l.step, l.outcome, l.entry_id
    FROM mark_line l JOIN mark_case c ON c.number = l.case_number
    WHERE c.code IS NULL AND l.kept_id IS NULL ORDER BY l.number
    """
)
_CARES = text(
    """
    INSERT INTO care_event (file_id, case_id, episode, kind, service, organisation, enp, person_id, diagnosis, cared_on)
    SELECT :file, c.case_id, l.episode, l.kind, l.service, c.organisation, CASE WHEN c.person_id IS NULL THEN c.enp END,
           c.person_id, l.diagnosis, l.cared_on
    FROM care_line l JOIN mark_case c ON c.number = l.case_number WHERE c.code IS NULL
    """
)


def insert_file(connection: Connection, **values: Any) -> int:
    found: int = connection.execute(_FILE, values).scalar_one()
    return found


def keep_counts(connection: Connection, id: int, counts: dict[str, int]) -> None:
    connection.execute(_FILE_COUNTS, {"id": id, "counts": counts})


def is_taken(connection: Connection, sha256: str) -> bool:
    """Whether a packet of the same contents was taken."""
    return connection.execute(_TAKEN, {"sha256": sha256}).first() is not None


def keep(connection: Connection, file: int) -> int:
    """Keeps marks and care of the packet under its file; how many events of care."""
    connection.execute(_ADOPT, {"file": file})
    connection.execute(_MARKS, {"file": file})
    return connection.execute(_CARES, {"file": file}).rowcount


# persons that have become known ---------------------------------------------------------------------------------------

# care counts from the day its person is known, so that a month which was closed before keeps its figures
_SETTLE_CARE = text(
    "UPDATE care_event e SET person_id = coalesce(p.successor_id, p.id), enp = NULL, recorded_at = now() FROM person p"
    " WHERE p.enp = e.enp AND e.person_id IS NULL AND e.taken_back_at IS NULL"
)
_WAITING = text(
    """
    SELECT m.id, m.organisation, p.id AS person_id, p.enp, m.code, m.diagnosis, m.marked_on, m.case_id, m.episode,
           f.name AS file
    FROM mark m JOIN person n ON n.enp = m.enp JOIN person p ON p.id = coalesce(n.successor_id, n.id)
    JOIN mark_file f ON f.id = m.file_id
    WHERE m.step = 'ASIDE' AND m.taken_back_at IS NULL
    ORDER BY m.organisation, p.id, m.id
    """
)
_SETTLE_MARKS = text(
    """
    UPDATE mark m SET person_id = r.person_id, enp = NULL, step = r.step, outcome = r.outcome, entry_id = r.entry_id
    FROM jsonb_to_recordset(:rows) AS r(id bigint, person_id bigint, step text, outcome text, entry_id bigint)
    WHERE m.id = r.id
    """
).bindparams(bindparam("rows", type_=JSONB))


def settle_care(connection: Connection) -> int:
    return connection.execute(_SETTLE_CARE).rowcount


def settled(connection: Connection) -> Rows:
    """Marks put aside whose persons are known now."""
    return _rows(connection.execute(_WAITING))


def settle_marks(connection: Connection, rows: Sequence[dict[str, Any]]) -> None:
    connection.execute(_SETTLE_MARKS, {"rows": rows})


# what is told ---------------------------------------------------------------------------------------------------------

_COUNTS = text(
    """
    SELECT code, sum(n)::int AS total FROM (
        SELECT code, count(*) AS n FROM mark_case WHERE code IS NOT NULL GROUP BY code
        UNION ALL SELECT l.outcome, count(*) FROM mark_line l JOIN mark_case c ON c.number = l.case_number
        WHERE c.code IS NULL GROUP BY l.outcome
    ) AS k GROUP BY code ORDER BY code
    """
)
_STEPS = text(
    "SELECT l.step, count(*)::int AS total FROM mark_line l JOIN mark_case c ON c.number = l.case_number"
    " WHERE c.code IS NULL GROUP BY l.step"
)
_TOLD = text(
    """
    SELECT * FROM (
        SELECT number AS case_number, 0 AS number, record, case_id, NULL AS episode, NULL AS carrier, NULL::smallint AS mark,
               NULL AS diagnosis, NULL::date AS marked_on, code, field, NULL::bigint AS entry_id
        FROM mark_case WHERE code IS NOT NULL AND code NOT LIKE 'ok%'
        UNION ALL
        SELECT c.number, l.number, c.record, c.case_id, l.episode, l.carrier, l.code, l.diagnosis, l.marked_on, l.outcome,
               NULL, l.entry_id
        FROM mark_line l JOIN mark_case c ON c.number = l.case_number
        WHERE c.code IS NULL AND l.outcome NOT IN ('ok', 'ok.same', 'ok.confirmed', 'ok.not-subject')
    ) AS told WHERE (case_number, number) > (:after_case, :after) ORDER BY case_number, number LIMIT :count
    """
)


def counts(connection: Connection) -> dict[str, int]:
    """Marks, and cases refused as such, by code."""
    return {row.code: row.total for row in connection.execute(_COUNTS)}


def steps(connection: Connection) -> dict[str, int]:
    return {row.step: row.total for row in connection.execute(_STEPS)}


def told(connection: Connection, after: tuple[int, int], count: int) -> Rows:
    """What a clinic is told of: refusals, what waits, what did not go as it was said."""
    values = {"after_case": after[0], "after": after[1], "count": count}
    return _rows(connection.execute(_TOLD, values))


# files that clinics have put ------------------------------------------------------------------------------------------

# the name of a packet; which month it is of is read from the name
_NAMED_SO = "f.name ~* '^([CHT]|D[A-Z])[MST][0-9]{2,6}[MST][0-9]{2,6}_[0-9]{5,12}[.]zip$'"
_PUT = f"""
    f.kind = 'UPLOAD' AND f.ready_at IS NOT NULL AND f.expires_at > now() AND f.organisation IS NOT NULL AND {_NAMED_SO}
    AND NOT EXISTS (SELECT FROM mark_file m WHERE m.file_id = f.id)
"""
_UNTAKEN = text(f"SELECT f.id, f.name FROM file f WHERE {_PUT} ORDER BY f.ready_at, f.id")
_KEEP = text(f"UPDATE file f SET expires_at = :until WHERE {_PUT} AND f.expires_at < :until")


def untaken(connection: Connection) -> list[tuple[UUID, str]]:
    """Packets that clinics have put and that no run has looked at, in the order they came."""
    return [(row.id, row.name) for row in connection.execute(_UNTAKEN)]


def keep_untaken(connection: Connection, until: datetime) -> int:
    """Puts off the end of such packets; how many."""
    return connection.execute(_KEEP, {"until": until}).rowcount


_HOLDS = text("SELECT 1 FROM organisation WHERE code = :organisation")


def is_organisation(connection: Connection, organisation: str) -> bool:
    return connection.execute(_HOLDS, {"organisation": organisation}).first() is not None
