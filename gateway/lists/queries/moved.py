"""SQL of great changes of many lists at once: ends and moves that the register of insured persons gave cause for.

What is to happen stands in the temporary table ``planned (entry_id, action, true_on, organisation, cause, reason, details)``;
action is END or MOVE. One statement per effect, set-based over all lists.
"""

from __future__ import annotations

from sqlalchemy import Connection, RowMapping, text

from gateway.lists.queries.shared import one_row

_PLANNED = """
CREATE TEMP TABLE planned (
    entry_id bigint PRIMARY KEY, action text NOT NULL, true_on date NOT NULL, organisation text, cause text NOT NULL,
    reason text, details jsonb
) ON COMMIT DROP
"""

# an end or a move takes effect on its true day, or on the first day that is open in both lists, never before the stay began
_MOVING = """
CREATE TEMP TABLE moving ON COMMIT DROP AS
WITH newest AS (
    SELECT DISTINCT ON (organisation, month) organisation, month, reopened_at FROM closed_month
    ORDER BY organisation, month, edition DESC
), opened AS (
    SELECT organisation, (to_date(max(month)::text, 'YYYYMM') + interval '1 month')::date AS day
    FROM newest WHERE reopened_at IS NULL GROUP BY organisation
)
SELECT p.entry_id, p.action, p.true_on, p.cause, p.reason, p.details, e.organisation AS former, p.organisation AS next,
       e.version, to_jsonb(e) AS before, s.id AS segment_id, greatest(p.true_on, s.since, a.day, b.day) AS day
FROM planned p
JOIN entry e ON e.id = p.entry_id AND e.status = 'OBSERVED'
JOIN observation_segment s ON s.entry_id = e.id AND s.until IS NULL
LEFT JOIN opened a ON a.organisation = e.organisation
LEFT JOIN opened b ON b.organisation = p.organisation
WHERE p.action = 'END' OR p.organisation <> e.organisation
"""

_LEDGERS = """
INSERT INTO list_ledger (organisation) SELECT DISTINCT next FROM moving WHERE action = 'MOVE' ON CONFLICT DO NOTHING
"""

_NUMBERED = """
CREATE TEMP TABLE numbered ON COMMIT DROP AS
SELECT step.*, row_number() OVER (PARTITION BY organisation ORDER BY entry_id) AS n FROM (
    SELECT entry_id, former AS organisation, CASE action WHEN 'END' THEN 'EXCLUDED' ELSE 'MOVED_OUT' END AS kind, 1 AS step
    FROM moving
    UNION ALL SELECT entry_id, next, 'MOVED_IN', 2 FROM moving WHERE action = 'MOVE'
) AS step
"""

_ADVANCED = """
WITH advanced AS (
    UPDATE list_ledger l SET seq = l.seq + k.count
    FROM (SELECT organisation, count(*) AS count FROM numbered GROUP BY organisation) AS k
    WHERE l.organisation = k.organisation RETURNING l.organisation, l.seq - k.count AS base
)
UPDATE numbered n SET n = a.base + n.n FROM advanced a WHERE a.organisation = n.organisation
"""

_EVENTS = """
INSERT INTO entry_event (entry_id, version, organisation, seq, effective_on, kind, cause, source, actor, trace, details, before)
SELECT n.entry_id, m.version + n.step, n.organisation, n.n, m.day, n.kind, m.cause, 'ERZL', :actor, :trace, m.details,
       CASE WHEN n.step = 1 THEN m.before END
FROM numbered n JOIN moving m ON m.entry_id = n.entry_id
"""

_SEGMENTS = """
UPDATE observation_segment s SET until = m.day, true_to = greatest(m.true_on, s.true_from), recorded_to = now(),
       cause_out = CASE m.action WHEN 'END' THEN 'EXCLUDED' ELSE 'MOVE' END
FROM moving m WHERE s.id = m.segment_id
"""

_STAYS = """
INSERT INTO observation_segment (entry_id, person_id, diagnosis_key, diagnosis, organisation, since, true_from, cause_in)
SELECT s.entry_id, s.person_id, s.diagnosis_key, s.diagnosis, m.next, m.day, m.true_on, 'MOVE'
FROM moving m JOIN observation_segment s ON s.id = m.segment_id WHERE m.action = 'MOVE'
"""

