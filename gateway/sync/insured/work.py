"""The comparison with the register of insured persons as long work: begun, run to its plan, braked, decided, applied."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from gateway.domain.periods import Month
from gateway.errors import GatewayError
from gateway.lists import Lists, errand
from gateway.nsi.dictionaries import Nsi
from gateway.operations import works
from gateway.operations.model import Owner
from gateway.operations.works import Run
from gateway.sync.insured import brake, notices, queries
from gateway.sync.insured.applying import Applying
from gateway.sync.insured.confirming import Confirming
from gateway.sync.insured.facts import Asking
from gateway.sync.insured.gathering import Gathering

KIND, APPLY = "RECONCILE_INSURED", "RECONCILE_APPLY"
CALL = "ReconcileInsured"
GAVE_WAY = "новая сверка"
"""Who decided a braked comparison that another one has replaced."""


def request(
    connection: Connection,
    period: Month,
    *,
    dry: bool,
    today: date,
    login: str,
    trace: str,
    client_id: int | None = None,
) -> UUID:
    """Begins the comparison of a month that is over; a braked one that nobody decided gives way to it.

    Raises ``reconcile.period``, ``reconcile.running``, and ``reconcile.older`` where a later month was applied: what was
    true then would undo what came after. A trial run may look at any month.
    """
    if period.last_day >= today:
        raise GatewayError("reconcile.period")
    _alone(connection)
    if not dry and (latest := queries.latest(connection)) > period.number:
        raise GatewayError("reconcile.older", month=Month.from_number(latest))
    queries.refuse(connection, GAVE_WAY)
    parameters = {"period": str(period), "dry": dry}
    operation = works.start(connection, KIND, parameters, owner=Owner(), client_id=client_id, login=login, trace=trace)
    queries.begin(connection, operation, period.number, dry)
    return operation


def approve(connection: Connection, *, login: str, trace: str) -> UUID:
    """Lets the braked comparison go on to the lists. Raises ``reconcile.none``, ``reconcile.running``, and
    ``reconcile.gone`` where the plan or its facts are not all there."""
    _alone(connection)
    waiting = _waiting(connection)
    noted, kept = queries.get(connection, waiting)["counts"], brake.counts(connection, waiting)
    if kept != {name: number for name, number in noted.items() if name in kept or "/" in name}:
        raise GatewayError("reconcile.gone")
    queries.decide(connection, waiting, login)
    parameters = {"reconcile": str(waiting)}
    return works.start(connection, APPLY, parameters, owner=Owner(), client_id=None, login=login, trace=trace)


def refuse(connection: Connection, *, login: str) -> UUID:
    """Gives the braked comparison up. Raises ``reconcile.none``, ``reconcile.running``."""
    _alone(connection)
    waiting = _waiting(connection)
    queries.refuse(connection, login, waiting)
    return waiting


def _alone(connection: Connection) -> None:
    queries.take_turn(connection)
    if (busy := queries.running(connection, (KIND, APPLY))) is not None:
        raise GatewayError("reconcile.running", operation=busy)


def _waiting(connection: Connection) -> UUID:
    found = queries.newest(connection)
    if found is None or found["state"] != "BRAKED":
        raise GatewayError("reconcile.none")
    id: UUID = found["id"]
    return id


@works.operation(KIND, "Сверка с застрахованными")
def compare(run: Run) -> None:
    """The body of a comparison."""
    stopped = threading.Event()
    try:
        _Comparison(run, stopped).all()
    finally:
        stopped.set()


@works.operation(APPLY, "Применение сверки с застрахованными")
def apply(run: Run) -> None:
    """The body of an approved comparison."""
    reconcile = UUID(run.parameters["reconcile"])
    run.stage("Применение")
    with run.begin() as connection:
        found = queries.get(connection, reconcile)
        if found["state"] == "BRAKED":
            if queries.extract_lines(connection) != found["counts"].get("extract"):
                raise GatewayError("reconcile.extract")
            _apply(run, connection, reconcile, Month.from_number(found["period"]), found["brake"])
        run.finish(connection)


class _Comparison:
    """One run of a comparison."""

    def __init__(self, run: Run, stopped: threading.Event) -> None:
        from gateway.sync.upstream import access  # zeep is heavy, and most processes ask nobody

        self._run = run
        self._settings = run.work.settings
        self._month = Month.parse(run.parameters["period"])
        self._day = self._month.shift(1).first_day
        self._ferzl = access.ferzl(self._settings, run.work.store, pause=stopped.wait)

    def all(self) -> None:
        run = self._run
        gathering = Gathering(run, self._ferzl, self._month)
        gathering.all()
        Confirming(run, Asking(self._ferzl, self._day, self._settings.region_okato)).all()
        gathering.extract()
        run.stage("План")
        with run.begin() as connection:
            queries.make_plan(connection, run.id, self._day)
            found = queries.get(connection, run.id)
            braked = brake.holds(connection, self._settings, run.id)
            counts = brake.counts(connection, run.id)
            notices.write_plan(connection, self._settings, run.id, run.id, str(self._month))
            self._tell(brake.lines(connection, run.id), braked)
            state = "BRAKED" if braked and not found["dry"] else "PLANNED"
            queries.set_state(connection, run.id, state, counts, braked)
            if found["dry"]:
                run.line("Пробная сверка: списки не изменены")
            elif braked:
                run.line("Сверка остановлена до решения: reconcile approve или reconcile refuse", "WARNING")
            else:
                _apply(run, connection, run.id, self._month, [])
            run.finish(connection)

    def _tell(self, lines: Sequence[tuple[str, str, int, int]], braked: Sequence[Mapping[str, Any]]) -> None:
        for action, cause, entries, persons in lines:
            level = "WARNING" if action == "REPORT" else "INFO"
            said = f"{notices.ACTIONS[action]} — {notices.CAUSES[cause]} ({cause}): записей {entries}, лиц {persons}"
            self._run.line(said, level)
        for one in braked:
            self._run.line(brake.words(one), "WARNING")


def _apply(run: Run, connection: Connection, reconcile: UUID, month: Month, braked: list[Any]) -> None:
    work = run.work
    lists = Lists(work.settings, Nsi(work.store, work.clock), work.clock)
    call = errand.call_of(connection, run, CALL)
    run.stage("Применение")
    made = Applying(connection, lists, call, reconcile, month.shift(1).first_day).all(work.settings, run.id, str(month))
    queries.set_state(connection, reconcile, "APPLIED", {"applied": made}, braked)
    said = [f"{notices.DONE[name]}: {number}" for name, number in made.items() if number]
    run.line("Применено. " + ("; ".join(said) if said else "Изменений нет"))
