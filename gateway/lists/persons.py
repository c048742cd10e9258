"""What insured persons' data mean for lists: the copies in entries follow, each with an event, in every list at once."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from gateway.lists import aside, queries
from gateway.lists.frame import Frame
from gateway.store import eras
from gateway.store.engine import driver_of

_PORTION = 5_000


class Persons(Frame):
    """Set-based changes over all lists."""

    def renew_persons(self, connection: Connection, *, moving: bool = False) -> int:
        """Brings the copies up to date for the persons of the temporary table ``changed_person``; how many entries.

        With ``moving``, entries that ``planned`` moves have the clinic from there and leave no change for it alone.

        No list changes from here to the end of the transaction: an entry added meanwhile would copy the former person.
        Lines of uploads that wait for a person are looked at again after the commit.
        """
        aside.defer(connection)
        if not queries.has_changed_persons(connection):
            return 0
        queries.lock_every_ledger(connection)
        eras.current(driver_of(connection))
        return queries.renew_persons(connection, self.clock.today(), moving=moving)

    def forget_images(self, connection: Connection, before: datetime) -> int:
        """Drops a portion of the lines that old changes kept, of one list in the order of its numbers, and notes in the
        ledger how far that went: the change feed reaches back to there. 0 when nothing is left.

        A change goes when all before it in its list are as old. A move out keeps its line: it is what the former list
        shows of past months.
        """
        organisation = queries.outdated(connection, before)
        return queries.forget(connection, organisation, before, _PORTION) if organisation else 0
