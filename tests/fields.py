"""Requests of every operation with a chosen value in one of their text fields, made from the table of operations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from uuid import uuid4
from xml.sax.saxutils import escape

from gateway.services.contract import Operation
from gateway.services.published import SERVICES
from gateway.services.types import Field, Model

Path = tuple[str, ...]

_SAMPLES = {
    "organisation": "400001", "enp": "4076940848010003", "snils": "11223344595", "birthDate": "1960-05-17",
    "diagnosis": "I10", "plannedMonths": "2026-11", "entryId": "1", "visitId": "1", "year": "2026", "month": "11",
    "listType": "OBSERVED", "edition": "CURRENT", "reason": "ошибка",
    "operationId": "3d1f6a52-8f1b-4d8e-9c57-0f4c5b6f2a11", "fileId": "8a4f0c8e-55c1-4f6b-b5a1-7d0e6f9b3c22",
    "fileName": "list.csv", "offset": "0",
}  # fmt: skip
_BY_BASE = {
    "string": "x", "boolean": "true", "int": "1", "long": "1", "date": "2026-11-01", "dateTime": "2026-11-01T00:00:00Z",
    "base64Binary": "ZW5wO2RpYWdub3Npcw==",
}  # fmt: skip


def text_fields(fields: tuple[Field, ...], path: Path = ()) -> Iterator[Path]:
    """Paths of all fields that hold text, such as ``("items", "enp")``."""
    for field in fields:
        if isinstance(field.type, Model):
            yield from text_fields(field.type.fields, (*path, field.name))
        elif field.type.base == "string":
            yield (*path, field.name)


CASES: list[tuple[str, Operation, Path]] = [
    (service.namespace, operation, path)
    for service in SERVICES
    for operation in service.operations.values()
    for path in text_fields(operation.request)
]
"""Namespace, operation and path of every text field that a client can send."""

IDS = [f"{operation.name}-{'.'.join(path)}" for _, operation, path in CASES]


def request(operation: Operation, path: Path, value: str, samples: Mapping[str, str] | None = None) -> str:
    """The XML of the fields: ``value`` at the path; ``samples`` or ready values by name in the other needed fields, and
    in those optional ones that ``samples`` names."""
    return _xml(operation.request, path, value, samples or {})


def _xml(fields: tuple[Field, ...], path: Path, value: str, samples: Mapping[str, str]) -> str:
    made = []
    for field in fields:
        aimed = bool(path) and field.name == path[0]
        if not aimed and field.least == 0 and field.name not in samples:
            continue
        if isinstance(field.type, Model):
            inner = _xml(field.type.fields, path[1:] if aimed else (), value, samples)
        elif aimed:
            inner = escape(value)
        elif field.name == "requestId":
            inner = str(uuid4())
        else:
            inner = escape(samples.get(field.name) or _SAMPLES.get(field.name) or _BY_BASE[field.type.base])
        made.append(f"<{field.name}>{inner}</{field.name}>")
    return "".join(made)
