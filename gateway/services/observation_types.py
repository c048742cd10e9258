"""Types of `DispensaryObservation` v1 and the requests of its operations, field by field, with their refusals."""

from __future__ import annotations

from dataclasses import replace

from gateway.lists.model import LINE_COLUMNS, REGISTER_COLUMNS
from gateway.services.types import (
    BOOLEAN,
    BYTES,
    CODE,
    DATE,
    DECIMAL,
    EXTRA_FIELD,
    INT,
    ITEM,
    KEY,
    LONG,
    NAME,
    NAME_OF_FILE,
    NOTE,
    SHA256,
    STRING,
    TIME,
    UUID,
    Field,
    Model,
    as_answer,
    maybe,
    needed,
    some,
)

ITEMS_MOST = 1000
MONTHS_MOST = 24

_ENP = "person.enp-format person.enp-check"
_SNILS = "person.snils-format person.snils-check"
_PERSON = "person.unknown person.dead person.not-insured"
_DIAGNOSIS = "diagnosis.format diagnosis.unknown diagnosis.not-terminal diagnosis.outside"
_OBSERVED = "observation.elsewhere observation.exists"
_OWN_ENTRY = "object.not-found"
_OPEN_ENTRY = "object.not-found observation.not-open observation.annulled conflict.duplicate-item"
_PLAN = "plan.format plan.repeated plan.range"

# people ---------------------------------------------------------------------------------------------------------------

OBSERVED = Model(
    "Observed",
    "Запись клиента, по которой лицо состоит под наблюдением",
    (
        needed("entryId", STRING, "Идентификатор записи"),
        needed("diagnosis", STRING, "Диагноз по МКБ-10"),
    ),
)

PERSON = Model(
    "Person",
    "Застрахованное лицо",
    (
        needed("enp", STRING, "ЕНП"),
        maybe("snils", STRING, "СНИЛС, 11 цифр"),
        needed("lastName", STRING, "Фамилия"),
        needed("firstName", STRING, "Имя"),
        maybe("middleName", STRING, "Отчество"),
        needed("birthDate", DATE, "Дата рождения"),
        needed("sex", STRING, "Пол: 1 мужской, 2 женский"),
        maybe("deathDate", DATE, "Дата смерти"),
        maybe("insurer", STRING, "Код СМО"),
        needed("insuredInRegion", BOOLEAN, "Застраховано в регионе"),
        maybe("attachedOrganisation", STRING, "Код МО прикрепления"),
        maybe("attachedSince", DATE, "Дата прикрепления"),
        needed("source", STRING, "Источник сведений: LOCAL региональный сегмент, FERZL"),
        needed("asOf", TIME, "Когда источник подтвердил сведения"),
        some("observed", OBSERVED, "Записи клиента, по которым лицо под наблюдением"),
        EXTRA_FIELD,
    ),
)

DOCTOR_FIELDS: tuple[Field, ...] = (
    needed("snils", CODE, "СНИЛС врача, 11 цифр", f"{_SNILS} conflict.duplicate-item"),
    needed("lastName", NAME, "Фамилия", "person.name"),
    needed("firstName", NAME, "Имя", "person.name"),
    maybe("middleName", NAME, "Отчество", "person.name"),
    maybe("doctorType", CODE, "Тип врача, справочник DOCTOR_TYPES", "doctor.type"),
    maybe("specialty", CODE, "Специальность V021, справочник SPECIALTIES", "doctor.specialty"),
    needed("from", DATE, "Первый день работы в этом качестве", "doctor.dates"),
    maybe("to", DATE, "Последний день; не передаётся, пока врач работает", "doctor.dates"),
)

DOCTOR = Model(
    "Doctor", "Врач организации в одном периоде работы", (*(as_answer(field) for field in DOCTOR_FIELDS), EXTRA_FIELD)
)

# entries --------------------------------------------------------------------------------------------------------------

EXTRA_OF_ENTRY = (
    "Дополнительно: outside = ORDER (вне 168н и 548н) или CHILD (до 18 лет); в GetEntry и GetPersonEntries registerFile,"
    " registerCase, registerDate — файл, IDCASE и дата последнего случая из реестров счетов с признаком наблюдения"
)

