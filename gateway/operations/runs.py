"""The job of an operation: one run, brought to its end or to the next one; and what happens to runs whose process died."""

from __future__ import annotations

import errno
import logging
import shutil
from datetime import timedelta
from time import perf_counter
from uuid import UUID

from sqlalchemy import Connection

from gateway import logs
from gateway.errors import KINDS, GatewayError, Side
from gateway.operations import queries, queue
from gateway.operations.kinds import BODIES
from gateway.operations.model import State
from gateway.operations.queries import Standing
from gateway.operations.queue import Work, rescuer, task
from gateway.operations.run import Run, scratch
from gateway.operations.watch import Aborted, HandedOver, Replaced
from gateway.store import failures

RUN = "operations.run"
EXPIRE = "operations.expire"
LOSSES = 5
"""So many runs may break off (process or database gone) before the operation ends as failed."""

FAULTS = 3
"""The same for runs that end with an unexpected error."""

_FINAL = frozenset({"server.disk-full", "upstream.off", "upstream.endless"})
"""Failures of the server's side that another run would only meet again."""

_STRAY_SECONDS = 30.0
_UNKNOWN_SECONDS = 30.0
_PORTION = 1_000

_log = logging.getLogger(__name__)


@task(RUN, long=True)
def run(work: Work, operation: str) -> None:
    """The job of an operation: one run. An operation that has ended meanwhile is left alone."""
    operation_id = UUID(operation)
    taken = take(work, operation_id)
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


def take(work: Work, operation_id: UUID) -> Run | None:
    """The next run of an operation; ``None`` where it has ended, or is ended or left to others here."""
    with work.store.begin() as connection:
        before = queries.standing(connection, operation_id)
        if before is not None and before.state is State.RUNNING:
            queries.cut_off(connection, operation_id)
        standing = queries.lock_operation(connection, operation_id)
        if standing is None or standing.state.ended:
            return None
        if standing.aborting:
            end(connection, standing, State.ABORTED, "operation.aborted")
            return None
        if standing.state is State.RUNNING and standing.losses + 1 >= LOSSES:
            end(connection, standing, State.FAILED, "operation.lost")
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
        end(connection, standing, State.FAILED, "server.error")
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
    final = refusal is not None and (refusal.kind.side is not Side.SERVER or refusal.code in _FINAL)
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
            end(connection, standing, State.ABORTED, "operation.aborted")
        else:
            _requeue(connection, standing, seconds, lost=lost)


def defer(connection: Connection, operation_id: UUID, seconds: float = 0) -> int | None:
    return queue.defer(connection, RUN, delay=seconds, operation=str(operation_id))


def _requeue(connection: Connection, standing: Standing, seconds: float = 0, *, lost: bool = True) -> None:
    job = defer(connection, standing.operation_id, seconds)
    queries.requeue(connection, standing.operation_id, standing.attempt, job, lost=lost)


def end(connection: Connection, standing: Standing, state: State, code: str) -> None:
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
                end(connection, stray, State.ABORTED, "operation.aborted")
            elif stray.losses + 1 >= LOSSES:
                end(connection, stray, State.FAILED, "operation.lost")
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
