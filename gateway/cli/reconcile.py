"""Monthly truth: lists compared with the register of insured persons, and decisions on what the brake stopped."""

from __future__ import annotations

from uuid import uuid4

import click

from gateway.cli.root import Load, clock_of, main, operator, place_of
from gateway.cli.work import follow


@main.group()
def reconcile() -> None:
    """Сверка списков: с застрахованными и с реестрами счетов."""


@reconcile.command("insured")
@click.option("--period", metavar="ГГГГ-ММ", required=True, help="закончившийся месяц")
@click.option("--dry-run", is_flag=True, help="только план: файлы операции, списки не меняются")
@click.pass_obj
def reconcile_insured(load: Load, period: str, dry_run: bool) -> None:
    """Сверить списки с регистром застрахованных: умершие, выехавшие, сменившие МО, объединённые."""
    from gateway.access import audit as audit_records
    from gateway.domain.periods import Month
    from gateway.operations import files
    from gateway.sync.insured import work

    wanted = Month.parse(period)
    with place_of(load) as (place, values):
        with place.app().begin() as connection:
            today = clock_of(values).today()
            operation = work.request(connection, wanted, dry=dry_run, today=today, login=operator(), trace=str(uuid4()))
            made = {"operation": str(operation), "month": str(wanted), "dry": dry_run}
            audit_records.note(connection, "ReconcileInsured", made)
        follow(place, values, operation)
        with place.app().begin() as connection:
            for one in files.of_operation(connection, operation):
                click.echo(f"{one.file_id}\t{one.name}\t{one.size} байт")


@reconcile.command("approve")
@click.pass_obj
def reconcile_approve(load: Load) -> None:
    """Применить остановленную сверку."""
    from gateway.access import audit as audit_records
    from gateway.sync.insured import work

    with place_of(load) as (place, values):
        with place.app().begin() as connection:
            operation = work.approve(connection, login=operator(), trace=str(uuid4()))
            audit_records.note(connection, "ReconcileApprove", {"operation": str(operation)})
        follow(place, values, operation)


@reconcile.command("refuse")
@click.pass_obj
def reconcile_refuse(load: Load) -> None:
    """Отказаться от остановленной сверки: списки не меняются."""
    from gateway.access import audit as audit_records
    from gateway.sync.insured import work

    with place_of(load) as (place, _), place.app().begin() as connection:
        refused = work.refuse(connection, login=operator())
        audit_records.note(connection, "ReconcileRefuse", {"reconcile": str(refused)})
    click.echo("Сверка отклонена, списки не изменены")
