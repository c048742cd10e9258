"""The monthly work: comparison with the insured, marks of registers, month close, lists into mailboxes, one after another.

A month has one row, so its work begins once. Each step is one or more operations; the next one begins when all of them
are done. A braked comparison waits for a decision, a failed step for its repeat: by itself where a repeat may help, or by
``month resume``. Everything is read from the database at each look, so that any process goes on where another has ended.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence

from sqlalchemy import Connection, RowMapping

from gateway.domain.periods import Month
from gateway.errors import KINDS, GatewayError, Side
from gateway.operations.queue import Work, task
from gateway.sync import queries
from gateway.sync.calendar import moment_of
from gateway.sync.insured.queries import KIND
from gateway.sync.monthly_steps import EXPORTS, STEPS, Part, Place, Stand, Step
from gateway.sync.signs import Sign

BEGIN, GO = "monthly.begin", "monthly.go"
LOCK = 7_305_012

LATE = "3 days"
"""A month that is not done so long after it began is late."""

REST = "1 hour"
TRIES = 24
"""A step that failed for a reason of the server's side is repeated each hour, so many times in all."""

_FINAL = frozenset({"operation.aborted", "upstream.off"})
_MONTHS = 24
_NAMED = 5

_log = logging.getLogger(__name__)


@task(BEGIN)
def begin(work: Work, period: str) -> None:
    """Begins the work of the month before a period of the calendar, once."""
    month = Month.of(moment_of(period).date()).shift(-1)
    with work.store.begin() as connection:
        if queries.begin_month(connection, month.number):
            _log.info("Обработка месяца начата", extra={"period": str(month)})
    go(work)


@task(GO)
def go(work: Work) -> None:
    """Goes on as far as the work of the oldest open month, and then of the next one, can go now."""
    moved = True
    while moved:
        with work.store.begin() as connection:
            moved = queries.my_turn(connection, LOCK) and _forward(connection, work)


def resume(connection: Connection, work: Work, month: Month) -> None:
    """Begins the failed step of a month again. Raises ``object.not-found``, ``month.not-stopped``."""
    run = _stopped(connection, month)
    rows = queries.steps(connection, month.number, run["step"])
    kept = {row["organisation"] for row in rows if row["state"] != Stand.FAILED}
    _begin(Place(connection, work, month), STEPS[run["step"]], kept)


def skip(connection: Connection, month: Month) -> str:
    """Leaves the failed step of a month out; returns its title. Raises ``object.not-found``, ``month.not-stopped``."""
    run = _stopped(connection, month)
    step = STEPS[run["step"]]
    for row in queries.steps(connection, month.number, step.name):
        if row["state"] == Stand.FAILED:
            queries.set_step(connection, month.number, step.name, row["organisation"], Stand.PASSED, row["code"])
    _advance(connection, month, step)
    return step.title


def _stopped(connection: Connection, month: Month) -> RowMapping:
    run = queries.month(connection, month.number)
    if run is None:
        raise GatewayError("object.not-found")
    if run["state"] != Stand.FAILED:
        raise GatewayError("month.not-stopped")
    return run


def _forward(connection: Connection, work: Work) -> bool:
    """One move, if there is one. Months go in their order: one whose exports alone have failed is closed, and lets the
    next one pass."""
    for run in queries.open_months(connection, REST):
        if _move(connection, work, run):
            return True
        if run["state"] != Stand.FAILED or run["step"] != EXPORTS:
            return False
    return False


def _move(connection: Connection, work: Work, run: RowMapping) -> bool:
    place, step = Place(connection, work, Month.from_number(run["month"])), STEPS[run["step"]]
    rows = queries.steps(connection, run["month"], step.name)
    if not rows:
        return _begin(place, step, ())
    if run["state"] != Stand.FAILED:
        return _look(place, step, run, rows)
    again = {row["organisation"] for row in rows if _may_help(row)}
    return bool(run["rested"] and again) and _begin(place, step, {row["organisation"] for row in rows} - again)


def _may_help(row: RowMapping) -> bool:
    """Whether a part has failed for a reason of the server's side, and not too often yet."""
    kind = KINDS.get(row["code"])
    if row["state"] != Stand.FAILED or kind is None or kind.side is not Side.SERVER or row["code"] in _FINAL:
        return False
    return bool(row["tries"] < TRIES)


