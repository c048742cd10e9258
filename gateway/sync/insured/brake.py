"""The brake: a plan that takes too much waits for a person to look at it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Connection

from gateway.settings import Settings
from gateway.sync.insured import queries


def holds(connection: Connection, settings: Settings, run: UUID) -> list[dict[str, Any]]:
    """Why the plan must wait; empty if it need not.

    A list would lose both more than ``brake_share`` percent and more than ``brake_count`` entries; the extract shrank, see
    `shrunk`; more than ``brake_unusable`` percent of the answers about people cannot be used, and more than
    ``brake_count``.
    """
    found = [
        {"why": "LIST", **row}
        for row in queries.over_brake(connection, run, settings.brake_share, settings.brake_count)
    ]
    found += shrunk(connection, settings, run)
    _, total, unusable = queries.asked(connection, run)
    if unusable > settings.brake_count and unusable * 100 > total * settings.brake_unusable:
        found.append({"why": "UNUSABLE", "unusable": unusable, "asked": total})
    return found


def shrunk(connection: Connection, settings: Settings, run: UUID) -> list[dict[str, Any]]:
    """Why the extract must wait; empty if it need not.

    It is more than ``brake_shrink`` percent smaller than the one applied last, or the part of one clinic in it more than
    ``brake_share`` percent and ``brake_count`` lines.
    """
    found: list[dict[str, Any]] = []
    lines, former = queries.get(connection, run)["counts"].get("extract", 0), queries.former_extract(connection, run)
    if lines * 100 < former * (100 - settings.brake_shrink):
        found.append({"why": "EXTRACT", "lines": lines, "former": former})
    clinics = queries.shrunk_clinics(connection, run, settings.brake_share, settings.brake_count)
    return found + [{"why": "CLINIC", **row} for row in clinics]


def words(one: Mapping[str, Any]) -> str:
    """A cause as an operator reads it."""
    match one["why"]:
        case "LIST":
            return f"Тормоз: список {one['organisation']} потерял бы {one['changes']} из {one['entries']} записей"
        case "EXTRACT":
            return f"Тормоз: в выписке прикреплений {one['lines']} строк, прежде было {one['former']}"
        case "CLINIC":
            return f"Тормоз: у {one['organisation']} в выписке прикреплений {one['lines']} строк, прежде было {one['former']}"
        case _:
            return f"Тормоз: нельзя использовать {one['unusable']} ответов из {one['asked']}"


def counts(connection: Connection, run: UUID) -> dict[str, int]:
    """Of the plan: entries by ``ACTION/CAUSE``, people asked about, answers that cannot be used."""
    _, total, unusable = queries.asked(connection, run)
    found = {f"{row['action']}/{row['cause']}": row["entries"] for row in queries.plan_counts(connection, run)}
    return {**found, "asked": total, "unusable": unusable}


def lines(connection: Connection, run: UUID) -> list[tuple[str, str, int, int]]:
    """The same as action, cause, entries and people."""
    return [
        (row["action"], row["cause"], row["entries"], row["persons"]) for row in queries.plan_counts(connection, run)
    ]
