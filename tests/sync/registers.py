"""Registers of accounts for tests: packets of invented cases that follow the schemas of order 79."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any
from xml.sax.saxutils import escape

CLINIC = "400001"
DAY = date(2026, 10, 20)


@dataclass(frozen=True)
class Who:
    """A patient: with a single policy by default; ``policy`` 1 or 2 leaves names and birth date alone."""

    enp: str = ""
    last: str = "Иванов"
    first: str = "Пётр"
    middle: str = "Ильич"
    birth: date = date(1960, 5, 17)
    policy: int = 3
    newborn: str = "0"
    doubts: tuple[int, ...] = ()


@dataclass(frozen=True)
class Bill:
    """A case of one episode. ``mark`` is DN, or PR_D_N in a D? file; ``others`` are (DS2, PR_DS2_N) of D? files."""

    who: Who
    diagnosis: str | None = "I10"
    mark: int | None = 1
    day: date = DAY
    purpose: str | None = "1.3"
    id: str = "1"
    others: tuple[tuple[str, int], ...] = ()
    corrected: bool = False
    first_id: str | None = None
    clinic: str = CLINIC
    services: tuple[tuple[str, str], ...] = (("A01.01", "I10"),)
    treatment: int | None = None
    payment: int | None = None
    tag: str = "PR_DS2_N"


@dataclass
class Register:
    """A packet: H by default."""

    bills: Sequence[Bill]
    kind: str = "H"
    year: int = 2026
    month: int = 10
    number: int = 1
    account: str = "1"
    clinic: str = CLINIC
    first: tuple[str, int, int] | None = None
    declared: int | None = None
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.kind}M{self.clinic}T40_{self.year % 100:02d}{self.month:02d}{self.number:03d}"

    @property
    def personal(self) -> str:
        return f"L{self.name}" if self.kind in ("C", "T") else f"L{self.name[1:]}"

    def medical_xml(self) -> bytes:
        last = date(self.year, self.month, 28)
        reference = ""
        if self.first:
            code, year, month = self.first
            reference = _tag("REF", FIRST_CODE=code, FIRST_YEAR=year, FIRST_MONTH=month)
        disp = "<DISP>ДВ4</DISP>" if self.kind[0] == "D" else ""
        declared = len(self.bills) if self.declared is None else self.declared
        head = _tag("ZGLV", VERSION="3.1", DATA=last, FILENAME=self.name, SD_Z=declared)
        account = "<SCHET>" + _fields(
            CODE=self.account, CODE_MO=self.clinic, YEAR=self.year, MONTH=self.month, NSCHET="С-1", DSCHET=last,
            SUMMAV="0.00",
        ) + reference + disp + "</SCHET>"  # fmt: skip
        records = "".join(self._record(number, bill) for number, bill in enumerate(self.bills, 1))
        return _document(f"<ZL_LIST>{head}{account}{records}</ZL_LIST>")

    def personal_xml(self) -> bytes:
        last = date(self.year, self.month, 28)
        head = _tag("ZGLV", VERSION="3.2", DATA=last, FILENAME=self.personal, FILENAME1=self.name)
        people = ""
        for number, bill in enumerate(self.bills, 1):
            who = bill.who
            doubts = "".join(f"<DOST>{one}</DOST>" for one in who.doubts)
            people += "<PERS>" + _fields(
                ID_PAC=f"p{number}", FAM=who.last, IM=who.first, OT=who.middle, W=1, DR=who.birth
            ) + doubts + "</PERS>"  # fmt: skip
        return _document(f"<PERS_LIST>{head}{people}</PERS_LIST>")

    def packet(self) -> bytes:
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as made:
            made.writestr(f"{self.name}.XML", self.changes.get("medical", self.medical_xml()))
            made.writestr(f"{self.personal}.XML", self.changes.get("personal", self.personal_xml()))
        return out.getvalue()

    def again(self, *bills: Bill, **values: Any) -> Register:
        return replace(self, bills=bills or self.bills, **values)

    def _record(self, number: int, bill: Bill) -> str:
        head = _fields(N_ZAP=number, PR_NOV=int(bill.corrected))
        who = bill.who
        patient = _tag(
            "PACIENT",
            ID_PAC=f"p{number}",
            VPOLIS=who.policy,
            NPOLIS=who.enp if who.policy == 3 else "123456789",
            NOVOR=who.newborn,
        )
        return f"<ZAP>{head}{patient}{self._disp(bill) if self.kind[0] == 'D' else self._case(bill)}</ZAP>"

    def _case(self, bill: Bill) -> str:
        ambulant = bill.purpose is not None
        texts = _fields(
            IDCASE=bill.id, FIRST_IDCASE=bill.first_id, USL_OK=3 if ambulant else 1, VIDPOM=13 if ambulant else 31,
            FOR_POM=3, LPU=bill.clinic, DATE_Z_1=bill.day, DATE_Z_2=bill.day, RSLT=314, ISHOD=306,
        )  # fmt: skip
        episode = _fields(
            SL_ID=f"s{bill.id}", PODR=1, PROFIL=97, DET=0, P_CEL=bill.purpose, NHISTORY="К-1", DATE_1=bill.day,
            DATE_2=bill.day, DS1=bill.diagnosis, C_ZAB=3, DS_ONK=0 if self.kind != "H" else None, DN=bill.mark,
        )  # fmt: skip
        if bill.treatment is not None:
            episode += f"<ONK_SL><DS1_T>0</DS1_T>{_tag('ONK_USL', USL_TIP=bill.treatment)}</ONK_SL>"
        episode += _fields(PRVS=76, VERS_SPEC="V021", IDDOKT="112-233-445 95", TARIF="1.00", SUM_M="1.00")
        for at, (code, diagnosis) in enumerate(bill.services, 1):
            episode += _tag(
                "USL", IDSERV=at, LPU=bill.clinic, PODR=1, PROFIL=97, DET=0, DATE_IN=bill.day, DATE_OUT=bill.day,
                DS=diagnosis, CODE_USL=code, KOL_USL="1.00", TARIF="1.00", SUMV_USL="1.00", PRVS=76,
                CODE_MD="112-233-445 95",
            )  # fmt: skip
        tail = _fields(IDSP=29, SUMV="1.00", OPLATA=bill.payment)
        return f"<Z_SL>{texts}<SL>{episode}</SL>{tail}</Z_SL>"

    def _disp(self, bill: Bill) -> str:
        texts = _fields(
            IDCASE=bill.id, FIRST_IDCASE=bill.first_id, VIDPOM=13, LPU=bill.clinic, VBR=0, DATE_Z_1=bill.day,
            DATE_Z_2=bill.day, P_OTK=0, RSLT_D=1,
        )  # fmt: skip
        episode = _fields(
            SL_ID=f"s{bill.id}", NHISTORY="К-1", DATE_1=bill.day, DATE_2=bill.day, DS1=bill.diagnosis, DS_ONK=0,
            PR_D_N=bill.mark,
        )  # fmt: skip
        for code, mark in bill.others:
            episode += f"<DS2_N><DS2>{code}</DS2><{bill.tag}>{mark}</{bill.tag}></DS2_N>"
        episode += _fields(SUM_M="1.00")
        for at, (code, _) in enumerate(bill.services, 1):
            episode += f"<USL>{_fields(IDSERV=at, LPU=bill.clinic, DATE_IN=bill.day, DATE_OUT=bill.day, P_OTK=0)}"
            episode += f"{_fields(CODE_USL=code, TARIF='1.00', SUMV_USL='1.00')}{_tag('MR_USL_N', MR_N=1)}</USL>"
        return f"<Z_SL>{texts}<SL>{episode}</SL>{_fields(IDSP=30, SUMV='1.00', OPLATA=bill.payment)}</Z_SL>"


def _document(body: str) -> bytes:
    return f'<?xml version="1.0" encoding="windows-1251"?>{body}'.encode("cp1251")


def _tag(tag: str, **texts: Any) -> str:
    return f"<{tag}>{_fields(**texts)}</{tag}>"


def _fields(**texts: Any) -> str:
    return "".join(f"<{tag}>{escape(str(text))}</{tag}>" for tag, text in texts.items() if text is not None)
