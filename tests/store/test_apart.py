"""A source in a process of its own: its items, its refusals, its end."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from itertools import count

import pytest

from gateway.errors import GatewayError
from gateway.store.apart import Apart


def numbers(most: int) -> Iterator[tuple[int, int]]:
    for number in range(most):
        yield number, os.getpid()


def endless() -> Iterator[bytes]:
    for number in count():
        yield b"%d" % number * 1000


def refusing() -> Iterator[int]:
    yield 1
    raise GatewayError("load.file", what="обрыв")


def failing() -> Iterator[int]:
    yield 1
    raise RuntimeError


def test_items_come_in_order_from_elsewhere():
    with Apart(numbers, 100) as items:
        found = list(items)
    assert [number for number, _ in found] == list(range(100))
    assert {process for _, process in found} != {os.getpid()}


def test_a_process_of_several_threads_may_use_it():
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        with Apart(numbers, 3) as items:
            assert len(list(items)) == 3
    finally:
        stop.set()
        thread.join()


def test_a_refusal_is_raised_here():
    with pytest.raises(GatewayError) as refused, Apart(refusing) as items:
        list(items)
    assert refused.value.code == "load.file"
    assert "обрыв" in refused.value.message


def test_a_death_of_the_source_is_not_taken_for_its_end():
    with pytest.raises(EOFError), Apart(failing) as items:
        list(items)


def test_leaving_early_ends_the_process():
    source = Apart(endless)
    with pytest.raises(KeyboardInterrupt), source as items:
        next(items)
        raise KeyboardInterrupt
    assert not source._process.is_alive()
    with Apart(endless) as items:
        next(items)
