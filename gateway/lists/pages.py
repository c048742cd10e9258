"""GetList: pages of a frozen list.

The first page fixes the number of the ledger it saw; that is a snapshot. Membership, order and values stay readable
because every later change keeps the line as it stood. An unchanged list is not named twice.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psycopg
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from gateway.access import audit
from gateway.access.model import Call, ClientKind
from gateway.domain.periods import Month
from gateway.errors import GatewayError
from gateway.lists import blocks, queries
from gateway.lists.choice import Resolved, compose, resolve
from gateway.lists.frame import Frame
from gateway.lists.model import Choice, Line, LineRenderer, Page
from gateway.lists.queries import BLOCK
from gateway.lists.tokens import Token
from gateway.store import eras, failures
from gateway.store.engine import Driver, Store, driver_of

T = TypeVar("T")

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
        head = failures.on_driver(store, lambda driver: self._head(driver, call, organisation, wish, snapshot_id))
        if head is None and wish.closed:
            head = _serialised(
                store,
                lambda connection: self._closed(connection, call, organisation, wish, self.settings.snapshot_hours),
            )
        if head is None:
            return _serialised(
                store, lambda connection: self._first(connection, call, organisation, wish, start, count, render)
            )
        known = head
        return failures.on_driver(store, lambda driver: _kept(store, driver, call, known, start, count, render))

    def fix_counted(self, connection: Connection) -> int:
        """Finds a portion of the members of lists whose time is over and of whom only first pages were read: the audit
        names them by their place in the list. Returns how many lists; 0 when nothing is left."""
        pieces = queries.counted(connection, queries.now(connection))
        for piece in pieces:
            filters = json.loads(piece["choice"])
            queries.freeze_at(connection, piece["id"], piece["organisation"], piece["seq"], filters)
        return len(pieces)

    def expire_snapshots(self, connection: Connection) -> int:
        """Forgets the lines of snapshots whose time is over; returns the number of blocks emptied."""
        return queries.expire(connection, queries.now(connection))

    def _head(
        self, driver: Driver, call: Call, organisation: str | None, wish: Resolved, snapshot_id: UUID | None
    ) -> Head | None:
        """The snapshot that is asked for, or one of this client's that still is exactly the list."""
        client_id = call.caller.client_id
        if snapshot_id is not None:
            row = driver.execute(queries.SNAPSHOT, (snapshot_id, client_id)).fetchone()
            if row is None:
                raise GatewayError("list.snapshot-expired")
            head = Head(*row)
            if head.choice != wish.key:
                raise GatewayError("list.choice-differs")
            return head
        if organisation is None:
            return None
        if wish.closed:
            months = wish.period.months
            values = {"client_id": client_id, "choice": wish.key, "organisation": organisation}
            values |= {"first": months[0].number, "last": months[-1].number}
            row = driver.execute(queries.STANDING_CLOSED, values).fetchone()
        else:
            row = driver.execute(queries.STANDING, (client_id, wish.key, wish.piece_key)).fetchone()
        return Head(*row) if row else None

    def _first(
        self,
        connection: Connection,
        call: Call,
        organisation: str | None,
        wish: Resolved,
        start: int,
        count: int,
        render: LineRenderer,
    ) -> Page:
        """Names the list as it stands in this transaction, reads the page and leaves the record."""
        head = self._current(connection, call, organisation, wish, self.settings.snapshot_hours)
        lines: list[Line] = []
        for part in blocks.parts(head.pieces, head.ends, start - 1, count):
            lines += blocks.live(connection, part, wish.values)
        _record(driver_of(connection), call, head, len(lines))
        return head.page(start, render.join(start, render(lines)), len(lines))

    def name(
        self, connection: Connection, call: Call, organisation: str | None, wish: Resolved, *, hours: int, id: UUID
    ) -> Head:
        """Names the list as it stands in this transaction, or the closed one, under an id given out before."""
        find = self._closed if wish.closed else self._current
        return find(connection, call, organisation, wish, hours, id)

    def _current(
        self,
        connection: Connection,
        call: Call,
        organisation: str | None,
        wish: Resolved,
        hours: int,
        id: UUID | None = None,
    ) -> Head:
        """Names the list as it stands in this transaction.

        Who is under observation now is only counted: the ledger's number is enough to find them later.
        """
        now = queries.now(connection)
        expires_at = now + timedelta(hours=hours)
        names = queries.organisations(connection) if organisation is None else [organisation]
        have = queries.pieces(connection, names, wish.piece_key, now)
        queries.extend(connection, [row["id"] for row in have.values()], expires_at)
        counted = wish.values["type"] == "OBSERVED" and wish.values["running"]
        for name in names:
            if name in have:
                continue
            if counted:
                if made := queries.count(connection, name, wish.piece_key, wish.values, expires_at):
                    have[name] = made
            else:
                queries.freeze(connection, name, wish.piece_key, wish.values, 0, expires_at)
        if len(have) < len(names):
            have = queries.pieces(connection, names, wish.piece_key, now)
        rows = [have[name] for name in names if name in have]
        if organisation and not rows and not queries.organisation_exists(connection, organisation):
            raise GatewayError("object.not-found")
        seen = {row["organisation"]: row["seq"] for row in rows}
        return self._name(connection, call, wish, rows, now, None, expires_at, (organisation, seen), id)

    def _closed(
        self,
        connection: Connection,
        call: Call,
        organisation: str | None,
        wish: Resolved,
        hours: int,
        id: UUID | None = None,
    ) -> Head:
        """Names the frozen list of closed months."""
        now = queries.now(connection)
        expires_at = now + timedelta(hours=hours)
        pieces = self.closed_pieces(connection, organisation, wish)
        seen = {name: piece["seq"] for name, piece in pieces.items()}
        rows = [
            _filtered(connection, name, piece, wish, expires_at) if wish.filters else piece
            for name, piece in pieces.items()
        ]
        closed_at = max(row["closed_at"] for row in rows)
        return self._name(connection, call, wish, rows, now, closed_at, expires_at, (organisation, seen), id)

    def closed_pieces(self, connection: Connection, organisation: str | None, wish: Resolved) -> dict[str, Any]:
        """The closed lists of the choice by organisation. Raises ``list.not-closed`` unless every one is closed."""
        first, last = wish.period.months[0].number, wish.period.months[-1].number
        whole = compose(
            wish.values["type"],
            wish.period,
            closed=True,
            filters={},
            organisation=organisation,
            today=self.clock.today(),
        )
        found: dict[str, Any] = {}
        for name in queries.organisations(connection) if organisation is None else [organisation]:
            closed = queries.closed_months(connection, name)
            for month in wish.period.months:
                if month.number not in closed and self._awaited(connection, name, month, closed):
                    raise GatewayError("list.not-closed")
            if last not in closed:
                continue  # of a quarter, its last month is what counts
            found[name] = queries.closed_piece(connection, name, whole.piece_key, first, last)
        if not found or None in found.values():
            raise GatewayError("list.not-closed")
        return found

    def _awaited(self, connection: Connection, organisation: str, month: Month, closed: frozenset[int]) -> bool:
        """Whether an open month is still to be closed: not where the list began after it, or a later month is closed."""
        if any(number > month.number for number in closed):
            return False
        return queries.kept_by(connection, organisation, month.last_day)

    def _name(
        self,
        connection: Connection,
        call: Call,
        wish: Resolved,
        rows: Sequence[Any],
        now: datetime,
        closed_at: datetime | None,
        expires_at: datetime,
        seen: tuple[str | None, dict[str, int]],
        id: UUID | None,
    ) -> Head:
        """Keeps what the snapshot names. Its token begins the change feed where the pieces were fixed."""
        ends: list[int] = []
        for row in rows:
            ends.append((ends[-1] if ends else 0) + row["total"])
        token = Token(str(eras.current(driver_of(connection))), *seen)
        head = Head(
            id=id or uuid4(),
            pieces=[row["id"] for row in rows],
            ends=ends,
            token=str(token),
            as_of=closed_at or now,
            closed_at=closed_at,
            edition="CLOSED" if wish.closed else "CURRENT",
            choice=wish.key,
        )
        queries.insert_snapshot(
            connection, client_id=call.caller.client_id, expires_at=expires_at, **dataclasses.asdict(head)
        )
        return head


