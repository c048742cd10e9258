"""The doors with the real features behind them: a call as an element goes in, a valid answer comes out."""

from __future__ import annotations

import base64
import hashlib
import random
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from lxml import etree
from sqlalchemy import text

from gateway import __version__
from gateway.access import rights
from gateway.access.gate import Gate
from gateway.access.model import Call, Caller, ClientKind
from gateway.domain.clock import Clock
from gateway.errors import GatewayError
from gateway.nsi.dictionaries import Nsi
from gateway.services import codec, wsdl
from gateway.services.contract import Desk, Service, perform
from gateway.services.exchange_v1 import SERVICE as EXCHANGE
from gateway.services.observation_v1 import SERVICE as OBSERVATION
from gateway.services.published import SERVICES
from gateway.settings import FILE_PART_MOST, Settings
from gateway.store.engine import Store
from tests.lists.region import CLINIC, DOCTOR, OTHER, Region, region

TODAY = date(2026, 11, 20)


class Door:
    """Sends calls of one client through `perform`, checked against the schema on both ways."""

    def __init__(self, store: Store, **settings: Any) -> None:
        self.region: Region = region(store, TODAY)
        self.clock = Clock(source=lambda: datetime(2026, 11, 20, 9, tzinfo=UTC))
        self.desk = self._desk(store, Settings(**settings))
        self.organisations: tuple[str, ...] = (CLINIC,)
        self.kind = ClientKind.MO
        self.insurer: str | None = None
        self.last: Call

    def _desk(self, store: Store, settings: Settings) -> Desk:
        nsi = Nsi(store, self.clock)
        gate = Gate(store, settings, self.clock)
        return Desk(store, settings, self.clock, nsi, self.region.lists, gate, __version__, SERVICES)

    def raw(self, service: Service, operation: str, /, **values: Any) -> bytes:
        made = service.operations[operation]
        if made.kind == "change":
            values.setdefault("request_id", str(uuid4()))
        element = etree.fromstring(codec.element(made.input, service.namespace)(values))
        assert service.validate(element) == []
        caller = Caller(1, "clinic", self.kind, frozenset(self.organisations), self.insurer, rights.ALL)
        self.last = Call(caller, service.name, operation, uuid4().hex, self.clock.now())
        return perform(self.desk, service, made, self.last, element)

    def __call__(self, operation: str, /, **values: Any) -> Any:
        """The element of the answer, valid by the schema."""
        service = OBSERVATION if operation in OBSERVATION.operations else EXCHANGE
        (answer,) = etree.fromstring(self.raw(service, operation, **values))[0]
        schema = etree.XMLSchema(wsdl.schema_of(service))
        assert schema.validate(answer), schema.error_log
        return answer

    def audited(self) -> int:
        with self.desk.store.begin() as connection:
            count: int = connection.execute(
                text("SELECT count(*) FROM audit_record WHERE trace = :trace"), {"trace": self.last.trace}
            ).scalar_one()
            return count


@pytest.fixture
def door(store: Store) -> Door:
    return Door(store)


def texts(answer: Any, path: str) -> list[str | None]:
    return [node.text for node in answer.iterfind("/".join("{*}" + step for step in path.split("/")))]


