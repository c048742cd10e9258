"""SQL of the comparison with the register of insured persons: candidates, facts, the plan, and what it changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.types import Text

from gateway.store import rebuild
from gateway.store.copying import copy_rows
from gateway.store.engine import driver_of

KIND = "INSURED"

# the comparison and its tokens ----------------------------------------------------------------------------------------

_BEGIN = text(
    "INSERT INTO reconcile (id, kind, period, dry) VALUES (:id, :kind, :period, :dry) ON CONFLICT (id) DO NOTHING"
)
_GET = text("SELECT * FROM reconcile WHERE id = :id FOR UPDATE")
_NEWEST = text("SELECT * FROM reconcile WHERE kind = :kind ORDER BY created_at DESC, id LIMIT 1")
_RUNNING = text(
    "SELECT id FROM operation WHERE kind = ANY(:kinds) AND state IN ('QUEUED', 'RUNNING') ORDER BY created_at LIMIT 1"
).bindparams(bindparam("kinds", type_=ARRAY(Text)))
_TURN = text("SELECT pg_advisory_xact_lock(7305011)")
_TOKEN = text("SELECT token FROM reconcile_token WHERE reconcile_id = :id AND name = :name")
_TOKEN_AGE = text(
    "SELECT extract(epoch FROM clock_timestamp() - asked_at) FROM reconcile_token WHERE reconcile_id = :id AND name = :name"
)
_KEEP_TOKEN = text("INSERT INTO reconcile_token (reconcile_id, name, token) VALUES (:id, :name, :token)")
_DONE_TOKEN = text("UPDATE reconcile_token SET done_at = now() WHERE reconcile_id = :id AND name = :name")
_STATE = text(
    "UPDATE reconcile SET state = :state, counts = counts || :counts, brake = :brake,"
    " planned_at = CASE WHEN :state IN ('PLANNED', 'BRAKED') THEN now() ELSE planned_at END,"
    " applied_at = CASE WHEN :state = 'APPLIED' THEN now() ELSE applied_at END WHERE id = :id"
).bindparams(bindparam("counts", type_=JSONB), bindparam("brake", type_=JSONB))
_COUNT = text("UPDATE reconcile SET counts = counts || :counts WHERE id = :id").bindparams(
    bindparam("counts", type_=JSONB)
)
_DECIDE = text("UPDATE reconcile SET decided_at = now(), decided_by = :by WHERE id = :id")
_REFUSE = text(
    "UPDATE reconcile SET state = 'REFUSED', decided_at = now(), decided_by = :by"
    " WHERE kind = :kind AND state = 'BRAKED' AND (:id IS NULL OR id = CAST(:id AS uuid))"
).bindparams(bindparam("id", type_=Text))
_LATEST = text("SELECT max(period) FROM reconcile WHERE kind = :kind AND state = 'APPLIED'")
_LAST_EXTRACT = text(
    "SELECT (counts->>'extract')::bigint FROM reconcile WHERE kind = :kind AND state = 'APPLIED' AND id <> :id"
    " AND counts ? 'extract' ORDER BY applied_at DESC LIMIT 1"
)
_SHRUNK = text(
    """
    SELECT f.key AS organisation, coalesce((r.counts->'clinics'->>f.key)::bigint, 0) AS lines, f.value::bigint AS former
    FROM reconcile r CROSS JOIN jsonb_each_text((
        SELECT counts->'clinics' FROM reconcile WHERE kind = :kind AND state = 'APPLIED' AND id <> :id AND counts ? 'clinics'
        ORDER BY applied_at DESC LIMIT 1)) AS f
    WHERE r.id = :id AND f.value::bigint - coalesce((r.counts->'clinics'->>f.key)::bigint, 0)
        > greatest(:most, f.value::bigint * :share / 100.0)
    ORDER BY f.key
    """
)
_ATTACHED = text(
    "SELECT count(*) FROM person WHERE attached_organisation IS NOT NULL AND death_date IS NULL AND insured_in_region"
)


def take_turn(connection: Connection) -> None:
    """Whoever begins or decides a comparison does it alone."""
    connection.execute(_TURN)


def running(connection: Connection, kinds: Sequence[str]) -> UUID | None:
    """An operation of these kinds that has not ended."""
    found: UUID | None = connection.execute(_RUNNING, {"kinds": list(kinds)}).scalar_one_or_none()
    return found


def begin(connection: Connection, id: UUID, period: int, dry: bool) -> None:
    connection.execute(_BEGIN, {"id": id, "kind": KIND, "period": period, "dry": dry})


def get(connection: Connection, id: UUID) -> RowMapping:
    """The comparison, locked until the end of the transaction."""
    return connection.execute(_GET, {"id": id}).mappings().one()


def newest(connection: Connection) -> RowMapping | None:
    return connection.execute(_NEWEST, {"kind": KIND}).mappings().one_or_none()


def token(connection: Connection, id: UUID, name: str) -> str | None:
    found: str | None = connection.execute(_TOKEN, {"id": id, "name": name}).scalar_one_or_none()
    return found


def token_age(connection: Connection, id: UUID, name: str) -> float:
    """Seconds since the source was asked."""
    return float(connection.execute(_TOKEN_AGE, {"id": id, "name": name}).scalar_one())


def keep_token(connection: Connection, id: UUID, name: str, value: str) -> None:
    connection.execute(_KEEP_TOKEN, {"id": id, "name": name, "token": value})


def close_token(connection: Connection, id: UUID, name: str) -> None:
    connection.execute(_DONE_TOKEN, {"id": id, "name": name})


def set_state(connection: Connection, id: UUID, state: str, counts: dict[str, Any], brake: list[Any]) -> None:
    connection.execute(_STATE, {"id": id, "state": state, "counts": counts, "brake": brake})


def count(connection: Connection, id: UUID, **counts: int | Mapping[str, int]) -> None:
    """Notes counts with the comparison."""
    connection.execute(_COUNT, {"id": id, "counts": counts})


def decide(connection: Connection, id: UUID, by: str) -> None:
    connection.execute(_DECIDE, {"id": id, "by": by})


def refuse(connection: Connection, by: str, id: UUID | None = None) -> None:
    """Refuses a braked comparison, or all of them."""
    connection.execute(_REFUSE, {"kind": KIND, "by": by, "id": None if id is None else str(id)})


def latest(connection: Connection) -> int:
    """The newest month that was applied, ``yyyymm``, or 0."""
    return int(connection.execute(_LATEST, {"kind": KIND}).scalar_one() or 0)


def former_extract(connection: Connection, id: UUID) -> int:
    """Lines of the extract that was applied last; before the first one, people who are known to be attached."""
    found = connection.execute(_LAST_EXTRACT, {"kind": KIND, "id": id}).scalar_one_or_none()
    return int(connection.execute(_ATTACHED).scalar_one() if found is None else found)


def shrunk_clinics(connection: Connection, id: UUID, share: int, most: int) -> list[dict[str, Any]]:
    """Clinics with fewer lines than in the extract applied last, by more than a share (percent) and more than a number."""
    values = {"kind": KIND, "id": id, "share": share, "most": most}
    return [dict(row) for row in connection.execute(_SHRUNK, values).mappings()]


# the extract ----------------------------------------------------------------------------------------------------------


def load_attachments(connection: Connection, rows: Iterable[tuple[str, str, date, str | None]]) -> int:
    """Replaces the extract; the count of lines."""
    connection.execute(text("TRUNCATE attachment_line"))
    loaded = copy_rows(
        driver_of(connection), "attachment_line", ("enp", "organisation", "since", "insurer"), rows,
        ("text", "text", "date", "text"),
    )  # fmt: skip
    connection.execute(text("ANALYZE attachment_line"))
    return loaded


def extract_lines(connection: Connection) -> int:
    """How many lines of an extract there are: a crash of the server empties the table."""
    return int(connection.execute(text("SELECT count(*) FROM attachment_line")).scalar_one())


# who is asked about ---------------------------------------------------------------------------------------------------

_ENDED_BY_REGISTER = """
    SELECT e.id, e.person_id, last.cause FROM entry e JOIN LATERAL (
        SELECT v.cause, v.source FROM entry_event v WHERE v.entry_id = e.id AND v.kind = 'EXCLUDED'
        ORDER BY v.version DESC LIMIT 1) AS last ON last.source = 'ERZL' AND last.cause IN ('DEATH', 'DEPARTURE')
    WHERE e.status = 'EXCLUDED' AND e.exclusion_reason IN ('3', '4')
