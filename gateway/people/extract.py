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
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from functools import cache
from operator import itemgetter
from pathlib import Path
from typing import IO

from gateway.domain.persons import enp_error, name_key, snils_digits, snils_error
from gateway.errors import GatewayError
from gateway.people.digits import all_enp, all_snils
from gateway.people.names import name_error, tidy

COLUMNS = (
    "enp", "snils", "last_name", "first_name", "middle_name", "birth_date", "sex", "policy_kind", "policy_number",
    "insurer", "insured_in_region", "attached_organisation", "attached_since", "death_date",
)  # fmt: skip
REQUIRED = ("enp", "last_name", "first_name", "birth_date", "sex")
SEXES = frozenset("12")
POLICY_KINDS = frozenset(("", *"123456789", *"СВЕПЭКХМЦ"))
"""Kinds of policies: digits as in F008, letters as the federal register has them."""

BLOCK_BYTES = 256 * 1024
_AT_ONCE, _ONE_BY_ONE = 256, 4
_LONGEST = 64 * 1024
_MEMO = 300_000
_OLDEST_BIRTH = date(1890, 1, 1)
_POLICY_NUMBER = re.compile(r"[0-9A-Za-zА-Яа-яЁё/№ -]{0,20}")


@dataclass(frozen=True, slots=True)
class Refused:
    """A line that is not taken: its number in the file (the header is line 1) and the code of the refusal."""

    line: int
    code: str


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of the file, and the lines of it that are refused.

    A ready line is what COPY reads with ``DELIMITER ';', NULL ''``: the number of the line in the file, its columns as
    they stand, and the key of the name. No rule lets a backslash through, so nothing needs escaping.
    """

    last_line: int
    taken: int
    ready: bytes
    refused: tuple[Refused, ...]


class _Keys(dict[bytes, bytes]):
    """Keys of names met before. A name that is not stored as it stands is a KeyError: the line needs a closer look.

    ``before`` stands before each key, and then an absent name has the empty one.
    """

    def __init__(self, before: bytes = b"") -> None:
        self._before = before

    def __missing__(self, name: bytes) -> bytes:
        try:
            text = name.decode()
        except UnicodeDecodeError:
            raise KeyError from None
        if not text and self._before:
            return b""
        if name_error(text) or tidy(text) != text:
            raise KeyError
        if len(self) >= _MEMO:
            self.clear()
        self[name] = key = self._before + name_key(text, "").encode()
        return key


@cache
def _days(first: date, last: date) -> frozenset[bytes]:
    """Every day of the span as it stands in a file."""
    start, count = first.toordinal(), (last - first).days + 1
    return frozenset(date.fromordinal(start + n).isoformat().encode() for n in range(count))


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if len(text) == 10 and text.isascii() else None
    except ValueError:
        return None


class Lines:
    """Turns lines of the file into ready lines. ``insurers`` and ``organisations`` are the codes that may stand in it."""

    def __init__(
        self, header: list[str], insurers: Collection[str], organisations: Collection[str], today: date
    ) -> None:
        names = [name.strip().lower() for name in header]
        missing = [name for name in REQUIRED if name not in names]
        if missing:
            raise GatewayError("load.columns", what=", ".join(missing))
        if len(set(names)) != len(names) or not set(names) <= set(COLUMNS):
            raise GatewayError("load.columns-unknown")
        self.columns = tuple(names)
        # an absent column is read as the empty field that stands after the last one
        self._pick = itemgetter(*(names.index(name) if name in names else len(names) for name in COLUMNS))
        self._insurers = frozenset(("", *insurers))
        self._organisations = frozenset(("", *organisations))
        self._flags = frozenset("10" if "insured_in_region" in names else ("",))
        self._today = today
        self._codes = [
            (name, frozenset(code.encode() for code in codes))
            for name, codes in (
                ("sex", SEXES),
                ("policy_kind", POLICY_KINDS),
                ("insurer", self._insurers),
                ("insured_in_region", self._flags),
                ("attached_organisation", self._organisations),
            )
            if name in names
        ]
        self._names, self._middle_names = _Keys(), _Keys(b" ")
        self._days = _days(_OLDEST_BIRTH, today)

    def block(self, lines: Sequence[bytes], first_line: int) -> Block:
        """Ready lines of lines in UTF-8, numbered from ``first_line``; empty ones are passed over."""
        ready: list[bytes] = []
        refused: list[Refused] = []
        taken = 0
        for start in range(0, len(lines), _AT_ONCE):
            taken += self._take(lines[start : start + _AT_ONCE], first_line + start, ready, refused)
        return Block(first_line + len(lines) - 1, taken, b"".join(ready), tuple(refused))

    def _take(self, lines: Sequence[bytes], first: int, ready: list[bytes], refused: list[Refused]) -> int:
        """Quickly if all of these are right and clean; else in halves, and the last few one by one."""
        quick = self._quickly(lines, first)
        if quick is not None:
            ready.append(quick)
            return len(lines)
        if len(lines) > _ONE_BY_ONE:
            half = len(lines) // 2
            return self._take(lines[:half], first, ready, refused) + self._take(
                lines[half:], first + half, ready, refused
            )
        taken = 0
        for number, line in enumerate(lines, first):
            if line.strip():
                slow = self._slowly(line, number)
                if isinstance(slow, Refused):
                    refused.append(slow)
                else:
                    ready.append(slow)
                    taken += 1
        return taken

    def _quickly(self, lines: Sequence[bytes], first: int) -> bytes | None:
        """All lines made ready column by column; None if any of them needs a closer look."""
        rows = [line.split(b";") for line in lines]
        if set(map(len, rows)) != {len(self.columns)}:
            return None
        columns = dict(zip(self.columns, zip(*rows, strict=True), strict=True))
        enps, policies = columns["enp"], columns.get("policy_number", ())
        if not (
            all_enp(enps)
            and all_snils(tuple(filter(None, columns.get("snils", ()))))
            and all(codes.issuperset(columns[name]) for name, codes in self._codes)
            and self._days.issuperset(columns["birth_date"])
            and self._days.issuperset(filter(None, columns.get("attached_since", ())))
            and not any(
                death and (death not in self._days or death < birth)
                for death, birth in zip(columns.get("death_date", ()), columns["birth_date"], strict=False)
            )
            and all(not policy or policy == enp for policy, enp in zip(policies, enps, strict=False))
        ):
            return None
        names = self._names
        try:
            last = map(names.__getitem__, columns["last_name"])
            given = map(names.__getitem__, columns["first_name"])
            middle = map(self._middle_names.__getitem__, columns.get("middle_name", (b"",) * len(lines)))
            made = zip(range(first, first + len(lines)), lines, last, given, middle, strict=True)
            return b"".join([b"%d;%b;%b %b%b\n" % one for one in made])
        except KeyError:
            return None

    def _slowly(self, line: bytes, number: int) -> bytes | Refused:
        """A line that the quick way does not take: unquoted, trimmed, and judged rule by rule."""
        try:
            fields = next(csv.reader([line.decode().rstrip("\r")], delimiter=";", strict=True))
        except UnicodeDecodeError:
            return Refused(number, "load.encoding")
        except (csv.Error, StopIteration):
            return Refused(number, "load.line")
        if len(fields) != len(self.columns):
            return Refused(number, "load.line")
        values = dict(zip(COLUMNS, self._pick((*map(tidy, fields), "")), strict=True))
        values["snils"] = snils_digits(values["snils"])
        code = self._refusal(values)
        if code:
            return Refused(number, code)
        key = name_key(values["last_name"], values["first_name"], values["middle_name"])
        return ";".join((str(number), *(values[name] for name in self.columns), key + "\n")).encode()

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
        born = _day(birth)
        attached = _day(since) if since else born
        died = _day(death) if death else self._today
        if born is None or attached is None or died is None:
            return "load.date"
        if not _OLDEST_BIRTH <= born <= self._today:
            return "person.birth-date"
        if not born <= died <= self._today:
            return "person.death-date"
        return "load.date-future" if attached > self._today else None


class Extract:
    """An open extract: which columns it has, in its order, and its lines in blocks."""

    def __init__(
        self, stream: IO[bytes], insurers: Collection[str], organisations: Collection[str], today: date
    ) -> None:
        self._stream = stream
        start = self._read()
        start = start.removeprefix(codecs.BOM_UTF8)
        self.encoding = _encoding(start)
        header, _, self._rest = start.partition(b"\n")
        try:
            names = next(csv.reader([header.decode(self.encoding).strip()], delimiter=";"), [])
        except (UnicodeDecodeError, csv.Error):
            names = []
        self._lines = Lines(names, insurers, organisations, today)
        self.columns = self._lines.columns

    def _read(self) -> bytes:
        try:
            return self._stream.read(BLOCK_BYTES)
        except (EOFError, OSError, zlib.error, zipfile.BadZipFile):
            raise GatewayError("load.file", what="архив повреждён") from None

    def blocks(self) -> Iterator[Block]:
        """Ready blocks in the order of the file; memory does not grow with its size."""
        line, rest = 2, self._rest
        while True:
            chunk = self._read()
            whole, newline, rest = (rest + chunk).rpartition(b"\n") if chunk else (rest.removesuffix(b"\n"), b"", b"")
            if len(rest) > _LONGEST:
                raise GatewayError("load.file", what="нет конца строки")
            if whole:
                if b"\r" in whole:
                    whole = whole.replace(b"\r\n", b"\n")
                if self.encoding != "utf-8":
                    whole = whole.decode(self.encoding, "replace").encode()
                block = self._lines.block(whole.split(b"\n"), line)
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


def blocks(path: Path, insurers: Collection[str], organisations: Collection[str], today: date) -> Iterator[Block]:
    """The blocks of a file, opened and read here."""
    with opened(path) as stream:
        yield from Extract(stream, insurers, organisations, today).blocks()
