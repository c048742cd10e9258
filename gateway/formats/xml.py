"""The only XML parser of the gateway: bytes from strangers become a tree, or a refusal that names what is wrong.

Encodings: UTF-8, UTF-16 and windows-1251, named by a byte order mark, by ``charset`` of Content-Type or by the XML
declaration; where two of them disagree the document is refused. DOCTYPE is refused before anything is parsed, so there
are no entities to expand and nothing to fetch. Comments and processing instructions are dropped. Limits hold before
the tree takes memory. A refusal carries a line number at most, never text of the document.

`parse` takes a whole document (a message), `Stream` the records of a file of any size, one after another.
"""

from __future__ import annotations

import codecs
import re
import threading
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

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
        root = etree.fromstring(utf8, _parser()) if _names.known(utf8) else _parsed_apart(utf8)
    except etree.XMLSyntaxError as error:
        raise _refusal(utf8, error, limits) from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise GatewayError("request.doctype")
    _check_shape(root, utf8, limits)
    return root


def _as_utf8(data: bytes, charset: str | None) -> bytes:
    """The document in UTF-8 without a byte order mark."""
    encoding, length = _encoding(data, charset)
    if encoding == _UTF8:
        return data[length:]
    try:
        return data[length:].decode(encoding).encode()
    except UnicodeError:
        raise GatewayError("request.encoding") from None


def _encoding(data: bytes, charset: str | None) -> tuple[str, int]:
    """The encoding of a document that begins with ``data``, and the length of its byte order mark."""
    mark, length = _mark(data)
    declared = _DECLARATION.match(data[length : length + _HEAD].decode(mark or "latin-1", "ignore").lstrip())
    named = [_known(name) for name in (charset, declared and declared[1]) if name]
    encoding = mark or (named[0] if named else _UTF8)
    if any(not _agree(encoding, name) for name in named):
        raise GatewayError("request.encoding")
    return encoding, length


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


class _Names:
    """Names that documents have brought so far, up to a number.

    libxml2 keeps every name and namespace that a thread has parsed until the thread ends: documents that bring ever new
    ones would fill the memory of the process.
    """

    MOST = 4096

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def known(self, utf8: bytes) -> bool:
        """Whether the document brings no new name, or there is room for what it brings."""
        names = {*_ELEMENT.findall(utf8), *_ATTRIBUTE.findall(utf8), *_NAMESPACE.findall(utf8)}
        new = names - self._seen
        if len(self._seen) + len(new) > self.MOST:
            return not new
        self._seen |= new
        return True


_ELEMENT = re.compile(rb"<([^\s<>/!?]+)")
_ATTRIBUTE = re.compile(rb"\s([^\s<>=\"'/]+)\s*=")
_NAMESPACE = re.compile(rb"\sxmlns[^\s<>=\"'/]*\s*=\s*[\"']([^\"'<]*)")
_names = _Names()


def _parsed_apart(utf8: bytes) -> etree._Element:
    """Parses in a thread of its own, with which what libxml2 keeps of the names ends."""
    outcome: list[etree._Element | Exception] = []

    def work() -> None:
        try:
            outcome.append(etree.fromstring(utf8, etree.XMLParser(**_GUARDS)))
        except etree.XMLSyntaxError as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    (found,) = outcome
    if isinstance(found, Exception):
        raise found
    return found


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


