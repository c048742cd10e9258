"""WSDL and schema of a service: spyne's own document, put into the form that is published and pinned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

from lxml import etree

from gateway.formats import listing_xml
from gateway.services import spyne_import as spyne
from gateway.services.spyne_types import application
from gateway.services.types import GATEWAY_FAULT, Model
from gateway.services.wsdl_changes import Difference, differences

if TYPE_CHECKING:
    from gateway.services.contract import Service

WSDL = "http://schemas.xmlsoap.org/wsdl/"
SOAP = "http://schemas.xmlsoap.org/wsdl/soap/"
XSD = "http://www.w3.org/2001/XMLSchema"

PLACEHOLDER = "http://gateway.invalid"
"""The address in pinned files."""

LIST_SCHEMA = "ObservationList.v1.xsd"
"""The schema of lists as XML files."""


def _w(name: str) -> str:
    return f"{{{WSDL}}}{name}"


def _s(name: str) -> str:
    return f"{{{SOAP}}}{name}"


def _x(name: str) -> str:
    return f"{{{XSD}}}{name}"


def definitions(service: Service) -> etree._Element:
    """Makes the whole WSDL, with the placeholder as its address; `Service.definitions` keeps it."""
    builder = spyne.Wsdl11(application(service).interface)
    builder.build_interface_document(PLACEHOLDER + service.path)
    raw: etree._Element = builder.root_elt
    root = etree.Element(
        _w("definitions"),
        {"name": service.name, "targetNamespace": service.namespace},
        nsmap={"wsdl": WSDL, "soap": SOAP, "xs": XSD, "tns": service.namespace},
    )
    root.append(_documented(_w("documentation"), service.doc))
    for kind in ("types", "message", "portType", "binding", "service"):
        root.extend(raw.findall(_w(kind)))
    _shape_messages(root, service)
    _shape_port_type(root)
    _shape_binding(root, service)
    _shape_service(root, service)
    schema = root.find(f"{_w('types')}/{_x('schema')}")
    _shape_schema(_found(schema), service)
    etree.cleanup_namespaces(root, keep_ns_prefixes=["xs", "tns"])
    etree.indent(root)
    return root


def _found(node: etree._Element | None) -> etree._Element:
    if node is None:
        raise LookupError("spyne's document has another form")
    return node


def _documented(tag: str, text: str) -> etree._Element:
    node = etree.Element(tag)
    node.text = text
    return node


def _shape_messages(root: etree._Element, service: Service) -> None:
    """Messages in the order of the operations, the fault last, their parts named as wrapped style has it."""
    messages = {str(node.get("name")): node for node in root.findall(_w("message"))}
    order = [name for one in service.operations for name in (one, one + "Response")]
    place = root.index(_found(root.find(_w("types")))) + 1
    for number, name in enumerate((*order, GATEWAY_FAULT.name)):
        _found(messages[name].find(_w("part"))).set("name", "fault" if name == GATEWAY_FAULT.name else "parameters")
        root.insert(place + number, messages[name])


def _shape_port_type(root: etree._Element) -> None:
    for operation in root.iterfind(f"{_w('portType')}/{_w('operation')}"):
        # spyne names a message there; WSDL 1.1 wants names of parts, and only for RPC
        operation.attrib.pop("parameterOrder", None)


def _shape_binding(root: etree._Element, service: Service) -> None:
    binding = _found(root.find(_w("binding")))
    binding.set("name", service.name + "Binding")
    for operation in binding.iterfind(_w("operation")):
        soap = _found(operation.find(_s("operation")))
        soap.set("soapAction", service.soap_action(service.operations[str(operation.get("name"))]))


def _shape_service(root: etree._Element, service: Service) -> None:
    port = _found(root.find(f"{_w('service')}/{_w('port')}"))
    port.set("name", service.name + "Port")
    port.set("binding", f"tns:{service.name}Binding")


def _shape_schema(schema: etree._Element, service: Service) -> None:
    """Types by name with their documentation; elements only for messages and the fault."""
    models = _models(service)
    simple = sorted(schema.findall(_x("simpleType")), key=lambda node: str(node.get("name")))
    complex_ = sorted(schema.findall(_x("complexType")), key=lambda node: str(node.get("name")))
    for node in complex_:
        _shape_type(node, models[str(node.get("name"))])
    elements = {str(node.get("name")): node for node in schema.findall(_x("element"))}
    names = [name for one in service.operations for name in (one, one + "Response")]
    schema[:] = [*simple, *complex_, *(elements[name] for name in (*names, GATEWAY_FAULT.name))]


def _shape_type(node: etree._Element, model: Model) -> None:
    """spyne documents a type with the words of whichever member uses it last; .NET wants a sequence in every type."""
    for old in node.findall(_x("annotation")):
        node.remove(old)
    annotation = etree.Element(_x("annotation"))
    annotation.append(_documented(_x("documentation"), model.doc))
    node.insert(0, annotation)
    if node.find(_x("sequence")) is None:
        etree.SubElement(node, _x("sequence"))


def _models(service: Service) -> dict[str, Model]:
    found: dict[str, Model] = {}

    def visit(models: Iterable[Model]) -> None:
        for model in models:
            if model.name not in found:
                found[model.name] = model
                visit(field.type for field in model.fields if isinstance(field.type, Model))

    visit([GATEWAY_FAULT])
    for operation in service.operations.values():
        visit([operation.input, operation.output])
    return found


def _bytes(root: etree._Element) -> bytes:
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8") + b"\n"


def document(service: Service) -> bytes:
    """The WSDL as it is pinned, with the placeholder as its address."""
    return _bytes(service.definitions)


def schema_of(service: Service) -> etree._Element:
    """The schema inside the WSDL as a document of its own."""
    root = etree.Element(
        _x("schema"),
        {"targetNamespace": service.namespace, "elementFormDefault": "qualified"},
        nsmap={"xs": XSD, "tns": service.namespace},
    )
    root.extend(deepcopy(_found(service.definitions.find(f"{_w('types')}/{_x('schema')}"))))
    etree.indent(root)
    return root


def schema(service: Service) -> bytes:
    """The schema as it is pinned."""
    return _bytes(schema_of(service))


def at(pinned: bytes, service: Service, public_url: str) -> bytes:
    """The pinned WSDL with the address at which the service is reached."""
    place = quoteattr(public_url.rstrip("/") + service.path).encode()
    return pinned.replace(f'location="{PLACEHOLDER}{service.path}"'.encode(), b"location=" + place)


def export(root: str | Path, services: Iterable[Service]) -> list[Path]:
    """Writes ``wsdl/Name.v1.wsdl`` and ``schemas/Name.v1.xsd`` of every service below ``root``, and schemas of files."""
    written = []
    for path, content in _all_files(Path(root), services):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        written.append(path)
    return written


def check(root: str | Path, services: Iterable[Service]) -> list[Difference]:
    """What differs between the pinned files below ``root`` and the code, and whether it breaks clients."""
    found = []
    for path, content in _all_files(Path(root), services):
        if not path.exists():
            found.append(Difference(path.name, "закреплённого файла нет", False))
            continue
        pinned = path.read_bytes()
        if pinned == content:
            continue
        known = differences(pinned, content) if path.suffix == ".wsdl" else []
        found += [Difference(f"{path.name}: {one.place}", one.text, one.breaks) for one in known]
        if not known:
            found.append(Difference(path.name, "закреплённый файл отличается записью, не содержанием", False))
    return found


def _all_files(root: Path, services: Iterable[Service]) -> Iterator[tuple[Path, bytes]]:
    for service in services:
        yield from _files(root, service)
    yield root / "schemas" / LIST_SCHEMA, listing_xml.schema()


def _files(root: Path, service: Service) -> list[tuple[Path, bytes]]:
    name = f"{service.name}.{service.version}"
    return [
        (root / "wsdl" / f"{name}.wsdl", document(service)),
        (root / "schemas" / f"{name}.xsd", schema(service)),
    ]
