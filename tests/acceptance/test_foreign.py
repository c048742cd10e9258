"""C1, C2: whatever the operation, another organisation's object answers like a missing one, and a right is needed."""

from __future__ import annotations

import re
from uuid import uuid4

import pytest
from sqlalchemy import text

from gateway.access import rights
from gateway.services.contract import Operation
from tests.acceptance.messages import add, added, body, conduct, current, operations
from tests.serving import OTHER, Gateway

ALL = [pytest.param(namespace, one, id=one.name) for namespace, one in operations()]
BOUND = [
    pytest.param(namespace, one, id=one.name)
    for namespace, one in operations()
    if any(field.name == "organisation" for field in one.request)
]
MISSING = {"entry": "999999999", "visit": "999999999", "snapshot": str(uuid4())}
WITHOUT_OBJECT = {"Ping", "GetAllowedOperations", "GetLimits", "GetDictionary", "GetMyCalls"}
BY_PERSON = {"FindPerson", "AddEntries", "GetPersonEntries"}
BY_ORGANISATION = {"GetDoctors", "SaveDoctors"}
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
    assert visit and snapshot
    return {"entry": entry, "visit": visit, "snapshot": snapshot, "enp": enp}


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


def test_several_organisations_ask_for_one(gateway: Gateway) -> None:
    assert gateway.call("GetList", current(), "region").fault == "organisation.required"
