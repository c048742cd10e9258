"""Dictionaries and insured persons: loading what operators bring."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path

import click
from sqlalchemy import Connection

from gateway.cli.root import Load, clock_of, main, place_of


@main.group()
def nsi() -> None:
    """Справочники."""


@nsi.command("load")
@click.argument("file", metavar="ФАЙЛ", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--dictionary", help="имя справочника, если оно не видно из файла")
@click.option(
    "--valid-from", type=click.DateTime(["%Y-%m-%d"]), metavar="ГГГГ-ММ-ДД", help="с какого дня действует издание"
)
@click.option("--edition", help="обозначение издания")
@click.pass_obj
def nsi_load(load: Load, file: Path, dictionary: str | None, valid_from: datetime | None, edition: str | None) -> None:
    """Загрузить издание справочника: официальный файл МКБ-10 или собственный CSV."""
    from gateway.access import audit as audit_records
    from gateway.nsi import editions

    since = valid_from.date() if valid_from else None
    with place_of(load) as (place, _), place.app().begin() as connection:
        made = editions.load(connection, file, dictionary, since, edition)
        if not made.already:
            loaded = {"dictionary": made.dictionary, "edition": made.version, "rows": made.rows}
            audit_records.note(connection, "DictionaryLoad", loaded)
    done = "уже загружен" if made.already else "загружен"
    click.echo(f"{made.dictionary} {done}: издание {made.version} с {made.valid_from:%d.%m.%Y}, строк {made.rows}")


@nsi.command("list")
@click.pass_obj
def nsi_list(load: Load) -> None:
    """Перечислить издания справочников."""
    from gateway.nsi import editions

    with place_of(load) as (place, _), place.app().begin() as connection:
        for one in editions.all_of(connection):
            click.echo(f"{one.dictionary}\t{one.version}\tс {one.valid_from:%d.%m.%Y}\tстрок {one.rows}\t{one.source}")


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
