"""SQL of exports: lines of a frozen list in their order, rendered in the database or as columns.

Rendering is concatenation, the fastest way here. Whether anything has to be escaped is asked once per line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping, text

from gateway.formats import listing_csv, listing_xml
from gateway.formats.listing import COLUMNS, Column
from gateway.lists.queries.frozen import _HEAD, BLOCK, _filters, _observed
from gateway.lists.queries.history import LINE_SQL
from gateway.lists.queries.shared import one_row
from gateway.store.tables import entry

_COLUMNS = COLUMNS[1:]


# lines as text --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Cell:
    """A value of a line with what stands around it only if it is there."""

    value: str
    before: str
    after: str
    always: bool


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _field(column: Column) -> str:
    return "e.id" if column.name == "entryId" else f"e.{column.line}"


def _always(column: Column) -> bool:
    return column.kind != "months" and not entry.c[_field(column)[2:]].nullable


def _line(start: str, cells: Iterable[_Cell], between: str, end: str) -> str:
    """The concatenation of a line: ``start``, then cells, each after ``between``.

    Literals that meet are one, and pieces are joined as a balanced tree: each character is copied few times.
    """
    pieces: list[str] = []
    literal = start
    for cell in cells:
        literal += between
        if cell.always:
            pieces += [_quoted(literal + cell.before), cell.value]
            literal = cell.after
            continue
        if literal:
            pieces.append(_quoted(literal))
            literal = ""
        pieces.append(f"coalesce({_quoted(cell.before)} || {cell.value} || {_quoted(cell.after)}, '')")
    return _tree([*pieces, _quoted(literal + end)])


def _tree(pieces: Sequence[str]) -> str:
    if len(pieces) == 1:
        return pieces[0]
    middle = len(pieces) // 2
    return f"({_tree(pieces[:middle])} || {_tree(pieces[middle:])})"


def _replaced(value: str, pairs: Iterable[tuple[str, str]]) -> str:
    for old, new in pairs:
        value = f"replace({value}, {_quoted(old)}, {_quoted(new)})"
    return value


_FREE = tuple(
    column for column in _COLUMNS if column.kind in ("text", "code") and column.name not in ("entryId", "sex")
)
"""Columns that may hold any character."""

_TIME_SQL = "to_char({}, 'YYYY-MM-DD\"T\"HH24:MI:SS.MSTZH:TZM')"

# what XML 1.0 can not hold is left out, as the codec of the SOAP door does
_NOT_XML = "".join(map(chr, (*range(1, 9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF)))
_XML_ENTITIES = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\r", "&#13;"))


def _xml_cell(column: Column, escaped: bool) -> _Cell:
    start, end, field = listing_xml.open_tag(column), listing_xml.close_tag(column), _field(column)
    value = f"{field}::text"
    if column.kind == "months":
        value = f"nullif(array_to_string({field}, '{end}{start}'), '')"
    elif column.kind == "time":
        value = _TIME_SQL.format(field)
    elif escaped and column in _FREE:
        value = _replaced(f"translate({value}, {_quoted(_NOT_XML)}, '')", _XML_ENTITIES)
    return _Cell(value, start, end, _always(column))


KEPT_END = f"</{listing_xml.RECORD}>"
"""Lines that closed lists keep end with the end of their record."""


def _xml(escaped: bool, end: str = "") -> str:
    return _line("", (_xml_cell(column, escaped) for column in _COLUMNS), "", end)


_SPACES = " " * len(listing_csv.CONTROLS)
_LITERAL, _LITERAL_END = '"=""', '"""'
"""Around a text that a spreadsheet must not look into; its quotes are doubled for the formula and for the cell."""

_IN_LITERAL = (('"', '""""'),)
_IN_QUOTES = (('"', '""'),)


def _csv_cell(column: Column, escaped: bool) -> _Cell:
    field, always = _field(column), _always(column)
    value = f"{field}::text"
    if escaped and column in _FREE:
        value = f"translate({value}, {_quoted(listing_csv.CONTROLS)}, {_quoted(_SPACES)})"
    match column.kind:
        case "date":
            value = f"to_char({field}, 'DD.MM.YYYY')"
        case "time":
            value = f"to_char({field}, 'DD.MM.YYYY HH24:MI:SS')"
        case "bool":
            value = f"CASE WHEN {field} THEN '{listing_csv.YES}' ELSE '{listing_csv.NO}' END"
        case "months" | "code":
            value = f"array_to_string({field}, ' ')" if column.kind == "months" else value
            value = _replaced(value, _IN_LITERAL) if escaped and column in _FREE else value
            return _Cell(value if always else f"nullif({value}, '')", _LITERAL, _LITERAL_END, always)
        case "text" if escaped:
            value = _csv_text(value)
    return _Cell(value, "", "", always)


def _csv_text(value: str) -> str:
    formula = " || ".join((_quoted(_LITERAL), _replaced(value, _IN_LITERAL), _quoted(_LITERAL_END)))
    quoted = " || ".join((_quoted('"'), _replaced(value, _IN_QUOTES), _quoted('"')))
    return (
        f"CASE WHEN {value} ~ '^[{listing_csv.FORMULA}]' THEN {formula}"
        f" WHEN {value} ~ '[{listing_csv.SPECIAL}]' THEN {quoted} ELSE {value} END"
    )


