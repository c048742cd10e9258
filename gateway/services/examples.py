"""Example requests of every operation, right by the schema, with invented values."""

from __future__ import annotations

from datetime import date
from xml.sax.saxutils import escape

from gateway.domain.persons import make_enp, make_snils
from gateway.services.contract import Operation, Service
from gateway.services.types import Field, Model

MONTH = "2026-12"
CONTENT = "ZW5wO2RpYWdub3Npcw=="
OPERATION_ID, FILE_ID = "3d1f6a52-8f1b-4d8e-9c57-0f4c5b6f2a11", "8a4f0c8e-55c1-4f6b-b5a1-7d0e6f9b3c22"
REQUEST_ID = "0b9e3f5e-3c0a-4f6e-9d3c-6f0a4a1d9f11"
ENP = make_enp(40, date(1960, 1, 15), 2, 1)
SNILS = make_snils(112_233_445)
ENVELOPE = '<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/">\n{header}  <soap:Body>\n{body}\n  </soap:Body>\n</soap:Envelope>'

_VALUES = {
    "requestId": REQUEST_ID, "enp": ENP, "snils": SNILS, "doctorSnils": SNILS, "diagnosis": "I20.8",
    "plannedMonths": MONTH, "plannedMonth": MONTH, "entryId": "1", "visitId": "1", "conductedOn": "2026-11-10",
    "diagnosedOn": "2026-10-05", "place": "1", "result": "1", "doctorType": "1", "specialty": "76",
    "excludedOn": "2026-11-10", "exclusionReason": "4", "reason": "Ошибка ввода", "year": "2026", "month": "11",
    "listType": "OBSERVED", "startRecord": "1", "recordCount": "1000", "externalId": "123", "code": "PLACES",
    "lastName": "Королёва", "firstName": "Алёна", "middleName": "Петровна", "operationId": OPERATION_ID,
    "fileId": FILE_ID, "fileName": "GSM400001_2611_1.zip", "content": CONTENT, "offset": "0", "last": "true",
    "recordsPerFile": "1000", "delivery": "MAILBOX", "format": "XML", "state": "RUNNING", "fromLine": "1",
    "indicator": "BSK", "part": "GAP",
}  # fmt: skip
_BY_BASE = {
    "date": "2026-11-01",
    "dateTime": "2026-11-01T00:00:00+03:00",
    "int": "1",
    "long": "1",
    "boolean": "true",
    "base64Binary": CONTENT,
}
_SHOWN = {
    "FindPerson": {"enp"},
    "AddEntries": {"externalId", "diagnosedOn", "doctorSnils"},
    "GetList": {"month", "startRecord", "recordCount"},
    "ExportList": {"month", "recordsPerFile", "delivery", "format"},
    "UploadList": {"fileId"},
    "ListOperations": {"state"},
    "GetOperation": {"fromLine"},
    "GetIndicatorPersons": {"startRecord", "recordCount"},
    "GetFile": {"offset"},
    "ListFiles": {"since"},
    "SaveDoctors": {"middleName", "doctorType", "specialty"},
}
"""Optional fields worth showing, by operation."""


def request(service: Service, operation: Operation, indent: str = "", **values: str) -> str:
    """The element of a call; ``values`` replace those of the example by field."""
    known = _VALUES | values
    lines = [f'<{operation.name} xmlns="{service.namespace}">']
    for field in operation.request:
        lines += _field(field, _SHOWN.get(operation.name, set()), known, "  ")
    lines.append(f"</{operation.name}>")
    if len(lines) == 2:
        lines = [f'<{operation.name} xmlns="{service.namespace}"/>']
    return "\n".join(indent + line for line in lines)


def _field(field: Field, shown: set[str], values: dict[str, str], indent: str) -> list[str]:
    # a plan may repeat no time, but a call without a month would be refused
    if not (field.least or field.name in shown or field.name == "plannedMonths"):
        return []
    if isinstance(field.type, Model):
        inner = [line for one in field.type.fields for line in _field(one, shown, values, indent + "  ")]
        return [f"{indent}<{field.name}>", *inner, f"{indent}</{field.name}>"]
    typed = _BY_BASE.get(field.type.base, "?")
    value = values.get(field.name, typed)
    return [f"{indent}<{field.name}>{escape(value)}</{field.name}>"]
