"""The own format of lists, one table of columns for XML, CSV, XLSX and DBF, and the record that uploads are read into.

A file that was exported can be uploaded again: readers find columns by the name of the contract, the Russian title or
the DBF name, in any order; columns that only the gateway fills are passed over.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal

NAMESPACE = "urn:dn-gateway:list:v1"

Kind = Literal["text", "code", "date", "month", "months", "int", "bool", "time"]
"""code: digits that a spreadsheet must not take for a number; months: ``yyyy-MM`` separated by blanks."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: ``name`` as in the contract (camelCase), Russian ``title``, ``dbf`` name and width; ``line`` is the
    column of a list's line it shows (snake_case); ``taken`` whether an upload reads it."""

    name: str
    title: str
    kind: Kind
    dbf: str
    width: int
    taken: bool = False

    @property
    def line(self) -> str:
        return "".join("_" + one.lower() if one.isupper() else one for one in self.name)


COLUMNS = (
    Column("recordNumber", "№", "int", "NREC", 9),
    Column("entryId", "Идентификатор записи", "code", "ENTRY_ID", 18),
    Column("externalId", "Идентификатор МИС", "code", "EXT_ID", 64, taken=True),
    Column("version", "Версия", "int", "VERSION", 6),
    Column("enp", "ЕНП", "code", "ENP", 16, taken=True),
    Column("snils", "СНИЛС", "code", "SNILS", 11),
    Column("lastName", "Фамилия", "text", "FAM", 60),
    Column("firstName", "Имя", "text", "IM", 60),
    Column("middleName", "Отчество", "text", "OT", 60),
    Column("birthDate", "Дата рождения", "date", "DR", 8),
    Column("sex", "Пол", "code", "W", 1),
    Column("deathDate", "Дата смерти", "date", "DSM", 8),
    Column("insurer", "СМО", "code", "SMO", 5),
    Column("attachedOrganisation", "МО прикрепления", "code", "MO_PR", 6),
    Column("diagnosis", "Диагноз", "text", "DS", 7, taken=True),
    Column("diagnosisGroup", "Группа диагнозов", "text", "DS_GR", 20),
    Column("diagnosedOn", "Диагноз установлен", "date", "DS_DATE", 8, taken=True),
    Column("organisation", "МО наблюдения", "code", "MO", 6, taken=True),
    Column("byAttachment", "По прикреплению", "bool", "BY_PR", 1),
    Column("doctorSnils", "СНИЛС врача", "code", "SS_VR", 11, taken=True),
    Column("specialty", "Специальность", "code", "PRVS", 4, taken=True),
    Column("observedSince", "Под наблюдением с", "date", "DN_IN", 8, taken=True),
    Column("source", "Источник", "text", "SOURCE", 10),
    Column("plannedMonths", "Планируемые месяцы", "months", "PLAN", 191, taken=True),
    Column("lastVisitOn", "Последний осмотр", "date", "VISIT", 8),
    Column("lastVisitResult", "Результат осмотра", "code", "VISIT_RES", 4),
    Column("nextVisitBy", "Следующий осмотр до", "date", "NEXT_BY", 8),
    Column("status", "Состояние", "text", "STATUS", 10),
    Column("excludedOn", "Дата исключения", "date", "DN_OUT", 8, taken=True),
    Column("exclusionReason", "Причина исключения", "code", "OUT_RSN", 4, taken=True),
    Column("changedAt", "Изменено", "time", "CHANGED", 29),
    Column("outside", "Вне приказов", "text", "OUTSIDE", 5),
)
"""In the order of the contract's Entry. A list's line has no recordNumber: it is counted when a file is written."""


@dataclass(frozen=True, slots=True)
class ListHeader:
    """What an exported file says of itself. ``organisation`` None: all lists; ``first`` and ``records`` are the place of
    this file in a list of ``total`` records, seen at ``as_of``; ``edition`` CURRENT, or CLOSED with ``closed_at``."""

    organisation: str | None
    insurer: str | None
    period: str
    list_type: str
    edition: str
    as_of: datetime
    closed_at: datetime | None
    change_token: str
    first: int
    records: int
    total: int


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a field of a record: a code of `errors`, the name of the field as the file writes it."""

    code: str
    field: str


@dataclass(slots=True)
class ListRecord:
    """A record of an uploaded list, whatever file it came in. ``number`` counts from 1 in the file. Absent values are
    None; ``planned_months`` None means that the file says nothing about the plan. ``problems`` make the record bad:
    its values are then not to be used, but for ``number``."""

    number: int
    enp: str = ""
    diagnosis: str = ""
    external_id: str | None = None
    organisation: str | None = None
    diagnosed_on: date | None = None
    observed_since: date | None = None
    excluded_on: date | None = None
    exclusion_reason: str | None = None
    doctor_snils: str | None = None
    specialty: str | None = None
    planned_months: tuple[str, ...] | None = None
    problems: list[Problem] = field(default_factory=list)
