"""The SOAP door of ДН lists, version 1: translates between contract and features, decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import UUID

from gateway.access.model import Call, ClientKind, ItemResult
from gateway.errors import GatewayError, field_error
from gateway.lists.indicators import Wish
from gateway.lists.model import ChangePage, Choice, Conduct, EntryView, Exclusion, NewEntry, Page, PlanChange
from gateway.people import doctors, persons, sources
from gateway.services import observation_types as t
from gateway.services import ownership, paging, transfer
from gateway.services.codec import Changes, Lines
from gateway.services.contract import Desk, Operation, Service
from gateway.services.types import (
    ACTING_ORGANISATION,
    BOOLEAN,
    CODE,
    DATE,
    EXTRA,
    INT,
    ITEM_RESULT,
    LONG,
    ORGANISATION,
    REQUEST_ID,
    START_RECORD,
    STRING,
    TIME,
    TOKEN,
    Field,
    Model,
    maybe,
    needed,
    page_of,
    record_count,
    some,
)
from gateway.services.types import (
    UUID as UUID_TYPE,
)

if TYPE_CHECKING:
    from sqlalchemy import Connection

RECORDS_DEFAULT = 1000

RENDER = Lines(t.ENTRY, "entries", "recordNumber")
"""The renderer of list pages."""

RENDER_CHANGES = Changes(t.CHANGE, "changes")
"""The renderer of the change feed."""


def _own(call: Call, organisation: str | None) -> str:
    """The organisation a call acts for, noted for the audit."""
    call.organisation = call.caller.own(organisation)
    return call.organisation


def _batch(desk: Desk, items: Sequence[Any]) -> Sequence[Any]:
    if len(items) > desk.settings.items_per_call:
        raise GatewayError("request.schema", fields=[field_error("items", "field.count")])
    return items


def _of(view: EntryView, organisation: str | None) -> EntryView:
    """The view, unless the call named another organisation than the entry's."""
    if organisation is not None and _organisation(view) != organisation:
        raise GatewayError("object.not-found")
    return view


def _organisation(view: EntryView) -> str | None:
    return view.line[t.ENTRY.columns.index("organisation")]


def _history(view: EntryView) -> dict[str, Any]:
    return {"entry": (*view.line, *view.register), "visits": view.visits, "moves": view.segments, "events": view.events}


# people ---------------------------------------------------------------------------------------------------------------


def find_person(desk: Desk, call: Call, request: Any) -> dict[str, Any]:
    ownership.named(call, request.organisation)
    criteria = persons.Criteria(
        enp=request.enp,
        snils=request.snils,
        last_name=request.last_name,
        first_name=request.first_name,
        middle_name=request.middle_name,
        birth_date=request.birth_date,
    )
    found = persons.find(desk.store, call, criteria, request.limit, desk.source)
    return {"persons": found, "extra": {"item": [{"name": "upstream", "value": call.note}]} if call.note else None}


def get_doctors(desk: Desk, connection: Connection, call: Call, request: Any) -> dict[str, Any]:
    found = doctors.all_of(connection, _own(call, request.organisation), request.on_date)
    call.records = len(found)
    return {"doctors": [_doctor_out(doctor) for doctor in found]}


def save_doctors(desk: Desk, connection: Connection, call: Call, request: Any) -> list[ItemResult]:
    items = [
        doctors.Doctor(
            snils=item.snils,
            last_name=item.last_name,
            first_name=item.first_name,
            middle_name=item.middle_name,
            doctor_type=item.doctor_type,
            specialty=item.specialty,
            valid_from=item.from_,
            valid_to=item.to,
        )
        for item in _batch(desk, request.items)
    ]
    return doctors.save(connection, call, _own(call, request.organisation), items, desk.nsi)


def _doctor_out(doctor: doctors.Doctor) -> dict[str, Any]:
    return {
        "snils": doctor.snils,
        "last_name": doctor.last_name,
        "first_name": doctor.first_name,
        "middle_name": doctor.middle_name,
        "doctor_type": doctor.doctor_type,
        "specialty": doctor.specialty,
        "from_": doctor.valid_from,
        "to": doctor.valid_to,
    }


# changes --------------------------------------------------------------------------------------------------------------


