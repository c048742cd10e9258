"""Lines of frozen lists: read as they stood at a number of the ledger, rendered once, kept compressed by 250."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import zstandard
from sqlalchemy import Connection

from gateway.lists import queries
from gateway.lists.model import LINE_COLUMNS, Line, LineRenderer
from gateway.lists.queries import BLOCK
from gateway.store.engine import Driver, Store, driver_of

NEAR = 5000
"""Up to here a first page is read by walking the index from the beginning of the list."""

_SEPARATOR = b"\0"
_KEYS = tuple(LINE_COLUMNS.index(name) for name in ("diagnosis_group", "enp", "doctor_snils", "insurer"))
_MONTHS = LINE_COLUMNS.index("planned_months")


@dataclass(frozen=True, slots=True)
class Part:
    """Records ``first``..``last`` (from 0, without the last) of one piece of a snapshot."""

    piece_id: int
    first: int
    last: int


def parts(pieces: Sequence[int], ends: Sequence[int], start: int, count: int) -> Iterator[Part]:
    """Where the records ``start``..``start + count`` (from 0) of a snapshot lie."""
    begin = 0
    for piece_id, end in zip(pieces, ends, strict=True):
        first, last = max(start, begin), min(start + count, end)
        if first < last:
            yield Part(piece_id, first - begin, last - begin)
        begin = end


def live(connection: Connection, part: Part, filters: Mapping[str, Any]) -> list[Line]:
    """Lines of a part of the list as it is in this transaction; the nearest ones without fixing who is in it."""
    driver = driver_of(connection)
    organisation, seq, frozen, _ = _piece(driver, part.piece_id)
    if not frozen and part.last <= NEAR:
        return queries.first_lines(connection, organisation, filters, part.first, part.last - part.first)
    if not frozen:
        queries.freeze_at(connection, part.piece_id, organisation, seq, filters)
    numbers = (part.piece_id, part.first // BLOCK, (part.last - 1) // BLOCK)
    ids = [id for row in driver.execute(queries.BLOCKS, numbers).fetchall() for id in row[1]]
    offset = part.first // BLOCK * BLOCK
    return lines_at(driver, organisation, seq, ids[part.first - offset : part.last - offset])


def lines_at(driver: Driver, organisation: str, seq: int, ids: Sequence[int]) -> list[Line]:
    """Lines of these entries as they stood in the organisation's list at ``seq``."""
    values = {"organisation": organisation, "seq": seq, "ids": list(ids)}
    rows = driver.execute(queries.LINES_AT, values).fetchall()
    return then(driver, organisation, seq, rows)


def then(driver: Driver, organisation: str, seq: int, rows: Sequence[tuple[Any, ...]]) -> list[Line]:
    """Puts the images of their time in place of lines that have changed or left since."""
    later = [row[0] for row in rows if row[0] is not None]
    if not later:
        return [row[1:] for row in rows]
    values = {"ids": later, "organisation": organisation, "seq": seq}
    before = {row[0]: row[1:] for row in driver.execute(queries.LINES_BEFORE, values)}
    return [row[1:] if row[0] is None else before.get(row[0], row[1:]) for row in rows]


def read(store: Store, driver: Driver, part: Part, render: LineRenderer) -> list[bytes]:
    """Rendered lines of a part; blocks that are not yet made or rendered are, and stay so."""
    numbers = (part.piece_id, part.first // BLOCK, (part.last - 1) // BLOCK)
    found = driver.execute(queries.BLOCKS, numbers).fetchall()
    if not found:
        _freeze(store, part.piece_id)
        found = driver.execute(queries.BLOCKS, numbers).fetchall()
    made = _rendered(driver, part.piece_id, [row for row in found if row[2] is None], render)
    lines: list[bytes] = []
    for number, _, body in found:
        block = made[number] if body is None else unpack(body)
        offset = number * BLOCK
        lines += block[max(0, part.first - offset) : part.last - offset]
    if len(lines) != part.last - part.first:
        raise LookupError(f"piece {part.piece_id} is not whole")
    return lines


def _freeze(store: Store, piece_id: int) -> None:
    with store.begin() as connection:
        organisation, seq, frozen, choice = _piece(driver_of(connection), piece_id)
        if not frozen:
            queries.freeze_at(connection, piece_id, organisation, seq, json.loads(choice))


def _rendered(
    driver: Driver, piece_id: int, missing: Sequence[tuple[Any, ...]], render: LineRenderer
) -> dict[int, list[bytes]]:
    """Blocks rendered for the first time, by number, and stored for the next."""
    if not missing:
        return {}
    organisation, seq, _, _ = _piece(driver, piece_id)
    ids = [id for row in missing for id in row[1]]
    lines = iter(render(lines_at(driver, organisation, seq, ids)))
    made = {row[0]: [next(lines) for _ in row[1]] for row in missing}
    driver.execute(queries.RENDERED, (list(made), [pack(block) for block in made.values()], piece_id))
    return made


def pack(lines: Sequence[bytes]) -> bytes:
    return packed(_SEPARATOR.join(lines))


def packed(joined: bytes) -> bytes:
    """A block of lines that are joined already."""
    return zstandard.compress(joined, 1)


def unpack(body: bytes) -> list[bytes]:
    return zstandard.decompress(body).split(_SEPARATOR)


def _piece(driver: Driver, piece_id: int) -> tuple[str, int, bool, str]:
    row = driver.execute(queries.PIECE, (piece_id,)).fetchone()
    if row is None:
        raise LookupError("a snapshot names a piece that is gone")
    return row[0], row[1], row[2], row[3]


def key_of(line: Line) -> str:
    """What filters of a closed list look at: group, ЕНП, doctor, insurer, planned months; one text line."""
    return "\t".join([*(line[n] or "" for n in _KEYS), line[_MONTHS] or ""])


def matches(key: str, filters: dict[str, str]) -> bool:
    """Whether a line of a closed list passes the filters."""
    group, enp, doctor, insurer, months = key.split("\t")
    have = {"group": group, "enp": enp, "doctor": doctor, "insurer": insurer}
    return all(value in months.split() if name == "month" else have[name] == value for name, value in filters.items())