ENTRY = Model(
    "Entry",
    "Запись списка диспансерного наблюдения",
    (
        maybe("recordNumber", LONG, "Номер записи в списке, с 1"),
        needed("entryId", STRING, "Идентификатор записи"),
        maybe("externalId", STRING, "Идентификатор записи в системе клиента"),
        needed("version", INT, "Версия записи для expectedVersion"),
        needed("enp", STRING, "ЕНП"),
        maybe("snils", STRING, "СНИЛС, 11 цифр"),
        needed("lastName", STRING, "Фамилия"),
        needed("firstName", STRING, "Имя"),
        maybe("middleName", STRING, "Отчество"),
        needed("birthDate", DATE, "Дата рождения"),
        needed("sex", STRING, "Пол: 1 мужской, 2 женский"),
        maybe("deathDate", DATE, "Дата смерти"),
        maybe("insurer", STRING, "Код СМО"),
        maybe("attachedOrganisation", STRING, "Код МО прикрепления"),
        needed("diagnosis", STRING, "Диагноз по МКБ-10"),
        needed("diagnosisGroup", STRING, "Группа диагнозов, справочник DIAGNOSIS_GROUPS"),
        maybe("diagnosedOn", DATE, "Дата установления диагноза"),
        needed("organisation", STRING, "Код МО, ведущей наблюдение"),
        needed("byAttachment", BOOLEAN, "Лицо прикреплено к этой МО"),
        maybe("doctorSnils", STRING, "СНИЛС врача"),
        maybe("specialty", STRING, "Специальность V021"),
        needed("observedSince", DATE, "Начало наблюдения"),
        needed("source", STRING, "Источник записи: MO, REGISTER, OPERATOR, ERZL"),
        some("plannedMonths", STRING, "Планируемые месяцы осмотров, ГГГГ-ММ", most=MONTHS_MOST),
        maybe("lastVisitOn", DATE, "Дата последнего проведения"),
        maybe("lastVisitResult", STRING, "Результат последнего проведения, справочник RESULTS"),
        maybe("nextVisitBy", DATE, "Срок следующего осмотра по приказам 168н и 548н"),
        needed("status", STRING, "Состояние: OBSERVED под наблюдением, EXCLUDED исключён, ANNULLED аннулирована"),
        maybe("excludedOn", DATE, "Дата исключения"),
        maybe("exclusionReason", STRING, "Причина исключения, справочник EXCLUSION_REASONS"),
        needed("changedAt", TIME, "Когда запись изменена"),
        maybe("extra", EXTRA_FIELD.type, EXTRA_OF_ENTRY),
    ),
    columns=LINE_COLUMNS,
)
ENTRY_TOLD = replace(ENTRY, columns=(*LINE_COLUMNS, *REGISTER_COLUMNS))
"""The same type where one entry is shown with its history."""

CHANGE = Model(
    "Change",
    "Изменение записи списка",
    (
        needed("sequence", LONG, "Номер изменения в списке организации: по порядку, без пропусков"),
        needed("changedAt", TIME, "Когда внесено"),
        needed(
            "kind",
            STRING,
            "Вид: TAKEN взят, PLANNED план, VISITED проведение, ATTEMPTED неявка, EXCLUDED исключён, REOPENED возобновлён,"
            " DIAGNOSIS_CHANGED диагноз, VISIT_ANNULLED проведение аннулировано, ANNULLED запись аннулирована,"
            " PERSON_CHANGED сведения о лице, MOVED_IN перешёл из другой МО, MOVED_OUT перешёл в другую МО, CORRECTED исправлены"
            " сведения записи, REVIEW нужна проверка: отозван случай реестра, который создал или окончил запись",
        ),
        needed("cause", STRING, "Причина изменения"),
        needed("source", STRING, "Источник: MO, REGISTER, OPERATOR, ERZL"),
        needed("entry", ENTRY, "Запись после изменения; при MOVED_OUT — какой была в покинутом списке"),
    ),
)

