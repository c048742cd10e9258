"""Care of the installation: schema, examination, copies."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gateway.cli.root import Load, clock_of, main, place_of


@main.command()
@click.pass_obj
def migrate(load: Load) -> None:
    """Подготовить или обновить базу данных: схема, права ролей, справочники поставки."""
    from gateway.store.migrate import head
    from gateway.upgrade import upgrade

    with place_of(load, current=False) as (place, values):
        changed = upgrade(place, values)
    click.echo(f"База данных {'обновлена' if changed else 'уже в порядке'}: версия схемы {head()}")


@main.command()
@click.pass_obj
def doctor(load: Load) -> None:
    """Проверить установку. Код выхода 1, если найдена ошибка."""
    from gateway.doctor import Level, examine

    bad = False
    with place_of(load, current=False) as (place, values):
        for finding in examine(place, values, clock_of(values)):
            bad |= finding.level is Level.BAD
            click.echo(f"{finding.level:<9} {finding.text}")
    sys.exit(1 if bad else 0)


@main.command()
@click.argument("file", metavar="ФАЙЛ", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_obj
def backup(load: Load, file: Path) -> None:
    """Записать копию базы данных в файл (pg_dump)."""
    from gateway.store import dump

    with place_of(load) as (place, _):
        dump.backup(place.owner_url, file)
    click.echo(f"Копия записана: {file}, {file.stat().st_size / 1024**2:.1f} МиБ")


@main.command()
@click.argument("file", metavar="ФАЙЛ", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_obj
def restore(load: Load, file: Path) -> None:
    """Восстановить пустую базу данных из копии (pg_restore) и обновить её схему."""
    from gateway.store import dump
    from gateway.upgrade import upgrade

    with place_of(load, current=False) as (place, values):
        dump.restore(place.owner_url, file)
        upgrade(place, values)
    click.echo("База данных восстановлена")
