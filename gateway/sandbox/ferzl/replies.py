"""What the stand-in says: the messages of ФЕРЗЛ of 2023, in any version of the namespaces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from xml.sax.saxutils import escape

from sqlalchemy import RowMapping


def element(name: str, value: Any, prefix: str = "t") -> str:
    """One element, nothing for an absent value."""
    return "" if value is None else f"<{prefix}:{name}>{escape(str(value))}</{prefix}:{name}>"


def envelope(name: str, schema: str, version: str, request_id: str, body: str) -> str:
    """A whole answer; ``version`` is that of the request's namespace with its slash, or empty."""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Header/><soapenv:Body>'
        f'<t:{name} xmlns:t="http://ffoms.ru/types/{version}{schema}" xmlns:c="http://ffoms.ru/types/{version}commonTypes">'
        f"{element('externalRequestId', request_id, 'c')}{body}</t:{name}></soapenv:Body></soapenv:Envelope>"
    )


def error(code: str, message: str, tag: str | None = None) -> str:
    inside = element("code", code, "c") + element("message", message, "c") + element("tag", tag, "c")
    return f"<c:errors><c:errorItem>{inside}</c:errorItem></c:errors>"


def fault(text: str) -> str:
    return (
        '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body><soapenv:Fault>'
        f"<faultcode>soapenv:Client</faultcode><faultstring>{escape(text)}</faultstring></soapenv:Fault></soapenv:Body></soapenv:Envelope>"
    )


def person(row: RowMapping, policies: Iterable[RowMapping], attachments: Iterable[RowMapping], newer: bool) -> str:
    """`pd`; with ``newer`` an unknown field stands before the needed ones, as later versions have them."""
    unknown = "<c:futureField>1</c:futureField>" if newer else ""
    data = "".join(
        (
            element("surname", row["last_name"]), element("patronymic", row["middle_name"]),
            element("firstName", row["first_name"]), element("birthDay", row["birth_date"]), element("gender", row["sex"]),
            unknown, element("deathDate", row["death_date"]),
            element("whenMerged", f"{row['merged_at']}T00:00:00" if row["merged_at"] else None),
            element("dateEdit", f"{row['edited_on']}T08:00:00"), element("status", "Действующий"),
        )
    )  # fmt: skip
    return (
        f"<t:pd>{element('oip', row['oip'])}<t:person><t:personItems>{data}</t:personItems></t:person>"
        f"<t:policy>{''.join(_policy(one, unknown) for one in policies)}</t:policy>"
        f"<t:attach>{''.join(_attachment(one, unknown) for one in attachments)}</t:attach></t:pd>"
    )


def _policy(row: RowMapping, unknown: str) -> str:
    fields = (
        element("enp", row["enp"], "c"), element("pcyDateB", row["since"], "c"), element("pcyDateE", row["until"], "c"),
        element("pcyType", "Ц", "c"), unknown, element("pcyStatus", row["status"], "c"), element("okato", row["okato"], "c"),
        element("dsource", "1000000000017", "c"), element("dsourceType", "СМО", "c"), element("insurfName", "СМО", "c"),
        element("insurfOgrn", "1000000000017", "c"), element("insurfCode", row["insurer"], "c"),
    )  # fmt: skip
    return f"<t:policyItems>{''.join(fields)}</t:policyItems>"


def _attachment(row: RowMapping, unknown: str) -> str:
    fields = (
        element("areaType", row["area"], "c"), element("attachMethod", "2", "c"), unknown,
        element("dateAttachB", row["since"], "c"), element("dateAttachE", row["until"], "c"),
        element("moCode", row["organisation"], "c"), element("dsource", "40000", "c"),
        element("dsourceType", "ТФОМС", "c"), element("moOkato", "40000", "c"), element("attachStatus", row["status"], "c"),
    )  # fmt: skip
    return f"<t:attachItems>{''.join(fields)}</t:attachItems>"


def found(rows: Sequence[RowMapping], total: int, page: int, per_page: int) -> str:
    """A page of a search; nobody is count 0 without an item, as the real service says it."""
    items = "".join(
        "<t:personDataShortItem>"
        + element("fio", " ".join(filter(None, (row["last_name"], row["first_name"], row["middle_name"]))))
        + element("enp", row["enp"]) + element("birthDay", row["birth_date"]) + element("gender", row["sex"])
        + element("oip", row["oip"]) + "</t:personDataShortItem>"
        for row in rows
    )  # fmt: skip
    numbers = element("pageNumber", page, "c") + element("itemPerPage", per_page, "c") + element("count", total, "c")
    return f"<t:persons>{items}<t:pagination>{numbers}</t:pagination></t:persons>"
