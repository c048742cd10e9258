"""What a name may consist of, for doctors that clinics send and persons that the fund's extract brings."""

from __future__ import annotations

import re

_NAME = re.compile(r"[A-Za-zА-Яа-яЁё](?:[A-Za-zА-Яа-яЁё .'’-]{0,98}[A-Za-zА-Яа-яЁё.])?")


def name_error(name: str) -> str | None:
    """``person.name`` unless the name is 1..100 letters, blanks, hyphens, apostrophes and dots, beginning with a letter."""
    return None if _NAME.fullmatch(name) else "person.name"


def tidy(name: str) -> str:
    """The name without blanks around it and with single blanks inside, as it is stored."""
    return " ".join(name.split())
