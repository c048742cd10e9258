"""A copy of the database restores to the same rows, schema and rights."""

from __future__ import annotations

import stat
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from gateway.errors import GatewayError
from gateway.settings import Settings
from gateway.store import dump
from gateway.store.engine import Store
from gateway.store.place import Place
from gateway.upgrade import upgrade


def test_copy_is_restored_with_its_rights(server, owner, make_database, tmp_path: Path) -> None:
    with owner.begin() as connection:
        connection.execute(text("INSERT INTO organisation VALUES ('780001', 'МО ёлка', true, '2020-01-01', NULL)"))
    file = tmp_path / "copy.dump"
    dump.backup(owner.url, file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600

    empty = make_database()
    dump.restore(server.owner_url_of(empty), file)
    upgrade(Place(server.url(empty), server.owner_url_of(empty)), Settings())
    restored = Store(server.url(empty), size=0)
    with restored.begin() as connection:
        assert connection.execute(text("SELECT name FROM organisation")).scalar_one() == "МО ёлка"
    with restored.driver() as driver, pytest.raises(psycopg.errors.InsufficientPrivilege):
        driver.execute("DELETE FROM audit_record")


def test_database_that_is_not_empty_is_left_alone(owner, tmp_path: Path) -> None:
    with pytest.raises(GatewayError) as refusal:
        dump.restore(owner.url, tmp_path / "copy.dump")
    assert refusal.value.code == "store.not-empty"


def test_failed_copy_leaves_no_file(server, tmp_path: Path) -> None:
    with pytest.raises(GatewayError) as refusal:
        dump.backup(server.owner_url_of("no_such_database"), tmp_path / "copy.dump")
    assert refusal.value.code == "store.dump"
    assert list(tmp_path.iterdir()) == []
