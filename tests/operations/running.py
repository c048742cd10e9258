"""Runs what waits in the queue, in this process."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from gateway.domain.clock import Clock
from gateway.operations.kinds import BODIES, Body
from gateway.operations.queue import Work, Worker
from gateway.settings import Settings
from gateway.store.engine import Store


def run_waiting(
    store: Store, owner: Store | None = None, settings: Settings | None = None, clock: Clock | None = None
) -> None:
    """Until no job is due; jobs that are to be repeated later stay in the queue."""
    Worker(Work(store, owner, settings or Settings(), clock or Clock())).run_waiting()


@contextmanager
def only(bodies: Mapping[str, Body]) -> Iterator[dict[str, Body]]:
    """Within the block there are these kinds of long work and no others."""
    product = dict(BODIES)
    BODIES.clear()
    BODIES.update(bodies)
    try:
        yield BODIES
    finally:
        BODIES.clear()
        BODIES.update(product)
