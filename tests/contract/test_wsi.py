"""Assertions of WS-I Basic Profile 1.1 that concern WSDL and envelopes, as a table of checks by their numbers (D1)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest
from lxml import etree

from gateway.services import wsdl
from gateway.services.contract import Service
from gateway.services.published import SERVICES
from tests.contract.samples import ENVELOPES, FAULTS

NAMES = {
    "wsdl": wsdl.WSDL,
    "soap": wsdl.SOAP,
    "xs": wsdl.XSD,
    "env": "http://schemas.xmlsoap.org/soap/envelope/",
}
ENV = f"{{{NAMES['env']}}}"
HTTP = "http://schemas.xmlsoap.org/soap/http"

Document = Callable[[bytes, etree._Element], bool]
OF_WSDL: dict[str, tuple[str, Document]] = {}
OF_ENVELOPE: dict[str, tuple[str, Document]] = {}


def in_wsdl(number: str, text: str) -> Callable[[Document], Document]:
    def keep(check: Document) -> Document:
        OF_WSDL[number] = (text, check)
        return check

    return keep


def in_envelope(number: str, text: str) -> Callable[[Document], Document]:
    def keep(check: Document) -> Document:
        OF_ENVELOPE[number] = (text, check)
        return check

    return keep


def every(root: etree._Element, path: str) -> list[etree._Element]:
    return list(root.iterfind(path, NAMES))


def local(name: str | None) -> str:
    assert name is not None
    return name.rpartition(":")[2]


def resolves(root: etree._Element, node: etree._Element, name: str, targets: set[str]) -> bool:
    prefix, _, tail = name.rpartition(":")
    namespace = node.nsmap.get(prefix or None)
    return namespace == root.get("targetNamespace") and tail in targets


def named(root: etree._Element, path: str) -> set[str]:
    return {str(node.get("name")) for node in every(root, path)}


# WSDL -----------------------------------------------------------------------------------------------------------------


@in_wsdl("R4003", "a description is UTF-8 or UTF-16")
def _(data: bytes, root: etree._Element) -> bool:
    return data.startswith(b"<?xml version='1.0' encoding='UTF-8'?>") and bool(data.decode("utf-8"))


@in_wsdl("R2001", "wsdl:import brings in descriptions only: there is none at all")
@in_wsdl("R2007", "wsdl:import has a location")
@in_wsdl("R2002", "schemas are brought in by xsd:import only, inside a schema")
def _(data: bytes, root: etree._Element) -> bool:
    return not every(root, "wsdl:import") and not every(root, ".//xs:import") and not every(root, ".//xs:include")


@in_wsdl("R2022", "imports come first, after documentation")
@in_wsdl("R2023", "types come before everything but documentation and imports")
def _(data: bytes, root: etree._Element) -> bool:
    return [etree.QName(child).localname for child in root][:2] == ["documentation", "types"]


@in_wsdl("R2025", "no extension is required")
@in_wsdl("R2026", "no extension of the profile's own elements is required")
def _(data: bytes, root: etree._Element) -> bool:
    return not root.xpath("//*[@wsdl:required]", namespaces=NAMES)


@in_wsdl("R2101", "every QName refers to something that is there")
def _(data: bytes, root: etree._Element) -> bool:
    messages, ports, bindings = (named(root, f"wsdl:{name}") for name in ("message", "portType", "binding"))
    elements, types = (
        named(root, ".//xs:schema/xs:element"),
        named(root, ".//xs:complexType") | named(root, ".//xs:simpleType"),
    )
    right = [
        *(resolves(root, one, one.get("element"), elements) for one in every(root, ".//wsdl:part")),
        *(
            resolves(root, one, one.get("message"), messages)
            for one in every(root, "wsdl:portType/wsdl:operation/*[@message]")
        ),
        *(resolves(root, one, one.get("type"), ports) for one in every(root, "wsdl:binding")),
        *(resolves(root, one, one.get("binding"), bindings) for one in every(root, ".//wsdl:port")),
    ]
    typed = [
        one.get("type").startswith("xs:") or resolves(root, one, one.get("type"), types)
        for one in every(root, ".//xs:element")
    ]
    return all(right) and all(typed)


@in_wsdl("R2105", "every schema has a target namespace")
@in_wsdl("R2114", "the target namespace may be that of the description")
def _(data: bytes, root: etree._Element) -> bool:
    return [one.get("targetNamespace") for one in every(root, "wsdl:types/xs:schema")] == [root.get("targetNamespace")]


@in_wsdl("R2110", "no type restricts or extends soapenc:Array")
@in_wsdl("R2111", "no wsdl:arrayType")
@in_wsdl("R2113", "no soapenc:arrayType in messages")
def _(data: bytes, root: etree._Element) -> bool:
    return b"arrayType" not in data and b"soap/encoding" not in data


@in_wsdl("R2112", "no type or element is named ArrayOfXXX")
def _(data: bytes, root: etree._Element) -> bool:
    return not [name for name in root.xpath("//@name") if str(name).startswith("ArrayOf")]


@in_wsdl("R2201", "a document-literal body has at most one part")
@in_wsdl("R2204", "a part of a document-literal binding names an element")
@in_wsdl("R2206", "such an element is global and exists")
@in_wsdl("R2210", "soap:body without parts: the message has at most one")
@in_wsdl("R2306", "a part has not both type and element")
def _(data: bytes, root: etree._Element) -> bool:
    return all(
        len(parts := list(message)) == 1 and parts[0].get("element") and not parts[0].get("type")
        for message in every(root, "wsdl:message")
    )


@in_wsdl("R2301", "parts go on the wire in their order: one part each")
@in_wsdl("R2305", "parameterOrder omits at most one part: it is not used")
def _(data: bytes, root: etree._Element) -> bool:
    return not root.xpath("//@parameterOrder")


@in_wsdl("R2303", "request-response operations only")
def _(data: bytes, root: etree._Element) -> bool:
    shapes = {
        tuple(etree.QName(child).localname for child in one) for one in every(root, "wsdl:portType/wsdl:operation")
    }
    return shapes == {("documentation", "input", "output", "fault")}


@in_wsdl("R2304", "operations of a port type have distinct names")
def _(data: bytes, root: etree._Element) -> bool:
    names = [one.get("name") for one in every(root, "wsdl:portType/wsdl:operation")]
    return len(names) == len(set(names))


@in_wsdl("R2401", "the binding is a SOAP binding")
@in_wsdl("R2701", "with a transport")
@in_wsdl("R2702", "which is HTTP")
@in_wsdl("R2705", "of one style")
def _(data: bytes, root: etree._Element) -> bool:
    shown = [(one.get("style"), one.get("transport")) for one in every(root, "wsdl:binding/soap:binding")]
    return shown == [("document", HTTP)] and {
        one.get("style") for one in every(root, "wsdl:binding/wsdl:operation/soap:operation")
    } == {"document"}


@in_wsdl("R2706", "use is literal in bodies, faults and headers")
@in_wsdl("R2707", "and stands there")
def _(data: bytes, root: etree._Element) -> bool:
    return {one.get("use") for one in (*every(root, ".//soap:body"), *every(root, ".//soap:fault"))} == {"literal"}


@in_wsdl("R2710", "operations of a binding differ on the wire")
def _(data: bytes, root: etree._Element) -> bool:
    sent = [
        part.get("element")
        for one in every(root, "wsdl:portType/wsdl:operation/wsdl:input")
        for part in every(root, f"wsdl:message[@name='{local(one.get('message'))}']/wsdl:part")
    ]
    return len(sent) == len(set(sent)) == len(every(root, "wsdl:portType/wsdl:operation"))


@in_wsdl("R2711", "no two ports have one address")
def _(data: bytes, root: etree._Element) -> bool:
    return len(every(root, ".//soap:address")) == 1


@in_wsdl("R2716", "no namespace attribute at document-literal bodies and faults")
def _(data: bytes, root: etree._Element) -> bool:
    return not root.xpath("//soap:body/@namespace | //soap:fault/@namespace", namespaces=NAMES)


@in_wsdl("R2718", "binding and port type have the same operations")
def _(data: bytes, root: etree._Element) -> bool:
    return [one.get("name") for one in every(root, "wsdl:binding/wsdl:operation")] == [
        one.get("name") for one in every(root, "wsdl:portType/wsdl:operation")
    ]


@in_wsdl("R2721", "soap:fault has a name")
@in_wsdl("R2754", "which is that of its wsdl:fault")
def _(data: bytes, root: etree._Element) -> bool:
    return all(
        [inner.get("name") for inner in one] == [one.get("name")]
        for one in every(root, "wsdl:binding/wsdl:operation/wsdl:fault")
    )


@in_wsdl("R2745", "SOAPAction is that of the binding: every operation has one, all distinct")
def _(data: bytes, root: etree._Element) -> bool:
    actions = [one.get("soapAction") for one in every(root, ".//soap:operation")]
    return all(actions) and len(actions) == len(set(actions))


@in_wsdl("R2800", "the schema is XML Schema 1.0")
@in_wsdl("R2801", "and valid as such")
def _(data: bytes, root: etree._Element) -> bool:
    (schema,) = every(root, "wsdl:types/xs:schema")
    return etree.XMLSchema(etree.fromstring(etree.tostring(schema))) is not None


# envelopes ------------------------------------------------------------------------------------------------------------


@in_envelope("R9980", "the structure of a SOAP 1.1 envelope")
@in_envelope("R9981", "exactly one child of Body")
@in_envelope("R1011", "nothing after Body")
@in_envelope("R1015", "the namespace of SOAP 1.1")
def _(data: bytes, root: etree._Element) -> bool:
    return root.tag == ENV + "Envelope" and [one.tag for one in root] == [ENV + "Body"] and len(root[0]) == 1


@in_envelope("R1014", "the child of Body is in a namespace")
def _(data: bytes, root: etree._Element) -> bool:
    return bool(etree.QName(root[0][0]).namespace)


@in_envelope("R1005", "no encodingStyle in the namespace of the envelope")
@in_envelope("R1006", "nor on children of Body")
@in_envelope("R1007", "nor in a literal message")
def _(data: bytes, root: etree._Element) -> bool:
    return b"encodingStyle" not in data


@in_envelope("R1008", "no DTD")
@in_envelope("R1009", "no processing instruction")
def _(data: bytes, root: etree._Element) -> bool:
    return b"<!" not in data and b"<?" not in data[5:]


@in_envelope("R1012", "UTF-8 or UTF-16")
@in_envelope("R4001", "a byte order mark may be left out")
def _(data: bytes, root: etree._Element) -> bool:
    return data.startswith(b'<?xml version="1.0" encoding="UTF-8"?>') and bool(data.decode("utf-8"))


@in_envelope("R2211", "no xsi:nil, which document-literal does not need")
@in_envelope("R1017", "no type attribute is needed")
def _(data: bytes, root: etree._Element) -> bool:
    return b"XMLSchema-instance" not in data


@in_envelope("R1000", "a fault has only faultcode, faultstring, faultactor and detail")
@in_envelope("R1001", "which are in no namespace")
@in_envelope("R1004", "a fault code of SOAP 1.1 or of a namespace of its own")
@in_envelope("R1031", "without dots")
def _(data: bytes, root: etree._Element) -> bool:
    shown = root[0][0]
    if shown.tag != ENV + "Fault":
        return True
    prefix, _, code = shown.findtext("faultcode", "").partition(":")
    return (
        [one.tag for one in shown] == ["faultcode", "faultstring", "detail"]
        and shown.nsmap[prefix] == NAMES["env"]
        and re.fullmatch("Client|Server|MustUnderstand|VersionMismatch", code) is not None
    )


@in_envelope("R2712", "the child of Body is the element that the description names")
@in_envelope("R2742", "a fault in detail is the one that the description names")
@in_envelope("R2301", "and is valid by its schema")
def _(data: bytes, root: etree._Element) -> bool:
    shown = root[0][0]
    if shown.tag == ENV + "Fault":
        (shown,) = shown.find("detail")
    service = next(one for one in SERVICES if one.namespace == etree.QName(shown).namespace)
    return etree.XMLSchema(wsdl.schema_of(service)).validate(shown)


def _cases() -> Iterator[object]:
    for number, (text, check) in sorted(OF_WSDL.items()):
        for service in SERVICES:
            yield pytest.param(check, service.pinned, id=f"{number}-{service.name}: {text}")
    recorded = {**ENVELOPES, **{f"fault-{name}": data for name, data in FAULTS.items()}}
    for number, (text, check) in sorted(OF_ENVELOPE.items()):
        for name, data in recorded.items():
            yield pytest.param(check, data, id=f"{number}-{name}: {text}")


@pytest.mark.parametrize(("check", "data"), list(_cases()))
def test_basic_profile(check: Document, data: bytes) -> None:
    assert check(data, etree.fromstring(data))


def test_the_table_covers_every_answer() -> None:
    assert set(ENVELOPES) == {name for service in SERVICES for name in service.operations}


def test_services_share_no_address(services: tuple[Service, ...] = SERVICES) -> None:
    assert len({service.path for service in services}) == len(services)
