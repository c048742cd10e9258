"""The published contract: pinned WSDL and schemas."""

from __future__ import annotations

import sys

import click

from gateway.cli.root import main


@main.group()
def wsdl() -> None:
    """Опубликованный контракт."""


@wsdl.command("export")
@click.option(
    "--root", type=click.Path(file_okay=False), default=".", show_default=True, help="каталог с wsdl/ и schemas/"
)
def wsdl_export(root: str) -> None:
    """Записать WSDL и схемы из программы в закреплённые файлы."""
    from gateway.services import wsdl as contract
    from gateway.services.published import SERVICES

    for path in contract.export(root, SERVICES):
        click.echo(str(path))


@wsdl.command("check")
@click.option(
    "--root", type=click.Path(file_okay=False), default=".", show_default=True, help="каталог с wsdl/ и schemas/"
)
def wsdl_check(root: str) -> None:
    """Сверить закреплённые файлы с программой; код выхода 1 при любом отличии."""
    from gateway.services import wsdl as contract
    from gateway.services.published import SERVICES

    found = contract.check(root, SERVICES)
    for difference in found:
        click.echo(str(difference))
    sys.exit(1 if found else 0)
