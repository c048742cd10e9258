"""SQL of what is deleted when its time is over."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, text

from gateway.sync.insured.queries import take_turn

# one that runs or waits for a decision keeps all it has
_OLD = """
    SELECT r.id FROM reconcile r
    WHERE r.created_at < :before AND r.state <> 'BRAKED'
      AND NOT EXISTS (SELECT 1 FROM operation o WHERE o.id = r.id AND o.state IN ('QUEUED', 'RUNNING'))"""

# the comparison that was applied last stays: the next one measures its extract against it
_OLD_FACTS = text(f"DELETE FROM reconcile_fact WHERE reconcile_id IN ({_OLD})")
_OLD_CHANGES = text(f"DELETE FROM reconcile_change WHERE reconcile_id IN ({_OLD})")
_OLD_RECONCILES = text(f"""
    DELETE FROM reconcile WHERE id IN ({_OLD})
      AND id NOT IN (SELECT id FROM reconcile WHERE state = 'APPLIED' ORDER BY applied_at DESC LIMIT 1)""")
_OLD_TOKENS = text("""
    DELETE FROM reconcile_token t WHERE NOT EXISTS (
        SELECT 1 FROM operation o WHERE o.id = t.reconcile_id AND o.state IN ('QUEUED', 'RUNNING'))""")
_EXTRACT_NEEDED = text("""
    SELECT EXISTS (SELECT 1 FROM reconcile WHERE state = 'BRAKED') OR EXISTS (
        SELECT 1 FROM operation WHERE kind IN ('RECONCILE_INSURED', 'RECONCILE_APPLY') AND state IN ('QUEUED', 'RUNNING'))
        OR NOT EXISTS (SELECT 1 FROM attachment_line)""")
_DROP_EXTRACT = text("TRUNCATE attachment_line")
_OLD_STEPS = text(
    "DELETE FROM month_step WHERE ended_at < :before AND month IN (SELECT month FROM month_run WHERE state = 'DONE')"
)
_OLD_ALERTS = text("DELETE FROM alert WHERE ended_at < :before")
_OLD_NOTES = text("DELETE FROM alert_note WHERE made_at < :before")


def forget_comparisons(connection: Connection, before: datetime) -> dict[str, int]:
    """Deletes tokens of comparisons that have ended, and comparisons that began earlier; counts by kind."""
    take_turn(connection)
    return {
        "tokens": connection.execute(_OLD_TOKENS).rowcount,
        "facts": connection.execute(_OLD_FACTS, {"before": before}).rowcount,
        "changes": connection.execute(_OLD_CHANGES, {"before": before}).rowcount,
        "comparisons": connection.execute(_OLD_RECONCILES, {"before": before}).rowcount,
    }


def drop_extract(connection: Connection) -> bool:
    """Empties the extract of attachments unless a comparison needs it."""
    take_turn(connection)
    if connection.execute(_EXTRACT_NEEDED).scalar_one():
        return False
    connection.execute(_DROP_EXTRACT)
    return True


def forget_told(connection: Connection, before: datetime) -> dict[str, int]:
    """Deletes steps of months and alerts that ended earlier; counts by kind."""
    return {
        "steps": connection.execute(_OLD_STEPS, {"before": before}).rowcount,
        "alerts": connection.execute(_OLD_ALERTS, {"before": before}).rowcount,
        "notes": connection.execute(_OLD_NOTES, {"before": before}).rowcount,
    }
