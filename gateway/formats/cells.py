"""Cells of CSV files that people open in a table program."""

from __future__ import annotations

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def exact(value: object) -> str:
    """A number or code of our own, written ``="…"`` so that it is shown as it is; nothing for None."""
    return "" if value is None else f'="{value}"'


def harmless(value: object) -> str:
    """A value of a stranger's, which no table program takes for a formula; nothing for None."""
    shown = "" if value is None else str(value)
    return f"'{shown}" if shown.startswith(_FORMULA) else shown
