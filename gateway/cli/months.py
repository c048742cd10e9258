"""Closing and opening of months."""

from __future__ import annotations

from collections.abc import Sequence

import click

from gateway.cli.root import Load, clock_of, main, operator, place_of
from gateway.errors import GatewayError


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
    from gateway.lists import Lists, queries
    from gateway.nsi.dictionaries import Nsi
    from gateway.services.observation_v1 import RENDER

    wanted = Month.parse(period)
    with place_of(load) as (place, values):
        store = place.app()
        lists = Lists(values, Nsi(store, clock_of(values)), clock_of(values))
        with store.begin() as connection:
            chosen = organisations or queries.organisations(connection)
        done = 0
        for organisation in chosen:
            try:
                with store.begin() as connection:
                    edition = lists.close(connection, organisation, wanted, operator(), RENDER)
                    made = {"organisation": organisation, "month": str(wanted), "edition": edition}
                    audit_records.note(connection, "MonthClose", made)
            except GatewayError as error:
                if error.code != "month.closed" or organisations:
                    raise
                continue
            done += 1
            click.echo(f"{organisation}: месяц {wanted} закрыт, редакция {edition}")
    if not done:
        click.echo("Закрывать нечего: нет организаций со списками, у которых этот месяц открыт")


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
            audit_records.note(connection, "MonthReopen", {"organisation": organisation, "month": str(wanted)})
    click.echo(f"{organisation}: месяц {wanted} открыт")
