"""The command line: thin commands, each calls the function of one feature. Long ones show progress and take Ctrl-C."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TextIO
from zoneinfo import ZoneInfo

import click
import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from gateway import __version__, phrases, settings
from gateway.domain.clock import Clock
from gateway.errors import GatewayError
from gateway.settings import Settings
from gateway.store.place import Place, open_place

phrases.install()


class Commands(phrases.Group):
    """Refusals become one Russian line and exit code 1, Ctrl-C exit code 130: never a traceback for what is expected."""

    def invoke(self, context: click.Context) -> object:
        try:
            return super().invoke(context)
        except (GatewayError, SQLAlchemyError, psycopg.Error) as error:
            from gateway.store.failures import named

            refusal = error if isinstance(error, GatewayError) else named(error)
            if refusal is None:
                raise
            click.echo(f"Ошибка {refusal.code}: {refusal.message}. {refusal.kind.remedy}.", err=True)
            context.exit(1)
        except KeyboardInterrupt:
            click.echo("Прервано", err=True)
            context.exit(130)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="%(version)s", help="показать версию")
@click.option("--config", type=click.Path(dir_okay=False), help="файл настроек TOML (или переменная DN_GATEWAY_CONFIG)")
@click.option("--data", type=click.Path(file_okay=False), help="каталог встроенной базы и файлов шлюза")
@click.pass_context
def main(context: click.Context, config: str | None, data: str | None) -> None:
    """Шлюз ДН: списки диспансерного наблюдения по SOAP."""
    from gateway.supervisor import end_with_parent

    end_with_parent()

    def load(**values: Any) -> Settings:
        return _settings(
            config, {"data_dir": data} | {name: value for name, value in values.items() if value is not None}
        )

    context.obj = load


def _settings(config: str | None, values: Mapping[str, Any]) -> Settings:
    """The settings in force; without a data folder of its own an ordinary user gets one in the home folder."""
    loaded = settings.load(config, **values)
    if loaded.data_dir == Settings.__dataclass_fields__["data_dir"].default and os.geteuid() != 0:
        home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
        return replace(loaded, data_dir=str(home / "dn-gateway"))
    return loaded


Load = Callable[..., Settings]


def _clock(values: Settings) -> Clock:
    return Clock(ZoneInfo(values.time_zone))


@contextmanager
def _place(load: Load, *, current: bool = True) -> Iterator[tuple[Place, Settings]]:
    """The database of a command; with ``current`` its schema must be this program's."""
    from gateway.store import installation, migrate

    values = load()
    with open_place(values) as place:
        if current:
            with place.app().begin() as connection:
                migrate.require_current(connection)
                installation.check(connection, values)
        yield place, values


# processes ------------------------------------------------------------------------------------------------------------


@main.command()
@click.option("--host", help="адрес, на котором слушает веб-сервер")
@click.option("--port", type=click.IntRange(0, 65535), help="порт веб-сервера; 0 — любой свободный")
@click.option("--data", type=click.Path(file_okay=False), help="каталог данных демонстрации")
@click.option(
    "--persons", type=click.IntRange(1), default=60_000, show_default=True, help="людей в вымышленном регионе"
)
@click.option("--entries", type=click.IntRange(0), default=100_000, show_default=True, help="записей списков ДН")
@click.option("--seed", type=int, default=1, show_default=True, help="число, от которого зависит вымысел")
@click.pass_obj
def demo(
    load: Load, host: str | None, port: int | None, data: str | None, persons: int, entries: int, seed: int
) -> None:
    """Всё сразу на одной машине: встроенная база, вымышленный регион, веб-сервер, задания, календарь."""
    from gateway import logs
    from gateway.demo import Demo, free_port

    values = load(host=host, port=port, data_dir=data)
    if values.port == 0:
        values = replace(values, port=free_port(values.host))
    logs.setup(values)
    Demo(values, persons, entries, seed, click.echo).run()


@main.command()
@click.pass_obj
def serve(load: Load) -> None:
    """Веб-сервер: службы SOAP, описания, состояние."""
    from gateway import logs, web

    values = load()
    logs.setup(values)
    with _place(lambda: values) as (place, _):
        status = web.serve(replace(values, database_url=place.app_url))
    sys.exit(status)