def _begin(place: Place, step: Step, kept: Collection[str]) -> bool:
    """Begins what a step is made of, but for organisations that keep what they have; a refusal is its failure. False
    where it has to wait."""
    connection, month = place.connection, place.month.number
    try:
        with connection.begin_nested():
            begun = step.begin(place, kept)
    except GatewayError as refusal:
        if refusal.code == "reconcile.running":
            return False
        begun = {"": refusal.code}
    for organisation, one in begun.items():
        queries.put_step(connection, month, step.name, organisation, None if isinstance(one, str) else one)
        if isinstance(one, str):
            queries.set_step(connection, month, step.name, organisation, Stand.FAILED, one)
        elif one is None:
            queries.set_step(connection, month, step.name, organisation, Stand.PASSED, None)
    queries.set_month(connection, month, step.name, Stand.RUNNING, None)
    _log.info("Шаг обработки месяца начат", extra={"period": str(place.month), "step": step.name})
    return True


def _look(place: Place, step: Step, run: RowMapping, rows: Sequence[RowMapping]) -> bool:
    """Notes how the step stands; goes on to the next one when all of it is over."""
    connection, month = place.connection, place.month.number
    parts = step.look(place, rows)
    for part in parts:
        queries.set_step(connection, month, step.name, part.organisation, part.stand, part.code)
    stand, code = _whole(parts)
    if stand.over:
        _advance(connection, place.month, step)
        return True
    if (stand, code) != (run["state"], run["code"]):
        queries.set_month(connection, month, step.name, stand, code)
        if stand is not Stand.RUNNING:
            details = {"period": str(place.month), "step": step.name, "code": code}
            _log.warning("Обработка месяца остановлена", extra=details)
    return False


def _whole(parts: Sequence[Part]) -> tuple[Stand, str | None]:
    """A step runs while any part does, and has failed or waits if one has or does."""
    for stand in (Stand.RUNNING, Stand.BRAKED, Stand.FAILED):
        for part in parts:
            if part.stand is stand:
                return stand, part.code
    return Stand.DONE, None


def _advance(connection: Connection, month: Month, step: Step) -> None:
    names = list(STEPS)
    after = names[names.index(step.name) + 1 :]
    name, stand = (after[0], Stand.RUNNING) if after else (step.name, Stand.DONE)
    queries.set_month(connection, month.number, name, stand, None)
    if not after:
        _log.info("Обработка месяца закончена", extra={"period": str(month)})


def overview(connection: Connection, count: int) -> Iterator[tuple[RowMapping, Sequence[RowMapping]]]:
    """The newest months with their steps."""
    for run in queries.latest_months(connection, count, LATE):
        yield run, queries.steps_of(connection, run["month"])


def signs(connection: Connection) -> Iterator[Sign]:
    """What is wrong with the monthly work and with comparisons, and what is well."""
    left = queries.left_open(connection)
    for run in queries.latest_months(connection, _MONTHS, LATE):
        month = Month.from_number(run["month"])
        yield from _failures(run, month)
        title = f"Обработка месяца {month}, {STEPS[run['step']].title}"
        yield Sign(f"month/{month}/late", run["step"], f"{title}: не закончена вовремя", bad=run["late"])
        some = left.get(run["month"], [])
        named = ", ".join(some[:_NAMED]) + (" и другие" if len(some) > _NAMED else "")
        text = f"Месяц {month} не закрыт у организаций: {len(some)} ({named})"
        yield Sign(f"month/{month}/open", "CLOSE", text, bad=bool(some))
    for row in queries.compared(connection, KIND, _MONTHS):
        month = Month.from_number(row["period"])
        text = f"Сверка с застрахованными за {month} ждёт решения reconcile approve или refuse"
        yield Sign(f"reconcile/{month}/braked", str(month), text, bad=row["braked"])


def _failures(run: RowMapping, month: Month) -> Iterator[Sign]:
    """Each step has a key of its own: one that fails right after another was left out is told."""
    why = f": {run['code']} — {KINDS[run['code']].shown}" if run["code"] in KINDS else ""
    for step in STEPS.values():
        text = f"Обработка месяца {month}, {step.title}: не выполнено{why}"
        bad = run["failing"] and run["step"] == step.name
        yield Sign(f"month/{month}/{step.name.lower()}/failed", step.name, text, bad=bad)