def _csv(escaped: bool) -> str:
    return _line("", (_csv_cell(column, escaped) for column in _COLUMNS), ";", "")


def _looked_at(between: str) -> str:
    """All that may hold any character, side by side."""
    fields = [_field(column) if _always(column) else f"coalesce({_field(column)}, '')" for column in _FREE]
    return _tree([f"{_quoted(between)} || {field}" for field in fields] if between else fields)


_BETWEEN = "\ue000"
_XML_SPECIAL = f"[&<>\r{_NOT_XML}]"
_CSV_SPECIAL = f"[{listing_csv.SPECIAL}{listing_csv.CONTROLS}]|{_BETWEEN}[{listing_csv.FORMULA}]"

LINE_XML = f"CASE WHEN {_looked_at('')} ~ {_quoted(_XML_SPECIAL)} THEN {_xml(True)} ELSE {_xml(False)} END"
LINE_CSV = f"CASE WHEN {_looked_at(_BETWEEN)} ~ {_quoted(_CSV_SPECIAL)} THEN {_csv(True)} ELSE {_csv(False)} END"
LINE_KEPT = (
    f"CASE WHEN {_looked_at('')} ~ {_quoted(_XML_SPECIAL)} THEN {_xml(True, KEPT_END)} ELSE {_xml(False, KEPT_END)} END"
)
LINE_ROW = LINE_SQL.format(e="e")
"""Lines without their numbers: who takes them counts, a window over all of them would cost more."""


# which lines ----------------------------------------------------------------------------------------------------------

_NOW = "SELECT e.* FROM entry e WHERE {observed}"

# who was under observation at a number of the ledger: as they are, unless changed since, and the others as they were
_THEN = """
    SELECT e.* FROM entry e WHERE {observed} AND e.seq <= :seq
    UNION ALL
    SELECT e.*
    FROM (SELECT DISTINCT ON (entry_id) before FROM entry_event
          WHERE organisation = :organisation AND seq > :seq ORDER BY entry_id, seq) AS f,
         LATERAL jsonb_populate_record(NULL::entry, f.before) AS e
    WHERE f.before IS NOT NULL AND {observed}
"""

# rendering comes after sorting and skipping: OFFSET keeps them apart
_COUNTED = """
    SELECT {line} FROM (
        SELECT e.* FROM ({standing}) AS e ORDER BY e.name_key, e.birth_date, e.id OFFSET :skip
    ) AS e
"""

_FROZEN = f"""
    WITH member AS MATERIALIZED (
        SELECT m.id, b.number::bigint * {BLOCK} + m.n AS n
        FROM list_block b, unnest(b.ids) WITH ORDINALITY AS m(id, n)
        WHERE b.piece_id = :piece_id AND b.number >= :skip / {BLOCK}
    )
    SELECT {{line}} FROM (
        SELECT e.*, m.n FROM member m JOIN entry e ON e.id = m.id
        WHERE m.n > :skip AND e.organisation = :organisation AND e.seq <= :seq
        UNION ALL
        SELECT h.*, m.n FROM member m JOIN entry e ON e.id = m.id
        LEFT JOIN LATERAL (
            SELECT v.before FROM entry_event v WHERE v.entry_id = m.id AND v.organisation = :organisation
              AND v.before IS NOT NULL AND (v.seq > :seq OR v.kind = 'MOVED_OUT')
            ORDER BY v.seq > :seq DESC, CASE WHEN v.seq > :seq THEN v.seq ELSE -v.seq END LIMIT 1) AS f ON true
        CROSS JOIN LATERAL jsonb_populate_record(NULL::entry, coalesce(f.before, to_jsonb(e))) AS h
        WHERE m.n > :skip AND (e.organisation <> :organisation OR e.seq > :seq)
        ORDER BY n OFFSET 0
    ) AS e
"""


def lines_of_counted(line: str, filters: Mapping[str, Any], *, unchanged: bool) -> str:
    """The lines of a piece that was only counted, after the first ``skip``.

    ``unchanged``: the list still is what it was. Values: organisation, seq, skip and those of the filters.
    """
    standing = (_NOW if unchanged else _THEN).format(observed=_observed(_filters(filters)))
    return _placed(_COUNTED.format(line=line, standing=standing))


def lines_of_frozen(line: str) -> str:
    """The same of a piece whose members are fixed. Values: piece_id, organisation, seq, skip."""
    return _placed(_FROZEN.format(line=line))


def _placed(query: str) -> str:
    """With the placeholders of the driver."""
    return re.sub(r"(?<!:):([a-z_]+)", r"%(\1)s", query)


ONE_VIEW = ("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "SET LOCAL work_mem = '64MB'")
"""What a piece is and its lines are read from one view of the database; the largest piece is sorted in memory."""

END_VIEW = "COMMIT"

BODIES = "SELECT body FROM list_block WHERE piece_id = %s AND number >= %s ORDER BY number LIMIT %s"
"""Blocks of a closed list with their rendered lines."""

PIECE_OF_EXPORT = """
    SELECT p.organisation, p.seq, p.frozen, l.forgotten <= p.seq, l.seq = p.seq
    FROM list_piece p JOIN list_ledger l ON l.organisation = p.organisation WHERE p.id = %s
"""
"""What a piece is, whether the images that tell how it stood are still kept, and whether the list still is the same."""

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
