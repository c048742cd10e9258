"""What a change of a published WSDL means for the clients that were built from the old one.

Strict clients (.NET, Java, gSOAP, 1C) refuse unknown elements of an answer and send all they know of a request. So in
a request something may become optional, in an answer nothing may appear or become optional; new values of answers go
into ``extra``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from lxml import etree

from gateway.formats.xml import Limits, parse

_WSDL = "{http://schemas.xmlsoap.org/wsdl/}"
_SOAP = "{http://schemas.xmlsoap.org/wsdl/soap/}"
_XSD = "{http://www.w3.org/2001/XMLSchema}"
_LIMITS = Limits(depth=32, elements=200_000, attributes=64, name_chars=256)
_UNBOUNDED = 1 << 30


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference: where, what (in Russian), and whether it breaks clients."""

    place: str
    text: str
    breaks: bool

    def __str__(self) -> str:
        return f"{'ЛОМАЕТ' if self.breaks else 'не ломает'}  {self.place}: {self.text}"


@dataclass(frozen=True, slots=True)
class _Member:
    type: str
    least: int
    most: int
    nillable: bool
    doc: str


@dataclass(slots=True)
class _Contract:
    namespace: str = ""
    operations: dict[str, tuple[str, ...]] = field(default_factory=dict)
    docs: dict[str, str] = field(default_factory=dict)
    elements: dict[str, str] = field(default_factory=dict)
    complex: dict[str, dict[str, _Member]] = field(default_factory=dict)
    simple: dict[str, dict[str, str]] = field(default_factory=dict)
    sent: set[str] = field(default_factory=set)
    answered: set[str] = field(default_factory=set)


def differences(old: bytes, new: bytes) -> list[Difference]:
    """The differences from ``old`` to ``new``, those that break clients first."""
    before, after = _read(old), _read(new)
    found = [*_whole(before, after), *_operations(before, after), *_simple(before, after), *_complex(before, after)]
    return sorted(found, key=lambda one: (not one.breaks, one.place))


# reading --------------------------------------------------------------------------------------------------------------


def _read(data: bytes) -> _Contract:
    root = parse(data, _LIMITS)
    contract = _Contract(namespace=root.get("targetNamespace", ""))
    actions = {
        str(node.get("name")): one.get("soapAction", "")
        for node in root.iterfind(f"{_WSDL}binding/{_WSDL}operation")
        for one in node.iterfind(f"{_SOAP}operation")
    }
    contract.docs["служба"] = _doc(root, _WSDL)
    for node in root.iterfind(f"{_WSDL}portType/{_WSDL}operation"):
        name = str(node.get("name"))
        messages = [str(one.get("message")) for one in node if one.get("message")]
        contract.operations[name] = (actions.get(name, ""), *messages)
        contract.docs[name] = _doc(node, _WSDL)
    for schema in root.iterfind(f"{_WSDL}types/{_XSD}schema"):
        _read_schema(schema, contract)
    for name in contract.operations:
        _reach(contract, contract.elements.get(name, ""), contract.sent)
        _reach(contract, contract.elements.get(name + "Response", ""), contract.answered)
    _reach(contract, contract.elements.get("GatewayFault", ""), contract.answered)
    return contract


def _read_schema(schema: etree._Element, contract: _Contract) -> None:
    for node in schema.iterfind(f"{_XSD}element"):
        contract.elements[str(node.get("name"))] = str(node.get("type"))
    for node in schema.iterfind(f"{_XSD}simpleType"):
        base = _found(node, "restriction")
        facets = {etree.QName(one).localname: str(one.get("value")) for one in base}
        contract.simple["tns:" + str(node.get("name"))] = {"base": str(base.get("base")), **facets}
    for node in schema.iterfind(f"{_XSD}complexType"):
        name = "tns:" + str(node.get("name"))
        contract.docs[name] = _doc(node, _XSD)
        contract.complex[name] = {str(one.get("name")): _member(one) for one in _found(node, "sequence")}


def _member(node: etree._Element) -> _Member:
    most = node.get("maxOccurs", "1")
    return _Member(
        str(node.get("type")),
        int(node.get("minOccurs", "1")),
        _UNBOUNDED if most == "unbounded" else int(most),
        node.get("nillable") == "true",
        _doc(node, _XSD),
    )


def _found(node: etree._Element, name: str) -> etree._Element:
    inner = node.find(_XSD + name)
    if inner is None:
        raise ValueError(f"a type of the schema has no {name}")
    return inner


