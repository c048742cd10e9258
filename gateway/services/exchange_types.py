"""Types of `Exchange` v1: rights, dictionaries, calls, long work and files."""

from __future__ import annotations

from gateway.services.types import (
    BOOLEAN,
    DATE,
    EXTRA_FIELD,
    INT,
    LONG,
    STRING,
    TIME,
    Model,
    maybe,
    needed,
)

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

OPERATION = Model(
    "Operation",
    "Длительная работа",
    (
        needed("operationId", STRING, "Идентификатор работы"),
        needed("kind", STRING, "Вид работы: EXPORT_LIST выгрузка списка, UPLOAD_LIST загрузка списка"),
        maybe("title", STRING, "Название вида работы"),
        maybe("organisation", STRING, "Код МО, для которой идёт работа"),
        needed(
            "state",
            STRING,
            "Состояние: QUEUED в очереди, RUNNING идёт, DONE сделана, FAILED не удалась, ABORTED прервана",
        ),
        maybe("stage", STRING, "Что делается сейчас или делалось последним"),
        maybe("done", LONG, "Сделано на этом этапе"),
        maybe("total", LONG, "Всего на этом этапе, если известно"),
        needed("createdAt", TIME, "Когда поручена"),
        maybe("startedAt", TIME, "Когда начата"),
        maybe("endedAt", TIME, "Когда закончена, с любым исходом"),
        maybe("estimatedEnd", TIME, "Когда закончится нынешний этап, по его ходу; оценка"),
        needed("aborting", BOOLEAN, "Прерывание потребовано и ещё не наступило"),
        maybe("code", STRING, "Код причины у FAILED и ABORTED"),
        maybe("message", STRING, "Причина по-русски"),
        EXTRA_FIELD,
    ),
)

PROTOCOL_LINE = Model(
    "ProtocolLine",
    "Строка протокола работы",
    (
        needed("number", INT, "Номер строки, с 1"),
        needed("at", TIME, "Когда"),
        needed("level", STRING, "INFO сведения, WARNING предупреждение, ERROR ошибка"),
        needed("text", STRING, "Текст"),
    ),
)

FILE = Model(
    "File",
    "Файл, принятый или подготовленный целиком",
    (
        needed("fileId", STRING, "Идентификатор файла"),
        needed("fileName", STRING, "Имя файла"),
        needed(
            "kind",
            STRING,
            "Вид: UPLOAD передан клиентом, EXPORT выгрузка, PROTOCOL протокол, SIGNATURE подпись, NOTICE извещение",
        ),
        maybe("organisation", STRING, "Код МО, которой принадлежит файл"),
        maybe("operationId", STRING, "Работа, которая сделала файл"),
        needed("mailbox", BOOLEAN, "Лежит в абонентском пункте"),
        needed("size", LONG, "Размер, байт"),
        needed("sha256", STRING, "SHA-256 содержимого, 64 шестнадцатеричных знака"),
        needed("readyAt", TIME, "Когда файл появился"),
        needed("expiresAt", TIME, "До какого времени хранится"),
        maybe("confirmedAt", TIME, "Когда получение подтверждено (ConfirmFile)"),
        maybe("signatureId", STRING, "Файл отсоединённой подписи"),
        EXTRA_FIELD,
    ),
)
