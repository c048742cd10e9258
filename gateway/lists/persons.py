"""What insured persons' data mean for lists: the copies in entries follow, each with an event, in every list at once."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from gateway.lists import queries
from gateway.lists.frame import Frame

_PORTION = 20_000


class Persons(Frame):
    """Set-based changes over all lists."""

    def renew_persons(self, connection: Connection) -> int:
        """Brings the copies up to date for the persons of the temporary table ``changed_person``; how many entries.

        No list changes from here to the end of the transaction: an entry added meanwhile would copy the former person.
        """
        if not queries.has_changed_persons(connection):
            return 0
        queries.lock_every_ledger(connection)
        return queries.renew_persons(connection, self.clock.today())

    def forget_images(self, connection: Connection, before: datetime) -> int:
        """Drops a portion of the lines that old changes kept; 0 when nothing is left.

        A move out keeps its line: it is what the former list shows of past months.
        """
        return queries.forget_images(connection, before, _PORTION)
