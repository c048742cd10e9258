"""Processes: the demonstration, the web server, the worker, the calendar."""

from __future__ import annotations

import sys
from dataclasses import replace

import click

from gateway.cli.root import Load, clock_of, main, place_of


@main.command()
@click.option("--host", help="адрес, на котором слушает веб-сервер")
@click.option("--port", type=click.IntRange(0, 65535), help="порт веб-сервера; 0 — любой свободный")
@click.option("--data", type=click.Path(file_okay=False), help="каталог данных демонстрации")
@click.option(
    "--persons", type=click.IntRange(1), default=60_000, show_default=True, help="людей в вымышленном регионе"
)
@click.option("--entries", type=click.IntRange(0), default=100_000, show_default=True, help="записей списков ДН")
@click.option("--seed", type=int, default=1, show_default=True, help="число, от которого зависит вымысел")
@click.pass_obj
def demo(
    load: Load, host: str | None, port: int | None, data: str | None, persons: int, entries: int, seed: int
) -> None:
    """Всё сразу на одной машине: встроенная база, вымышленный регион, веб-сервер, задания, календарь."""
    from gateway import logs
    from gateway.demo import Demo, free_port

    values = load(host=host, port=port, data_dir=data)
    if values.port == 0:
        values = replace(values, port=free_port(values.host))
    logs.setup(values)
    Demo(values, persons, entries, seed, click.echo).run()


@main.command()
@click.pass_obj
def serve(load: Load) -> None:
    """Веб-сервер: службы SOAP, описания, состояние."""
    from gateway import logs, web

    values = load()
    logs.setup(values)
    with place_of(lambda: values) as (place, _):
        status = web.serve(replace(values, database_url=place.app_url))
    sys.exit(status)


@main.command()
@click.option(
    "--concurrency",
    type=click.IntRange(1, 64),
    default=4,
    show_default=True,
    help="длительных операций одновременно; короткие задания идут рядом",
)
@click.pass_obj
def worker(load: Load, concurrency: int) -> None:
    """Исполнитель заданий. По SIGTERM заканчивает начатое; процессов может быть много."""
    from gateway import logs
    from gateway.operations.queue import Work, Worker
    from gateway.sync import jobs  # noqa: F401  (registers the tasks)

    values = load()
    logs.setup(values)
    with place_of(lambda: values) as (place, _):
        owner = place.owner(2) if place.has_owner else None
        # long work reads on one connection while it writes on another
        Worker(Work(place.app(3 * concurrency + 6), owner, values, clock_of(values)), concurrency=concurrency).run()


@main.command()
@click.pass_obj
def calendar(load: Load) -> None:
    """Календарь: начинает регулярные задания. Ведёт один процесс, остальные ждут своей очереди."""
    import signal
    import threading

    from gateway import logs
    from gateway.operations.queue import Work
    from gateway.sync import jobs
    from gateway.sync.calendar import Calendar

    values = load()
    logs.setup(values)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with place_of(lambda: values) as (place, _):
        store, clock = place.app(4), clock_of(values)
        work = Work(store, None, values, clock)
        Calendar(store, jobs.of(values), clock, watch=lambda: jobs.watch_workers(work)).run(stop)
