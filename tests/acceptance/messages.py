"""Requests of every operation as XML, for tests that walk all of them."""

from __future__ import annotations

import base64
from datetime import date, timedelta
from uuid import uuid4

from sqlalchemy import text

from gateway.domain import persons
from gateway.services.contract import Operation
from gateway.services.published import SERVICES
from gateway.store.engine import Store
from tests.markers import DOCTOR_FIRST_NAME, DOCTOR_LAST_NAME, FIRST_NAME, MIDDLE_NAME, note_numbers
from tests.serving import DOCTOR, INSURER, Gateway

LETTERS = "АБВГДЕЁЖЗИКЛМНОПРСТУФХЦЧШЩЭЮЯ"

NO_ID = "00000000-0000-4000-8000-000000000000"
"""The id of an operation and of a file that nobody has."""

TODAY = date.today().isoformat()
MONTH = TODAY[:7]


_INDICATOR = f"<indicator>BSK</indicator><year>{TODAY[:4]}</year><month>{int(TODAY[5:7])}</month>"


def operations() -> list[tuple[str, Operation]]:
    """(namespace, operation) of everything that is published."""
    return [(service.namespace, one) for service in SERVICES for one in service.operations.values()]


def add(enp: str, diagnosis: str = "I10", extra: str = "") -> str:
    return (
        f"<items>{extra}<enp>{enp}</enp><diagnosis>{diagnosis}</diagnosis>"
        f"<plannedMonths>{MONTH}</plannedMonths></items>"
    )


def conduct(entry_id: str, place: str = "1", result: str = "1", more: str = "", day: str = TODAY) -> str:
    return (
        f"<items><entryId>{entry_id}</entryId><conductedOn>{day}</conductedOn><place>{place}</place>"
        f"<result>{result}</result><doctorSnils>{DOCTOR}</doctorSnils><doctorType>1</doctorType>{more}</items>"
    )


def current(**more: str) -> str:
    """The fields of GetList for the running month."""
    fields = {"year": TODAY[:4], "month": str(int(TODAY[5:7])), "listType": "OBSERVED"} | more
    order = (
        "organisation", "year", "month", "quarter", "listType", "edition", "diagnosisGroup", "enp", "doctorSnils",
        "plannedMonth", "startRecord", "recordCount", "snapshotId",
    )  # fmt: skip
    return "".join(f"<{name}>{fields[name]}</{name}>" for name in order if name in fields)


def part(content: bytes, offset: int = 0, *, last: bool = True, name: str = "list.csv", file: str = "") -> str:
    """The fields of PutFilePart after ``requestId`` and ``organisation``."""
    known = f"<fileId>{file}</fileId>" if file else ""
    return (
        f"{known}<fileName>{name}</fileName><offset>{offset}</offset>"
        f"<content>{base64.b64encode(content).decode()}</content><last>{str(last).lower()}</last>"
    )


def body(
    operation: str,
    *,
    entry: str,
    visit: str,
    enp: str,
    snapshot: str,
    work: str = NO_ID,
    file: str = NO_ID,
    organisation: str = "",
) -> str:
    """A valid request of the operation about these objects."""
    bound = f"<organisation>{organisation}</organisation>" if organisation else ""
    head = f"<requestId>{uuid4()}</requestId>{bound}"
    one = f"<entryId>{entry}</entryId>"
    made = {
        "FindPerson": f"{bound}<enp>{enp}</enp>",
        "AddEntries": f"{head}{add(enp, 'E11.9')}",
        "UpdatePlans": f"{head}<items>{one}<plannedMonths>{MONTH}</plannedMonths></items>",
        "ConductObservations": f"{head}{conduct(entry)}",
        "ExcludeEntries": f"{head}<items>{one}<excludedOn>{TODAY}</excludedOn><exclusionReason>6</exclusionReason></items>",
        "ChangeDiagnosis": f"{head}{one}<diagnosis>I25.1</diagnosis><from>{TODAY}</from><reason>уточнение</reason>",
        "AnnulEntry": f"{head}{one}<reason>ошибка</reason>",
        "AnnulVisit": f"{head}<visitId>{visit}</visitId><reason>ошибка</reason>",
        "ReopenEntry": f"{head}{one}<reason>ошибка</reason>",
        "GetEntry": f"{bound}{one}",
        "GetPersonEntries": f"{bound}<enp>{enp}</enp>",
        "GetList": current(snapshotId=snapshot, **({"organisation": organisation} if organisation else {})),
        "ExportList": f"{head}{current()}",
        "UploadList": f"{head}<fileId>{file}</fileId>",
        "GetChanges": f"{bound}<count>10</count>",
        "GetIndicator": f"{bound}{_INDICATOR}",
        "GetIndicatorPersons": f"{bound}{_INDICATOR}<part>GAP</part>",
        "GetDoctors": bound,
        "SaveDoctors": f"{head}<items><snils>{DOCTOR}</snils><lastName>{DOCTOR_LAST_NAME}</lastName>"
        f"<firstName>{DOCTOR_FIRST_NAME}</firstName><doctorType>1</doctorType><from>2000-01-01</from></items>",
        "Ping": "",
        "GetAllowedOperations": "",
        "GetLimits": "",
        "GetDictionary": "<code>PLACES</code>",
        "GetMyCalls": f"<from>{TODAY}T00:00:00+03:00</from><to>{TODAY}T23:59:59+03:00</to>",
        "ListOperations": bound,
        "GetOperation": f"<operationId>{work}</operationId>",
        "AbortOperation": f"<requestId>{uuid4()}</requestId><operationId>{work}</operationId>",
        "PutFilePart": f"{head}{part(b'enp;diagnosis', file=file)}",
        "GetFile": f"<fileId>{file}</fileId>",
        "ListFiles": bound,
        "ConfirmFile": f"<requestId>{uuid4()}</requestId><fileId>{file}</fileId>",
    }
    return made[operation]


def added(gateway: Gateway, enp: str, client: str = "clinic", diagnosis: str = "I10", extra: str = "") -> str:
    """The entryId of a person put under observation."""
    answer = gateway.change("AddEntries", add(enp, diagnosis, extra), client)
    identifier = answer.result.findtext("{*}results/{*}id")
    assert identifier, answer.content.decode()
    return identifier


def people_with(store: Store, count: int, organisation: str) -> list[str]:
    """Many insured persons of different names, attached to the organisation; their ЕНП."""
    rows = []
    for number in range(count):
        last = LETTERS[number % 29] + LETTERS[number // 29 % 29].lower() + LETTERS[number // 841 % 29].lower() + "ин"
        birth = date(1950, 1, 1) + timedelta(number % 15000)
        rows.append(
            {
                "enp": persons.make_enp(40, birth, 1, 20_000 + number),
                "last": last,
                "first": FIRST_NAME,
                "middle": MIDDLE_NAME,
                "key": persons.name_key(last, FIRST_NAME, MIDDLE_NAME),
                "birth": birth,
                "insurer": INSURER,
                "attached": organisation,
            }
        )
    note_numbers(*(str(row["enp"]) for row in rows))
    with store.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO person (enp, last_name, first_name, middle_name, name_key, birth_date, sex, insurer,"
                " insured_in_region, attached_organisation)"
                " VALUES (:enp, :last, :first, :middle, :key, :birth, 1, :insurer, true, :attached)"
            ),
            rows,
        )
    return [str(row["enp"]) for row in rows]
