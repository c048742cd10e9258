"""One entry with its history: visits, stretches of observation, who changed what and from which source."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, RowMapping

from gateway.access.model import Call, ClientKind, Foreign
from gateway.domain import persons
from gateway.errors import GatewayError
from gateway.lists import queries
from gateway.lists.frame import id_of
from gateway.lists.model import EntryView, EventView, SegmentView, VisitView


class History:
    """Reading single entries."""

    def entry(self, connection: Connection, call: Call, entry_id: str) -> EntryView:
        """GetEntry. An entry outside the caller's set answers like a missing one."""
        number = id_of(entry_id)
        owner = queries.owner(connection, number)
        if owner is None:
            raise GatewayError("object.not-found")
        caller = call.caller
        outside = not caller.sees(owner["organisation"])
        if outside or (caller.kind is ClientKind.INSURER and owner["insurer"] != caller.insurer):
            raise Foreign()
        call.organisation = owner["organisation"]
        return self.view(connection, number, call)

    def person_entries(self, connection: Connection, call: Call, enp: str) -> list[EntryView]:
        """GetPersonEntries: the caller's own entries of a person; none is an answer."""
        if wrong := persons.enp_error(enp):
            raise GatewayError(wrong)
        caller = call.caller
        organisations = caller.organisations if caller.kind is ClientKind.MO else None
        insurer = caller.insurer if caller.kind is ClientKind.INSURER else None
        return [
            self.view(connection, number, call)
            for number in queries.ids_of_person(connection, enp, organisations, insurer)
        ]

    def view(self, connection: Connection, entry_id: int, call: Call | None = None) -> EntryView:
        """The entry as it stands, with all that happened to it, and to entries of merged people that became one with it."""
        family = queries.joined(connection, entry_id)
        person_id, *line = queries.lines(connection, [entry_id])[0]
        if call is not None:
            call.covers([person_id])
        return EntryView(
            line=tuple(line),
            register=queries.register_of(connection, family),
            visits=tuple(
                VisitView(**row)
                for row in _together(lambda one: queries.visits(connection, one), family, "conducted_on")
            ),
            segments=tuple(
                SegmentView(
                    row["organisation"], row["diagnosis"], row["since"], row["until"], row["cause_in"], row["cause_out"]
                )
                for row in _together(lambda one: queries.segments(connection, one), family, "since")
            ),
            events=tuple(
                EventView(
                    row["version"],
                    row["recorded_at"],
                    row["effective_on"],
                    row["kind"],
                    row["cause"],
                    row["source"],
                    row["actor"],
                )
                for row in _together(lambda one: queries.events(connection, one), family, "recorded_at")
            ),
        )


def _together(read: Callable[[int], Sequence[RowMapping]], family: Sequence[int], order: str) -> list[RowMapping]:
    """Rows of all entries of a family by time; those of one entry keep their own order."""
    rows = [row for one in family for row in read(one)]
    return rows if len(family) == 1 else sorted(rows, key=lambda row: row[order])