def add_entries(desk: Desk, connection: Connection, call: Call, request: Any) -> list[ItemResult]:
    items = [NewEntry(**vars(item)) for item in _batch(desk, request.items)]
    results = desk.lists.add(connection, call, _own(call, request.organisation), items)
    learned = sources.LEARNED.format(day=desk.lists.clock.today())

    def noted(result: ItemResult, enp: str) -> ItemResult:
        """Says where the person comes from, or why it may be unknown."""
        if enp in call.learned:
            return replace(result, message=f"{result.message}; {learned}")
        if result.code == "person.unknown" and enp in call.unanswered:
            return replace(result, message=f"{result.message}; {sources.UNANSWERED}")
        return result

    return [noted(result, item.enp) for result, item in zip(results, items, strict=True)]


def look_for_unknown(desk: Desk, call: Call, request: Any) -> None:
    """Before AddEntries: people whom nobody knows here are looked for outside."""
    if desk.source is None or call.caller.kind is ClientKind.INSURER:
        return
    heard = sources.learn_unknown(desk.store, desk.source, [item.enp for item in _batch(desk, request.items)])
    if heard is not None:
        call.learned, call.unanswered = heard.found, heard.unanswered
        call.details["upstream"] = f"found {len(heard.found)}, unanswered {len(heard.unanswered)}"


def update_plans(desk: Desk, connection: Connection, call: Call, request: Any) -> list[ItemResult]:
    items = [PlanChange(**vars(item)) for item in _batch(desk, request.items)]
    return desk.lists.update_plans(connection, call, _own(call, request.organisation), items)


def conduct_observations(desk: Desk, connection: Connection, call: Call, request: Any) -> list[ItemResult]:
    items = [Conduct(**vars(item)) for item in _batch(desk, request.items)]
    return desk.lists.conduct(connection, call, _own(call, request.organisation), items)


def exclude_entries(desk: Desk, connection: Connection, call: Call, request: Any) -> list[ItemResult]:
    items = [Exclusion(**vars(item)) for item in _batch(desk, request.items)]
    return desk.lists.exclude(connection, call, _own(call, request.organisation), items)


def change_diagnosis(desk: Desk, connection: Connection, call: Call, request: Any) -> dict[str, Any]:
    ownership.named(call, request.organisation)
    view = desk.lists.change_diagnosis(
        connection, call, request.entry_id, request.diagnosis, request.from_, request.reason
    )
    return {"entry": _of(view, request.organisation).line}


def annul_entry(desk: Desk, connection: Connection, call: Call, request: Any) -> dict[str, Any]:
    ownership.named(call, request.organisation)
    view = desk.lists.annul_entry(connection, call, request.entry_id, request.reason)
    return {"entry": _of(view, request.organisation).line}


def annul_visit(desk: Desk, connection: Connection, call: Call, request: Any) -> dict[str, Any]:
    ownership.named(call, request.organisation)
    view = desk.lists.annul_visit(connection, call, request.visit_id, request.reason)
    return {"entry": _of(view, request.organisation).line}


def reopen_entry(desk: Desk, connection: Connection, call: Call, request: Any) -> dict[str, Any]:
    ownership.named(call, request.organisation)
    view = desk.lists.reopen(connection, call, request.entry_id, request.reason)
    return {"entry": _of(view, request.organisation).line}


# reading --------------------------------------------------------------------------------------------------------------


def get_entry(desk: Desk, connection: Connection, call: Call, request: Any) -> dict[str, Any]:
    ownership.named(call, request.organisation)
    return _history(_of(desk.lists.entry(connection, call, request.entry_id), request.organisation))


def get_person_entries(desk: Desk, connection: Connection, call: Call, request: Any) -> dict[str, Any]:
    ownership.named(call, request.organisation)
    views = desk.lists.person_entries(connection, call, request.enp)
    if request.organisation is not None:
        views = [view for view in views if _organisation(view) == request.organisation]
    call.records = len(views)
    return {"entries": [_history(view) for view in views]}


def _listed(call: Call, organisation: str | None) -> str | None:
    """Whose list is meant: one organisation's for a clinic; insurer and fund may leave it out for all lists."""
    if call.caller.kind is ClientKind.MO:
        return _own(call, organisation)
    ownership.named(call, organisation)
    return organisation


