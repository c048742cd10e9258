"""Files of dictionaries: which dictionary a file is, what it holds and how it was understood. Right as a whole or refused.

Three forms are known: the official list of МКБ-10 (`icd10`), the product's own ``code;name`` (`own`), and the
dictionaries of ФФОМС in their own columns (`official`), each as a CSV table or as a packet in XML.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from errno import ENOSPC
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory

from gateway.errors import GatewayError
from gateway.formats import archive
from gateway.nsi import icd10, layouts, official, own
from gateway.nsi.catalogue import ALL, COMPUTED, OFFICIAL, Item
from gateway.nsi.layouts import Columns
from gateway.nsi.sources import Line, Source, opened, refusal

_MANY = "dict"
"""The column that names the dictionary of each line where one file holds several."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What the operator says of a file: its dictionary, its columns, the region (ОКАТО) whose organisations are wanted;
    ``archive_bytes`` bound the content of an archive."""

    dictionary: str | None = None
    code: tuple[str, ...] = ()
    name: str | None = None
    region: str | None = None
    archive_bytes: int = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds of one dictionary: items in the order of the file, the version and the day it tells of itself.

    ``columns`` say what was taken for what, ``attributes`` which columns were kept beside, ``notes`` what was passed
    over. ``sha256`` is that of the file, with the columns that the operator named and the region whose
    organisations were taken.
    """

    dictionary: str
    version: str | None
    sha256: str
    items: tuple[Item, ...]
    valid_from: date | None = None
    columns: Columns | None = None
    attributes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def read(path: str | Path, dictionary: str | None = None) -> Content:
    """The only dictionary of a file; see `read_all`."""
    contents = read_all(path, Wish(dictionary))
    if len(contents) > 1:
        raise refusal("в файле несколько справочников: назовите один")
    return contents[0]


def read_all(path: str | Path, wish: Wish) -> list[Content]:
    """Reads a file whole. ``wish.dictionary`` is needed where neither columns nor the name of the file tell it.

    Raises ``dictionary.file`` naming line and code, ``dictionary.unknown`` for a name that is no dictionary.
    """
    _check(wish)
    try:
        with TemporaryDirectory(prefix="dn-gateway-nsi-") as folder:
            source = _opened(Path(path), Path(folder), wish.archive_bytes)
            if _MANY in source.columns and _has_own(source):
                return [_content(part, replace(wish, dictionary=name)) for name, part in _parts(source, wish)]
            return [_content(source, wish)]
    except OSError as error:
        if error.errno == ENOSPC:
            raise GatewayError("server.disk-full") from None
        raise refusal("файл не читается") from None


def _opened(path: Path, folder: Path, archive_bytes: int) -> Source:
    """The file, or the one inside an archive: the name inside tells the dictionary, else that of the archive."""
    if not archive.is_archive(path):
        return opened(path, path.stem)
    try:
        content, name = archive.unpacked(path, folder, archive_bytes=archive_bytes)
    except GatewayError as error:
        raise refusal(error.message) from None
    stem = PurePath(name).stem
    return opened(content, stem if _by_stem(stem) else path.stem)


def _check(wish: Wish) -> None:
    """A name that neither the catalogue nor ФФОМС knows is taken only with its columns, so that a slip is not a name."""
    name = wish.dictionary
    if name is None or (name in ALL and name != COMPUTED) or layouts.is_official(name):
        return
    if name == COMPUTED or not layouts.is_name(name) or not (wish.code and wish.name):
        raise GatewayError("dictionary.unknown")


def _content(source: Source, wish: Wish) -> Content:
    if set(source.columns) >= icd10.COLUMNS:
        if wish.dictionary not in (None, "ICD10"):
            raise refusal("это официальный файл МКБ-10, а не названный справочник")
        return _made(
            source, wish, "ICD10", tuple(icd10.items(source)), Columns(("mkb_code",), "mkb_name", None, "date")
        )
    name = _recognised(source, wish)
    target = OFFICIAL.get(name, name)
    if target in ALL and not _is_official(source, wish, target):
        return _made(source, wish, target, tuple(own.items(source, ALL[target])), _own_columns(source))
    columns = _columns(source, wish, name)
    items, notes = official.items(source, target, columns, wish.region)
    return _made(source, wish, target, items, columns, notes)


