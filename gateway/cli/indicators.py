"""Indicators of dispensary observation: counting one, loading targets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from gateway import phrases
from gateway.cli.root import Load, clock_of, main, place_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gateway.lists.indicators import Figures


class _Indicator(phrases.Group):
    """``indicator BSK …`` is ``indicator show BSK …``."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in self.commands and not args[0].startswith("-"):
            args = ["show", *args]
        return super().resolve_command(ctx, args)


@main.group(cls=_Indicator)
def indicator() -> None:
    """Показатели диспансерного наблюдения."""


@indicator.command("show")
@click.argument("code", metavar="КОД")
@click.option("--year", type=click.IntRange(2000, 2100), required=True, help="год")
@click.option("--month", type=click.IntRange(1, 12), required=True, help="месяц: с 1 января по его конец")
@click.option("--organisation", help="код МО; без него — по региону")
@click.pass_obj
def indicator_show(load: Load, code: str, year: int, month: int, organisation: str | None) -> None:
    """Посчитать показатель (коды — справочник INDICATORS)."""
    from gateway.access import audit as audit_records
    from gateway.lists import Lists
    from gateway.lists.indicators import Wish
    from gateway.nsi.dictionaries import Nsi

    with place_of(load) as (place, values):
        store, clock = place.app(), clock_of(values)
        lists = Lists(values, Nsi(store, clock), clock)
        with store.begin() as connection:
            figures = lists.figures(connection, Wish(code, year, month, organisation))
            asked = {"indicator": code, "year": year, "month": month, "organisation": organisation}
            audit_records.note(connection, "Indicator", asked)
    for line in _shown(figures):
        click.echo(line)


def _shown(found: Figures) -> Iterator[str]:
    yield found.name
    yield f"Период: {found.period_start:%d.%m.%Y}–{found.period_end:%d.%m.%Y}, {found.organisation or 'регион'}"
    yield f"Числитель: {found.numerator}"
    yield f"Знаменатель: {found.denominator}"
    yield "Доля: " + ("—" if found.share is None else f"{found.share} %")
    yield "Целевое значение: " + ("—" if found.target is None else f"{found.target} %")
    yield f"На конец месяца: {found.month_end}"
    for title, rule in (
        ("Числитель", found.numerator_rule),
        ("Знаменатель", found.denominator_rule),
        ("На конец месяца", found.month_end_rule),
    ):
        yield f"{title}. {rule}."
    yield "Правила: " + "; ".join(f"{name} = {value}" for name, value in found.settings)
    yield f"Посчитано: {found.as_of:%d.%m.%Y %H:%M:%S}"


@indicator.group("targets")
def targets() -> None:
    """Целевые значения показателей."""


@targets.command("load")
@click.argument("file", metavar="ФАЙЛ", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_obj
def targets_load(load: Load, file: Path) -> None:
    """Загрузить целевые значения по месяцам из файла CSV."""
    from gateway.access import audit as audit_records
    from gateway.lists import indicator_targets
    from gateway.nsi.dictionaries import Nsi

    with place_of(load) as (place, values):
        store = place.app()
        nsi = Nsi(store, clock_of(values))
        with store.begin() as connection:
            count = indicator_targets.load(connection, file, nsi)
            audit_records.note(connection, "IndicatorTargetsLoad", {"file": file.name, "lines": count})
    click.echo(f"Загружено целевых значений: {count}")
