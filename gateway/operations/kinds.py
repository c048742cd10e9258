"""The kinds of long work that upper packages register, each with the function that does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.operations.run import Run


@dataclass(frozen=True, slots=True)
class Body:
    """A kind of operation: its code, its name for people, and the function that does the work."""

    kind: str
    title: str
    function: Callable[[Run], None]


BODIES: dict[str, Body] = {}


def operation(kind: str, title: str) -> Callable[[Callable[[Run], None]], Callable[[Run], None]]:
    """Registers the body of a kind of operation. Kinds are part of the contract and never change."""

    def register(function: Callable[[Run], None]) -> Callable[[Run], None]:
        if kind in BODIES:
            raise ValueError(f"operation {kind} is registered twice")
        BODIES[kind] = Body(kind, title, function)
        return function

    return register
