"""What the register of insured persons changes in lists: ends and moves set-based, merged people and returns one by one.

Every function works under the lock of `begin_renewal`: no list changes from there to the end of the transaction.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from sqlalchemy import Connection, RowMapping

from gateway.access.model import Call
from gateway.domain.observation import effective
from gateway.errors import GatewayError
from gateway.lists import ledger, queries
from gateway.lists.frame import Frame
from gateway.lists.ledger import Change
from gateway.store import eras
from gateway.store.engine import driver_of

SOURCE = "ERZL"
COPIES = (
    "enp", "snils", "last_name", "first_name", "middle_name", "name_key", "birth_date", "sex", "death_date", "insurer",
    "attached_organisation",
)  # fmt: skip
"""What an entry copies of its person."""

MERGED_AWAY = "9"
"""Reason of exclusion of an entry that goes on in another one: «Иная причина»."""


class Renewal(Frame):
    """The monthly truth about people, put into lists."""

    def begin_renewal(self, connection: Connection) -> None:
        """Holds up all changes of lists and makes the temporary table ``planned``, for the layer above to fill."""
        queries.lock_every_ledger(connection)
        eras.current(driver_of(connection))
        queries.make_planned(connection)

    def apply_planned(self, connection: Connection, call: Call) -> list[RowMapping]:
        """Ends and moves what ``planned`` says where it still holds; counts by action and cause."""
        return queries.apply_planned(connection, actor=call.caller.login, trace=call.trace)

    def merge_entry(
        self,
        connection: Connection,
        call: Call,
        entry_id: int,
        successor_id: int,
        since: date,
        details: Mapping[str, Any],
    ) -> bool:
        """Gives an entry to the person that its person went on as; whether it still stands by itself.

        Where that person is observed for the same disease already, the entry ends and the other one goes on with both
        histories. Where that person was, and no longer is, the days that both were observed stay with the former number.
        Raises ``object.not-found``.
        """
        entry, heir = queries.whole_entry(connection, entry_id), queries.person_of(connection, successor_id)
        if entry is None or heir is None or entry["person_id"] == successor_id:
            raise GatewayError("object.not-found")
        kept = queries.open_entry(connection, successor_id, entry["diagnosis_key"])
        if kept is not None:
            self._join(connection, call, entry, kept, since, details)
            return False
        queries.give_segments(connection, entry_id, successor_id)
        patch = {"person_id": successor_id, **{name: heir[name] for name in COPIES}}
        self._change(connection, call, entry, "PERSON_CHANGED", "MERGE", self.clock.today(), patch, details)
        return True

    def _join(
        self,
        connection: Connection,
        call: Call,
        entry: RowMapping,
        kept_id: int,
        since: date,
        details: Mapping[str, Any],
    ) -> None:
        """Ends an entry whose disease another entry of the successor holds. Its history is shown with the other's."""
        day = effective(since, queries.closed_months(connection, entry["organisation"]))
        queries.end_segments(connection, [{"entry_id": entry["id"], "until": day, "true_to": since}])
        patch = {
            "status": "EXCLUDED",
            "excluded_on": max(since, entry["observed_since"]),
            "exclusion_reason": MERGED_AWAY,
            "next_visit_by": None,
        }
        self._change(connection, call, entry, "EXCLUDED", "MERGE", day, patch, {**details, "joinedTo": kept_id})
        kept = queries.whole_entry(connection, kept_id)
        assert kept is not None
        last = queries.last_visit_of_both(connection, entry["id"], kept_id)
        patch = {"observed_since": min(entry["observed_since"], kept["observed_since"])}
        if last is not None and (kept["last_visit_on"] is None or last["conducted_on"] > kept["last_visit_on"]):
            patch |= {"last_visit_on": last["conducted_on"], "last_visit_result": last["result"]}
            patch |= self.due(kept, last_visit_on=last["conducted_on"])
        more = {**details, "joined": entry["id"]}
        self._change(connection, call, kept, "PERSON_CHANGED", "MERGE", self.clock.today(), patch, more)

    def return_entry(
        self, connection: Connection, call: Call, entry_id: int, true_on: date, details: Mapping[str, Any]
    ) -> None:
        """Opens an entry that the register had ended: from its end if that was an error, else from ``true_on``, and never
        inside a closed month. Raises ``reopen.impossible`` or ``observation.*`` where something stands in the way."""
        entry = queries.whole_entry(connection, entry_id)
        if entry is None or entry["status"] != "EXCLUDED":
            raise GatewayError("reopen.impossible")
        last = queries.segments(connection, entry_id)[-1]
        if last["organisation"] != entry["organisation"] or last["until"] is None:
            raise GatewayError("reopen.impossible")
        closed = queries.closed_months(connection, entry["organisation"])
        day = max(effective(max(true_on, last["until"]), closed), last["until"])
        self.others(connection, entry["organisation"], entry, entry["diagnosis_key"], day)
        if day == last["until"]:
            queries.reopen_segment(connection, last["id"])
        else:
            queries.add_segment(
                connection,
                entry_id=entry_id,
                person_id=entry["person_id"],
                diagnosis_key=entry["diagnosis_key"],
                diagnosis=entry["diagnosis"],
                organisation=entry["organisation"],
                since=day,
                true_from=true_on,
                cause="REOPENED",
            )
        patch = {
            "status": "OBSERVED",
            "excluded_on": None,
            "exclusion_reason": None,
            **self.due(entry, last_visit_on=entry["last_visit_on"]),
        }
        self._change(connection, call, entry, "REOPENED", "RETURN", day, patch, details)

    def _change(
        self,
        connection: Connection,
        call: Call,
        entry: RowMapping,
        kind: str,
        cause: str,
        day: date,
        patch: Mapping[str, Any],
        details: Mapping[str, Any],
    ) -> None:
        change = Change(entry["id"], kind, cause, day, dict(patch), dict(details))
        ledger.apply(connection, call, entry["organisation"], [change], SOURCE)
