"""Long work: kinds of operations that upper packages register, their start, state, protocol and abort.

Every operation ends as DONE, FAILED (code and Russian message) or ABORTED. A run whose process died is followed by
another one; a run that was replaced writes nothing more.
"""

from __future__ import annotations

import errno
import logging
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import perf_counter
from typing import Any
from uuid import UUID, uuid4

from sqlalchemy import Connection

from gateway import logs
from gateway.errors import KINDS, GatewayError, Side
from gateway.operations import queries, queue
from gateway.operations.model import Operation, Owner, ProtocolLine, Scope, State
from gateway.operations.queries import Standing
from gateway.operations.queue import Work, rescuer, task
from gateway.operations.run import Run, scratch
from gateway.operations.watch import Aborted, HandedOver, Replaced
from gateway.store import failures

__all__ = ["BODIES", "Body", "Run", "get", "lines", "operation", "page", "request_abort", "start"]

RUN = "operations.run"
EXPIRE = "operations.expire"
LOSSES = 5
"""So many runs may break off (process or database gone) before the operation ends as failed."""

FAULTS = 3
"""The same for runs that end with an unexpected error."""

_STRAY_SECONDS = 30.0
_UNKNOWN_SECONDS = 30.0
_PORTION = 1_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Body:
    """A kind of operation: its code, its name for people, and the function that does the work."""

    kind: str
    title: str
    function: Callable[[Run], None]


BODIES: dict[str, Body] = {}


def operation(kind: str, title: str) -> Callable[[Callable[[Run], None]], Callable[[Run], None]]:
    """Registers the body of a kind of operation. Kinds are part of the contract and never change."""

    def register(function: Callable[[Run], None]) -> Callable[[Run], None]:
        if kind in BODIES:
            raise ValueError(f"operation {kind} is registered twice")
        BODIES[kind] = Body(kind, title, function)
        return function

    return register


def start(
    connection: Connection,
    kind: str,
    parameters: Mapping[str, Any],
    *,
    owner: Owner,
    client_id: int | None,
    login: str,
    trace: str,
) -> UUID:
    """Begins an operation with the transaction of ``connection``; ``parameters`` are JSON without personal values."""
    if kind not in BODIES:
        raise KeyError(kind)
    operation_id = uuid4()
    queries.insert_operation(
        connection,
        operation_id,
        kind,
        owner,
        parameters,
        client_id=client_id,
        login=login,
        trace=trace,
        job_id=_defer(connection, operation_id),
    )
    return operation_id


def get(connection: Connection, operation_id: UUID) -> Operation | None:
    return queries.operation(connection, operation_id)


def lines(connection: Connection, operation_id: UUID, from_line: int = 1, count: int = 1000) -> list[ProtocolLine]:
    """The protocol from a line on; lines are numbered from 1."""
    return queries.operation_lines(connection, operation_id, from_line, count)


def page(
    connection: Connection,
    scope: Scope,
    *,
    organisation: str | None = None,
    kind: str | None = None,
    state: str | None = None,
    since: datetime | None = None,
    start: int = 1,
    count: int = 100,
) -> tuple[int, list[Operation]]:
    """How many operations of the scope there are and ``count`` of them from number ``start`` on, newest first.

    ``since`` is the earliest moment of their beginning. Raises ``operation.kind`` for an unknown kind or state.
    """
    if (kind is not None and kind not in BODIES) or (state is not None and state not in State.__members__):
        raise GatewayError("operation.kind")
    return queries.operations(
        connection,
        scope,
        organisation=organisation,
        kind=kind,
        state=state,
        since=since,
        skip=start - 1,
        count=count,
    )


def counts(connection: Connection) -> dict[tuple[str, str], int]:
    """How many operations the database keeps, by kind and state."""
    return queries.operation_counts(connection)


def request_abort(connection: Connection, operation_id: UUID, by: str) -> Operation:
    """Asks an operation to end: one that waits ends at once, one that runs at its next safe point, an ended one stays.

    Raises ``object.not-found``.
    """
    standing = queries.lock_operation(connection, operation_id)
    if standing is None:
        raise GatewayError("object.not-found")
    if not standing.state.ended:
        queries.note_abort(connection, operation_id, by)
    if standing.state is State.QUEUED:
        _end(connection, standing, State.ABORTED, "operation.aborted")
    found = queries.operation(connection, operation_id)
    assert found is not None
    return found


@task(RUN)
def run(work: Work, operation: str) -> None:
    """The job of an operation: one run. An operation that has ended meanwhile is left alone."""
    operation_id = UUID(operation)
    taken = _take(work, operation_id)
    if taken is None:
        return
    token = logs.trace.set(taken.trace)
    began = perf_counter()
    try:
        with taken:
            outcome = _perform(taken)
    finally:
        logs.trace.reset(token)
    milliseconds = round((perf_counter() - began) * 1000)
    details = {"operation": taken.kind, "outcome": outcome, "milliseconds": milliseconds, "trace": taken.trace}
    _log.info("Операция", extra=details)


