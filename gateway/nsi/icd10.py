"""The official list of МКБ-10 (НСИ 1.2.643.5.1.13.13.11.1005) as items, and which codes stand in a diagnosis.

``ID;REC_CODE;MKB_CODE;MKB_NAME;ID_PARENT;ADDL_CODE;ACTUAL;DATE``, columns in any order; a line with ACTUAL = 0 is in
force until the day before DATE.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta

from gateway.nsi.catalogue import Item
from gateway.nsi.own import checked_day, checked_name, coded
from gateway.nsi.sources import Source, refusal

COLUMNS = frozenset(("id", "mkb_code", "mkb_name", "id_parent", "actual"))
_DIAGNOSIS = re.compile(r"[A-Z][0-9]{2}(?:\.[0-9]{1,2})?\Z")
_FAR_PAST = date(1900, 1, 1)  # when a code without DATE went out of use


def items(source: Source) -> Iterator[Item]:
    """The items of the official list; raises ``dictionary.file``."""
    lines = list(coded(source, "mkb_code"))
    codes = {line["id"]: line["mkb_code"] for _, line in lines}
    if len(codes) != len(lines):
        raise refusal("ID повторяется")
    seen: set[str] = set()
    for number, line in lines:
        code, parent = line["mkb_code"], line["id_parent"]
        if code in seen:
            raise refusal("код повторяется", number, code)
        seen.add(code)
        if parent and parent not in codes:
            raise refusal("нет записи с ID_PARENT", number, code)
        if line["actual"] not in ("0", "1"):
            raise refusal("ACTUAL должен быть 0 или 1", number, code)
        ended = None
        if line["actual"] == "0":
            day = checked_day(line.get("date", ""), number, code)
            ended = (day or _FAR_PAST) - timedelta(days=1)
        attributes = {"kind": _kind(code)}
        if line.get("addl_code"):
            attributes["additional"] = line["addl_code"]
        name = checked_name(line["mkb_name"], number, code)
        yield Item(code, name, codes.get(parent), attributes, None, ended)


def _kind(code: str) -> str:
    if "-" in code:
        return "block"
    if not _DIAGNOSIS.match(code):
        return "chapter"
    return "subrubric" if "." in code else "rubric"


def with_terminals(items: tuple[Item, ...]) -> tuple[Item, ...]:
    """Marks the codes that have no subdivision in force: those stand in a diagnosis."""
    divided: set[str] = set()
    for item in items:
        if item.valid_to is None and _DIAGNOSIS.match(item.code) and "." in item.code:
            divided.update((item.code[:3], *(item.code[:end] for end in range(5, len(item.code)))))
    return tuple(
        replace(item, attributes={**item.attributes, "terminal": True})
        if _DIAGNOSIS.match(item.code) and item.code not in divided
        else item
        for item in items
    )