def _choice(request: Any) -> Choice:
    return Choice(
        year=request.year,
        month=request.month,
        quarter=request.quarter,
        list_type=request.list_type,
        edition=request.edition or "CURRENT",
        diagnosis_group=request.diagnosis_group,
        enp=request.enp,
        doctor_snils=request.doctor_snils,
        planned_month=request.planned_month,
    )


def get_list(desk: Desk, call: Call, request: Any) -> Page:
    return desk.lists.page(
        desk.store,
        call,
        _listed(call, request.organisation),
        _choice(request),
        1 if request.start_record is None else request.start_record,
        RECORDS_DEFAULT if request.record_count is None else request.record_count,
        _snapshot(request),
        RENDER,
    )


def _snapshot(request: Any) -> UUID | None:
    return None if request.snapshot_id is None else UUID(request.snapshot_id)


def get_changes(desk: Desk, call: Call, request: Any) -> ChangePage:
    return desk.lists.changes(
        desk.store,
        call,
        request.organisation,
        request.token,
        RECORDS_DEFAULT if request.count is None else request.count,
        RENDER_CHANGES,
    )


# whole lists ----------------------------------------------------------------------------------------------------------


def export_list(desk: Desk, connection: Connection, call: Call, request: Any) -> dict[str, Any]:
    operation_id = desk.lists.request_export(
        connection,
        call,
        _listed(call, request.organisation),
        _choice(request),
        start_record=1 if request.start_record is None else request.start_record,
        records_per_file=RECORDS_DEFAULT if request.records_per_file is None else request.records_per_file,
        delivery=request.delivery or "DOWNLOAD",
        format=request.format or "XML",
    )
    return {"operation_id": operation_id}


def upload_list(desk: Desk, connection: Connection, call: Call, request: Any) -> dict[str, Any]:
    call.caller.may_change()
    if (request.file_id is None) == (request.content is None) or (request.file_id is None) != bool(request.file_name):
        raise GatewayError("file.content")
    if request.file_id is None:
        organisation = _own(call, request.organisation)
        file_id = transfer.put_part(desk, connection, call, request, 0, True)
    else:
        found = ownership.file_of(connection, call, request.file_id)
        file_id, owner = found.file_id, found.owner.organisation
        organisation = _own(call, request.organisation or owner)
        if owner not in (None, organisation):
            raise GatewayError("object.not-found")
        if request.sha256 is not None and request.sha256.lower() != found.sha256:
            raise GatewayError("file.sha256")
        transfer.note(call, found)
    return {"operation_id": desk.lists.request_upload(connection, call, organisation, file_id, request.mode or "MERGE")}


# indicators -----------------------------------------------------------------------------------------------------------


def _wish(call: Call, request: Any) -> Wish:
    return Wish(request.indicator, request.year, request.month, _listed(call, request.organisation))


def get_indicator(desk: Desk, connection: Connection, call: Call, request: Any) -> dict[str, Any]:
    found = desk.lists.indicator(connection, call, _wish(call, request))
    settings = [{"name": name, "value": value} for name, value in found.settings]
    return {field.attribute: getattr(found, field.attribute, None) for field in t.INDICATOR_ANSWER} | {
        "settings": settings
    }


def get_indicator_persons(desk: Desk, connection: Connection, call: Call, request: Any) -> dict[str, Any]:
    start, count = paging.asked(desk, request)
    snapshot = _snapshot(request)
    page = desk.lists.indicator_persons(connection, call, _wish(call, request), request.part, start, count, snapshot)
    named = {"snapshot_id": str(page.snapshot_id), "as_of": page.as_of}
    return {**named, **paging.answered(call, page.total, start, "persons", page.persons)}


# the table ------------------------------------------------------------------------------------------------------------

_RESULTS = some("results", ITEM_RESULT, "Итоги по элементам, по порядку", least=1)
_SNAPSHOT = maybe(
    "snapshotId",
    UUID_TYPE,
    "Снимок из первого ответа: следующие страницы того же списка",
    "list.snapshot-expired list.choice-differs",
)
_ENTRY = needed("entry", t.ENTRY, "Запись после изменения")
_STARTED = needed("operationId", STRING, "Порученная работа: её ход, протокол и файлы — GetOperation службы Exchange")


