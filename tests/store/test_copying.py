"""COPY keeps every text byte for byte, and types in its binary form."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.store import copying
from gateway.store.engine import Driver

TEXTS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=30)
ROWS = st.lists(st.tuples(st.none() | TEXTS, st.none() | TEXTS), max_size=20)


@pytest.fixture
def driver(store) -> Iterator[Driver]:
    with store.driver() as driver:
        driver.execute("CREATE TEMP TABLE t (n int GENERATED ALWAYS AS IDENTITY, a text, b text)")
        yield driver


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_texts_survive_the_way_in(driver: Driver, rows) -> None:
    driver.execute("TRUNCATE t")
    assert copying.copy_rows(driver, "t", ["a", "b"], rows) == len(rows)
    assert driver.execute("SELECT a, b FROM t ORDER BY n").fetchall() == rows


def test_binary_rows_keep_their_types(driver: Driver) -> None:
    driver.execute("CREATE TEMP TABLE b (n bigint, d date, t text)")
    rows = [(1, date(2026, 11, 22), "ё"), (2, None, "")]
    assert copying.copy_rows(driver, "b", ["n", "d", "t"], rows, ["int8", "date", "text"]) == 2
    assert driver.execute("SELECT n, d, t FROM b ORDER BY n").fetchall() == rows
