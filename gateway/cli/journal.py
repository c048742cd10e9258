"""The journal of access to personal data."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TextIO
from zoneinfo import ZoneInfo

import click

from gateway.cli.root import Load, main, place_of


@main.group()
def audit() -> None:
    """Журнал доступа к персональным данным."""


@audit.command("export")
@click.argument("file", metavar="ФАЙЛ", type=click.File("w", encoding="utf-8"))
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="ГГГГ-ММ-ДД",
    help="только пачки, запечатанные не раньше этого дня",
)
@click.pass_obj
def audit_export(load: Load, file: TextIO, since: datetime | None) -> None:
    """Выгрузить журнал строками JSON вместе с печатями пачек."""
    from gateway.access import audit as records
    from gateway.access import chain

    with place_of(load) as (place, values), place.app().begin() as connection:
        moment = since.replace(tzinfo=ZoneInfo(values.time_zone)) if since else None
        count = 0
        for line in chain.export(connection, moment):
            file.write(line + "\n")
            count += 1
        records.note(connection, "AuditExport", {"lines": count, "since": moment.isoformat() if moment else None})
    click.echo(f"Строк: {count}", err=True)


@audit.command("verify")
@click.option("--head", help="печать последней пачки, сохранённая при прежней проверке")
@click.pass_obj
def audit_verify(load: Load, head: str | None) -> None:
    """Пересчитать цепочку печатей журнала; код выхода 1, если она нарушена."""
    from gateway.access import chain

    with place_of(load) as (place, _), place.app().begin() as connection:
        report = chain.verify(connection, head=head)
    click.echo(f"Пачек {report.batches}, записей {report.records}, ещё не запечатано {report.unsealed}")
    click.echo(f"Печать последней пачки: {report.head}")
    for text, ids in (("изменены", report.changed), ("удалены", report.removed), ("вставлены", report.inserted)):
        if ids:
            click.echo(f"Записи {text}: {', '.join(map(str, ids))}")
    if report.first_bad is not None:
        click.echo(f"Первая нарушенная пачка: {report.first_bad}")
    if not report.knows_head:
        click.echo("Указанной печати в цепочке нет")
    click.echo("Журнал цел" if report.intact else "ЖУРНАЛ НАРУШЕН")
    sys.exit(0 if report.intact else 1)