def test_a_year_of_an_entry(door: Door) -> None:
    enp = door.region.person("Ёлкина-О'Нил")
    found = door("FindPerson", enp=enp)
    assert texts(found, "persons/lastName") == ["Ёлкина-О'Нил"]
    assert door.audited() == 1

    added = door(
        "AddEntries",
        items=[{"enp": enp, "diagnosis": "I10", "planned_months": ["2026-11"]}, {"enp": "1", "diagnosis": "I10"}],
    )
    assert texts(added, "results/number") == ["1", "2"]
    assert texts(added, "results/code")[0] == "ok"
    assert texts(added, "results/code")[1] == "person.enp-format"
    (entry_id,) = texts(added, "results/id")
    assert door.audited() == 1

    visit = {
        "entry_id": entry_id,
        "conducted_on": date(2026, 11, 20),
        "place": "1",
        "result": "1",
        "doctor_snils": DOCTOR,
        "doctor_type": "1",
    }
    conducted = door("ConductObservations", items=[visit])
    assert texts(conducted, "results/code") == ["ok"]
    (visit_id,) = texts(conducted, "results/id")

    page = door("GetList", year=2026, month=11, list_type="VISITED")
    assert texts(page, "entries/entryId") == [entry_id]
    assert texts(page, "entries/recordNumber") == ["1"]
    assert texts(page, "entries/plannedMonths") == ["2026-11"]
    assert texts(page, "totalRecords") == ["1"]
    assert door.audited() == 1
    (snapshot,) = texts(page, "snapshotId")
    again = door(
        "GetList", year=2026, month=11, list_type="VISITED", snapshot_id=snapshot, start_record=1, record_count=5
    )
    assert texts(again, "entries/entryId") == [entry_id]

    planned = door("UpdatePlans", items=[{"entry_id": entry_id, "planned_months": ["2026-12", "2027-03"]}])
    assert texts(planned, "results/code") == ["ok"]
    excluded = door(
        "ExcludeEntries", items=[{"entry_id": entry_id, "excluded_on": date(2026, 11, 20), "exclusion_reason": "4"}]
    )
    assert texts(excluded, "results/code") == ["ok"]
    reopened = door("ReopenEntry", entry_id=entry_id, reason="ошибка")
    assert texts(reopened, "entry/status") == ["OBSERVED"]
    annulled = door("AnnulVisit", visit_id=visit_id, reason="ошибка")
    assert texts(annulled, "entry/lastVisitOn") == []
    changed = door("ChangeDiagnosis", entry_id=entry_id, diagnosis="I11.9", from_=date(2026, 11, 20), reason="уточнён")
    assert texts(changed, "entry/diagnosis") == ["I11.9"]

    shown = door("GetEntry", entry_id=entry_id)
    assert texts(shown, "entry/plannedMonths") == ["2026-12", "2027-03"]
    assert texts(shown, "visits/visitId") == [visit_id]
    assert len(texts(shown, "moves/since")) >= 2
    assert len(texts(shown, "events/kind")) >= 6
    assert door.audited() == 1
    person = door("GetPersonEntries", enp=enp)
    assert texts(person, "entries/entry/entryId") == [entry_id]
    door("AnnulEntry", entry_id=entry_id, reason="ошибка")


def test_a_change_is_done_once(door: Door) -> None:
    values = {
        "request_id": str(uuid4()),
        "items": [{"enp": door.region.person(), "diagnosis": "I10", "planned_months": ["2026-11"]}],
    }
    first = door.raw(OBSERVATION, "AddEntries", **values)
    assert door.raw(OBSERVATION, "AddEntries", **values) == first
    values["items"][0]["diagnosis"] = "I11.9"  # type: ignore[index]
    with pytest.raises(GatewayError, match=r"conflict\.request-reused"):
        door.raw(OBSERVATION, "AddEntries", **values)


def test_doctors(door: Door) -> None:
    from gateway.domain.persons import make_snils

    item = {"snils": make_snils(555), "last_name": "Иванов", "first_name": "Иван", "from_": date(2026, 1, 1)}
    assert texts(door("SaveDoctors", items=[item]), "results/code") == ["ok"]
    doctors = door("GetDoctors", on_date=TODAY)
    assert "Иванов" in texts(doctors, "doctors/lastName")
    assert door.audited() == 1


def test_exchange(door: Door) -> None:
    ping = door("Ping")
    assert texts(ping, "database") == ["ok"]
    assert datetime.fromisoformat(texts(ping, "time")[0] or "").utcoffset() is not None
    assert door.audited() == 1
    allowed = door("GetAllowedOperations")
    assert set(texts(allowed, "operations/operation")) == {*OBSERVATION.operations, *EXCHANGE.operations}
    assert texts(allowed, "organisations") == [CLINIC]
    assert door.audited() == 1
    assert texts(door("GetLimits"), "itemsPerCall") == ["1000"]
    dictionary = door("GetDictionary", code="PLACES", start_record=2, record_count=1)
    assert texts(dictionary, "items/code") == ["2"]
    assert texts(dictionary, "totalRecords") == ["4"]
    calls = door(
        "GetMyCalls", from_=datetime(2020, 1, 1, tzinfo=UTC), to=datetime(2100, 1, 1, tzinfo=UTC), operation="Ping"
    )
    assert texts(calls, "calls/operation") == ["Ping"]
    assert texts(calls, "calls/outcome") == ["OK"]
    assert texts(door("GetDictionary", code="DICTIONARIES"), "items/code")


