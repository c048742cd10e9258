"""Dictionaries and insured persons: loading what operators bring."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click
from sqlalchemy import Connection

from gateway.cli.root import Load, clock_of, main, place_of

if TYPE_CHECKING:
    from gateway.nsi.editions import LoadedEdition


@main.group()
def nsi() -> None:
    """Справочники."""


@nsi.command("load")
@click.argument("file", metavar="ФАЙЛ", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dictionary", metavar="ИМЯ", help="имя справочника, если оно не видно из файла")
@click.option("--code", metavar="СТОЛБЕЦ[,СТОЛБЕЦ]", help="столбец (тег) кода; несколько через запятую — составной код")
@click.option("--name", metavar="СТОЛБЕЦ", help="столбец (тег) наименования")
@click.option(
    "--valid-from", type=click.DateTime(["%Y-%m-%d"]), metavar="ГГГГ-ММ-ДД", help="с какого дня действует издание"
)
@click.option("--edition", help="обозначение издания")
@click.pass_obj
def nsi_load(
    load: Load,
    file: Path,
    dictionary: str | None,
    code: str | None,
    name: str | None,
    valid_from: datetime | None,
    edition: str | None,
) -> None:
    """Загрузить издание справочника: пакет ФФОМС (XML, CSV, ZIP), официальный файл МКБ-10 или собственный CSV."""
    from gateway.access import audit as audit_records
    from gateway.nsi import editions
    from gateway.nsi.files import Wish

    codes = tuple(part.strip() for part in (code or "").split(",") if part.strip())
    since = valid_from.date() if valid_from else None
    with place_of(load) as (place, values), place.app().begin() as connection:
        wish = Wish(dictionary, codes, name, values.region_okato, values.archive_bytes)
        made = editions.load_all(connection, file, wish, since, edition)
        for one in made:
            if not one.already:
                loaded = {"dictionary": one.dictionary, "edition": one.version, "rows": one.rows}
                audit_records.note(connection, "DictionaryLoad", loaded)
    for one in made:
        _tell(one)


def _tell(made: LoadedEdition) -> None:
    """What a file was taken for."""
    from gateway.nsi.catalogue import title_of

    content = made.content
    done = "уже загружен" if made.already else "загружен"
    click.echo(
        f"{made.dictionary} {done} ({title_of(made.dictionary)}): издание {made.version} с {made.valid_from:%d.%m.%Y},"
        f" строк {made.rows}, кодов {len({item.code for item in content.items})}"
    )
    if content.columns:
        columns = content.columns
        parts = [f"код — {'/'.join(columns.code)}", f"наименование — {columns.name or 'нет, взят код'}"]
        parts.append(f"действует с — {columns.since or 'не указано'}, по — {columns.until or 'не указано'}")
        parts.append("атрибуты — " + (", ".join(content.attributes) or "нет"))
        click.echo("  столбцы: " + "; ".join(parts))
    if made.replaced and not made.already:
        click.echo(f"  заменено издание {made.replaced} с той же даты")
    for note in made.notes:
        click.echo(f"  {note}")


@nsi.command("list")
@click.pass_obj
def nsi_list(load: Load) -> None:
    """Перечислить издания справочников и какое из них действует сегодня."""
    from gateway.nsi import editions

    with place_of(load) as (place, values), place.app().begin() as connection:
        known = editions.all_of(connection)
    today = clock_of(values).today()
    for _, group in groupby(known, key=lambda one: one.dictionary):
        mine = list(group)
        acting = editions.in_force(mine, today)
        for one in mine:
            state = "действует" if one is acting else "будущее" if one.valid_from > today else "прежнее"
            click.echo(
                f"{one.dictionary}\t{one.version}\tс {one.valid_from:%d.%m.%Y}\tстрок {one.rows}\t{state}\t{one.source}"
            )


@main.group()
def insured() -> None:
    """Застрахованные лица."""


@insured.command("load")
@click.argument("file", metavar="ФАЙЛ", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="куда записать отказанные строки (CSV)")
@click.pass_obj
def insured_load(load: Load, file: Path, report: Path | None) -> None:
    """Загрузить выписку из регионального сегмента ЕРЗЛ (CSV)."""
    from gateway.access import audit as audit_records
    from gateway.lists import Lists
    from gateway.nsi.dictionaries import Nsi
    from gateway.people.load import LoadCounts, load_insured

    def tell(stage: str, done: int) -> None:
        click.echo(f"\r{stage}: {done}        ", nl=False, err=True)

    with place_of(load) as (place, values):
        owner, clock = place.owner(), clock_of(values)
        lists = Lists(values, Nsi(owner, clock), clock)

        def follow(connection: Connection, counts: LoadCounts) -> None:
            lists.renew_persons(connection)
            audit_records.note(connection, "InsuredLoad", asdict(counts))

        made = load_insured(
            owner,
            file,
            report=report,
            progress=tell,
            after_merge=follow,
            clock=clock,
        )
    counts = made.counts
    click.echo("", err=True)
    click.echo(
        f"Строк {counts.lines}: новых {counts.added}, изменено {counts.changed}, без изменений {counts.same}, "
        f"отказано {counts.refused}; {made.seconds:.1f} с"
    )
    for code, count in sorted(made.codes.items()):
        click.echo(f"  {code}: {count}")
