"""SQL of frozen lists: who is in them, in which order, and the blocks of their lines."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, CursorResult, RowMapping, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import BigInteger, Text

from gateway.lists.queries.history import LINE_SQL
from gateway.lists.queries.shared import Rows, all_rows

BLOCK = 250
"""Lines a block."""

_OBSERVED_ON = "s.since <= :day AND (s.until IS NULL OR s.until > :day)"
_OBSERVED_IN = "s.since <= :last AND (s.until IS NULL OR s.until > greatest(:first, s.since))"
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
    "enp": (
        "e.enp IN (:enp, (SELECT h.enp FROM person p JOIN person h ON h.id = p.successor_id WHERE p.enp = CAST(:enp AS text)))"
    ),
    "doctor": "e.doctor_snils = :doctor",
    "month": ":month = ANY(e.planned_months)",
    "insurer": "e.insurer = :insurer",
}


def _members(list_type: str, filters: Collection[str]) -> str:
    """Who is in a list. An entry that went on to another organisation stands as it was when it left."""
    where = " AND ".join(["e.status <> 'ANNULLED'", *(_FILTERS[name] for name in sorted(filters))])
    own = "JOIN entry e ON e.id = s.entry_id" if "e." in CONDITIONS[list_type] else ""
    return f"""
        SELECT e.id, e.name_key, e.birth_date FROM entry e
        WHERE e.organisation = :organisation AND {where} AND e.id IN (
            SELECT s.entry_id FROM observation_segment s {own}
            WHERE s.organisation = :organisation AND {CONDITIONS[list_type]})
        UNION ALL
        SELECT DISTINCT ON (e.id) e.id, e.name_key, e.birth_date
        FROM (SELECT DISTINCT ON (entry_id) entry_id, before FROM entry_event
              WHERE organisation = :organisation AND kind = 'MOVED_OUT' ORDER BY entry_id, version DESC) AS gone
        JOIN entry now ON now.id = gone.entry_id AND now.organisation <> :organisation,
             LATERAL jsonb_populate_record(now, gone.before) AS e
        JOIN observation_segment s ON s.entry_id = e.id AND s.organisation = :organisation
        WHERE {where} AND {CONDITIONS[list_type]}
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

_SLACK = "interval '10 minutes'"
"""How much earlier than the last snapshot that names it a piece may expire, so that not every snapshot writes to it."""

_EXTEND = text(
    "UPDATE list_piece SET expires_at = greatest(expires_at, :expires_at)"
    f" WHERE id = ANY(:ids) AND expires_at < CAST(:expires_at AS timestamptz) - {_SLACK}"
).bindparams(bindparam("ids", type_=ARRAY(BigInteger)))

_ORGANISATIONS = text("SELECT organisation FROM list_ledger ORDER BY organisation")

_INSERT_SNAPSHOT = text(
    "INSERT INTO list_snapshot (id, client_id, choice, edition, pieces, ends, token, as_of, closed_at, expires_at)"
    " VALUES (:id, :client_id, :choice, :edition, :pieces, :ends, :token, :as_of, :closed_at, :expires_at)"
    " ON CONFLICT (id) DO UPDATE SET pieces = excluded.pieces, ends = excluded.ends, token = excluded.token,"
    " as_of = excluded.as_of, closed_at = excluded.closed_at, expires_at = excluded.expires_at"
).bindparams(bindparam("pieces", type_=ARRAY(BigInteger)), bindparam("ends", type_=ARRAY(BigInteger)))

_EXPIRE = text(
    f"""
    WITH gone AS MATERIALIZED (
        UPDATE list_piece SET expires_at = NULL, choice = choice || '#' || id
        WHERE expires_at < CAST(:now AS timestamptz) - {_SLACK} AND edition = 0 AND frozen RETURNING id
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
    rows = all_rows(connection, _PIECES, organisations=list(organisations), choice=choice, until=until)
    return {row["organisation"]: row for row in rows}


def extend(connection: Connection, ids: Sequence[int], expires_at: datetime) -> None:
    """Keeps pieces as long as the snapshot that now names them, give or take the slack."""
    if ids:
        connection.execute(_EXTEND, {"ids": list(ids), "expires_at": expires_at})


def organisations(connection: Connection) -> list[str]:
    """Organisations that keep a list."""
    return list(connection.execute(_ORGANISATIONS).scalars())


def insert_snapshot(connection: Connection, **values: Any) -> None:
    """What a snapshotId names; one that was given out before is filled."""
    connection.execute(_INSERT_SNAPSHOT, values)


_INSERT_PIECE = text(
    "INSERT INTO list_piece (organisation, choice, seq, edition, as_of, total, frozen, expires_at)"
    " VALUES (:organisation, :choice, :seq, :edition, now(), :total, true, :expires_at) ON CONFLICT DO NOTHING RETURNING id"
)
_INSERT_BLOCK = text(
    "INSERT INTO list_block (piece_id, number, ids, body) VALUES (:piece_id, :number, :ids, :body)"
).bindparams(bindparam("ids", type_=ARRAY(BigInteger)))
_BLOCKS_WITH_KEYS = text("SELECT number, ids, body, keys FROM list_block WHERE piece_id = :piece_id ORDER BY number")


_COUNTED = text(
    "SELECT id, organisation, seq, choice FROM list_piece WHERE NOT frozen AND expires_at < :now ORDER BY id LIMIT 1000"
)


def counted(connection: Connection, now: datetime) -> Rows:
    """Pieces whose time is over and whose members were never fixed."""
    return all_rows(connection, _COUNTED, now=now)


def insert_piece(connection: Connection, **values: Any) -> int | None:
    """A piece made elsewhere than in ``freeze``; None if there is one already."""
    found: int | None = connection.execute(_INSERT_PIECE, values).scalar_one_or_none()
    return found


def insert_block(connection: Connection, **values: Any) -> None:
    connection.execute(_INSERT_BLOCK, values)


def blocks_with_keys(connection: Connection, piece_id: int) -> Rows:
    return all_rows(connection, _BLOCKS_WITH_KEYS, piece_id=piece_id)


def expire(connection: Connection, now: datetime) -> int:
    """Drops rendered lines of pieces whose time is over; ids of blocks that were sent stay, as the audit points at them."""
    return connection.execute(_EXPIRE, {"now": now}).rowcount


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
