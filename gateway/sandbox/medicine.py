"""Invented insurers, medical organisations and their doctors, and which diagnoses whom they lead."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from importlib.resources import as_file, files
from pathlib import Path
from random import Random

from gateway.domain.persons import make_snils
from gateway.people.doctors import Doctor
from gateway.people.insurers import Insurer
from gateway.people.organisations import Organisation
from gateway.sandbox.names import FIRST, LAST, MIDDLE

_ICD10 = files("gateway.sandbox") / "data" / "icd10_demo.csv"

_SINCE = date(2010, 1, 1)
_INSURERS = ("Северная", "Приморская", "Столичная", "Заречная", "Надежда", "Заботливая")
_KINDS = ("Городская поликлиника", "Городская больница", "Районная больница", "Врачебная амбулатория")
_DOCTORS_FIRST = 100_000_000

THERAPIST, FAMILY, CARDIOLOGIST, ONCOLOGIST, SPECIALIST, ASSISTANT = "1", "2", "3", "4", "5", "6"
_POLYCLINIC = (
    *((THERAPIST, "76"),) * 5, (FAMILY, "39"), (FAMILY, "39"), (CARDIOLOGIST, "25"), (SPECIALIST, "92"),
    (SPECIALIST, "55"), (SPECIALIST, "8"), (ASSISTANT, "206"), (SPECIALIST, "35"), (ONCOLOGIST, "41"),
)  # fmt: skip
_DISPENSARY = ((ONCOLOGIST, "41"),) * 12

_WEIGHTS = {"I": 10, "E": 6, "C": 2, "D": 1, "J": 4, "K": 3, "N": 2, "R": 2, "Z": 2}
_WOMEN = ("C50", "C53", "D06", "D24", "N60", "N84", "N87")
_MEN = ("C61",)
_LEADS = {
    "I": (THERAPIST, FAMILY, CARDIOLOGIST), "E": (THERAPIST, FAMILY, SPECIALIST), "C": (ONCOLOGIST,),
    "Z": (CARDIOLOGIST, THERAPIST),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A code that the region's people may have: how often, and whose it is (sex 1 or 2, None for both)."""

    code: str
    weight: int
    sex: int | None

    @property
    def leads(self) -> tuple[str, ...]:
        """Types of doctors that may lead it."""
        return _LEADS.get(self.code[0], (THERAPIST, FAMILY, SPECIALIST))


def insurers() -> list[Insurer]:
    return [Insurer(f"400{n:02d}", f"СМО «{name}» (вымышленная)", _SINCE) for n, name in enumerate(_INSURERS, 1)]


def organisations(count: int) -> list[Organisation]:
    """Polyclinics and, one in twenty, oncology dispensaries without people of their own."""
    dispensaries = max(1, count // 20)
    return [
        Organisation(f"{400_000 + n}", f"{_KINDS[n % len(_KINDS)]} № {n} (вымышленная)", True, _SINCE)
        if n <= count - dispensaries
        else Organisation(f"{400_000 + n}", f"Онкологический диспансер № {n} (вымышленный)", False, _SINCE)
        for n in range(1, count + 1)
    ]


def doctors(seed: int, directory: list[Organisation]) -> dict[str, list[Doctor]]:
    """Doctors of every organisation, one of them retired."""
    random = Random(f"doctors {seed}")  # noqa: S311
    number = _DOCTORS_FIRST + seed % 1000 * 10_000
    made: dict[str, list[Doctor]] = {}
    for organisation in directory:
        team = made[organisation.code] = []
        for doctor_type, specialty in _POLYCLINIC if organisation.primary_care else _DISPENSARY:
            number += 1
            team.append(_doctor(random, number, doctor_type, specialty, None))
        number += 1
        team.append(_doctor(random, number, team[0].doctor_type, team[0].specialty, date(2020, 12, 31)))
    return made


def _doctor(random: Random, number: int, doctor_type: str | None, specialty: str | None, until: date | None) -> Doctor:
    sex = random.choice((1, 2, 2))
    return Doctor(
        make_snils(number),
        random.choice(LAST[sex]),
        random.choice(FIRST[sex]),
        random.choice(MIDDLE[sex]),
        doctor_type,
        specialty,
        _SINCE,
        until,
    )


@contextmanager
def icd10() -> Iterator[Path]:
    """The file of the invented region's МКБ-10, to be loaded as a dictionary."""
    with as_file(_ICD10) as path:
        yield path


def diagnoses() -> list[Diagnosis]:
    """The terminal codes of the invented region's МКБ-10."""
    lines = list(csv.DictReader(_ICD10.read_text(encoding="utf-8").splitlines(), delimiter=";"))
    parents = {line["parent"] for line in lines}
    return [
        Diagnosis(code, _WEIGHTS.get(code[0], 1), _sex(code))
        for code in (line["code"] for line in lines)
        if code not in parents
    ]


def _sex(code: str) -> int | None:
    return 2 if code.startswith(_WOMEN) else 1 if code.startswith(_MEN) else None
