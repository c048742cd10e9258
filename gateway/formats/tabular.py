"""Tables in CSV as operators and funds bring them: UTF-8 (with or without BOM) or windows-1251; ``;``, tab, ``,`` or ``|``.

A record is one line of the file, so that a stray quote spoils its own line and no other. Cells may stand in double
quotes, a quote inside is doubled. Lines are streamed: memory does not depend on the size of the file.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_DELIMITERS = ";\t,|"
_CHUNK = 1 << 20
REPLACED = "\ufffd"
"""Stands in a cell for bytes that are not of the file's encoding."""


@dataclass(frozen=True, slots=True)
class Table:
    """An opened table: how it is written and its header in lower case, blanks around names removed."""

    path: Path
    encoding: str
    delimiter: str
    header: tuple[str, ...]

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Number of the line in the file (the header is 1) and its cells; no cells if the quotes do not close.

        Empty lines are passed over. The number of cells may differ from that of the header: callers decide.
        """
        delimiter = self.delimiter
        with self.path.open(encoding=self.encoding, errors="replace", newline=None) as lines:
            next(lines, None)
            for number, line in enumerate(lines, 2):
                if '"' in line:
                    yield number, _quoted(line, delimiter)
                elif line != "\n":
                    yield number, line.rstrip("\n").split(delimiter)


def _quoted(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader((line.rstrip("\n"),), delimiter=delimiter, strict=True), [])
    except csv.Error:
        return []


def encoding_of(path: Path) -> str:
    """``utf-8-sig`` or ``cp1251``, by the first bytes that are not ASCII."""
    with path.open("rb") as source:
        if source.read(3) == b"\xef\xbb\xbf":
            return "utf-8-sig"
        source.seek(0)
        while line := source.readline(_CHUNK):
            if not line.isascii():
                return _encoding_of_bytes(line)
    return "utf-8-sig"


def _encoding_of_bytes(line: bytes) -> str:
    try:
        line.decode("utf-8")
    except UnicodeDecodeError as error:
        # a very long line may have been cut inside a character
        if len(line) < _CHUNK or error.start < len(line) - 3:
            return "cp1251"
    return "utf-8-sig"


def open_table(path: str | Path) -> Table:
    """Looks at the encoding and the header line; raises OSError if the file can not be read.

    The delimiter is the candidate that the header holds most often; a header of one column gets ``;``.
    """
    path = Path(path)
    encoding = encoding_of(path)
    with path.open(encoding=encoding, errors="replace", newline=None) as lines:
        first = lines.readline().rstrip("\n")
    delimiter = max(_DELIMITERS, key=first.count)
    cells = _quoted(first, delimiter) if '"' in first else first.split(delimiter)
    return Table(path, encoding, delimiter, tuple(cell.strip().lower() for cell in cells))
