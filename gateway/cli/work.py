"""Long work: what is done, how far it is, its end."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any
from uuid import UUID

import click

from gateway.cli.root import Load, clock_of, main, operator, place_of
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from datetime import datetime

    from gateway.domain.clock import Clock
    from gateway.operations.model import Operation, ProtocolLine
    from gateway.settings import Settings
    from gateway.store.engine import Store
    from gateway.store.place import Place

STATES = {
    "QUEUED": "ждёт", "RUNNING": "выполняется", "DONE": "выполнена", "FAILED": "не выполнена", "ABORTED": "прервана",
}  # fmt: skip


def _states() -> str:
    return ", ".join(f"{code} ({text})" for code, text in STATES.items())


_LOOK_SECONDS = 0.3
_WORKER_SECONDS = 5.0


@main.group()
def operation() -> None:
    """Длительные операции: загрузка, выгрузка."""


@operation.command("list")
@click.option(
    "--state",
    type=click.Choice(list(STATES)),
    metavar="СОСТОЯНИЕ",
    help=f"только в этом состоянии: {_states()}",
)
@click.option("--kind", help="только этого вида, например EXPORT_LIST")
@click.option("--organisation", help="только этой МО, код")
@click.option("--last", type=click.IntRange(1, 1000), default=20, show_default=True, help="сколько последних показать")
@click.pass_obj
def operation_list(load: Load, state: str | None, kind: str | None, organisation: str | None, last: int) -> None:
    """Перечислить операции, последние сверху."""
    from gateway.operations import works
    from gateway.operations.model import Scope
    from gateway.sync import jobs  # noqa: F401  (registers the kinds)

    with place_of(load) as (place, values), place.app().begin() as connection:
        total, found = works.page(
            connection, Scope(), organisation=organisation, kind=kind, state=state, count=last
        )  # fmt: skip
        for one in found:
            whose = one.owner.organisation or one.owner.insurer or "фонд"
            when = _moment(one.created_at, clock_of(values))
            click.echo(f"{one.operation_id}\t{one.kind}\t{whose}\t{when}\t{_state(one)}")
    click.echo(f"Показано {len(found)} из {total}")


@operation.command("show")
@click.argument("operation_id", metavar="ОПЕРАЦИЯ", type=click.UUID)
@click.option("--follow", "followed", is_flag=True, help="следить до конца; Ctrl-C прерывает операцию")
@click.pass_obj
def operation_show(load: Load, operation_id: UUID, followed: bool) -> None:
    """Показать состояние операции, её протокол и файлы."""
    from gateway.operations import files, works

    with place_of(load) as (place, values):
        clock = clock_of(values)
        if followed:
            follow(place, values, operation_id)
        with place.app().begin() as connection:
            found = _found(works.get(connection, operation_id))
            made = files.of_operation(connection, operation_id)
            said = [] if followed else works.lines(connection, operation_id)
        for line in said:
            click.echo(_line(line, clock))
        click.echo(f"{_title(found)}: {_state(found)}")
        if found.code:
            click.echo(f"{found.code}: {found.message}")
        if found.estimated_end:
            click.echo(f"Окончание около {_moment(found.estimated_end, clock)}")
        for one in made:
            click.echo(f"{one.file_id}\t{one.name}\t{one.size} байт\t{one.sha256}")


@operation.command("abort")
@click.argument("operation_id", metavar="ОПЕРАЦИЯ", type=click.UUID)
@click.pass_obj
def operation_abort(load: Load, operation_id: UUID) -> None:
    """Прервать операцию; законченная не меняется."""
    with place_of(load) as (place, _):
        found = _abort(place.app(), operation_id)
    click.echo(f"{_title(found)}: {_state(found)}")


def follow(place: Place, values: Settings, operation_id: UUID) -> Operation:
    """Shows an operation until its end and returns it done; ends the command with 1 where it failed, with 130 where it
    was aborted.

    Ctrl-C asks to abort and waits for the end; a second one leaves. Where no worker is alive, one runs meanwhile as a
    child of this command. Raises ``object.not-found``.
    """
    store = place.app()
    with ExitStack() as stack:
        asked = stack.enter_context(_interrupts())
        view = stack.enter_context(_View(clock_of(values)))
        helper = stack.enter_context(_Helper(store))
        aborted = False
        while True:
            found = view.look(store, operation_id)
            if found.state.ended:
                break
            if asked.is_set() and not aborted:
                aborted = True
                _abort(store, operation_id)
                view.say("Прерывается. Ещё раз Ctrl-C — выйти, не дожидаясь конца")
                continue
            helper.tend(found)
            threading.Event().wait(_LOOK_SECONDS)
    if found.code:
        click.echo(f"Ошибка {found.code}: {found.message}", err=True)
        raise click.exceptions.Exit(130 if found.code == "operation.aborted" else 1)
    return found


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """The first Ctrl-C within the block sets the event, the second one ends the command."""
    asked = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


class _View:
    """Lines of the protocol as they come, and a bar for the present stage."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._next = 1
        self._waiting = False
        self._bar: Any = None
        self._shown: tuple[str | None, int | None] = (None, None)

    def __enter__(self) -> _View:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def look(self, store: Store, operation_id: UUID) -> Operation:
        from gateway.operations import works
        from gateway.operations.model import State

        with store.begin() as connection:
            found = _found(works.get(connection, operation_id))
            said = works.lines(connection, operation_id, self._next)
        for line in said:
            self.say(_line(line, self._clock))
            self._next = line.number + 1
        if found.state is State.QUEUED and not self._waiting:
            self.say("Ждёт исполнителя")
        self._waiting = found.state is State.QUEUED
        self._draw(found)
        return found

    def say(self, text: str) -> None:
        self._close()
        click.echo(text, err=True)

    def _draw(self, found: Operation) -> None:
        if found.total is None or found.done is None or found.state.ended:
            self._close()
            return
        if self._bar is None or self._shown != (found.stage, found.total):
            self._close()
            self._shown = found.stage, found.total
            self._bar = click.progressbar(length=found.total, file=sys.stderr)
            self._bar.__enter__()
        self._bar.update(found.done - self._bar.pos)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None


