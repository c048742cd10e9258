from __future__ import annotations

from datetime import date

import pytest

from gateway.store.engine import Store
from tests.lists.region import Region, region


@pytest.fixture
def place(store: Store) -> Region:
    """The invented region on 18 November 2026."""
    return region(store, date(2026, 11, 18))
