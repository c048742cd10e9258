"""GetList: pages of a frozen list.

The first page fixes membership, order and the number of the ledger it saw; that is a snapshot. Its values stay readable
because every later change keeps the line as it stood. An unchanged list is not fixed twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from psycopg import errors as pg
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from gateway.access import audit
from gateway.access.model import Call, ClientKind
from gateway.errors import GatewayError
from gateway.lists import blocks, queries
from gateway.lists.choice import Resolved, compose, resolve
from gateway.lists.frame import Frame
from gateway.lists.model import Choice, LineRenderer, Page
from gateway.lists.queries import BLOCK
from gateway.store.engine import Driver, Store

_TRIES = 5


class Pages(Frame):
    """Reading lists by pages."""

    def page(
        self,
        store: Store,
        call: Call,
        organisation: str | None,
        choice: Choice,
        start: int,
        count: int,
        snapshot_id: UUID | None,
        render: LineRenderer,
    ) -> Page:
        """A page of ``count`` records from ``start`` (from 1); leaves its audit record itself.

        ``organisation`` None means every list the caller sees. With ``snapshot_id`` the page is of that snapshot.
        """
        if start < 1 or not 1 <= count <= self.settings.records_per_page:
            raise GatewayError("list.page", limit=self.settings.records_per_page)
        insurer = call.caller.insurer if call.caller.kind is ClientKind.INSURER else None
        today = self.clock.today()
        wish = resolve(choice, organisation=organisation, insurer=insurer, nsi=self.nsi, today=today)
        call.organisation = organisation
        call.first_record = start
        if snapshot_id is not None:
            with store.driver() as driver:
                return self._of_snapshot(driver, call, wish, start, count, snapshot_id, render)
        if wish.closed:
            found = _serialised(store, lambda connection: self._closed(connection, call, organisation, wish))
            with store.driver() as driver:
                return self._of_snapshot(driver, call, wish, start, count, found, render)
        with store.driver() as driver:
            if organisation is not None:
                standing = self._standing(driver, call, wish, start, count, render)
                if standing is not None:
                    return standing
        found = _serialised(store, lambda connection: self._fix(connection, call, organisation, wish))
        with store.driver() as driver:
            return self._live(driver, call, found, start, count, render)

    def expire_snapshots(self, connection: Connection) -> int:
        """Forgets the lines of snapshots whose time is over; returns the number of blocks emptied."""
        return queries.expire(connection, queries.now(connection))

    def _standing(
        self, driver: Driver, call: Call, wish: Resolved, start: int, count: int, render: LineRenderer
    ) -> Page | None:
        """The hot path: the list has not changed since this client's last first page."""
        first, last = (start - 1) // BLOCK, (start + count - 2) // BLOCK
        rows = driver.execute(
            queries.STANDING, (first, last, call.caller.client_id, wish.key, wish.piece_key)
        ).fetchall()
        if not rows:
            return None
        id, _, ends, token, as_of, organisation, seq, _ = rows[0]
        ids = [number for row in rows if row[7] for number in row[7]]
        offset = start - 1 - first * BLOCK
        ids = ids[offset : offset + count]
        call.snapshot_id, call.records = id, len(ids)
        values = {"organisation": organisation, "seq": seq, "ids": ids, **audit.parameters(call)}
        fetched = driver.execute(queries.RECORDED_LINES_AT, values).fetchall()
        call.audited = True
        lines = blocks.then(driver, organisation, seq, fetched)
        body = render.join(start, render(lines))
        return Page(id, "CURRENT", as_of, None, token, ends[-1], start, len(ids), body)

    def _live(self, driver: Driver, call: Call, found: UUID, start: int, count: int, render: LineRenderer) -> Page:
        """A first page: lines are read, not stored, since most lists are never paged to the end."""
        head = _head(driver, call, found)
        lines = []
        for part in blocks.parts(head.pieces, head.ends, start - 1, count):
            lines += blocks.live(driver, part)
        call.snapshot_id, call.records = found, len(lines)
        _record(driver, call)
        return head.page(start, render.join(start, render(lines)), len(lines))

    def _of_snapshot(
        self,
        driver: Driver,
        call: Call,
        wish: Resolved,
        start: int,
        count: int,
        snapshot_id: UUID,
        render: LineRenderer,
    ) -> Page:
        head = _head(driver, call, snapshot_id)
        if head.choice != wish.key:
            raise GatewayError("list.choice-differs")
        lines: list[bytes] = []
        for part in blocks.parts(head.pieces, head.ends, start - 1, count):
            lines += blocks.read(driver, part, render)
        call.snapshot_id, call.records = snapshot_id, len(lines)
        _record(driver, call)
        return head.page(start, render.join(start, lines), len(lines))

    def _fix(self, connection: Connection, call: Call, organisation: str | None, wish: Resolved) -> UUID:
        """Names the list as it stands in this transaction, making the pieces that changed."""
        now = queries.now(connection)
        expires_at = now + timedelta(hours=self.settings.snapshot_hours)
        names = queries.organisations(connection) if organisation is None else [organisation]
        have = queries.pieces(connection, names, wish.piece_key, now)
        for name in names:
            if name not in have:
                queries.freeze(connection, name, wish.piece_key, wish.values, 0, expires_at)
        if len(have) < len(names):
            have = queries.pieces(connection, names, wish.piece_key, now)
        queries.extend(connection, [row["id"] for row in have.values()], expires_at)
        rows = [have[name] for name in names if name in have]
        return self._name(connection, call, wish, rows, now, None, expires_at, organisation)

    def _closed(self, connection: Connection, call: Call, organisation: str | None, wish: Resolved) -> UUID:
        """Names the frozen list of closed months."""
        now = queries.now(connection)
        first, last = wish.period.months[0].number, wish.period.months[-1].number
        whole = compose(
            wish.values["type"],
            wish.period,
            closed=True,
            filters={},
            organisation=organisation,
            today=self.clock.today(),
        )
        expires_at = now + timedelta(hours=self.settings.snapshot_hours)
        rows: list[Any] = []
        for name in queries.organisations(connection) if organisation is None else [organisation]:
            closed = queries.closed_months(connection, name)
            if any(month.number not in closed for month in wish.period.months):
                raise GatewayError("list.not-closed")
            piece = queries.closed_piece(connection, name, whole.piece_key, first, last)
            if piece is None:
                raise GatewayError("list.not-closed")
            rows.append(_filtered(connection, name, piece, wish, expires_at) if wish.filters else piece)
        if not rows:
            raise GatewayError("list.not-closed")
        closed_at = max(row["closed_at"] for row in rows)
        return self._name(connection, call, wish, rows, now, closed_at, expires_at, organisation)

    def _name(
        self,
        connection: Connection,
        call: Call,
        wish: Resolved,
        rows: Sequence[Any],
        now: datetime,
        closed_at: datetime | None,
        expires_at: datetime,
        organisation: str | None,
    ) -> UUID:
        id = uuid4()
        ends: list[int] = []
        for row in rows:
            ends.append((ends[-1] if ends else 0) + row["total"])
        token = f"1.{organisation}.{rows[0]['seq'] if rows else 0}" if organisation else f"1.*.{id}"
        queries.insert_snapshot(
            connection,
            id=id,
            client_id=call.caller.client_id,
            choice=wish.key,
            edition="CLOSED" if wish.closed else "CURRENT",
            pieces=[row["id"] for row in rows],
            ends=ends,
            token=token,
            as_of=closed_at or now,
            closed_at=closed_at,
            expires_at=expires_at,
        )
        return id


