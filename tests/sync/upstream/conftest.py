"""The service that says what a test tells it to, and a running gateway."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.serving import running
from tests.sync.upstream import spoken

__all__ = ["running", "service"]


@pytest.fixture
def service() -> Iterator[spoken.Spoken]:
    with spoken.spoken() as made:
        yield made
