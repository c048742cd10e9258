"""The plan put into persons and lists, in one transaction with its record in the audit, the notices and the new state."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, RowMapping

from gateway.access import audit
from gateway.access.model import Call
from gateway.errors import GatewayError
from gateway.lists import Lists
from gateway.people import refresh
from gateway.settings import Settings
from gateway.store import rebuild
from gateway.store.engine import driver_of
from gateway.sync.insured import notices, queries


class Applying:
    """One plan on its way into the lists."""

    def __init__(self, connection: Connection, lists: Lists, call: Call, reconcile: UUID, day: date) -> None:
        self._connection = connection
        self._lists = lists
        self._call = call
        self._run = reconcile
        self._day = day

    def all(self, settings: Settings, operation: UUID, period: str) -> dict[str, int]:
        """Everything; counts for the comparison. The caller sets its state in the same transaction."""
        connection = self._connection
        rebuild.memory(driver_of(connection))
        counts = {"newer": queries.mark_newer(connection, self._run), **self._persons()}
        self._lists.begin_renewal(connection)
        queries.fill_planned(connection, self._run)
        counts["renewed"] = self._lists.renew_persons(connection, moving=True)
        counts |= self._one_by_one()
        queries.give_registers(connection, self._run)
        queries.fill_planned(connection, self._run)
        for row in self._lists.apply_planned(connection, self._call):
            counts[f"{row['action']}/{row['cause']}".lower()] = row["count"]
        queries.mark_moved(connection, self._run)
        counts["notices"] = notices.write(connection, settings, self._run, operation, period)
        self._call.covers(queries.persons(connection, self._run))
        self._call.details |= {"reconcile": str(self._run), "counts": counts}
        audit.write(connection, self._call)
        return counts

    def _persons(self) -> dict[str, int]:
        """People first, under the lock of their loads: entries copy them after."""
        connection = self._connection
        refresh.begin(connection)
        for facts in queries.heirs(connection, self._run):
            refresh.add(connection, facts)
        queries.note_successors(connection, self._run)
        queries.fill_confirmed(connection, self._run)
        planned: datetime = queries.get(connection, self._run)["planned_at"]
        return {
            "persons": refresh.confirm(connection, self._day),
            "unlisted": refresh.follow_extract(connection, self._day, planned),
        }

    def _one_by_one(self) -> dict[str, int]:
        counts = {"merge": 0, "join": 0, "return": 0, "hindered": 0}
        for row in queries.one_by_one(self._connection, self._run):
            try:
                with self._connection.begin_nested():
                    counts[self._merge(row) if row["action"] == "MERGE" else self._return(row)] += 1
            except GatewayError:
                queries.mark_hindered(self._connection, self._run, row["entry_id"])
                counts["hindered"] += 1
        return counts

    def _merge(self, row: RowMapping) -> str:
        if row["successor_id"] is None:
            raise GatewayError("object.not-found")
        stands = self._lists.merge_entry(
            self._connection, self._call, row["entry_id"], row["successor_id"], row["true_on"], self._why(row)
        )
        queries.mark_applied(self._connection, self._run, row["entry_id"])
        if not stands:
            return "join"
        queries.fill_planned_merged(self._connection, self._run, row["entry_id"], row["person_id"], self._day)
        return "merge"

    def _return(self, row: RowMapping) -> str:
        self._lists.return_entry(self._connection, self._call, row["entry_id"], row["true_on"], self._why(row))
        queries.mark_applied(self._connection, self._run, row["entry_id"])
        return "return"

    def _why(self, row: RowMapping) -> dict[str, Any]:
        answered: datetime = row["asked_at"]
        return {"reconcile": str(self._run), "rule": row["finding"], "answeredAt": answered.isoformat()}
