"""Invented insured people with valid ЕНП and СНИЛС: the same for the same seed, region and day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import count
from random import Random
from typing import NamedTuple

from gateway.domain.persons import make_enp, make_snils, name_key
from gateway.sandbox.names import FIRST, LAST, MIDDLE

_WEIGHTS = (50, 62, 60, 54, 50, 58, 76, 84, 78, 72, 66, 62, 70, 66, 48, 30, 24, 16, 8)
"""People of every five years of age from 0, of a city like many."""
_BANDS = [band * 5 for band, weight in enumerate(_WEIGHTS) for _ in range(weight)]

_MALE = 0.46
_DEAD = 0.015
_ELSEWHERE = 0.01
_UNATTACHED = 0.01
_NO_SNILS = 0.04
_NO_MIDDLE_NAME = 0.02
_DEATHS_WITHIN_DAYS = 730
_ATTACHED_WITHIN_DAYS = 5000
_SERIALS = 100_000
_SNILS_STEP, _SNILS_RANGE, _SNILS_FIRST = 104_729, 700_000_000, 200_000_000


class Invented(NamedTuple):
    """A person as it will stand in the table."""

    id: int
    enp: str
    snils: str | None
    last_name: str
    first_name: str
    middle_name: str | None
    name_key: str
    birth_date: date
    sex: int
    death_date: date | None
    insurer: str
    insured_in_region: bool
    attached_organisation: str | None
    attached_since: date | None


COLUMNS = (*Invented._fields, "policy_kind", "policy_number", "source", "as_of")


def line(person: Invented, as_of: str) -> str:
    """The person as COPY text (``DELIMITER ';', NULL ''``) in the order of `COLUMNS`."""
    id, enp, snils, last, first, middle, key, birth, sex, death, insurer, here, organisation, since = person
    return (
        f"{id};{enp};{snils or ''};{last};{first};{middle or ''};{key};{birth};{sex};{death or ''};{insurer};"
        f"{'t' if here else 'f'};{organisation or ''};{since or ''};3;{enp};LOCAL;{as_of}\n"
    )


class Population:
    """Makes people one after another; numbers never repeat, nor meet those of the other ``parts`` of the region."""

    def __init__(
        self, seed: int, region: int, insurers: Sequence[str], today: date, part: int = 0, parts: int = 1
    ) -> None:
        self._chance = Random(f"people {seed} {part}").random  # noqa: S311
        self._region, self._insurers, self._today = region, list(insurers), today
        self._serials: Counter[tuple[date, int]] = Counter()
        self._ids = count(part + 1, parts)
        self._first_serial = _SERIALS * part // parts
        names = {name for kind in (LAST, FIRST, MIDDLE) for forms in kind.values() for name in forms}
        self._keys = {name: name_key(name, "") for name in names}

    def person(self, organisation: str) -> Invented:
        """The next person, as a rule attached to the organisation."""
        chance, keys, today = self._chance, self._keys, self._today
        id = next(self._ids)
        sex = 1 if chance() < _MALE else 2
        lived = int((_BANDS[int(chance() * len(_BANDS))] + chance() * 5) * 365.25)
        birth = today - timedelta(lived)
        serial = self._serials[birth, sex]
        self._serials[birth, sex] = serial + 1
        last, first, middle = _one(LAST[sex], chance()), _one(FIRST[sex], chance()), _one(MIDDLE[sex], chance())
        no_middle = chance() < _NO_MIDDLE_NAME
        death = since = None
        if lived > 1 and chance() < _DEAD:
            death = today - timedelta(1 + int(chance() * min(_DEATHS_WITHIN_DAYS, lived - 1)))
        attached = chance() >= _UNATTACHED
        if attached:
            since = today - timedelta(int(chance() * min(_ATTACHED_WITHIN_DAYS, lived)))
        return Invented(
            id,
            make_enp(self._region, birth, sex, self._first_serial + serial),
            None if chance() < _NO_SNILS else make_snils(_SNILS_FIRST + id * _SNILS_STEP % _SNILS_RANGE),
            last,
            first,
            None if no_middle else middle,
            f"{keys[last]} {keys[first]}" if no_middle else f"{keys[last]} {keys[first]} {keys[middle]}",
            birth,
            sex,
            death,
            _one(self._insurers, chance()),
            chance() >= _ELSEWHERE,
            organisation if attached else None,
            since,
        )


def _one(items: Sequence[str], chance: float) -> str:
    return items[int(chance * len(items))]
