"""The root of the command line: settings, the database of a command, refusals as one Russian line."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import click
import psycopg
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


def clock_of(values: Settings) -> Clock:
    """The clock of the region."""
    return Clock(ZoneInfo(values.time_zone))


@contextmanager
def place_of(load: Load, *, current: bool = True) -> Iterator[tuple[Place, Settings]]:
    """The database of a command; with ``current`` its schema must be this program's."""
    from gateway.store import installation, migrate

    values = load()
    with open_place(values) as place:
        if current:
            with place.app().begin() as connection:
                migrate.require_current(connection)
                installation.check(connection, values)
        yield place, values


def operator() -> str:
    """Who works at the command line, as events and operations name it."""
    from gateway.access import audit as records

    return "оператор " + records.account()
