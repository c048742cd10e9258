"""Trial A4: strings that break careless programs, in every text field of every operation.

Each is refused by name or taken as plain text: never a failure of the gateway, never a word of it in the fault. What is
stored comes back byte for byte.
"""

from __future__ import annotations

from xml.sax.saxutils import escape

import pytest

from gateway.domain.persons import make_snils
from gateway.services.contract import Operation
from tests import fields
from tests.acceptance.messages import add, added, conduct, current
from tests.serving import Gateway

NAUGHTY = (
    "'; DROP TABLE entry; --",
    "' OR '1'='1",
    "%' UNION SELECT hash FROM client_secret --",
    "\\'; SELECT pg_sleep(10); --",
    "$$; SELECT 1; $$",
    "%s %d %n %(x)s {0} {enp} ${jndi:ldap://127.0.0.1/a}",
    "*)(uid=*))(|(uid=*",
    "'] | //* | a['",
    '"><script>alert(1)</script>',
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


@pytest.mark.parametrize(("namespace", "operation", "path"), fields.CASES, ids=fields.IDS)
def test_field(gateway: Gateway, namespace: str, operation: Operation, path: fields.Path) -> None:
    for value in NAUGHTY:
        answer = gateway.call(operation.name, fields.request(operation, path, value), namespace=namespace)
        assert answer.fault is None or not answer.fault.startswith("server."), value
        if answer.fault is not None and len(value.strip()) > 4:
            assert value.strip() not in "".join(answer.root.itertext())


def fitting(longest: int) -> list[str]:
    """The strings that a field of this length can hold. A carriage return is left out: XML turns it into a line feed."""
    return [value for value in NAUGHTY if 1 <= len(value) <= longest and value.strip() and "\r" not in value]


def test_external_ids_come_back(gateway: Gateway) -> None:
    stored = {}
    for value, enp in zip(fitting(64), gateway.persons, strict=False):
        answer = gateway.change("AddEntries", add(enp, extra=f"<externalId>{escape(value)}</externalId>"))
        entry_id = answer.result.findtext("{*}results/{*}id")
        assert entry_id, answer.content.decode()
        stored[entry_id] = value
    for entry_id, value in stored.items():
        assert gateway.call("GetEntry", f"<entryId>{entry_id}</entryId>").result.findtext(".//{*}externalId") == value
    page = gateway.call("GetList", current()).result
    listed = {row.findtext("{*}entryId"): row.findtext("{*}externalId") for row in page.iterfind("{*}entries")}
    assert listed == stored
    assert len(stored) > 15


def test_reasons_come_back(gateway: Gateway) -> None:
    entry = added(gateway, gateway.persons[0], diagnosis="E11.9")
    for value in fitting(1000):
        visit = gateway.change("ConductObservations", conduct(entry)).result.findtext("{*}results/{*}id")
        reason = f"<visitId>{visit}</visitId><reason>{escape(value)}</reason>"
        assert gateway.change("AnnulVisit", reason).fault is None
        visits = gateway.call("GetEntry", f"<entryId>{entry}</entryId>").result.findall("{*}visits")
        assert value in [one.findtext("{*}annulReason") for one in visits]


def test_names_of_doctors_come_back_or_are_refused(gateway: Gateway) -> None:
    names = [*fitting(128), "Ёлкина-О'Нил", "Д’Артаньян", "фон Бюлов-мл."]
    codes = {}
    for number, value in enumerate(names):
        snils = make_snils(300_000_000 + number)
        fields_of = f"<lastName>{escape(value)}</lastName><firstName>{escape(value)}</firstName>"
        item = f"<items><snils>{snils}</snils>{fields_of}<doctorType>1</doctorType><from>2020-01-01</from></items>"
        codes[value] = (snils, gateway.change("SaveDoctors", item).result.findtext("{*}results/{*}code"))
    doctors = {
        one.findtext("{*}snils"): (one.findtext("{*}lastName"), one.findtext("{*}firstName"))
        for one in gateway.call("GetDoctors").result.iterfind("{*}doctors")
    }
    for value, (snils, code) in codes.items():
        assert code in ("ok", "person.name"), value
        assert doctors.get(snils) == ((value, value) if code == "ok" else None)
    assert {code for _, code in codes.values()} == {"ok", "person.name"}
