"""The command line: thin commands, each calls the function of one feature. Long ones show progress and take Ctrl-C."""

from __future__ import annotations

from gateway.cli import care, clients, contract, dictionaries, files, jobs, journal, lists, months, processes, work
from gateway.cli.root import main

__all__ = [
    "care",
    "clients",
    "contract",
    "dictionaries",
    "files",
    "jobs",
    "journal",
    "lists",
    "main",
    "months",
    "processes",
    "work",
]
