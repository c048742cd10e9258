"""The server lives through its workers and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from typing import Any

import psutil

from tests.serving import EXCHANGE, Gateway


def test_ping(gateway: Gateway) -> None:
    answer = gateway.call("Ping", namespace=EXCHANGE)
    assert answer.status == 200
    assert answer.result.findtext("{*}version")
    assert len(answer.headers["x-request-id"]) == 32
