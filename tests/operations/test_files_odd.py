"""Files at their edges: odd resends, and work that does not grow with the number of files."""

from __future__ import annotations

import hashlib
from uuid import UUID

import pytest
from sqlalchemy import Connection, text

from gateway.errors import GatewayError
from gateway.operations import files
from gateway.settings import Settings
from gateway.store.engine import Store
from tests.operations.test_files import CLINIC, PLAIN, part

MANY = 20_000


def test_last_part_again_with_another_sum_is_refused(store: Store) -> None:
    content = b"list"
    file_id = part(store, None, 0, content, last=True, sha256=hashlib.sha256(content).hexdigest())
    assert part(store, file_id, 0, content, last=True, sha256=hashlib.sha256(content).hexdigest()) == file_id
    with pytest.raises(GatewayError) as refusal:
        part(store, file_id, 0, content, last=True, sha256=hashlib.sha256(b"other").hexdigest())
    assert refusal.value.code == "file.complete"


def _many(store: Store, owner: Store) -> None:
    with store.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO operation (id, kind, organisation, login, trace)"
                " VALUES ('00000000-0000-0000-0000-000000000001', 'TEST', '400001', 'mis', 'abc')"
            )
        )
        connection.execute(
            text(
                "INSERT INTO file (id, name, kind, organisation, client_id, operation_id, mailbox, size, sha256,"
                " ready_at, expires_at, confirmed_days, noted_at)"
                " SELECT gen_random_uuid(), n || '.xml', 'EXPORT', '400001', 1, '00000000-0000-0000-0000-000000000001',"
                " true, 0, '', now(), now() + interval '1 day', 1, now() FROM generate_series(1, :many) n"
            ),
            {"many": MANY},
        )
    with owner.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("ANALYZE file"))


def _looked_at(connection: Connection) -> int:
    """Rows of `file` that the transaction has read so far."""
    found: int = connection.execute(
        text("SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'file'")
    ).scalar_one()
    return found


@pytest.mark.parametrize("mailbox", [True, False])
@pytest.mark.parametrize("name", ["list.xml", "7.xml.sig"])
def test_a_file_appears_without_a_look_at_all_others(store: Store, owner: Store, mailbox: bool, name: str) -> None:
    _many(store, owner)
    operation_id = UUID(int=1)
    with store.begin() as connection:
        with files.Writer(
            connection, Settings(), name=name, kind="EXPORT", owner=CLINIC, operation_id=operation_id, mailbox=mailbox,
            client_id=1,
        ) as out:  # fmt: skip
            out.write(b"list")
        assert _looked_at(connection) < 1000
    with store.begin() as connection:
        files.put(connection, PLAIN, owner=CLINIC, client_id=1, name=name, content=b"list")
        assert _looked_at(connection) < 1000
