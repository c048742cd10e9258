"""Files of a comparison: the plan for the operator, and for each clinic concerned what became of its entries.

CSV that Excel in Russian opens: UTF-8 with BOM, ``;``, CRLF, days ``dd.MM.yyyy``; codes are written ``="…"``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import date
from itertools import groupby
from uuid import UUID

from sqlalchemy import Connection, RowMapping

from gateway.formats.cells import exact, harmless
from gateway.operations import files
from gateway.operations.model import Owner
from gateway.settings import Settings
from gateway.sync.insured import queries

ACTIONS = {
    "END": "Исключение", "MOVE": "Переход", "MERGE": "Объединение лиц", "RETURN": "Возобновление", "REPORT": "Сообщение",
}  # fmt: skip
CAUSES = {
    "DEATH": "смерть",
    "DEPARTURE": "выезд из региона",
    "MOVE": "смена первичной медицинской организации",
    "MERGE": "лица объединены в регистре",
    "RETURN": "смерть отменена или лицо вернулось в регион",
    "HELD": "сменилась первичная организация, запись ведёт организация другого профиля",
    "UNKNOWN_CLINIC": "новой организации нет в справочнике",
    "NOT_PRIMARY": "новая организация не оказывает первичную помощь",
    "NO_POLICY": "нет действующего полиса",
    "NO_ATTACHMENT": "нет действующего прикрепления",
    "UNCLEAR": "сведения регистра противоречивы",
    "UNKNOWN": "регистр не знает ЕНП",
    "NO_SUCCESSOR": "лицо объединено, преемник не назван",
    "NEWER": "запись или прикрепление новее сведений регистра",
    "HINDERED": "изменение невозможно: мешает другая запись лица",
    "UNUSABLE": "ответ регистра нельзя использовать",
}
"""Codes of causes, of reports too, as operators and clinics read them."""

DONE = {
    "persons": "лиц обновлено по ответам",
    "unlisted": "лиц обновлено по выписке",
    "renewed": "записей обновлено вслед за лицами",
    "merge": "записей перешло преемнику",
    "join": "записей объединено с записями преемника",
    "return": "записей возобновлено",
    "hindered": "изменить нельзя",
    "newer": "новее сведений регистра",
    "end/death": "исключено по смерти",
    "end/departure": "исключено по выезду",
    "move/move": "перешло в другую организацию",
    "notices": "извещений организациям",
}
"""What was applied, as operators read it."""

NOTICE, PLAN = "NOTICE", "PROTOCOL"

_PLAN_HEAD = (
    "Действие", "Код", "Пояснение", "МО", "Новая МО", "Запись", "ЕНП", "Диагноз", "Фактическая дата", "Код отказа источника",
)  # fmt: skip
_NOTICE_HEAD = (
    "Действие", "Код", "Пояснение", "Запись", "Идентификатор МИС", "ЕНП", "Прежний ЕНП", "Фамилия", "Имя", "Отчество",
    "Дата рождения", "Диагноз", "Прежняя МО", "Новая МО", "Фактическая дата", "Действует с",
)  # fmt: skip


def write_plan(connection: Connection, settings: Settings, run: UUID, operation: UUID, period: str) -> UUID:
    """The plan as a file of the operation."""
    lines = (
        (
            *_what(row), exact(row["former"]), exact(row["organisation"]), exact(row["entry_id"]), exact(row["enp"]),
            row["diagnosis"], _day(row["true_on"]), row["code"] or "",
        )
        for row in queries.plan_lines(connection, run)
    )  # fmt: skip
    with files.Writer(
        connection, settings, name=f"reconcile-insured-{period}.csv", kind=PLAN, owner=Owner(), operation_id=operation
    ) as out:
        _write(out, _PLAN_HEAD, lines)
    return out.file_id


def write(connection: Connection, settings: Settings, run: UUID, operation: UUID, period: str) -> int:
    """A file into the mailbox of each clinic concerned, both of a move; how many."""
    written = 0
    for number, (organisation, rows) in enumerate(
        groupby(queries.notices(connection, run), lambda row: row["mailbox"]), 1
    ):
        with files.Writer(
            connection,
            settings,
            name=f"reconcile-insured-{period}-{organisation}.csv",
            kind=NOTICE,
            owner=Owner(organisation),
            operation_id=operation,
            number=number,
            mailbox=True,
        ) as out:
            _write(out, _NOTICE_HEAD, map(_notice, rows))
        written += 1
    return written


def _notice(row: RowMapping) -> Sequence[str]:
    return (
        *_what(row), exact(row["entry_id"]), harmless(row["external_id"]), exact(row["enp"]), exact(row["former_enp"]),
        harmless(row["last_name"]), harmless(row["first_name"]), harmless(row["middle_name"]), _day(row["birth_date"]),
        row["diagnosis"], exact(row["former"]), exact(row["organisation"]), _day(row["true_on"]), _day(row["day"]),
    )  # fmt: skip


def _what(row: RowMapping) -> tuple[str, str, str]:
    return ACTIONS[row["action"]], row["cause"], CAUSES[row["cause"]]


def _write(out: files.Writer, head: Sequence[str], lines: Iterable[Sequence[str]]) -> None:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=";", lineterminator="\r\n")
    out.write(b"\xef\xbb\xbf")
    writer.writerow(head)
    for line in lines:
        writer.writerow(line)
        if buffer.tell() > 1 << 16:
            out.write(buffer.getvalue().encode())
            buffer.seek(0)
            buffer.truncate()
    out.write(buffer.getvalue().encode())


def _day(day: date | None) -> str:
    return "" if day is None else f"{day:%d.%m.%Y}"
