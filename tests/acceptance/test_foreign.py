"""C1, C2: whatever the operation, another organisation's object answers like a missing one, and a right is needed."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest
from sqlalchemy import text

from gateway.access import rights
from gateway.services.contract import Operation
from tests.acceptance.messages import NO_ID, add, added, body, conduct, current, operations, part
from tests.serving import CLINIC, EXCHANGE, OTHER, Gateway

ALL = [pytest.param(namespace, one, id=one.name) for namespace, one in operations()]
BOUND = [
    pytest.param(namespace, one, id=one.name)
    for namespace, one in operations()
    if any(field.name == "organisation" for field in one.request)
]
MISSING = {"entry": "999999999", "visit": "999999999", "snapshot": str(uuid4()), "work": NO_ID, "file": NO_ID}
WITHOUT_OBJECT = {"Ping", "GetAllowedOperations", "GetLimits", "GetDictionary", "GetMyCalls"}
BY_PERSON = {"FindPerson", "AddEntries", "GetPersonEntries"}
BY_ORGANISATION = {
    "GetDoctors", "SaveDoctors", "ExportList", "GetChanges", "ListOperations", "ListFiles", "GetIndicator",
    "GetIndicatorPersons",
}  # fmt: skip
RIGHTS = {"nobody": frozenset[str](), "insurer": rights.READING, "fund": rights.ALL}
# a directory of doctors belongs to its organisation, and an insurer has none
NOT_FOR_INSURERS = {"GetDoctors"}


@pytest.fixture(scope="module")
def theirs(gateway: Gateway) -> dict[str, str]:
    """Objects of the other clinic."""
    enp = gateway.persons[0]
    with gateway.owner.begin() as connection:
        connection.execute(text("SELECT setval(pg_get_serial_sequence('entry', 'id'), 7000000)"))
    entry = added(gateway, enp, "other")
    visit = gateway.change("ConductObservations", conduct(entry), "other").result.findtext("{*}results/{*}id")
    snapshot = gateway.call("GetList", current(), "other").result.findtext("{*}snapshotId")
    work = gateway.change("ExportList", current(), "other").result.findtext("{*}operationId")
    file = gateway.change("PutFilePart", part(b"enp"), "other", namespace=EXCHANGE).result.findtext("{*}fileId")
    assert visit and snapshot and work and file
    return {"entry": entry, "visit": visit, "snapshot": snapshot, "enp": enp, "work": work, "file": file}


def shown(content: bytes) -> str:
    """An answer without what is its own: the id of the request."""
    return re.sub(r"<requestId>[^<]*</requestId>", "", content.decode())


@pytest.mark.parametrize(("namespace", "operation"), ALL)
def test_foreign_objects_answer_like_missing_ones(
    gateway: Gateway, theirs: dict[str, str], namespace: str, operation: Operation
) -> None:
    before = gateway.records()
    if operation.name in WITHOUT_OBJECT | BY_PERSON | BY_ORGANISATION:
        values = theirs | MISSING
        if operation.name in BY_PERSON:
            asked = body(operation.name, **values)
            foreign = gateway.call(operation.name, asked, "clinic", namespace)
            shown_there = _without_person(foreign.content)
            assert f">{theirs['entry']}<" not in shown_there and OTHER not in shown_there
            assert gateway.records() == before + 1
            return
        if operation.name in WITHOUT_OBJECT:
            gateway.call(operation.name, body(operation.name, **values), "clinic", namespace)
            assert gateway.records() == before + 1
            return
        foreign, missing = (
            gateway.call(operation.name, body(operation.name, organisation=code, **values), "clinic", namespace)
            for code in (OTHER, "499999")
        )
    else:
        foreign, missing = (
            gateway.call(operation.name, body(operation.name, **values), "clinic", namespace)
            for values in (theirs, MISSING | {"enp": theirs["enp"]})
        )
    assert (foreign.status, shown(foreign.content)) == (missing.status, shown(missing.content))
    assert "not-found" in foreign.content.decode() or "snapshot-expired" in foreign.content.decode()
    assert gateway.records() == before + 2


def _without_person(content: bytes) -> str:
    """Where a person is attached is the person's own data, which an exact search may tell."""
    return re.sub(r"<attachedOrganisation>[^<]*</attachedOrganisation>", "", content.decode())


