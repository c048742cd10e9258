"""SQL of exports: lines of a frozen list in their order, as COPY sends them, rendered in the database or as columns.

Rendering is concatenation, the fastest way here. Whether anything has to be escaped is asked once per line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from gateway.formats import listing_csv, listing_xml
from gateway.formats.listing import COLUMNS, Column
from gateway.lists.queries.frozen import _HEAD, BLOCK, _filters, _observed
from gateway.lists.queries.history import LINE_SQL
from gateway.lists.queries.shared import one_row

_COLUMNS = COLUMNS[1:]
_NUMBER = "e.number"


# lines as text --------------------------------------------------------------------------------------------------------


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _field(column: Column) -> str:
    return "e.id" if column.name == "entryId" else f"e.{column.line}"


_FREE = tuple(
    column for column in _COLUMNS if column.kind in ("text", "code") and column.name not in ("entryId", "sex")
)
"""Columns that may hold any character."""

_ALL_FREE = f"concat({', '.join(map(_field, _FREE))})"
_TIME_SQL = "to_char({}, 'YYYY-MM-DD\"T\"HH24:MI:SS.MSTZH:TZM')"

# what XML 1.0 can not hold is left out, as the codec of the SOAP door does
_NOT_XML = "".join(map(chr, (*range(1, 9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF)))
_XML_SPECIAL = f"[&<>\r{_NOT_XML}]"


def _xml_escaped(value: str) -> str:
    value = f"translate({value}, {_quoted(_NOT_XML)}, '')"
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\r", "&#13;")):
        value = f"replace({value}, {_quoted(character)}, '{entity}')"
    return value


def _xml(escaped: bool) -> str:
    pieces = [f"'<{listing_xml.RECORD}><{listing_xml.NUMBER}>'", _NUMBER, f"'</{listing_xml.NUMBER}>'"]
    for column in _COLUMNS:
        start, end = listing_xml.open_tag(column), listing_xml.close_tag(column)
        value = f"{_field(column)}::text"
        if column.kind == "months":
            value = f"nullif(array_to_string({_field(column)}, '{end}{start}'), '')"
        elif column.kind == "time":
            value = _TIME_SQL.format(_field(column))
        elif escaped and column in _FREE:
            value = _xml_escaped(value)
        pieces.append(f"'{start}' || {value} || '{end}'")
    pieces.append(f"'</{listing_xml.RECORD}>'")
    return f"concat({', '.join(pieces)})"


_SPACES = " " * len(listing_csv.CONTROLS)
_BETWEEN = "\ue000"
_CSV_LOOKED = f"concat_ws({_quoted(_BETWEEN)}, '', {', '.join(map(_field, _FREE))})"
_CSV_SPECIAL = f"[{listing_csv.SPECIAL}{listing_csv.CONTROLS}]|{_BETWEEN}[{listing_csv.FORMULA}]"


def _csv_text(value: str) -> str:
    blank = f"translate({value}, {_quoted(listing_csv.CONTROLS)}, {_quoted(_SPACES)})"
    quote = f"'\"' || replace({blank}, '\"', '\"\"') || '\"'"
    formula = "(" + " OR ".join(f"{value} LIKE '{one}%%'" for one in listing_csv.FORMULA) + ")"
    return (
        f"CASE WHEN {formula} THEN {_csv_literal(value, True)} WHEN {value} ~ '[{listing_csv.SPECIAL}]' THEN {quote}"
        f" ELSE {blank} END"
    )


def _csv_literal(value: str, escaped: bool) -> str:
    if escaped:
        blank = f"translate({value}, {_quoted(listing_csv.CONTROLS)}, {_quoted(_SPACES)})"
        value = f'replace({blank}, \'"\', \'""""\')'
    return f'\'"=""\' || {value} || \'"""\''


def _csv_cell(column: Column, escaped: bool) -> str:
    field = _field(column)
    match column.kind:
        case "date":
            return f"to_char({field}, 'DD.MM.YYYY')"
        case "time":
            return f"to_char({field}, 'DD.MM.YYYY HH24:MI:SS')"
        case "bool":
            return f"CASE {field} WHEN true THEN '{listing_csv.YES}' WHEN false THEN '{listing_csv.NO}' END"
        case "months":
            return _csv_literal(f"nullif(array_to_string({field}, ' '), '')", False)
        case "code":
            return _csv_literal(f"nullif({field}::text, '')", escaped and column in _FREE)
        case "text" if escaped:
            return _csv_text(f"{field}::text")
    return f"{field}::text"


def _csv(escaped: bool) -> str:
    pieces = [_NUMBER]
    for column in _COLUMNS:
        pieces += ["';'", _csv_cell(column, escaped)]
    return f"concat({', '.join(pieces)})"