@dataclass(frozen=True, slots=True)
class Head:
    """What a snapshotId names."""

    id: UUID
    pieces: list[int]
    ends: list[int]
    token: str
    as_of: datetime
    closed_at: datetime | None
    edition: str
    choice: str

    @property
    def total(self) -> int:
        return self.ends[-1] if self.ends else 0

    def page(self, start: int, body: bytes, returned: int) -> Page:
        return Page(self.id, self.edition, self.as_of, self.closed_at, self.token, self.total, start, returned, body)


def _kept(store: Store, driver: Driver, call: Call, head: Head, start: int, count: int, render: LineRenderer) -> Page:
    """A page of rendered lines."""
    lines: list[bytes] = []
    for part in blocks.parts(head.pieces, head.ends, start - 1, count):
        lines += blocks.read(store, driver, part, render)
    _record(driver, call, head, len(lines))
    return head.page(start, render.join(start, lines), len(lines))


def _record(driver: Driver, call: Call, head: Head, returned: int) -> None:
    call.snapshot_id, call.records = head.id, returned
    audit.write_on(driver, call)
    call.audited = True


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


def _serialised(store: Store, work: Callable[[Connection], T]) -> T:
    """Runs ``work`` on one unchanging view of the database; again if another call made the same piece meanwhile."""
    for attempt in range(_TRIES):
        try:
            with store.engine.connect() as connection:
                connection.execution_options(isolation_level="REPEATABLE READ")
                with connection.begin():
                    return work(connection)
        except (SQLAlchemyError, psycopg.Error) as error:
            again = failures.is_conflict(error) or (failures.is_lost(error) and attempt == 0)
            if again and attempt < _TRIES - 1:
                continue
            refusal = failures.named(error)
            if refusal is None:
                raise
            raise refusal from error
    raise AssertionError