@pytest.mark.parametrize(("namespace", "operation"), BOUND)
def test_naming_a_foreign_organisation_is_naming_a_missing_one(
    gateway: Gateway, theirs: dict[str, str], namespace: str, operation: Operation
) -> None:
    before = gateway.records()
    answers = [
        gateway.call(operation.name, body(operation.name, organisation=code, **theirs), "clinic", namespace)
        for code in (OTHER, "499999")
    ]
    assert {answer.fault for answer in answers} == {"object.not-found"}
    assert len({shown(answer.content) for answer in answers}) == 1
    assert gateway.records() == before + 2


@pytest.mark.parametrize("role", RIGHTS)
@pytest.mark.parametrize(("namespace", "operation"), ALL)
def test_a_role_may_call_what_it_was_granted_and_nothing_else(
    gateway: Gateway, theirs: dict[str, str], namespace: str, operation: Operation, role: str
) -> None:
    """The matrix of rights: an operation that nobody has thought of is denied to all."""
    before = gateway.records()
    values = MISSING | {"enp": theirs["enp"]}
    answer = gateway.call(operation.name, body(operation.name, **values), role, namespace)
    granted = operation.name in RIGHTS[role] and not (role == "insurer" and operation.name in NOT_FOR_INSURERS)
    assert (answer.fault == "access.forbidden") is not (operation.open or granted)
    assert gateway.records() == before + 1


def test_nothing_of_the_other_clinic_changed(gateway: Gateway, theirs: dict[str, str]) -> None:
    with gateway.store.begin() as connection:
        version = connection.execute(text("SELECT version FROM entry WHERE id = :id"), {"id": int(theirs["entry"])})
        assert version.scalar() == 2


def test_observed_elsewhere_does_not_name_the_other_clinic(gateway: Gateway, theirs: dict[str, str]) -> None:
    answer = gateway.change("AddEntries", add(theirs["enp"], "I10"))
    assert answer.result.findtext("{*}results/{*}code") == "observation.elsewhere"
    assert OTHER not in answer.content.decode()


def test_lists_of_operations_and_files_hold_the_own_ones(gateway: Gateway, theirs: dict[str, str]) -> None:
    for client, seen in (("clinic", False), ("insurer", False), ("other", True), ("region", True), ("fund", True)):
        answer = gateway.call("ListOperations", "", client, EXCHANGE).result
        assert (theirs["work"] in [one.findtext("{*}operationId") for one in answer.iterfind("{*}operations")]) is seen
        fault = gateway.call("GetFile", f"<fileId>{theirs['file']}</fileId>", client, EXCHANGE).fault
        assert fault == (None if seen else "object.not-found")


def test_an_insurer_exports_the_list_of_its_insured_and_alone_sees_it(gateway: Gateway) -> None:
    work = gateway.change("ExportList", current(), "insurer").result.findtext("{*}operationId")
    asked = f"<operationId>{work}</operationId>"
    codes = {
        client: gateway.call("GetOperation", asked, client, EXCHANGE).fault
        for client in ("insurer", "clinic", "other", "region", "fund")
    }
    assert codes == {"insurer": None, "fund": None, **dict.fromkeys(("clinic", "other", "region"), "object.not-found")}


def test_a_file_is_loaded_into_the_list_of_its_organisation(gateway: Gateway) -> None:
    """One client acts for both organisations."""
    own = f"<organisation>{CLINIC}</organisation>"
    file = gateway.change("PutFilePart", own + part(b"enp"), "region", namespace=EXCHANGE).result.findtext("{*}fileId")
    upload = f"<organisation>{OTHER}</organisation><fileId>{file}</fileId>"
    assert gateway.change("UploadList", upload, "region").fault == "object.not-found"
    taken = gateway.change("UploadList", f"<fileId>{file}</fileId>", "region").result.findtext("{*}operationId")
    found = gateway.call("GetOperation", f"<operationId>{taken}</operationId>", "region", EXCHANGE).result
    assert found.findtext("{*}operation/{*}organisation") == CLINIC


def test_several_organisations_ask_for_one(gateway: Gateway) -> None:
    assert gateway.call("GetList", current(), "region").fault == "organisation.required"