class _Head:
    """What a snapshotId names."""

    def __init__(self, row: tuple[Any, ...]) -> None:
        self.id, self.pieces, self.ends, self.token, self.as_of, self.closed_at, self.edition, self.choice = row[:8]

    def page(self, start: int, body: bytes, returned: int) -> Page:
        total = self.ends[-1] if self.ends else 0
        return Page(self.id, self.edition, self.as_of, self.closed_at, self.token, total, start, returned, body)


def _record(driver: Driver, call: Call) -> None:
    audit.write_on(driver, call)
    call.audited = True


def _head(driver: Driver, call: Call, snapshot_id: UUID) -> _Head:
    """The snapshot, if it is this client's and not over; a foreign one answers like one that is over."""
    row = driver.execute(queries.SNAPSHOT, (snapshot_id, call.caller.client_id)).fetchone()
    if row is None or not row[8]:
        raise GatewayError("list.snapshot-expired")
    return _Head(row)


def _filtered(
    connection: Connection, organisation: str, piece: Any, wish: Resolved, expires_at: datetime
) -> dict[str, Any]:
    """The lines of a closed list that pass the filters, as a piece of their own."""
    ids: list[int] = []
    lines: list[bytes] = []
    for row in queries.blocks_with_keys(connection, piece["id"]):
        body = blocks.unpack(row["body"])
        for n, key in enumerate(row["keys"].split("\n")):
            if blocks.matches(key, wish.filters):
                ids.append(row["ids"][n])
                lines.append(body[n])
    made = queries.insert_piece(
        connection,
        organisation=organisation,
        choice=f"{wish.piece_key}@{piece['id']}#{uuid4()}",
        seq=piece["seq"],
        edition=0,
        total=len(ids),
        expires_at=expires_at,
    )
    for number, at in enumerate(range(0, len(ids), BLOCK)):
        queries.insert_block(
            connection,
            piece_id=made,
            number=number,
            ids=ids[at : at + BLOCK],
            body=blocks.pack(lines[at : at + BLOCK]),
        )
    return {"id": made, "total": len(ids), "seq": piece["seq"], "closed_at": piece["closed_at"]}


def _serialised(store: Store, work: Callable[[Connection], UUID]) -> UUID:
    """Runs ``work`` on one unchanging view of the database; again if another call made the same piece meanwhile."""
    for attempt in range(_TRIES):
        try:
            with store.engine.connect() as connection:
                connection.execution_options(isolation_level="REPEATABLE READ")
                with connection.begin():
                    return work(connection)
        except OperationalError as error:
            if not isinstance(error.orig, pg.SerializationFailure | pg.DeadlockDetected) or attempt == _TRIES - 1:
                raise
    raise AssertionError
