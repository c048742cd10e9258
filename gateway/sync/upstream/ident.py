"""The identification service of ЕИС ОМС of St Petersburg (doIdentification) as a second source of persons.

SOAP 1.1, document/literal wrapped, children unqualified; login and password stand in the body. Its codes of insurers and
organisations are of its own dictionaries and are not taken over; the sex is that of the ЕНП.
"""

from __future__ import annotations

import io
from datetime import date
from functools import cached_property
from importlib.resources import files
from typing import Any
from uuid import uuid4

import zeep
from lxml import etree

from gateway.domain.persons import enp_error, enp_sex, name_key
from gateway.errors import GatewayError
from gateway.formats.xml_content import split
from gateway.people.names import tidy
from gateway.people.sources import Facts, Wanted
from gateway.sync.upstream.answers import unusable
from gateway.sync.upstream.wire import Wire

_NAMESPACE = "http://identification.ws.eis.spb.ru/"
_SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
_MOST = 1024 * 1024


class Ident:
    """One per process."""

    def __init__(self, wire: Wire, *, login: str, password: str) -> None:
        self._wire = wire
        self._login = login
        self._password = password

    @cached_property
    def _client(self) -> zeep.Client:
        contract = (files("gateway.sync.upstream.contracts") / "Ident.wsdl").read_bytes()
        settings = zeep.Settings(forbid_dtd=True, forbid_external=True, forbid_entities=True)
        return zeep.Client(io.BytesIO(contract), settings=settings)  # type: ignore[no-untyped-call]

    def person(self, wanted: Wanted, day: date) -> Facts | None:
        """The one person who is meant, as of ``day``; None where the service knows nobody, or several.

        Raises ``upstream.down``, ``upstream.fault``, ``upstream.unusable``.
        """
        case = str(uuid4())
        who = {
            "idCase": case, "dateBegin": day.isoformat(), "dateEnd": day.isoformat(), "surname": wanted.last_name,
            "name": wanted.first_name, "secondName": wanted.middle_name, "birthday": wanted.birth_date, "polisN": wanted.enp,
        }  # fmt: skip
        message = self._client.create_message(  # type: ignore[no-untyped-call]
            self._client.service, "doIdentification", self._login, self._password,
            {name: value for name, value in who.items() if value is not None},
        )  # fmt: skip
        envelope = etree.tostring(message, xml_declaration=True, encoding="UTF-8")
        with self._wire.call("", envelope, safe=True, most_bytes=_MOST) as raw:
            try:
                root = split(raw.body, "", _no_content)
            except GatewayError:
                raise unusable("XML нарушен") from None
            answer = _answer(root)
            raw.as_stated()
        return _found(answer, case, wanted)


def _answer(root: etree._Element) -> etree._Element:
    """The message of the body. Raises ``upstream.fault``, ``upstream.unusable``."""
    answer = root.find(f"{{{_SOAP}}}Body/*")
    if answer is None or root.tag != f"{{{_SOAP}}}Envelope":
        raise unusable("это не конверт SOAP 1.1")
    if answer.tag == f"{{{_SOAP}}}Fault":
        raise GatewayError("upstream.fault")
    return answer


def _found(answer: etree._Element, case: str, wanted: Wanted) -> Facts | None:
    found = answer.findall("return")
    if answer.tag != f"{{{_NAMESPACE}}}doIdentificationResponse" or len(found) != 1:
        raise unusable("сообщение не того вида")
    values: dict[str, str] = {}
    for element in found[0]:
        if element.tag in values:
            raise unusable("поле повторяется")
        values[str(element.tag)] = (element.text or "").strip()
    if values.get("idCase") not in (None, case):
        raise unusable("ответ на другой вопрос")
    number = values.get("numTest", "")
    if not number.isascii() or not number.isdigit():
        raise unusable("numTest")
    return _facts(values, wanted) if int(number) > 0 else None


def _facts(values: dict[str, str], wanted: Wanted) -> Facts | None:
    """The person, if the answer names one by ЕНП; another ЕНП or birth date than was asked for is nobody's fact.

    An insurer of the service's own dictionary proves that the person is insured in its region; nothing else does.
    """
    enp = values.get("polisN", "")
    if enp_error(enp):
        return None
    try:
        birth = date.fromisoformat(values.get("birthday", "")[:10]).isoformat()
    except ValueError:
        raise unusable("birthday") from None
    last, first = tidy(values.get("surname", "")), tidy(values.get("name", ""))
    middle = tidy(values.get("secondName", "")) or None
    if not last or not first:
        raise unusable("surname")
    if (wanted.enp and enp != wanted.enp) or (wanted.birth_date and birth != wanted.birth_date):
        raise unusable("ответ не об этом лице")
    return {
        "enp": enp, "last_name": last, "first_name": first, "middle_name": middle, "name_key": name_key(last, first, middle),
        "birth_date": birth, "sex": enp_sex(enp), "insured_in_region": bool(values.get("idSmo")),
    }  # fmt: skip


def _no_content(_: bytes) -> Any:
    raise unusable("содержимое там, где его не ждали")
