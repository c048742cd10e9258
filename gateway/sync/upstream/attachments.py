"""The extract of attachments: one CSV in a ZIP, 21 columns without a header, a line per attachment.

Columns: month, enp, smo_id, smo_name, smo_okato, gender, age, mo_code, mo_id, mo_name, mo_okato, f_mo_id, area type,
department type, method, date from, date to, doctor, doctor snils, doctor since, status. The character set is not said: the
columns that are read are ASCII but for the status, which is understood in UTF-8 and windows-1251.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TypeVar

from gateway.domain.insurance import ACTIVE, THERAPY
from gateway.sync.upstream.answers import unusable

T = TypeVar("T")

_COLUMNS = 21
_AREA = re.compile(r"[1-9][0-9]?")
_KNOWN = (ACTIVE, "НАП")
_WORD = re.compile(r"[А-ЯЁ]{3,}(?: [А-ЯЁ]+)*")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_KEPT_MOST = 100_000


@dataclass(frozen=True, slots=True)
class Attached:
    """A primary clinic in force."""

    enp: str
    organisation: str
    since: str
    insurer: str


def lines(path: Path, day: date) -> Iterator[Attached]:
    """Primary clinics in force on ``day``. A line that is not of the form makes the whole extract unusable, also where it
    is of another area or not in force: days are ``yyyy-MM-dd``, the area is a number, the status a word.

    ``path`` is the unpacked CSV. Raises ``upstream.unusable`` with the number of the line.
    """
    month, today = f"{day:%m.%Y}", day.isoformat()
    days, areas, words = _Kept(_is_day), _Kept(_is_area), _Kept(_word)
    number = 0
    with io.TextIOWrapper(path.open("rb"), encoding="latin-1", newline="") as text:
        try:
            for number, row in enumerate(csv.reader(text, strict=True), 1):
                if len(row) != _COLUMNS or row[0] != month:
                    raise unusable(f"строка {number} выписки")
                enp, organisation, area, since, until, status = row[1], row[7], row[12], row[15], row[16], row[20]
                word = words[status]
                if not word or not areas[area] or not days[since] or (until and not days[until]):
                    raise unusable(f"строка {number} выписки")
                if area != THERAPY or word != ACTIVE or since > today or (until and until < today):
                    continue
                if len(enp) != 16 or not (enp.isascii() and enp.isdigit()) or len(organisation) != 6:
                    raise unusable(f"строка {number} выписки")
                yield Attached(enp, organisation, since, row[2])
        except csv.Error:
            raise unusable(f"строка {number + 1} выписки") from None


class _Kept(dict[str, T]):
    """What is made of a text, made once: few texts stand in many lines."""

    def __init__(self, make: Callable[[str], T]) -> None:
        self._make = make

    def __missing__(self, text: str) -> T:
        made = self._make(text)
        if len(self) < _KEPT_MOST:
            self[text] = made
        return made


def _is_day(text: str) -> bool:
    if not _DAY.fullmatch(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _is_area(text: str) -> bool:
    """A type of area is a number of a dictionary that may grow."""
    return _AREA.fullmatch(text) is not None


def _word(status: str) -> str | None:
    """The status: ДПП in force, НАП not, in any case of letters; others are not told, and not in force. None where it is no
    Russian word in capitals: the text may be of another character set."""
    raw = status.encode("latin-1")
    try:
        word = raw.decode()
    except UnicodeDecodeError:
        word = raw.decode("cp1251", "replace")
    word = word.strip()
    if word.upper() in _KNOWN:
        return word.upper()
    return word if _WORD.fullmatch(word) else None