"""

_NAMED = text(
    f"""
    WITH named AS MATERIALIZED (SELECT p.id FROM (SELECT DISTINCT unnest(:enps) AS enp) AS n JOIN person p USING (enp))
    INSERT INTO reconcile_fact (reconcile_id, person_id, reason)
    SELECT CAST(:run AS uuid), id, :reason FROM (
        SELECT n.id FROM named n WHERE EXISTS (SELECT FROM entry e WHERE e.person_id = n.id AND e.status = 'OBSERVED')
        UNION SELECT n.id FROM named n JOIN ({_ENDED_BY_REGISTER}) AS e ON e.person_id = n.id
        UNION SELECT n.id FROM named n JOIN person p ON p.id = n.id AND p.successor_id IS NOT NULL
    ) AS found ORDER BY id ON CONFLICT DO NOTHING
    """
).bindparams(bindparam("enps", type_=ARRAY(Text)))

# One line that differs is enough: of several lines that name two clinics at least one differs from the one that we know.
# A table of its own, because the server shares out the work of such a join, but not that of an INSERT.
_COMPARED = text(
    f"""
    CREATE TEMP TABLE wanted ON COMMIT DROP AS
    SELECT p.id, CASE WHEN l.enp IS NULL THEN 1 ELSE 2 END AS rank,
           CASE WHEN l.enp IS NULL THEN 'ABSENT' ELSE 'ATTACHMENT' END AS reason
    FROM entry e JOIN person p ON p.id = e.person_id LEFT JOIN attachment_line l ON l.enp = p.enp
    WHERE e.status = 'OBSERVED' AND CASE WHEN l.enp IS NULL THEN :absent
          ELSE l.organisation IS DISTINCT FROM p.attached_organisation
               OR e.by_attachment AND l.organisation <> e.organisation END
    UNION ALL SELECT p.id, 3, 'PRESENT' FROM ({_ENDED_BY_REGISTER}) AS ended JOIN person p ON p.id = ended.person_id
    WHERE EXISTS (SELECT FROM attachment_line l WHERE l.enp = p.enp)
    """
)
_WANTED = text(
    """
    INSERT INTO reconcile_fact (reconcile_id, person_id, reason)
    SELECT DISTINCT ON (id) CAST(:run AS uuid), id, reason FROM wanted ORDER BY id, rank ON CONFLICT DO NOTHING
    """
)

_OPEN = text(
    "SELECT f.person_id, p.enp, p.attached_organisation FROM reconcile_fact f JOIN person p ON p.id = f.person_id"
    " WHERE f.reconcile_id = :run AND f.asked_at IS NULL ORDER BY f.person_id LIMIT :count"
)
_COUNT_OPEN = text(
    "SELECT count(*) FILTER (WHERE asked_at IS NULL), count(*), count(*) FILTER (WHERE finding IS NULL AND asked_at IS NOT NULL)"
    " FROM reconcile_fact WHERE reconcile_id = :run"
)
_ANSWER = text(
    """
    UPDATE reconcile_fact f SET finding = a.finding, since = a.since, organisation = a.organisation, insurer = a.insurer,
        facts = a.facts, code = a.code, asked_at = clock_timestamp()
    FROM jsonb_to_recordset(:answers) AS a(
        person_id bigint, finding text, since date, organisation text, insurer text, facts jsonb, code text)
    WHERE f.reconcile_id = :run AND f.person_id = a.person_id
    """
).bindparams(bindparam("answers", type_=JSONB))
_ASK_AGAIN = text(
    "UPDATE reconcile_fact SET asked_at = NULL, code = NULL WHERE reconcile_id = :run AND finding IS NULL AND code IS NOT NULL"
)


def name_candidates(connection: Connection, run: UUID, reason: str, enps: Iterable[str]) -> int:
    """People of the lists, ended by the register or merged, whom the source names; whoever is there already keeps its
    reason."""
    rebuild.memory(driver_of(connection))
    return connection.execute(_NAMED, {"run": run, "reason": reason, "enps": list(enps)}).rowcount


def compare_attachments(connection: Connection, run: UUID, *, absent: bool = True) -> int:
    """People of the lists whose clinic in the extract is another one, not clear, or, if ``absent`` counts, not there; ended
    ones who are in it."""
    connection.execute(_COMPARED, {"absent": absent})
    return connection.execute(_WANTED, {"run": run}).rowcount


def unasked(connection: Connection, run: UUID, count: int) -> list[tuple[int, str, str | None]]:
    """Who is still to be asked about: person, ЕНП, and the clinic that we know."""
    return [(row[0], row[1], row[2]) for row in connection.execute(_OPEN, {"run": run, "count": count})]


def asked(connection: Connection, run: UUID) -> tuple[int, int, int]:
    """How many people are still to be asked about, how many there are in all, how many answers cannot be used."""
    row = connection.execute(_COUNT_OPEN, {"run": run}).one()
    return int(row[0]), int(row[1]), int(row[2])


def keep_answers(connection: Connection, run: UUID, answers: Sequence[dict[str, Any]]) -> None:
    connection.execute(_ANSWER, {"run": run, "answers": list(answers)})


def ask_again(connection: Connection, run: UUID) -> int:
    """Opens the questions whose answers could not be used."""
    return connection.execute(_ASK_AGAIN, {"run": run}).rowcount


# the plan -------------------------------------------------------------------------------------------------------------

_CLINIC = "LEFT JOIN organisation o ON o.code = f.organisation AND o.valid_from <= :day AND (o.valid_to IS NULL OR o.valid_to >= :day)"

_PLAN = text(
    f"""
    INSERT INTO reconcile_change (reconcile_id, entry_id, action, former, organisation, true_on, cause, reason)
    SELECT f.reconcile_id, e.id, CASE WHEN x.cause IN ('DEATH', 'DEPARTURE') THEN 'END'
             WHEN x.cause IN ('MERGE', 'MOVE') THEN x.cause ELSE 'REPORT' END,
        e.organisation, CASE WHEN f.finding IN ('SAME', 'MOVED') THEN f.organisation END, coalesce(f.since, :day), x.cause,
        CASE x.cause WHEN 'DEATH' THEN '3' WHEN 'DEPARTURE' THEN '4' END
    FROM reconcile_fact f JOIN entry e ON e.person_id = f.person_id AND e.status = 'OBSERVED'
    JOIN person p ON p.id = f.person_id
    LEFT JOIN observation_segment s ON s.entry_id = e.id AND s.until IS NULL
    {_CLINIC}
    CROSS JOIN LATERAL (SELECT CASE
        WHEN f.finding IS NULL THEN 'UNUSABLE'
        WHEN f.finding = 'DEAD' THEN 'DEATH'
        WHEN f.finding = 'LEFT' THEN CASE WHEN s.since > :day THEN 'NEWER' ELSE 'DEPARTURE' END
        WHEN f.finding = 'MERGED' THEN CASE WHEN f.facts ? 'successor' THEN 'MERGE' ELSE 'NO_SUCCESSOR' END
        WHEN f.finding NOT IN ('SAME', 'MOVED') THEN f.finding
        WHEN f.organisation = e.organisation THEN NULL
        WHEN NOT e.by_attachment THEN CASE WHEN f.finding = 'MOVED' THEN 'HELD' END
        WHEN o.code IS NULL THEN 'UNKNOWN_CLINIC'
        WHEN NOT o.primary_care THEN 'NOT_PRIMARY'
        WHEN s.since > :day OR p.attached_since > :day THEN 'NEWER'
        ELSE 'MOVE' END AS cause) AS x
    WHERE f.reconcile_id = :run AND x.cause IS NOT NULL
    """
)

_PLAN_RETURNS = text(
    f"""
    INSERT INTO reconcile_change (reconcile_id, entry_id, action, former, organisation, true_on, cause)
    SELECT f.reconcile_id, e.id, 'RETURN', e.organisation,
        CASE WHEN e.by_attachment AND o.primary_care AND o.code <> e.organisation THEN o.code END,
        CASE b.cause WHEN 'DEATH' THEN e.excluded_on ELSE greatest(e.excluded_on, (f.facts->>'policy_since')::date) END, 'RETURN'
    FROM ({_ENDED_BY_REGISTER}) AS b JOIN entry e ON e.id = b.id
    JOIN reconcile_fact f ON f.reconcile_id = :run AND f.person_id = b.person_id
        AND f.finding IN ('SAME', 'MOVED', 'NO_ATTACHMENT')
    {_CLINIC}
    """
)

_CLEAR_PLAN = text("DELETE FROM reconcile_change WHERE reconcile_id = :run")

_BRAKE = text(
    """
    SELECT c.former AS organisation, count(*) AS changes, l.entries
    FROM reconcile_change c JOIN (
        SELECT organisation, count(*) AS entries FROM entry WHERE status = 'OBSERVED' GROUP BY organisation
    ) AS l ON l.organisation = c.former
    WHERE c.reconcile_id = :run AND c.action IN ('END', 'MOVE', 'MERGE')
    GROUP BY c.former, l.entries HAVING count(*) > :most AND count(*) * 100 > l.entries * :share ORDER BY c.former
    """
)

_COUNTS = text(
    "SELECT c.action, c.cause, count(*) AS entries, count(DISTINCT e.person_id) AS persons FROM reconcile_change c"
    " JOIN entry e ON e.id = c.entry_id WHERE c.reconcile_id = :run GROUP BY c.action, c.cause ORDER BY c.action, c.cause"
)

_LINES = text(
    "SELECT c.entry_id, e.enp, e.diagnosis, c.action, c.cause, c.former, c.organisation, c.true_on, f.code, f.asked_at"
    " FROM reconcile_change c JOIN entry e ON e.id = c.entry_id"
    " LEFT JOIN reconcile_fact f ON f.reconcile_id = c.reconcile_id AND f.person_id = e.person_id"
    " WHERE c.reconcile_id = :run ORDER BY c.former, c.action, c.cause, c.entry_id"
)


def make_plan(connection: Connection, run: UUID, day: date) -> None:
    """What the answers mean for entries; made anew each time it is called."""
    rebuild.memory(driver_of(connection))
    connection.execute(_CLEAR_PLAN, {"run": run})
    connection.execute(_PLAN, {"run": run, "day": day})
    connection.execute(_PLAN_RETURNS, {"run": run, "day": day})


def over_brake(connection: Connection, run: UUID, share: int, most: int) -> list[dict[str, Any]]:
    """Lists that would lose more than a share (percent) and more than a number of entries."""
    rows = connection.execute(_BRAKE, {"run": run, "share": share, "most": most}).mappings()
    return [dict(row) for row in rows]


def plan_counts(connection: Connection, run: UUID) -> Sequence[RowMapping]:
    """Entries and persons by action and cause."""
    return connection.execute(_COUNTS, {"run": run}).mappings().all()


def plan_lines(connection: Connection, run: UUID) -> Sequence[RowMapping]:
    """The plan, list by list."""
    return connection.execute(_LINES, {"run": run}).mappings().all()


# what is applied ------------------------------------------------------------------------------------------------------

_PLANNED = text(
    """
    INSERT INTO planned (entry_id, action, true_on, organisation, cause, reason, details)
    SELECT c.entry_id, CASE WHEN c.action = 'RETURN' THEN 'MOVE' ELSE c.action END, c.true_on, c.organisation,
        CASE WHEN c.action = 'RETURN' THEN 'MOVE' ELSE c.cause END, c.reason,
        jsonb_build_object('reconcile', c.reconcile_id, 'rule', f.finding, 'answeredAt', f.asked_at)
    FROM reconcile_change c JOIN entry e ON e.id = c.entry_id AND e.organisation = c.former
    JOIN reconcile_fact f ON f.reconcile_id = c.reconcile_id AND f.person_id = e.person_id
    WHERE c.reconcile_id = :run
      AND (c.action IN ('END', 'MOVE') OR (c.action = 'RETURN' AND c.applied AND c.organisation IS NOT NULL))
    ON CONFLICT DO NOTHING
    """
)

# what the register says of the person that a merged one went on as
_PLANNED_MERGED = text(
    """
    INSERT INTO planned (entry_id, action, true_on, organisation, cause, reason, details)
    SELECT c.entry_id, CASE WHEN x.finding IN ('DEAD', 'LEFT') THEN 'END' ELSE 'MOVE' END, x.since,
        CASE WHEN x.finding IN ('SAME', 'MOVED') THEN o.code END,
        CASE x.finding WHEN 'DEAD' THEN 'DEATH' WHEN 'LEFT' THEN 'DEPARTURE' ELSE 'MOVE' END,
        CASE x.finding WHEN 'DEAD' THEN '3' WHEN 'LEFT' THEN '4' END,
        jsonb_build_object('reconcile', c.reconcile_id, 'rule', x.finding, 'answeredAt', f.asked_at)
    FROM reconcile_change c JOIN entry e ON e.id = c.entry_id AND e.status = 'OBSERVED'
    JOIN reconcile_fact f ON f.reconcile_id = c.reconcile_id AND f.person_id = :merged
    CROSS JOIN LATERAL jsonb_to_record(f.facts->'then') AS x(finding text, since date, organisation text)
    LEFT JOIN organisation o ON o.code = x.organisation AND o.primary_care
        AND o.valid_from <= :day AND (o.valid_to IS NULL OR o.valid_to >= :day)
    WHERE c.reconcile_id = :run AND c.entry_id = :entry
      AND (x.finding IN ('DEAD', 'LEFT')
           OR (x.finding IN ('SAME', 'MOVED') AND e.by_attachment AND o.code <> e.organisation))
    ON CONFLICT DO NOTHING
    """
)

_ONE_BY_ONE = text(
    f"""
    SELECT c.entry_id, c.action, c.true_on, c.former, e.person_id, e.status, f.asked_at, f.finding,
           (SELECT p.id FROM person p WHERE p.enp = f.facts->'successor'->>'enp') AS successor_id
    FROM reconcile_change c JOIN entry e ON e.id = c.entry_id AND e.organisation = c.former
    JOIN reconcile_fact f ON f.reconcile_id = c.reconcile_id AND f.person_id = e.person_id
    WHERE c.reconcile_id = :run AND (c.action = 'MERGE' AND e.status = 'OBSERVED'
        OR c.action = 'RETURN' AND e.id IN (SELECT b.id FROM ({_ENDED_BY_REGISTER}) AS b))
    ORDER BY c.action, c.entry_id
    """
)

_MARK = text("UPDATE reconcile_change SET applied = true WHERE reconcile_id = :run AND entry_id = :entry")
_HINDERED = text(
    "UPDATE reconcile_change SET action = 'REPORT', cause = 'HINDERED' WHERE reconcile_id = :run AND entry_id = :entry"
)
_NEWER = text(
    """
    UPDATE reconcile_change c SET action = 'REPORT', cause = 'NEWER'
    FROM entry e JOIN person p ON p.id = e.person_id JOIN reconcile_fact f ON f.person_id = p.id
    WHERE c.reconcile_id = :run AND f.reconcile_id = :run AND e.id = c.entry_id AND p.as_of > f.asked_at
      AND CASE WHEN c.action = 'MOVE' THEN p.attached_organisation IS DISTINCT FROM c.organisation
               WHEN c.action = 'RETURN' THEN p.death_date IS NOT NULL OR NOT p.insured_in_region
               WHEN c.cause = 'DEATH' THEN p.death_date IS NULL
               WHEN c.cause = 'DEPARTURE' THEN p.insured_in_region ELSE false END
    """
)
_MARK_MOVED = text(
    "UPDATE reconcile_change c SET applied = true, organisation = coalesce(m.next, c.organisation) FROM moving m"
    " WHERE c.reconcile_id = :run AND c.entry_id = m.entry_id"
)
_CONFIRMED = text(
    "INSERT INTO confirmed (person_id, facts, at)"
    " SELECT person_id, CASE WHEN finding <> 'MERGED' THEN facts END, asked_at FROM reconcile_fact WHERE reconcile_id = :run"
)
_HEIRS_CONFIRMED = text(
    "INSERT INTO confirmed (person_id, facts, at) SELECT p.id, f.facts->'successor', f.asked_at"
    " FROM reconcile_fact f JOIN person p ON p.enp = f.facts->'successor'->>'enp'"
    " WHERE f.reconcile_id = :run AND f.facts ? 'successor' ON CONFLICT DO NOTHING"
)
_HEIRS = text("SELECT facts->'successor' FROM reconcile_fact WHERE reconcile_id = :run AND facts ? 'successor'")
_SUCCESSORS = text(
    "UPDATE reconcile_fact f SET successor_id = p.id FROM person p"
    " WHERE f.reconcile_id = :run AND f.finding = 'MERGED' AND p.enp = f.facts->'successor'->>'enp'"
)
_ALIVE = text(
    """
    UPDATE person p SET successor_id = NULL, successor_at = NULL WHERE p.successor_id IS NOT NULL AND p.id IN (
        SELECT f.successor_id FROM reconcile_fact f WHERE f.reconcile_id = :run AND f.successor_id <> f.person_id
        UNION ALL SELECT f.person_id FROM reconcile_fact f
        WHERE f.reconcile_id = :run AND f.finding NOT IN ('MERGED', 'UNCLEAR', 'UNKNOWN'))
    """
)
_SUCCEEDED = text(
    """
    UPDATE person p SET successor_id = f.successor_id, successor_at = now() FROM reconcile_fact f
    WHERE f.reconcile_id = :run AND f.person_id = p.id AND f.successor_id <> p.id
      AND p.successor_id IS DISTINCT FROM f.successor_id
    """
)
_FOLLOWED = text(
    """
    UPDATE person p SET successor_id = n.successor_id, successor_at = now() FROM person n
    WHERE p.successor_id IS NOT NULL AND n.id = p.successor_id AND n.successor_id IS NOT NULL AND n.successor_id <> p.id
    """
)
_ENDLESS = text(
    """
    UPDATE person p SET successor_id = NULL, successor_at = NULL FROM person n
    WHERE p.successor_id IS NOT NULL AND n.id = p.successor_id AND n.successor_id IS NOT NULL
    """
)
_CHAIN_MOST = 10

_PERSONS = text(
    "SELECT person_id FROM reconcile_fact WHERE reconcile_id = :run UNION SELECT successor_id FROM reconcile_fact"
    " WHERE reconcile_id = :run AND successor_id IS NOT NULL ORDER BY 1"
)

_NOTICE = text(
    """
    SELECT w.organisation AS mailbox, c.entry_id, e.external_id, coalesce(h.enp, e.enp) AS enp, m.enp AS former_enp,
           e.last_name, e.first_name, e.middle_name, e.birth_date, e.diagnosis, c.action, c.cause, c.former, c.organisation,
           c.true_on, s.day
    FROM reconcile_change c JOIN entry e ON e.id = c.entry_id
    LEFT JOIN LATERAL (
        SELECT v.before->>'enp' AS enp FROM entry_event v
        WHERE c.action = 'MERGE' AND v.entry_id = c.entry_id AND v.cause = 'MERGE'
          AND v.details->>'reconcile' = CAST(:run AS text) ORDER BY v.version LIMIT 1) AS m ON true
    LEFT JOIN person p ON p.id = e.person_id AND c.action = 'MERGE' LEFT JOIN person h ON h.id = p.successor_id
    CROSS JOIN LATERAL (
        SELECT c.former AS organisation UNION SELECT c.organisation WHERE c.applied AND c.organisation IS NOT NULL) AS w
    LEFT JOIN LATERAL (
        SELECT max(v.effective_on) AS day FROM entry_event v
        WHERE v.entry_id = c.entry_id AND v.details->>'reconcile' = CAST(:run AS text)) AS s ON true
    WHERE c.reconcile_id = :run AND (c.applied OR (c.action = 'REPORT' AND NOT EXISTS (
        SELECT FROM reconcile_change b WHERE b.entry_id = c.entry_id AND b.action = 'REPORT' AND b.cause = c.cause
          AND b.former = c.former AND b.reconcile_id = (
            SELECT id FROM reconcile WHERE kind = 'INSURED' AND state = 'APPLIED' ORDER BY applied_at DESC LIMIT 1))))
    ORDER BY w.organisation, c.action, c.cause, e.name_key, c.entry_id
    """
)


# care of registers counts where stays do: what a stay is left behind with is kept for it, and stands for the successor from
# now on; a month that was closed before keeps its figures
_LEFT = "EXISTS (SELECT FROM observation_segment s WHERE s.person_id = f.person_id)"
_GIVE_MARKS = text(
    """
    UPDATE mark m SET person_id = f.successor_id FROM reconcile_fact f
    WHERE f.reconcile_id = :run AND f.successor_id <> f.person_id AND m.person_id = f.person_id
    """
)
_COPY_CARE = text(
    f"""
    INSERT INTO care_event (file_id, case_id, episode, kind, service, organisation, person_id, diagnosis, cared_on)
    SELECT c.file_id, c.case_id, c.episode, c.kind, c.service, c.organisation, f.successor_id, c.diagnosis, c.cared_on
    FROM reconcile_fact f JOIN care_event c ON c.person_id = f.person_id AND c.taken_back_at IS NULL
    WHERE f.reconcile_id = :run AND f.successor_id <> f.person_id AND {_LEFT} AND NOT EXISTS (
        SELECT FROM care_event o WHERE o.person_id = f.successor_id AND o.taken_back_at IS NULL
        AND (o.file_id, o.case_id, o.episode, o.kind, o.cared_on) = (c.file_id, c.case_id, c.episode, c.kind, c.cared_on)
        AND o.service IS NOT DISTINCT FROM c.service AND o.diagnosis = c.diagnosis)
    """
)
_GIVE_CARE = text(
    f"""
    UPDATE care_event c SET person_id = f.successor_id FROM reconcile_fact f
    WHERE f.reconcile_id = :run AND f.successor_id <> f.person_id AND c.person_id = f.person_id AND NOT {_LEFT}
    """
)


def give_registers(connection: Connection, run: UUID) -> None:
    """Marks and care of registers go on with the successors of merged people, whose entries have followed them already."""
    for statement in (_GIVE_MARKS, _COPY_CARE, _GIVE_CARE):
        connection.execute(statement, {"run": run})


def one_by_one(connection: Connection, run: UUID) -> Sequence[RowMapping]:
    """Merges and returns that still hold."""
    return connection.execute(_ONE_BY_ONE, {"run": run}).mappings().all()


def fill_planned(connection: Connection, run: UUID) -> None:
    """Ends and moves, and moves of people who have come back to another clinic; what stands there stays."""
    connection.execute(_PLANNED, {"run": run})


def fill_planned_merged(connection: Connection, run: UUID, entry_id: int, merged: int, day: date) -> None:
    """What an entry of a merged person still has to follow its successor in."""
    connection.execute(_PLANNED_MERGED, {"run": run, "entry": entry_id, "merged": merged, "day": day})


def mark_applied(connection: Connection, run: UUID, entry_id: int) -> None:
    connection.execute(_MARK, {"run": run, "entry": entry_id})


def mark_hindered(connection: Connection, run: UUID, entry_id: int) -> None:
    """Something stands in the way: told, not done."""
    connection.execute(_HINDERED, {"run": run, "entry": entry_id})


def mark_newer(connection: Connection, run: UUID) -> int:
    """What we learned of a person after the register answered, and says otherwise, stands: its entries are told of, not
    changed. How many."""
    return connection.execute(_NEWER, {"run": run}).rowcount


def mark_moved(connection: Connection, run: UUID) -> None:
    """What `apply_planned` did."""
    connection.execute(_MARK_MOVED, {"run": run})


def heirs(connection: Connection, run: UUID) -> Sequence[dict[str, Any]]:
    """Facts of the people whom merged ones went on as."""
    return connection.execute(_HEIRS, {"run": run}).scalars().all()


def fill_confirmed(connection: Connection, run: UUID) -> None:
    """Everybody who was asked about, with the facts that can be used; heirs too."""
    connection.execute(_CONFIRMED, {"run": run})
    connection.execute(_HEIRS_CONFIRMED, {"run": run})


def note_successors(connection: Connection, run: UUID) -> None:
    """Whom merged people go on as, with the answers and with the people. Everybody names the last of a chain; a number that
    the register knows by itself again has no successor, nor has one in a circle."""
    for statement in (_SUCCESSORS, _ALIVE, _SUCCEEDED):
        connection.execute(statement, {"run": run})
    for _ in range(_CHAIN_MOST):
        if not connection.execute(_FOLLOWED).rowcount:
            break
    connection.execute(_ENDLESS)


def persons(connection: Connection, run: UUID) -> Sequence[int]:
    """Everybody the source was asked about, and whom merged ones went on as."""
    return connection.execute(_PERSONS, {"run": run}).scalars().all()


def notices(connection: Connection, run: UUID) -> Sequence[RowMapping]:
    """What the clinics concerned are told, clinic by clinic; a move is told to both. A finding that was told last time and
    has not changed is not told again."""
    return connection.execute(_NOTICE, {"run": run}).mappings().all()
