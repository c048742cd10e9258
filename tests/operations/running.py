"""Runs what waits in the queue, in this process."""

from __future__ import annotations

from gateway.domain.clock import Clock
from gateway.operations.queue import Work, Worker
from gateway.settings import Settings
from gateway.store.engine import Store


def run_waiting(
    store: Store, owner: Store | None = None, settings: Settings | None = None, clock: Clock | None = None
) -> None:
    """Until no job is due; jobs that are to be repeated later stay in the queue."""
    Worker(Work(store, owner, settings or Settings(), clock or Clock())).run_waiting()