@main.command()
@click.option("--concurrency", type=click.IntRange(1, 64), default=4, show_default=True, help="заданий одновременно")
@click.pass_obj
def worker(load: Load, concurrency: int) -> None:
    """Исполнитель заданий. По SIGTERM заканчивает начатое; процессов может быть много."""
    from gateway import logs
    from gateway.operations.queue import Work, Worker
    from gateway.sync import jobs  # noqa: F401  (registers the tasks)

    values = load()
    logs.setup(values)
    with _place(lambda: values) as (place, _):
        owner = place.owner(2) if place.has_owner else None
        Worker(Work(place.app(concurrency + 2), owner, values, _clock(values)), concurrency=concurrency).run()


@main.command()
@click.pass_obj
def calendar(load: Load) -> None:
    """Календарь: начинает регулярные задания. Ведёт один процесс, остальные ждут своей очереди."""
    import signal
    import threading

    from gateway import logs
    from gateway.sync.calendar import Calendar
    from gateway.sync.jobs import JOBS

    values = load()
    logs.setup(values)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with _place(lambda: values) as (place, _):
        Calendar(place.app(4), JOBS, _clock(values)).run(stop)


# care of the installation ---------------------------------------------------------------------------------------------


@main.command()
@click.pass_obj
def migrate(load: Load) -> None:
    """Подготовить или обновить базу данных: схема, права ролей, справочники поставки."""
    from gateway.store.migrate import head
    from gateway.upgrade import upgrade

    with _place(load, current=False) as (place, values):
        changed = upgrade(place, values)
    click.echo(f"База данных {'обновлена' if changed else 'уже в порядке'}: версия схемы {head()}")


@main.command()
@click.pass_obj
def doctor(load: Load) -> None:
    """Проверить установку. Код выхода 1, если найдена ошибка."""
    from gateway.doctor import Level, examine

    bad = False
    with _place(load, current=False) as (place, values):
        for finding in examine(place, values, _clock(values)):
            bad |= finding.level is Level.BAD
            click.echo(f"{finding.level:<9} {finding.text}")
    sys.exit(1 if bad else 0)


@main.command()
@click.argument("file", metavar="ФАЙЛ", type=click.Path(dir_okay=False, path_type=Path))
@click.pass_obj
def backup(load: Load, file: Path) -> None:
    """Записать копию базы данных в файл (pg_dump)."""
    from gateway.store import dump

    with _place(load) as (place, _):
        dump.backup(place.owner_url, file)
    click.echo(f"Копия записана: {file}, {file.stat().st_size / 1024**2:.1f} МиБ")


