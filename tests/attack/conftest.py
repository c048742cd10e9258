"""The gateway under attack: wrong passwords are slowed down less, since all of them come from one address here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.serving import Gateway, running, running_gateway

__all__ = ["gateway", "running"]


@pytest.fixture(scope="module")
def gateway(server: Any, template: str) -> Iterator[Gateway]:
    with running_gateway(server, template, guess_delay_seconds=0.1) as gateway:
        yield gateway
