"""The steps of the monthly work: how each is begun as operations, and how it stands."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID, uuid4

from sqlalchemy import Connection, RowMapping

from gateway.access import audit
from gateway.access.model import Call
from gateway.domain.periods import Month
from gateway.errors import GatewayError
from gateway.lists import Lists, closing, errand
from gateway.lists.model import Choice
from gateway.nsi.dictionaries import Nsi
from gateway.operations.queue import Work
from gateway.sync import marks, queries
from gateway.sync.insured import queries as comparisons
from gateway.sync.insured import work as insured

LOGIN = "календарь"
"""Who acts, as operations, events and closed months name it."""

EXPORTS = "EXPORTS"
"""The last step: with it the month is closed already."""

LIST = "OBSERVED"
RECORDS_PER_FILE = 100_000
"""What clinics find in their mailboxes: the closed list of people under observation, in files of so many records."""


class Stand(StrEnum):
    """How a month or a part of a step stands."""

    RUNNING = "RUNNING"
    BRAKED = "BRAKED"
    FAILED = "FAILED"
    DONE = "DONE"
    PASSED = "PASSED"

    @property
    def over(self) -> bool:
        return self in (Stand.DONE, Stand.PASSED)


@dataclass(frozen=True, slots=True)
class Place:
    """What a step works with: the transaction, the worker's means, the month."""

    connection: Connection
    work: Work
    month: Month

    def note(self, call: str, operation: UUID, **more: object) -> None:
        """The record of the audit that a command would leave."""
        details = {"operation": str(operation), "month": str(self.month), "login": LOGIN, **more}
        audit.note(self.connection, call, details)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a step as it stands; ``organisation`` is '' where the step is one operation."""

    stand: Stand
    code: str | None = None
    organisation: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """``begin`` starts what is not begun yet, or begins it again, by organisation: an operation, the code of a refusal, or
    None where there is nothing to do; organisations given to it keep what they have. Raises ``reconcile.running`` if it
    has to wait."""

    name: str
    title: str
    begin: Callable[[Place, Collection[str]], Mapping[str, UUID | str | None]]
    look: Callable[[Place, Sequence[RowMapping]], list[Part]]


def part_of(row: RowMapping) -> Part:
    """How a part stands by its operation; one without an operation stays as it is."""
    if row["operation_id"] is None or Stand(row["state"]).over:
        return Part(Stand(row["state"]), row["code"], row["organisation"])
    return Part(*_by_operation(row["operation_state"], row["operation_code"]), row["organisation"])


def _by_operation(state: str | None, code: str | None) -> tuple[Stand, str | None]:
    """An operation that is gone was lost long ago."""
    if state in ("QUEUED", "RUNNING"):
        return Stand.RUNNING, None
    if state == "DONE":
        return Stand.DONE, None
    return Stand.FAILED, code or "operation.lost"


def _parts(place: Place, rows: Sequence[RowMapping]) -> list[Part]:
    return [part_of(row) for row in rows]


_OLDER = "reconcile.older"

# insured --------------------------------------------------------------------------------------------------------------


def _begin_insured(place: Place, kept: Collection[str]) -> Mapping[str, UUID | str | None]:
    """A comparison that runs or waits for a decision already is taken over. There is nothing to do where a later month
    was compared."""
    if not place.work.settings.ferzl_url:
        return {"": None}
    found = queries.comparison(place.connection, comparisons.KIND, place.month.number)
    if found is not None and _insured(found).stand in (Stand.RUNNING, Stand.BRAKED):
        return {"": found["id"]}
    try:
        return {"": _compare(place)}
    except GatewayError as refusal:
        if refusal.code != _OLDER:
            raise
        return {"": None}


def _compare(place: Place) -> UUID:
    today = place.work.clock.today()
    operation = insured.request(
        place.connection, place.month, dry=False, today=today, login=LOGIN, trace=str(uuid4())
    )  # fmt: skip
    place.note(insured.CALL, operation, dry=False)
    return operation


def _look_at_insured(place: Place, rows: Sequence[RowMapping]) -> list[Part]:
    """The newest comparison of the month counts: an operator may have begun another one. One that gave way to a trial
    run is begun anew after it."""
    (row,) = rows
    found = queries.comparison(place.connection, comparisons.KIND, place.month.number)
    if row["operation_id"] is None or Stand(row["state"]).over:
        return _parts(place, rows)
    if found is None:
        return [Part(Stand.FAILED, "operation.lost")]
    operation = found["id"]
    if found["state"] == "REFUSED" and found["decided_by"] == insured.GAVE_WAY:
        try:
            operation = _compare(place)
        except GatewayError as refusal:
            if refusal.code == _OLDER:
                return [Part(Stand.PASSED, _OLDER)]
            if refusal.code != "reconcile.running":
                raise
    if operation != row["operation_id"]:
        queries.follow(place.connection, place.month.number, "INSURED", operation)
    return [_insured(found)]


def _insured(found: RowMapping) -> Part:
    match found["state"]:
        case "APPLIED":
            return Part(Stand.DONE)
        case "REFUSED":
            return Part(Stand.RUNNING if found["decided_by"] == insured.GAVE_WAY else Stand.DONE)
        case "BRAKED":
            failed = found["apply_state"] in ("FAILED", "ABORTED")
            return Part(Stand.BRAKED, found["apply_code"] if failed else None)
    stand, code = _by_operation(found["operation_state"], found["operation_code"])
    return Part(Stand.FAILED, "operation.lost") if stand is Stand.DONE else Part(stand, code)


# marks, close ---------------------------------------------------------------------------------------------------------


def _begin_marks(place: Place, kept: Collection[str]) -> Mapping[str, UUID | str | None]:
    operation = marks.start(place.connection, place.month, login=LOGIN, trace=str(uuid4()))
    place.note(marks.CALL, operation)
    return {"": operation}


def _begin_close(place: Place, kept: Collection[str]) -> Mapping[str, UUID | str | None]:
    today = place.work.clock.today()
    operation = closing.request_close(place.connection, place.month, today=today, login=LOGIN, trace=str(uuid4()))
    place.note(closing.CALL, operation)
    return {"": operation}


def _look_at_close(place: Place, rows: Sequence[RowMapping]) -> list[Part]:
    """An organisation that the operation has refused is a part that was passed over."""
    parts = {part.organisation: part for part in _parts(place, rows)}
    for row in rows:
        refused = (row["progress"] or {}).get(closing.REFUSED, {}) if parts[row["organisation"]].stand.over else {}
        for organisation, code in refused.items():
            if organisation not in parts:
                queries.put_step(place.connection, place.month.number, "CLOSE", organisation, None)
            parts[organisation] = Part(Stand.PASSED, code, organisation)
    return list(parts.values())


# exports --------------------------------------------------------------------------------------------------------------


def _begin_exports(place: Place, kept: Collection[str]) -> Mapping[str, UUID | str | None]:
    """An export per organisation whose month is closed."""
    work = place.work
    lists = Lists(work.settings, Nsi(work.store, work.clock), work.clock)
    waiting = [one for one in queries.closed(place.connection, place.month.number) if one not in kept]
    begun = {one: _export(place, lists, one) for one in waiting}
    return begun if begun or kept else {"": None}


def _export(place: Place, lists: Lists, organisation: str) -> UUID | str:
    caller = errand.caller_of(place.connection, None, LOGIN)
    call = Call(caller, errand.SERVICE, "ExportList", str(uuid4()), place.work.clock.now(), organisation=organisation)
    choice = Choice(year=place.month.year, month=place.month.month, list_type=LIST, edition="CLOSED")
    try:
        with place.connection.begin_nested():
            return lists.request_export(
                place.connection, call, organisation, choice, records_per_file=RECORDS_PER_FILE, delivery="MAILBOX",
                format=place.work.settings.monthly_format,
            )  # fmt: skip
    except GatewayError as refusal:
        return refusal.code


STEPS: dict[str, Step] = {
    step.name: step
    for step in (
        Step("INSURED", "сверка с застрахованными", _begin_insured, _look_at_insured),
        Step("MARKS", "признаки из реестров счетов", _begin_marks, _parts),
        Step("CLOSE", "закрытие месяца", _begin_close, _look_at_close),
        Step(EXPORTS, "списки в абонентские пункты", _begin_exports, _parts),
    )
}
"""In their order."""
