"""D2: zeep, PHP's ext-soap and a client that gSOAP generated walk through a running gateway, from the WSDL it serves.

Each finds, adds, plans, conducts, excludes, reopens, pages a snapshot to its end, reads a history and a fault, with
WS-Security and once with HTTP Basic; sends a file in parts, has it loaded, exports to the mailbox, collects and confirms. Then every value that the peer has understood is compared with the gateway's own
answer: dates and times with their zones, Cyrillic, absent and repeated fields, lists of no, one and several rows.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import requests
import zeep
from lxml import etree
from zeep.helpers import serialize_object
from zeep.transports import Transport
from zeep.wsse.username import UsernameToken

from gateway.domain.periods import Month
from gateway.domain.persons import make_enp
from gateway.errors import KINDS
from gateway.services.exchange_v1 import SERVICE as EXCHANGE
from gateway.services.observation_v1 import SERVICE as OBSERVATION
from gateway.services.types import GATEWAY_FAULT, Model
from tests import markers
from tests.acceptance.messages import MONTH, TODAY, current, people_with
from tests.serving import CLINIC, DOCTOR, Gateway, Login, working
from tests.serving import EXCHANGE as EXCHANGE_NAMESPACE

pytestmark = pytest.mark.peer
PEERS = Path(__file__).with_name("peers")
MONTHS = [MONTH, str(Month.parse(MONTH).shift(1))]
TEXT = "МИС №1 <&> «ё»"
NOBODY = make_enp(40, date(1991, 2, 3), 2, 77_777)
FROM, TO = f"{TODAY}T00:00:00+05:00", f"{TODAY}T23:59:59.999+01:00"
WRONG = "1234567890123456"
BARE = 4
OPERATIONS = {
    "find": "FindPerson", "find-bare": "FindPerson", "find-named": "FindPerson", "find-none": "FindPerson",
    "find-again": "FindPerson",
    "add": "AddEntries", "plan": "UpdatePlans", "conduct": "ConductObservations", "exclude": "ExcludeEntries",
    "reopen": "ReopenEntry", "page-1": "GetList", "page-2": "GetList", "page-3": "GetList", "list-one": "GetList",
    "list-none": "GetList", "entry": "GetEntry", "places": "GetDictionary", "calls": "GetMyCalls", "ping": "Ping",
    "part-1": "PutFilePart", "part-2": "PutFilePart", "upload": "UploadList", "loaded": "GetOperation",
    "ended": "AbortOperation", "export": "ExportList", "exported": "GetOperation", "operations": "ListOperations",
    "files": "ListFiles", "file": "GetFile", "confirm": "ConfirmFile",
}  # fmt: skip
ALL = OBSERVATION.operations | EXCHANGE.operations

Values = dict[str, Any]


@dataclass
class Walk:
    """Where and with what a peer walks."""

    gateway: Gateway
    enps: list[str]
    out: Path

    @property
    def client(self) -> Login:
        return self.gateway.clients["clinic"]

    @property
    def environment(self) -> dict[str, str]:
        return {
            "URL": self.gateway.url, "LOGIN": self.client.login, "PASSWORD": self.client.password,
            "OUT": str(self.out), "TODAY": TODAY, "MONTHS": " ".join(MONTHS), "DOCTOR": DOCTOR,
            "ENPS": " ".join(self.enps), "NOBODY": NOBODY, "LAST_NAME": markers.LAST_NAME.upper(),
            "FIRST_NAME": markers.FIRST_NAME, "BIRTH_DATE": "1951-03-02", "FROM": FROM, "TO": TO,
            "FILE": str(self.file), "SHA256": hashlib.sha256(self.file.read_bytes()).hexdigest(),
        }  # fmt: skip

    @property
    def file(self) -> Path:
        """A list to upload: one line is good, one is not."""
        path = self.out / "список.csv"
        if not path.exists():
            lines = [
                "ЕНП;Диагноз;Планируемые месяцы",
                f"{self.enps[1]};J44.8;{MONTHS[0]}",
                f"{WRONG};J44.8;{MONTHS[0]}",
            ]
            path.write_text("".join(line + "\r\n" for line in lines), encoding="utf-8-sig")
        return path


@pytest.fixture
def walk(running: Any, tmp_path: Path) -> Iterator[Walk]:
    """A gateway of the peer's own; persons that have every field, and those that have only what is needed."""
    markers.note_numbers(NOBODY)
    with running() as gateway, working(gateway):
        bare = people_with(gateway.store, BARE, CLINIC)
        yield Walk(gateway, [*gateway.persons[1:9:2], *bare], tmp_path)
        assert [line for line in gateway.log_lines if line["level"] == "ERROR"] == []


