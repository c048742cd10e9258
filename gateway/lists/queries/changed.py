"""SQL of the change feed: how far the lists have come, and what happened between two numbers of a list.

Statements for the driver's connection in autocommit: each sees one moment of the database. A number that a statement
finds in a ledger is committed together with all numbers before it, because writers hold the ledger until they commit;
so the events up to it are there, and none of them changes any more.
"""

from __future__ import annotations

from sqlalchemy import Connection, text

from gateway.lists.model import LINE_COLUMNS
from gateway.lists.queries.history import LINE_SQL

LEDGERS = "SELECT organisation, seq, forgotten FROM list_ledger"
LEDGER = "SELECT organisation, seq, forgotten FROM list_ledger WHERE organisation = %(organisation)s"

EXISTS = "SELECT FROM organisation WHERE code = %s"

_TIME = """to_char({}, 'YYYY-MM-DD"T"HH24:MI:SS.MSTZH:TZM')"""

CHANGES = f"""
    SELECT v.id, e.id IS NULL, v.version, CASE WHEN %(insured)s THEN v.before->>'insurer' END,
           l.forgotten > w.after, v.seq::text, {_TIME.format("v.recorded_at")}, v.kind, v.cause, v.source,
           e.person_id, {LINE_SQL.format(e="e")}
    FROM unnest(%(organisations)s::text[], %(after)s::bigint[], %(upto)s::bigint[]) WITH ORDINALITY
         AS w(organisation, after, upto, n)
    JOIN list_ledger l ON l.organisation = w.organisation
    JOIN entry_event v ON v.organisation = w.organisation AND v.seq > w.after AND v.seq <= w.upto
    LEFT JOIN entry e ON e.id = v.entry_id AND e.version = v.version AND v.kind <> 'MOVED_OUT'
    ORDER BY w.n, v.seq
"""
"""Changes of the lists after one number up to another, with the lines that they made. The second value says that the
line has changed or left since: `IMAGES` tells how it stood; the fifth that images of this stretch are no longer kept."""


def _of_image(column: str) -> str:
    """A value of a line out of the image: four times as fast as making a row of `entry` of it."""
    if column == "planned_months":
        # an array of yyyy-MM as text, ["2026-12", "2027-01"], without all but the months and the blanks between
        return """translate(x.before->>'planned_months', '[]",', '')"""
    if column == "changed_at":
        return _TIME.format("(x.before->>'changed_at')::timestamptz")
    return f"x.before->>'{'id' if column == 'entry_id' else column}'"


_IMAGE_SQL = f"(x.before->>'person_id')::bigint, {', '.join(map(_of_image, LINE_COLUMNS))}"

IMAGES = f"""
    SELECT v.id, {_IMAGE_SQL}
    FROM unnest(%(ids)s::bigint[]) AS w(id)
    JOIN entry_event v ON v.id = w.id
    JOIN entry_event x ON x.entry_id = v.entry_id AND x.before IS NOT NULL
     AND x.version = CASE WHEN v.kind = 'MOVED_OUT' THEN v.version ELSE v.version + 1 END
"""
"""Lines as they stood after these changes: the image that the next change of the entry kept, and for a move away the
last line of the list that was left."""

BEFORE = f"SELECT x.id, {_IMAGE_SQL} FROM entry_event x WHERE x.id = ANY(%(ids)s) AND x.before IS NOT NULL"
"""Lines as they stood before these changes."""

# Retention ------------------------------------------------------------------------------------------------------------

_OUTDATED = text(
    """
    SELECT l.organisation FROM list_ledger l
    WHERE l.forgotten < l.seq AND (SELECT v.recorded_at FROM entry_event v
        WHERE v.organisation = l.organisation AND v.seq > l.forgotten ORDER BY v.seq LIMIT 1) < :before
    ORDER BY l.organisation LIMIT 1
    """
)
_FORGET = text(
    """
    WITH oldest AS MATERIALIZED (
        SELECT v.id, v.seq, v.kind, v.recorded_at FROM entry_event v
        WHERE v.organisation = :organisation
          AND v.seq > (SELECT forgotten FROM list_ledger WHERE organisation = :organisation)
        ORDER BY v.seq LIMIT :portion
    ), gone AS MATERIALIZED (
        SELECT id, seq, kind FROM oldest
        WHERE seq < coalesce((SELECT min(seq) FROM oldest WHERE recorded_at >= :before), 9223372036854775807)
    ), dropped AS (
        UPDATE entry_event v SET before = NULL FROM gone
        WHERE v.id = gone.id AND gone.kind <> 'MOVED_OUT' AND v.before IS NOT NULL
    )
    SELECT count(*), max(seq) FROM gone
    """
)
_FORGOTTEN = text("UPDATE list_ledger SET forgotten = :seq WHERE organisation = :organisation AND forgotten < :seq")


def outdated(connection: Connection, before: object) -> str | None:
    """An organisation whose oldest image is older than that."""
    found: str | None = connection.execute(_OUTDATED, {"before": before}).scalar_one_or_none()
    return found


def forget(connection: Connection, organisation: str, before: object, portion: int) -> int:
    """Drops the images of the oldest changes of a list, up to the first that is not older than that; how many changes.

    Writers of the list wait only for the end of this transaction: the ledger is written last.
    """
    values = {"organisation": organisation, "before": before, "portion": portion}
    count, last = connection.execute(_FORGET, values).one()
    if count:
        connection.execute(_FORGOTTEN, {"organisation": organisation, "seq": last})
    return int(count)
