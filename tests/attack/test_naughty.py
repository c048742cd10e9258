"""Trial A4: strings that break careless programs, in every text field of every operation.

Each is refused by name or taken as plain text: never a failure of the gateway, never a word of it in the fault. What is
stored comes back byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4
from xml.sax.saxutils import escape

import pytest

from gateway.services.published import SERVICES
from gateway.services.types import Field, Model
from tests.serving import DOCTOR, OBSERVATION, Gateway

NAUGHTY = (
    "'; DROP TABLE entry; --",
    "' OR '1'='1",
    "%' UNION SELECT hash FROM client_secret --",
    "\\'; SELECT pg_sleep(10); --",
    "$$; SELECT 1; $$",
    "%s %d %n %(x)s {0} {enp} ${jndi:ldap://127.0.0.1/a}",
    "*)(uid=*))(|(uid=*",
    "'] | //* | a['",
    "\"><script>alert(1)</script>",
    "]]><a/><![CDATA[",
    "../../../../etc/passwd",
    "a\ufffdb",
    "\u202eЁж\u200b\ufeff\u0301",
    "𝔘𝔫𝔦 👩‍👩‍👧 \U0010fffd",
    "NaN",
    "-1e400",
    "9" * 40,
    "true",
    "  ",
    "Я" * 5000,
    "\t\n x \r\n",
    "N'null'",
)

_ID = "11111111-1111-4111-8111-111111111111"
_SAMPLES = {
    "requestId": _ID, "organisation": "400001", "enp": "4076940848010003", "snils": "11223344595",
    "birthDate": "1960-05-17", "diagnosis": "I10", "plannedMonths": "2026-11", "entryId": "1", "visitId": "1", "id": "1",
    "year": "2026", "month": "11", "listType": "OBSERVED", "edition": "CURRENT", "reason": "ошибка",
}  # fmt: skip
_BY_BASE = {
    "string": "x", "boolean": "true", "int": "1", "long": "1", "date": "2026-11-01", "dateTime": "2026-11-01T00:00:00Z",
}  # fmt: skip


def _text_fields(fields: tuple[Field, ...], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for field in fields:
        if isinstance(field.type, Model):
            yield from _text_fields(field.type.fields, (*path, field.name))
        elif field.type.base == "string":
            yield (*path, field.name)


def _xml(fields: tuple[Field, ...], target: tuple[str, ...], value: str) -> str:
    """Needed fields with values of their form, and the target with ``value``."""
    out = []
    for field in fields:
        aimed = bool(target) and field.name == target[0]
        if not aimed and field.least == 0:
            continue
        if isinstance(field.type, Model):
            inner = _xml(field.type.fields, target[1:] if aimed else (), value)
        elif aimed:
            inner = escape(value)
        else:
            inner = str(uuid4()) if field.name == "requestId" else _SAMPLES.get(field.name, _BY_BASE[field.type.base])
        out.append(f"<{field.name}>{inner}</{field.name}>")
    return "".join(out)


CASES = [
    (service.namespace, operation.name, path)
    for service in SERVICES
    for operation in service.operations.values()
    for path in _text_fields(operation.request)
]


@pytest.mark.parametrize(
    ("namespace", "operation", "path"), CASES, ids=[f"{operation}-{'.'.join(path)}" for _, operation, path in CASES]
)
def test_field(gateway: Gateway, namespace: str, operation: str, path: tuple[str, ...]) -> None:
    (fields,) = (
        service.operations[operation].request for service in SERVICES if service.namespace == namespace
    )
    for value in NAUGHTY:
        answer = gateway.call(operation, _xml(fields, path, value), namespace=namespace)
        assert answer.fault is None or not answer.fault.startswith("server."), value
        if answer.fault is not None and len(value.strip()) > 4:
            assert value.strip() not in "".join(answer.root.itertext())


def test_stored_text_comes_back(gateway: Gateway) -> None:
    texts = [value for value in NAUGHTY if 1 <= len(value.strip()) <= 60 and value == value.strip()]
    enps = gateway.persons[1::2]
    items = "".join(
        f"<items><externalId>{escape(value)}</externalId><enp>{enp}</enp><diagnosis>I10</diagnosis>"
        f"<plannedMonths>{_this_month()}</plannedMonths><doctorSnils>{DOCTOR}</doctorSnils></items>"
        for value, enp in zip(texts, enps, strict=False)
    )
    answer = gateway.change("AddEntries", items)
    stored = 0
    for value, result in zip(texts, answer.result.iterfind("{*}results"), strict=False):
        entry_id = result.findtext("{*}id")
        if entry_id is None:
            continue
        entry = gateway.call("GetEntry", f"<entryId>{entry_id}</entryId>", namespace=OBSERVATION).result
        assert entry.findtext(".//{*}externalId") == value
        stored += 1
    assert stored >= 5


def _this_month() -> str:
    from gateway.domain.clock import Clock

    return str(Clock().today())[:7]
