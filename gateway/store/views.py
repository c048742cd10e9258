"""Named views: what one feature may know of another without importing it."""

from __future__ import annotations

from sqlalchemy import Connection, text

VIEWS: dict[str, str] = {
    # who is under observation, for people (what the caller's organisation observes) and for loading
    "observed_entry": """
        SELECT id AS entry_id, person_id, organisation, diagnosis, diagnosis_key
        FROM entry
        WHERE status = 'OBSERVED'
    """,
}


def create(connection: Connection) -> None:
    """Makes every view; run by the owner after the tables are in their newest shape."""
    for name, query in VIEWS.items():
        connection.execute(text(f"CREATE VIEW {name} AS {query}"))


def drop(connection: Connection) -> None:
    """Takes the views away, so that a migration may change the columns under them."""
    for name in reversed(VIEWS):
        connection.execute(text(f"DROP VIEW IF EXISTS {name}"))
