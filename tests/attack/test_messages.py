"""Trials A1, A3, A7, C8: every raw message gets its named fault within two seconds, and nothing else happens."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.errors import KINDS
from tests.attack import raw
from tests.serving import Gateway


@pytest.fixture(scope="module")
def canary() -> Iterator[raw.Canary]:
    listener = raw.Canary()
    yield listener
    listener.close()


@pytest.mark.parametrize("message", raw.MESSAGES, ids=lambda path: path.stem)
def test_message(gateway: Gateway, canary: raw.Canary, message: Path) -> None:
    since = time.monotonic()
    answer = raw.exchange(gateway, raw.filled(message, gateway, canary.address))
    assert answer.fault == raw.wanted(message), answer.content.decode()
    assert time.monotonic() - since < 2
    assert answer.headers["content-type"] == "text/xml; charset=utf-8"
    assert len(answer.headers["x-request-id"]) == 32
    assert (answer.status == 200) is (raw.wanted(message) is None)


def test_nothing_was_fetched(canary: raw.Canary) -> None:
    assert canary.calls == 0


def test_wanted_codes_exist() -> None:
    assert {raw.wanted(message) for message in raw.MESSAGES} - {None} <= KINDS.keys()


def test_log_holds_no_payload(gateway: Gateway) -> None:
    """Bodies of the messages above hold a name, a number like an ЕНП and secrets."""
    log = gateway.log_text
    for secret in ("1234567890123456", "Иванов", "hello", "INTERNAL", gateway.clients["clinic"].password):
        assert secret not in log
    assert all("trace" in line for line in gateway.log_lines if line["logger"] == "gateway.calls")


def test_faults_repeat_no_value(gateway: Gateway, canary: raw.Canary) -> None:
    for message in raw.MESSAGES:
        content = raw.exchange(gateway, raw.filled(message, gateway, canary.address)).content.decode()
        for sent in ("1234567890123456", "Иванов", "hello", "INTERNAL", "x1", "99999", "evil"):
            assert sent not in content, message.stem
