"""The product's own form of a dictionary as items, with what the rules of the product need of each dictionary.

``code;name`` and, as needed, ``parent``, ``valid_from``, ``valid_to`` (``yyyy-MM-dd`` or ``dd.MM.yyyy``); any further
column is an attribute. A code may stand in several lines whose periods do not overlap.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from typing import Any

from gateway.domain import diagnoses, indicators
from gateway.errors import GatewayError
from gateway.nsi.catalogue import PROFILES, TABLES, Dictionary, Item
from gateway.nsi.sources import CODE_LENGTH, Source, day_of, refusal

COLUMNS = ("code", "name", "parent", "valid_from", "valid_to")
_YES, _NO = frozenset(("1", "true", "да")), frozenset(("", "0", "false", "нет"))
_CODES = {"ORGANISATIONS": re.compile(r"[0-9]{6}\Z"), "INSURERS": re.compile(r"[0-9]{5}\Z")}
_NAME_LENGTH = 1000


def items(source: Source, dictionary: Dictionary) -> Iterator[Item]:
    """The items of an own file; raises ``dictionary.file``."""
    if not {"code", "name"} <= set(source.columns):
        raise refusal("нет столбцов code и name (или столбцов официального файла)", 1)
    lines = list(coded(source, "code"))
    codes = {line["code"] for _, line in lines}
    extra = [name for name in source.columns if name and name not in COLUMNS]
    periods: dict[str, list[Item]] = {}
    for number, line in lines:
        code, parent = line["code"], line.get("parent") or None
        if parent and parent not in codes:
            raise refusal("нет записи с кодом из столбца parent", number, code)
        since = checked_day(line.get("valid_from", ""), number, code)
        until = checked_day(line.get("valid_to", ""), number, code)
        if since and until and until < since:
            raise refusal("valid_to раньше valid_from", number, code)
        if not has_form(dictionary.name, code):
            raise refusal("код не того вида", number, code)
        attributes = {
            name: value
            for name in extra
            if (value := attribute(dictionary, name, line.get(name, ""), number, code)) is not None
        }
        item = Item(code, checked_name(line["name"], number, code), parent, attributes, since, until)
        before = periods.setdefault(code, [])
        if before and (dictionary.name in TABLES or any(_overlap(item, other) for other in before)):
            raise refusal("код повторяется", number, code)
        before.append(item)
        yield item


def coded(source: Source, column: str) -> Iterator[tuple[int, Mapping[str, str]]]:
    """Lines whose cells hold one value each and whose code is there and not too long."""
    for number, cells in source.lines():
        line: dict[str, str] = {}
        for name, value in cells.items():
            if not isinstance(value, str):
                raise refusal(f"несколько значений в {name}", number)
            line[name] = value
        code = line.setdefault(column, "")
        if not code:
            raise refusal("нет кода", number)
        if len(code) > CODE_LENGTH:
            raise refusal("код слишком длинный", number, code)
        yield number, line


def has_form(dictionary: str, code: str) -> bool:
    """Whether a code has the form that a dictionary demands: 6 digits of an organisation, 5 of an insurer."""
    return dictionary not in _CODES or bool(_CODES[dictionary].match(code))


def checked_name(name: str | None, number: int, code: str) -> str:
    if not name or len(name) > _NAME_LENGTH:
        raise refusal(f"наименование пусто или длиннее {_NAME_LENGTH} знаков", number, code)
    return name


def checked_day(text: str, number: int, code: str) -> date | None:
    if not text:
        return None
    day = day_of(text)
    if day is None:
        raise refusal("дата не имеет формы ГГГГ-ММ-ДД или ДД.ММ.ГГГГ", number, code)
    return day


def _overlap(one: Item, other: Item) -> bool:
    return (one.valid_to or date.max) >= (other.valid_from or date.min) and (other.valid_to or date.max) >= (
        one.valid_from or date.min
    )


def attribute(dictionary: Dictionary, name: str, text: str, number: int, code: str) -> Any:
    """The value of a cell: yes for flags, checked text for what rules read; None where there is nothing to keep."""
    if name in dictionary.flags:
        if text.lower() in _YES:
            return True
        if text.lower() not in _NO:
            raise refusal(f"столбец {name}: допустимы true и false", number, code)
        return False if text else None
    check = _CHECKS.get((dictionary.name, name))
    if check and text and not check(text):
        raise refusal(f"столбец {name}: недопустимое значение", number, code)
    return text or None


def ranges(text: str) -> tuple[tuple[str, str], ...]:
    """Ranges of codes separated by blanks: ``I05-I28 I71``; raises ``diagnosis.format``."""
    found = []
    for part in text.split():
        first, _, last = part.partition("-")
        found.append((diagnoses.parse(first), diagnoses.parse(last or first)))
    return tuple(found)


def _are_ranges(text: str) -> bool:
    try:
        return all(first <= last or diagnoses.within(first, first, last) for first, last in ranges(text))
    except GatewayError:
        return False


def _is_care(text: str) -> bool:
    try:
        return bool(indicators.care_of(text))
    except ValueError:
        return False


_CHECKS: dict[tuple[str, str], Callable[[str], bool]] = {
    ("DIAGNOSIS_GROUPS", "ranges"): _are_ranges,
    ("INDICATORS", "ranges"): _are_ranges,
    ("INDICATORS", "care"): _is_care,
    ("INDICATORS", "match"): indicators.Match.__members__.__contains__,
    ("INDICATORS", "attribution"): indicators.Attribution.__members__.__contains__,
    ("SPECIALTIES", "profile"): PROFILES.__contains__,
}


def check_whole(dictionary: Dictionary, items: Iterable[Item]) -> None:
    """What an edition must hold for the rules of the product to work; raises ``dictionary.file``."""
    items = tuple(items)
    for name in dictionary.needs:
        if not any(item.attributes.get(name) for item in items):
            raise refusal(f"нет ни одной записи с признаком {name}")
    if dictionary.codes and {item.code for item in items} != dictionary.codes:
        raise refusal("состав кодов этого справочника менять нельзя, только наименования")
    if dictionary.name == "DIAGNOSIS_GROUPS" and not any("ranges" in item.attributes for item in items):
        raise refusal("нет столбца ranges")
    if dictionary.name == "DIAGNOSIS_GROUPS" and all(item.attributes.get("ranges") for item in items):
        raise refusal("нет группы без диапазонов — для прочих диагнозов")
    if dictionary.name == "INDICATORS":
        _check_indicators(items)


def _check_indicators(items: Iterable[Item]) -> None:
    for item in items:
        if missing := [name for name in ("care", "match", "attribution") if not item.attributes.get(name)]:
            raise refusal(f"не заполнено: {', '.join(missing)}", code=item.code)
        if bool(item.attributes.get("ranges")) == bool(item.attributes.get("group")):
            raise refusal("нужно одно из двух: ranges или group", code=item.code)