VISIT = Model(
    "Visit",
    "Проведение диспансерного наблюдения или неявка",
    (
        needed("visitId", STRING, "Идентификатор проведения"),
        needed("organisation", STRING, "Код МО"),
        needed("conductedOn", DATE, "Дата проведения"),
        needed("place", STRING, "Место проведения, справочник PLACES"),
        needed("result", STRING, "Результат, справочник RESULTS"),
        needed("attempt", BOOLEAN, "Неявка: попытка, а не осмотр"),
        needed("doctorSnils", STRING, "СНИЛС врача"),
        needed("doctorType", STRING, "Тип врача, справочник DOCTOR_TYPES"),
        needed("recordedAt", TIME, "Когда внесено"),
        maybe("annulledAt", TIME, "Когда аннулировано"),
        maybe("annulReason", STRING, "Причина аннулирования"),
    ),
)

MOVE = Model(
    "Move",
    "Отрезок наблюдения в одной организации с одним диагнозом",
    (
        needed("organisation", STRING, "Код МО"),
        needed("diagnosis", STRING, "Диагноз по МКБ-10"),
        needed("since", DATE, "Первый день отрезка"),
        maybe("until", DATE, "Первый день после отрезка; нет, пока он длится"),
        needed("causeIn", STRING, "Почему начат"),
        maybe("causeOut", STRING, "Почему окончен"),
    ),
)

EVENT = Model(
    "EntryEvent",
    "Изменение записи",
    (
        needed("version", INT, "Версия записи после изменения"),
        needed("recordedAt", TIME, "Когда внесено"),
        needed("effectiveOn", DATE, "С какого дня действует"),
        needed("kind", STRING, "Вид изменения"),
        needed("cause", STRING, "Причина изменения"),
        needed("source", STRING, "Источник: MO, REGISTER, OPERATOR, ERZL"),
        maybe("actor", STRING, "Кто внёс: имя клиента"),
    ),
)

HISTORY: tuple[Field, ...] = (
    needed("entry", ENTRY_TOLD, "Запись"),
    some("visits", VISIT, "Проведения и неявки по дате"),
    some("moves", MOVE, "Отрезки наблюдения: организации и диагнозы"),
    some("events", EVENT, "Изменения: кто, когда, из какого источника"),
)

ENTRY_HISTORY = Model("EntryHistory", "Запись с историей", HISTORY)

# requests -------------------------------------------------------------------------------------------------------------

ENTRY_ID = needed("entryId", CODE, "Идентификатор записи", _OWN_ENTRY)
REASON = needed("reason", NOTE, "Причина исправления", "reason.empty")
DIAGNOSIS = needed("diagnosis", CODE, "Диагноз по МКБ-10", f"{_DIAGNOSIS} {_OBSERVED}")
_ITEM_ENTRY = needed("entryId", CODE, "Идентификатор записи", _OPEN_ENTRY)
_EXPECTED = maybe("expectedVersion", INT, "Версия, которую читал клиент", "conflict.version")
_DOCTOR = maybe("doctorSnils", CODE, "СНИЛС врача из справочника организации", f"{_SNILS} doctor.unknown")
_SPECIALTY = maybe("specialty", CODE, "Специальность V021; по умолчанию врача", "doctor.specialty")


def _months(doc: str, refusals: str) -> Field:
    return some("plannedMonths", CODE, doc, most=MONTHS_MOST, refusals=refusals)


NEW_ENTRY = Model(
    "NewEntry",
    "Добавляемая запись",
    (
        maybe("externalId", KEY, "Идентификатор записи в системе клиента, свой у каждой", "conflict.external-id"),
        needed("enp", CODE, "ЕНП", f"{_ENP} {_PERSON}"),
        DIAGNOSIS,
        maybe("diagnosedOn", DATE, "Дата установления диагноза", "diagnosis.date-future diagnosis.date-before-birth"),
        _months("Планируемые месяцы, ГГГГ-ММ: от 1 до 24", f"plan.empty {_PLAN}"),
        maybe(
            "observedSince",
            DATE,
            "Начало наблюдения; по умолчанию сегодня",
            "observation.date-future observation.date-before-diagnosis observation.overlap",
        ),
        _DOCTOR,
        _SPECIALTY,
    ),
)