# what a peer has understood, in one form: absent values left out, times as seconds of the epoch -------------------------


def _simple(base: str, value: Any) -> Any:
    if base == "dateTime":
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
        assert moment.utcoffset() is not None
        return int(moment.timestamp())
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if base == "boolean" and isinstance(value, str):
        return {"true": True, "false": False}[value]
    return int(value) if base in ("int", "long") else value


def plain(model: Model, value: Mapping[str, Any]) -> Values:
    """From dictionaries, as zeep and JSON give them."""
    unknown = value.keys() - {field.name for field in model.fields}
    assert not unknown, unknown
    found = {}
    for field in model.fields:
        given = value.get(field.name)
        if given is None or given == []:
            continue
        kind = field.type
        read = [
            plain(kind, one) if isinstance(kind, Model) else _simple(kind.base, one)
            for one in (given if field.many else [given])
        ]
        found[field.name] = read if field.many else read[0]
    return found


def of_xml(model: Model, element: etree._Element) -> Values:
    """From an element of an answer."""
    return plain(model, _nested(model, element))


def _nested(model: Model, element: etree._Element) -> Values:
    given: Values = {}
    for child in element:
        field = model.field(etree.QName(child).localname)
        assert field is not None
        value = _nested(field.type, child) if isinstance(field.type, Model) else child.text or ""
        if field.many:
            given.setdefault(field.name, []).append(value)
        else:
            given[field.name] = value
    return given


# peers ----------------------------------------------------------------------------------------------------------------


