"""The limit of requests per minute holds over processes."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from gateway.access.gate import Gate
from gateway.access.model import Caller
from gateway.access.rate import Rate
from gateway.errors import GatewayError
from gateway.store.engine import Store


@pytest.fixture
def early(store: Store) -> None:
    """Waits for a minute with time left, since the count begins anew with each."""
    with store.begin() as connection:
        second = connection.execute(text("SELECT extract(second FROM now())::float8")).scalar_one()
    if second > 50:
        time.sleep(60.5 - second)


@pytest.mark.usefixtures("early")
@pytest.mark.parametrize("limit", [1, 7, 40, 99])
def test_never_more_than_the_limit_over_processes(store: Store, limit: int) -> None:
    processes = [Rate(store) for _ in range(3)]

    def attempt(number: int) -> int:
        try:
            processes[number % 3].take(1, limit)
        except GatewayError as refused:
            assert refused.code == "access.rate" and 1 <= (refused.retry_after or 0) <= 60
            assert str(limit) in refused.message
            return 0
        return 1

    with ThreadPoolExecutor(12) as threads:
        assert sum(threads.map(attempt, range(3 * limit + 30))) == limit


@pytest.mark.usefixtures("early")
def test_a_lease_is_one_look_at_the_database(store: Store) -> None:
    rate = Rate(store)
    for _ in range(300):
        rate.take(1, 6000)
    with store.begin() as connection:
        assert connection.execute(text("SELECT sum(taken) FROM rate_window")).scalar_one() == 300
    rate.take(1, 6000)
    with store.begin() as connection:
        assert connection.execute(text("SELECT sum(taken) FROM rate_window")).scalar_one() == 600


@pytest.mark.usefixtures("early")
def test_clients_have_their_own_limits(store: Store, make_gate: Callable[..., Gate], caller: Caller) -> None:
    gate = make_gate()
    small = Caller(7, "small", caller.kind, frozenset(), None, frozenset(), requests_per_minute=2)
    gate.take(small)
    gate.take(small)
    with pytest.raises(GatewayError, match=r"access\.rate"):
        gate.take(small)
    gate.take(caller)


def test_a_past_minute_does_not_count(store: Store) -> None:
    with store.begin() as connection:
        connection.execute(text("INSERT INTO rate_window SELECT 1, floor(extract(epoch FROM now()) / 60) - 1, 1000"))
    Rate(store).take(1, 10)
