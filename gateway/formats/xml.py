"""The only XML parser of the gateway: bytes from strangers become a tree, or a refusal that names what is wrong.

Encodings: UTF-8, UTF-16 and windows-1251, named by a byte order mark, by ``charset`` of Content-Type or by the XML
declaration; where two of them disagree the document is refused. DOCTYPE is refused before anything is parsed, so there
are no entities to expand and nothing to fetch. Comments and processing instructions are dropped. Limits hold before
the tree takes memory. A refusal carries a line number at most, never text of the document.
"""

from __future__ import annotations

import codecs
import re
import threading
from dataclasses import dataclass
from typing import Any

from lxml import etree

from gateway.errors import GatewayError


@dataclass(frozen=True, slots=True)
class Limits:
    """What one document may hold; ``attributes`` counts those of one element, namespace declarations included."""

    depth: int = 32
    elements: int = 50_000
    attributes: int = 64
    name_chars: int = 256


_UTF8, _UTF16, _CP1251 = "utf-8", "utf-16", "cp1251"
_ENCODINGS = {"utf-8": _UTF8, "us-ascii": _UTF8, "utf-16": _UTF16, "cp1251": _CP1251, "windows-1251": _CP1251}
_ENCODINGS |= {"utf8": _UTF8, "ascii": _UTF8, "utf-16le": "utf-16-le", "utf-16be": "utf-16-be"}
_MARKS = ((codecs.BOM_UTF8, _UTF8), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_BARE = ((b"<\0", "utf-16-le"), (b"\0<", "utf-16-be"))
_DECLARATION = re.compile(r"<\?xml\s[^>]*?encoding\s*=\s*[\"']([^\"'>]{1,40})[\"']")
_HEAD = 400
"""Bytes in which the XML declaration ends, in the widest encoding."""

_PROLOG = re.compile(rb"(?:\s++|<\?.*?\?>|<!--.*?-->)*+<!", re.DOTALL)
_QUOTED = re.compile(rb"\"[^\"]*\"|'[^']*'")
_PIECE = 64 * 1024
_local = threading.local()


def parse(data: bytes, limits: Limits, charset: str | None = None) -> etree._Element:
    """The root element of a document.

    Raises ``request.empty``, ``request.encoding``, ``request.doctype``, ``request.limits`` or ``request.malformed``.
    """
    utf8 = _as_utf8(data, charset)
    if not utf8.strip():
        raise GatewayError("request.empty")
    if _PROLOG.match(utf8):
        raise GatewayError("request.doctype")
    _check_size(utf8, limits)
    try:
        root = etree.fromstring(utf8, _parser())
    except etree.XMLSyntaxError as error:
        raise _refusal(utf8, error, limits) from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise GatewayError("request.doctype")
    _check_shape(root, utf8, limits)
    return root


def _as_utf8(data: bytes, charset: str | None) -> bytes:
    """The document in UTF-8 without a byte order mark."""
    mark, length = _mark(data)
    declared = _DECLARATION.match(data[length : length + _HEAD].decode(mark or "latin-1", "ignore").lstrip())
    named = [_known(name) for name in (charset, declared and declared[1]) if name]
    encoding = mark or (named[0] if named else _UTF8)
    if any(not _agree(encoding, name) for name in named):
        raise GatewayError("request.encoding")
    if encoding == _UTF8:
        return data[length:]
    try:
        return data[length:].decode(encoding).encode()
    except UnicodeError:
        raise GatewayError("request.encoding") from None


def _mark(data: bytes) -> tuple[str | None, int]:
    """The encoding that the first bytes give away, and how many of them are the mark."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return encoding, len(mark)
    return next((encoding for start, encoding in _BARE if data.startswith(start)), None), 0


def _known(name: str) -> str:
    try:
        return _ENCODINGS[name.strip().lower()]
    except KeyError:
        raise GatewayError("request.encoding") from None


def _agree(encoding: str, name: str) -> bool:
    return encoding == name or (name == _UTF16 and encoding.startswith(_UTF16))


def _check_size(utf8: bytes, limits: Limits) -> None:
    """Counts cheaply from above; only a document that may be too large is counted exactly, without a tree."""
    if utf8.count(b"=") > limits.attributes:
        _check_attributes(utf8, limits.attributes)
    if utf8.count(b"<") > limits.elements or utf8.count(b"=") > limits.elements:
        _count(utf8, limits)


def _check_attributes(utf8: bytes, limit: int) -> None:
    """One tag is bounded by the next ``<``: no attribute value may hold one."""
    for match in re.finditer(rb"<[^!?<=][^<=]*+(?:=[^<=]*+){%d}" % (limit + 1), utf8):
        start = match.start()
        end = utf8.find(b"<", start + 1)
        tag = _QUOTED.sub(b"", utf8[start : end if end > 0 else None]).split(b">", 1)[0]
        if tag.count(b"=") > limit:
            raise _exceeded("атрибутов у элемента", limit)


class _Counter:
    """Counts elements and attributes of the whole document while it is read."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.elements = 0
        self.attributes = 0

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self.elements += 1
        self.attributes += len(attributes)
        if self.elements > self.limit:
            raise _exceeded("элементов", self.limit)
        if self.attributes > self.limit:
            raise _exceeded("атрибутов в документе", self.limit)

    def end(self, tag: str) -> None:
        pass

    def data(self, data: str) -> None:
        pass

    def close(self) -> None:
        pass


def _count(utf8: bytes, limits: Limits) -> None:
    counter: Any = _Counter(limits.elements)
    parser = etree.XMLParser(target=counter, **_GUARDS)
    try:
        for start in range(0, len(utf8), _PIECE):
            parser.feed(utf8[start : start + _PIECE])
        parser.close()
    except etree.XMLSyntaxError as error:
        raise _refusal(utf8, error, limits) from None


_GUARDS: dict[str, Any] = {
    "encoding": "utf-8",
    "resolve_entities": False,
    "no_network": True,
    "load_dtd": False,
    "dtd_validation": False,
    "attribute_defaults": False,
    "huge_tree": False,
    "remove_comments": True,
    "remove_pis": True,
    "collect_ids": False,
}


def _parser() -> etree.XMLParser:
    parser: etree.XMLParser | None = getattr(_local, "parser", None)
    if parser is None:
        parser = _local.parser = etree.XMLParser(**_GUARDS)
    return parser


def _check_shape(root: etree._Element, utf8: bytes, limits: Limits) -> None:
    """Depth and names, asked of the tree only where the bytes leave room for a breach."""
    if utf8.count(b"<") > limits.depth and _asked("boolean(" + "/*" * (limits.depth + 1) + ")")(root):
        raise _exceeded("вложенность", limits.depth)
    long = f"[string-length(name()) > {limits.name_chars}]"
    if re.search(rb"[<\s][^\s<>=]{%d}" % (limits.name_chars + 1), utf8) and _asked(f"boolean(//*{long} | //@*{long})")(
        root
    ):
        raise _exceeded("знаков в имени", limits.name_chars)


def _asked(question: str) -> etree.XPath:
    """A compiled question, one per thread: an XPath object is not to be shared."""
    known: dict[str, etree.XPath] = _local.__dict__.setdefault("questions", {})
    if question not in known:
        known[question] = etree.XPath(question)
    return known[question]


_TEXT_CHARS = 10_000_000
"""What libxml2 takes in one text node without its huge mode."""


def _refusal(utf8: bytes, error: etree.XMLSyntaxError, limits: Limits) -> GatewayError:
    said = str(error.msg).lower()
    if error.code == etree.ErrorTypes.ERR_NAME_TOO_LONG:
        return _exceeded("знаков в имени", limits.name_chars)
    if "depth" in said:
        return _exceeded("вложенность", limits.depth)
    if "huge" in said or "too long" in said:
        return _exceeded("знаков в тексте", _TEXT_CHARS)
    try:
        utf8.decode()
    except UnicodeDecodeError:
        return GatewayError("request.encoding")
    return GatewayError("request.malformed", line=(error.position or (0, 0))[0])


def _exceeded(what: str, limit: int) -> GatewayError:
    return GatewayError("request.limits", what=what, limit=limit)