def _doc(node: etree._Element, namespace: str) -> str:
    found = node.find(f"{namespace}documentation")
    if found is None:
        found = node.find(f"{_XSD}annotation/{_XSD}documentation")
    return "" if found is None else (found.text or "").strip()


def _reach(contract: _Contract, type: str, reached: set[str]) -> None:
    if type and type not in reached:
        reached.add(type)
        for member in contract.complex.get(type, {}).values():
            _reach(contract, member.type, reached)


# comparing ------------------------------------------------------------------------------------------------------------


def _whole(before: _Contract, after: _Contract) -> Iterator[Difference]:
    if before.namespace != after.namespace:
        yield Difference("служба", "изменено пространство имён", True)
    for place, text in after.docs.items():
        if place in before.docs and before.docs[place] != text:
            yield Difference(place.removeprefix("tns:"), "изменено описание", False)


def _operations(before: _Contract, after: _Contract) -> Iterator[Difference]:
    for name, parts in before.operations.items():
        if name not in after.operations:
            yield Difference(name, "операция удалена", True)
        elif parts[0] != after.operations[name][0]:
            yield Difference(name, "изменён SOAPAction", True)
        elif parts != after.operations[name]:
            yield Difference(name, "изменены сообщения операции", True)
    for name in after.operations.keys() - before.operations.keys():
        yield Difference(name, "новая операция", False)
    for name, type in before.elements.items():
        if name not in after.elements:
            yield Difference(name, "элемент сообщения удалён", True)
        elif after.elements[name] != type:
            yield Difference(name, "изменён тип сообщения", True)


_LOWER, _UPPER = ("minLength", "minInclusive"), ("maxLength", "maxInclusive")


def _simple(before: _Contract, after: _Contract) -> Iterator[Difference]:
    for name, old in before.simple.items():
        new = after.simple.get(name)
        place = name.removeprefix("tns:")
        if new is None:
            yield Difference(place, "тип удалён", True)
        elif new != old:
            tighter, looser = _narrowed(old, new), _narrowed(new, old)
            breaks = (tighter and name in before.sent) or (looser and name in before.answered)
            yield Difference(place, "ограничения ужесточены" if tighter else "ограничения ослаблены", breaks)
    for name in after.simple.keys() - before.simple.keys():
        yield Difference(name.removeprefix("tns:"), "новый тип", False)


def _narrowed(old: Mapping[str, str], new: Mapping[str, str]) -> bool:
    """Whether ``new`` refuses something that ``old`` takes; facets that cannot be compared count as such."""
    for name in old.keys() | new.keys():
        was, is_ = old.get(name), new.get(name)
        if was == is_ or is_ is None:
            continue
        if was is None or name not in (*_LOWER, *_UPPER):
            return True
        if (int(is_) > int(was)) if name in _LOWER else (int(is_) < int(was)):
            return True
    return False


def _complex(before: _Contract, after: _Contract) -> Iterator[Difference]:
    for name, old in before.complex.items():
        new = after.complex.get(name)
        type = name.removeprefix("tns:")
        if new is None:
            yield Difference(type, "тип удалён", True)
            continue
        kept = [member for member in old if member in new]
        if kept != [member for member in new if member in old]:
            yield Difference(type, "изменён порядок элементов", True)
        for member, was in old.items():
            place = f"{type}/{member}"
            if member not in new:
                yield Difference(place, "элемент удалён или переименован", True)
            else:
                yield from _changed(place, was, new[member], name in before.sent, name in before.answered)
        for member in new.keys() - old.keys():
            if name in before.answered:
                yield Difference(f"{type}/{member}", "новый элемент ответа: новые сведения передаются в extra", True)
            elif new[member].least:
                yield Difference(f"{type}/{member}", "новый обязательный элемент запроса", True)
            else:
                yield Difference(f"{type}/{member}", "новый необязательный элемент запроса", False)
    for name in after.complex.keys() - before.complex.keys():
        yield Difference(name.removeprefix("tns:"), "новый тип", False)


def _changed(place: str, was: _Member, now: _Member, sent: bool, answered: bool) -> Iterator[Difference]:
    if was.type != now.type:
        yield Difference(place, "изменён тип", True)
    if now.least > was.least:
        yield Difference(place, "стал обязательным", sent)
    if now.least < was.least:
        yield Difference(place, "стал необязательным", answered)
    if now.most < was.most:
        yield Difference(place, "повторений стало меньше", sent)
    if now.most > was.most:
        yield Difference(place, "повторений стало больше", answered)
    if was.nillable != now.nillable:
        yield Difference(place, "изменено nillable", True)
    if was.doc != now.doc:
        yield Difference(place, "изменено описание", False)
