"""Files and the mailboxes of organisations (Абонентский пункт), and who is told of a new file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

import click

from gateway.cli.root import Load, main, operator, place_of
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from gateway.operations.model import FileInfo
    from gateway.settings import Settings
    from gateway.store.engine import Store

_PIECE = 1024 * 1024


@main.group("file")
def file_group() -> None:
    """Файлы: принятые, выгруженные, положенные в абонентский пункт."""


@file_group.command("list")
@click.option("--organisation", help="код МО; без него — все файлы")
@click.option("--count", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="сколько показать")
@click.pass_obj
def file_list(load: Load, organisation: str | None, count: int) -> None:
    """Перечислить готовые файлы."""
    from gateway.operations import mailbox
    from gateway.operations.model import Scope

    with place_of(load) as (place, _), place.app().begin() as connection:
        total, page = mailbox.every(connection, Scope(), organisation=organisation, count=count)
    _show(total, page)


def _show(total: int, page: Iterable[FileInfo]) -> None:
    shown = 0
    for one in page:
        owner = one.owner.organisation or one.owner.insurer or "фонд"
        state = f"получен {one.confirmed_at:%d.%m.%Y %H:%M}" if one.confirmed_at else "не подтверждён"
        state = state if one.mailbox else "—"
        signed = "подписан" if one.signature_id else "—"
        times = f"{one.ready_at:%d.%m.%Y %H:%M}\tдо {one.expires_at:%d.%m.%Y}"
        click.echo(f"{one.file_id}\t{owner}\t{one.kind}\t{one.name}\t{one.size}\t{times}\t{state}\t{signed}")
        shown += 1
    click.echo(f"Показано файлов: {shown} из {total}")


@file_group.command("get")
@click.argument("file_id", metavar="ФАЙЛ", type=click.UUID)
@click.option("--out", type=click.Path(path_type=Path), help="куда записать; без него — под своим именем сюда")
@click.pass_obj
def file_get(load: Load, file_id: UUID, out: Path | None) -> None:
    """Записать файл (и его подпись) на диск: целиком, с проверкой суммы, или никак."""
    from gateway.access import audit
    from gateway.operations import files, mailbox

    with place_of(load) as (place, _):
        store = place.app()
        with store.begin() as connection:
            found = files.get(connection, file_id)
            if found is None:
                raise GatewayError("object.not-found")
            audit.note(connection, "FileGet", {"file": str(file_id), "organisation": found.owner.organisation})
        goal = out or Path(found.name)
        folder = goal.is_dir()
        if folder:
            goal = goal / found.name
        if (out is None or folder) and goal.exists():
            raise click.UsageError(f"Файл {goal} уже есть: назовите другой (--out)")
        _write(store, found, goal)
        if found.signature_id is not None:
            with store.begin() as connection:
                signature = files.get(connection, found.signature_id)
            if signature is not None:
                _write(store, signature, goal.with_name(goal.name + mailbox.SUFFIX))


def _write(store: Store, file: FileInfo, goal: Path) -> None:
    """Writes a file whole or not at all, readable by its owner alone."""
    from gateway.operations import files

    part = goal.with_name(f".{file.file_id}.part")
    try:
        files.fetch(store, file.file_id, part)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        part.replace(goal)
    except OSError as error:
        raise click.ClickException(f"Файл {goal} не записан: {error.strerror}") from error
    finally:
        part.unlink(missing_ok=True)
    click.echo(f"Записан {goal}: {file.size} байт, SHA-256 {file.sha256}")


@file_group.command("put")
@click.argument("path", metavar="ПУТЬ", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--organisation", required=True, help="код МО, в чей абонентский пункт")
@click.pass_obj
def file_put(load: Load, path: Path, organisation: str) -> None:
    """Положить файл в абонентский пункт организации; ПУТЬ.sig рядом с ним идёт вместе с ним."""
    from gateway.access import audit
    from gateway.operations import mailbox

    signature = path.with_name(path.name + mailbox.SUFFIX)
    with place_of(load) as (place, values), place.app().begin() as connection:
        mailbox.require_organisation(connection, organisation)
        for one in (path, signature):
            if one == path or one.is_file():
                file_id = put(connection, values, one, organisation, "NOTICE", mailbox=True)
                audit.note(connection, "FilePut", {"file": str(file_id), "organisation": organisation})
                click.echo(f"{one.name}\t{file_id}")


def put(connection: Connection, values: Settings, path: Path, organisation: str, kind: str, *, mailbox: bool) -> UUID:
    """Streams a local file in within the transaction, for the organisation."""
    from gateway.operations import files
    from gateway.operations.model import Owner

    with (
        path.open("rb") as source,
        files.Writer(connection, values, name=path.name, kind=kind, owner=Owner(organisation), mailbox=mailbox) as out,
    ):
        while content := source.read(_PIECE):
            out.write(content)
    return out.file_id


@file_group.command("move")
@click.argument("file_id", metavar="ФАЙЛ", type=click.UUID)
@click.option("--organisation", required=True, help="код МО, в чей абонентский пункт")
@click.pass_obj
def file_move(load: Load, file_id: UUID, organisation: str) -> None:
    """Переложить готовый файл с его подписью в абонентский пункт организации."""
    from gateway.access import audit
    from gateway.operations import mailbox

    with place_of(load) as (place, values), place.app().begin() as connection:
        mailbox.move(connection, values, file_id, organisation)
        audit.note(connection, "FileMove", {"file": str(file_id), "organisation": organisation})
    click.echo(f"Файл {file_id} в абонентском пункте организации {organisation}")


@main.group("mailbox")
def mailbox_group() -> None:
    """Абонентский пункт: файлы, которые ждут организацию, и извещения о них."""


@mailbox_group.command("list")
@click.option("--organisation", help="код МО; без него — все")
@click.option("--count", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="сколько показать")
@click.pass_obj
def mailbox_list(load: Load, organisation: str | None, count: int) -> None:
    """Перечислить файлы абонентского пункта."""
    from gateway.operations import files
    from gateway.operations.model import Scope

    with place_of(load) as (place, _), place.app().begin() as connection:
        total, page = files.mailbox(connection, Scope(), organisation=organisation, count=count)
    _show(total, page)


@mailbox_group.command("confirm")
@click.argument("file_id", metavar="ФАЙЛ", type=click.UUID)
@click.pass_obj
def mailbox_confirm(load: Load, file_id: UUID) -> None:
    """Отметить за организацию, что файл получен (переданный другим путём): срок его хранения сокращается."""
    from gateway.access import audit
    from gateway.operations import files

    with place_of(load) as (place, _), place.app().begin() as connection:
        found = files.confirm(connection, file_id, operator())
        audit.note(connection, "FileConfirm", {"file": str(file_id), "organisation": found.owner.organisation})
    click.echo(f"Файл {file_id} получен, хранится до {found.expires_at:%d.%m.%Y}")


@mailbox_group.command("contact")
@click.option("--organisation", help="код МО; без него — показать, кого извещают")
@click.option("--email", help="адрес почты для извещений о новых файлах")
@click.option("--webhook", help="адрес http:// или https://, на который передаётся извещение")
@click.option("--remove", is_flag=True, help="больше не извещать")
@click.pass_obj
def mailbox_contact(load: Load, organisation: str | None, email: str | None, webhook: str | None, remove: bool) -> None:
    """Задать, показать или снять извещение организации о новых файлах."""
    from gateway.access import audit
    from gateway.operations import notes

    given = email is not None or webhook is not None
    if (remove and given) or (organisation is None and (remove or given)):
        raise click.UsageError("Укажите --organisation и либо --email и --webhook, либо --remove")
    with place_of(load) as (place, _), place.app().begin() as connection:
        if organisation is not None and remove:
            notes.drop_contact(connection, organisation)
        elif organisation is not None and given:
            notes.set_contact(connection, organisation, email, webhook)
        if remove or given:
            made = {"organisation": organisation, "email": bool(email), "webhook": bool(webhook)}
            audit.note(connection, "MailboxContact", made)
        known = [one for one in notes.contacts(connection) if organisation in (None, one.organisation)]
    for one in known:
        click.echo(f"{one.organisation}\t{one.email or '—'}\t{one.webhook or '—'}")
    if not known:
        click.echo("Извещать некого")
