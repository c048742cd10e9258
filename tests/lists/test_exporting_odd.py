"""Exports at their edges: an abort while the database is still looking for the first line."""

from __future__ import annotations

import threading
from uuid import UUID

import pytest
from sqlalchemy import text

from gateway.lists import readout
from gateway.lists.pages import Head
from tests.lists.region import Region


class Stop(Exception):
    """An abort."""


def test_who_leaves_does_not_wait_for_a_reader_that_waits_for_its_first_line(place: Region) -> None:
    """The thread that reads ahead stands in a statement that the watch of the run does not know of."""
    place.add(place.person())
    page = place.list()
    with place.store.begin() as connection:
        row = connection.execute(
            text("SELECT * FROM list_snapshot WHERE id = :id"), {"id": page.snapshot_id}
        ).mappings().one()  # fmt: skip
    names = ("pieces", "ends", "token", "as_of", "closed_at", "edition", "choice")
    head = Head(id=UUID(str(row["id"])), **{name: row[name] for name in names})
    left = threading.Event()
    waits = [0]

    def check() -> None:
        waits[0] += 1
        if waits[0] > 2:
            raise Stop

    def leave() -> None:
        with (
            pytest.raises(Stop),
            readout.ahead(place.store, head, 1, readout.XML, check) as batches,
        ):
            next(batches)
        left.set()

    with place.store.engine.connect() as other:
        transaction = other.begin()
        other.execute(text("LOCK TABLE entry IN ACCESS EXCLUSIVE MODE"))
        thread = threading.Thread(target=leave, daemon=True)
        thread.start()
        try:
            assert left.wait(20), "the reader was not cancelled"
        finally:
            transaction.rollback()
            thread.join(20)