# streams --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What a stream may hold. Of one record: bytes (its texts are bounded by them; a record that ends within a piece of
    64 KiB more is still taken), elements, and depth counted from the record. Of the whole document: attributes, namespace declarations included, and different names; both are few,
    because libxml2 keeps every name it has met as long as the thread lives."""

    record_bytes: int = 256 * 1024
    elements: int = 1000
    depth: int = 16
    attributes: int = 64
    names: int = 500
    name_chars: int = 128


_ATTRIBUTE = re.compile(rb"=\s*[\"']")


class Stream:
    """The records of a document: the children of its root, in order, one at a time, so that memory does not grow.

    ``source`` is read from where it stands to its end; ``roots`` are the tags that the root may have, as lxml writes
    them. Raises ``file.format`` for another root, ``file.structure`` for whatever is wrong, also after records were
    given out: a document is right only if it was read to its end.
    """

    def __init__(self, source: BinaryIO, roots: Collection[str], limits: StreamLimits | None = None) -> None:
        self._source = source
        self._limits = limits or StreamLimits()
        self._parser = etree.XMLPullParser(("start", "end"), tag=tuple(roots), remove_blank_text=True, **_GUARDS)
        self._decoder: codecs.IncrementalDecoder | None = None
        self._root: etree._Element | None = None
        self._names: set[str] = set()
        self._attributes = 0
        self._prolog = self._split = b""
        self._line = 1
        self._over = self._closed = False
        self.root = self._begin()
        """The tag of the root."""

    @property
    def attributes(self) -> dict[str, str]:
        """The attributes of the root, by their tags."""
        return {} if self._root is None else {str(name): str(value) for name, value in self._root.attrib.items()}

    def records(self) -> Iterator[etree._Element]:
        """A record must be taken apart before the next one is asked for: it leaves the tree then."""
        root = self._root
        assert root is not None
        unbroken = 0
        while True:
            while len(root) > 1 or (self._over and len(root)):
                record = root[0]
                held = list(record.iter())  # kept, so that whoever takes the record apart finds its elements made
                self._check(record, held)
                yield record
                if (text := record.tail) and text.strip():
                    raise self._broken("текст вне записей")
                root.remove(record)
                unbroken = 0
            if (text := root.text) and text.strip():
                raise self._broken("текст вне записей")
            if self._closed:
                return
            unbroken += self._feed(self._source.read(_PIECE))
            if unbroken > self._limits.record_bytes + _PIECE and not self._over:
                raise self._broken(f"запись больше {self._limits.record_bytes} байт")

    def _begin(self) -> str:
        """Reads up to the root, which must stand at the beginning of the document."""
        piece = self._source.read(_PIECE)
        try:
            encoding, mark = _encoding(piece, None)
        except GatewayError:
            raise self._broken("кодировка не поддерживается или не та, что названа") from None
        if encoding != _UTF8:
            self._decoder = codecs.getincrementaldecoder(encoding)()
        self._feed(piece[mark:])
        if self._root is None and not self._closed:
            self._feed(self._source.read(_PIECE))
        if self._root is None:
            raise GatewayError("file.format", what="корневой элемент XML не известен или стоит не в начале файла")
        if self._root.getroottree().docinfo.internalDTD is not None:
            raise self._broken("объявление DOCTYPE запрещено")
        return str(self._root.tag)

    def _feed(self, piece: bytes) -> int:
        """Gives a piece, or the end if it is empty, to the parser; returns the length of the piece in UTF-8."""
        utf8 = piece
        if self._decoder is not None:
            try:
                utf8 = self._decoder.decode(piece, not piece).encode()
            except UnicodeDecodeError as error:
                self._line += error.object[: error.start].count(b"\n")
                raise self._broken("знаки не в кодировке файла") from None
            except UnicodeEncodeError:
                raise self._broken("знаки не в кодировке файла") from None
        self._look(utf8)
        try:
            self._parser.feed(utf8)
            if not piece:
                self._closed = True
                self._parser.close()
        except etree.XMLSyntaxError as error:
            raise self._syntax(error) from None
        for event, element in self._parser.read_events():
            if event == "start":
                if self._root is not None:
                    raise self._broken("корневой элемент повторяется внутри файла")
                self._root = element
            else:
                self._over = True
        self._line += utf8.count(b"\n")
        return len(utf8)

    def _look(self, utf8: bytes) -> None:
        """What must be known before the parser sees it: DOCTYPE, and attributes counted from above."""
        if self._root is None:
            self._prolog += utf8
            if _PROLOG.match(self._prolog):
                raise self._broken("объявление DOCTYPE запрещено")
        if b"=" in utf8 or self._split:
            self._attributes += len(_ATTRIBUTE.findall(self._split + utf8))
            if self._attributes > self._limits.attributes:
                raise self._broken(f"атрибутов больше {self._limits.attributes}")
        self._split = b"=" if utf8.rstrip().endswith(b"=") else b""

    def _check(self, record: etree._Element, elements: list[Any]) -> None:
        limits, names = self._limits, self._names
        count = len(elements)
        tags = {element.tag for element in elements}
        if not tags <= names:
            if etree.Entity in tags:
                raise self._broken("неизвестная сущность")
            names |= tags
            if max(map(len, tags)) > limits.name_chars:
                raise self._broken(f"знаков в имени больше {limits.name_chars}")
        if len(names) > limits.names:
            raise self._broken(f"разных имён больше {limits.names}")
        if count > limits.elements:
            raise self._broken(f"элементов в записи больше {limits.elements}")
        if count > len(record) + 1 and _asked("boolean(." + "/*" * limits.depth + ")")(record):
            raise self._broken(f"вложенность записи больше {limits.depth}")

    def _syntax(self, error: etree.XMLSyntaxError) -> GatewayError:
        self._line = (error.position or (self._line, 0))[0] or self._line
        if error.code == etree.ErrorTypes.ERR_NAME_TOO_LONG:
            return self._broken(f"знаков в имени больше {self._limits.name_chars}")
        if error.code in (etree.ErrorTypes.ERR_INVALID_ENCODING, etree.ErrorTypes.ERR_INVALID_CHAR):
            return self._broken("знаки не в кодировке файла или недопустимы")
        return self._broken("файл оборван" if self._closed else "разметка XML неверна")

    def _broken(self, what: str) -> GatewayError:
        return GatewayError("file.structure", what=f"строка {self._line}: {what}")


def fields(record: etree._Element) -> list[tuple[str, str | None]]:
    """Tags and stripped texts of a record's children, in order. The text is None where more than a text is found: a
    child of the child, or text after it; text before the first child shows as a child with the record's own tag."""
    children: Any = record
    found: list[tuple[str, str | None]] = [
        (one.tag, None if len(one) or ((tail := one.tail) and tail.strip()) else (one.text or "").strip())
        for one in children
    ]
    if (text := record.text) and text.strip():
        found.insert(0, (str(record.tag), None))
    return found
