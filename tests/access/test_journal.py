"""A client reads its own calls and nobody else's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from gateway.access import calls, journal
from gateway.access.model import Call, Caller
from gateway.errors import GatewayError
from gateway.store.engine import Store


def test_own_calls_newest_first_by_page_and_choice(
    store: Store, make_call: Callable[..., Call], caller: Caller
) -> None:
    for operation in ("GetEntry", "GetList", "GetEntry"):
        calls.read(store, make_call(operation), lambda _: None)
    request_id = uuid4()
    for _ in range(2):
        calls.change(store, make_call("AddEntries", request_id), lambda _: "done", str.encode)
    calls.refuse(store, make_call("GetList"), GatewayError("access.forbidden"))
    stranger = make_call("GetList")
    stranger.caller = Caller(caller.client_id + 1, "other", caller.kind, frozenset(), None, frozenset())
    calls.read(store, stranger, lambda _: None)
    since, until = datetime.now(UTC) - timedelta(hours=1), datetime.now(UTC) + timedelta(hours=1)
    with store.begin() as connection:

        def own(**choice: object) -> tuple[int, list[journal.PastCall]]:
            return journal.of_client(connection, caller.client_id, since, until, **choice)  # type: ignore[arg-type]

        total, found = own()
        assert total == 6
        assert [(one.operation, one.outcome) for one in found] == [
            ("GetList", "REFUSED"), ("AddEntries", "REPLAYED"), ("AddEntries", "OK"), ("GetEntry", "OK"),
            ("GetList", "OK"), ("GetEntry", "OK"),
        ]  # fmt: skip
        assert found[0].code == "access.forbidden" and found[1].request_id == str(request_id)
        total, page = own(start=3, count=2)
        assert (total, page) == (6, found[2:4])
        assert own(operation="GetEntry")[0] == 2
        assert own(outcome="REFUSED", operation="GetList")[1] == found[:1]
        assert own(operation="x' OR true --")[0] == 0
        assert journal.of_client(connection, caller.client_id, until, until)[0] == 0


@pytest.mark.parametrize("start", [7, 1000])
def test_a_page_past_the_end_is_empty(store: Store, caller: Caller, start: int) -> None:
    now = datetime.now(UTC)
    with store.begin() as connection:
        assert journal.of_client(connection, caller.client_id, now, now, start=start) == (0, [])