def by_zeep(walk: Walk) -> dict[str, Values]:
    """The walk with zeep, as a clinic's program would do it."""
    address, client = walk.gateway.url, walk.client
    token = UsernameToken(client.login, client.password)
    lists = zeep.Client(f"{address}/soap/observation/v1?wsdl", wsse=token).service
    exchange = zeep.Client(f"{address}/soap/exchange/v1?wsdl", wsse=token).service
    told: dict[str, Values] = {}

    def call(step: str, service: Any, /, **fields: Any) -> Any:
        operation = OPERATIONS[step]
        answer = getattr(service, operation)(**fields)
        shown, outer = serialize_object(answer, dict), ALL[operation].response
        told[step] = plain(ALL[operation].output, {outer[0].name: shown} if len(outer) == 1 else shown)
        return answer

    def refused(step: str, service: Any, operation: str, **fields: Any) -> None:
        with pytest.raises(zeep.exceptions.Fault) as fault:
            getattr(service, operation)(**fields)
        kind = service._client.get_element(f"{{{OBSERVATION.namespace}}}GatewayFault")
        detail = serialize_object(kind.parse(fault.value.detail[0], service._client.wsdl.types), dict)
        told[step] = {"faultcode": fault.value.code, "faultstring": fault.value.message, **plain(GATEWAY_FAULT, detail)}

    call("find", lists, enp=walk.enps[0])
    call("find-bare", lists, enp=walk.enps[-1])
    named = {"lastName": markers.LAST_NAME.upper(), "firstName": markers.FIRST_NAME}
    call("find-named", lists, **named, birthDate=date(1951, 3, 2))
    call("find-none", lists, enp=NOBODY)
    items: list[Values] = [
        {"enp": enp, "diagnosis": "E11.9", "plannedMonths": MONTHS[:1]} for enp in [*walk.enps, WRONG]
    ]
    items[0] |= {
        "externalId": TEXT, "diagnosis": "I20.8", "diagnosedOn": "2024-05-06+03:00", "plannedMonths": MONTHS,
        "observedSince": date(2024, 5, 7), "doctorSnils": DOCTOR,
    }  # fmt: skip
    ids = [one.id for one in call("add", lists, **_new(), items=items)]
    plans = [
        {"entryId": ids[0], "expectedVersion": 1, "plannedMonths": MONTHS[1:]},
        {"entryId": ids[1]},
        {"entryId": ids[2], "expectedVersion": 7, "plannedMonths": MONTHS},
    ]
    call("plan", lists, **_new(), items=plans)
    seen = {"conductedOn": date.fromisoformat(TODAY), "doctorSnils": DOCTOR, "doctorType": "1"}
    end = {"excludedOn": date.fromisoformat(TODAY), "exclusionReason": "6"}
    visits = [
        {"entryId": ids[0], "place": "1", "result": "1", **seen},
        {"entryId": ids[1], "place": "9", "result": "8", **seen},
        {"entryId": ids[3], "place": "2", "result": "9", **seen, **end, "exclusionReason": "1"},
    ]
    call("conduct", lists, **_new(), items=visits)
    call("exclude", lists, **_new(), items=[{"entryId": one, **end} for one in ids[2:4]])
    call("reopen", lists, **_new(), entryId=ids[2], reason="внесено ошибочно")

    choice = {"year": int(TODAY[:4]), "month": int(TODAY[5:7])}
    page: Values = {"listType": "OBSERVED", "startRecord": 1, "recordCount": 3}
    for number in itertools.count(1):
        answer = call(f"page-{number}", lists, **choice, **page)
        page |= {"startRecord": page["startRecord"] + answer.returnedRecords, "snapshotId": answer.snapshotId}
        if page["startRecord"] > answer.totalRecords:
            break
    call("list-one", lists, **choice, listType="EXCLUDED")
    call("list-none", lists, **choice, listType="OBSERVED", enp=NOBODY)
    call("entry", lists, entryId=ids[0])
    call("find-again", lists, enp=walk.enps[0])
    refused("fault", lists, "GetEntry", entryId="999999999")
    refused("fault-schema", lists, "FindPerson", enp="", lastName="")

    call("places", exchange, code="PLACES")
    between = {"from": datetime.fromisoformat(FROM), "to": datetime.fromisoformat(TO)}
    call("calls", exchange, **between, operation="UpdatePlans")
    session = requests.Session()
    session.auth = (client.login, client.password)
    call("ping", zeep.Client(f"{address}/soap/exchange/v1?wsdl", transport=Transport(session=session)).service)

    content = walk.file.read_bytes()
    part = {"fileName": walk.file.name, "offset": 0, "content": content[:50], "last": False}
    first = call("part-1", exchange, **_new(), **part)
    part |= {"fileId": first.fileId, "offset": first.receivedBytes, "content": content[50:], "last": True}
    file = call("part-2", exchange, **_new(), **part, sha256=hashlib.sha256(content).hexdigest()).fileId

    def wait(step: str, work: str) -> None:
        while call(step, exchange, operationId=work).operation.state in ("QUEUED", "RUNNING"):
            time.sleep(0.2)

    wait("loaded", upload := call("upload", lists, **_new(), fileId=file))
    call("ended", exchange, **_new(), operationId=upload)
    ask = {"listType": "OBSERVED", "recordsPerFile": 1000, "delivery": "MAILBOX", "format": "CSV"}
    wait("exported", call("export", lists, **_new(), **choice, **ask))
    call("operations", exchange)
    waiting = call("files", exchange).files[-1].fileId
    call("file", exchange, fileId=waiting)
    call("confirm", exchange, **_new(), fileId=waiting)
    return told


def _new() -> dict[str, str]:
    return {"requestId": str(uuid4())}