def _items(model: Model) -> tuple[Field, ...]:
    items = some("items", model, "Элементы вызова, от 1 до 1000", least=1, most=t.ITEMS_MOST)
    return (REQUEST_ID, ORGANISATION, items)


SERVICE = Service.of(
    "DispensaryObservation",
    "/soap/observation/v1",
    "urn:dn-gateway:observation:v1",
    "Списки лиц, состоящих под диспансерным наблюдением (ДН), версия 1",
    (
        Operation(
            "FindPerson",
            "own",
            find_person,
            (ACTING_ORGANISATION, *t.CRITERIA),
            (
                some("persons", t.PERSON, "Найденные лица; несколько или ни одного — тоже ответ"),
                maybe(
                    "extra",
                    EXTRA,
                    "Дополнительно: upstream — внешний источник не ответил, лицо может быть известно ему",
                ),
            ),
            "Поиск застрахованного лица: по ЕНП, или СНИЛС и дате рождения, или фамилии, имени и дате рождения",
        ),
        Operation(
            "AddEntries",
            "change",
            add_entries,
            _items(t.NEW_ENTRY),
            (_RESULTS,),
            "Добавление записей в список; id итога — entryId",
            before=look_for_unknown,
        ),
        Operation(
            "UpdatePlans", "change", update_plans, _items(t.PLAN_CHANGE), (_RESULTS,), "Изменение планов осмотров"
        ),
        Operation(
            "ConductObservations",
            "change",
            conduct_observations,
            _items(t.CONDUCT),
            (_RESULTS,),
            "Сведения о проведении диспансерного наблюдения и неявках; id итога — visitId",
        ),
        Operation(
            "ExcludeEntries",
            "change",
            exclude_entries,
            _items(t.EXCLUSION),
            (_RESULTS,),
            "Исключение из списка без осмотра",
        ),
        Operation(
            "ChangeDiagnosis",
            "change",
            change_diagnosis,
            (
                REQUEST_ID,
                ACTING_ORGANISATION,
                needed(
                    "entryId",
                    CODE,
                    "Идентификатор записи",
                    "object.not-found observation.not-open observation.annulled",
                ),
                needed(
                    "diagnosis", CODE, "Новый диагноз по МКБ-10", " ".join((*t.DIAGNOSIS.refusals, "diagnosis.same"))
                ),
                needed(
                    "from",
                    DATE,
                    "С какого дня",
                    "observation.date-future observation.date-before-diagnosis observation.overlap",
                ),
                t.REASON,
            ),
            (_ENTRY,),
            "Изменение диагноза записи с дня; прежний остаётся в истории",
        ),
        Operation(
            "AnnulEntry",
            "change",
            annul_entry,
            (
                REQUEST_ID,
                ACTING_ORGANISATION,
                needed("entryId", CODE, "Идентификатор записи", "object.not-found observation.annulled"),
                t.REASON,
            ),
            (_ENTRY,),
            "Аннулирование ошибочной записи; след остаётся",
        ),
        Operation(
            "AnnulVisit",
            "change",
            annul_visit,
            (
                REQUEST_ID,
                ACTING_ORGANISATION,
                needed(
                    "visitId",
                    CODE,
                    "Идентификатор проведения",
                    "object.not-found visit.annulled visit.ended-entry observation.annulled",
                ),
                t.REASON,
            ),
            (_ENTRY,),
            "Аннулирование ошибочного проведения; след остаётся",
        ),
        Operation(
            "ReopenEntry",
            "change",
            reopen_entry,
            (
                REQUEST_ID,
                ACTING_ORGANISATION,
                needed(
                    "entryId",
                    CODE,
                    "Идентификатор записи",
                    "object.not-found observation.open observation.annulled reopen.impossible"
                    " observation.elsewhere observation.exists observation.overlap person.dead person.not-insured",
                ),
                t.REASON,
            ),
            (_ENTRY,),
            "Возобновление ошибочно завершённого наблюдения; след остаётся",
        ),
        Operation(
            "GetEntry", "read", get_entry, (ACTING_ORGANISATION, t.ENTRY_ID), t.HISTORY, "Запись с историей наблюдения"
        ),
        Operation(
            "GetPersonEntries",
            "read",
            get_person_entries,
            (ACTING_ORGANISATION, needed("enp", CODE, "ЕНП", "person.enp-format person.enp-check")),
            (some("entries", t.ENTRY_HISTORY, "Записи клиента по лицу; ни одной — тоже ответ"),),
            "Записи лица с историей наблюдения",
        ),
        Operation(
            "GetList",
            "own",
            get_list,
            (
                ORGANISATION,
                *t.CHOICE,
                START_RECORD,
                record_count(RECORDS_DEFAULT),
                _SNAPSHOT,
            ),
            (
                needed("snapshotId", STRING, "Снимок списка: состав, порядок и значения не меняются"),
                needed("edition", STRING, "Редакция: CURRENT или CLOSED"),
                needed("asOf", TIME, "На какое время собран список"),
                maybe("closedAt", TIME, "Когда закрыт период"),
                needed("changeToken", STRING, "Метка ленты изменений, соответствующая снимку"),
                needed("totalRecords", LONG, "Всего записей в списке"),
                needed("startRecord", LONG, "Номер первой записи ответа"),
                needed("returnedRecords", INT, "Записей в ответе"),
                some("entries", t.ENTRY, "Записи по порядку"),
            ),
            "Страница списка за месяц или квартал",
            splice="entries",
        ),
        Operation(
            "GetChanges",
            "own",
            get_changes,
            (
                maybe(
                    "organisation",
                    CODE,
                    "Код МО; обязателен без token, если клиенту доступно несколько организаций",
                    "organisation.required object.not-found",
                ),
                maybe(
                    "token",
                    TOKEN,
                    "Метка из nextToken или changeToken; без неё ответ — только метка от этого времени",
                    "changes.token changes.token-scope changes.token-expired",
                ),
                maybe("count", INT, "Сколько изменений, по умолчанию 1000; предел сообщает GetLimits", "list.page"),
            ),
            (
                needed("nextToken", STRING, "Метка для следующего вызова: сохраните вместе с применёнными изменениями"),
                needed("more", BOOLEAN, "Есть и другие изменения: вызывайте дальше без ожидания"),
                some("changes", t.CHANGE, "Изменения: в списке организации — по порядку номеров"),
            ),
            "Лента изменений: что изменилось в списке после метки",
            splice="changes",
        ),
        Operation(
            "ExportList",
            "change",
            export_list,
            (REQUEST_ID, ORGANISATION, *t.EXPORT),
            (_STARTED,),
            "Выгрузка списка в файлы по N записей",
        ),
        Operation(
            "UploadList",
            "change",
            upload_list,
            (REQUEST_ID, ORGANISATION, *t.UPLOAD),
            (_STARTED,),
            "Загрузка списка организации из файла",
        ),
        Operation(
            "GetIndicator",
            "read",
            get_indicator,
            (ORGANISATION, *t.INDICATOR),
            t.INDICATOR_ANSWER,
            "Показатель диспансерного наблюдения нарастающим итогом с начала года и как он посчитан",
        ),
        Operation(
            "GetIndicatorPersons",
            "read",
            get_indicator_persons,
            (ORGANISATION, *t.INDICATOR, t.PART, START_RECORD, record_count(RECORDS_DEFAULT), _SNAPSHOT),
            (
                needed("snapshotId", STRING, "Снимок: лица и порядок не меняются от страницы к странице"),
                needed("asOf", TIME, "На какое время посчитано"),
                *page_of(some("persons", t.INDICATOR_PERSON, "Лица по имени")),
            ),
            "Лица показателя: числитель, знаменатель или разница между ними",
        ),
        Operation(
            "GetDoctors",
            "read",
            get_doctors,
            (ORGANISATION, maybe("onDate", DATE, "Только работающие в этот день; по умолчанию все периоды")),
            (some("doctors", t.DOCTOR, "Врачи по имени"),),
            "Справочник врачей организации",
        ),
        Operation(
            "SaveDoctors",
            "change",
            save_doctors,
            _items(t.NEW_DOCTOR),
            (_RESULTS,),
            "Добавление и изменение периодов работы врачей; период с тем же днём начала заменяется",
        ),
    ),
)