LINE_XML = f"CASE WHEN {_ALL_FREE} ~ {_quoted(_XML_SPECIAL)} THEN {_xml(True)} ELSE {_xml(False)} END"
LINE_CSV = f"CASE WHEN {_CSV_LOOKED} ~ {_quoted(_CSV_SPECIAL)} THEN {_csv(True)} ELSE {_csv(False)} END"
LINE_ROW = f"{_NUMBER}, {LINE_SQL.format(e='e')}"


# which lines ----------------------------------------------------------------------------------------------------------

# who was under observation at a number of the ledger: as they are, unless changed since, and the others as they were
_STANDING = """
    SELECT e.* FROM entry e WHERE {observed} AND e.seq <= :seq
    UNION ALL
    SELECT e.*
    FROM (SELECT DISTINCT ON (entry_id) before FROM entry_event
          WHERE organisation = :organisation AND seq > :seq ORDER BY entry_id, seq) AS f,
         LATERAL jsonb_populate_record(NULL::entry, f.before) AS e
    WHERE f.before IS NOT NULL AND {observed}
"""

_COUNTED = """
    SELECT {line} FROM (
        SELECT e.*, :before + row_number() OVER (ORDER BY e.name_key, e.birth_date, e.id) AS number
        FROM ({standing}) AS e ORDER BY e.name_key, e.birth_date, e.id OFFSET :skip
    ) AS e ORDER BY e.name_key, e.birth_date, e.id
"""

_FROZEN = f"""
    WITH member AS MATERIALIZED (
        SELECT m.id, b.number::bigint * {BLOCK} + m.n AS n
        FROM list_block b, unnest(b.ids) WITH ORDINALITY AS m(id, n)
        WHERE b.piece_id = :piece_id AND b.number >= :skip / {BLOCK}
    )
    SELECT {{line}} FROM (
        SELECT e.*, :before + m.n AS number FROM member m JOIN entry e ON e.id = m.id
        WHERE m.n > :skip AND e.organisation = :organisation AND e.seq <= :seq
        UNION ALL
        SELECT h.*, :before + m.n FROM member m JOIN entry e ON e.id = m.id
        LEFT JOIN LATERAL (
            SELECT v.before FROM entry_event v WHERE v.entry_id = m.id AND v.organisation = :organisation
              AND v.before IS NOT NULL AND (v.seq > :seq OR v.kind = 'MOVED_OUT')
            ORDER BY v.seq > :seq DESC, CASE WHEN v.seq > :seq THEN v.seq ELSE -v.seq END LIMIT 1) AS f ON true
        CROSS JOIN LATERAL jsonb_populate_record(NULL::entry, coalesce(f.before, to_jsonb(e))) AS h
        WHERE m.n > :skip AND (e.organisation <> :organisation OR e.seq > :seq)
    ) AS e ORDER BY e.number
"""


def lines_of_counted(line: str, filters: Mapping[str, Any]) -> str:
    """COPY of the lines of a piece that was only counted, after the first ``skip``, numbered from ``before`` + 1.

    Values: organisation, seq, before, skip and those of the filters.
    """
    standing = _STANDING.format(observed=_observed(_filters(filters)))
    return _copy(_COUNTED.format(line=line, standing=standing))


def lines_of_frozen(line: str) -> str:
    """The same of a piece whose members are fixed. Values: piece_id, organisation, seq, before, skip."""
    return _copy(_FROZEN.format(line=line))


def _copy(query: str) -> str:
    """With the placeholders of the driver, which puts the values in by itself: COPY takes no parameters."""
    return "COPY (" + re.sub(r"(?<!:):([a-z_]+)", r"%(\1)s", query) + ") TO STDOUT (NULL '')"


BODIES = "SELECT body FROM list_block WHERE piece_id = %s AND number >= %s ORDER BY number LIMIT %s"
"""Blocks of a closed list with their rendered lines."""

PIECE_OF_EXPORT = """
    SELECT p.organisation, p.seq, p.frozen, l.forgotten <= p.seq
    FROM list_piece p JOIN list_ledger l ON l.organisation = p.organisation WHERE p.id = %s
"""
"""What a piece is, and whether the images that tell how it stood are still kept."""

HEAD_OF_EXPORT = f"SELECT {_HEAD} FROM list_snapshot s WHERE s.id = %s"

_CHOICE = text("SELECT choice, edition FROM list_snapshot WHERE id = :id")
_SOON = text("SET LOCAL synchronous_commit = off")


def choice_of(connection: Connection, snapshot_id: UUID) -> RowMapping | None:
    """The wish that a snapshot was given out for."""
    return one_row(connection, _CHOICE, id=snapshot_id)


def commit_soon(connection: Connection) -> None:
    """The commit of this transaction need not wait for the disk: what must not outlive it is in the same transaction,
    and whoever reads the result leaves an audit record, whose commit does wait."""
    connection.execute(_SOON)
