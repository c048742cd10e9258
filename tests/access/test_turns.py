"""Known callers are hashed first, and waiting work is bounded."""

from __future__ import annotations

import threading

import pytest

from gateway.access.guesses import Guesses
from gateway.access.turns import Rank, Turns
from gateway.errors import GatewayError


def blocked(turns: Turns) -> threading.Event:
    """Occupies the only thread until the event is set."""
    running, release = threading.Event(), threading.Event()

    def work() -> None:
        running.set()
        release.wait()

    turns.submit(Rank.NEW, work)
    running.wait()
    return release


def test_known_callers_go_first() -> None:
    turns, done = Turns(1), []
    release = blocked(turns)
    futures = [
        turns.submit(rank, lambda rank=rank, number=number: done.append((rank.name, number)))
        for number, rank in enumerate((Rank.SUSPECT, Rank.NEW, Rank.KNOWN, Rank.SUSPECT, Rank.KNOWN))
    ]
    release.set()
    for future in futures:
        future.result(timeout=10)
    assert done == [("KNOWN", 2), ("KNOWN", 4), ("NEW", 1), ("SUSPECT", 0), ("SUSPECT", 3)]
    turns.close()


def test_the_newest_suspect_gives_way_when_too_much_waits() -> None:
    turns = Turns(1, waiting=2)
    release = blocked(turns)
    first = turns.submit(Rank.SUSPECT, lambda: "first")
    second = turns.submit(Rank.SUSPECT, lambda: "second")
    known = turns.submit(Rank.KNOWN, lambda: "known")
    with pytest.raises(GatewayError, match=r"server\.busy"):
        second.result(timeout=10)
    first.cancel()
    assert turns.submit(Rank.KNOWN, lambda: "again").cancelled() is False
    release.set()
    assert known.result(timeout=10) == "known"
    turns.close()


def test_errors_and_cancelled_work_do_not_stop_the_thread() -> None:
    turns = Turns(1)
    release = blocked(turns)
    failing = turns.submit(Rank.NEW, lambda: 1 // 0)
    cancelled = turns.submit(Rank.NEW, lambda: "never")
    cancelled.cancel()
    release.set()
    with pytest.raises(ZeroDivisionError):
        failing.result(timeout=10)
    assert turns.submit(Rank.NEW, lambda: "alive").result(timeout=10) == "alive"
    turns.close()
    with pytest.raises(GatewayError):
        turns.submit(Rank.NEW, lambda: None)


def test_rank_follows_what_an_address_has_done() -> None:
    guesses = Guesses(2.0)
    assert guesses.rank("clinic-1", "10.0.0.1") is Rank.NEW
    guesses.failed("clinic-1", "10.0.0.1", known=True)
    assert guesses.rank("clinic-2", "10.0.0.1") is Rank.SUSPECT
    assert guesses.rank("clinic-1", "10.0.0.2") is Rank.NEW
    guesses.succeeded("clinic-1", "10.0.0.1")
    assert guesses.rank("clinic-1", "10.0.0.1") is Rank.KNOWN