@main.command()
@click.argument("file", metavar="ФАЙЛ", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_obj
def restore(load: Load, file: Path) -> None:
    """Восстановить пустую базу данных из копии (pg_restore) и обновить её схему."""
    from gateway.store import dump
    from gateway.upgrade import upgrade

    with _place(load, current=False) as (place, values):
        dump.restore(place.owner_url, file)
        upgrade(place, values)
    click.echo("База данных восстановлена")


# clients --------------------------------------------------------------------------------------------------------------


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

    with _place(load) as (place, _), place.app().begin() as connection:
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

    with _place(load) as (place, _), place.app().begin() as connection:
        secret = clients.rotate(connection, login, timedelta(hours=overlap_hours))
    click.echo(f"Новый секрет клиента {login} (больше не показывается): {secret}")


@client.command("list")
@click.pass_obj
def client_list(load: Load) -> None:
    """Перечислить клиентов."""
    from gateway.access import clients

    with _place(load) as (place, _), place.app().begin() as connection:
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

    with _place(load) as (place, _), place.app().begin() as connection:
        clients.disable(connection, login)
    click.echo(f"Клиент {login} отключён")


@client.command("enable")
@click.argument("login", metavar="КЛИЕНТ")
@click.pass_obj
def client_enable(load: Load, login: str) -> None:
    """Снова разрешить отключённому клиенту вызовы."""
    from gateway.access import clients

    with _place(load) as (place, _), place.app().begin() as connection:
        clients.enable(connection, login)
    click.echo(f"Клиент {login} действует")


@client.command("revoke")
@click.argument("login", metavar="КЛИЕНТ")
@click.pass_obj
def client_revoke(load: Load, login: str) -> None:
    """Отозвать все секреты клиента немедленно; новый выдаёт rotate."""
    from gateway.access import clients

    with _place(load) as (place, _), place.app().begin() as connection:
        revoked = clients.revoke(connection, login)
    click.echo(f"Отозвано секретов: {revoked}")


@client.command("grant")
@click.argument("login", metavar="КЛИЕНТ")
@click.argument("rights", metavar="ПРАВО…", nargs=-1, required=True)
@click.pass_obj
def client_grant(load: Load, login: str, rights: Sequence[str]) -> None:
    """Добавить клиенту права: имена операций, all или read."""
    from gateway.access import clients

    with _place(load) as (place, _), place.app().begin() as connection:
        now = clients.grant(connection, login, _named(rights))
    click.echo(f"Права клиента {login}: {', '.join(now)}")


@client.command("withdraw")
@click.argument("login", metavar="КЛИЕНТ")
@click.argument("rights", metavar="ПРАВО…", nargs=-1, required=True)
@click.pass_obj
def client_withdraw(load: Load, login: str, rights: Sequence[str]) -> None:
    """Убрать у клиента права: имена операций, all или read."""
    from gateway.access import clients

    with _place(load) as (place, _), place.app().begin() as connection:
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

    with _place(load) as (place, _), place.app().begin() as connection:
        (clients.revoke_certificate if revoke else clients.add_certificate)(connection, login, sha256)
    click.echo("Сертификат отозван" if revoke else "Сертификат принимается")


# dictionaries and people ----------------------------------------------------------------------------------------------


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
    with _place(load) as (place, _), place.app().begin() as connection:
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

    with _place(load) as (place, _), place.app().begin() as connection:
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

    with _place(load) as (place, values):
        owner, clock = place.owner(), _clock(values)
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


# contract -------------------------------------------------------------------------------------------------------------


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


# months, jobs, audit --------------------------------------------------------------------------------------------------


def _operator() -> str:
    from gateway.access import audit as records

    return "оператор " + records.account()


@main.group()
def month() -> None:
    """Закрытие месяцев."""


@month.command("close")
@click.argument("period", metavar="ГГГГ-ММ")
@click.option("--organisation", "organisations", multiple=True, help="код МО; без него — все, у кого месяц не закрыт")
@click.pass_obj
def month_close(load: Load, period: str, organisations: Sequence[str]) -> None:
    """Закрыть месяц: его списки замораживаются."""
    from gateway.access import audit as audit_records
    from gateway.domain.periods import Month
    from gateway.lists import Lists, queries
    from gateway.nsi.dictionaries import Nsi
    from gateway.services.observation_v1 import RENDER

    wanted = Month.parse(period)
    with _place(load) as (place, values):
        store = place.app()
        lists = Lists(values, Nsi(store, _clock(values)), _clock(values))
        with store.begin() as connection:
            chosen = organisations or queries.organisations(connection)
        done = 0
        for organisation in chosen:
            try:
                with store.begin() as connection:
                    edition = lists.close(connection, organisation, wanted, _operator(), RENDER)
                    made = {"organisation": organisation, "month": str(wanted), "edition": edition}
                    audit_records.note(connection, "MonthClose", made)
            except GatewayError as error:
                if error.code != "month.closed" or organisations:
                    raise
                continue
            done += 1
            click.echo(f"{organisation}: месяц {wanted} закрыт, редакция {edition}")
    if not done:
        click.echo("Закрывать нечего: нет организаций со списками, у которых этот месяц открыт")


@month.command("reopen")
@click.argument("period", metavar="ГГГГ-ММ")
@click.option("--organisation", required=True, help="код МО")
@click.option("--reason", required=True, help="причина")
@click.pass_obj
def month_reopen(load: Load, period: str, organisation: str, reason: str) -> None:
    """Открыть закрытый месяц."""
    from gateway.access import audit as audit_records
    from gateway.domain.periods import Month
    from gateway.lists import Lists
    from gateway.nsi.dictionaries import Nsi

    wanted = Month.parse(period)
    with _place(load) as (place, values):
        store = place.app()
        lists = Lists(values, Nsi(store, _clock(values)), _clock(values))
        with store.begin() as connection:
            lists.reopen_month(connection, organisation, wanted, _operator(), reason)
            audit_records.note(connection, "MonthReopen", {"organisation": organisation, "month": str(wanted)})
    click.echo(f"{organisation}: месяц {wanted} открыт")


@main.group()
def job() -> None:
    """Регулярные задания."""


@job.command("list")
@click.option(
    "--last", type=click.IntRange(0, 1000), default=20, show_default=True, help="сколько последних запусков показать"
)
@click.pass_obj
def job_list(load: Load, last: int) -> None:
    """Перечислить задания календаря и последние запуски."""
    from gateway.operations import queries
    from gateway.sync.calendar import overview
    from gateway.sync.jobs import JOBS

    with _place(load) as (place, _):
        store = place.app()
        for one, period, _begun in overview(store, JOBS):
            click.echo(f"{one.name}\t{one.cron}\t{one.text}\tпоследний период: {period or '—'}")
        with store.begin() as connection:
            for line in queries.last_jobs(connection, last):
                changed = f"{line.changed_at:%d.%m.%Y %H:%M:%S}" if line.changed_at else "—"
                click.echo(f"  №{line.number}\t{line.task}\t{_STATES.get(line.status, line.status)}\t{changed}")


_STATES = {
    "todo": "ждёт", "doing": "выполняется", "succeeded": "выполнено", "failed": "не выполнено", "cancelled": "отменено",
    "aborted": "прервано",
}  # fmt: skip


@job.command("run")
@click.argument("name", metavar="ЗАДАНИЕ")
@click.pass_obj
def job_run(load: Load, name: str) -> None:
    """Поставить задание календаря в очередь сейчас, сверх расписания."""
    from gateway.operations import queue
    from gateway.sync.jobs import JOBS

    if name not in JOBS:
        raise GatewayError("object.not-found")
    with _place(load) as (place, _), place.app().begin() as connection:
        number = queue.defer(connection, JOBS[name].task, alone=JOBS[name].task, single=True)
    click.echo(f"Задание поставлено в очередь под номером {number}" if number else "Такое задание уже ждёт в очереди")


@main.group()
def audit() -> None:
    """Журнал доступа к персональным данным."""


@audit.command("export")
@click.argument("file", metavar="ФАЙЛ", type=click.File("w", encoding="utf-8"))
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d"]),
    metavar="ГГГГ-ММ-ДД",
    help="только пачки, запечатанные не раньше этого дня",
)
@click.pass_obj
def audit_export(load: Load, file: TextIO, since: datetime | None) -> None:
    """Выгрузить журнал строками JSON вместе с печатями пачек."""
    from gateway.access import audit as records
    from gateway.access import chain

    with _place(load) as (place, values), place.app().begin() as connection:
        moment = since.replace(tzinfo=ZoneInfo(values.time_zone)) if since else None
        count = 0
        for line in chain.export(connection, moment):
            file.write(line + "\n")
            count += 1
        records.note(connection, "AuditExport", {"lines": count, "since": moment.isoformat() if moment else None})
    click.echo(f"Строк: {count}", err=True)


@audit.command("verify")
@click.option("--head", help="печать последней пачки, сохранённая при прежней проверке")
@click.pass_obj
def audit_verify(load: Load, head: str | None) -> None:
    """Пересчитать цепочку печатей журнала; код выхода 1, если она нарушена."""
    from gateway.access import chain

    with _place(load) as (place, _), place.app().begin() as connection:
        report = chain.verify(connection, head=head)
    click.echo(f"Пачек {report.batches}, записей {report.records}, ещё не запечатано {report.unsealed}")
    click.echo(f"Печать последней пачки: {report.head}")
    for text, ids in (("изменены", report.changed), ("удалены", report.removed), ("вставлены", report.inserted)):
        if ids:
            click.echo(f"Записи {text}: {', '.join(map(str, ids))}")
    if report.first_bad is not None:
        click.echo(f"Первая нарушенная пачка: {report.first_bad}")
    if not report.knows_head:
        click.echo("Указанной печати в цепочке нет")
    click.echo("Журнал цел" if report.intact else "ЖУРНАЛ НАРУШЕН")
    sys.exit(0 if report.intact else 1)


if __name__ == "__main__":
    main()
