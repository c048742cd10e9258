"""Trial C7: values of persons and secrets that the tests send or keep, and the search for them where they must not be.

The names are invented and occur nowhere else; numbers and passwords are noted by whoever makes them. `leaks` finds a
value also in the ways a careless program would write it: escaped for JSON, in percent signs, in upper case, with Е for Ё.
"""

from __future__ import annotations

import json
import re
from urllib.parse import quote

LAST_NAME, FIRST_NAME, MIDDLE_NAME = "Ёлкозубцев", "Фырзипат", "Дундукович"
DOCTOR_LAST_NAME, DOCTOR_FIRST_NAME = "Щебетухина-Быржа", "Мармедуза"

_NAMES = (LAST_NAME, FIRST_NAME, MIDDLE_NAME, DOCTOR_LAST_NAME, DOCTOR_FIRST_NAME)
_LENGTHS = (11, 16)
_numbers: set[str] = set()
_secrets: set[str] = set()


def _plain(text: str) -> str:
    return text.casefold().replace("ё", "е")


def _written(name: str) -> set[str]:
    found = set()
    for one in (name, name.upper(), name.lower(), name.upper().replace("Ё", "Е")):
        found |= {_plain(one), json.dumps(one)[1:-1].casefold(), quote(one).casefold(), one.encode("cp1251").hex()}
        found |= {_plain(repr(one.encode())[2:-1]), one.encode().hex()}
    return found


_FORMS = tuple(set().union(*map(_written, _NAMES)))


def note_numbers(*values: str) -> None:
    """ЕНП and СНИЛС that must not be seen from now on."""
    assert all(len(value) in _LENGTHS and value.isdigit() for value in values)
    _numbers.update(values)


def note_secrets(*values: str) -> None:
    """Passwords that must not be seen from now on."""
    _secrets.update(values)


def leaks(text: str) -> list[str]:
    """What of the noted values stands in the text; empty when all is well."""
    plain = _plain(text)
    found = [form for form in _FORMS if form in plain]
    for digits in re.findall(r"\d{11,}", text):
        pieces = {digits[at : at + size] for size in _LENGTHS for at in range(len(digits) - size + 1)}
        found += pieces & _numbers
    found += re.findall(r"\d{3}-\d{3}-\d{3} \d{2}", text)
    return found + [secret for secret in _secrets if secret in text]
