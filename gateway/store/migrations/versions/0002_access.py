"""Clients, secrets, limits, answers kept for resends, audit."""

from __future__ import annotations

from gateway.store.migrations.sql import run

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run(__file__)
