"""Files of dictionaries: the official list of МКБ-10 and the product's own CSV. A file is right as a whole or refused.

Official МКБ-10 (НСИ 1.2.643.5.1.13.13.11.1005): ``ID;REC_CODE;MKB_CODE;MKB_NAME;ID_PARENT;ADDL_CODE;ACTUAL;DATE``; a
line with ACTUAL = 0 is in force until the day before DATE. Own CSV: ``code;name`` and, as needed, ``parent``,
``valid_from``, ``valid_to`` (``yyyy-MM-dd`` or ``dd.MM.yyyy``); any further column is an attribute. Columns stand in any
order.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from gateway.domain import diagnoses
from gateway.errors import GatewayError
from gateway.formats.tabular import REPLACED, Table, open_table
from gateway.nsi.catalogue import ALL, COMPUTED, PROFILES, Dictionary, Item

_OFFICIAL = ("id", "mkb_code", "mkb_name", "id_parent", "actual")
_OWN = ("code", "name", "parent", "valid_from", "valid_to")
_YES, _NO = frozenset(("1", "true", "да")), frozenset(("", "0", "false", "нет"))
_DIAGNOSIS = re.compile(r"[A-Z][0-9]{2}(?:\.[0-9]{1,2})?\Z")
_CODES = {"ORGANISATIONS": re.compile(r"[0-9]{6}\Z"), "INSURERS": re.compile(r"[0-9]{5}\Z")}
_VERSION = re.compile(r"v(\d+(?:\.\d+)*)", re.IGNORECASE)
_CODE_LENGTH, _NAME_LENGTH = 64, 1000
_FAR_PAST = date(1900, 1, 1)  # when a code without DATE went out of use


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds: the dictionary it is, the version its name tells, its items in the order of the file."""

    dictionary: str
    version: str | None
    sha256: str
    items: tuple[Item, ...]


Line = Mapping[str, str]


def refusal(what: str, line: int | None = None, code: str = "") -> GatewayError:
    """``dictionary.file`` with the line and the code at which the file is wrong."""
    place = f"строка {line}" if line else ""
    if code:
        place += f", код {code[:_CODE_LENGTH]}"
    return GatewayError("dictionary.file", what=f"{place}: {what}" if place else what)


def read(path: str | Path, dictionary: str | None = None) -> Content:
    """Reads a file whole; ``dictionary`` is needed where neither columns nor the name of the file tell it.

    Raises ``dictionary.file`` naming line and code, ``dictionary.unknown`` for a name that is no dictionary.
    """
    path = Path(path)
    if dictionary is not None and (dictionary not in ALL or dictionary == COMPUTED):
        raise GatewayError("dictionary.unknown")
    try:
        sha256 = _sha256(path)
        table = open_table(path)
        official = set(_OFFICIAL) <= set(table.header)
        name = _recognised(table, dictionary, official)
        items = tuple((_official_items if official else _own_items)(table, ALL[name]))
    except OSError:
        raise refusal("файл не читается") from None
    if not items:
        raise refusal("в файле нет ни одной записи")
    if name == "ICD10":
        items = _with_terminals(items)
    _check_whole(ALL[name], items)
    found = _VERSION.search(path.stem)
    return Content(name, found[1] if found else None, sha256, items)


def _sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()


def _recognised(table: Table, dictionary: str | None, official: bool) -> str:
    if len(set(table.header)) != len(table.header):
        raise refusal("столбец заголовка повторяется", 1)
    if official:
        if dictionary not in (None, "ICD10"):
            raise refusal("это официальный файл МКБ-10, а не названный справочник")
        return "ICD10"
    if not {"code", "name"} <= set(table.header):
        raise refusal("нет столбцов code и name (или столбцов официального файла МКБ-10)", 1)
    if dictionary:
        return dictionary
    stem = table.path.stem.upper()
    for name in ALL:
        if name != COMPUTED and (stem == name or stem.startswith((name + "_", name + "-", name + "."))):
            return name
    raise refusal("не ясно, какой это справочник: назовите его")


def _lines(table: Table, code_column: str) -> Iterator[tuple[int, Line]]:
    """Lines as mappings, checked for shape: columns, encoding, code and its length, no repeated code."""
    seen: set[str] = set()
    for number, cells in table.rows():
        if len(cells) != len(table.header):
            raise refusal("число столбцов не совпадает с заголовком", number)
        line = {name: cell.strip() for name, cell in zip(table.header, cells, strict=True)}
        code = line[code_column]
        if not code:
            if any(line.values()):
                raise refusal("нет кода", number)
            continue
        if any(REPLACED in cell or "\0" in cell for cell in line.values()):
            raise refusal("знаки не читаются в кодировке файла", number)
        if len(code) > _CODE_LENGTH:
            raise refusal("код слишком длинный", number, code)
        if code in seen:
            raise refusal("код повторяется", number, code)
        seen.add(code)
        yield number, line


