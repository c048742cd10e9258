"""SQL of marks on lists: how people stand with their diseases by true days."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import BigInteger

from gateway.lists.queries.shared import Rows, all_rows

# the last change is told by its true day where the entry keeps one: in lists it counts from the first open day, which is
# no sign that somebody acted later; what sources and registers say of the person is no change of the observation
_STAYS = text(
    """
    SELECT s.entry_id, s.person_id, s.diagnosis_key, s.organisation, s.true_from, s.true_to, s.since, s.until,
           e.status = 'ANNULLED' AS annulled, e.organisation AS holder, e.observed_since, e.last_visit_on,
           greatest(CASE WHEN e.status <> 'ANNULLED' THEN e.observed_since END, e.last_visit_on, e.excluded_on, (
               SELECT max(v.effective_on) FROM entry_event v WHERE v.entry_id = e.id AND v.cause <> 'MARK'
               AND v.kind IN ('PLANNED', 'REOPENED', 'DIAGNOSIS_CHANGED', 'CORRECTED', 'ANNULLED'))) AS changed_on
    FROM observation_segment s JOIN entry e ON e.id = s.entry_id
    WHERE s.person_id = ANY(:persons) ORDER BY s.person_id, s.since, s.id
    """
).bindparams(bindparam("persons", type_=ARRAY(BigInteger)))

_HOLDERS = text("SELECT id, organisation, person_id FROM entry WHERE id = ANY(:ids)").bindparams(
    bindparam("ids", type_=ARRAY(BigInteger))
)


def stays(connection: Connection, persons: Iterable[int]) -> Rows:
    """Every stretch of observation of these persons, whoever observes, with the day of the entry's last change."""
    return all_rows(connection, _STAYS, persons=list(persons))


def holders(connection: Connection, ids: Iterable[int]) -> Rows:
    """Whose these entries are."""
    return all_rows(connection, _HOLDERS, ids=list(ids))
