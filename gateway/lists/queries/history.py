"""SQL of single entries with what happened to them, and the columns of a line."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, RowMapping, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import BigInteger, Text

from gateway.lists.queries.shared import Rows, all_rows, one_row

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
    "WITH one AS MATERIALIZED (SELECT coalesce(successor_id, id) AS id FROM person WHERE enp = :enp)"
    " SELECT e.id FROM entry e WHERE e.person_id = ANY(ARRAY("
    "SELECT id FROM one UNION ALL SELECT id FROM person WHERE successor_id = (SELECT id FROM one)))"
    " AND (:organisations IS NULL OR e.organisation = ANY(:organisations)) AND (:insurer IS NULL OR e.insurer = :insurer)"
    " ORDER BY e.id"
).bindparams(bindparam("organisations", type_=ARRAY(Text)), bindparam("insurer", type_=Text))

_JOINED = text(
    """
    WITH RECURSIVE family AS (
        SELECT CAST(:entry_id AS bigint) AS id
        UNION SELECT (v.details->>'joined')::bigint FROM family f
        JOIN entry_event v ON v.entry_id = f.id AND v.cause = 'MERGE' AND v.details ? 'joined'
    ) SELECT id FROM family ORDER BY id <> :entry_id, id
    """
)

_REGISTER = text(
    "SELECT f.name, m.case_id, m.marked_on::text FROM mark m JOIN mark_file f ON f.id = m.file_id"
    " WHERE m.entry_id = ANY(:ids) AND m.step IN ('ADD', 'CONFIRM', 'END') AND m.taken_back_at IS NULL"
    " ORDER BY m.marked_on DESC, m.id DESC LIMIT 1"
).bindparams(bindparam("ids", type_=ARRAY(BigInteger)))

_OWNER = text("SELECT organisation, insurer FROM entry WHERE id = :id")


def lines(connection: Connection, ids: Sequence[int]) -> list[tuple[Any, ...]]:
    """(person, line…) of entries as they stand now."""
    return [tuple(row) for row in connection.execute(_LINES, {"ids": list(ids)})]


def visits(connection: Connection, entry_id: int) -> Rows:
    return all_rows(connection, _VISITS, entry_id=entry_id)


def events(connection: Connection, entry_id: int) -> Rows:
    return all_rows(connection, _EVENTS, entry_id=entry_id)


def joined(connection: Connection, entry_id: int) -> list[int]:
    """The entry and those of merged people that became one with it."""
    return list(connection.execute(_JOINED, {"entry_id": entry_id}).scalars())


def ids_of_person(
    connection: Connection, enp: str, organisations: Collection[str] | None, insurer: str | None
) -> list[int]:
    """Entries of a person, under whichever of its numbers, that the caller may see; None means no bound."""
    bound = None if organisations is None else list(organisations)
    return list(connection.execute(_IDS_OF_PERSON, {"enp": enp, "organisations": bound, "insurer": insurer}).scalars())


def register_of(connection: Connection, ids: Sequence[int]) -> tuple[str | None, ...]:
    """Packet, case and day of the mark in force that spoke of these entries last; all absent where none has."""
    found = connection.execute(_REGISTER, {"ids": list(ids)}).one_or_none()
    return (None, None, None) if found is None else tuple(found)


def owner(connection: Connection, entry_id: int) -> RowMapping | None:
    return one_row(connection, _OWNER, id=entry_id)
