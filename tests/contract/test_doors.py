"""The doors with the real features behind them: a call as an element goes in, a valid answer comes out."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from lxml import etree
from sqlalchemy import text

from gateway import __version__
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
from gateway.settings import Settings
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
        caller = Caller(1, "clinic", self.kind, frozenset(self.organisations), None, frozenset(OBSERVATION.operations))
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
    assert set(texts(allowed, "operations/operation")) == {
        *OBSERVATION.operations,
        "Ping",
        "GetAllowedOperations",
        "GetLimits",
    }
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
        if operation in ("AddEntries", "GetList", "GetDoctors"):
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
