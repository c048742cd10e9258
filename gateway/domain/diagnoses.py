"""Codes of МКБ-10 and ranges of them.

A code is a Latin letter and two digits, optionally a dot and one or two digits: ``I10``, ``I20.8``, ``M00.01``. Lower
case is raised. A first letter in Cyrillic that looks like a Latin one (А В Е К М Н О Р С Т Х) is read by its shape,
since МИС with a Russian keyboard produce it; it is never read by its sound. Anything else (a comma for the dot, O for
zero, marks † and *, a bare dot) is refused.
"""

from __future__ import annotations

import re
from typing import Literal

from gateway.errors import GatewayError

_CODE = re.compile(r"[A-Z][0-9]{2}(?:\.[0-9]{1,2})?\Z")
_LOOKALIKES = str.maketrans("АВЕКМНОРСТХ", "ABEKMHOPCTX")


def parse(text: str) -> str:
    """The code in its normal form; raises ``diagnosis.format``."""
    code = text.strip().upper()
    if not code.isascii():
        code = code[:1].translate(_LOOKALIKES) + code[1:]
    if not _CODE.match(code):
        raise GatewayError("diagnosis.format")
    return code


def rubric(code: str) -> str:
    """The three-character rubric: ``I20.8`` → ``I20``."""
    return code[:3]


def within(code: str, first: str, last: str) -> bool:
    """Whether a normal code lies in the range as МКБ-10 reads ranges: the last code includes all its subdivisions.

    ``I10``-``I15`` holds I15.9, ``I20``-``I20`` holds I20.8; ``I69.0``-``I69.4`` does not hold the rubric I69 itself.
    """
    return first <= code and code[: len(last)] <= last


def key_of(code: str, observation_key: Literal["rubric", "code"]) -> str:
    """What must be unique among a person's open observations: the rubric or the full code."""
    return code[:3] if observation_key == "rubric" else code