def _run(folder: Path, *command: str, **environment: str) -> str:
    ran = subprocess.run(command, cwd=folder, env=os.environ | environment, capture_output=True, text=True, timeout=240)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def by_php(walk: Walk) -> dict[str, Values]:
    """The walk with PHP's ext-soap."""
    said = _run(walk.out, "php", "-d", "display_errors=stderr", str(PEERS / "walk.php"), **walk.environment)
    assert said == ""
    told = {}
    for file in walk.out.glob("*.json"):
        answer = json.loads(file.read_text(encoding="utf-8"))
        if file.stem.startswith("fault"):
            told[file.stem] = {"faultcode": answer[0], "faultstring": answer[1], **plain(GATEWAY_FAULT, answer[2])}
        else:
            told[file.stem] = plain(ALL[OPERATIONS[file.stem]].output, answer)
    return told


def by_gsoap(walk: Walk) -> dict[str, Values]:
    """The walk with a C++ client: wsdl2h over both served WSDLs, soapcpp2, g++. `wsse.h` is gSOAP's own way of adding
    the types of WS-Security to a generated header."""
    folder, address = walk.out, walk.gateway.url
    wsdls = [f"{address}{service.path}?wsdl" for service in (OBSERVATION, EXCHANGE)]
    said = _run(folder, "wsdl2h", "-o", "service.h", *wsdls)
    header = folder / "service.h"
    header.write_text('#import "wsse.h"\n' + header.read_text())
    said += _run(folder, "soapcpp2", "-C", "-j", "-x", "-I/usr/share/gsoap/import", "-I/usr/share/gsoap", header.name)
    assert "arning" not in said, said
    shutil.copy(PEERS / "walk.cpp", folder)
    shutil.copy("/usr/share/gsoap/custom/struct_timeval.c", folder / "struct_timeval.cpp")  # wsse.h wants it
    sources = sorted(folder.glob("*.cpp"))
    assert len(sources) == 5
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda one: _run(folder, "g++", "-std=c++17", "-O0", "-w", "-I.", "-c", one.name), sources))
    _run(folder, "g++", "-o", "walk", *(one.with_suffix(".o").name for one in sources), "-lgsoap++")
    _run(folder, "./walk", **walk.environment)
    told = {}
    for file in folder.glob("*.xml"):
        answer = etree.parse(file).getroot()
        if file.stem.startswith("fault"):
            code, text = file.with_suffix(".txt").read_text(encoding="utf-8").split("\n")
            told[file.stem] = {"faultcode": code, "faultstring": text, **of_xml(GATEWAY_FAULT, answer)}
        else:
            told[file.stem] = of_xml(ALL[OPERATIONS[file.stem]].output, answer)
    return told


# the checks -----------------------------------------------------------------------------------------------------------


def check(walk: Walk, told: dict[str, Values]) -> None:
    """What the peer did took effect, and what it understood is what the gateway says."""
    assert told.keys() == OPERATIONS.keys() | {"fault", "fault-schema"}
    check_changes(told)
    for step, again in repeated(walk, told).items():
        assert told[step] == again, step
    check_people(walk, told)
    check_lists(walk, told)
    check_faults(told)
    check_exchange(told)
    check_work(walk, told)


def codes(answer: Values) -> list[str]:
    assert [one["number"] for one in answer["results"]] == list(range(1, len(answer["results"]) + 1))
    for one in answer["results"]:
        assert one["message"] and (one["code"].startswith("ok") == ("id" in one))
    return [one["code"] for one in answer["results"]]


def check_changes(told: dict[str, Values]) -> None:
    assert codes(told["add"]) == ["ok"] * (4 + BARE) + ["person.enp-check"]
    assert codes(told["plan"]) == ["ok", "ok", "conflict.version"]
    assert codes(told["conduct"]) == ["ok", "ok", "ok"]
    assert codes(told["exclude"]) == ["ok", "observation.not-open"]
    assert told["reopen"]["entry"]["status"] == "OBSERVED"


