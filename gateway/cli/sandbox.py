"""The invented neighbours of the demonstration: the stand-in for ФЕРЗЛ, a month of its life, faults to order."""

from __future__ import annotations

import json
import threading
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlsplit

import click

from gateway.cli.root import Load, main, place_of
from gateway.errors import GatewayError


@main.group()
def sandbox() -> None:
    """Вымышленный регистр застрахованных (подмена ФЕРЗЛ) для демонстрации и испытаний."""


@sandbox.command("serve")
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="порт; 0 — любой свободный")
@click.pass_obj
def sandbox_serve(load: Load, port: int) -> None:
    """Отвечать за ФЕРЗЛ по вымышленному региону этой базы; только на 127.0.0.1."""
    import signal

    from gateway import logs
    from gateway.sandbox.ferzl import life, queries
    from gateway.sandbox.ferzl.server import StandIn

    values = load()
    logs.setup(values)
    with place_of(lambda: values) as (place, _):
        store = place.owner(8)
        with store.begin() as connection:
            queries.make(connection, values.region_okato, life.ELSEWHERE)
        service = StandIn(store, okato=values.region_okato, token=values.ferzl_token, port=port)

        def stop(*_: object) -> None:
            threading.Thread(target=service.stop, daemon=True).start()

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        click.echo(f"Подмена ФЕРЗЛ: {service.url}", err=True)
        service.run()


@sandbox.command("month")
@click.argument("period", metavar="ГГГГ-ММ")
@click.option("--seed", type=int, default=1, show_default=True, help="число, от которого зависит вымысел")
@click.pass_obj
def sandbox_month(load: Load, period: str, seed: int) -> None:
    """Прожить месяц вымышленного региона: смерти, выезды, смены организаций, объединения. Второй раз не проживается."""
    from gateway.domain.periods import Month
    from gateway.sandbox.ferzl import life, queries

    month = Month.parse(period)
    with place_of(load) as (place, values), place.owner().begin() as connection:
        queries.make(connection, values.region_okato, life.ELSEWHERE)
        if not queries.live_once(connection, month.number):
            click.echo(f"Месяц {month} уже прожит")
            return
        lived = life.pass_month(connection, month, okato=values.region_okato, seed=seed)
    for kind, number in sorted(lived.counts.items()):
        click.echo(f"{kind}\t{number}")


@sandbox.command("fault")
@click.argument("name", metavar="СБОЙ")
@click.option("--operation", help="только в ответах на эту операцию")
@click.option("--times", type=click.IntRange(1), default=1, show_default=True, help="сколько раз")
@click.option("--seconds", type=float, default=1.0, show_default=True, help="задержка для delay")
@click.pass_obj
def sandbox_fault(load: Load, name: str, operation: str | None, times: int, seconds: float) -> None:
    """Заказать сбой подменного регистра."""
    from gateway.sandbox.ferzl.server import FAULTS

    if name not in FAULTS:
        raise click.UsageError("СБОЙ — один из: " + ", ".join(FAULTS))
    order = {"fault": name, "operation": operation, "times": times, "seconds": seconds}
    _send(load, "POST", json.dumps(order).encode())


@sandbox.command("calm")
@click.pass_obj
def sandbox_calm(load: Load) -> None:
    """Отменить заказанные сбои."""
    _send(load, "DELETE", b"")


def _send(load: Load, method: str, body: bytes) -> None:
    """To the stand-in that the running demonstration names in demo.json."""
    try:
        described = json.loads((Path(load().data_dir) / "demo.json").read_text(encoding="utf-8"))
        url = urlsplit(described["upstream"]["ferzl"])
        connection = HTTPConnection(url.hostname or "", url.port, timeout=10)
        connection.request(method, "/faults", body)
        connection.getresponse().read()
    except (OSError, HTTPException, KeyError, ValueError):
        raise GatewayError("upstream.down") from None
