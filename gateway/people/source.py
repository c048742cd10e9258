"""Where else persons may be asked for: what an upstream register of insured people has to offer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gateway.people.persons import Criteria, FoundPerson


class PersonSource(Protocol):
    """A register outside (ФЕРЗЛ). People and lists only see this; the layer above hands over who speaks to it."""

    def find(self, criteria: Criteria, limit: int) -> Sequence[FoundPerson]:
        """Persons the register knows by these criteria, `source` FERZL, `observed` empty.

        Raises ``server.busy`` when the register does not answer in time.
        """
        ...
