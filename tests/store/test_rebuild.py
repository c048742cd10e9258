"""Room for great work in a session that has done other work before."""

from __future__ import annotations

from gateway.store import rebuild
from gateway.store.engine import Store, driver_of


def test_memory_is_given_after_temporary_tables_too(store: Store) -> None:
    for _ in range(2):
        with store.begin() as connection:
            driver = driver_of(connection)
            driver.execute("CREATE TEMP TABLE small ON COMMIT DROP AS SELECT 1")
            rebuild.memory(driver)
            assert driver.execute("SHOW work_mem").fetchall() == [("256MB",)]
    store.engine.dispose()
    with store.begin() as connection:
        rebuild.memory(driver_of(connection))
        assert driver_of(connection).execute("SHOW temp_buffers").fetchall() == [("64MB",)]
