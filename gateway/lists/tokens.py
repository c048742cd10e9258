"""Tokens of the change feed: how far a client has read, in one list or in all of them.

``1.<era>.<organisation>.<seq>`` is a position in the list of one organisation, ``1.<era>.*.<text>`` positions in many:
lines ``organisation seq``, by zlib and base64url. 1 is the version of the form. Clients hand tokens back as they are.
"""

from __future__ import annotations

import base64
import binascii
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.errors import GatewayError

_FORM = re.compile(r"1\.([0-9]{1,9}-[0-9a-f]{8})\.([^.\s]{1,32})\.([0-9A-Za-z_=-]{1,16000})")
_SEQ = re.compile(r"[0-9]{1,18}")
_LINE = re.compile(r"([^.*\s]{1,32}) ([0-9]{1,18})")
_EVERY = "*"
_BYTES_MOST = 1 << 16
"""What a vector may inflate to; a region of 200 organisations takes 3 KB, and a token has no room for much more."""


@dataclass(frozen=True, slots=True)
class Token:
    """Positions by organisation; ``organisation`` None means all lists, and a list that is not named is at 0."""

    era: str
    organisation: str | None
    positions: Mapping[str, int]

    def __str__(self) -> str:
        if self.organisation is not None:
            return f"1.{self.era}.{self.organisation}.{self.positions.get(self.organisation, 0)}"
        lines = "\n".join(f"{name} {seq}" for name, seq in sorted(self.positions.items()) if seq)
        return f"1.{self.era}.*.{base64.urlsafe_b64encode(zlib.compress(lines.encode(), 9)).decode()}"

    @classmethod
    def parse(cls, text: str) -> Token:
        """Raises ``changes.token`` for what is no token."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise GatewayError("changes.token")
        era, name, rest = found.groups()
        if name == _EVERY:
            return cls(era, None, _vector(rest))
        if not _SEQ.fullmatch(rest):
            raise GatewayError("changes.token")
        return cls(era, name, {name: int(rest)})


def _vector(text: str) -> dict[str, int]:
    positions: dict[str, int] = {}
    lines = _inflated(text)
    for line in lines.split("\n") if lines else ():
        found = _LINE.fullmatch(line)
        if found is None or found[1] in positions:
            raise GatewayError("changes.token")
        positions[found[1]] = int(found[2])
    return positions


def _inflated(text: str) -> str:
    inflater = zlib.decompressobj()
    try:
        lines = inflater.decompress(base64.b64decode(text, b"-_", validate=True), _BYTES_MOST).decode()
    except (binascii.Error, zlib.error, UnicodeDecodeError):
        raise GatewayError("changes.token") from None
    if not inflater.eof or inflater.unused_data:
        raise GatewayError("changes.token")
    return lines
