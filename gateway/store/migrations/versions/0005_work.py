"""Long work, files and the mailbox; lines put aside; eras of the change feed."""

from __future__ import annotations

from gateway.store.migrations.sql import run

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run(__file__)