class _Helper:
    """A worker as a child of this command, where no other one is alive."""

    def __init__(self, store: Store) -> None:
        from gateway.supervisor import Supervisor

        self._store = store
        self._supervisor = Supervisor({"DN_GATEWAY_LOG_LEVEL": "ERROR"})
        self._waits = 0.0

    def __enter__(self) -> _Helper:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Who leaves without waiting takes the worker along; another one will find its work."""
        if kind is KeyboardInterrupt:
            self._supervisor.kill()
        self._supervisor.stop()

    def tend(self, found: Operation) -> None:
        """To be called at each look; begins the worker when the operation waits and nobody is there to take it."""
        from gateway.operations import queue
        from gateway.operations.model import State

        if self._supervisor.children:
            self._supervisor.tend()
            return
        self._waits -= _LOOK_SECONDS
        if found.state is not State.QUEUED or self._waits > 0:
            return
        self._waits = _WORKER_SECONDS
        with self._store.begin() as connection:
            if queue.live_workers(connection):
                return
        click.echo("Исполнитель заданий не запущен: работу выполнит эта команда", err=True)
        self._supervisor.start("исполнитель", [sys.executable, "-m", "gateway.cli", *_options(), "worker"])


def _options() -> list[str]:
    """The options of this command that its children need as well."""
    given = click.get_current_context().find_root().params
    return [part for name in ("config", "data") if given.get(name) for part in (f"--{name}", str(given[name]))]


def _abort(store: Store, operation_id: UUID) -> Operation:
    from gateway.access import audit
    from gateway.operations import works

    with store.begin() as connection:
        found = works.request_abort(connection, operation_id, operator())
        audit.note(connection, "AbortOperation", {"operation": str(operation_id)})
    return found


def _found(operation: Operation | None) -> Operation:
    if operation is None:
        raise GatewayError("object.not-found")
    return operation


def _title(found: Operation) -> str:
    from gateway.operations import works
    from gateway.sync import jobs  # noqa: F401  (registers the kinds)

    body = works.BODIES.get(found.kind)
    return body.title if body else found.kind


def _state(found: Operation) -> str:
    """The state in words, with how far the work is."""
    text = "прерывается" if found.aborting else STATES[found.state]
    if found.state.ended or found.stage is None:
        return text
    far = f" {found.done} из {found.total}" if found.total is not None and found.done is not None else ""
    return f"{text}: {found.stage}{far}"


def _line(line: ProtocolLine, clock: Clock) -> str:
    mark = {"WARNING": "! ", "ERROR": "!! "}.get(line.level, "")
    return f"{line.at.astimezone(clock.zone):%H:%M:%S} {mark}{line.text}"


def _moment(at: datetime, clock: Clock) -> str:
    return f"{at.astimezone(clock.zone):%d.%m.%Y %H:%M:%S}"
