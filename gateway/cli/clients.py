"""Clients: who may call, with which rights and secrets."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import click

from gateway.cli.root import Load, main, place_of


@main.group()
def client() -> None:
    """Клиенты: системы, которым разрешены вызовы."""


@client.command("add")
@click.argument("login", metavar="КЛИЕНТ")
@click.option(
    "--kind", type=click.Choice(["MO", "INSURER", "FUND"]), default="MO", show_default=True, help="вид клиента"
)
@click.option("--organisation", "organisations", multiple=True, help="код МО; можно повторять")
@click.option("--insurer", help="код СМО для вида INSURER")
@click.option("--right", "rights", multiple=True, help="операция; можно повторять; all — все, read — только чтение")
@click.option("--name", default="", help="пояснение")
@click.option("--per-minute", type=click.IntRange(1), help="запросов в минуту; иначе общий предел")
@click.pass_obj
def client_add(
    load: Load, login: str, kind: str, organisations: Sequence[str], insurer: str | None, rights: Sequence[str],
    name: str, per_minute: int | None,
) -> None:  # fmt: skip
    """Добавить клиента и показать его секрет (один раз)."""
    from gateway.access import clients

    with place_of(load) as (place, _), place.app().begin() as connection:
        secret = clients.add(
            connection, login, kind, organisations=organisations, insurer=insurer, rights=_named(rights), name=name,
            requests_per_minute=per_minute,
        )  # fmt: skip
    click.echo(f"Клиент {login} добавлен. Секрет (больше не показывается): {secret}")


def _named(rights: Sequence[str]) -> set[str]:
    """Rights by the words of the command line: names of operations, ``all``, ``read``."""
    from gateway.access import rights as known

    groups = {"all": known.ALL, "read": known.READING}
    return {right for one in rights for right in groups.get(one, {one})}


@client.command("rotate")
@click.argument("login", metavar="КЛИЕНТ")
@click.option(
    "--overlap-hours", type=click.IntRange(0), default=72, show_default=True, help="сколько действует прежний секрет"
)
@click.pass_obj
def client_rotate(load: Load, login: str, overlap_hours: int) -> None:
    """Выдать клиенту новый секрет; прежний действует ещё указанное время."""
    from gateway.access import clients

    with place_of(load) as (place, _), place.app().begin() as connection:
        secret = clients.rotate(connection, login, timedelta(hours=overlap_hours))
    click.echo(f"Новый секрет клиента {login} (больше не показывается): {secret}")


@client.command("list")
@click.pass_obj
def client_list(load: Load) -> None:
    """Перечислить клиентов."""
    from gateway.access import clients

    with place_of(load) as (place, _), place.app().begin() as connection:
        for one in clients.list_all(connection):
            state = "отключён" if one.disabled_at else "действует"
            scope = ", ".join(one.organisations) or one.insurer or "все"
            click.echo(f"{one.login}\t{one.kind}\t{state}\t{scope}\t{', '.join(one.rights) or 'прав нет'}\t{one.name}")


@client.command("disable")
@click.argument("login", metavar="КЛИЕНТ")
@click.pass_obj
def client_disable(load: Load, login: str) -> None:
    """Отключить клиента, какой бы секрет он ни передал."""
    from gateway.access import clients

    with place_of(load) as (place, _), place.app().begin() as connection:
        clients.disable(connection, login)
    click.echo(f"Клиент {login} отключён")


@client.command("enable")
@click.argument("login", metavar="КЛИЕНТ")
@click.pass_obj
def client_enable(load: Load, login: str) -> None:
    """Снова разрешить отключённому клиенту вызовы."""
    from gateway.access import clients

    with place_of(load) as (place, _), place.app().begin() as connection:
        clients.enable(connection, login)
    click.echo(f"Клиент {login} действует")


@client.command("revoke")
@click.argument("login", metavar="КЛИЕНТ")
@click.pass_obj
def client_revoke(load: Load, login: str) -> None:
    """Отозвать все секреты клиента немедленно; новый выдаёт rotate."""
    from gateway.access import clients

    with place_of(load) as (place, _), place.app().begin() as connection:
        revoked = clients.revoke(connection, login)
    click.echo(f"Отозвано секретов: {revoked}")


@client.command("grant")
@click.argument("login", metavar="КЛИЕНТ")
@click.argument("rights", metavar="ПРАВО…", nargs=-1, required=True)
@click.pass_obj
def client_grant(load: Load, login: str, rights: Sequence[str]) -> None:
    """Добавить клиенту права: имена операций, all или read."""
    from gateway.access import clients

    with place_of(load) as (place, _), place.app().begin() as connection:
        now = clients.grant(connection, login, _named(rights))
    click.echo(f"Права клиента {login}: {', '.join(now)}")


@client.command("withdraw")
@click.argument("login", metavar="КЛИЕНТ")
@click.argument("rights", metavar="ПРАВО…", nargs=-1, required=True)
@click.pass_obj
def client_withdraw(load: Load, login: str, rights: Sequence[str]) -> None:
    """Убрать у клиента права: имена операций, all или read."""
    from gateway.access import clients

    with place_of(load) as (place, _), place.app().begin() as connection:
        now = clients.withdraw(connection, login, _named(rights))
    click.echo(f"Права клиента {login}: {', '.join(now) or 'нет'}")


@client.command("certificate")
@click.argument("login", metavar="КЛИЕНТ")
@click.argument("sha256", metavar="ОТПЕЧАТОК")
@click.option("--revoke", is_flag=True, help="отозвать, а не добавить")
@click.pass_obj
def client_certificate(load: Load, login: str, sha256: str, revoke: bool) -> None:
    """Принимать сертификат клиента по отпечатку SHA-256 или отозвать его."""
    from gateway.access import clients

    with place_of(load) as (place, _), place.app().begin() as connection:
        (clients.revoke_certificate if revoke else clients.add_certificate)(connection, login, sha256)
    click.echo("Сертификат отозван" if revoke else "Сертификат принимается")
