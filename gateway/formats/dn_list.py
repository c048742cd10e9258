"""Lists of ГИС ОМС, DN_LIST P1.20: GST of a region and GSM of a clinic with the same records (windows-1251 or UTF-8).

Names: ``GST19_2607_1`` (code of the region, YYMM, number) and ``GSM190006_2605_1`` (code of the organisation); the
file, its ZIP and ZGLV/FILENAME bear the same one. A file is refused as a whole (``file.structure``) if its heading or
the number of its records is wrong; a record that is wrong carries `Problem` s that name its elements.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import PurePath

from lxml import etree

from gateway.errors import GatewayError
from gateway.formats.listing import ListRecord, Problem
from gateway.formats.xml import Stream, fields

ROOT = "DN_LIST"
VERSION = "P1.20"

_NAME = re.compile(r"(GST(?P<region>[0-9]{2})|GSM[0-9]{6})_[0-9]{2}(0[1-9]|1[0-2])_[0-9]{1,9}\Z")
_HEADING = ("VERSION", "FILE_TYPE", "DATA", "FILENAME", "REGION_CD", "NN_FILE", "SD_Z")

Check = Callable[[str], str | None]
"""The code of what is wrong with a text, None if nothing is."""


def day(text: str) -> date | None:
    """A date ``yyyy-MM-dd``; None for anything else."""
    if len(text) != 10 or text[4] != "-" or text[7] != "-":
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _form(pattern: str) -> Check:
    matched = re.compile(pattern + r"\Z").match
    return lambda text: None if matched(text) else "field.format"


def _most(length: int) -> Check:
    return lambda text: "field.length" if len(text) > length else None


def _day(text: str) -> str | None:
    return None if day(text) else "field.format"


_ELEMENTS: dict[str, tuple[int, bool, Check]] = {
    name: (place, needed, check)
    for place, (name, needed, check) in enumerate(
        (
            ("CODE_L", True, _most(36)),
            ("ENP", True, _form("[0-9]{16}")),
            ("CODE_PINF", True, _form("ДН")),
            ("DN_PATIENT_ID", False, _most(50)),
            ("DIAG_CODE", True, _form(r"[A-Z][0-9]{2}(?:\.[0-9]{1,2})?")),
            ("DIAG_DATE", True, _day),
            ("DATE_DN_IN", True, _day),
            ("DATE_DN_OUT", False, _day),
            ("DN_PRVS", True, _form("[0-9]{1,4}")),
            ("LAST_SL_MCOD", False, _most(6)),
            ("LAST_SL_NHISTORY", False, _most(50)),
            ("LAST_SL_DATE", False, _day),
            ("STATUS_DN_IN", True, _form("[12]")),
            ("REASON_DN_OUT", False, _most(50)),
            ("REASON_DN_IN", True, _form("10[1-7]")),
            ("MCOD", True, _form("[0-9]{6}")),
            ("MO_ASSIGN", False, _form("[01]")),
            ("DATE_CHECKING", True, _day),
        )
    )
}
"""Elements of ZAP in the order of the schema: place, whether needed, check. An optional element may be empty."""

_NEEDED = frozenset(name for name, (_, needed, _) in _ELEMENTS.items() if needed)


class DnList:
    """A file opened at its heading; ``header`` holds the elements of ZGLV. ``names`` are those that must agree with
    ZGLV/FILENAME, extensions included: of the file and of its archive."""

    def __init__(self, stream: Stream, names: tuple[str, ...]) -> None:
        self._records = stream.records()
        self.header = _heading(next(self._records, None), names)

    def records(self) -> Iterator[ListRecord]:
        """Raises ``file.structure`` for a foreign element and, after the last record, if SD_Z is not their number."""
        declared = int(self.header["SD_Z"])
        number = 0
        for record in self._records:
            if record.tag != "ZAP":
                raise _broken(f"после записи {number} стоит не ZAP")
            number += 1
            if number > declared:
                break
            yield _record(number, record)
        if number != declared:
            raise _broken("число записей ZAP не равно ZGLV/SD_Z")
        if not number:
            raise _broken("нет ни одной записи ZAP")


def _heading(record: etree._Element | None, names: tuple[str, ...]) -> dict[str, str]:
    if record is None or record.tag != "ZGLV":
        raise _broken("первым должен стоять ZGLV")
    found = fields(record)
    if tuple(name for name, _ in found) != _HEADING:
        raise _broken("состав или порядок элементов ZGLV не соответствует схеме")
    header = {name: text or "" for name, text in found}
    if header["VERSION"] != VERSION:
        raise _broken(f"ZGLV/VERSION должна быть {VERSION}")
    for name, right in (
        ("FILE_TYPE", header["FILE_TYPE"] in ("GST", "GSM")),
        ("DATA", day(header["DATA"])),
        ("FILENAME", _NAME.match(header["FILENAME"])),
        ("REGION_CD", re.match(r"[0-9]{2}\Z", header["REGION_CD"])),
        ("NN_FILE", re.match(r"[0-9]{1,9}\Z", header["NN_FILE"])),
        ("SD_Z", re.match(r"[0-9]{1,9}\Z", header["SD_Z"])),
    ):
        if not right:
            raise _broken(f"значение ZGLV/{name} не соответствует формату")
    _check_names(header, names)
    return header


def _check_names(header: dict[str, str], names: tuple[str, ...]) -> None:
    """GSM may call itself GST within: the published schema knows no other FILE_TYPE."""
    name = header["FILENAME"]
    if header["FILE_TYPE"] == "GSM" and not name.startswith("GSM"):
        raise _broken("ZGLV/FILE_TYPE не соответствует ZGLV/FILENAME")
    region = _NAME.match(name)
    if region and region["region"] not in (None, header["REGION_CD"]):
        raise _broken("ZGLV/REGION_CD не соответствует ZGLV/FILENAME")
    if any(PurePath(one).stem.upper() != name for one in names):
        raise _broken("имя файла или архива не равно ZGLV/FILENAME")


def _record(number: int, record: etree._Element) -> ListRecord:
    result = ListRecord(number)
    values: dict[str, str] = {}
    last = -1
    for name, text in fields(record):
        place, needed, check = _ELEMENTS.get(name, (-1, False, _day))
        if place <= last:
            result.problems.append(Problem("field.unknown", name))
            continue
        last = place
        if text is None:
            result.problems.append(Problem("field.format", name))
        elif text:
            if wrong := check(text):
                result.problems.append(Problem(wrong, name))
            values[name] = text
        elif needed:
            result.problems.append(Problem("field.missing", name))
            values[name] = text
    if missing := _NEEDED - values.keys():
        seen = {problem.field for problem in result.problems}
        result.problems += (Problem("field.missing", name) for name in _ELEMENTS if name in missing - seen)
    if not result.problems:
        _fill(result, values)
    return result


def _fill(result: ListRecord, values: dict[str, str]) -> None:
    result.external_id = values["CODE_L"]
    result.enp = values["ENP"]
    result.diagnosis = values["DIAG_CODE"]
    result.diagnosed_on = day(values["DIAG_DATE"])
    result.observed_since = day(values["DATE_DN_IN"])
    result.organisation = values["MCOD"]
    result.specialty = values["DN_PRVS"]
    if "DATE_DN_OUT" in values:
        result.excluded_on = day(values["DATE_DN_OUT"])
    result.exclusion_reason = values.get("REASON_DN_OUT")


def _broken(what: str) -> GatewayError:
    return GatewayError("file.structure", what=what)