# the new clinic names its own doctor and number of the entry later
_ENTRIES = """
UPDATE entry e SET version = m.version + n.step, seq = n.n, changed_at = now(), organisation = n.organisation,
    status = CASE m.action WHEN 'END' THEN 'EXCLUDED' ELSE e.status END,
    excluded_on = CASE m.action WHEN 'END' THEN greatest(m.true_on, e.observed_since) END,
    exclusion_reason = CASE m.action WHEN 'END' THEN m.reason END,
    by_attachment = CASE m.action WHEN 'MOVE' THEN true ELSE e.by_attachment END,
    attached_organisation = CASE m.action WHEN 'MOVE' THEN m.next ELSE e.attached_organisation END,
    doctor_snils = CASE m.action WHEN 'MOVE' THEN NULL ELSE e.doctor_snils END,
    external_id = CASE m.action WHEN 'MOVE' THEN NULL ELSE e.external_id END
FROM moving m JOIN numbered n ON n.entry_id = m.entry_id AND n.step = CASE m.action WHEN 'END' THEN 1 ELSE 2 END
WHERE e.id = m.entry_id
"""

_COUNTS = "SELECT action, cause, count(*) AS count FROM moving GROUP BY action, cause"

_WHOLE = text("SELECT * FROM entry WHERE id = :id")
_PERSON = text("SELECT * FROM person WHERE id = :id")
# stretches of an entry that meet stretches of another person's entries
_MET = """
    SELECT s.id, max(coalesce(o.until, 'infinity')) AS until FROM observation_segment s
    JOIN observation_segment o ON o.person_id = :person AND o.entry_id <> s.entry_id AND o.diagnosis_key = s.diagnosis_key
        AND daterange(o.since, o.until) && daterange(s.since, s.until)
    WHERE s.entry_id = :entry GROUP BY s.id
"""
_CUT = text(
    f"""
    WITH met AS ({_MET}), cut AS (
        UPDATE observation_segment s SET until = met.until, true_to = met.until, cause_out = 'MERGE', recorded_to = now()
        FROM met WHERE s.id = met.id AND s.until IS NULL RETURNING s.*
    )
    INSERT INTO observation_segment (entry_id, person_id, diagnosis_key, diagnosis, organisation, since, true_from, cause_in)
    SELECT entry_id, :person, diagnosis_key, diagnosis, organisation, until, until, 'MERGE' FROM cut
    """
)
_GIVE = text(
    f"""
    UPDATE observation_segment SET person_id = :person
    WHERE entry_id = :entry AND person_id <> :person AND id NOT IN (SELECT id FROM ({_MET}) AS met)
    """
)
_OPEN_OF = text(
    "SELECT e.id FROM entry e WHERE e.person_id = :person AND e.diagnosis_key = :key AND e.status = 'OBSERVED'"
    " ORDER BY e.observed_since, e.id LIMIT 1"
)
_LAST_OF_BOTH = text(
    "SELECT conducted_on, result FROM visit WHERE entry_id IN (:one, :other) AND annulled_at IS NULL AND NOT attempt"
    " ORDER BY conducted_on DESC, id DESC LIMIT 1"
)


def apply_planned(connection: Connection, *, actor: str, trace: str) -> list[RowMapping]:
    """Ends and moves what is planned, where it still holds; counts by action and cause. Every ledger is locked already.

    What was done stays in the temporary table ``moving`` until the end of the transaction.
    """
    for statement in (_MOVING, "ANALYZE moving", _LEDGERS, _NUMBERED, "ANALYZE numbered", _ADVANCED):
        connection.execute(text(statement))
    connection.execute(text(_EVENTS), {"actor": actor, "trace": trace})
    for statement in (_SEGMENTS, _STAYS, _ENTRIES):
        connection.execute(text(statement))
    return list(connection.execute(text(_COUNTS)).mappings())


def make_planned(connection: Connection) -> None:
    """The empty table of what is to happen."""
    connection.execute(text(_PLANNED))


def whole_entry(connection: Connection, entry_id: int) -> RowMapping | None:
    return one_row(connection, _WHOLE, id=entry_id)


def person_of(connection: Connection, person_id: int) -> RowMapping | None:
    return one_row(connection, _PERSON, id=person_id)


def give_segments(connection: Connection, entry_id: int, person_id: int) -> None:
    """The stretches of an entry count for another person, but for those that meet stretches of that person's other entries:
    they stay, and the present one counts for the other from where it is free. A stay is cut, never moved."""
    connection.execute(_CUT, {"entry": entry_id, "person": person_id})
    connection.execute(_GIVE, {"entry": entry_id, "person": person_id})


def open_entry(connection: Connection, person_id: int, key: str) -> int | None:
    """The entry under which a person is observed for a disease."""
    found: int | None = connection.execute(_OPEN_OF, {"person": person_id, "key": key}).scalar_one_or_none()
    return found


def last_visit_of_both(connection: Connection, one: int, other: int) -> RowMapping | None:
    """The latest visit in force of two entries that became one."""
    return one_row(connection, _LAST_OF_BOTH, one=one, other=other)
