"""A client reads its own calls and nobody else's."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
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

        def own(**choice: Any) -> journal.PastCalls:
            return journal.my_calls(connection, caller, since, until, **choice)

        whole = own()
        assert (whole.total, whole.start) == (6, 1)
        assert [(one.operation, one.outcome) for one in whole.calls] == [
            ("GetList", "REFUSED"), ("AddEntries", "REPLAYED"), ("AddEntries", "OK"), ("GetEntry", "OK"),
            ("GetList", "OK"), ("GetEntry", "OK"),
        ]  # fmt: skip
        assert whole.calls[0].code == "access.forbidden" and whole.calls[1].request_id == str(request_id)
        assert own(page_start=3, count=2) == journal.PastCalls(6, 3, whole.calls[2:4])
        assert own(operation="GetEntry").total == 2
        assert own(outcome="REFUSED", operation="GetList").calls == whole.calls[:1]
        assert own(operation="x' OR true --").total == 0
        assert journal.my_calls(connection, caller, until, until).total == 0


@pytest.mark.parametrize("start", [7, 1000])
def test_a_page_past_the_end_is_empty(store: Store, caller: Caller, start: int) -> None:
    now = datetime.now(UTC)
    with store.begin() as connection:
        assert journal.my_calls(connection, caller, now, now, page_start=start).calls == []
