"""Operations of `Exchange` v1 about long work, files in parts and the mailbox; `exchange_v1` publishes them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from gateway.access.model import Call
from gateway.errors import GatewayError, field_error
from gateway.operations import files, works
from gateway.operations.model import FileInfo
from gateway.operations.model import Operation as Work
from gateway.services import codec, ownership, paging, transfer
from gateway.services import exchange_types as t
from gateway.services.contract import Desk, Operation
from gateway.services.types import (
    ACTING_ORGANISATION,
    BOOLEAN,
    BYTES,
    CODE,
    INT,
    LONG,
    NAME_OF_FILE,
    ORGANISATION,
    REQUEST_ID,
    SHA256,
    START_RECORD,
    STRING,
    TIME,
    Field,
    maybe,
    needed,
    page_of,
    record_count,
    some,
)
from gateway.services.types import UUID as UUID_TYPE

if TYPE_CHECKING:
    from sqlalchemy import Connection

LINES_MOST = 1000


# long work ------------------------------------------------------------------------------------------------------------


def list_operations(desk: Desk, connection: Connection, call: Call, request: Any) -> dict[str, Any]:
    ownership.named(call, request.organisation)
    start, count = paging.asked(desk, request)
    total, page = works.page(
        connection,
        ownership.scope_of(call.caller),
        organisation=request.organisation,
        kind=request.kind,
        state=request.state,
        since=request.since and desk.clock.zoned(request.since),
        start=start,
        count=count,
    )
    return paging.answered(call, total, start, "operations", [_work(one) for one in page])


def get_operation(desk: Desk, connection: Connection, call: Call, request: Any) -> dict[str, Any]:
    from_line, from_file = _first(request.from_line, "fromLine"), _first(request.from_file, "fromFile")
    found = ownership.operation_of(connection, call, request.operation_id)
    lines = works.lines(connection, found.operation_id, from_line, LINES_MOST + 1)
    scope, most = ownership.scope_of(call.caller), desk.settings.records_per_page
    made = files.of_operation(connection, found.operation_id, scope, from_file, most + 1)
    return {
        "operation": _work(found),
        "lines": lines[:LINES_MOST],
        "more_lines": len(lines) > LINES_MOST,
        "files": [_file(one) for one in made[:most]],
        "more_files": len(made) > most,
    }


def _first(number: int | None, field: str) -> int:
    if number is not None and number < 1:
        raise GatewayError("request.schema", fields=[field_error(field, "field.range")])
    return number or 1


def abort_operation(desk: Desk, connection: Connection, call: Call, request: Any) -> dict[str, Any]:
    found = ownership.operation_of(connection, call, request.operation_id)
    call.details["operation"] = str(found.operation_id)
    return {"operation": _work(works.request_abort(connection, found.operation_id, call.caller.login))}


def _work(one: Work) -> dict[str, Any]:
    body = works.BODIES.get(one.kind)
    return {
        "operation_id": one.operation_id,
        "kind": one.kind,
        "title": body.title if body else None,
        "organisation": one.owner.organisation,
        "state": one.state.value,
        "stage": one.stage,
        "done": one.done,
        "total": one.total,
        "created_at": one.created_at,
        "started_at": one.started_at,
        "ended_at": one.ended_at,
        "estimated_end": one.estimated_end,
        "aborting": one.aborting,
        "code": one.code,
        "message": one.message,
    }


# files ----------------------------------------------------------------------------------------------------------------


def put_file_part(desk: Desk, connection: Connection, call: Call, request: Any) -> dict[str, Any]:
    file_id = transfer.put_part(desk, connection, call, request, request.offset, request.last)
    return {"file_id": file_id, "received_bytes": request.offset + len(request.content)}


def get_file(desk: Desk, connection: Connection, call: Call, request: Any) -> SimpleNamespace:
    found = ownership.file_of(connection, call, request.file_id)
    most = desk.settings.file_part_bytes
    offset = 0 if request.offset is None else request.offset
    length = most if request.length is None else request.length
    if not 1 <= length <= most:
        raise GatewayError("file.part-size", limit=most)
    content = files.read(connection, found.file_id, offset, length)
    transfer.note(call, found)
    call.details["offset"] = offset
    return SimpleNamespace(
        file_id=found.file_id,
        file_name=found.name,
        size=found.size,
        sha256=found.sha256,
        offset=offset,
        more=offset + len(content) < found.size,
        body=codec.binary("content", content),
    )


def list_files(desk: Desk, connection: Connection, call: Call, request: Any) -> dict[str, Any]:
    ownership.named(call, request.organisation)
    start, count = paging.asked(desk, request)
    total, page = files.mailbox(
        connection,
        ownership.scope_of(call.caller),
        organisation=request.organisation,
        since=request.since and desk.clock.zoned(request.since),
        start=start,
        count=count,
    )
    return paging.answered(call, total, start, "files", [_file(one) for one in page])


def confirm_file(desk: Desk, connection: Connection, call: Call, request: Any) -> dict[str, Any]:
    found = ownership.file_of(connection, call, request.file_id)
    transfer.note(call, found)
    return {"file": _file(files.confirm(connection, found.file_id, call.caller.login))}


def _file(one: FileInfo) -> dict[str, Any]:
    return {
        "file_id": one.file_id,
        "file_name": one.name,
        "kind": one.kind,
        "organisation": one.owner.organisation,
        "operation_id": one.operation_id,
        "mailbox": one.mailbox,
        "size": one.size,
        "sha256": one.sha256,
        "ready_at": one.ready_at,
        "expires_at": one.expires_at,
        "confirmed_at": one.confirmed_at,
        "signature_id": one.signature_id,
    }


# the table ------------------------------------------------------------------------------------------------------------

FILE_ID = needed("fileId", UUID_TYPE, "Идентификатор файла", "object.not-found file.incomplete")
_OPERATION_ID = needed("operationId", UUID_TYPE, "Идентификатор работы", "object.not-found")
_OPERATION = needed("operation", t.OPERATION, "Работа")
_SINCE = "начиная с этого времени; без пояса — время региона"


def _page(*fields: Field) -> tuple[Field, ...]:
    return (ACTING_ORGANISATION, *fields, START_RECORD, record_count(paging.RECORDS_DEFAULT))


OPERATIONS = (
    Operation(
        "ListOperations",
        "read",
        list_operations,
        _page(
            maybe("kind", CODE, "Только работы этого вида", "operation.kind"),
            maybe("state", CODE, "Только работы в этом состоянии", "operation.kind"),
            maybe("since", TIME, f"Порученные {_SINCE}"),
        ),
        page_of(some("operations", t.OPERATION, "Работы, новые первыми")),
        "Длительные работы клиента и его организаций",
    ),
    Operation(
        "GetOperation",
        "read",
        get_operation,
        (
            _OPERATION_ID,
            maybe("fromLine", INT, "С какой строки протокола, с 1; по умолчанию с первой", "field.range"),
            maybe("fromFile", INT, "С какого файла по порядку, с 1; по умолчанию с первого", "field.range"),
        ),
        (
            _OPERATION,
            some("lines", t.PROTOCOL_LINE, f"Строки протокола по порядку, не больше {LINES_MOST}"),
            needed("moreLines", BOOLEAN, "Есть и следующие строки: повторите вызов с fromLine"),
            some("files", t.FILE, "Готовые файлы работы по порядку, не больше предела записей на странице"),
            needed("moreFiles", BOOLEAN, "Есть и следующие готовые файлы: повторите вызов с fromFile"),
        ),
        "Состояние, ход, протокол и готовые файлы длительной работы",
    ),
    Operation(
        "AbortOperation",
        "change",
        abort_operation,
        (REQUEST_ID, _OPERATION_ID),
        (_OPERATION,),
        "Прерывание длительной работы; законченная остаётся как есть",
    ),
    Operation(
        "PutFilePart",
        "change",
        put_file_part,
        (
            REQUEST_ID,
            ORGANISATION,
            maybe(
                "fileId",
                UUID_TYPE,
                "Файл из ответа на первую часть; у первой не передаётся",
                "object.not-found file.complete file.name-differs",
            ),
            needed("fileName", NAME_OF_FILE, "Имя файла без каталогов, до 200 знаков", "file.name"),
            needed("offset", LONG, "С какого байта файла эта часть, с 0", "file.offset file.range"),
            needed("content", BYTES, "Содержимое части; предел сообщает GetLimits", "file.part-size file.too-large"),
            needed("last", BOOLEAN, "Последняя часть: файл принят целиком"),
            maybe("sha256", SHA256, "SHA-256 всего файла, у последней части", "file.sha256"),
        ),
        (
            needed("fileId", STRING, "Идентификатор файла"),
            needed("receivedBytes", LONG, "Сколько байт файла принято: начало следующей части"),
        ),
        "Передача файла частями по порядку",
    ),
    Operation(
        "GetFile",
        "read",
        get_file,
        (
            FILE_ID,
            maybe("offset", LONG, "С какого байта, с 0; по умолчанию 0", "file.range"),
            maybe("length", INT, "Сколько байт; по умолчанию и не больше предела части из GetLimits", "file.part-size"),
        ),
        (
            needed("fileId", STRING, "Идентификатор файла"),
            needed("fileName", STRING, "Имя файла"),
            needed("size", LONG, "Размер файла, байт"),
            needed("sha256", STRING, "SHA-256 всего файла, 64 шестнадцатеричных знака"),
            needed("offset", LONG, "С какого байта эта часть"),
            needed("more", BOOLEAN, "Есть и следующие части: повторите вызов с offset"),
            needed("content", BYTES, "Содержимое части"),
        ),
        "Часть файла",
        splice="content",
    ),
    Operation(
        "ListFiles",
        "read",
        list_files,
        _page(maybe("since", TIME, f"Появившиеся {_SINCE}")),
        page_of(some("files", t.FILE, "Файлы, старые первыми")),
        "Файлы абонентского пункта",
    ),
    Operation(
        "ConfirmFile",
        "change",
        confirm_file,
        (REQUEST_ID, FILE_ID),
        (needed("file", t.FILE, "Файл после подтверждения"),),
        "Подтверждение получения файла абонентского пункта; повторное ничего не меняет",
    ),
)
