"""Decoder and encoder compiled from the declared fields: 20 to 70 times faster than spyne's own, and equal to it.

An encoder is one generated function per type, an f-string in which only strings are escaped. The namespace of the
service is the default one of the answer, so elements carry no prefix.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from types import SimpleNamespace
from typing import Any

from lxml import etree

from gateway.errors import FieldError, GatewayError, field_error
from gateway.services.types import Model, Simple

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"

_HEAD = f'<?xml version="1.0" encoding="UTF-8"?>\n<soap:Envelope xmlns:soap="{SOAP}"><soap:Body>'
_TAIL = "</soap:Body></soap:Envelope>"

_special = re.compile("[&<>\x00-\x08\x0b-\x1f\ufffe\uffff\ud800-\udfff]").search
_REPLACED: dict[int, str | None] = {
    ord("&"): "&amp;",
    ord("<"): "&lt;",
    ord(">"): "&gt;",
    ord("\r"): "&#13;",
    **dict.fromkeys((*range(9), 11, 12, *range(14, 32), 0xFFFE, 0xFFFF, *range(0xD800, 0xE000))),
}


def escape(text: str) -> str:
    """Text of an element; characters that XML 1.0 cannot hold are dropped."""
    return text if _special(text) is None else text.translate(_REPLACED)


# values -> text -------------------------------------------------------------------------------------------------------


def _string(value: Any) -> str:
    return escape(value if isinstance(value, str) else str(value))


def _boolean(value: Any) -> str:
    return value if isinstance(value, str) else "true" if value else "false"


def _integer(value: Any) -> str:
    return str(int(value))


def _decimal(value: Decimal | str) -> str:
    return value if isinstance(value, str) else f"{value:f}"


def _date(value: date | str) -> str:
    return value if isinstance(value, str) else value.isoformat()


def _time(value: datetime | str) -> str:
    if isinstance(value, str):
        return value
    if value.tzinfo is None:
        raise ValueError("a time of an answer has no zone")
    return value.isoformat()


def _bytes(value: bytes) -> str:
    return binascii.b2a_base64(value, newline=False).decode("ascii")


_WRITE: dict[str, Callable[[Any], str]] = {
    "string": _string,
    "boolean": _boolean,
    "int": _integer,
    "long": _integer,
    "decimal": _decimal,
    "date": _date,
    "dateTime": _time,
    "base64Binary": _bytes,
}


@cache
def element(model: Model, namespace: str) -> Callable[[Any], str]:
    """An encoder of ``model`` as a global element with the namespace as its default one."""
    content = _content(model)

    def encode(value: Any) -> str:
        return f'<{model.name} xmlns="{namespace}">{content(value)}</{model.name}>'

    return encode


def _content(model: Model) -> Callable[[Any], str]:
    """The generated function that writes the fields of a value, given as object or mapping."""
    if model.columns:
        return compile_row(model)
    names: dict[str, Any] = {"Mapping": Mapping, "SimpleNamespace": SimpleNamespace}
    lines = ["def content(value):", "    if isinstance(value, Mapping): value = SimpleNamespace(**value)"]
    pieces = []
    for number, one in enumerate(model.fields):
        writer = f"w{number}"
        names[writer] = _content(one.type) if isinstance(one.type, Model) else _WRITE[one.type.base]
        read = f"getattr(value, {one.attribute!r}, None)" if one.least == 0 else f"value.{one.attribute}"
        piece = f"v{number}"
        tag = one.name
        if one.many:
            lines.append(f"    {piece} = ''.join([f'<{tag}>{{{writer}(v)}}</{tag}>' for v in {read} or ()])")
        elif one.least == 0:
            lines += [
                f"    {piece} = {read}",
                f"    {piece} = '' if {piece} is None else f'<{tag}>{{{writer}({piece})}}</{tag}>'",
            ]
        else:
            lines += [
                f"    {piece} = {read}",
                f"    if {piece} is None: raise ValueError('{model.name}/{tag} has no value')",
                f"    {piece} = f'<{tag}>{{{writer}({piece})}}</{tag}>'",
            ]
        pieces.append(f"{{{piece}}}")
    lines.append(f"    return f'{''.join(pieces)}'")
    exec("\n".join(lines), names)  # noqa: S102 - the source is made of the contract's own names
    compiled: Callable[[Any], str] = names["content"]
    return compiled


def envelope(model: Model, namespace: str, splice: str = "") -> Callable[[Any], bytes]:
    """An encoder of a whole answer. ``splice`` names the last field, whose rendered bytes the value holds as ``body``."""
    if splice:
        if model.fields[-1].name != splice:
            raise ValueError(f"{splice} is not the last field of {model.name}")
        head = Model(model.name, model.doc, model.fields[:-1])
        write = element(head, namespace)
        end = f"</{model.name}>"

        def spliced(value: Any) -> bytes:
            before = write(value)[: -len(end)]
            return b"".join(((_HEAD + before).encode(), value.body, (end + _TAIL).encode()))

        return spliced
    write = element(model, namespace)

    def whole(value: Any) -> bytes:
        return f"{_HEAD}{write(value)}{_TAIL}".encode()

    return whole


def fault(side: str, message: str, detail: str) -> bytes:
    """The envelope of a SOAP 1.1 fault; ``detail`` is a rendered element."""
    return (
        f"{_HEAD}<soap:Fault><faultcode>soap:{side}</faultcode><faultstring>{escape(message)}</faultstring>"
        f"<detail>{detail}</detail></soap:Fault>{_TAIL}"
    ).encode()


def binary(tag: str, value: bytes) -> bytes:
    """A rendered element of base64, for an answer that takes its last field as ready bytes."""
    return b"".join((f"<{tag}>".encode(), binascii.b2a_base64(value, newline=False), f"</{tag}>".encode()))


# rows of text ---------------------------------------------------------------------------------------------------------

Row = tuple[str | None, ...]


def _row_pieces(model: Model) -> tuple[list[str], list[str]]:
    """The pieces of the template of a row, and the names of columns that may need escaping. Columns without a field of their
    own stand last and are items of ``extra``."""
    fields = {one.attribute: one for one in model.fields}
    pieces, free, items, extra = [], [], [], []
    for number, column in enumerate(model.columns):
        one, value = fields.get(column), f"c{number}"
        if one is None:
            item = f"<item><name>{column}</name><value>{{{value}}}</value></item>"
            items.append(f"{{'' if {value} is None else f'{item}'}}")
            extra.append(value)
        elif one.many:
            inner = f"{{{value}.replace(' ', '</{one.name}><{one.name}>')}}"
            pieces.append(f"{{f\"<{one.name}>{inner}</{one.name}>\" if {value} else ''}}")
        elif one.least == 0:
            pieces.append(f"{{'' if {value} is None else f'<{one.name}>{{{value}}}</{one.name}>'}}")
        else:
            pieces.append(f"<{one.name}>{{{value}}}</{one.name}>")
        if one is None or not isinstance(one.type, Simple) or one.type.base == "string":
            free.append(value)
    if items:
        absent = " is None and ".join(extra)
        inner = "".join(items)
        pieces.append(f"{{'' if {absent} is None else f\"<extra>{inner}</extra>\"}}")
    return pieces, free


def _compile_rows(model: Model, end: str = "") -> Callable[[Sequence[Row]], list[str]]:
    """A generated loop over rows. Whether anything has to be escaped is asked of all rows at once."""
    pieces, free = _row_pieces(model)
    columns = ", ".join(f"c{number}" for number in range(len(model.columns)))
    source = f'''
def rows(lines):
    out = []
    texts = []
    add = out.append
    look = texts.append
    for {columns} in lines:
        look(f"{"".join(f"{{{name}}}" for name in free)}")
        add(f"""{"".join(pieces)}{end}""")
    return out, texts
'''
    names: dict[str, Any] = {}
    exec(source, names)  # noqa: S102 - the source is made of the contract's own names
    rows: Callable[[Sequence[Row]], tuple[list[str], list[str]]] = names["rows"]

    def render(lines: Sequence[Row]) -> list[str]:
        out, texts = rows(lines)
        text = "".join(texts)
        if "&" in text or "<" in text or ">" in text or not text.isprintable():
            return rows([_escaped(line) for line in lines])[0]
        return out

    return render


def _escaped(line: Row) -> Row:
    return tuple(value if value is None else escape(value) for value in line)


def compile_row(model: Model) -> Callable[[Row], str]:
    """An encoder of one row of text in the order of ``model.columns``."""
    rows = _compile_rows(model)
    return lambda line: rows((line,))[0]


class Lines:
    """Renders rows of a list as elements ``tag``, each after its number; the `LineRenderer` of lists.

    Stored blocks outlive the process: within one version of the contract the bytes of a row must not change.
    """

    def __init__(self, model: Model, tag: str, number: str) -> None:
        self._rows = _compile_rows(model, f"</{tag}>")
        self._start = f"<{tag}><{number}>%d</{number}>%b".encode()

    def __call__(self, lines: Sequence[Row]) -> list[bytes]:
        """Each row from its first column to the end of its element, in UTF-8."""
        return [text.encode() for text in self._rows(lines)]

    def join(self, first: int, lines: Sequence[bytes]) -> bytes:
        """Ready elements one after another, numbered ``first``, ``first + 1``, …"""
        start = self._start
        return b"".join([start % numbered for numbered in enumerate(lines, first)])


class Changes:
    """Renders changes of a list: fields of its own, then a row as the last; the `ChangeRenderer` of lists."""

    def __init__(self, model: Model, tag: str) -> None:
        *fields, row = model.fields
        assert isinstance(row.type, Model)
        self._rows = _compile_rows(row.type, f"</{row.name}></{tag}>")
        self._start = f"<{tag}>{''.join(f'<{one.name}>%s</{one.name}>' for one in fields)}<{row.name}>"

    def __call__(self, heads: Sequence[tuple[str, ...]], lines: Sequence[Row]) -> bytes:
        """The elements in UTF-8. Heads are numbers, times and codes of the gateway: nothing in them needs escaping."""
        start = self._start
        return "".join([start % head + text for head, text in zip(heads, self._rows(lines), strict=True)]).encode()


# elements -> values ---------------------------------------------------------------------------------------------------


def _read_date(text: str) -> date:
    # Java and .NET may add a zone to xs:date; the day of the calendar is what was written.
    return date.fromisoformat(re.sub(r"(Z|[+-]\d\d:\d\d)$", "", text.strip()))


_READ: dict[str, Callable[[str], Any]] = {
    "string": str,
    "boolean": lambda text: text.strip() in ("true", "1"),
    "int": int,
    "long": int,
    "decimal": Decimal,
    "date": _read_date,
    "dateTime": lambda text: datetime.fromisoformat(text.strip()),
    # the schema has checked alphabet and padding; line breaks, which Java and PHP put in, are passed over
    "base64Binary": binascii.a2b_base64,
}


def decoder(model: Model, namespace: str) -> Callable[[etree._Element], SimpleNamespace]:
    """A decoder of valid elements of ``model``; raises ``request.schema`` for days that the calendar does not have."""
    read = _reader(model, namespace)

    def decode(element: etree._Element) -> SimpleNamespace:
        try:
            return read(element)
        except (ValueError, OverflowError):
            raise GatewayError("request.schema", fields=_unreadable(element, model, "")) from None

    return decode


def _reader(model: Model, namespace: str) -> Callable[[etree._Element], SimpleNamespace]:
    absent = {one.attribute: None for one in model.fields if not one.many}
    repeated = [one.attribute for one in model.fields if one.many]
    table: dict[str, tuple[str, bool, bool, Callable[[Any], Any]]] = {}
    for one in model.fields:
        inner = isinstance(one.type, Model)
        read_value = _reader(one.type, namespace) if isinstance(one.type, Model) else _READ[one.type.base]
        table[f"{{{namespace}}}{one.name}"] = (one.attribute, one.many, inner, read_value)

    def read(element: etree._Element) -> SimpleNamespace:
        values: dict[str, Any] = dict(absent)
        for name in repeated:
            values[name] = []
        for child in element:
            attribute, many, inner, read_value = table[str(child.tag)]
            value = read_value(child if inner else child.text or "")
            if many:
                values[attribute].append(value)
            else:
                values[attribute] = value
        for name in repeated:
            values[name] = tuple(values[name])
        return SimpleNamespace(**values)

    return read


def _unreadable(element: etree._Element, model: Model, path: str) -> list[FieldError]:
    """The places whose text is valid by the schema and yet no value, such as the year 12026."""
    found: list[FieldError] = []
    seen: dict[str, int] = {}
    for child in element:
        name = etree.QName(child).localname
        one = model.field(name)
        if one is None:
            continue
        seen[name] = seen.get(name, 0) + 1
        place = path + (f"{name}[{seen[name]}]" if one.many else name)
        if isinstance(one.type, Model):
            found += _unreadable(child, one.type, place + "/")
        else:
            try:
                _READ[one.type.base](child.text or "")
            except (ValueError, OverflowError):
                found.append(field_error(place, "field.format"))
    return found
