"""Sample answers: every value that travels badly (Cyrillic, markup, zones, absent and repeated fields) at least once."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

from gateway.access.model import ItemResult
from gateway.errors import GatewayError, field_error
from gateway.lists.model import LINE_COLUMNS
from gateway.services.codec import binary
from gateway.services.contract import fault
from gateway.services.exchange_v1 import SERVICE as EXCHANGE
from gateway.services.observation_v1 import RENDER, RENDER_CHANGES
from gateway.services.observation_v1 import SERVICE as OBSERVATION

MOSCOW = timezone(timedelta(hours=3))

_LINE: dict[str, str | None] = {
    "entry_id": "17",
    "external_id": "МИС №1 <&> «ё»",
    "version": "3",
    "enp": "7755530821000030",
    "snils": "11223344595",
    "last_name": "Ёлкина-О'Нил",
    "first_name": "Анна",
    "birth_date": "1961-02-03",
    "sex": "2",
    "insurer": "77001",
    "diagnosis": "I20.8",
    "diagnosis_group": "БСК",
    "organisation": "770001",
    "by_attachment": "true",
    "observed_since": "2024-05-06",
    "source": "MO",
    "planned_months": "2026-11 2027-02",
    "status": "OBSERVED",
    "changed_at": "2026-11-01T12:30:00.123+03:00",
    "outside": "CHILD",
}
LINE = tuple(_LINE.get(name) for name in LINE_COLUMNS)
BARE_LINE = tuple(
    {**_LINE, "external_id": None, "snils": None, "insurer": None, "planned_months": "", "outside": None}.get(name)
    for name in LINE_COLUMNS
)


def page(*lines: tuple[str | None, ...]) -> SimpleNamespace:
    return SimpleNamespace(
        snapshot_id="0b9e3f5e-3c0a-4f6e-9d3c-6f0a4a1d9f11",
        edition="CURRENT",
        as_of=datetime(2026, 11, 1, 12, 30, tzinfo=MOSCOW),
        closed_at=None,
        change_token="e1:5",
        total_records=len(lines),
        start_record=1,
        returned_records=len(lines),
        body=RENDER.join(1, RENDER(lines)),
    )


_VISIT = {
    "visit_id": "5",
    "organisation": "770001",
    "conducted_on": date(2026, 10, 1),
    "place": "1",
    "result": "1",
    "attempt": False,
    "doctor_snils": "11223344595",
    "doctor_type": "1",
    "recorded_at": datetime(2026, 10, 1, 9, 0, tzinfo=UTC),
}
_MOVE = {"organisation": "770001", "diagnosis": "I20.8", "since": date(2024, 5, 6), "cause_in": "ADDED"}
_EVENT = {
    "version": 1,
    "recorded_at": datetime(2024, 5, 6, 9, 0, tzinfo=MOSCOW),
    "effective_on": date(2024, 5, 6),
    "kind": "ADDED",
    "cause": "REQUEST",
    "source": "MO",
    "actor": "clinic-1",
}
REGISTER = ("HM400001T40_2610001", "А-1 & 2", "2026-10-20")
HISTORY = {"entry": (*LINE, *REGISTER), "visits": [_VISIT], "moves": [_MOVE], "events": [_EVENT]}
PERSON = {
    "enp": "7755530821000030",
    "last_name": "Ёлкина",
    "first_name": "Анна",
    "birth_date": "1961-02-03",
    "sex": "2",
    "insured_in_region": "true",
    "source": "LOCAL",
    "as_of": "2026-11-01T00:00:00+03:00",
    "observed": [{"entry_id": "17", "diagnosis": "I20.8"}],
}
_DOCTOR = {
    "snils": "11223344595",
    "last_name": "Иванов",
    "first_name": "Иван",
    "middle_name": "Иванович",
    "doctor_type": "1",
    "from_": date(2020, 1, 1),
}
RESULTS = [
    ItemResult(1, "ok", "Принято", "17"),
    ItemResult(2, "person.unknown", "Застрахованное лицо не найдено"),
]

ANSWERS: dict[str, Any] = {
    "FindPerson": {"persons": [PERSON]},
    **dict.fromkeys(("AddEntries", "UpdatePlans", "ConductObservations", "ExcludeEntries", "SaveDoctors"), RESULTS),
    **{name: {"entry": LINE} for name in ("ChangeDiagnosis", "AnnulEntry", "AnnulVisit", "ReopenEntry")},
    "GetEntry": HISTORY,
    "GetPersonEntries": {"entries": [HISTORY]},
    "GetList": page(LINE, BARE_LINE),
    "GetDoctors": {"doctors": [_DOCTOR]},
    "Ping": {"version": "1.0", "time": datetime(2026, 11, 1, 12, 30, tzinfo=MOSCOW), "database": "ok"},
    "GetAllowedOperations": {
        "login": "clinic-1",
        "kind": "MO",
        "organisations": ["770001", "770002"],
        "operations": [{"service": "Exchange", "operation": "Ping", "changes": False}],
    },
    "GetLimits": {
        "body_bytes": 8388608,
        "items_per_call": 1000,
        "records_per_page": 10000,
        "requests_per_minute": 6000,
        "file_part_bytes": 4194304,
        "extra": {"item": [{"name": "xmlDepth", "value": "32"}]},
    },
    "GetDictionary": {
        "code": "PLACES",
        "on_date": date(2026, 11, 1),
        "total_records": 1,
        "start_record": 1,
        "returned_records": 1,
        "items": [{"code": "1", "name": "в медицинской организации"}],
    },
    "GetMyCalls": {"total_records": 0, "start_record": 1, "returned_records": 0, "calls": []},
}

_OPERATION = {
    "operation_id": "3d1f6a52-8f1b-4d8e-9c57-0f4c5b6f2a11",
    "kind": "EXPORT_LIST",
    "title": "Выгрузка списка",
    "organisation": "770001",
    "state": "FAILED",
    "stage": "запись файлов",
    "done": 2000,
    "total": 25000,
    "created_at": datetime(2026, 11, 1, 12, 30, tzinfo=MOSCOW),
    "started_at": datetime(2026, 11, 1, 12, 30, 1, tzinfo=MOSCOW),
    "ended_at": datetime(2026, 11, 1, 12, 31, tzinfo=UTC),
    "aborting": False,
    "code": "server.disk-full",
    "message": "Нет места на диске",
}
_FILE = {
    "file_id": "8a4f0c8e-55c1-4f6b-b5a1-7d0e6f9b3c22",
    "file_name": "список «ё» <1> & 2.xml",
    "kind": "EXPORT",
    "organisation": "770001",
    "operation_id": "3d1f6a52-8f1b-4d8e-9c57-0f4c5b6f2a11",
    "mailbox": True,
    "size": 5_000_000_000,
    "sha256": "00" * 32,
    "ready_at": datetime(2026, 11, 1, 12, 30, 5, tzinfo=MOSCOW),
    "expires_at": datetime(2027, 1, 30, 12, 30, 5, tzinfo=MOSCOW),
}
CONTENT = bytes(range(256)) * 3
_LINE_OF_PROTOCOL = {"number": 1, "at": _OPERATION["started_at"], "level": "INFO", "text": "Записей: 25 000"}
ANSWERS |= {
    **{name: {"operation_id": _OPERATION["operation_id"]} for name in ("ExportList", "UploadList")},
    "ListOperations": {"total_records": 1, "start_record": 1, "returned_records": 1, "operations": [_OPERATION]},
    "GetOperation": {
        "operation": _OPERATION,
        "lines": [_LINE_OF_PROTOCOL],
        "more_lines": False,
        "files": [_FILE],
        "more_files": False,
    },
    "AbortOperation": {"operation": {**_OPERATION, "state": "RUNNING", "aborting": True}},
    "PutFilePart": {"file_id": _FILE["file_id"], "received_bytes": 5_000_000_000},
    "GetFile": SimpleNamespace(
        file_id=_FILE["file_id"],
        file_name=_FILE["file_name"],
        size=5_000_000_000,
        sha256="00" * 32,
        offset=4_999_999_232,
        more=False,
        body=binary("content", CONTENT),
    ),
    "ListFiles": {"total_records": 1, "start_record": 1, "returned_records": 1, "files": [_FILE]},
    "GetChanges": SimpleNamespace(
        next_token="1.1-0a1b2c3d.770001.12",
        more=False,
        body=RENDER_CHANGES(
            [
                ("11", "2026-11-01T12:30:00.123+03:00", "PLANNED", "PLAN", "MO"),
                ("12", "2026-11-01T12:31:00.000+03:00", "MOVED_OUT", "MOVE", "ERZL"),
            ],
            [LINE, BARE_LINE],
        ),
    ),
    "ConfirmFile": {"file": {**_FILE, "confirmed_at": datetime(2026, 11, 2, tzinfo=UTC)}},
}

ANSWERS |= {
    "GetIndicator": {
        "indicator": "BSK",
        "name": "Доля лиц с БСК",
        "organisation": "770001",
        "period_start": date(2026, 1, 1),
        "period_end": date(2026, 10, 31),
        "numerator": 4,
        "denominator": 7,
        "share": Decimal("57.14"),
        "month_end": 6,
        "target": Decimal("64.20"),
        "as_of": datetime(2026, 11, 1, 12, 30, tzinfo=MOSCOW),
        "numerator_rule": "Лица знаменателя",
        "denominator_rule": "Уникальные лица",
        "month_end_rule": "Как в списке",
        "settings": [{"name": "match", "value": "GROUP"}],
    },
    "GetIndicatorPersons": {
        "snapshot_id": "0b9e3f5e-3c0a-4f6e-9d3c-6f0a4a1d9f11",
        "as_of": datetime(2026, 11, 1, 12, 30, tzinfo=MOSCOW),
        "total_records": 1,
        "start_record": 1,
        "returned_records": 1,
        "persons": [
            {
                "enp": "7755530821000030",
                "last_name": "Ёлкина",
                "first_name": "Анна",
                "birth_date": date(1961, 2, 3),
                "diagnosis": "I20.8",
                "organisation": "770001",
                "entry_id": "17",
                "observed_since": date(2024, 5, 6),
                "last_care_on": date(2026, 10, 1),
            }
        ],
    },
}

ENVELOPES: dict[str, bytes] = {
    operation.name: operation.encode(ANSWERS[operation.name])
    for service in (OBSERVATION, EXCHANGE)
    for operation in service.operations.values()
}
REFUSAL = GatewayError(
    "request.schema",
    fields=[field_error("items[2]/enp", "field.length"), field_error("items[3]/place", "field.missing")],
)
FAULTS: dict[str, bytes] = {service.name: fault(service, REFUSAL, "trace-7") for service in (OBSERVATION, EXCHANGE)}
