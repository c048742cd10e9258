"""FLK_P, the protocol of format and logic control (ФЛК) that order 79 and its neighbours answer a file with.

windows-1251; characters that it lacks are numeric references. PR for each remark: OSHIB the F012 code of its kind, IM_POL
the element, BAS_EL its parent, N_ZAP the record, COMMENT the gateway's code and words. A remark without BAS_EL and N_ZAP
speaks of the file as a whole; a protocol without PR accepts it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from xml.sax.saxutils import escape

from gateway.errors import KINDS

_ENCODING = "windows-1251"
_ELEMENT_CHARS, _COMMENT_CHARS = 20, 250
_PORTION = 1000

_ORDER, _MISSING, _TYPE, _VALUE, _REPEATED = "901", "902", "903", "904", "905"
_F012 = {
    "field.unknown": _ORDER,
    "field.count": _ORDER,
    "load.line": _ORDER,
    "field.missing": _MISSING,
    "exclusion.pair": _MISSING,
    "field.format": _TYPE,
    "field.length": _TYPE,
    "load.encoding": _TYPE,
    "upload.repeated": _REPEATED,
    "conflict.external-id": _REPEATED,
    "conflict.duplicate-item": _REPEATED,
}
"""Codes of the gateway by F012: 901 order or extra element, 902 missing, 903 type, 905 repeated; 904, value, is the rest."""


@dataclass(frozen=True, slots=True)
class FlkProblem:
    """A remark: ``code`` of `errors`, the ``element`` and the ``base`` it stands in, the number of the record.
    ``comment`` replaces the words that belong to the code. None where a remark does not speak of one."""

    code: str
    element: str | None = None
    base: str | None = None
    record_number: int | None = None
    comment: str | None = None


def name_of(checked: str) -> str:
    """The name of the protocol of a file: ``V`` and the name, in XML; the extension of the file is left out."""
    return f"V{PurePath(checked).stem}.xml"


def protocol(name: str, checked: str, problems: Iterable[FlkProblem]) -> Iterator[bytes]:
    """The document ``name`` about the file ``checked`` in portions; ``problems`` are read as they are needed."""
    head = f"<FNAME>{_plain(PurePath(name).stem)}</FNAME>\n<FNAME_I>{_plain(PurePath(checked).stem)}</FNAME_I>\n"
    yield _encoded(f'<?xml version="1.0" encoding="{_ENCODING}"?>\n<FLK_P>\n{head}')
    portion: list[str] = []
    for problem in problems:
        portion.append(_remark(problem))
        if len(portion) == _PORTION:
            yield _encoded("".join(portion))
            portion.clear()
    yield _encoded("".join(portion) + "</FLK_P>\n")


def _remark(problem: FlkProblem) -> str:
    words = problem.comment if problem.comment is not None else KINDS[problem.code].shown
    number = problem.record_number
    parts = (
        ("OSHIB", _F012.get(problem.code, _VALUE)),
        ("IM_POL", problem.element and problem.element[:_ELEMENT_CHARS]),
        ("BAS_EL", problem.base and problem.base[:_ELEMENT_CHARS]),
        ("N_ZAP", None if number is None else str(number)),
        ("COMMENT", f"{problem.code}: {words}"[:_COMMENT_CHARS]),
    )
    return "<PR>" + "".join(f"<{tag}>{_plain(text)}</{tag}>" for tag, text in parts if text) + "</PR>\n"


def _plain(text: str) -> str:
    """Text of an element; what XML 1.0 has no place for becomes a blank."""
    if not text.isprintable():
        text = "".join(one if one.isprintable() else " " for one in text)
    return escape(text)


def _encoded(text: str) -> bytes:
    return text.encode(_ENCODING, "xmlcharrefreplace")
