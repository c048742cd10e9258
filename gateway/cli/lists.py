"""Whole lists out and in."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import click

from gateway.cli.root import Load, clock_of, main, operator, place_of

if TYPE_CHECKING:
    from gateway.access.model import Call
    from gateway.operations.model import FileInfo
    from gateway.store.engine import Store

_REFUSED = 3
"""The exit code where records of a list were refused."""


@main.group("list")
def lists() -> None:
    """Списки диспансерного наблюдения целиком."""


@lists.command("export")
@click.option("--organisation", help="код МО")
@click.option("--all", "everything", is_flag=True, help="списки всех МО")
@click.option("--year", type=int, required=True, help="год")
@click.option("--month", type=int, help="месяц, 1..12")
@click.option("--quarter", type=int, help="квартал, 1..4")
@click.option("--type", "list_type", default="OBSERVED", show_default=True, help="тип из LIST_TYPES")
@click.option("--edition", default="CURRENT", show_default=True, help="CURRENT или CLOSED")
@click.option("--group", help="только группа диагнозов, справочник DIAGNOSIS_GROUPS")
@click.option("--planned-month", help="только с планом на месяц ГГГГ-ММ")
@click.option("--format", "form", default="XML", show_default=True, help="XML, CSV, XLSX или DBF")
@click.option("--records-per-file", type=int, default=1000, show_default=True, help="записей в файле")
@click.option("--start-record", type=int, default=1, show_default=True, help="с какой записи списка")
@click.option("--mailbox", is_flag=True, help="положить файлы в абонентский пункт МО")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="каталог, куда записать файлы")
@click.option("--overwrite", is_flag=True, help="заменять файлы с теми же именами")
@click.pass_obj
def list_export(
    load: Load, organisation: str | None, everything: bool, year: int, month: int | None, quarter: int | None,
    list_type: str, edition: str, group: str | None, planned_month: str | None,
    form: str, records_per_file: int, start_record: int, mailbox: bool, out: Path | None, overwrite: bool,
) -> None:  # fmt: skip
    """Выгрузить список файлами; Ctrl-C прерывает выгрузку."""
    from gateway.access import audit
    from gateway.cli.work import follow
    from gateway.lists import Lists
    from gateway.lists.model import Choice
    from gateway.nsi.dictionaries import Nsi
    from gateway.operations import files

    if (organisation is None) is not everything:
        raise click.UsageError("Укажите либо --organisation, либо --all")
    if mailbox and everything:
        raise click.UsageError("В абонентский пункт выгружается список одной МО: укажите --organisation")
    if mailbox is (out is not None):
        raise click.UsageError("Укажите либо --mailbox, либо --out")
    if out is not None:
        _make(out)
    choice = Choice(
        year=year,
        list_type=list_type,
        month=month,
        quarter=quarter,
        edition=edition,
        diagnosis_group=group,
        planned_month=planned_month,
    )
    with place_of(load) as (place, values):
        store, clock = place.app(), clock_of(values)
        with store.begin() as connection:
            operation_id = Lists(values, Nsi(store, clock), clock).request_export(
                connection,
                _call("ExportList"),
                organisation,
                choice,
                start_record=start_record,
                records_per_file=records_per_file,
                delivery="MAILBOX" if mailbox else "DOWNLOAD",
                format=form,
            )
            audit.note(connection, "ExportList", {"operation": str(operation_id), "organisation": organisation})
        click.echo(f"Операция {operation_id}")
        follow(place, values, operation_id)
        with store.begin() as connection:
            made = files.of_operation(connection, operation_id)
        if out is not None:
            _save(store, made, out, operation_id, overwrite)
        click.echo(f"Файлов: {len(made)}, записаны в {out}" if out else f"Файлов в абонентском пункте: {len(made)}")


@lists.command("upload")
@click.argument("path", metavar="ФАЙЛ", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--organisation", required=True, help="код МО, чей это список")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="каталог протоколов; без него — рядом с файлом"
)
@click.pass_obj
def list_upload(load: Load, path: Path, organisation: str, out: Path | None) -> None:
    """Загрузить список МО (XML, CSV, DBF, DN_LIST; можно в ZIP); Ctrl-C прерывает загрузку.

    Код выхода: 0 — приняты все записи, 3 — часть записей отклонена (они в протоколах), 1 — файл не загружен.
    """
    from gateway.access import audit
    from gateway.cli.files import put
    from gateway.cli.work import follow
    from gateway.lists import Lists, queries
    from gateway.nsi.dictionaries import Nsi
    from gateway.operations import files, mailbox

    folder = path.parent if out is None else out
    _make(folder)
    with place_of(load) as (place, values):
        store, clock = place.app(), clock_of(values)
        with store.begin() as connection:
            mailbox.require_organisation(connection, organisation)
            file_id = put(connection, values, path, organisation, files.UPLOAD, mailbox=False)
            operation_id = Lists(values, Nsi(store, clock), clock).request_upload(
                connection, _call("UploadList"), organisation, file_id
            )
            audit.note(connection, "UploadList", {"operation": str(operation_id), "organisation": organisation})
        click.echo(f"Операция {operation_id}")
        follow(place, values, operation_id)
        with store.begin() as connection:
            made = files.of_operation(connection, operation_id)
            refused = queries.refused(connection, operation_id)
        _save(store, made, folder, operation_id, overwrite=True)
        click.echo(
            f"Протоколов: {len(made)}, записаны в {folder}" if made else "Файл был загружен раньше, изменений нет"
        )
        click.echo(f"Отклонено записей: {refused}")
    if refused:
        raise click.exceptions.Exit(_REFUSED)


def _call(operation: str) -> Call:
    """The operator, who sees every list as the fund does."""
    from gateway.access.model import Call, Caller, ClientKind

    caller = Caller(0, operator(), ClientKind.FUND, frozenset(), None, frozenset())
    return Call(caller=caller, service="operator", operation=operation, trace=str(uuid4()), at=datetime.now(UTC))


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise click.UsageError(f"Каталог {folder} не создаётся: {error.strerror}") from None


def _save(store: Store, made: Sequence[FileInfo], folder: Path, operation_id: UUID, overwrite: bool) -> None:
    """Writes the files into the folder: each whole or not at all, none over another one unless told so."""
    from gateway.operations import files

    there = [one.name for one in made if (folder / one.name).exists()]
    if there and not overwrite:
        raise click.UsageError(
            f"Файлов с такими именами уже есть в каталоге: {len(there)}, первый {there[0]}. Укажите другой каталог или"
            f" --overwrite; файлы выгрузки остаются у операции {operation_id}"
        )
    done = 0
    with click.progressbar(made, label="Запись в каталог", file=sys.stderr) as shown:
        for one in shown:
            part = folder / f".{one.file_id}.part"
            try:
                files.fetch(store, one.file_id, part)
                part.replace(folder / one.name)
            except OSError as error:
                raise click.ClickException(
                    f"Записано файлов: {done} из {len(made)}, дальше {error.strerror}. Все файлы остаются у операции"
                    f" {operation_id}: operation show назовёт их, file get запишет"
                ) from None
            finally:
                part.unlink(missing_ok=True)
            done += 1
