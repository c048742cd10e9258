"""Monthly truth: comparisons with the register of insured persons, marks of registers, indicators."""

from __future__ import annotations

from gateway.store.migrations.sql import run

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run(__file__)
