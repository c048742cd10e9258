"""Closing and opening of months."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import uuid4

import click

from gateway.cli.root import Load, clock_of, main, operator, place_of
from gateway.cli.work import follow


@main.group()
def month() -> None:
    """Закрытие месяцев."""


@month.command("close")
@click.argument("period", metavar="ГГГГ-ММ")
@click.option("--organisation", "organisations", multiple=True, help="код МО; без него — все, у кого месяц не закрыт")
@click.pass_obj
def month_close(load: Load, period: str, organisations: Sequence[str]) -> None:
    """Закрыть месяц: его списки замораживаются."""
    from gateway.access import audit as audit_records
    from gateway.domain.periods import Month
    from gateway.lists import closing, queries

    wanted = Month.parse(period)
    with place_of(load) as (place, values):
        with place.app().begin() as connection:
            today = clock_of(values).today()
            if not organisations and wanted.last_day < today and not queries.unclosed(connection, wanted.number):
                click.echo("Закрывать нечего: нет организаций со списками, у которых этот месяц открыт")
                return
            operation = closing.request_close(
                connection, wanted, organisations, today=today, login=operator(), trace=str(uuid4())
            )
            made = {"operation": str(operation), "month": str(wanted), "organisations": list(organisations)}
            audit_records.note(connection, "MonthClose", made)
        follow(place, values, operation)


@month.command("reopen")
@click.argument("period", metavar="ГГГГ-ММ")
@click.option("--organisation", required=True, help="код МО")
@click.option("--reason", required=True, help="причина")
@click.pass_obj
def month_reopen(load: Load, period: str, organisation: str, reason: str) -> None:
    """Открыть закрытый месяц."""
    from gateway.access import audit as audit_records
    from gateway.domain.periods import Month
    from gateway.lists import Lists
    from gateway.nsi.dictionaries import Nsi

    wanted = Month.parse(period)
    with place_of(load) as (place, values):
        store = place.app()
        lists = Lists(values, Nsi(store, clock_of(values)), clock_of(values))
        with store.begin() as connection:
            lists.reopen_month(connection, organisation, wanted, operator(), reason)
            made = {"organisation": organisation, "month": str(wanted), "reason": reason.strip()}
            audit_records.note(connection, "MonthReopen", made)
    click.echo(f"{organisation}: месяц {wanted} открыт")


@month.command("list")
@click.option("--last", type=click.IntRange(1, 120), default=3, show_default=True, help="сколько месяцев показать")
@click.pass_obj
def month_list(load: Load, last: int) -> None:
    """Показать обработку последних месяцев: шаги, операции, отказы."""
    from gateway.domain.periods import Month
    from gateway.errors import KINDS
    from gateway.sync import monthly
    from gateway.sync.monthly_steps import STEPS

    with place_of(load) as (place, values), place.app().begin() as connection:
        zone = clock_of(values).zone
        for run, steps in monthly.overview(connection, last):
            late = ", не закончена вовремя" if run["late"] else ""
            click.echo(f"{Month.from_number(run['month'])}\t{_STATES[run['state']]}{late}")
            for one in steps:
                parts = f" ({one['count']})" if one["count"] > 1 else ""
                why = f"\t{one['code']}: {KINDS[one['code']].shown}" if one["code"] in KINDS else ""
                begun = f"{one['began_at'].astimezone(zone):%d.%m.%Y %H:%M}"
                operation = one["operation_id"] or "—"
                state = _STATES[one["state"]] + parts
                click.echo(f"  {STEPS[one['step']].title}\t{begun}\t{state}\t{operation}{why}")


_STATES = {
    "RUNNING": "выполняется", "BRAKED": "ждёт решения", "FAILED": "не выполнено", "DONE": "выполнено",
    "PASSED": "пропущено",
}  # fmt: skip


@month.command("resume")
@click.argument("period", metavar="ГГГГ-ММ")
@click.pass_obj
def month_resume(load: Load, period: str) -> None:
    """Повторить невыполненный шаг обработки месяца; дальше она идёт сама."""
    from gateway.access import audit as audit_records
    from gateway.domain.periods import Month
    from gateway.operations.queue import Work
    from gateway.sync import monthly

    wanted = Month.parse(period)
    with place_of(load) as (place, values):
        store = place.app()
        with store.begin() as connection:
            monthly.resume(connection, Work(store, None, values, clock_of(values)), wanted)
            audit_records.note(connection, "MonthResume", {"month": str(wanted)})
    click.echo(f"Обработка месяца {wanted} продолжается")


@month.command("skip")
@click.argument("period", metavar="ГГГГ-ММ")
@click.pass_obj
def month_skip(load: Load, period: str) -> None:
    """Пропустить невыполненный шаг обработки месяца и перейти к следующему."""
    from gateway.access import audit as audit_records
    from gateway.domain.periods import Month
    from gateway.sync import monthly

    wanted = Month.parse(period)
    with place_of(load) as (place, _), place.app().begin() as connection:
        title = monthly.skip(connection, wanted)
        audit_records.note(connection, "MonthSkip", {"month": str(wanted), "step": title})
    click.echo(f"Обработка месяца {wanted}: пропущено — {title}")