@pytest.mark.parametrize("page", [{"start_record": 0}, {"record_count": 0}, {"record_count": 10001}])
def test_pages_out_of_bounds_are_refused(door: Door, page: dict[str, int]) -> None:
    with pytest.raises(GatewayError, match=r"list\.page"):
        door("GetDictionary", code="PLACES", **page)
    with pytest.raises(GatewayError, match=r"list\.page"):
        door("GetList", year=2026, month=11, list_type="OBSERVED", **page)


def test_a_batch_over_the_setting_is_refused(store: Store) -> None:
    door = Door(store, items_per_call=1)
    item = {"enp": "1", "diagnosis": "I10"}
    with pytest.raises(GatewayError) as refused:
        door("AddEntries", items=[item, item])
    assert [(one.field, one.code) for one in refused.value.fields] == [("items", "field.count")]


ID = str(UUID(int=7))
ELSEWHERE: list[tuple[str, dict[str, Any]]] = [
    ("FindPerson", {"enp": "1"}),
    ("AddEntries", {"items": [{"enp": "1", "diagnosis": "I10"}]}),
    ("UpdatePlans", {"items": [{"entry_id": "1"}]}),
    ("ExcludeEntries", {"items": [{"entry_id": "1", "excluded_on": TODAY, "exclusion_reason": "4"}]}),
    ("ChangeDiagnosis", {"entry_id": "1", "diagnosis": "I10", "from_": TODAY, "reason": "a"}),
    ("AnnulEntry", {"entry_id": "1", "reason": "a"}),
    ("AnnulVisit", {"visit_id": "1", "reason": "a"}),
    ("ReopenEntry", {"entry_id": "1", "reason": "a"}),
    ("GetEntry", {"entry_id": "1"}),
    ("GetPersonEntries", {"enp": "1"}),
    ("GetList", {"year": 2026, "month": 11, "list_type": "OBSERVED"}),
    ("GetDoctors", {}),
    ("ExportList", {"year": 2026, "month": 11, "list_type": "OBSERVED"}),
    ("UploadList", {"file_name": "a.csv", "content": b"x"}),
    ("PutFilePart", {"file_name": "a.csv", "offset": 0, "content": b"x", "last": True}),
    ("ListOperations", {}),
    ("ListFiles", {}),
]


@pytest.mark.parametrize(("operation", "values"), ELSEWHERE, ids=[name for name, _ in ELSEWHERE])
@pytest.mark.parametrize("organisation", [OTHER, "999999"])
def test_another_organisation_answers_like_a_missing_one(
    door: Door, operation: str, values: dict[str, Any], organisation: str
) -> None:
    with pytest.raises(GatewayError) as refused:
        door(operation, organisation=organisation, **values)
    assert refused.value.code == "object.not-found"


def test_the_entry_must_be_of_the_organisation_that_the_call_names(door: Door) -> None:
    entry_id = door.region.add(door.region.person())
    door.organisations = (CLINIC, OTHER)
    assert texts(door("GetEntry", entry_id=entry_id, organisation=CLINIC), "entry/entryId") == [entry_id]
    for operation, values in (("GetEntry", {}), ("AnnulEntry", {"reason": "ошибка"})):
        with pytest.raises(GatewayError, match=r"object\.not-found"):
            door(operation, entry_id=entry_id, organisation=OTHER, **values)
    assert texts(door("GetEntry", entry_id=entry_id), "entry/status") == ["OBSERVED"]


def test_several_organisations_need_one_to_be_named(door: Door) -> None:
    door.organisations = (CLINIC, OTHER)
    for operation, values in ELSEWHERE:
        if operation in ("AddEntries", "GetList", "GetDoctors", "ExportList", "UploadList", "PutFilePart"):
            with pytest.raises(GatewayError, match=r"organisation\.required"):
                door(operation, **values)


def test_the_fund_reads_all_lists(door: Door) -> None:
    door.region.add(door.region.person())
    door.organisations, door.kind = (), ClientKind.FUND
    page = door("GetList", year=2026, month=11, list_type="OBSERVED")
    assert texts(page, "entries/organisation") == [CLINIC]
    assert texts(door("GetList", year=2026, month=11, list_type="OBSERVED", organisation=OTHER), "totalRecords") == [
        "0"
    ]


# files and long work --------------------------------------------------------------------------------------------------


