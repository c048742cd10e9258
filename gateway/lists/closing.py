"""Month close: every list of an organisation for a month, and of a quarter once its months are closed, frozen for good.

For many organisations it is an operation, one transaction per organisation: a run that was broken off goes on with those
that are left, since a closed month is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date
from itertools import islice
from uuid import UUID

from sqlalchemy import Connection

from gateway.access import audit
from gateway.domain.periods import Month, Period
from gateway.errors import GatewayError, Side
from gateway.lists import blocks, errand, ledger, queries
from gateway.lists.choice import compose
from gateway.lists.frame import Frame
from gateway.lists.model import LineRenderer
from gateway.nsi.dictionaries import Nsi
from gateway.operations import works
from gateway.operations.model import Owner
from gateway.operations.works import Run, operation
from gateway.store import rebuild
from gateway.store.engine import Driver, driver_of

KIND, CALL = "MONTH_CLOSE", "MonthClose"
REFUSED = "refused"

_BLOCKS_AT_ONCE = 16

Check = Callable[[], None]


class Closing(Frame):
    """Closing and reopening months of one organisation."""

    def close(
        self,
        connection: Connection,
        organisation: str,
        month: Month,
        actor: str,
        render: LineRenderer | None = None,
        *,
        check: Check = lambda: None,
    ) -> int:
        """Closes a month that is over; returns the edition (1, 2 after a reopening, …).

        Lines are kept as version 1 of the contract writes them, rendered in the database; ``render`` stands for another
        form. ``check`` is called between blocks and may raise.
        """
        today = self.clock.today()
        if month.last_day >= today:
            raise GatewayError("month.not-over")
        if not queries.organisation_exists(connection, organisation):
            raise GatewayError("object.not-found")
        ledger.lock(connection, organisation)
        last = queries.last_close(connection, organisation, month.number)
        if last is not None and last["reopened_at"] is None:
            raise GatewayError("month.closed")
        _be_last(queries.closed_months(connection, organisation), month)
        edition = last["edition"] + 1 if last else 1
        queries.close(connection, organisation=organisation, month=month.number, edition=edition, actor=actor)
        self._freeze_all(connection, organisation, Period.month(month.year, month.month), render, check)
        closed = queries.closed_months(connection, organisation)
        quarter = Period.quarter(month.year, (month.month - 1) // 3 + 1)
        if all(any(one >= part.number for one in closed) for part in quarter.months):
            self._freeze_all(connection, organisation, quarter, render, check)
        return edition

    def reopen_month(self, connection: Connection, organisation: str, month: Month, actor: str, reason: str) -> None:
        """Opens a closed month again; its frozen lists stay in the database but are no longer the closed edition."""
        if not reason.strip():
            raise GatewayError("reason.empty")
        ledger.lock(connection, organisation)
        last = queries.last_close(connection, organisation, month.number)
        if last is None or last["reopened_at"] is not None:
            raise GatewayError("month.not-closed")
        _be_last(queries.closed_months(connection, organisation), month)
        queries.reopen(
            connection,
            organisation=organisation,
            month=month.number,
            edition=last["edition"],
            actor=actor,
            reason=reason.strip(),
        )

    def _freeze_all(
        self, connection: Connection, organisation: str, period: Period, render: LineRenderer | None, check: Check
    ) -> None:
        """Every list of a period whose months are all closed; its edition counts the closes of all of them."""
        edition = 0
        for part in period.months:
            last = queries.last_close(connection, organisation, part.number)
            edition += last["edition"] if last else 0
        for list_type in queries.CONDITIONS:
            piece, seq = self._freeze(connection, organisation, period, list_type, edition)
            if render is None:
                _keep(driver_of(connection), organisation, piece, seq, check)
            else:
                _keep_as(connection, organisation, piece, seq, render)

    def _freeze(
        self, connection: Connection, organisation: str, period: Period, list_type: str, edition: int
    ) -> tuple[int, int]:
        """Fixes members and order of a list; its piece and the number of the ledger."""
        wish = compose(list_type, period, closed=True, filters={}, organisation=organisation, today=self.clock.today())
        queries.freeze(connection, organisation, wish.piece_key, wish.values, edition, None)
        first, last = period.months[0].number, period.months[-1].number
        piece = queries.closed_piece(connection, organisation, wish.piece_key, first, last)
        if piece is None:
            raise LookupError("a list that was just frozen is not there")
        return piece["id"], piece["seq"]


def _keep(driver: Driver, organisation: str, piece: int, seq: int, check: Check) -> None:
    """Keeps the lines of a piece as the database renders them: the memory does not depend on the list."""
    rendered = queries.lines_kept(driver, piece, organisation, seq)
    while found := list(islice(rendered, _BLOCKS_AT_ONCE)):
        check()
        queries.seal(driver, piece, [(number, blocks.packed(lines), keys) for number, lines, keys in found])


def _keep_as(connection: Connection, organisation: str, piece: int, seq: int, render: LineRenderer) -> None:
    driver = driver_of(connection)
    for row in queries.blocks_with_keys(connection, piece):
        lines = blocks.lines_at(driver, organisation, seq, row["ids"])
        keys = "\n".join(map(blocks.key_of, lines))
        queries.seal(driver, piece, [(row["number"], blocks.pack(render(lines)), keys)])


def _be_last(closed: frozenset[int], month: Month) -> None:
    """Months close and open at one end: a change in an open month before a closed one would reach into the closed one."""
    if any(number > month.number for number in closed):
        raise GatewayError("month.order")


# for many organisations -----------------------------------------------------------------------------------------------


def request_close(
    connection: Connection, month: Month, organisations: Sequence[str] = (), *, today: date, login: str, trace: str
) -> UUID:
    """Begins the close of a month for the organisations named, or for all that keep a list.

    Raises ``month.not-over``; for organisations that are named ``object.not-found``, ``month.closed``, ``month.order``.
    """
    if month.last_day >= today:
        raise GatewayError("month.not-over")
    for organisation in organisations:
        if not queries.organisation_exists(connection, organisation):
            raise GatewayError("object.not-found")
        closed = queries.closed_months(connection, organisation)
        if month.number in closed:
            raise GatewayError("month.closed")
        _be_last(closed, month)
    parameters = {"month": str(month), "organisations": list(organisations)}
    return works.start(connection, KIND, parameters, owner=Owner(), client_id=None, login=login, trace=trace)


@operation(KIND, "Закрытие месяца")
def close_month(run: Run) -> None:
    """The body: organisation after organisation. One that cannot be closed is said, kept in ``refused`` of the progress
    with the code, and passed over."""
    work, month = run.work, Month.parse(run.parameters["month"])
    lists = Closing(work.settings, Nsi(work.store, work.clock), work.clock)
    with work.store.begin() as connection:
        open_ones = queries.unclosed(connection, month.number)
    waiting = run.parameters["organisations"] or open_ones
    run.stage(f"Закрытие месяца {month}: организаций {len(waiting)}", len(waiting))
    closed = 0
    for number, organisation in enumerate(waiting, 1):
        closed += _close_one(run, lists, organisation, month)
        run.advance(number)
    run.line(f"Закрыто организаций: {closed}")


def _close_one(run: Run, lists: Closing, organisation: str, month: Month) -> bool:
    try:
        with run.begin() as connection:
            rebuild.memory(driver_of(connection))
            call = errand.call_of(connection, run, CALL)
            call.organisation = organisation
            edition = lists.close(connection, organisation, month, run.login, check=run.check)
            call.details |= {"month": str(month), "edition": edition}
            audit.write(connection, call)
    except GatewayError as refusal:
        if refusal.kind.side is Side.SERVER:
            raise
        if refusal.code != "month.closed":
            run.line(f"{organisation}: {refusal.code} — {refusal.message}", "WARNING")
            run.progress.setdefault(REFUSED, {})[organisation] = refusal.code
        return False
    run.line(f"{organisation}: месяц {month} закрыт, редакция {edition}")
    return True
