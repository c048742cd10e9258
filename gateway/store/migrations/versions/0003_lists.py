"""Entries of ДН lists, their history, closed months and snapshots; runs of the calendar."""

from __future__ import annotations

from gateway.store.migrations.sql import run

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run(__file__)
