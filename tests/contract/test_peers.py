"""Foreign SOAP stacks take the pinned WSDL unchanged: zeep, PHP's ext-soap, gSOAP with a C++ compiler (D2)."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import zeep
from lxml import etree
from zeep.transports import Transport

from gateway.services.contract import Service
from gateway.services.exchange_v1 import SERVICE as EXCHANGE
from gateway.services.observation_v1 import SERVICE as OBSERVATION
from gateway.services.published import SERVICES
from tests.contract.samples import CONTENT, ENVELOPES, FAULTS, page

pytestmark = pytest.mark.peer
ROOT = Path(__file__).parents[2]
SOAP = "{http://schemas.xmlsoap.org/soap/envelope/}"
UUID = "0b9e3f5e-3c0a-4f6e-9d3c-6f0a4a1d9f11"
NEW_ENTRIES = {
    "requestId": UUID,
    "items": [
        {
            "externalId": "МИС №1 <&> «ё»",
            "enp": "7755530821000030",
            "diagnosis": "I20.8",
            "diagnosedOn": "2024-05-06",
            "plannedMonths": ["2026-11", "2027-02"],
        },
        {"enp": "7755530821000030", "diagnosis": "E11.9", "plannedMonths": ["2026-12"]},
    ],
}


def pinned(service: Service) -> Path:
    return ROOT / "wsdl" / f"{service.name}.{service.version}.wsdl"


def received(service: Service, data: bytes) -> Any:
    """What the gateway reads in the envelope that a peer has sent."""
    body = etree.fromstring(data, etree.XMLParser(remove_blank_text=True)).find(SOAP + "Body")
    (element,) = body
    assert service.validate(element) == []
    operation = service.operation_of(element.tag)
    assert operation is not None
    return operation.decode(element)


def check_new_entries(read: Any) -> None:
    first, second = read.items
    assert (read.request_id, read.organisation) == (UUID, None)
    assert first.external_id == "МИС №1 <&> «ё»"
    assert first.diagnosed_on == date(2024, 5, 6)
    assert first.planned_months == ("2026-11", "2027-02")
    assert (second.external_id, second.planned_months) == (None, ("2026-12",))


# zeep -----------------------------------------------------------------------------------------------------------------


class _Recorder(Transport):
    """Keeps what zeep sends and hands out a ready answer."""

    def __init__(self, answer: bytes, status: int = 200) -> None:
        super().__init__()
        self.answer, self.status, self.sent = answer, status, b""

    def post(self, address: str, message: bytes, headers: dict[str, str]) -> Any:
        self.sent, self.address, self.headers = message, address, headers

        class Response:
            status_code = self.status
            content = self.answer
            headers = {"Content-Type": "text/xml; charset=utf-8"}
            encoding = "utf-8"

        return Response()


def zeep_client(service: Service, answer: bytes, status: int = 200) -> tuple[zeep.Client, _Recorder]:
    transport = _Recorder(answer, status)
    return zeep.Client(str(pinned(service)), transport=transport, settings=zeep.Settings(forbid_dtd=True)), transport


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_zeep_knows_every_operation(service: Service) -> None:
    client, _ = zeep_client(service, b"")
    assert sorted(client.service._operations) == sorted(service.operations)


def test_zeep_sends_and_reads() -> None:
    client, transport = zeep_client(OBSERVATION, ENVELOPES["AddEntries"])
    results = client.service.AddEntries(**NEW_ENTRIES)
    check_new_entries(received(OBSERVATION, transport.sent))
    assert transport.headers["SOAPAction"] == '"urn:dn-gateway:observation:v1/AddEntries"'
    assert [(one.number, one.id, one.code) for one in results] == [(1, "17", "ok"), (2, None, "person.unknown")]


def test_zeep_reads_a_list() -> None:
    client, _ = zeep_client(OBSERVATION, ENVELOPES["GetList"])
    answer = client.service.GetList(year=2026, month=11, listType="OBSERVED")
    assert answer.asOf == datetime.fromisoformat("2026-11-01T12:30:00+03:00")
    assert answer.asOf.utcoffset() == timedelta(hours=3)
    assert answer.closedAt is None
    first, second = answer.entries
    assert (first.recordNumber, second.recordNumber) == (1, 2)
    assert (first.externalId, first.lastName) == ("МИС №1 <&> «ё»", "Ёлкина-О'Нил")
    assert first.birthDate == date(1961, 2, 3)
    assert first.byAttachment is True
    assert first.plannedMonths == ["2026-11", "2027-02"]
    assert [(one.name, one.value) for one in first.extra.item] == [("outside", "CHILD")]
    assert (second.externalId, second.extra, second.plannedMonths) == (None, None, [])


def test_zeep_reads_an_empty_list() -> None:
    client, _ = zeep_client(OBSERVATION, OBSERVATION.operations["GetList"].encode(page()))
    answer = client.service.GetList(year=2026, month=11, listType="OBSERVED")
    assert (answer.totalRecords, answer.entries) == (0, [])


@pytest.mark.parametrize("name", sorted(ENVELOPES))
def test_zeep_reads_every_answer(name: str) -> None:
    service = next(one for one in SERVICES if name in one.operations)
    client, _ = zeep_client(service, b"")
    operation = client.service._binding._operations[name]
    assert operation.process_reply(etree.fromstring(ENVELOPES[name])) is not None


def check_part(read: Any) -> None:
    assert (read.file_name, read.offset, read.content, read.last) == ("список.csv", 5_000_000_000, CONTENT, True)
    assert (read.file_id, read.sha256) == (None, None)


def test_zeep_sends_and_reads_bytes() -> None:
    client, transport = zeep_client(EXCHANGE, ENVELOPES["PutFilePart"])
    part = {"fileName": "список.csv", "offset": 5_000_000_000, "content": CONTENT, "last": True}
    assert client.service.PutFilePart(requestId=UUID, **part).receivedBytes == 5_000_000_000
    check_part(received(EXCHANGE, transport.sent))
    client, _ = zeep_client(EXCHANGE, ENVELOPES["GetFile"])
    answer = client.service.GetFile(fileId=UUID)
    assert (answer.content, answer.size, answer.more) == (CONTENT, 5_000_000_000, False)


def test_zeep_reads_a_fault() -> None:
    client, _ = zeep_client(EXCHANGE, FAULTS["Exchange"], 500)
    with pytest.raises(zeep.exceptions.Fault) as refused:
        client.service.Ping()
    assert refused.value.code == "soap:Client"
    kind = client.get_element("{urn:dn-gateway:exchange:v1}GatewayFault")
    detail = kind.parse(refused.value.detail[0], client.wsdl.types)
    assert (detail.code, detail.requestId) == ("request.schema", "trace-7")
    assert [one.field for one in detail.errors.error] == ["items[2]/enp", "items[3]/place"]


# PHP ------------------------------------------------------------------------------------------------------------------

Php = Callable[..., tuple[Any, list[str], bytes]]


@pytest.fixture
def php(require: Callable[[str], None], tmp_path: Path) -> Php:
    if not shutil.which("php") or "soap" not in subprocess.run(["php", "-m"], capture_output=True, text=True).stdout:
        require("php")

    def run(service: Service, operation: str = "", arguments: Any = None, answer: bytes = b"") -> Any:
        (tmp_path / "answer.xml").write_bytes(answer)
        environment = {
            **os.environ,
            "WSDL": str(pinned(service)),
            "OPERATION": operation,
            "ARGUMENTS": json.dumps(arguments or {}),
            "ANSWER": str(tmp_path / "answer.xml"),
            "SENT": str(tmp_path / "sent.xml"),
        }
        script = str(Path(__file__).with_name("peer.php"))
        ran = subprocess.run(["php", script], env=environment, capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stderr + ran.stdout
        sent = tmp_path / "sent.xml"
        return json.loads(ran.stdout), ran.stderr.split(), sent.read_bytes() if sent.exists() else b""

    return run


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_php_loads_the_wsdl(php: Php, service: Service) -> None:
    functions, types = php(service)[0]
    assert functions == len(service.operations)
    assert types >= 2 * len(service.operations)


def test_php_sends_and_reads(php: Php) -> None:
    answer, (action, location), sent = php(OBSERVATION, "AddEntries", NEW_ENTRIES, ENVELOPES["AddEntries"])
    check_new_entries(received(OBSERVATION, sent))
    assert action == "urn:dn-gateway:observation:v1/AddEntries"
    assert location == "http://gateway.invalid/soap/observation/v1"
    assert [one["code"] for one in answer["results"]] == ["ok", "person.unknown"]
    assert "id" not in answer["results"][1]


def test_php_reads_a_list(php: Php) -> None:
    choice = {"year": 2026, "month": 11, "listType": "OBSERVED"}
    answer = php(OBSERVATION, "GetList", choice, ENVELOPES["GetList"])[0]
    first, second = answer["entries"]
    assert answer["asOf"] == "2026-11-01T12:30:00+03:00"
    assert (first["externalId"], first["lastName"]) == ("МИС №1 <&> «ё»", "Ёлкина-О'Нил")
    assert (first["birthDate"], first["byAttachment"], first["version"]) == ("1961-02-03", True, 3)
    assert first["plannedMonths"] == ["2026-11", "2027-02"]
    assert first["extra"] == {"item": [{"name": "outside", "value": "CHILD"}]}
    assert not {"externalId", "extra", "plannedMonths"} & second.keys()
    empty = php(OBSERVATION, "GetList", choice, OBSERVATION.operations["GetList"].encode(page()))[0]
    assert (empty["totalRecords"], "entries" in empty) == (0, False)


def test_php_sends_and_reads_bytes(php: Php) -> None:
    """JSON holds no bytes: the script of the peer takes and gives ``content`` in base64."""
    shown = base64.b64encode(CONTENT).decode()
    part = {"requestId": UUID, "fileName": "список.csv", "offset": 5_000_000_000, "content": shown, "last": True}
    answer, _, sent = php(EXCHANGE, "PutFilePart", part, ENVELOPES["PutFilePart"])
    check_part(received(EXCHANGE, sent))
    assert answer["receivedBytes"] == 5_000_000_000
    answer = php(EXCHANGE, "GetFile", {"fileId": UUID}, ENVELOPES["GetFile"])[0]
    assert (answer["content"], answer["size"]) == (shown, 5_000_000_000)


def test_php_reads_a_fault(php: Php) -> None:
    code, text, detail = php(EXCHANGE, "Ping", {}, FAULTS["Exchange"])[0]["fault"]
    assert (code, text) == ("soap:Client", "Запрос не соответствует схеме службы")
    assert detail["GatewayFault"]["code"] == "request.schema"
    assert [one["field"] for one in detail["GatewayFault"]["errors"]["error"]] == ["items[2]/enp", "items[3]/place"]


# gSOAP ----------------------------------------------------------------------------------------------------------------


Generated = Callable[[Service], Path]


def _run(folder: Path, *command: str) -> str:
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


@pytest.fixture
def gsoap(require: Callable[[str], None], tmp_path: Path) -> Generated:
    """Makes the C++ client of a service from its pinned WSDL."""
    if not all(map(shutil.which, ("wsdl2h", "soapcpp2", "g++"))):
        require("gsoap")

    def generate(service: Service) -> Path:
        said = _run(tmp_path, "wsdl2h", "-o", "service.h", str(pinned(service)))
        said += _run(tmp_path, "soapcpp2", "-C", "-j", "-I/usr/share/gsoap/import", "-I/usr/share/gsoap", "service.h")
        assert "arning" not in said, said
        return tmp_path

    return generate


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_gsoap_generates_a_client(service: Service, gsoap: Generated) -> None:
    folder = gsoap(service)
    (proxy,) = folder.glob("*Proxy.h")
    for name in service.operations:
        assert f" {name}(" in proxy.read_text()
    assert "GatewayFault" in (folder / "service.h").read_text()
    # the samples that soapcpp2 writes are requests as its clients send them
    for name in service.operations:
        (sample,) = folder.glob(f"*.{name}.req.xml")
        body = etree.parse(sample).getroot().find(SOAP + "Body")
        assert [child.tag for child in body] == [f"{{{service.namespace}}}{name}"]


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
def test_the_generated_client_compiles(service: Service, gsoap: Generated, require: Callable[[str], None]) -> None:
    folder = gsoap(service)
    (folder / "probe.cpp").write_text("#include <stdsoap2.h>\n")
    if subprocess.run(["g++", "-E", "probe.cpp"], cwd=folder, capture_output=True).returncode:
        require("gsoap")
    for source in sorted(folder.glob("soap*.cpp")):
        _run(folder, "g++", "-fsyntax-only", "-w", source.name)