PLAN_CHANGE = Model(
    "PlanChange",
    "Новый план записи, заменяет прежний целиком",
    (_ITEM_ENTRY, _EXPECTED, _months("Планируемые месяцы, ГГГГ-ММ: до 24", _PLAN), _DOCTOR, _SPECIALTY),
)

CONDUCT = Model(
    "Conduct",
    "Проведение диспансерного наблюдения или неявка",
    (
        _ITEM_ENTRY,
        _EXPECTED,
        needed(
            "conductedOn",
            DATE,
            "Дата проведения",
            "visit.date-future visit.date-before visit.after-death visit.repeated",
        ),
        needed("place", CODE, "Место проведения, справочник PLACES", "visit.place visit.no-show"),
        needed("result", CODE, "Результат, справочник RESULTS", "visit.result visit.no-show visit.removal"),
        needed("doctorSnils", CODE, "СНИЛС врача", f"{_SNILS} doctor.unknown doctor.incomplete"),
        needed("doctorType", CODE, "Тип врача, справочник DOCTOR_TYPES", "doctor.type doctor.type-differs"),
        maybe(
            "excludedOn",
            DATE,
            "Дата исключения: первый день не под наблюдением",
            "exclusion.pair exclusion.date-future exclusion.date-before",
        ),
        maybe(
            "exclusionReason",
            CODE,
            "Причина исключения, справочник EXCLUSION_REASONS",
            "exclusion.pair exclusion.reason",
        ),
    ),
)

EXCLUSION = Model(
    "Exclusion",
    "Исключение без осмотра: смерть, выезд, отказ и другие причины",
    (
        _ITEM_ENTRY,
        _EXPECTED,
        needed(
            "excludedOn",
            DATE,
            "Дата исключения: первый день не под наблюдением",
            "exclusion.date-future exclusion.date-before",
        ),
        needed("exclusionReason", CODE, "Причина исключения, справочник EXCLUSION_REASONS", "exclusion.reason"),
    ),
)

NEW_DOCTOR = Model("DoctorItem", "Период работы врача", DOCTOR_FIELDS)

CRITERIA: tuple[Field, ...] = (
    maybe("enp", CODE, "ЕНП", f"search.criteria {_ENP}"),
    maybe("snils", CODE, "СНИЛС, вместе с датой рождения", f"search.criteria {_SNILS}"),
    maybe("lastName", NAME, "Фамилия, вместе с именем и датой рождения", "search.criteria"),
    maybe("firstName", NAME, "Имя", "search.criteria"),
    maybe("middleName", NAME, "Отчество, уточняет поиск по имени", "search.criteria"),
    maybe("birthDate", DATE, "Дата рождения", "search.criteria"),
    maybe("limit", INT, "Сколько лиц вернуть: от 1 до 100, по умолчанию 20", "field.range"),
)

CHOICE: tuple[Field, ...] = (
    needed("year", INT, "Год", "list.period"),
    maybe("month", INT, "Месяц, 1..12; месяц либо квартал", "list.period"),
    maybe("quarter", INT, "Квартал, 1..4", "list.period"),
    needed("listType", CODE, "Тип списка, справочник LIST_TYPES", "list.type"),
    maybe(
        "edition",
        CODE,
        "Редакция: CURRENT текущая (по умолчанию), CLOSED закрытого периода",
        "list.edition list.not-closed",
    ),
    maybe("diagnosisGroup", CODE, "Только группа диагнозов, справочник DIAGNOSIS_GROUPS", "list.group"),
    maybe("enp", CODE, "Только лицо с этим ЕНП", _ENP),
    maybe("doctorSnils", CODE, "Только записи врача", _SNILS),
    maybe("plannedMonth", CODE, "Только с планом на месяц ГГГГ-ММ", "plan.format"),
)

