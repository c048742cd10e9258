"""The tables of `docs/integrators.md`, made from the contract, the codes of refusal and the own list format.

``python -m gateway.services.guide docs/integrators.md`` rewrites them between their marks; a test compares.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from gateway.errors import ACCEPTED, KINDS
from gateway.formats import listing
from gateway.services.contract import Operation, Service
from gateway.services.published import SERVICES
from gateway.services.types import Field, Model

_KINDS = {
    "change": "изменение, начинается с requestId",
    "read": "чтение",
    "own": "чтение",
    "open": "открыта всем клиентам",
}


def refusals_of(field: Field) -> tuple[str, ...]:
    """Every code that a field of a request can be refused with: those of the schema, then those of the features."""
    schema: list[str] = ["field.missing"] if field.least else []
    if not isinstance(field.type, Model):
        limited = field.type.longest is not None
        schema += ["field.length"] if limited else ["field.format"]
        schema += ["field.format"] if field.type.pattern else []
    schema += ["field.count"] if field.many else []
    return (*schema, *(code for code in field.refusals if code not in schema))


def operations(service: Service) -> str:
    """The operations of a service with every field of their requests."""
    return "\n\n".join("\n".join(_operation(one)) for one in service.operations.values())


def _operation(operation: Operation) -> Iterator[str]:
    yield f"#### {operation.name}"
    yield ""
    yield f"{operation.doc} ({_KINDS[operation.kind]})."
    yield ""
    if operation.request:
        yield "| поле запроса | тип | сколько | значение | отказы |"
        yield "| --- | --- | --- | --- | --- |"
        yield from _fields(operation.request, "")
    else:
        yield "Запрос без полей."
    yield ""
    yield "Ответ: " + ", ".join(_shown(field) for field in operation.response) + "."


def _fields(fields: tuple[Field, ...], path: str) -> Iterator[str]:
    for field in fields:
        codes = ", ".join(f"`{code}`" for code in refusals_of(field))
        yield f"| `{path}{field.name}` | {_type(field)} | {_occurs(field)} | {field.doc} | {codes} |"
        if isinstance(field.type, Model):
            yield from _fields(field.type.fields, f"{path}{field.name}/")


def _type(field: Field) -> str:
    if isinstance(field.type, Model):
        return field.type.name
    length = f" {field.type.shortest}..{field.type.longest}" if field.type.longest else ""
    return field.type.base + length


def _occurs(field: Field) -> str:
    most = {0: "*", 1: "1"}.get(field.most, str(field.most))
    return most if str(field.least) == most else f"{field.least}..{most}"


def _shown(field: Field) -> str:
    return f"`{field.name}`" + ("*" if field.many else "" if field.least else "?")


def faults() -> str:
    """Every code with its side, text and remedy."""
    lines = ["| код | сторона | текст | что делать |", "| --- | --- | --- | --- |"]
    lines += [f"| `{one.code}` | {one.side} | {one.shown} | {one.remedy} |" for one in KINDS.values()]
    lines += ["", "Принято, но с оговоркой или без неё (`ItemResult/code`):", "", "| код | текст |", "| --- | --- |"]
    lines += [f"| `{code}` | {text} |" for code, text in ACCEPTED.items()]
    return "\n".join(lines)


_VALUES = {
    "text": "строка",
    "code": "код, цифры как текст",
    "date": "дата",
    "month": "месяц ГГГГ-ММ",
    "months": "месяцы ГГГГ-ММ через пробел",
    "int": "целое число",
    "bool": "да или нет",
    "time": "время с поясом",
}


def columns() -> str:
    """The columns of the own list format, as each kind of file names them."""
    lines = ["| XML | CSV и XLSX | DBF | знаков в DBF | значение | читается при загрузке |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    lines += [
        f"| `{one.name}` | {one.title} | `{one.dbf}` | {one.width} | {_VALUES[one.kind]} | {'да' if one.taken else ''} |"
        for one in listing.COLUMNS
    ]
    return "\n".join(lines)


def tables() -> dict[str, str]:
    """Every made table by its mark."""
    made = {service.name: operations(service) for service in SERVICES}
    return {"faults": faults(), "columns": columns(), **made}


def refreshed(document: str) -> str:
    """The document with every table anew; raises `LookupError` if a mark is missing."""
    for mark, table in tables().items():
        start, end = f"<!-- {mark} -->", f"<!-- /{mark} -->"
        if start not in document or end not in document:
            raise LookupError(f"the document has no mark {mark}")
        between = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
        document = between.sub(f"{start}\n{table}\n{end}".replace("\\", r"\\"), document)
    return document


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(refreshed(path.read_text(encoding="utf-8")), encoding="utf-8")
