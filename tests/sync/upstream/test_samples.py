"""The samples of the reference folder, answered by a server that is built from the reference WSDL files: our requests must
be valid by the reference schemas and name the SOAPAction of the reference bindings, and each case ends as its name says."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from lxml import etree

from gateway.domain.insurance import Finding, verdict
from gateway.errors import GatewayError
from gateway.formats import archive
from gateway.people.sources import Wanted
from gateway.sync.upstream import attachments
from gateway.sync.upstream.ferzl import Ferzl
from gateway.sync.upstream.ident import Ident
from gateway.sync.upstream.wire import Wire
from tests.sync.upstream.test_ferzl import Closed

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
WSDL = "http://schemas.xmlsoap.org/wsdl/"
BINDING = "http://schemas.xmlsoap.org/wsdl/soap/"
DAY = date(2026, 11, 1)
SAME, DEAD, LEFT, MOVED = "7856040891000016", "7853740841000023", "7871940884000033", "7875150830000048"


class Reference:
    """Operations, actions and schemas of a service as its reference files declare them; answers from the samples."""

    def __init__(self, folder: Path, samples: Path) -> None:
        self.samples = samples
        self.actions: dict[str, str] = {}
        self.schemas: list[etree.XMLSchema] = []
        self.chosen: dict[str, str] = {}
        self.refused: list[str] = []
        for wsdl in folder.glob("*/wsdl/*.wsdl"):
            root = etree.parse(wsdl).getroot()
            for operation in root.iterfind(f"{{{WSDL}}}binding/{{{WSDL}}}operation"):
                action = operation.find(f"{{{BINDING}}}operation").get("soapAction")
                self.actions[operation.get("name")] = action
        for schema in folder.glob("*/xsd/mpi*.xsd"):
            self.schemas.append(etree.XMLSchema(etree.parse(schema)))

    def answer(self, body: bytes, action: str) -> tuple[int, bytes]:
        message = etree.fromstring(body).find(f"{{{SOAP}}}Body")[0]
        operation = etree.QName(message).localname.removesuffix("Request")
        if self.actions.get(operation) != action.strip('"'):
            self.refused.append(f"{operation}: SOAPAction {action}")
        errors = [str(one.error_log) for one in self.schemas if not one.validate(message)]
        if len(errors) == len(self.schemas):
            self.refused.append(min(errors, key=len))
        if self.refused:
            return 500, (self.samples / "soap_fault.xml").read_bytes()
        enp = message.findtext(".//{*}enp")
        name = self.chosen.get(enp or operation) or self.chosen[operation]
        content = (self.samples / name).read_bytes()
        # a service repeats the number of the question
        asked = message.findtext("{*}externalRequestId", "").encode()
        content = re.sub(rb"(externalRequestId>)[^<]+", rb"\g<1>" + asked, content)
        return (500 if name == "soap_fault.xml" else 200), content


@pytest.fixture
def served(reference: Path) -> Iterator[tuple[Reference, str]]:
    service = Reference(reference / "erzl" / "ferzl", reference / "erzl" / "samples" / "ferzl")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            status, answer = service.answer(body, self.headers["soapaction"])
            self.send_response(status)
            self.send_header("Content-Type", "text/xml; charset=utf-8")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield service, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def ferzl(url: str) -> Ferzl:
    wire = Wire(url, Closed(), read_seconds=5, pause=lambda _: None)
    return Ferzl(wire, wire, version="", okato="40000")


@pytest.mark.parametrize(
    ("sample", "enp", "finding", "since"),
    [
        ("getPersonData_response_unchanged.xml", SAME, Finding.SAME, None),
        ("getPersonData_response_dead.xml", DEAD, Finding.DEAD, date(2026, 10, 14)),
        ("getPersonData_response_left_region.xml", LEFT, Finding.LEFT, None),
        ("getPersonData_response_mo_changed.xml", MOVED, Finding.MOVED, date(2026, 10, 21)),
    ],
)
def test_what_became_of_a_person(served, sample: str, enp: str, finding: Finding, since: date | None) -> None:
    service, url = served
    service.chosen = {enp: sample}
    person = ferzl(url).person(enp, DAY)
    assert service.refused == []
    assert person is not None
    found = verdict(person, day=DAY, region="40000", known="780901")
    assert found.finding is finding
    if since is not None:
        assert found.since == since
    if finding is Finding.MOVED:
        assert found.organisation == "780902"


def test_nobody(served) -> None:
    service, url = served
    service.chosen = {"getPersonData": "getPersonData_response_not_found.xml"}
    assert ferzl(url).person(SAME, DAY) is None
    assert service.refused == []


@pytest.mark.parametrize(
    ("sample", "code"),
    [
        ("getPersonData_response_internal_error.xml", "upstream.refused"),
        ("soap_fault.xml", "upstream.fault"),
        ("getInsuranceStatus_response.xml", "upstream.unusable"),
        ("getPersonData_response_dead.xml", "upstream.unusable"),
    ],
)
def test_what_is_no_answer_is_no_fact(served, sample: str, code: str) -> None:
    """An internal error, a fault, an answer to another question, and one about another person."""
    service, url = served
    service.chosen = {"getPersonData": sample}
    with pytest.raises(GatewayError) as refusal:
        ferzl(url).person(SAME, DAY)
    assert refusal.value.code == code
    assert service.refused == []


def test_searches(served) -> None:
    service, url = served
    service.chosen = {"findPersonsByPersCriteria": "findPersonsByPersCriteria_response_deaths.xml"}
    found = list(ferzl(url).dead(date(2026, 10, 1), date(2026, 10, 31)))
    assert [one.enp for one in found] == [DEAD]
    service.chosen = {"findPersonsByPersCriteria": "findPersonsByPersCriteria_response_fio.xml"}
    expected = re.findall(
        rb"<mpi:enp>(\d+)", (service.samples / "findPersonsByPersCriteria_response_fio.xml").read_bytes()
    )
    found = list(ferzl(url).named("Образцова", "Проба", None, date(1959, 3, 8)))
    assert [one.enp.encode() for one in found] == expected
    assert service.refused == []


def test_changes_of_a_month(served) -> None:
    service, url = served
    name = "getInsuranceStatusChanges"
    service.chosen = {
        f"{name}Start": f"{name}_2_start_response.xml",
        f"{name}Poll": f"{name}_4_poll_response_processing.xml",
    }
    client = ferzl(url)
    token = client.start_changes(date(2026, 10, 1), date(2026, 10, 31))
    assert token == "op-0000-0001"
    assert client.changes(token) is None
    service.chosen[f"{name}Poll"] = f"{name}_5_poll_response_completed.xml"
    changes = client.changes(token)
    assert changes is not None
    assert (changes.departed, changes.changed) == ({DEAD, LEFT}, {SAME, MOVED})
    service.chosen[f"{name}Poll"] = f"{name}_6_poll_response_error.xml"
    with pytest.raises(GatewayError) as refusal:
        client.changes(token)
    assert refusal.value.code == "upstream.refused"
    assert service.refused == []


def test_the_extract(served, tmp_path: Path) -> None:
    service, url = served
    service.chosen = {
        "getViewDataAttachStart": "getInsuranceStatusChanges_2_start_response.xml",
        "getViewDataAttachPoll": "getViewDataAttach_2_poll_response_completed.xml",
    }
    client = ferzl(url)
    with pytest.raises(GatewayError):
        client.start_attachments(DAY)  # the answer to another question
    assert service.refused == []
    assert client.attachments("op-0000-0002", tmp_path / "extract.zip")
    content, _ = archive.unpacked(tmp_path / "extract.zip", tmp_path / "content", archive_bytes=1 << 20)
    found = {line.enp: line.organisation for line in attachments.lines(content, DAY)}
    assert found[SAME] == "780901"
    assert found[MOVED] == "780902"
    assert service.refused == []


# the identification service of St Petersburg --------------------------------------------------------------------------


class Identifying(Reference):
    """The same for Ident.wsdl, whose messages wait in its second schema file."""

    def __init__(self, folder: Path, samples: Path, work: Path) -> None:
        self.samples = samples
        self.chosen = {}
        self.refused = []
        self.actions = {"doIdentification": ""}
        for name in ("Ident.xsd1", "Ident.xsd2"):
            (work / name).write_bytes((folder / name).read_bytes())
        self.schemas = [etree.XMLSchema(etree.parse(work / "Ident.xsd2"))]

    def answer(self, body: bytes, action: str) -> tuple[int, bytes]:
        status, content = super().answer(body, action)
        case = re.search(rb"<idCase>([^<]+)", body)
        return status, re.sub(rb"(<idCase>)[^<]+", rb"\g<1>" + case[1], content) if case else content


@pytest.fixture
def identifying(served, reference: Path, tmp_path: Path) -> tuple[Reference, str]:
    service, url = served
    other = Identifying(reference / "erzl" / "spb-ident", reference / "erzl" / "samples" / "spb-ident", tmp_path)
    service.answer = other.answer
    return other, url


def ident(url: str) -> Ident:
    return Ident(Wire(url, Closed(), read_seconds=5, pause=lambda _: None), login="L", password="P")


def test_identified(identifying) -> None:
    service, url = identifying
    service.chosen = {"doIdentification": "doIdentification_response_found.xml"}
    wanted = Wanted(last_name="Образцова", first_name="Проба", middle_name="Тестовна", birth_date="1959-03-08")
    found = ident(url).person(wanted, DAY)
    assert service.refused == []
    assert found is not None
    assert (found["enp"], found["last_name"], found["birth_date"], found["sex"]) == (SAME, "Образцова", "1959-03-08", 2)
    with pytest.raises(GatewayError) as refusal:
        ident(url).person(Wanted(enp=DEAD), DAY)
    assert refusal.value.code == "upstream.unusable"


def test_not_identified(identifying) -> None:
    service, url = identifying
    service.chosen = {"doIdentification": "doIdentification_response_not_found.xml"}
    assert ident(url).person(Wanted(enp=SAME), DAY) is None
    service.chosen = {"doIdentification": "fault_exception.xml"}
    with pytest.raises(GatewayError) as refusal:
        ident(url).person(Wanted(enp=SAME), DAY)
    assert refusal.value.code == "upstream.fault"
    assert service.refused == []
