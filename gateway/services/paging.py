"""The page that a request asks for, and how an answer says which one it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gateway.access.model import Call
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from gateway.services.contract import Desk

RECORDS_DEFAULT = 1000


def asked(desk: Desk, request: Any) -> tuple[int, int]:
    """The number of the first record and how many; raises ``list.page``."""
    start = 1 if request.start_record is None else request.start_record
    count = RECORDS_DEFAULT if request.record_count is None else request.record_count
    if start < 1 or not 1 <= count <= desk.settings.records_per_page:
        raise GatewayError("list.page", limit=desk.settings.records_per_page)
    return start, count


def answered(call: Call, total: int, start: int, name: str, rows: Sequence[Any]) -> dict[str, Any]:
    """An answer of the fields `types.page_of`, its rows under ``name``."""
    call.records = len(rows)
    return {"total_records": total, "start_record": start, "returned_records": len(rows), name: rows}
