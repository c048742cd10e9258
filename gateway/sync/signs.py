"""What is looked at for alerts: something that is wrong, or well."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sign:
    """``key`` names the trouble for good, ``detail`` what it was about this time (a step, a period); ``text`` is Russian,
    for the operator. ``passed``: it is over already, and worth telling if nobody did."""

    key: str
    detail: str
    text: str
    bad: bool
    passed: bool = False
