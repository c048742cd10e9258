"""Jobs of the calendar."""

from __future__ import annotations

from datetime import timedelta

import click

from gateway.cli.root import Load, main, place_of
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
    from gateway.sync.calendar import lateness, overview
    from gateway.sync.jobs import JOBS

    with place_of(load) as (place, _):
        store = place.app()
        for one, period, begun in overview(store, JOBS):
            late = lateness(period, begun) if period and begun else timedelta(0)
            mark = f", с опозданием на {late // timedelta(minutes=1)} мин" if late else ""
            click.echo(f"{one.name}\t{one.cron}\t{one.text}\tпоследний период: {period or '—'}{mark}")
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
@click.pass_obj
def job_run(load: Load, name: str) -> None:
    """Поставить задание календаря в очередь сейчас, сверх расписания."""
    from gateway.operations import queue
    from gateway.sync.jobs import JOBS

    if name not in JOBS:
        raise GatewayError("object.not-found")
    with place_of(load) as (place, _), place.app().begin() as connection:
        number = queue.defer(connection, JOBS[name].task, alone=JOBS[name].task, single=True)
    click.echo(f"Задание поставлено в очередь под номером {number}" if number else "Такое задание уже ждёт в очереди")