def _recognised(source: Source, wish: Wish) -> str:
    by_columns = layouts.of_columns(source.columns)
    name = wish.dictionary or _by_stem(source.stem) or layouts.of_type(source.kind)
    if name is None:
        if len(by_columns) != 1:
            if not source.columns or not _has_own(source):
                raise refusal("нет столбцов code и name (или столбцов официального файла)", 1)
            raise refusal("не ясно, какой это справочник: назовите его")
        return next(iter(by_columns))
    fitting = by_columns | {OFFICIAL.get(one, one) for one in by_columns}
    if by_columns and name not in fitting and not wish.code and not _has_own(source):
        raise refusal(f"назван {name}, а столбцы — справочника {', '.join(sorted(by_columns))}")
    return name


def _has_own(source: Source) -> bool:
    return {"code", "name"} <= set(source.columns)


def _by_stem(stem: str) -> str | None:
    stem = stem.upper()
    for name in ALL:
        if name != COMPUTED and (stem == name or stem.startswith((name + "_", name + "-", name + "."))):
            return name
    return layouts.of_file(stem)


def _is_official(source: Source, wish: Wish, target: str) -> bool:
    """Whether a dictionary of the product comes in columns of ФФОМС, or in those that the operator names."""
    if wish.code or wish.name:
        return True
    return not _has_own(source) and any(OFFICIAL.get(one) == target for one in layouts.of_columns(source.columns))


def _columns(source: Source, wish: Wish, name: str) -> Columns:
    try:
        columns = layouts.told(name, source.columns, wish.code, wish.name)
    except KeyError:
        raise refusal(f"нет названного столбца; в файле есть: {_listed(source.columns)}") from None
    if columns is None:
        raise refusal(f"не ясно, где код и наименование: назовите столбцы (в файле есть: {_listed(source.columns)})")
    return columns


def _listed(columns: tuple[str, ...]) -> str:
    return ", ".join(columns[:30]) or "ни одного"


def _own_columns(source: Source) -> Columns:
    there = set(source.columns)
    return Columns(
        ("code",), "name", "valid_from" if "valid_from" in there else None, "valid_to" if "valid_to" in there else None
    )


def _made(
    source: Source, wish: Wish, name: str, items: tuple[Item, ...], columns: Columns, notes: list[str] | None = None
) -> Content:
    if not items:
        raise refusal("в файле нет ни одной записи")
    if name == "ICD10":
        items = icd10.with_terminals(items)
    if name in ALL:
        own.check_whole(ALL[name], items)
    attributes = tuple(column for column in source.columns if column and column not in columns.taken)
    region = wish.region if name == "ORGANISATIONS" else None
    sha256 = " ".join(word for word in (source.sha256, *wish.code, wish.name, region) if word)
    return Content(
        name, source.version, sha256, items, source.valid_from, columns, attributes, tuple(notes or source.notes)
    )


class _Part(Source):
    """The lines of one dictionary in a file of several."""

    def __init__(self, whole: Source, lines: list[tuple[int, Line]]) -> None:
        self.__dict__.update(whole.__dict__)
        self.columns = tuple(column for column in whole.columns if column != _MANY)
        self._lines = lines

    def lines(self) -> Iterator[tuple[int, Line]]:
        return iter(self._lines)


def _parts(source: Source, wish: Wish) -> list[tuple[str, Source]]:
    parts: dict[str, list[tuple[int, Line]]] = {}
    for number, line in source.lines():
        name = line.get(_MANY, "")
        if not isinstance(name, str) or not (layouts.is_official(name) or (name in ALL and name != COMPUTED)):
            raise refusal("столбец dict: нет такого справочника", number)
        cells = {column: cell for column, cell in line.items() if column != _MANY}
        parts.setdefault(name, []).append((number, cells))
    if wish.dictionary:
        if wish.dictionary not in parts:
            raise refusal("названного справочника в файле нет")
        parts = {wish.dictionary: parts[wish.dictionary]}
    if not parts:
        raise refusal("в файле нет ни одной записи")
    return [(name, _Part(source, lines)) for name, lines in parts.items()]
