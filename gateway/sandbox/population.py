"""Invented insured people with valid ЕНП and СНИЛС: the same for the same seed, region and day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

from gateway.domain.persons import make_enp, make_snils, name_key
from gateway.sandbox.names import FIRST, LAST, MIDDLE

_AGES = [(band, 5) for band in range(0, 95, 5)]
_WEIGHTS = (50, 62, 60, 54, 50, 58, 76, 84, 78, 72, 66, 62, 70, 66, 48, 30, 24, 16, 8)
"""People of every five years of age from 0, of a city like many."""

_DEAD = 0.015
_ELSEWHERE = 0.01
_UNATTACHED = 0.01
_NO_SNILS = 0.04
_NO_MIDDLE_NAME = 0.02
_SNILS_STEP, _SNILS_RANGE, _SNILS_FIRST = 104_729, 700_000_000, 200_000_000


@dataclass(frozen=True, slots=True)
class Invented:
    """A person as it will stand in the table; days as dates."""

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


class Population:
    """Makes people one after another; numbers never repeat."""

    def __init__(self, seed: int, region: int, insurers: Sequence[str], today: date) -> None:
        self._random = Random(f"people {seed}")
        self._region, self._insurers, self._today = region, list(insurers), today
        self._serials: Counter[tuple[date, int]] = Counter()
        self._last_id = 0
        self._keys = {name: name_key(name, "") for names in (LAST, FIRST, MIDDLE) for part in names.values() for name in part}

    def person(self, organisation: str) -> Invented:
        """The next person, as a rule attached to the organisation."""
        random, keys = self._random, self._keys
        chance = random.random
        self._last_id = id = self._last_id + 1
        sex = 1 if chance() < 0.46 else 2
        birth = self._birth_date()
        serial = self._serials[birth, sex]
        self._serials[birth, sex] = serial + 1
        last, first, middle = _one(LAST[sex], chance()), _one(FIRST[sex], chance()), _one(MIDDLE[sex], chance())
        key = f"{keys[last]} {keys[first]}"
        if chance() < _NO_MIDDLE_NAME:
            middle = None
        else:
            key = f"{key} {keys[middle]}"
        attached = chance() >= _UNATTACHED
        return Invented(
            id,
            make_enp(self._region, birth, sex, serial),
            None if chance() < _NO_SNILS else make_snils(_SNILS_FIRST + id * _SNILS_STEP % _SNILS_RANGE),
            last,
            first,
            middle,
            key,
            birth,
            sex,
            self._death_date(birth) if chance() < _DEAD else None,
            _one(self._insurers, chance()),
            chance() >= _ELSEWHERE,
            organisation if attached else None,
            self._attached_since(birth) if attached else None,
        )

    def _birth_date(self) -> date:
        start, years = self._random.choices(_AGES, _WEIGHTS)[0]
        return self._today - timedelta(days=int((start + self._random.random() * years) * 365.25))

    def _death_date(self, birth: date) -> date:
        """Within the last two years and not before the birth."""
        lived = (self._today - birth).days
        return self._today - timedelta(days=int(self._random.random() * min(730, lived)))

    def _attached_since(self, birth: date) -> date:
        lived = (self._today - birth).days
        return self._today - timedelta(days=int(self._random.random() * min(5000, lived)))


def _one(items: Sequence[str], chance: float) -> str:
    return items[int(chance * len(items))]
