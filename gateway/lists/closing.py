"""Month close: every list of an organisation for a month, and of a quarter once its months are closed, frozen for good."""

from __future__ import annotations

from sqlalchemy import Connection

from gateway.domain.periods import Month, Period
from gateway.errors import GatewayError
from gateway.lists import blocks, ledger, queries
from gateway.lists.choice import compose
from gateway.lists.frame import Frame
from gateway.lists.model import LineRenderer
from gateway.store.engine import driver_of


class Closing(Frame):
    """Closing and reopening months of one organisation."""

    def close(self, connection: Connection, organisation: str, month: Month, actor: str, render: LineRenderer) -> int:
        """Closes a month that is over; returns the edition (1, 2 after a reopening, …)."""
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
        self._freeze_all(connection, organisation, Period.month(month.year, month.month), render)
        closed = queries.closed_months(connection, organisation)
        quarter = Period.quarter(month.year, (month.month - 1) // 3 + 1)
        if all(part.number in closed for part in quarter.months):
            self._freeze_all(connection, organisation, quarter, render)
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

    def _freeze_all(self, connection: Connection, organisation: str, period: Period, render: LineRenderer) -> None:
        """Every list of a period whose months are all closed; its edition counts the closes of all of them."""
        edition = 0
        for part in period.months:
            last = queries.last_close(connection, organisation, part.number)
            edition += last["edition"] if last else 0
        for list_type in queries.CONDITIONS:
            self._freeze(connection, organisation, period, list_type, edition, render)

    def _freeze(
        self,
        connection: Connection,
        organisation: str,
        period: Period,
        list_type: str,
        edition: int,
        render: LineRenderer,
    ) -> None:
        wish = compose(list_type, period, closed=True, filters={}, organisation=organisation, today=self.clock.today())
        queries.freeze(connection, organisation, wish.piece_key, wish.values, edition, None)
        first, last = period.months[0].number, period.months[-1].number
        piece = queries.closed_piece(connection, organisation, wish.piece_key, first, last)
        if piece is None:
            raise LookupError("a list that was just frozen is not there")
        driver = driver_of(connection)
        for row in queries.blocks_with_keys(connection, piece["id"]):
            lines = blocks.lines_at(driver, organisation, piece["seq"], row["ids"])
            queries.seal_block(
                connection,
                piece_id=piece["id"],
                number=row["number"],
                body=blocks.pack(render(lines)),
                keys="\n".join(map(blocks.key_of, lines)),
            )


def _be_last(closed: frozenset[int], month: Month) -> None:
    """Months close and open at one end: a change in an open month before a closed one would reach into the closed one."""
    if any(number > month.number for number in closed):
        raise GatewayError("month.order")