def _take(work: Work, operation_id: UUID) -> Run | None:
    with work.store.begin() as connection:
        before = queries.standing(connection, operation_id)
        if before is not None and before.state is State.RUNNING:
            queries.cut_off(connection, operation_id)
        standing = queries.lock_operation(connection, operation_id)
        if standing is None or standing.state.ended:
            return None
        if standing.aborting:
            _end(connection, standing, State.ABORTED, "operation.aborted")
            return None
        if standing.state is State.RUNNING and standing.losses + 1 >= LOSSES:
            _end(connection, standing, State.FAILED, "operation.lost")
            return None
        if standing.kind not in BODIES:
            _leave(connection, standing)
            return None
        taken = queries.take(connection, operation_id)
        text = "Начата" if taken["attempt"] == 1 else "Продолжена"
        queries.add_line(connection, operation_id, "INFO", text)
    return Run(work, operation_id, taken)


def _leave(connection: Connection, standing: Standing) -> None:
    """A kind that this program does not know: another worker, of a newer version, may."""
    if standing.losses + 1 >= LOSSES:
        _end(connection, standing, State.FAILED, "server.error")
    else:
        _requeue(connection, standing, _UNKNOWN_SECONDS)
    _log.error("Вид операции неизвестен этой версии программы", extra={"operation": standing.kind})


def _perform(run: Run) -> str:
    """Runs the body and brings the operation to where it belongs; returns the outcome for the log."""
    try:
        BODIES[run.kind].function(run)
        if not run.finished:
            with run.begin() as connection:
                run.finish(connection)
        return "done"
    except Replaced:
        return "replaced"
    except Aborted:
        run.end(State.ABORTED, "operation.aborted", KINDS["operation.aborted"].message)
        return "aborted"
    except HandedOver:
        _again(run, "Передана другому исполнителю", 0, lost=False)
        return "handed-over"
    except Exception as error:
        return _fail(run, error)


def _fail(run: Run, error: Exception) -> str:
    """Ends the run as its error deserves: a refusal is final, what a repeat may mend is repeated."""
    refusal = _named(error)
    final = refusal is not None and (refusal.kind.side is not Side.SERVER or refusal.code == "server.disk-full")
    if not final:
        _log.error("Операция не выполнена", exc_info=error, extra={"operation": run.kind})
    if failures.is_lost(error):
        failures.renew(run.work.store)
    refusal = refusal or GatewayError("server.error")
    most = FAULTS if refusal.code == "server.error" else LOSSES
    if final or run.losses + 1 >= most:
        run.end(State.FAILED, refusal.code, refusal.message)
        return "failed"
    _again(run, f"{refusal.message}. Будет повторена", 4 ** (run.losses + 1), lost=True)
    return "repeated"


def _named(error: Exception) -> GatewayError | None:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return GatewayError("server.disk-full")
    return failures.named(error)


def _again(run: Run, text: str, seconds: int, *, lost: bool) -> None:
    """Lets the operation wait for its next run; the new job and the state are one transaction."""
    run.line(text, "WARNING")
    run.flush()
    with run.work.store.begin() as connection:
        standing = queries.lock_operation(connection, run.id)
        if standing is None or standing.attempt != run.attempt or standing.state.ended:
            return
        if standing.aborting:
            _end(connection, standing, State.ABORTED, "operation.aborted")
        else:
            _requeue(connection, standing, seconds, lost=lost)


def _defer(connection: Connection, operation_id: UUID, seconds: float = 0) -> int | None:
    return queue.defer(connection, RUN, delay=seconds, operation=str(operation_id))


def _requeue(connection: Connection, standing: Standing, seconds: float = 0, *, lost: bool = True) -> None:
    job = _defer(connection, standing.operation_id, seconds)
    queries.requeue(connection, standing.operation_id, standing.attempt, job, lost=lost)


def _end(connection: Connection, standing: Standing, state: State, code: str) -> None:
    """Ends an operation that has no run, or whose run is gone."""
    if queries.end(connection, standing.operation_id, standing.attempt, state, code, KINDS[code].message):
        queries.add_line(connection, standing.operation_id, "ERROR", KINDS[code].message)


@rescuer
def rescue(work: Work) -> None:
    """Finds operations that nobody works on: they get another run, or their end."""
    with work.store.begin() as connection:
        queries.cut_off_strayed(connection, _STRAY_SECONDS)
        for stray in queries.strayed(connection, _STRAY_SECONDS):
            if stray.aborting:
                _end(connection, stray, State.ABORTED, "operation.aborted")
            elif stray.losses + 1 >= LOSSES:
                _end(connection, stray, State.FAILED, "operation.lost")
            else:
                _requeue(connection, stray)
            _log.warning("Найдена операция без исполнителя", extra={"operation": stray.kind})
    _clear_scratch(work)


def _clear_scratch(work: Work) -> None:
    """Removes what killed runs of this machine have left on its disk."""
    folders = {}
    for one in scratch(work.settings).glob("*-*-*-*-*/*"):
        try:
            folders[one] = UUID(one.parent.name), int(one.name)
        except ValueError:
            continue
    if not folders:
        return
    with work.store.begin() as connection:
        running = queries.running(connection, [operation_id for operation_id, _ in folders.values()])
    for folder, (operation_id, attempt) in folders.items():
        if running.get(operation_id) != attempt:
            shutil.rmtree(folder, ignore_errors=True)
            try:
                folder.parent.rmdir()
            except OSError:
                continue


@task(EXPIRE)
def expire(work: Work) -> int:
    """Deletes operations that ended more than ``operation_days`` ago and have no files left, with their protocols."""
    before = work.clock.now() - timedelta(days=work.settings.operation_days)
    deleted = 0
    while True:
        with work.store.begin() as connection:
            portion = queries.delete_old_operations(connection, before, _PORTION)
        deleted += portion
        if portion < _PORTION:
            return deleted