def repeated(walk: Walk, told: dict[str, Values]) -> dict[str, Values]:
    """The answers to the same questions, read straight from the gateway's bytes."""
    gateway = walk.gateway
    snapshot = told["page-1"]["snapshotId"]
    ids = [one.get("id", "") for one in told["add"]["results"]]
    named = f"<lastName>{markers.LAST_NAME}</lastName><firstName>{markers.FIRST_NAME}</firstName>"
    asked = {
        "find": f"<enp>{walk.enps[0]}</enp>",
        "find-bare": f"<enp>{walk.enps[-1]}</enp>",
        "find-named": f"{named}<birthDate>1951-03-02</birthDate>",
        "find-none": f"<enp>{NOBODY}</enp>",
        "find-again": f"<enp>{walk.enps[0]}</enp>",
        "entry": f"<entryId>{ids[0]}</entryId>",
        "list-one": current(listType="EXCLUDED", snapshotId=told["list-one"]["snapshotId"]),
        "list-none": current(enp=NOBODY, snapshotId=told["list-none"]["snapshotId"]),
        **{
            f"page-{number}": current(startRecord=str(number * 3 - 2), recordCount="3", snapshotId=snapshot)
            for number in (1, 2, 3)
        },
    }
    answers = {
        step: of_xml(ALL[OPERATIONS[step]].output, gateway.call(OPERATIONS[step], fields).result)
        for step, fields in asked.items()
    }
    for step in ("find", "find-bare", "find-named"):  # asked before anything was added
        del answers[step]["persons"][0]["observed"]
    fields = {
        "loaded": f"<operationId>{told['upload']['operationId']}</operationId>",
        "operations": "",
        "file": f"<fileId>{told['confirm']['file']['fileId']}</fileId>",
    }
    for step, asked_for in fields.items():
        found = gateway.call(OPERATIONS[step], asked_for, namespace=EXCHANGE_NAMESPACE).result
        answers[step] = of_xml(ALL[OPERATIONS[step]].output, found)
    reopened = gateway.call("GetEntry", f"<entryId>{ids[2]}</entryId>").result
    answers["reopen"] = {"entry": of_xml(OBSERVATION.operations["GetEntry"].output, reopened)["entry"]}
    places = gateway.call("GetDictionary", "<code>PLACES</code>", namespace=EXCHANGE_NAMESPACE).result
    answers["places"] = of_xml(EXCHANGE.operations["GetDictionary"].output, places)
    return answers


def check_people(walk: Walk, told: dict[str, Values]) -> None:
    (whole,), (bare,) = told["find"]["persons"], told["find-bare"]["persons"]
    assert (whole["enp"], whole["lastName"], whole["middleName"]) == (
        walk.enps[0],
        markers.LAST_NAME,
        markers.MIDDLE_NAME,
    )
    assert (whole["birthDate"], whole["insuredInRegion"]) == ("1951-03-02", True)
    assert whole["snils"] and not {"snils", "attachedSince", "deathDate", "extra"} & bare.keys()
    assert told["find-none"] == {}
    assert [one["diagnosis"] for one in told["find-again"]["persons"][0]["observed"]] == ["I20.8"]


def check_lists(walk: Walk, told: dict[str, Values]) -> None:
    pages = [told[f"page-{number}"] for number in (1, 2, 3)]
    rows = [row for page in pages for row in page["entries"]]
    assert [page["returnedRecords"] for page in pages] == [3, 3, 1] and len({page["snapshotId"] for page in pages}) == 1
    assert [row["recordNumber"] for row in rows] == list(range(1, 8)) and pages[0]["totalRecords"] == 7
    assert {row["enp"] for row in rows} == {*walk.enps} - {walk.enps[3]}
    by_enp = {row["enp"]: row for row in rows}
    first, second, third = (by_enp[enp] for enp in walk.enps[:3])
    assert (first["externalId"], first["diagnosis"], first["diagnosedOn"]) == (TEXT, "I20.8", "2024-05-06")
    assert (first["plannedMonths"], first["observedSince"]) == (MONTHS[1:], "2024-05-07")
    assert (first["lastVisitOn"], first["lastVisitResult"], first["doctorSnils"]) == (TODAY, "1", DOCTOR)
    assert not {"externalId", "diagnosedOn", "plannedMonths", "lastVisitOn", "doctorSnils"} & second.keys()
    assert third["plannedMonths"] == MONTHS[:1]
    assert "snils" in second and "snils" not in by_enp[walk.enps[-1]]
    (excluded,) = told["list-one"]["entries"]
    assert (excluded["enp"], excluded["excludedOn"], excluded["exclusionReason"]) == (walk.enps[3], TODAY, "1")
    assert (told["list-none"]["totalRecords"], "entries" in told["list-none"]) == (0, False)
    (visit,) = told["entry"]["visits"]
    assert (visit["conductedOn"], visit["attempt"]) == (TODAY, False)
    assert [event["version"] for event in told["entry"]["events"]] == [1, 2, 3]


