"""The SOAP door of what every client needs, version 1: state, rights, limits, dictionaries, its own calls."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from gateway.access import calls, journal
from gateway.access.model import Call
from gateway.errors import GatewayError
from gateway.services.contract import Desk, Operation, Service
from gateway.services.types import (
    BOOLEAN,
    CODE,
    DATE,
    EXTRA_FIELD,
    INT,
    KEY,
    LONG,
    START_RECORD,
    STRING,
    TIME,
    Model,
    maybe,
    needed,
    page_of,
    record_count,
    some,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

RECORDS_DEFAULT = 1000
ITEMS_MOST = 1000

ALLOWED_OPERATION = Model(
    "AllowedOperation",
    "Операция, которую клиент может вызвать",
    (
        needed("service", STRING, "Служба"),
        needed("operation", STRING, "Операция"),
        needed("changes", BOOLEAN, "Изменяет данные: начинается с requestId"),
        EXTRA_FIELD,
    ),
)

DICTIONARY_ITEM = Model(
    "DictionaryItem",
    "Строка справочника",
    (
        needed("code", STRING, "Код"),
        needed("name", STRING, "Наименование"),
        maybe("parent", STRING, "Код вышестоящей строки"),
        maybe("validFrom", DATE, "Действует с"),
        maybe("validTo", DATE, "Действует по"),
        EXTRA_FIELD,
    ),
)

CALL = Model(
    "Call",
    "Вызов из журнала доступа",
    (
        needed("at", TIME, "Когда"),
        needed("trace", STRING, "Номер вызова, он же в заголовке ответа X-Request-Id"),
        needed("service", STRING, "Служба"),
        needed("operation", STRING, "Операция"),
        maybe("organisation", STRING, "Код МО"),
        maybe("requestId", STRING, "requestId изменения"),
        needed(
            "outcome",
            STRING,
            "Исход: OK выполнен, PARTIAL часть элементов отклонена, REPLAYED повтор, REFUSED отказ, FAULT сбой шлюза",
        ),
        maybe("code", STRING, "Код отказа"),
        maybe("records", INT, "Сколько записей вызов вернул или изменил"),
        EXTRA_FIELD,
    ),
)


def _page(desk: Desk, request: Any) -> tuple[int, int]:
    start = 1 if request.start_record is None else request.start_record
    count = RECORDS_DEFAULT if request.record_count is None else request.record_count
    if start < 1 or not 1 <= count <= desk.settings.records_per_page:
        raise GatewayError("list.page", limit=desk.settings.records_per_page)
    return start, count


def _extra(values: Mapping[str, Any]) -> dict[str, Any] | None:
    items = [
        {"name": name, "value": str(value).lower() if isinstance(value, bool) else str(value)}
        for name, value in values.items()
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
        "file_part_bytes": settings.file_part_bytes,
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
    start, count = _page(desk, request)
    day = request.on_date or desk.clock.today()
    items = list(desk.nsi.items(request.code, day).values())
    page = items[start - 1 : start - 1 + count]
    call.records = len(page)
    return {
        "code": request.code,
        "on_date": day,
        "total_records": len(items),
        "start_record": start,
        "returned_records": len(page),
        "items": [
            {
                "code": item.code,
                "name": item.name,
                "parent": item.parent,
                "valid_from": item.valid_from,
                "valid_to": item.valid_to,
                "extra": _extra(item.attributes),
            }
            for item in page
        ],
    }


def get_my_calls(desk: Desk, connection: Connection, call: Call, request: Any) -> dict[str, Any]:
    start, count = _page(desk, request)
    past = journal.my_calls(
        connection,
        call.caller,
        _zoned(desk, request.from_),
        _zoned(desk, request.to),
        request.operation,
        request.outcome,
        start,
        count,
    )
    call.records = len(past.calls)
    return {
        "total_records": past.total,
        "start_record": past.start,
        "returned_records": len(past.calls),
        "calls": past.calls,
    }


def _zoned(desk: Desk, time: datetime) -> datetime:
    """A time without a zone is meant in the region's."""
    return time if time.tzinfo else time.replace(tzinfo=desk.clock.zone)


SERVICE = Service.of(
    "Exchange",
    "/soap/exchange/v1",
    "urn:dn-gateway:exchange:v1",
    "Общие операции шлюза: состояние, права, пределы, справочники, журнал вызовов, версия 1",
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
                some("operations", ALLOWED_OPERATION, "Разрешённые операции"),
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
                record_count(RECORDS_DEFAULT),
            ),
            (
                needed("code", STRING, "Код справочника"),
                needed("onDate", DATE, "На какой день"),
                *page_of(some("items", DICTIONARY_ITEM, "Строки по коду")),
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
                record_count(RECORDS_DEFAULT),
            ),
            page_of(some("calls", CALL, "Вызовы, новые первыми")),
            "Журнал собственных вызовов клиента",
        ),
    ),
)
