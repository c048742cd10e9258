"""The command line: thin commands, each calls the function of one feature. Long ones show progress and take Ctrl-C."""

from __future__ import annotations

from gateway.cli import (
    care,
    clients,
    contract,
    dictionaries,
    files,
    indicators,
    jobs,
    journal,
    lists,
    months,
    processes,
    reconcile,
    registers,
    sandbox,
    work,
)
from gateway.cli.root import main

__all__ = [
    "care",
    "clients",
    "contract",
    "dictionaries",
    "files",
    "indicators",
    "jobs",
    "journal",
    "lists",
    "main",
    "months",
    "processes",
    "reconcile",
    "registers",
    "sandbox",
    "work",
]
