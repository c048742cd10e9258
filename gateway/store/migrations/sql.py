"""The SQL of a step: the file of the same name beside its Python file."""

from __future__ import annotations

from pathlib import Path

from alembic import op

from gateway.store.engine import driver_of


def run(step: str) -> None:
    """Runs `<step>.sql` as one script in the transaction of the migration."""
    script = Path(step).with_suffix(".sql").read_text(encoding="utf-8")
    driver_of(op.get_bind()).execute(script.encode())
