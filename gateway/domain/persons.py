"""Identity of insured persons: check digits of ЕНП and СНИЛС, the key under which names are compared, age.

ЕНП: 16 digits, the last is Luhn mod 10 over the first 15; digits 1-2 are the region, 3-10 the coded birth date,
11-15 a serial number. A date part that disagrees with the birth date is no error: birth dates are corrected after issue.
СНИЛС: 9 digits and a control number; numbers up to 001-001-998 were issued without control and are not checked.
"""

from __future__ import annotations

import unicodedata
from datetime import date

_ENP_FORMAT, _ENP_CHECK = "person.enp-format", "person.enp-check"
_SNILS_FORMAT, _SNILS_CHECK = "person.snils-format", "person.snils-check"
_UNCHECKED_SNILS = "001001998"


def _luhn_of_four(group: int) -> int:
    a, b, c, d = (int(digit) for digit in f"{group:04d}")
    return sum(divmod(2 * a, 10)) + b + sum(divmod(2 * c, 10)) + d


def _snils_of_three(group: int, weight: int) -> int:
    a, b, c = (int(digit) for digit in f"{group:03d}")
    return a * weight + b * (weight - 1) + c * (weight - 2)


# Groups of digits are looked up whole: bulk loads check millions of numbers, and a miss means a character is no digit.
_LUHN = {f"{group:04d}": _luhn_of_four(group) for group in range(10_000)}
_SNILS_9, _SNILS_6, _SNILS_3 = (
    {f"{group:03d}": _snils_of_three(group, weight) for group in range(1000)} for weight in (9, 6, 3)
)
_CONTROL = {f"{number:02d}": number for number in range(100)}


def enp_error(enp: str) -> str | None:
    """``person.enp-format`` unless 16 ASCII digits, ``person.enp-check`` if the check digit is wrong, else None."""
    if len(enp) != 16:
        return _ENP_FORMAT
    try:
        total = _LUHN[enp[:4]] + _LUHN[enp[4:8]] + _LUHN[enp[8:12]] + _LUHN[enp[12:]]
    except KeyError:
        return _ENP_FORMAT
    return _ENP_CHECK if total % 10 else None


def snils_digits(text: str) -> str:
    """СНИЛС without hyphens and blanks (``112-233-445 95`` → ``11223344595``); not checked."""
    return text.replace("-", "").replace(" ", "").replace("\u00a0", "")


def snils_error(snils: str) -> str | None:
    """``person.snils-format`` unless 11 digits (hyphens and blanks are ignored), ``person.snils-check`` if wrong, else None.

    The number of nine zeros, a common stand-in for "no СНИЛС", is refused as ``person.snils-check``.
    """
    digits = snils if len(snils) == 11 else snils_digits(snils)
    if len(digits) != 11:
        return _SNILS_FORMAT
    try:
        total = _SNILS_9[digits[:3]] + _SNILS_6[digits[3:6]] + _SNILS_3[digits[6:9]]
        control = _CONTROL[digits[9:]]
    except KeyError:
        return _SNILS_FORMAT
    if digits[:9] <= _UNCHECKED_SNILS:
        return _SNILS_CHECK if total == 0 else None
    return None if total % 101 % 100 == control else _SNILS_CHECK


def make_enp(region: int, birth_date: date, sex: int, serial: int) -> str:
    """An ЕНП of the published structure for invented persons: ``region`` 0..99, ``sex`` 1 or 2, ``serial`` 0..99999.

    The date part is month, year backwards and day, every digit taken from 9; the month is raised by 20 for birth years
    up to 1950 and by 40 for 1951-2000, the day by 50 for men.
    """
    era = 20 if birth_date.year <= 1950 else 40 if birth_date.year <= 2000 else 0
    plain = f"{birth_date.month + era:02d}" + f"{birth_date.year:04d}"[::-1]
    plain += f"{birth_date.day + (50 if sex == 1 else 0):02d}"
    body = f"{region:02d}{99_999_999 - int(plain):08d}{serial:05d}"
    if len(body) != 15 or not body.isdecimal():
        raise ValueError("region or serial out of range")
    total = _LUHN[body[:4]] + _LUHN[body[4:8]] + _LUHN[body[8:12]] + _LUHN[body[12:] + "0"]
    return body + str(-total % 10)


def enp_sex(enp: str) -> int:
    """The sex that an ЕНП of the published structure carries: 1 male, 2 female."""
    return 1 if 99 - int(enp[8:10]) > 50 else 2


def make_snils(number: int) -> str:
    """The 11 digits of the СНИЛС with this number, 1..999999999."""
    digits = f"{number:09d}"
    if len(digits) != 9 or number < 1:
        raise ValueError("number out of range")
    total = _SNILS_9[digits[:3]] + _SNILS_6[digits[3:6]] + _SNILS_3[digits[6:]]
    return f"{digits}{total % 101 % 100:02d}"


def name_key(last: str, first: str, middle: str | None = None) -> str:
    """The full name as it is compared and sorted: upper case, ё as е, single blanks, composed letters."""
    key = f"{last} {first} {middle or ''}".upper()
    if not key.isascii():
        key = unicodedata.normalize("NFC", key).replace("Ё", "Е")
    return " ".join(key.split())


def age_on(birth_date: date, day: date) -> int:
    """Full years on a day; who was born on 29 February grows older on 1 March of common years."""
    return day.year - birth_date.year - ((day.month, day.day) < (birth_date.month, birth_date.day))
