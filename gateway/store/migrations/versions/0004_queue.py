"""The tables and functions of procrastinate 3.10."""

from __future__ import annotations

from gateway.store.migrations.sql import run

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run(__file__)
