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
    from gateway.sync.upstream import contracts

    for path in contract.export(root, SERVICES):
        click.echo(str(path))
    for path, content in contracts.pinned(root).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        click.echo(str(path))


@wsdl.command("check")
@click.option(
    "--root", type=click.Path(file_okay=False), default=".", show_default=True, help="каталог с wsdl/ и schemas/"
)
def wsdl_check(root: str) -> None:
    """Сверить закреплённые файлы с программой; код выхода 1 при любом отличии."""
    from gateway.services import wsdl as contract
    from gateway.services.published import SERVICES
    from gateway.sync.upstream import contracts

    found = contract.check(root, SERVICES)
    for difference in found:
        click.echo(str(difference))
    other = [
        path for path, content in contracts.pinned(root).items() if not path.exists() or path.read_bytes() != content
    ]
    for path in other:
        click.echo(f"{path}: не то, что в программе; обновляет wsdl export")
    sys.exit(1 if found or other else 0)