def _official_items(table: Table, dictionary: Dictionary) -> Iterator[Item]:
    lines = list(_lines(table, "mkb_code"))
    codes = {line["id"]: line["mkb_code"] for _, line in lines}
    if len(codes) != len(lines):
        raise refusal("ID повторяется")
    for number, line in lines:
        code, parent = line["mkb_code"], line["id_parent"]
        if parent and parent not in codes:
            raise refusal("нет записи с ID_PARENT", number, code)
        if line["actual"] not in ("0", "1"):
            raise refusal("ACTUAL должен быть 0 или 1", number, code)
        ended = None
        if line["actual"] == "0":
            ended = (_day(line.get("date", ""), number, code) or _FAR_PAST) - timedelta(days=1)
        attributes = {"kind": _kind(code)}
        if line.get("addl_code"):
            attributes["additional"] = line["addl_code"]
        name = _name(line["mkb_name"], number, code)
        yield Item(code, name, codes.get(parent), attributes, None, ended)


def _kind(code: str) -> str:
    if "-" in code:
        return "block"
    if not _DIAGNOSIS.match(code):
        return "chapter"
    return "subrubric" if "." in code else "rubric"


def _own_items(table: Table, dictionary: Dictionary) -> Iterator[Item]:
    lines = list(_lines(table, "code"))
    codes = {line["code"] for _, line in lines}
    extra = [name for name in table.header if name and name not in _OWN]
    for number, line in lines:
        code, parent = line["code"], line.get("parent") or None
        if parent and parent not in codes:
            raise refusal("нет записи с кодом из столбца parent", number, code)
        since = _day(line.get("valid_from", ""), number, code)
        until = _day(line.get("valid_to", ""), number, code)
        if since and until and until < since:
            raise refusal("valid_to раньше valid_from", number, code)
        if dictionary.name in _CODES and not _CODES[dictionary.name].match(code):
            raise refusal("код не того вида", number, code)
        attributes = {
            name: value
            for name in extra
            if (value := _attribute(dictionary, name, line[name], number, code)) is not None
        }
        yield Item(code, _name(line["name"], number, code), parent, attributes, since, until)


def _name(name: str, number: int, code: str) -> str:
    if not name or len(name) > _NAME_LENGTH:
        raise refusal("наименование пусто или длиннее 1000 знаков", number, code)
    return name


def _day(text: str, number: int, code: str) -> date | None:
    if not text:
        return None
    for form in ("%Y-%m-%d", "%d.%m.%Y"):
        try:
            return datetime.strptime(text, form).date()
        except ValueError:
            continue
    raise refusal("дата не имеет формы ГГГГ-ММ-ДД или ДД.ММ.ГГГГ", number, code)


def _attribute(dictionary: Dictionary, name: str, text: str, number: int, code: str) -> Any:
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


_CHECKS: dict[tuple[str, str], Callable[[str], bool]] = {
    ("DIAGNOSIS_GROUPS", "ranges"): _are_ranges,
    ("SPECIALTIES", "profile"): PROFILES.__contains__,
}


def _with_terminals(items: tuple[Item, ...]) -> tuple[Item, ...]:
    """Marks the codes that have no subdivision in force: those stand in a diagnosis."""
    divided: set[str] = set()
    for item in items:
        if item.valid_to is None and _DIAGNOSIS.match(item.code) and "." in item.code:
            divided.update((item.code[:3], *(item.code[:end] for end in range(5, len(item.code)))))
    return tuple(
        replace(item, attributes={**item.attributes, "terminal": True})
        if _DIAGNOSIS.match(item.code) and item.code not in divided
        else item
        for item in items
    )


def _check_whole(dictionary: Dictionary, items: tuple[Item, ...]) -> None:
    for name in dictionary.needs:
        if not any(item.attributes.get(name) for item in items):
            raise refusal(f"нет ни одной записи с признаком {name}")
    if dictionary.codes and {item.code for item in items} != dictionary.codes:
        raise refusal("состав кодов этого справочника менять нельзя, только наименования")
    if dictionary.name == "DIAGNOSIS_GROUPS" and not any("ranges" in item.attributes for item in items):
        raise refusal("нет столбца ranges")
    if dictionary.name == "DIAGNOSIS_GROUPS" and all(item.attributes.get("ranges") for item in items):
        raise refusal("нет группы без диапазонов — для прочих диагнозов")
