"""Dictionaries of ФФОМС, and any other whose columns are known, as items.

A code stands in as many lines as it has periods; where the code alone does not tell lines of one first day apart, the
columns before it in the layout go into the code (``1/25``: V023 numbers groups anew for each kind of help). What is
harmless is passed over and said in Russian; what makes the dictionary doubtful is refused with line and code.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise
from typing import Any

from gateway.nsi.catalogue import ALL, TABLES, Item
from gateway.nsi.layouts import Columns, leaf
from gateway.nsi.own import attribute, checked_day, has_form
from gateway.nsi.sources import CODE_LENGTH, Cell, Line, Source, refusal

NAME_LENGTH = 4000
_SHOWN = 5
_TWINS_SHARE = 20
"""Contradictions are few even in a bad edition; more than one line in so many means that the code is another column."""
_REGION = "tf_okato"


@dataclass(frozen=True, slots=True)
class _Record:
    number: int
    item: Item
    line: Line


def items(source: Source, dictionary: str, columns: Columns, region: str | None) -> tuple[tuple[Item, ...], list[str]]:
    """The items of a file and what was passed over. ``region`` (ОКАТО) leaves the organisations of one region.

    Raises ``dictionary.file``.
    """
    notes = _Notes(source.notes)
    kept = [column for column in source.columns if column and column not in columns.taken]
    records = []
    for number, line in source.lines():
        record = _Record(number, _item(line, dictionary, columns, kept, number, notes), line)
        if _wanted(record, dictionary, columns, region, notes):
            records.append(record)
    if not records and notes.counts.get(_FOREIGN):
        raise refusal(f"нет ни одной организации региона с ОКАТО {region}; регион задаёт настройка region_okato")
    if dictionary in TABLES:
        return _one_each(records, notes), notes.lines()
    return _periods(records, columns, notes), notes.lines()


def _periods(records: list[_Record], columns: Columns, notes: _Notes) -> tuple[Item, ...]:
    if columns.joined:
        records = [_composed(record, columns) for record in records]
    found, twins, repeated = _by_period(records)
    if twins and len(columns.code) > 1 and not columns.joined:
        notes.say(f"код составлен из {'/'.join(columns.code)}: один {columns.code[-1]} записи не различает")
        found, twins, repeated = _by_period([_composed(record, columns) for record in records])
    if len(twins) * _TWINS_SHARE > len(records):
        raise refusal("код повторяется с тем же первым днём", twins[0].number, twins[0].item.code)
    for twin in twins:
        notes.count("один код и первый день у разных записей, взята последняя в файле", twin.number)
    for record in repeated:
        notes.count("полный повтор записи", record.number)
    _mark_overlaps(found, notes)
    return found


_FOREIGN = "организации других регионов"
_NEVER = "срок окончен раньше, чем начат: запись никогда не действует"


class _Notes:
    """Lines in Russian about what was passed over: what, how many, where first."""

    def __init__(self, said: Iterable[str]) -> None:
        self._said = list(said)
        self.counts: dict[str, int] = {}
        self._places: dict[str, list[int]] = {}

    def say(self, text: str) -> None:
        self._said.append(text)

    def count(self, what: str, number: int) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1
        places = self._places.setdefault(what, [])
        if len(places) < _SHOWN:
            places.append(number)

    def lines(self) -> list[str]:
        return self._said + [
            f"{what} — {count} (строки {', '.join(map(str, self._places[what]))}{', …' if count > _SHOWN else ''})"
            for what, count in self.counts.items()
        ]


def _item(line: Line, dictionary: str, columns: Columns, kept: Iterable[str], number: int, notes: _Notes) -> Item:
    code = _single(line, columns.code[-1], number)
    if not code:
        raise refusal(f"нет кода ({columns.code[-1]})", number)
    _check_length(code, number)
    name = _single(line, columns.name, number, code) if columns.name else code
    if not name:
        notes.count("без наименования, им взят код", number)
        name = code
    if len(name) > NAME_LENGTH:
        raise refusal(f"наименование длиннее {NAME_LENGTH} знаков", number, code)
    since = min(_days(line, columns.since, number, code), default=None)
    ends = _days(line, columns.until, number, code)
    # of several periods inside one record one without an end is open
    open_end = len(ends) < max(1, _count(line.get(columns.since or "")))
    attributes = {
        column: held
        for column in kept
        if (value := line.get(column)) and (held := _held(dictionary, column, value, number, code))
    }
    return Item(code, name, None, attributes, since, None if open_end else max(ends))


def _held(dictionary: str, column: str, value: Cell, number: int, code: str) -> Any:
    """What is kept of a cell: several values as a list, what the rules of the product read in their own form."""
    if isinstance(value, tuple):
        return list(value)
    return attribute(ALL[dictionary], column, value, number, code) if dictionary in ALL else value


def _single(line: Line, column: str, number: int, code: str = "") -> str:
    value = line.get(column, "")
    if not isinstance(value, str):
        raise refusal(f"несколько значений в {column}", number, code)
    return value


def _check_length(code: str, number: int) -> None:
    if len(code) > CODE_LENGTH:
        raise refusal("код слишком длинный", number, code)


def _days(line: Line, column: str | None, number: int, code: str) -> list[date]:
    if column is None:
        return []
    value = line.get(column, "")
    texts = (value,) if isinstance(value, str) else value
    days = (checked_day(text, number, code) for text in texts)
    return [day for day in days if day]


def _count(value: Cell | None) -> int:
    return len(value) if isinstance(value, tuple) else 1


def _wanted(record: _Record, dictionary: str, columns: Columns, region: str | None, notes: _Notes) -> bool:
    item = record.item
    if item.valid_from and item.valid_to and item.valid_to < item.valid_from:
        notes.count(_NEVER, record.number)
        return False
    if not has_form(dictionary, item.code):
        notes.count("код не того вида", record.number)
        return False
    if dictionary == "ORGANISATIONS" and region:
        place = next((value for column, value in record.line.items() if leaf(column) == _REGION), "")
        if isinstance(place, str) and place and place != region:
            notes.count(_FOREIGN, record.number)
            return False
    return True


def _composed(record: _Record, columns: Columns) -> _Record:
    item = record.item
    code = "/".join(_single(record.line, column, record.number, item.code) for column in columns.code)
    _check_length(code, record.number)
    return _Record(record.number, replace(item, code=code), record.line)


def _by_period(records: Iterable[_Record]) -> tuple[tuple[Item, ...], list[_Record], list[_Record]]:
    """Items, one per code and first day; the records that contradict an earlier one (the last of them is taken), and
    those that repeat one."""
    found: dict[tuple[str, date | None], Item] = {}
    twins: list[_Record] = []
    repeated: list[_Record] = []
    for record in records:
        key = (record.item.code, record.item.valid_from)
        if key in found:
            (repeated if found[key] == record.item else twins).append(record)
        found[key] = record.item
    return tuple(found.values()), twins, repeated


def _by_code(items: Iterable[Item]) -> list[list[Item]]:
    """Items of each code by first day; the later of two that begin on one day stands last."""
    found: dict[str, list[Item]] = {}
    for item in items:
        found.setdefault(item.code, []).append(item)
    return [sorted(periods, key=lambda item: item.valid_from or date.min) for periods in found.values()]


def _mark_overlaps(items: Iterable[Item], notes: _Notes) -> None:
    overlapping = sum(
        any((one.valid_to or date.max) >= (later.valid_from or date.min) for one, later in pairwise(periods))
        for periods in _by_code(items)
    )
    if overlapping:
        notes.say(f"сроки записей одного кода пересекаются, действует начавшаяся позже — кодов {overlapping}")


def _one_each(records: Iterable[_Record], notes: _Notes) -> tuple[Item, ...]:
    """What a table with one line per code can hold: the newest line, in force since the first."""
    found, merged = [], 0
    for periods in _by_code(record.item for record in records):
        merged += len(periods) > 1
        found.append(replace(periods[-1], valid_from=periods[0].valid_from))
    if merged:
        notes.say(f"несколько записей одного кода сведены в одну — кодов {merged}")
    return tuple(found)