def send(door: Door, content: bytes, name: str = "list.csv", **values: Any) -> str:
    """A file in one part; its id."""
    (file_id,) = texts(door("PutFilePart", file_name=name, offset=0, content=content, last=True, **values), "fileId")
    assert file_id
    return file_id


def noted(door: Door) -> dict[str, Any]:
    """The details in the audit record of the last call."""
    with door.desk.store.begin() as connection:
        found: dict[str, Any] = connection.execute(
            text("SELECT details FROM audit_record WHERE trace = :trace"), {"trace": door.last.trace}
        ).scalar_one()
        return found


def test_a_file_comes_in_parts_and_leaves_in_parts(door: Door) -> None:
    limit = int(texts(door("GetLimits"), "filePartBytes")[0] or 0)
    content = random.Random(1).randbytes(limit + 100_000)
    first = door("PutFilePart", file_name="Иванов.CSV", offset=0, content=content[:limit], last=False)
    (file_id,), (received,) = texts(first, "fileId"), texts(first, "receivedBytes")
    assert (received, noted(door)) == (str(limit), {"file": file_id, "extension": "csv", "offset": 0})
    with pytest.raises(GatewayError, match=r"file\.incomplete"):
        door("GetFile", file_id=file_id)
    digest = hashlib.sha256(content).hexdigest()
    rest = {"offset": limit, "content": content[limit:], "last": True, "sha256": digest.upper()}
    door("PutFilePart", file_id=file_id, file_name="Иванов.CSV", **rest)

    taken, more = b"", True
    while more:
        answer = door("GetFile", file_id=file_id, offset=len(taken))
        assert noted(door) == {"file": file_id, "kind": "UPLOAD", "extension": "csv", "offset": len(taken)}
        assert texts(answer, "size") + texts(answer, "sha256") == [str(len(content)), digest]
        taken += base64.b64decode(texts(answer, "content")[0] or "")
        more = texts(answer, "more") == ["true"]
    assert taken == content
    piece = door("GetFile", file_id=file_id, offset=10, length=5)
    assert base64.b64decode(texts(piece, "content")[0] or "") == content[10:15]


def test_parts_out_of_bounds_are_refused(store: Store) -> None:
    door = Door(store, file_part_bytes=1000)
    file_id = send(door, b"x" * 1000)
    with pytest.raises(GatewayError, match=r"file\.part-size"):
        send(door, b"x" * 1001)
    for length in (0, -1, 1001):
        with pytest.raises(GatewayError, match=r"file\.part-size"):
            door("GetFile", file_id=file_id, length=length)
    for offset in (-1, 1000):
        with pytest.raises(GatewayError, match=r"file\.range"):
            door("GetFile", file_id=file_id, offset=offset)
    with pytest.raises(GatewayError, match=r"file\.offset"):
        door("PutFilePart", file_name="a.csv", offset=5, content=b"x", last=True)
    with pytest.raises(GatewayError, match=r"file\.sha256"):
        send(door, b"x", sha256="0" * 64)


def test_no_answer_holds_a_text_over_ten_megabytes(store: Store) -> None:
    door = Door(store, file_part_bytes=FILE_PART_MOST)
    file_id = send(door, bytes(FILE_PART_MOST))
    answer = door("GetFile", file_id=file_id)
    assert (len(texts(answer, "content")[0] or "") < 10_000_000, texts(answer, "more")) == (True, ["false"])
    with pytest.raises(GatewayError, match=r"setting\.invalid"):
        Settings(file_part_bytes=FILE_PART_MOST + 1)


def test_the_published_part_fits_a_body(store: Store) -> None:
    assert texts(Door(store, body_bytes=3_000_000)("GetLimits"), "filePartBytes") == ["2000000"]


UNKNOWN = str(UUID(int=7))


@pytest.mark.parametrize(
    ("operation", "values"),
    [
        ("GetOperation", {"operation_id": UNKNOWN}),
        ("AbortOperation", {"operation_id": UNKNOWN}),
        ("GetFile", {"file_id": UNKNOWN}),
        ("ConfirmFile", {"file_id": UNKNOWN}),
        ("UploadList", {"file_id": UNKNOWN}),
        ("PutFilePart", {"file_id": UNKNOWN, "file_name": "a", "offset": 0, "content": b"x", "last": True}),
    ],
)
def test_missing_objects(door: Door, operation: str, values: dict[str, Any]) -> None:
    with pytest.raises(GatewayError, match=r"object\.not-found"):
        door(operation, **values)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"file_name": "a.csv"},
        {"content": b"x"},
        {"file_id": UNKNOWN, "content": b"x"},
        {"file_id": UNKNOWN, "file_name": "a.csv"},
        {"file_id": UNKNOWN, "file_name": "a.csv", "content": b"x"},
    ],
)
def test_an_upload_names_its_file_in_one_way(door: Door, values: dict[str, Any]) -> None:
    with pytest.raises(GatewayError, match=r"file\.content"):
        door("UploadList", **values)


