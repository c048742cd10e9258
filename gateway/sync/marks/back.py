"""A case that was taken and is refused later: its marks and its care are taken back, and entries go to review.

What a mark made or ended stays as it is until its clinic has looked at it: the observation may be true although the case
was not paid. The entry is left an event REVIEW, the clinic a file in its mailbox.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from gateway.access import audit
from gateway.access.model import Call, Outcome
from gateway.errors import GatewayError
from gateway.lists import Lists
from gateway.sync.marks import queries, report, taking


def take_back(
    lists: Lists, connection: Connection, call: Call, cases: Sequence[tuple[str, str | None]], reason: str
) -> dict[str, int]:
    """Takes back cases, each named by the packet's name and IDCASE (None: all of the packet); marks and entries by
    ``marks`` and ``reviews``. A case that was taken back before changes nothing.

    Raises ``reason.empty``, and ``object.not-found`` for a case that was never taken.
    """
    reason = reason.strip()
    if not reason:
        raise GatewayError("reason.empty")
    call.caller.may_change()
    gone: list[Mapping[str, Any]] = []
    for file, case_id in cases:
        file = file.upper()
        if not queries.is_known(connection, file=file, case_id=case_id):
            raise GatewayError("object.not-found")
        gone += queries.take_back(connection, file=file, case_id=case_id, by=call.caller.login, reason=reason)
    reviews = taking.review(lists, connection, call, gone)
    for organisation, rows in reviews.items():
        name = f"review_{lists.clock.now():%Y%m%d_%H%M%S}.csv"
        report.put(
            connection, lists.settings, name=name, content=report.text("", rows), organisation=organisation,
            operation=None, mailbox=True,
        )  # fmt: skip
    counts = {"marks": len(gone), "reviews": sum(len(rows) for rows in reviews.values())}
    call.details |= {"cases": [f"{file}/{case_id or '*'}" for file, case_id in cases], **counts}
    audit.write(connection, call, Outcome.OK)
    return counts
