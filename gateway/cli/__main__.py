"""`python -m gateway.cli`, as child processes start it."""

from __future__ import annotations

from gateway.cli import main

main()