def check_faults(told: dict[str, Values]) -> None:
    fault, schema = told["fault"], told["fault-schema"]
    for one in (fault, schema):
        assert one["faultcode"].endswith(":Client") and len(one["requestId"]) == 32
        assert one["faultstring"] == one["message"] == KINDS[one["code"]].message
    assert (fault["code"], schema["code"]) == ("object.not-found", "request.schema")
    places = [(one["field"], one["code"]) for one in schema["errors"]["error"]]
    assert places == [("enp", "field.length"), ("lastName", "field.length")]


def check_exchange(told: dict[str, Values]) -> None:
    assert "Лицо не явилось" in [one["name"] for one in told["places"]["items"]]
    (call,) = told["calls"]["calls"]
    assert (call["operation"], call["outcome"], call["records"]) == ("UpdatePlans", "PARTIAL", 2)
    assert abs(call["at"] - told["ping"]["time"]) < 600
    assert told["ping"]["database"] == "ok"


def check_work(walk: Walk, told: dict[str, Values]) -> None:
    assert (told["part-1"]["receivedBytes"], told["part-2"]["receivedBytes"]) == (50, walk.file.stat().st_size)
    assert told["part-1"]["fileId"] == told["part-2"]["fileId"]
    for step, work in (("loaded", "upload"), ("exported", "export")):
        found = told[step]["operation"]
        assert (found["operationId"], found["state"]) == (told[work]["operationId"], "DONE")
        assert [line["number"] for line in told[step]["lines"]] == list(range(1, len(told[step]["lines"]) + 1))
        assert (told[step]["moreLines"], told[step]["moreFiles"]) == (False, False)
    assert told["ended"]["operation"] == told["loaded"]["operation"]
    assert {one["kind"] for one in told["loaded"]["files"]} == {"PROTOCOL"}
    assert [one["operationId"] for one in told["operations"]["operations"]] == [
        told["export"]["operationId"],
        told["upload"]["operationId"],
    ]
    *protocols, file = told["files"]["files"]
    assert sorted(one["fileId"] for one in protocols) == sorted(one["fileId"] for one in told["loaded"]["files"])
    assert [file] == told["exported"]["files"] and file["kind"] == "EXPORT"
    content = base64.b64decode(told["file"]["content"])
    assert hashlib.sha256(content).hexdigest() == file["sha256"] == told["file"]["sha256"]
    assert (len(content), told["file"]["more"], told["file"]["fileName"]) == (file["size"], False, file["fileName"])
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig")), delimiter=";"))
    diagnoses = {(row["ЕНП"].strip('="'), row["Диагноз"]) for row in rows}
    assert {(walk.enps[0], "I20.8"), (walk.enps[1], "E11.9"), (walk.enps[1], "J44.8")} < diagnoses
    assert told["confirm"]["file"]["confirmedAt"] and "confirmedAt" not in file


def test_zeep(walk: Walk) -> None:
    check(walk, by_zeep(walk))


def test_php(require: Callable[[str], None], walk: Walk) -> None:
    if not shutil.which("php") or "soap" not in _run(walk.out, "php", "-m").split():
        require("php")
    check(walk, by_php(walk))


def test_gsoap(require: Callable[[str], None], walk: Walk) -> None:
    if not all(map(shutil.which, ("wsdl2h", "soapcpp2", "g++"))):
        require("gsoap")
    check(walk, by_gsoap(walk))
