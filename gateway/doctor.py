"""The check-up of an installation: what an operator should know before clinics notice it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from gateway.access import clients
from gateway.domain.clock import Clock
from gateway.errors import GatewayError
from gateway.nsi import catalogue, editions
from gateway.settings import Settings
from gateway.store import condition, installation, migrate
from gateway.store.place import Place
from gateway.sync import calendar
from gateway.sync.upstream import breaker

_DISK_BYTES = 5 * 1024**3
_SEAL_AGE = timedelta(minutes=10)


class Level(StrEnum):
    GOOD = "хорошо"
    WARNING = "внимание"
    BAD = "ошибка"


@dataclass(frozen=True, slots=True)
class Finding:
    level: Level
    text: str


def examine(place: Place, settings: Settings, clock: Clock) -> Iterator[Finding]:
    """All findings, the database first; what cannot be looked at without it is left out."""
    yield _disk(settings)
    if not settings.public_url:
        yield Finding(Level.WARNING, "public_url не задан: в WSDL стоит адрес веб-сервера")
    try:
        with place.app().begin() as connection:
            yield from _database(connection, settings)
            yield from _content(connection, clock)
            yield from _processes(connection, clock)
            yield from _upstream(connection, settings)
    except SQLAlchemyError:
        yield Finding(
            Level.BAD, "база данных не отвечает или не подготовлена: проверьте адрес, выполните dn-gateway migrate"
        )
    except GatewayError as error:
        yield Finding(Level.BAD, f"{error.message}. {error.kind.remedy}")
    if not place.has_owner:
        yield Finding(Level.WARNING, "database_owner_url не задан: срок хранения журнала доступа не применяется")


def _disk(settings: Settings) -> Finding:
    folder = Path(settings.data_dir)
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    level = Level.GOOD if free > _DISK_BYTES else Level.BAD
    return Finding(level, f"свободно на диске {folder}: {free / 1024**3:.1f} ГиБ")


def _database(connection: Connection, settings: Settings) -> Iterator[Finding]:
    migrate.require_server(connection)
    yield Finding(Level.GOOD, f"PostgreSQL {condition.server_version(connection)}")
    migrate.require_current(connection)
    yield Finding(Level.GOOD, f"версия схемы {migrate.head()}")
    installation.check(connection, settings)
    role = condition.role(connection)
    if role.superuser or role.owns_schema or role.may_change_audit:
        yield Finding(Level.BAD, f"роль приложения {role.name} может изменить журнал доступа: нужны две роли")
    else:
        yield Finding(Level.GOOD, f"роль приложения {role.name} не может изменить журнал доступа")


def _content(connection: Connection, clock: Clock) -> Iterator[Finding]:
    loaded = {edition.dictionary for edition in editions.all_of(connection) if edition.valid_from <= clock.today()}
    missing = sorted(name for name in catalogue.ALL if name not in loaded and name not in catalogue.TABLES)
    missing = [name for name in missing if name != "DICTIONARIES"]
    if missing:
        yield Finding(Level.BAD, "не загружены справочники: " + ", ".join(missing))
    else:
        yield Finding(Level.GOOD, "справочники загружены")
    active = [client for client in clients.list_all(connection) if client.disabled_at is None]
    now = clock.now()
    expiring = [
        one.login for one in active if not any(end is None or end > now + timedelta(days=14) for end in one.secrets)
    ]
    if not active:
        yield Finding(Level.WARNING, "нет ни одного действующего клиента")
    elif expiring:
        yield Finding(Level.WARNING, "секрет истекает в ближайшие 14 дней: " + ", ".join(expiring))
    else:
        yield Finding(Level.GOOD, f"действующих клиентов: {len(active)}")


def _processes(connection: Connection, clock: Clock) -> Iterator[Finding]:
    found = condition.processes(connection, calendar.LOCK)
    level = Level.GOOD if found.workers else Level.WARNING
    yield Finding(level, f"работает исполнителей заданий (worker): {found.workers}")
    level = Level.GOOD if found.calendar else Level.WARNING
    yield Finding(level, "календарь работает" if found.calendar else "календарь не работает")
    if found.failed:
        yield Finding(Level.WARNING, f"неудачных заданий: {found.failed}")
    if found.waiting > 100:
        yield Finding(Level.WARNING, f"заданий в очереди: {found.waiting}")
    if found.aside_since is not None:
        since = f"{found.aside_since:%d.%m.%Y}"
        yield Finding(Level.WARNING, f"записей загруженных списков ждут неизвестных лиц: {found.aside}, с {since}")
    if found.sealed_at is not None and clock.now() - found.sealed_at > _SEAL_AGE and found.calendar:
        yield Finding(Level.WARNING, "журнал доступа давно не запечатывался")


def _upstream(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Whether the sources of insured persons are named and asked."""
    if not settings.ferzl_url:
        yield Finding(Level.WARNING, "ferzl_url не задан: сверка с застрахованными невозможна")
    for name, state in breaker.states(connection).items():
        if state.open:
            yield Finding(Level.BAD, f"служба {name} не опрашивается: {state.failures} сбоев подряд")
        elif state.failures:
            yield Finding(Level.WARNING, f"служба {name}: сбоев подряд {state.failures}")
        else:
            yield Finding(Level.GOOD, f"служба {name} отвечает")
