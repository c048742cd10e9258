"""The SOAP door of what every client needs, version 1: state, rights, limits, dictionaries, its own calls, and long work
with its files (`exchange_work`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from gateway.access import calls, journal
from gateway.access.model import Call
from gateway.errors import GatewayError
from gateway.services import exchange_types as t
from gateway.services import exchange_work, paging
from gateway.services.contract import Desk, Operation, Service
from gateway.services.types import (
    CODE,
    DATE,
    EXTRA_FIELD,
    INT,
    KEY,
    LONG,
    START_RECORD,
    STRING,
    TIME,
    maybe,
    needed,
    page_of,
    record_count,
    some,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

ITEMS_MOST = 1000


def _extra(values: Mapping[str, Any]) -> dict[str, Any] | None:
    """Named values; a list as several of one name."""
    items = [
        {"name": name, "value": str(value).lower() if isinstance(value, bool) else str(value)}
        for name, held in values.items()
        for value in (held if isinstance(held, list) else [held])
        if value is not None
    ]
    return {"item": items} if items else None


def ping(desk: Desk, call: Call, request: Any) -> dict[str, Any]:
    """Answers even while the database does not: that is what it is asked for."""
    try:
        calls.read(desk.store, call, lambda connection: connection.execute(text("SELECT 1")))
        database = "ok"
    except (SQLAlchemyError, OSError, GatewayError):
        database = "unavailable"
    return {"version": desk.version, "time": desk.clock.now(), "database": database}


def get_allowed_operations(desk: Desk, call: Call, request: Any) -> dict[str, Any]:
    caller = call.caller
    calls.read(desk.store, call, lambda connection: None)
    return {
        "login": caller.login,
        "kind": caller.kind.value,
        "organisations": sorted(caller.organisations),
        "insurer": caller.insurer,
        "operations": [
            {"service": service.name, "operation": operation.name, "changes": operation.kind == "change"}
            for service in desk.services
            for operation in service.operations.values()
            if operation.open or caller.may(operation.name)
        ],
    }


def get_limits(desk: Desk, call: Call, request: Any) -> dict[str, Any]:
    settings = desk.settings
    calls.read(desk.store, call, lambda connection: None)
    return {
        "body_bytes": settings.body_bytes,
        "items_per_call": min(settings.items_per_call, ITEMS_MOST),
        "records_per_page": settings.records_per_page,
        "requests_per_minute": call.caller.requests_per_minute or settings.requests_per_minute,
        # base64 makes a third more of a part, and it shares the body with its envelope
        "file_part_bytes": min(settings.file_part_bytes, settings.body_bytes * 2 // 3),
        "extra": _extra(
            {
                "bodySeconds": settings.body_seconds,
                "snapshotHours": settings.snapshot_hours,
                "requestDays": settings.request_days,
                "xmlDepth": settings.xml_depth,
                "xmlElements": settings.xml_elements,
                "xmlAttributes": settings.xml_attributes,
                "xmlNameChars": settings.xml_name_chars,
            }
        ),
    }


def get_dictionary(desk: Desk, connection: Connection, call: Call, request: Any) -> dict[str, Any]:
    start, count = paging.asked(desk, request)
    day = request.on_date or desk.clock.today()
    items = list(desk.nsi.items(request.code, day).values())
    page = [
        {
            "code": item.code,
            "name": item.name,
            "parent": item.parent,
            "valid_from": item.valid_from,
            "valid_to": item.valid_to,
            "extra": _extra(item.attributes),
        }
        for item in items[start - 1 : start - 1 + count]
    ]
    return {"code": request.code, "on_date": day, **paging.answered(call, len(items), start, "items", page)}


def get_my_calls(desk: Desk, connection: Connection, call: Call, request: Any) -> dict[str, Any]:
    start, count = paging.asked(desk, request)
    past = journal.my_calls(
        connection,
        call.caller,
        desk.clock.zoned(request.from_),
        desk.clock.zoned(request.to),
        request.operation,
        request.outcome,
        start,
        count,
    )
    return paging.answered(call, past.total, past.start, "calls", past.calls)


SERVICE = Service.of(
    "Exchange",
    "/soap/exchange/v1",
    "urn:dn-gateway:exchange:v1",
    "Общие операции шлюза: состояние, права, пределы, справочники, журнал вызовов, длительные работы, файлы, версия 1",
    (
        Operation(
            "Ping",
            "open",
            ping,
            (),
            (
                needed("version", STRING, "Версия шлюза"),
                needed("time", TIME, "Время шлюза"),
                needed("database", STRING, "База данных: ok или unavailable"),
                EXTRA_FIELD,
            ),
            "Проверка связи и состояния",
        ),
        Operation(
            "GetAllowedOperations",
            "open",
            get_allowed_operations,
            (),
            (
                needed("login", STRING, "Имя клиента"),
                needed("kind", STRING, "Вид клиента: MO, INSURER, FUND"),
                some("organisations", STRING, "Доступные МО; у INSURER и FUND не перечисляются"),
                maybe("insurer", STRING, "Код СМО клиента INSURER"),
                some("operations", t.ALLOWED_OPERATION, "Разрешённые операции"),
                EXTRA_FIELD,
            ),
            "Что клиенту разрешено: организации и операции",
        ),
        Operation(
            "GetLimits",
            "open",
            get_limits,
            (),
            (
                needed("bodyBytes", LONG, "Тело запроса, байт, не больше"),
                needed("itemsPerCall", INT, "Элементов в пакетном вызове, не больше"),
                needed("recordsPerPage", INT, "Записей на странице, не больше"),
                needed("requestsPerMinute", INT, "Вызовов клиента в минуту, не больше"),
                needed("filePartBytes", LONG, "Часть файла, байт, не больше"),
                EXTRA_FIELD,
            ),
            "Пределы шлюза",
        ),
        Operation(
            "GetDictionary",
            "read",
            get_dictionary,
            (
                needed("code", CODE, "Код справочника; перечень в справочнике DICTIONARIES", "dictionary.unknown"),
                maybe("onDate", DATE, "На какой день; по умолчанию сегодня"),
                START_RECORD,
                record_count(paging.RECORDS_DEFAULT),
            ),
            (
                needed("code", STRING, "Код справочника"),
                needed("onDate", DATE, "На какой день"),
                *page_of(some("items", t.DICTIONARY_ITEM, "Строки по коду")),
            ),
            "Справочник на дату",
        ),
        Operation(
            "GetMyCalls",
            "read",
            get_my_calls,
            (
                needed("from", TIME, "Начало промежутка; без пояса — время региона"),
                needed("to", TIME, "Конец промежутка, не включается"),
                maybe("operation", KEY, "Только эта операция"),
                maybe("outcome", CODE, "Только этот исход"),
                START_RECORD,
                record_count(paging.RECORDS_DEFAULT),
            ),
            page_of(some("calls", t.CALL, "Вызовы, новые первыми")),
            "Журнал собственных вызовов клиента",
        ),
        *exchange_work.OPERATIONS,
    ),
)