def test_work_is_begun_seen_and_aborted(door: Door) -> None:
    (upload,) = texts(door("UploadList", file_name="a.csv", content=b"enp;diagnosis\r\n"), "operationId")
    assert door.audited() == 1
    (export,) = texts(door("ExportList", year=2026, month=11, list_type="OBSERVED"), "operationId")
    assert door.audited() == 1
    listed = door("ListOperations")
    assert texts(listed, "operations/operationId") == [export, upload]
    assert texts(listed, "operations/organisation") == [CLINIC, CLINIC]
    assert all(texts(listed, "operations/title"))
    assert texts(door("ListOperations", state="DONE"), "totalRecords") == ["0"]
    assert texts(door("ListOperations", since="2100-01-01T00:00:00"), "totalRecords") == ["0"]
    for wrong in ({"kind": "NOTHING"}, {"state": "queued"}):
        with pytest.raises(GatewayError, match=r"operation\.kind"):
            door("ListOperations", **wrong)
    found = door("GetOperation", operation_id=export)
    assert texts(found, "operation/state") + texts(found, "moreLines") + texts(found, "moreFiles") == [
        "QUEUED",
        "false",
        "false",
    ]
    for wrong in ({"from_line": 0}, {"from_file": -1}):
        with pytest.raises(GatewayError, match=r"request\.schema"):
            door("GetOperation", operation_id=export, **wrong)
    aborted = door("AbortOperation", operation_id=export)
    assert texts(aborted, "operation/state") + texts(aborted, "operation/code") == ["ABORTED", "operation.aborted"]
    assert door.audited() == 1


def test_an_insurer_exports_and_changes_nothing(door: Door) -> None:
    file_id = send(door, b"enp")
    door.kind, door.organisations, door.insurer = ClientKind.INSURER, (), "40001"
    (export,) = texts(door("ExportList", year=2026, month=11, list_type="OBSERVED"), "operationId")
    assert texts(door("ListOperations"), "operations/operationId") == [export]
    assert texts(door("AbortOperation", operation_id=export), "operation/state") == ["ABORTED"]
    with pytest.raises(GatewayError, match=r"object\.not-found"):
        door("GetFile", file_id=file_id)
    for operation, values in (
        ("PutFilePart", {"offset": 0, "last": True}),
        ("UploadList", {"organisation": CLINIC}),
    ):
        with pytest.raises(GatewayError, match=r"access\.forbidden"):
            door(operation, file_name="a.csv", content=b"x", **values)


def test_the_fund_names_the_organisation_whose_list_it_loads(door: Door) -> None:
    door.kind, door.organisations = ClientKind.FUND, ()
    file_id = send(door, b"enp;diagnosis\r\n")
    with pytest.raises(GatewayError, match=r"organisation\.required"):
        door("UploadList", file_id=file_id)
    (upload,) = texts(door("UploadList", file_id=file_id, organisation=CLINIC), "operationId")
    assert texts(door("GetOperation", operation_id=upload), "operation/organisation") == [CLINIC]


def test_indicators(door: Door) -> None:
    enp = door.region.person("Арбузов")
    entry = door.region.add(enp, "I10", observed_since=date(2026, 2, 1))
    asked = {"indicator": "BSK", "year": 2026, "month": 10}
    answer = door("GetIndicator", **asked)
    for name, value in (("denominator", "1"), ("numerator", "0"), ("share", "0.00"), ("monthEnd", "1")):
        assert texts(answer, name) == [value]
    assert door.audited() == 1
    people = door("GetIndicatorPersons", **asked, part="GAP")
    assert (texts(people, "persons/enp"), texts(people, "persons/entryId")) == ([enp], [entry])
    assert door.last.persons and door.last.records == 1 and door.audited() == 1
    with pytest.raises(GatewayError) as refusal:
        door("GetIndicatorPersons", **asked, part="ALL")
    assert refusal.value.code == "indicator.part"
