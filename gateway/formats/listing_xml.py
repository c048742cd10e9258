"""The list as XML, own namespace: `ObservationList` with `header` and one `entries` per record, as GetList answers them.

The same document is taken back by an upload. There only `header/records` and, of a record, ЕНП and diagnosis are needed;
what the gateway fills itself is passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from lxml import etree

from gateway.formats.listing import COLUMNS, NAMESPACE, Column, ListHeader

ROOT, HEADER, RECORD, NUMBER = "ObservationList", "header", "entries", "recordNumber"
EXTRA = "outside"
"""The column that leaves as ``extra/item``, as the contract has it."""

XSD = "http://www.w3.org/2001/XMLSchema"
TAIL = f"</{ROOT}>\n".encode()

_NEEDED = frozenset({"enp", "diagnosis"})
_MONTHS_MOST = 24
_TYPES = {"date": "xs:date", "int": "xs:long", "bool": "xs:boolean", "time": "xs:dateTime", "months": "tns:Month"}
_HEADER = (
    ("organisation", "xs:string", "Код МО; нет — все списки, доступные получателю"),
    ("period", "xs:string", "Период: ГГГГ-ММ или ГГГГ-QN"),
    ("listType", "xs:string", "Тип списка, справочник LIST_TYPES"),
    ("edition", "xs:string", "Редакция: CURRENT текущая, CLOSED закрытого периода"),
    ("asOf", "xs:dateTime", "На какой момент составлен список"),
    ("closedAt", "xs:dateTime", "Когда закрыт период (редакция CLOSED)"),
    ("firstRecord", "xs:long", "Номер первой записи файла в списке, с 1"),
    ("records", "xs:long", "Записей в файле"),
    ("totalRecords", "xs:long", "Записей в списке"),
    ("changeToken", "xs:string", "Метка, с которой GetChanges продолжает этот список"),
)


def open_tag(column: Column) -> str:
    return f"<extra><item><name>{EXTRA}</name><value>" if column.name == EXTRA else f"<{column.name}>"


def close_tag(column: Column) -> str:
    return "</value></item></extra>" if column.name == EXTRA else f"</{column.name}>"


def head(header: ListHeader) -> bytes:
    """The document up to its first record; a line each for the declaration, the root and the header."""
    values = {
        "organisation": header.organisation,
        "period": header.period,
        "listType": header.list_type,
        "edition": header.edition,
        "asOf": header.as_of.isoformat(),
        "closedAt": header.closed_at.isoformat() if header.closed_at else None,
        "firstRecord": str(header.first),
        "records": str(header.records),
        "totalRecords": str(header.total),
        "changeToken": header.change_token,
    }
    node = etree.Element(HEADER)
    for name, value in values.items():
        if value is not None:
            etree.SubElement(node, name).text = value
    start = f'<?xml version="1.0" encoding="UTF-8"?>\n<{ROOT} xmlns="{NAMESPACE}">\n'
    return start.encode() + etree.tostring(node, encoding="utf-8") + b"\n"


# stored lines ---------------------------------------------------------------------------------------------------------

_LINE_COLUMNS = COLUMNS[1:]
_END = f"</{RECORD}>".encode()
_NUMBERED = f"<{RECORD}><{NUMBER}>%d</{NUMBER}>%b</{RECORD}>\n".encode()
_VALUES = re.compile(
    "".join(
        f"((?:{open_tag(one)}[^<]*{close_tag(one)})*)" if one.kind == "months"
        else f"(?:{open_tag(one)}([^<]*){close_tag(one)})?"
        for one in _LINE_COLUMNS
    )
    + _END.decode()
)  # fmt: skip
_MONTH_TAGS = "</plannedMonths><plannedMonths>"
_ENTITIES = (("&lt;", "<"), ("&gt;", ">"), ("&#13;", "\r"), ("&amp;", "&"))


def numbered(first: int, lines: Iterable[bytes]) -> list[bytes]:
    """Records of lines without their numbers and without the end of their element."""
    return [_NUMBERED % one for one in enumerate(lines, first)]


def sealed(first: int, lines: Iterable[bytes]) -> list[bytes]:
    """Records of lines that closed lists keep: they end with the end of their element."""
    return numbered(first, [line.removesuffix(_END) for line in lines])


def values_of(line: bytes) -> tuple[str | None, ...]:
    """The values of such a line in the order of `COLUMNS` without the number; ValueError for any other bytes."""
    found = _VALUES.fullmatch(line.decode())
    if found is None:
        raise ValueError("a stored line has another form")
    return tuple(
        _months(value) if column.kind == "months" else value if value is None or "&" not in value else _plain(value)
        for column, value in zip(_LINE_COLUMNS, found.groups(), strict=True)
    )


def _months(tags: str) -> str:
    return tags[len("<plannedMonths>") : -len("</plannedMonths>")].replace(_MONTH_TAGS, " ")


def _plain(value: str) -> str:
    for entity, character in _ENTITIES:
        value = value.replace(entity, character)
    return value


# schema ---------------------------------------------------------------------------------------------------------------


def schema() -> bytes:
    """The schema as it is published and pinned."""
    root = etree.Element(
        _x("schema"),
        {"targetNamespace": NAMESPACE, "elementFormDefault": "qualified"},
        nsmap={"xs": XSD, "tns": NAMESPACE},
    )
    month = etree.SubElement(root, _x("simpleType"), name="Month")
    _document(month, "Месяц ГГГГ-ММ")
    facets = etree.SubElement(month, _x("restriction"), base="xs:string")
    etree.SubElement(facets, _x("pattern"), value="[0-9]{4}-(0[1-9]|1[0-2])")
    _sequence(root, "Header", "Что это за список", [_element(*one, least=int(one[0] == "records")) for one in _HEADER])
    _sequence(
        root,
        "Item",
        "Дополнительное значение",
        [_element("name", "xs:string", "Имя"), _element("value", "xs:string", "Значение")],
    )
    _sequence(root, "Extra", "Дополнительно", [_element("item", "tns:Item", "Значение", most="unbounded")])
    _sequence(
        root,
        "Entry",
        "Запись списка. При загрузке обязательны enp и diagnosis; поля, которые ведёт шлюз, не читаются",
        [_column(one) for one in COLUMNS],
    )
    _sequence(
        root,
        ROOT,
        "Список диспансерного наблюдения или его часть",
        [
            _element(HEADER, "tns:Header", "Что это за список"),
            _element(RECORD, "tns:Entry", "Запись списка", least=0, most="unbounded"),
        ],
    )
    etree.SubElement(root, _x("element"), name=ROOT, type=f"tns:{ROOT}")
    etree.indent(root)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8") + b"\n"


def _column(column: Column) -> etree._Element:
    if column.name == EXTRA:
        return _element("extra", "tns:Extra", f"{EXTRA} = ORDER (вне 168н и 548н) или CHILD (до 18 лет)", least=0)
    most = str(_MONTHS_MOST) if column.kind == "months" else "1"
    kind = _TYPES.get(column.kind, "xs:string")
    return _element(column.name, kind, column.title, least=int(column.name in _NEEDED), most=most)


def _element(name: str, type: str, doc: str, *, least: int = 1, most: str = "1") -> etree._Element:
    node = etree.Element(_x("element"), {"name": name, "type": type})
    if least != 1:
        node.set("minOccurs", str(least))
    if most != "1":
        node.set("maxOccurs", most)
    _document(node, doc)
    return node


def _sequence(root: etree._Element, name: str, doc: str, elements: Iterable[etree._Element]) -> None:
    node = etree.SubElement(root, _x("complexType"), name=name)
    _document(node, doc)
    etree.SubElement(node, _x("sequence")).extend(elements)


def _document(node: etree._Element, text: str) -> None:
    annotation = etree.SubElement(node, _x("annotation"))
    etree.SubElement(annotation, _x("documentation")).text = text


def _x(name: str) -> str:
    return f"{{{XSD}}}{name}"
