"""The fund's extract of its regional segment of insured persons: a documented CSV, read as ready blocks of COPY text.

Format (docs/insured-file.md): UTF-8 or windows-1251, ``;`` between columns, a header line, columns in any order; plain,
``.gz`` or ``.zip`` with one file. A wrong line is named by number and code, never by what stands in it.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import re
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from operator import itemgetter
from pathlib import Path
from typing import IO

from gateway.domain.persons import enp_error, name_key, snils_digits, snils_error
from gateway.errors import GatewayError
from gateway.people.names import name_error, tidy

COLUMNS = (
    "enp", "snils", "last_name", "first_name", "middle_name", "birth_date", "sex", "policy_kind", "policy_number",
    "insurer", "insured_in_region", "attached_organisation", "attached_since", "death_date",
)  # fmt: skip
REQUIRED = ("enp", "last_name", "first_name", "birth_date", "sex")
READY = ("line", *COLUMNS[:5], "name_key", *COLUMNS[5:])
"""Columns of a ready line: its number in the file, then the person."""

SEXES = frozenset("12")
POLICY_KINDS = frozenset(("", *"123456789", *"СВЕПЭКХМЦ"))
"""Kinds of policies: digits as in F008, letters as the federal register has them."""

BLOCK_BYTES = 256 * 1024
_LONGEST = 64 * 1024
_MEMO = 300_000
_OLDEST_BIRTH = date(1890, 1, 1)
_POLICY_NUMBER = re.compile(r"[0-9A-Za-zА-Яа-яЁё/№ -]{0,20}")
_NULL = r"\N"


@dataclass(frozen=True, slots=True)
class Refused:
    """A line that is not taken: its number in the file (the header is line 1) and the code of the refusal."""

    line: int
    code: str


@dataclass(frozen=True, slots=True)
class Block:
    """Ready lines of a stretch of the file as COPY text in UTF-8, and the lines that are refused."""

    last_line: int
    taken: int
    ready: bytes
    refused: tuple[Refused, ...]


class _Keys(dict[str, str]):
    """Names met before with their keys. A name that is not stored as it stands is a KeyError: the line is read slowly."""

    def __missing__(self, name: str) -> str:
        if name_error(name) or tidy(name) != name:
            raise KeyError
        if len(self) >= _MEMO:
            self.clear()
        self[name] = key = name_key(name, "")
        return key


class _Days(dict[str, date]):
    """Days ``yyyy-MM-dd`` met before; anything else is a KeyError."""

    def __missing__(self, text: str) -> date:
        if len(text) != 10 or not text.isascii():
            raise KeyError
        try:
            day = date.fromisoformat(text)
        except ValueError:
            raise KeyError from None
        if len(self) >= _MEMO:
            self.clear()
        self[text] = day
        return day


class Lines:
    """Turns lines of the file into ready lines. ``insurers`` and ``organisations`` are the codes that may stand in it."""

    def __init__(
        self, header: list[str], insurers: Collection[str], organisations: Collection[str], today: date
    ) -> None:
        names = [name.strip().lower() for name in header]
        missing = [name for name in REQUIRED if name not in names]
        if missing or len(set(names)) != len(names):
            raise GatewayError("load.columns", what=", ".join(missing) or "столбец повторяется")
        self.present = tuple(name for name in COLUMNS if name in names)
        self._width = len(names)
        self._direct = tuple(names) == COLUMNS
        # an absent column is read as the empty string that stands after the last one
        self._pick = itemgetter(*(names.index(name) if name in names else self._width for name in COLUMNS))
        self._insurers = {code: code for code in insurers} | {"": _NULL}
        self._organisations = {code: code for code in organisations} | {"": _NULL}
        self._flags = {"1": "t", "0": "f"} if "insured_in_region" in names else {"": "t"}
        self._today = today
        self._keys, self._days = _Keys(), _Days()

    def block(self, text: str, first_line: int) -> Block:
        """Ready lines of whole lines of text, numbered from ``first_line``."""
        ready: list[str] = []
        refused: list[Refused] = []
        number = first_line - 1
        width, direct, pick, add = self._width, self._direct, self._pick, ready.append
        keys, days, insurers, organisations = self._keys, self._days, self._insurers, self._organisations
        flags, today, oldest, kinds, sexes = self._flags, self._today, _OLDEST_BIRTH, POLICY_KINDS, SEXES
        for number, line in enumerate(text.split("\n"), first_line):
            fields = line.split(";")
            try:
                if len(fields) != width:
                    raise KeyError
                if not direct:
                    fields.append("")
                    fields = pick(fields)
                enp, snils, last, first, middle, birth, sex, kind, policy, insurer, insured, where, since, death = (
                    fields
                )
                born = days[birth]
                if (
                    enp_error(enp)
                    or (snils and (len(snils) != 11 or snils_error(snils)))
                    or not oldest <= born <= today
                    or sex not in sexes
                    or kind not in kinds
                    or not (
                        policy == enp or not policy or (policy.isdecimal() and policy.isascii() and len(policy) < 21)
                    )
                    or (since and days[since] > today)
                    or (death and not born <= days[death] <= today)
                ):
                    raise KeyError
                key = f"{keys[last]} {keys[first]} {keys[middle]}" if middle else f"{keys[last]} {keys[first]}"
                add(
                    f"{number}\t{enp}\t{snils or _NULL}\t{last}\t{first}\t{middle or _NULL}\t{key}\t{birth}\t{sex}\t"
                    f"{kind or _NULL}\t{policy or _NULL}\t{insurers[insurer]}\t{flags[insured]}\t"
                    f"{organisations[where]}\t{since or _NULL}\t{death or _NULL}\n"
                )
            except KeyError:
                if line and line != "\r":
                    slow = self._slowly(line, number)
                    if isinstance(slow, Refused):
                        refused.append(slow)
                    else:
                        add(slow)
        return Block(number, len(ready), "".join(ready).encode(), tuple(refused))

    def _slowly(self, line: str, number: int) -> str | Refused:
        """A line that the quick way does not take: unquoted, trimmed, and judged rule by rule."""
        if "\ufffd" in line:
            return Refused(number, "load.encoding")
        try:
            fields = next(csv.reader([line.rstrip("\r")], delimiter=";", strict=True))
        except (csv.Error, StopIteration):
            return Refused(number, "load.line")
        if len(fields) != self._width:
            return Refused(number, "load.line")
        values = dict(zip(COLUMNS, self._pick([tidy(field) for field in fields] + [""]), strict=True))
        values["snils"] = snils_digits(values["snils"])
        code = self._refusal(values)
        if code:
            return Refused(number, code)
        values["insured_in_region"] = self._flags[values["insured_in_region"]]
        values["name_key"] = name_key(values["last_name"], values["first_name"], values["middle_name"])
        values["line"] = str(number)
        return "\t".join(values[name] or _NULL for name in READY) + "\n"

    def _refusal(self, values: dict[str, str]) -> str | None:
        """The first rule the line breaks."""
        identity = enp_error(values["enp"]) or (snils_error(values["snils"]) if values["snils"] else None)
        names = filter(None, (values["middle_name"], values["last_name"], values["first_name"]))
        if identity:
            return identity
        if not values["last_name"] or not values["first_name"] or any(map(name_error, names)):
            return "person.name"
        if values["sex"] not in SEXES:
            return "person.sex"
        if values["policy_kind"] not in POLICY_KINDS or not _POLICY_NUMBER.fullmatch(values["policy_number"]):
            return "load.policy"
        if values["insurer"] not in self._insurers:
            return "load.insurer"
        if values["insured_in_region"] not in self._flags:
            return "load.insured"
        if values["attached_organisation"] not in self._organisations:
            return "load.organisation"
        return self._refusal_of_dates(values["birth_date"], values["attached_since"], values["death_date"])

    def _refusal_of_dates(self, birth: str, since: str, death: str) -> str | None:
        try:
            born = self._days[birth]
            attached = self._days[since] if since else born
            died = self._days[death] if death else self._today
        except KeyError:
            return "load.date"
        if not _OLDEST_BIRTH <= born <= self._today:
            return "person.birth-date"
        if not born <= died <= self._today:
            return "person.death-date"
        return "load.date-future" if attached > self._today else None


class Extract:
    """An open extract: which columns it has, and its lines in blocks."""

    def __init__(
        self, stream: IO[bytes], insurers: Collection[str], organisations: Collection[str], today: date
    ) -> None:
        self._stream = stream
        start = stream.read(BLOCK_BYTES)
        start = start.removeprefix(codecs.BOM_UTF8)
        self.encoding = _encoding(start)
        header, _, self._rest = start.partition(b"\n")
        try:
            names = next(csv.reader([header.decode(self.encoding).strip()], delimiter=";"), [])
        except (UnicodeDecodeError, csv.Error):
            names = []
        self._lines = Lines(names, insurers, organisations, today)
        self.present = self._lines.present

    def blocks(self) -> Iterator[Block]:
        """Ready blocks in the order of the file; memory does not grow with its size."""
        line, rest = 2, self._rest
        while True:
            try:
                chunk = self._stream.read(BLOCK_BYTES)
            except (EOFError, OSError, zlib.error, zipfile.BadZipFile):
                raise GatewayError("load.file", what="архив повреждён") from None
            whole, newline, rest = (rest + chunk).rpartition(b"\n") if chunk else (rest, b"", b"")
            if len(rest) > _LONGEST:
                raise GatewayError("load.file", what="нет конца строки")
            if whole:
                block = self._lines.block(whole.decode(self.encoding, "replace"), line)
                line = block.last_line + 1
                yield block
            elif newline:
                line += 1
            if not chunk:
                return


def _encoding(start: bytes) -> str:
    """UTF-8 unless more letters are lost in it than read: a single bad byte must not turn the file into windows-1251."""
    text = start.decode("utf-8", "replace")
    lost = text.count("\ufffd")
    return "utf-8" if lost < 2 or lost < sum("А" <= letter <= "ё" for letter in text) else "cp1251"


@contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of the CSV, whether plain, gzip, or the one file of a ZIP. Raises ``load.file``."""
    try:
        with path.open("rb") as plain:
            magic = plain.read(4)
            plain.seek(0)
            if magic[:2] == b"\x1f\x8b":
                with gzip.open(plain) as unpacked:
                    yield unpacked  # type: ignore[misc]
            elif magic == b"PK\x03\x04":
                with zipfile.ZipFile(plain) as archive:
                    members = [member for member in archive.infolist() if not member.is_dir()]
                    if len(members) != 1:
                        raise GatewayError("load.file", what="в архиве должен быть один файл")
                    with archive.open(members[0]) as unpacked:
                        yield unpacked
            else:
                yield plain
    except zipfile.BadZipFile:
        raise GatewayError("load.file", what="архив повреждён") from None
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise GatewayError("load.file", what=error.strerror or "нет доступа") from None
