"""Registers of accounts of order ФОМС 79 (ZL_LIST), as far as dispensary observation and its indicators need them.

A packet is a ZIP of a medical file and its personal file, named as ZGLV/FILENAME. Files H (treatment), C (suspected or
proven cancer), T (высокотехнологичная помощь) and D? (диспансеризация and осмотры) of the versions 3.1 and later are one
tree: ZGLV, SCHET, then a ZAP for each case. Unknown elements are passed over, so that newer versions do no harm; what is
read of an element must be right. Dates are ``ГГГГ-ММ-ДД``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from lxml import etree

from gateway.domain import diagnoses
from gateway.errors import GatewayError
from gateway.formats import archive
from gateway.formats.listing import Problem
from gateway.formats.xml import Stream, StreamLimits

ROOT = "ZL_LIST"
DISPENSARY = "1.3"
"""P_CEL of a visit of dispensary observation, V025."""

NO_POLICY = "0"
"""NOVOR of a patient who has a policy of his own."""

_LIMITS = StreamLimits(record_bytes=8 * 1024 * 1024, elements=100_000)
_NAME = re.compile(r"([CHT]|D[A-Z])([MST])([0-9]{2,6})([MST])([0-9]{2,6})_([0-9]{2})(0[1-9]|1[0-2])([0-9]{1,8})", re.I)
_DISPENSARY_SERVICE = re.compile(r"[BВ]04\.")
_SINGLE_POLICY = "3"
_TEXT_CHARS = 100
_CODES = {"DN": ("1", "2", "4", "6"), "PR_D_N": ("1", "2", "3"), "PR_DS2_N": ("1", "2", "3")}


@dataclass(frozen=True, slots=True)
class Name:
    """A name of a packet without its extension: ``HM400001T40_2610001``. ``kind`` is H, C, T or D with its letter,
    ``sender`` and ``receiver`` a letter (M clinic, S insurer, T fund) with a code."""

    text: str
    kind: str
    sender: str
    receiver: str
    year: int
    month: int

    @property
    def clinic(self) -> str | None:
        """The code of the sender where a clinic sends."""
        return self.sender[1:] if self.sender[0] == "M" else None

    @property
    def personal(self) -> tuple[str, ...]:
        """Names that the personal file may have: regions build them in different ways."""
        rest = self.text[len(self.kind) :]
        if self.kind == "H":
            return (f"L{rest}",)
        return (f"L{self.text}", f"L{self.text[1:]}", f"L{rest}")


def name_of(file: str) -> Name | None:
    """The parts of a name of a packet, with or without ``.zip`` or ``.xml``; None for any other name."""
    stem = re.sub(r"\.(zip|xml)\Z", "", file, flags=re.I)
    found = _NAME.fullmatch(stem)
    if found is None:
        return None
    kind, sender, of, receiver, to, year, month, _ = found.groups()
    return Name(stem.upper(), kind.upper(), sender.upper() + of, receiver.upper() + to, 2000 + int(year), int(month))


@dataclass(frozen=True, slots=True)
class Account:
    """The header of a medical file: ZGLV and SCHET. ``code`` is unique per organisation and year; ``first`` is that of the
    account that this one corrects (SCHET/REF), as (code, year)."""

    name: str
    version: str
    cases: int
    organisation: str
    year: int
    month: int
    code: str
    number: str
    dated: date
    first: tuple[str, int] | None


@dataclass(frozen=True, slots=True)
class Claim:
    """A mark: where it stood (DN, PR_D_N, PR_DS2_N), its code, the diagnosis it speaks of."""

    carrier: str
    code: int
    diagnosis: str


@dataclass(frozen=True, slots=True)
class Service:
    """A service that was rendered: its code by the nomenclature (VID_VME, V001) or else the territory's own, whether it is
    a visit of dispensary observation (B04), the diagnosis, the day it was finished."""

    code: str
    dispensary: bool
    diagnosis: str | None
    day: date


@dataclass(frozen=True, slots=True)
class Episode:
    """A part of a case (SL). ``treated`` says that an oncology treatment is named in it (ONK_USL other than diagnostics)."""

    id: str
    ends: date
    purpose: str | None
    diagnosis: str | None
    claims: tuple[Claim, ...]
    services: tuple[Service, ...]
    treated: bool


@dataclass(slots=True)
class Case:
    """A finished case (Z_SL) with its patient. ``problems`` are wrong elements: such a case is not to be used. ``marked``
    says that it speaks of dispensary observation, rightly or not; ``declined`` that the person declined (P_OTK), ``refused``
    that the payer has refused the whole case (OPLATA 2)."""

    number: int
    record: str = ""
    id: str = ""
    first_id: str | None = None
    corrected: bool = False
    patient: str = ""
    enp: str | None = None
    newborn: bool = False
    organisation: str = ""
    declined: bool = False
    refused: bool = False
    episodes: tuple[Episode, ...] = ()
    marked: bool = False
    problems: list[Problem] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Patient:
    """A line of the personal file. Names and birth date are absent where they are not reliable enough to find a person."""

    id: str
    last_name: str | None
    first_name: str | None
    middle_name: str | None
    birth_date: date | None


class Packet:
    """An opened packet; both files are read from their beginning at each call.

    Raises ``mark.name``, ``file.archive``, ``file.format``, ``file.structure``.
    """

    def __init__(self, path: Path, name: str, *, archive_bytes: int, folder: Path) -> None:
        found = name_of(name)
        if found is None:
            raise GatewayError("mark.name")
        self.name = found
        if not archive.is_archive(path):
            raise GatewayError("file.format", what="нужен архив ZIP с медицинским и персональным файлами")
        self._medical, self._personal = self._pair(archive.unpacked_pair(path, folder, archive_bytes=archive_bytes))
        with self._medical.open("rb") as source:
            self.account = _account(_heads(Stream(source, (ROOT,), _LIMITS).records()))
        if self.account.name.upper() != found.text:
            raise _broken("ZGLV/FILENAME не равно имени файла")
        if (self.account.year, self.account.month) != (found.year, found.month):
            raise _broken("период счёта не равен периоду имени файла")

    @property
    def files(self) -> tuple[Path, Path]:
        """The medical and the personal file as they were unpacked."""
        return self._medical, self._personal

    def _pair(self, files: list[tuple[Path, str]]) -> tuple[Path, Path]:
        stems = {re.sub(r"\.xml\Z", "", inner, flags=re.I).upper(): path for path, inner in files}
        medical = stems.pop(self.name.text, None)
        if medical is None:
            raise GatewayError("file.archive", what=f"нет медицинского файла {self.name.text}.XML")
        ((personal, path),) = stems.items()
        if personal not in self.name.personal:
            raise GatewayError("file.archive", what="имя персонального файла не соответствует имени медицинского")
        return medical, path

    def patients(self) -> Iterator[Patient]:
        """Lines of the personal file. Raises ``file.structure``, perhaps only after the last one."""
        with self._personal.open("rb") as source:
            records = Stream(source, ("PERS_LIST",), _LIMITS).records()
            head = next(records, None)
            if head is None or head.tag != "ZGLV" or (_text(head, "FILENAME1") or "").upper() != self.name.text:
                raise _broken("FILENAME1 персонального файла не равно имени медицинского")
            for element in records:
                if element.tag != "PERS":
                    raise _broken(f"в персональном файле стоит не PERS, а {str(element.tag)[:_TEXT_CHARS]}")
                yield _patient(element)

    def cases(self) -> Iterator[Case]:
        """Cases in order, also wrong ones. Raises ``file.structure`` for another tree or number of cases than declared,
        perhaps only after the last one: nothing is to take effect before all were read."""
        with self._medical.open("rb") as source:
            records = Stream(source, (ROOT,), _LIMITS).records()
            _heads(records)
            number = 0
            for element in records:
                if element.tag != "ZAP":
                    raise _broken(f"после случая {number} стоит не ZAP")
                number += 1
                yield _case(number, element)
        if number != self.account.cases:
            raise _broken("число случаев не равно ZGLV/SD_Z")


def _heads(records: Iterator[etree._Element]) -> tuple[dict[str, str], dict[str, str]]:
    """ZGLV and SCHET, which stand first, as texts by tag; a group within gives its children as ``REF/FIRST_CODE``."""
    found = []
    for tag in ("ZGLV", "SCHET"):
        element = next(records, None)
        if element is None or element.tag != tag:
            raise _broken(f"нет {tag} в начале файла")
        found.append(_texts(element))
    return found[0], found[1]


def _texts(element: etree._Element) -> dict[str, str]:
    texts: dict[str, str] = {}
    for child in element:
        tag = str(child.tag)
        texts[tag] = (child.text or "").strip()
        for one in child:
            texts[f"{tag}/{one.tag!s}"] = (one.text or "").strip()
    return texts


def _account(heads: tuple[dict[str, str], dict[str, str]]) -> Account:
    head, account = heads

    def wanted(texts: dict[str, str], tag: str) -> str:
        if not texts.get(tag):
            raise _broken(f"нет {tag}")
        return texts[tag][:_TEXT_CHARS]

    def number(texts: dict[str, str], tag: str, most: int) -> int:
        text = wanted(texts, tag)
        if not (text.isascii() and text.isdigit()) or int(text) > most:
            raise _broken(f"{tag} — не число или вне пределов")
        return int(text)

    dated = _day(wanted(account, "DSCHET"))
    if dated is None:
        raise _broken("DSCHET — не дата")
    first = None
    if account.get("REF/FIRST_CODE"):
        first = account["REF/FIRST_CODE"][:_TEXT_CHARS], number(account, "REF/FIRST_YEAR", 2999)
    return Account(
        name=wanted(head, "FILENAME"),
        version=wanted(head, "VERSION"),
        cases=number(head, "SD_Z", 999_999_999),
        organisation=wanted(account, "CODE_MO"),
        year=number(account, "YEAR", 2999),
        month=number(account, "MONTH", 12),
        code=wanted(account, "CODE"),
        number=wanted(account, "NSCHET"),
        dated=dated,
        first=first,
    )


def _patient(element: etree._Element) -> Patient:
    doubts = {(one.text or "").strip() for one in element.findall("DOST")}
    named = not doubts & {"2", "3"}
    born = None if doubts & {"4", "5", "6"} else _day(_text(element, "DR"))
    return Patient(
        id=_text(element, "ID_PAC") or "",
        last_name=_text(element, "FAM") if named else None,
        first_name=_text(element, "IM") if named else None,
        middle_name=_text(element, "OT"),
        birth_date=born,
    )


def _case(number: int, element: etree._Element) -> Case:
    case = Case(number, record=_text(element, "N_ZAP") or "")
    read = _Reader(case)
    patients, cases = element.findall("PACIENT"), element.findall("Z_SL")
    if len(patients) != 1 or len(cases) != 1:
        case.problems.append(Problem("field.count", "PACIENT" if len(patients) != 1 else "Z_SL"))
        case.marked = True
        return case
    (patient,), (whole,) = patients, cases
    case.corrected = read.one_of(element, "PR_NOV", ("0", "1")) == "1"
    case.patient = read.wanted(patient, "ID_PAC")
    case.newborn = (_text(patient, "NOVOR") or NO_POLICY) != NO_POLICY
    single = _text(patient, "VPOLIS") == _SINGLE_POLICY
    case.enp = _text(patient, "ENP") or (_text(patient, "NPOLIS") if single else None)
    case.id = read.wanted(whole, "IDCASE")
    case.first_id = _text(whole, "FIRST_IDCASE")
    case.organisation = read.wanted(whole, "LPU")
    case.declined = _text(whole, "P_OTK") == "1"
    case.refused = _text(whole, "OPLATA") == "2"
    case.episodes = tuple(read.episode(one) for one in whole.findall("SL"))
    if not case.episodes:
        case.problems.append(Problem("field.missing", "SL"))
    return case


class _Reader:
    """Reads elements of a case and notes what is wrong with them."""

    def __init__(self, case: Case) -> None:
        self._case = case

    def wrong(self, code: str, tag: str) -> None:
        self._case.problems.append(Problem(code, tag))

    def wanted(self, element: etree._Element, tag: str) -> str:
        text = _text(element, tag)
        if not text:
            self.wrong("field.missing", tag)
        elif len(text) > _TEXT_CHARS:
            self.wrong("field.length", tag)
        return (text or "")[:_TEXT_CHARS]

    def one_of(self, element: etree._Element, tag: str, values: tuple[str, ...]) -> str:
        text = self.wanted(element, tag)
        if text and text not in values:
            self.wrong("field.format", tag)
        return text

    def day(self, element: etree._Element, tag: str) -> date:
        found = _day(text := self.wanted(element, tag))
        if found is None and text:
            self.wrong("field.format", tag)
        return found or date.min

    def diagnosis(self, element: etree._Element, tag: str) -> str | None:
        """A code of МКБ-10 in its normal form; one that has not its form is kept as a problem of the case."""
        text = _text(element, tag)
        if not text:
            return None
        try:
            return diagnoses.parse(text)
        except GatewayError as refusal:
            self.wrong(refusal.code, tag)
            return None

    def episode(self, element: etree._Element) -> Episode:
        diagnosis = self.diagnosis(element, "DS1")
        purpose = _text(element, "P_CEL")
        return Episode(
            id=self.wanted(element, "SL_ID"),
            ends=self.day(element, "DATE_2"),
            purpose=purpose,
            diagnosis=diagnosis,
            claims=tuple(self._claims(element, diagnosis, purpose)),
            services=tuple(self._service(one) for one in element.findall("USL") if (_text(one, "P_OTK") or "0") == "0"),
            treated=any(
                (_text(one, "USL_TIP") or _DIAGNOSTICS) != _DIAGNOSTICS for one in element.findall("ONK_SL/ONK_USL")
            ),
        )

    def _claims(self, element: etree._Element, diagnosis: str | None, purpose: str | None) -> Iterator[Claim]:
        """Marks of an episode. DN counts with the purpose of dispensary observation alone."""
        if purpose == DISPENSARY:
            self._case.marked = True
            if not _text(element, "DN"):
                self.wrong("field.missing", "DN")
            yield from self._claim(element, "DN", "DN", diagnosis, "DS1")
        yield from self._claim(element, "PR_D_N", "PR_D_N", diagnosis, "DS1")
        for other in element.findall("DS2_N"):
            tag = "PR_D" if other.find("PR_DS2_N") is None else "PR_DS2_N"
            yield from self._claim(other, tag, "PR_DS2_N", self.diagnosis(other, "DS2"), "DS2")

    def _claim(
        self, element: etree._Element, tag: str, carrier: str, diagnosis: str | None, named: str
    ) -> Iterator[Claim]:
        code = _text(element, tag)
        if not code:
            return
        self._case.marked = True
        if code not in _CODES[carrier]:
            self.wrong("mark.code", tag)
        elif diagnosis is None:
            if not any(one.field == named for one in self._case.problems):
                self.wrong("field.missing", named)
        else:
            yield Claim(carrier, int(code), diagnosis)

    def _service(self, element: etree._Element) -> Service:
        """A service; its diagnosis is not demanded, nor must it have the form of one."""
        try:
            diagnosis = diagnoses.parse(_text(element, "DS") or "")
        except GatewayError:
            diagnosis = None
        code = self.wanted(element, "CODE_USL")
        nomenclature = _text(element, "VID_VME")
        dispensary = any(_DISPENSARY_SERVICE.match(one) for one in (code, nomenclature or ""))
        return Service(nomenclature or code, dispensary, diagnosis, self.day(element, "DATE_OUT"))


_DIAGNOSTICS = "6"
"""USL_TIP of N013: 1 surgery, 2 drugs, 3 radiation, 4 both, 5 other treatment, 6 diagnostics."""


def _text(element: etree._Element, tag: str) -> str | None:
    """The stripped text of the first child with the tag; None where there is none."""
    text = element.findtext(tag)
    return (text.strip() or None) if text else None


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text and len(text) == 10 else None
    except ValueError:
        return None


def _broken(what: str) -> GatewayError:
    return GatewayError("file.structure", what=what)
