"""The published documents: pinned byte for byte, stable, documented, and differences named by what they break."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from lxml import etree

from gateway.services import wsdl
from gateway.services.contract import Service
from gateway.services.observation_v1 import SERVICE as OBSERVATION
from gateway.services.published import BY_PATH, SERVICES
from gateway.services.wsdl_changes import differences

ROOT = Path(__file__).parents[2]
NAMES = {"wsdl": wsdl.WSDL, "soap": wsdl.SOAP, "xs": wsdl.XSD}
every = pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)


def test_pinned_files_are_those_of_the_code() -> None:
    assert [str(one) for one in wsdl.check(ROOT, SERVICES)] == []


def test_export_writes_what_check_reads(tmp_path: Path) -> None:
    assert wsdl.check(tmp_path, SERVICES)
    written = wsdl.export(tmp_path, SERVICES)
    assert sorted(path.name for path in written) == [
        "DispensaryObservation.v1.wsdl",
        "DispensaryObservation.v1.xsd",
        "Exchange.v1.wsdl",
        "Exchange.v1.xsd",
        "ObservationList.v1.xsd",
    ]
    assert wsdl.check(tmp_path, SERVICES) == []


@pytest.mark.parametrize("seed", ["0", "1", "2"])
def test_bytes_do_not_depend_on_the_hash_seed(seed: str) -> None:
    code = (
        "import sys; from gateway.services.published import SERVICES\n"
        "sys.stdout.buffer.write(b''.join(service.pinned for service in SERVICES))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        check=True,
        cwd=ROOT,
    )
    assert ran.stdout == b"".join(service.pinned for service in SERVICES)


@every
def test_the_served_wsdl_differs_in_its_address_alone(service: Service) -> None:
    served = service.wsdl("https://dn.example.ru/a&b/")
    assert b'location="https://dn.example.ru/a&amp;b' + service.path.encode() + b'"' in served
    assert served.replace(b"https://dn.example.ru/a&amp;b", wsdl.PLACEHOLDER.encode()) == service.pinned


@every
def test_every_operation_type_and_element_is_documented_in_russian(service: Service) -> None:
    root = etree.fromstring(service.pinned)
    nodes = [
        *root.iterfind(".//wsdl:portType/wsdl:operation", NAMES),
        *root.iterfind(".//xs:complexType", NAMES),
        *root.iterfind(".//xs:complexType//xs:element", NAMES),
    ]
    for node in nodes:
        text = node.findtext("wsdl:documentation", None, NAMES) or node.findtext(
            "xs:annotation/xs:documentation", "", NAMES
        )
        assert any("а" <= letter.lower() <= "я" for letter in text), node.get("name")


@every
def test_names_and_types_keep_the_rules_of_the_contract(service: Service) -> None:
    root = etree.fromstring(service.pinned)
    for node in root.iterfind(".//xs:complexType//xs:element", NAMES):
        assert node.get("name")[0].islower()
        assert node.get("nillable") is None
    for node in (*root.iterfind(".//xs:complexType", NAMES), *root.iterfind(".//wsdl:operation", NAMES)):
        assert node.get("name")[0].isupper()
    assert root.find(".//xs:enumeration", NAMES) is None
    allowed = {
        f"xs:{name}" for name in ("string", "boolean", "int", "long", "decimal", "date", "dateTime", "base64Binary")
    }
    used = {node.get("type") for node in root.iterfind(".//xs:element", NAMES)}
    assert {name for name in used if name.startswith("xs:")} <= allowed


@every
def test_changing_operations_begin_with_a_request_id(service: Service) -> None:
    for operation in service.operations.values():
        named = [field.name for field in operation.request]
        assert (named[:1] == ["requestId"]) == (operation.kind == "change")
        assert "requestId" not in named[1:]


@every
def test_soap_actions_are_the_namespace_and_the_operation(service: Service) -> None:
    root = etree.fromstring(service.pinned)
    for node in root.iterfind("wsdl:binding/wsdl:operation", NAMES):
        action = node.find("soap:operation", NAMES).get("soapAction")
        assert action == f"{service.namespace}/{node.get('name')}"
        assert action == service.soap_action(service.operations[node.get("name")])


def test_the_contract_has_the_operations_it_promises() -> None:
    assert {name: list(service.operations) for name, service in zip(("o", "e"), SERVICES, strict=True)} == {
        "o": [
            "FindPerson",
            "AddEntries",
            "UpdatePlans",
            "ConductObservations",
            "ExcludeEntries",
            "ChangeDiagnosis",
            "AnnulEntry",
            "AnnulVisit",
            "ReopenEntry",
            "GetEntry",
            "GetPersonEntries",
            "GetList",
            "GetChanges",
            "ExportList",
            "UploadList",
            "GetIndicator",
            "GetIndicatorPersons",
            "GetDoctors",
            "SaveDoctors",
        ],
        "e": [
            "Ping",
            "GetAllowedOperations",
            "GetLimits",
            "GetDictionary",
            "GetMyCalls",
            "ListOperations",
            "GetOperation",
            "AbortOperation",
            "PutFilePart",
            "GetFile",
            "ListFiles",
            "ConfirmFile",
        ],
    }
    assert list(BY_PATH) == ["/soap/observation/v1", "/soap/exchange/v1"]


def test_the_entry_has_the_order_of_a_line() -> None:
    from gateway.lists.model import LINE_COLUMNS
    from gateway.services.observation_types import ENTRY

    assert [field.attribute for field in ENTRY.fields] == ["record_number", *LINE_COLUMNS[:-1], "extra"]
    assert LINE_COLUMNS[-1] == "outside"


# wsdl check -----------------------------------------------------------------------------------------------------------


def _element(data: bytes, type: bytes, name: bytes) -> tuple[int, int]:
    """Where an element of a type stands in the document, with its annotation."""
    start = data.index(b'<xs:element name="' + name + b'"', data.index(b'<xs:complexType name="' + type + b'"'))
    return start, data.index(b"</xs:element>", start) + len(b"</xs:element>")


def _without(data: bytes, type: bytes, name: bytes) -> bytes:
    start, end = _element(data, type, name)
    return data[:start] + data[end:]


def _in(data: bytes, type: bytes, name: bytes, old: bytes, new: bytes) -> bytes:
    start, end = _element(data, type, name)
    assert old in data[start:end]
    return data[:start] + data[start:end].replace(old, new, 1) + data[end:]


def _after(data: bytes, type: bytes, name: bytes, new: bytes) -> bytes:
    _, end = _element(data, type, name)
    return data[:end] + new + data[end:]


def _found(old: bytes, new: bytes) -> list[tuple[str, str, bool]]:
    return [(one.place, one.text, one.breaks) for one in differences(old, new)]


NEW = b'<xs:element name="fresh" type="xs:string" minOccurs="0"/>'
MUST = NEW.replace(b' minOccurs="0"', b"")
PIN = OBSERVATION.pinned


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        (PIN, []),
        (_without(PIN, b"Person", b"snils"), [("Person/snils", "элемент удалён или переименован", True)]),
        (
            _in(PIN, b"Person", b"snils", b'"snils"', b'"snilsNumber"'),
            [
                ("Person/snils", "элемент удалён или переименован", True),
                ("Person/snilsNumber", "новый элемент ответа: новые сведения передаются в extra", True),
            ],
        ),
        (_in(PIN, b"Entry", b"version", b"xs:int", b"xs:long"), [("Entry/version", "изменён тип", True)]),
        (
            _in(PIN, b"NewEntry", b"externalId", b' minOccurs="0"', b""),
            [("NewEntry/externalId", "стал обязательным", True)],
        ),
        (_in(PIN, b"Entry", b"snils", b' minOccurs="0"', b""), [("Entry/snils", "стал обязательным", False)]),
        (
            _in(PIN, b"Entry", b"enp", b'type="xs:string"', b'type="xs:string" minOccurs="0"'),
            [("Entry/enp", "стал необязательным", True)],
        ),
        (
            _in(PIN, b"NewEntry", b"enp", b'type="tns:Code"', b'type="tns:Code" minOccurs="0"'),
            [("NewEntry/enp", "стал необязательным", False)],
        ),
        (
            _after(PIN, b"NewEntry", b"specialty", MUST),
            [("NewEntry/fresh", "новый обязательный элемент запроса", True)],
        ),
        (
            _after(PIN, b"NewEntry", b"specialty", NEW),
            [("NewEntry/fresh", "новый необязательный элемент запроса", False)],
        ),
        (
            _after(PIN, b"Entry", b"extra", NEW),
            [("Entry/fresh", "новый элемент ответа: новые сведения передаются в extra", True)],
        ),
        (
            _in(PIN, b"AddEntries", b"items", b'"1000"', b'"500"'),
            [("AddEntries/items", "повторений стало меньше", True)],
        ),
        (
            _in(PIN, b"AddEntries", b"items", b'"1000"', b'"2000"'),
            [("AddEntries/items", "повторений стало больше", False)],
        ),
        (
            PIN.replace(b'<xs:maxLength value="32"/>', b'<xs:maxLength value="16"/>', 1),
            [("Code", "ограничения ужесточены", True)],
        ),
        (
            PIN.replace(b'<xs:maxLength value="32"/>', b'<xs:maxLength value="64"/>', 1),
            [("Code", "ограничения ослаблены", False)],
        ),
        (
            PIN.replace(b"observation:v1/GetList", b"observation:v1/ListGet"),
            [("GetList", "изменён SOAPAction", True)],
        ),
        (_in(PIN, b"Entry", b"version", b"expectedVersion", b"next"), [("Entry/version", "изменено описание", False)]),
    ],
)
def test_a_change_is_named_with_what_it_breaks(changed: bytes, wanted: list[tuple[str, str, bool]]) -> None:
    assert _found(PIN, changed) == wanted


def _less(data: bytes, operation: str) -> bytes:
    """The document without an operation, its messages, elements and the types that only it uses."""
    root = etree.fromstring(data)
    for path in ("wsdl:portType/wsdl:operation", "wsdl:binding/wsdl:operation", "wsdl:message", ".//xs:schema/*"):
        for node in root.iterfind(path, NAMES):
            if node.get("name") in (operation, operation + "Response"):
                node.getparent().remove(node)
    return etree.tostring(root)


def test_a_removed_operation_breaks_and_a_new_one_does_not() -> None:
    less = _less(PIN, "GetDoctors")
    assert ("GetDoctors", "операция удалена", True) in _found(PIN, less)
    assert _found(less, PIN)
    assert not any(breaks for _, _, breaks in _found(less, PIN))


def test_another_order_and_another_namespace_break() -> None:
    start, end = _element(PIN, b"Person", b"sex")
    moved = PIN[:start] + PIN[end:]
    moved = _after(moved, b"Person", b"source", PIN[start:end])
    assert _found(PIN, moved) == [("Person", "изменён порядок элементов", True)]
    other = PIN.replace(b"observation:v1", b"observation:v2")
    assert ("служба", "изменено пространство имён", True) in _found(PIN, other)


def test_check_says_what_breaks(tmp_path: Path) -> None:
    wsdl.export(tmp_path, SERVICES)
    pinned = tmp_path / "wsdl" / "DispensaryObservation.v1.wsdl"
    pinned.write_bytes(_in(PIN, b"Entry", b"version", b"xs:int", b"xs:long"))
    (one,) = wsdl.check(tmp_path, SERVICES)
    assert str(one) == "ЛОМАЕТ  DispensaryObservation.v1.wsdl: Entry/version: изменён тип"
    pinned.write_bytes(PIN + b"\n")
    (one,) = wsdl.check(tmp_path, SERVICES)
    assert not one.breaks
