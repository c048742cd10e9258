"""Marks of registers of accounts put into lists, and cases taken back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import click

from gateway.cli.reconcile import reconcile
from gateway.cli.root import Load, clock_of, operator, place_of
from gateway.cli.work import follow

if TYPE_CHECKING:
    from gateway.settings import Settings
    from gateway.store.place import Place

_PIECE = 1024 * 1024


@reconcile.command("marks")
@click.argument("paths", metavar="[ФАЙЛ]...", nargs=-1, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--period", metavar="ГГГГ-ММ", help="отчётный месяц реестров")
@click.option("--dry-run", is_flag=True, help="только показать, что изменилось бы: план — файлом операции")
@click.option("--take-back", multiple=True, metavar="ФАЙЛ/IDCASE", help="отозвать случай (ФАЙЛ — все случаи файла)")
@click.option("--reason", default="Случай отклонён", show_default=True, help="почему случай отозван")
@click.pass_obj
def reconcile_marks(
    load: Load, paths: Sequence[Path], period: str | None, dry_run: bool, take_back: Sequence[str], reason: str
) -> None:
    """Внести в списки признаки наблюдения из реестров счетов (ZIP с медицинским и персональным файлами).

    Без файлов берутся те, что организации передали сами за этот и прежние месяцы и которые ещё не приняты.
    """
    if take_back:
        if paths or period or dry_run:
            raise click.UsageError("--take-back указывается без файлов, --period и --dry-run")
        _take_back(load, take_back, reason)
        return
    if period is None:
        raise click.UsageError("Укажите --period")
    from gateway.domain.periods import Month
    from gateway.operations import files
    from gateway.sync import marks

    wanted = Month.parse(period)
    with place_of(load) as (place, values):
        with place.app().begin() as connection:
            put = [_put(place, values, path) for path in paths]
            operation = marks.start(connection, wanted, put, dry=dry_run, login=operator(), trace=str(uuid4()))
        follow(place, values, operation)
        with place.app().begin() as connection:
            for one in files.of_operation(connection, operation):
                click.echo(f"{one.file_id}\t{one.owner.organisation or 'фонд'}\t{one.name}\t{one.size} байт")


def _put(place: Place, values: Settings, path: Path) -> UUID:
    """Streams a local packet into a file of the fund."""
    from gateway.operations.files import Writer
    from gateway.operations.model import Owner

    with place.app().begin() as connection, path.open("rb") as source:
        with Writer(connection, values, name=path.name, kind="UPLOAD", owner=Owner()) as out:
            while content := source.read(_PIECE):
                out.write(content)
        return out.file_id


def _take_back(load: Load, named: Sequence[str], reason: str) -> None:
    from gateway.access.model import Call
    from gateway.lists import Lists, errand
    from gateway.nsi.dictionaries import Nsi
    from gateway.sync import marks

    cases = [(file, case or None) for file, _, case in (one.partition("/") for one in named)]
    with place_of(load) as (place, values):
        clock = clock_of(values)
        store = place.app()
        lists = Lists(values, Nsi(store, clock), clock)
        with store.begin() as connection:
            caller = errand.caller_of(connection, None, operator())
            call = Call(caller, "operator", "MarksTakeBack", str(uuid4()), clock.now())
            counts = marks.take_back(lists, connection, call, cases, reason)
    click.echo(f"Отозвано признаков: {counts['marks']}; записей отправлено на проверку: {counts['reviews']}")
