"""No room for files where the database keeps them: exports and uploads fail with their reason, and do well afterwards."""

from __future__ import annotations

import random
from datetime import date
from pathlib import Path

import pytest

from gateway.errors import GatewayError
from gateway.operations import files
from gateway.operations.model import Owner
from gateway.settings import Settings
from gateway.store import failures
from gateway.store.engine import Store
from tests.lists import uploads
from tests.lists.region import CLINIC, Region, region
from tests.lists.test_exporting import begin, fill, made_by, perform
from tests.operations.test_files_disk import Disk, disk, full  # noqa: F401

pytestmark = pytest.mark.trial


def stuff(store: Store) -> None:
    """Files until there is no room for a page more."""
    refusal: GatewayError | None = None
    for number in range(10_000):
        try:
            with store.begin() as connection:
                content = random.Random(number).randbytes(200_000 if number < 20 else 1500)
                files.put(connection, Settings(), owner=Owner("400002"), client_id=1, name="a", content=content)
        except Exception as error:
            refusal = failures.named(error)
            if number > 20:
                break
    assert refusal is not None and refusal.code == "server.disk-full"


@pytest.fixture
def place(full: tuple[Store, Disk], tmp_path: Path) -> Region:  # noqa: F811
    return region(full[0], date(2026, 11, 18), data_dir=str(tmp_path))


def test_an_upload(place: Region, full: tuple[Store, Disk]) -> None:  # noqa: F811
    rows = [{"enp": place.person(), "diagnosis": "I10"} for _ in range(300)]
    file_id = uploads.put(place, uploads.table(*rows))
    stuff(place.store)
    found = perform(place, uploads.request(place, file_id))
    assert (found.state, found.code) == ("FAILED", "server.disk-full")
    assert uploads.entries(place) == [] and made_by(place.store, found.operation_id) == []
    full[1].grow()
    found = perform(place, uploads.request(place, file_id))
    assert (found.state, len(uploads.entries(place))) == ("DONE", len(rows))


def test_an_export(place: Region, full: tuple[Store, Disk]) -> None:  # noqa: F811
    fill(place, 120)
    stuff(place.store)
    found = perform(place, begin(place, records_per_file=20))
    assert (found.state, found.code) == ("FAILED", "server.disk-full")
    left = made_by(place.store, found.operation_id)
    full[1].grow()
    again = perform(place, begin(place, records_per_file=20))
    made = made_by(place.store, again.operation_id)
    assert (again.state, len(made)) == ("DONE", 6)
    assert all(content.count(b"<entries>") == 20 for _, content in made)
    assert [content.count(b"<entries>") for _, content in left] == [20] * len(left)
    assert CLINIC in made[0][0].name
