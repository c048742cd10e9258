"""Persons, organisations, insurers, doctors, dictionaries and the choices of the installation."""

from __future__ import annotations

from gateway.store.migrations.sql import run

revision = "0001"
down_revision = None


def upgrade() -> None:
    run(__file__)
