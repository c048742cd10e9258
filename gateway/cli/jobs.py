"""Jobs of the calendar."""

from __future__ import annotations

from datetime import timedelta

import click

from gateway.cli.root import Load, clock_of, main, operator, place_of
from gateway.errors import GatewayError


@main.group()
def job() -> None:
    """Регулярные задания."""


@job.command("list")
@click.option(
    "--last", type=click.IntRange(0, 1000), default=20, show_default=True, help="сколько последних запусков показать"
)
@click.pass_obj
def job_list(load: Load, last: int) -> None:
    """Перечислить задания календаря и последние запуски."""
    from gateway.operations import queries
    from gateway.sync import jobs
    from gateway.sync.calendar import overview

    with place_of(load) as (place, values):
        store = place.app()
        for one, begun in overview(store, jobs.of(values)):
            late = begun.late if begun else timedelta(0)
            mark = f", с опозданием на {late // timedelta(minutes=1)} мин" if late else ""
            period = begun.period if begun else "—"
            click.echo(f"{one.name}\t{one.cron}\t{one.text}\tпоследний период: {period}{mark}")
        with store.begin() as connection:
            for line in queries.last_jobs(connection, last):
                changed = f"{line.changed_at:%d.%m.%Y %H:%M:%S}" if line.changed_at else "—"
                click.echo(f"  №{line.number}\t{line.task}\t{_STATES.get(line.status, line.status)}\t{changed}")


_STATES = {
    "todo": "ждёт", "doing": "выполняется", "succeeded": "выполнено", "failed": "не выполнено", "cancelled": "отменено",
    "aborted": "прервано",
}  # fmt: skip


@job.command("run")
@click.argument("name", metavar="ЗАДАНИЕ")
@click.option("--again", is_flag=True, help="и тогда, когда последний период уже начат")
@click.pass_obj
def job_run(load: Load, name: str, again: bool) -> None:
    """Начать последний период задания сейчас, если его ещё никто не начал."""
    from gateway.sync import calendar, jobs

    with place_of(load) as (place, values):
        known = jobs.of(values)
        if name not in known:
            raise GatewayError("object.not-found")
        period = calendar.by_hand(place.app(), known[name], clock_of(values).now(), operator(), again=again)
    click.echo(f"Задание начато за период {period}")