EXPORT: tuple[Field, ...] = (
    *CHOICE,
    maybe("startRecord", LONG, "Номер первой записи, с 1; по умолчанию 1", "export.start"),
    maybe("recordsPerFile", INT, "Записей в файле, по умолчанию 1000", "export.count"),
    maybe(
        "delivery",
        CODE,
        "Как получить файлы: DOWNLOAD — по операции (по умолчанию), MAILBOX — в абонентский пункт",
        "export.delivery",
    ),
    maybe("format", CODE, "Формат: XML (по умолчанию), CSV, XLSX, DBF", "export.format"),
)

UPLOAD: tuple[Field, ...] = (
    maybe(
        "fileId",
        UUID,
        "Принятый файл (PutFilePart); либо он, либо fileName и content",
        "file.content object.not-found file.incomplete",
    ),
    maybe("fileName", NAME_OF_FILE, "Имя небольшого файла, который передан сразу", "file.content file.name"),
    maybe("content", BYTES, "Содержимое небольшого файла, не больше одной части", "file.content file.part-size"),
    maybe("sha256", SHA256, "SHA-256 файла", "file.sha256"),
    maybe(
        "mode",
        CODE,
        "Способ: MERGE — добавить и изменить (по умолчанию); отсутствие в файле никого не исключает",
        "upload.mode",
    ),
)

# indicators -----------------------------------------------------------------------------------------------------------

INDICATOR: tuple[Field, ...] = (
    needed("indicator", CODE, "Код показателя, справочник INDICATORS", "indicator.unknown indicator.group"),
    needed("year", INT, "Год", "indicator.period"),
    needed("month", INT, "Месяц, 1..12: показатель считается с 1 января по его конец", "indicator.period"),
)

INDICATOR_ANSWER: tuple[Field, ...] = (
    needed("indicator", STRING, "Код показателя"),
    needed("name", STRING, "Наименование показателя"),
    maybe("organisation", STRING, "Код МО; нет — по всем спискам, доступным клиенту"),
    needed("periodStart", DATE, "Начало периода: 1 января"),
    needed("periodEnd", DATE, "Конец периода: последний день месяца"),
    needed("numerator", LONG, "Числитель: лиц, получивших помощь"),
    needed("denominator", LONG, "Знаменатель: уникальных лиц, состоявших под ДН в течение периода"),
    maybe("share", DECIMAL, "Доля, процентов с двумя знаками; нет, если знаменатель равен нулю"),
    needed("monthEnd", LONG, "Уникальных лиц с этими диагнозами в списке на конец месяца: не больше знаменателя"),
    maybe("target", DECIMAL, "Целевое значение на конец месяца, процентов: организации, а если его нет — региона"),
    needed("asOf", TIME, "На какое время посчитано"),
    needed("numeratorRule", STRING, "Как посчитан числитель"),
    needed("denominatorRule", STRING, "Как посчитан знаменатель"),
    needed("monthEndRule", STRING, "Как посчитан список на конец месяца и почему он меньше знаменателя"),
    some(
        "settings",
        ITEM,
        "Правила показателя, действующие на конец периода: ranges диагнозы, care помощь, match её диагноз,"
        " attribution организация перешедших",
    ),
    EXTRA_FIELD,
)

PART = needed(
    "part",
    CODE,
    "Кто нужен: NUMERATOR числитель, DENOMINATOR знаменатель, GAP лица знаменателя без помощи",
    "indicator.part",
)

INDICATOR_PERSON = Model(
    "IndicatorPerson",
    "Лицо показателя и запись, по которой оно посчитано: действующая на конец периода или последняя в нём",
    (
        needed("enp", STRING, "ЕНП"),
        needed("lastName", STRING, "Фамилия"),
        needed("firstName", STRING, "Имя"),
        maybe("middleName", STRING, "Отчество"),
        needed("birthDate", DATE, "Дата рождения"),
        needed("diagnosis", STRING, "Диагноз по МКБ-10"),
        needed("organisation", STRING, "Код МО, которая вела наблюдение"),
        needed("entryId", STRING, "Идентификатор записи"),
        needed("observedSince", DATE, "С какого дня эта МО ведёт наблюдение"),
        maybe("lastCareOn", DATE, "Последняя помощь периода, которую учитывает показатель; нет — помощи не было"),
        EXTRA_FIELD,
    ),
)
