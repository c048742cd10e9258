"""The command line: thin commands, each calls the function of one feature. Long ones show progress and take Ctrl-C."""

from __future__ import annotations

from gateway.cli import care, clients, contract, dictionaries, jobs, journal, months, processes
from gateway.cli.root import main

__all__ = ["care", "clients", "contract", "dictionaries", "jobs", "journal", "main", "months", "processes"]
