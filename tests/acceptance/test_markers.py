"""C7: names, ЕНП, СНИЛС and passwords that are sent anywhere appear in no fault, result, log, metric or audit record.

`tests.serving` looks for them in the log and the metrics of every gateway that any test runs, and in every fault;
`tests/conftest.py` in the log of PostgreSQL after the whole run.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from sqlalchemy import text

from gateway.domain.persons import make_snils
from gateway.services.contract import Operation
from tests import fields, markers
from tests.acceptance.messages import add, added, body, conduct, operations
from tests.attack import raw
from tests.serving import DOCTOR, OBSERVATION, PATHS, Gateway, Login, envelope, running_gateway

SNILS = make_snils(987_654_321)
WRONG_ENP, WRONG_SNILS = "4098765432109871", "98765432100"
PASSWORD = "Пароль-дырявый-75"
OBJECTS = {"entry": "1", "visit": "1", "snapshot": "0b9e3f5e-3c0a-4f6e-9d3c-6f0a4a1d9f11"}


@pytest.fixture(scope="module")
def gateway(server: Any, template: str) -> Iterator[Gateway]:
    """A gateway that writes all it has to say."""
    with running_gateway(server, template, log_level="DEBUG", guess_delay_seconds=0.01) as gateway:
        markers.note_numbers(SNILS, WRONG_ENP, WRONG_SNILS)
        markers.note_secrets(PASSWORD)
        yield gateway


def values(gateway: Gateway) -> list[str]:
    names = (markers.LAST_NAME, f"{markers.LAST_NAME} {markers.FIRST_NAME} {markers.MIDDLE_NAME}")
    dashed = f"{SNILS[:3]}-{SNILS[3:6]}-{SNILS[6:9]} {SNILS[9:]}"
    return [*names, gateway.persons[3], SNILS, dashed, WRONG_ENP, WRONG_SNILS, PASSWORD]


def written(gateway: Gateway) -> str:
    """What the gateway leaves for people to read: log, metrics, the whole audit and the queue."""
    with gateway.owner.begin() as connection:
        tables = [
            json.dumps(
                connection.execute(text(f"SELECT to_jsonb(t) FROM {name} t")).scalars().all(), ensure_ascii=False
            )
            for name in ("audit_record", "procrastinate_jobs")
        ]
    return "\n".join((gateway.log_text, gateway.metrics(), *tables))


@pytest.mark.parametrize(("namespace", "operation", "path"), fields.CASES, ids=fields.IDS)
def test_text_fields(gateway: Gateway, namespace: str, operation: Operation, path: fields.Path) -> None:
    """In every text field of every operation; accepted or not, answers of changes repeat nothing."""
    for value in values(gateway):
        answer = gateway.call(operation.name, fields.request(operation, path, value), namespace=namespace)
        if answer.fault is None and operation.kind == "change":
            assert markers.leaks("".join(answer.root.itertext())) == []


@pytest.mark.parametrize(("namespace", "operation"), operations(), ids=lambda one: getattr(one, "name", None))
def test_places_that_are_no_fields(gateway: Gateway, namespace: str, operation: Operation) -> None:
    """As element, attribute, prefix, namespace, comment, header, action, address and parameter."""
    enp, name, login = gateway.persons[4], markers.LAST_NAME, gateway.clients["clinic"]
    valid = body(operation.name, enp=enp, **OBJECTS)
    path, tag = PATHS[namespace], f'{operation.name} xmlns="{namespace}"'
    bodies = [
        f"<{tag}><{name}>{enp}</{name}>{valid}</{operation.name}>",
        f'<{tag} {name}="{enp}">{valid}</{operation.name}>',
        f'<{tag} xmlns:{name}="urn:{enp}"><{name}:x/>{valid}</{operation.name}>',
        f"<{tag}>{valid}<!-- {name} {enp} --><?{name} {enp}?>{name}</{operation.name}>",
        f'<{name} xmlns="{namespace}">{enp}</{name}>',
        f'<{operation.name} xmlns="urn:{name}:{enp}"/>',
        f"<{tag}>{valid}<{name}>",
        f"<{tag}>&{name};</{operation.name}>",
    ]
    answers = [gateway.post(path, envelope(one, login.header)) for one in bodies]
    whole = f"<{tag}>{valid}</{operation.name}>"
    header = f'<{name} xmlns="urn:x" soap:mustUnderstand="1">{enp}</{name}>'
    answers.append(gateway.post(path, envelope(whole, login.header + header)))
    answers.append(gateway.post(path, f'<!DOCTYPE {name} [<!ENTITY {name} "{enp}">]><{name}/>'.encode()))
    answers.append(gateway.post(path, envelope(whole, login.header), soapaction=f"urn:{quote(name)}/{enp}"))
    answers.append(gateway.post(f"{path}/{quote(name)}?enp={enp}", envelope(whole, login.header)))
    sent = {"x_request_id": enp, "user_agent": quote(name), "referer": f"http://x/{enp}", "content_type": quote(name)}
    answers.append(gateway.post(path, envelope(whole, login.header), **sent))
    faults = [answer.fault for answer in answers]
    assert None not in faults[:10], faults


@pytest.mark.parametrize("secret", [PASSWORD, markers.LAST_NAME, WRONG_ENP])
def test_credentials(gateway: Gateway, secret: str) -> None:
    """People put names, numbers and passwords into the wrong fields of the login."""
    right = gateway.clients["clinic"]
    path, whole = PATHS[OBSERVATION], f'<GetDoctors xmlns="{OBSERVATION}"/>'
    for login in (Login(secret, right.password), Login(right.login, secret), Login(right.password, right.login)):
        assert gateway.post(path, envelope(whole, login.header)).fault == "access.denied"
        basic = base64.b64encode(f"{login.login}:{login.password}".encode()).decode()
        assert gateway.post(path, envelope(whole), authorization=f"Basic {basic}").fault == "access.denied"


def test_accepted_values(gateway: Gateway) -> None:
    """Calls that find and change persons."""
    first, second = gateway.persons[5], gateway.persons[7]
    entry = added(gateway, first)
    name = f"<lastName>{markers.LAST_NAME}</lastName><firstName>{markers.FIRST_NAME}</firstName>"
    assert gateway.call("FindPerson", f"{name}<birthDate>1955-03-06</birthDate>").result.find("{*}persons") is not None
    assert gateway.call("FindPerson", f"<enp>{first}</enp>").result.find("{*}persons") is not None
    assert gateway.call("GetPersonEntries", f"<enp>{first}</enp>").result.find("{*}entries") is not None
    batch = add(first) + add(second) + add(WRONG_ENP) + add(gateway.persons[6], "Z99")
    answers = [
        gateway.change("AddEntries", batch),
        gateway.change("ConductObservations", conduct(entry) + conduct("7")),
    ]
    reason = f"<reason>{markers.LAST_NAME} {markers.FIRST_NAME}, {first}, {SNILS}</reason>"
    answers.append(gateway.change("SaveDoctors", _doctor(DOCTOR) + _doctor(SNILS) + _doctor(WRONG_SNILS)))
    for answer in answers:
        assert {row.findtext("{*}code") for row in answer.result} > {"ok"}
        assert markers.leaks(answer.content.decode()) == []
    assert gateway.change("AnnulEntry", f"<entryId>{entry}</entryId>{reason}").fault is None


def _doctor(snils: str) -> str:
    return (
        f"<items><snils>{snils}</snils><lastName>{markers.DOCTOR_LAST_NAME}</lastName>"
        f"<firstName>{markers.DOCTOR_FIRST_NAME}</firstName><doctorType>1</doctorType><from>2000-01-01</from></items>"
    )


def test_raw_messages(gateway: Gateway) -> None:
    """Bytes that are no call at all."""
    name, enp = markers.LAST_NAME, gateway.persons[8]
    for head in (
        f"{quote(name)} /{enp} HTTP/1.1",
        f"POST /soap/{enp}/v1 HTTP/9.9",
        f"GET /{quote(name)}/{enp} HTTP/1.1",
    ):
        try:
            raw.exchange(gateway, f"{head}\r\nHost: {enp}\r\n{quote(name)}: {enp}\r\nx\r\n\r\n{name}".encode())
        except ConnectionError:
            continue
    gateway.http.get(f"{gateway.url}/{quote(name)}?{enp}")


def test_nothing_was_written(gateway: Gateway) -> None:
    """After all of the above."""
    found = written(gateway)
    assert gateway.records() > 500 and "GetPersonEntries" in found
    assert markers.leaks(found) == []


def test_the_search_finds(gateway: Gateway) -> None:
    """Each value would be found in each way of writing."""
    for one in values(gateway):
        shapes = (f"x{one}x", one.upper(), one.upper().replace("Ё", "Е"), json.dumps(one), quote(one))
        for shape in shapes if markers.LAST_NAME in one else shapes[:1]:
            assert markers.leaks(shape), shape
    assert markers.leaks("4f1c9d0a 1234567890123456 12345678901 client=clinic Поликлиника 400001") == []
