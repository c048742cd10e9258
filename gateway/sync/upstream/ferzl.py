"""The client of ФЕРЗЛ (РС ЕРЗЛ): persons, searches, changes of a period, the monthly extract of attachments.

SOAP 1.1, document/literal; the caller is known by the HTTP header X-Auth-Token. zeep makes the messages from the re-typed
contracts; answers are read by `answers`, because a tolerant zeep drops what stands behind an unknown field.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import zeep
from lxml import etree

from gateway.domain.insurance import Insured
from gateway.errors import GatewayError
from gateway.formats.xml_content import split
from gateway.sync.upstream import answers, contracts, mtom
from gateway.sync.upstream.answers import Changes, Found, unusable
from gateway.sync.upstream.wire import Raw, Wire

_ACTION = "http://ffoms.ru/services/tfoms/"
_SMALL = 16 * 1024 * 1024
_PIECE = 64 * 1024
_PER_PAGE = 100
_XOP = "{http://www.w3.org/2004/08/xop/include}Include"
_SHOW = ["Person", "OmsPolicy", "Attach"]
_POLICY = "П"
"""Kind of policy under which a search by ЕНП is sent (F008)."""

_NO_DAY_SINCE = (24,)
"""From this version on the extract of attachments is asked for without a day: it is that of the current month."""

NOBODY = frozenset({"409.00.1"})
"""Business errors by which the register says that it knows no such person."""

Sink = Callable[[bytes], object]


class Ferzl:
    """One per process. ``people`` and ``bulk`` are the two services; ``okato`` is the region, 5 digits; ``nobody`` are the
    codes of business errors that mean an unknown person, every other one is a refusal."""

    def __init__(self, people: Wire, bulk: Wire, *, version: str, okato: str, nobody: Collection[str] = NOBODY) -> None:
        self._wires = {contracts.PERSON_INFO: people, contracts.ASYNC_OPERATIONS: bulk}
        self._version = version
        self._okato = okato
        self._nobody = nobody

    @cached_property
    def _services(self) -> dict[str, zeep.Client]:
        settings = zeep.Settings(forbid_dtd=True, forbid_external=True, forbid_entities=True)
        return {
            name: zeep.Client(io.BytesIO(contracts.document(name, self._version)), settings=settings)  # type: ignore[no-untyped-call]
            for name in self._wires
        }

    def person(self, enp: str, day: date) -> Insured | None:
        """The facts of a person by ЕНП as of ``day``; None where the register does not know the ЕНП."""
        return self._person({"pcy": {"pcyType": _POLICY, "enp": enp}}, day, enp=enp)

    def person_by_oip(self, oip: str, day: date, birth_date: date | None = None) -> Insured | None:
        """The facts of a person by the register's own number; ``birth_date`` is what a search said of it."""
        return self._person({"oip": oip}, day, oip=oip, birth_date=birth_date)

    def person_by_snils(self, snils: str, birth_date: date, day: date) -> Insured | None:
        """The facts of a person by СНИЛС (11 digits) and birth date, which only funds and organisations may use."""
        return self._person({"snilsDr": {"snils": snils, "birthDay": birth_date}}, day, birth_date=birth_date)

    def _person(self, search: dict[str, Any], day: date, **named: Any) -> Insured | None:
        params = {"personSearchInfo": search, "show": _SHOW, "dt": day}
        answer = self._message(contracts.PERSON_INFO, "getPersonData", personDataSearchParams=params)
        if answers.nobody(answer, self._nobody):
            return None
        return answers.person(answers.accepted(answer), **named)

    def dead(self, since: date, until: date) -> Iterator[answers.Short]:
        """People of the region whose death fell into the days from ``since`` to ``until``."""
        return self._pages({"terrOkato": self._okato, "deathDateFrom": since, "deathDateTo": until})

    def named(
        self, last_name: str, first_name: str, middle_name: str | None, birth_date: date
    ) -> Iterator[answers.Short]:
        """People by name, former names too, and birth date."""
        fio = {"surname": last_name, "firstName": first_name, "oldsfp": 1}
        if middle_name:
            fio["patronymic"] = middle_name
        days = {"birthDayFrom": birth_date, "birthDayTo": birth_date}
        for found in self._pages({"terrOkato": self._okato, "fio": fio, **days}):
            if found.birth_date != birth_date:
                raise unusable("ответ не об этом лице")
            yield found

    def _pages(self, criteria: dict[str, Any]) -> Iterator[answers.Short]:
        number = 1
        while True:
            page = self._page(criteria, number)
            yield from page.persons
            if page.page != number:
                raise unusable("страница не та, что запрошена")
            if number * page.per_page >= page.total:
                return
            number += 1

    def _page(self, criteria: dict[str, Any], number: int) -> Found:
        wanted = {"pagination": {"pageNumber": number, "itemPerPage": _PER_PAGE}, **criteria}
        answer = self._ask(contracts.PERSON_INFO, "findPersonsByPersCriteria", persCriteria=wanted)
        return answers.found(answer)

    def successor(self, oip: str) -> str | None:
        """The number that a merged person went on as; None if it was not merged."""
        answer = self._ask(contracts.PERSON_INFO, "getMergeAncessorOip", personSearchInfo={"oip": oip})
        return answers.successor(answer)

    def start_changes(self, since: date, until: date) -> str:
        """Asks for the changes of insurance from ``since`` to ``until``; returns the token to poll with."""
        answer = self._ask(
            contracts.ASYNC_OPERATIONS, "getInsuranceStatusChangesStart", safe=False, dtFrom=since, dtTo=until, terr=self._okato
        )  # fmt: skip
        return answers.token(answer)

    def changes(self, token: str) -> Changes | None:
        """The changes, or None while the service works on them."""
        answer = self._ask(contracts.ASYNC_OPERATIONS, "getInsuranceStatusChangesPoll", opToken=token, most=1 << 28)
        return answers.changes(answer) if answers.progress(answer, token).done else None

    def start_attachments(self, day: date) -> str:
        """Asks for the extract of attachments as of ``day``, the first of a month; returns the token.

        Newer versions take no day; an extract of another month is refused where its lines are read.
        """
        criteria = [{"fieldNameAttached": "smo_okato", "logicOperation": "0", "value": self._okato}]
        given = {} if _numbers(self._version) >= _NO_DAY_SINCE else {"dt": day}
        answer = self._ask(contracts.ASYNC_OPERATIONS, "getViewDataAttachStart", safe=False, **given, criteria=criteria)
        return answers.token(answer)

    def attachments(self, token: str, path: Path) -> bool:
        """Writes the ZIP of the extract to ``path``; False while the service works on it."""
        with path.open("wb") as out:
            answer = self._ask(
                contracts.ASYNC_OPERATIONS, "getViewDataAttachPoll", opToken=token, most=1 << 32, sink=out.write
            )
            if not answers.progress(answer, token).done:
                return False
            if not out.tell():
                raise unusable("готовый ответ без содержимого")
            return True

    def _ask(self, service: str, operation: str, **values: Any) -> etree._Element:
        """The same without business errors."""
        return answers.accepted(self._message(service, operation, **values))

    def _message(
        self,
        service: str,
        operation: str,
        *,
        safe: bool = True,
        most: int = _SMALL,
        sink: Sink | None = None,
        **values: Any,
    ) -> etree._Element:
        """Calls an operation; its answer, which may carry business errors."""
        client = self._services[service]
        asked = str(uuid4())
        message = client.create_message(client.service, operation, externalRequestId=asked, **values)  # type: ignore[no-untyped-call]
        envelope = etree.tostring(message, xml_declaration=True, encoding="UTF-8")
        with self._wires[service].call(_ACTION + operation, envelope, safe=safe, most_bytes=most) as raw:
            answer = answers.message(_envelope(raw, sink), f"{operation}Response", asked)
            raw.as_stated()
            return answer


def _numbers(version: str) -> tuple[int, ...]:
    """A version as numbers, for comparing; that of 2023 has none."""
    return tuple(int(part) for part in version.split(".") if part)


def _envelope(raw: Raw, sink: Sink | None) -> etree._Element:
    """The tree of the answer; the text of ``content`` goes to the sink, from wherever it stands."""
    into = sink or _nowhere
    if not raw.kind.get_content_type().startswith("multipart/"):
        return _parsed(raw.body, into)
    root_part, others = mtom.parts(raw.body, raw.kind)
    raw.body.seek(root_part.start)
    root = _parsed(io.BytesIO(raw.body.read(min(root_part.end - root_part.start, _SMALL))), into)
    includes = list(root.iter(_XOP))
    parents = [one.getparent() for one in includes]
    if len(includes) > 1 or any(one is None or etree.QName(one).localname != "content" for one in parents):
        raise unusable("вложение не на своём месте")
    for include in includes:
        part = mtom.included(others, include.get("href") or "")
        raw.body.seek(part.start)
        _copy(raw.body, part.end - part.start, into)
    return root


def _parsed(body: IO[bytes], sink: Sink) -> etree._Element:
    try:
        return split(body, "content", sink)
    except GatewayError:
        raise unusable("XML нарушен") from None


def _copy(source: IO[bytes], length: int, sink: Sink) -> None:
    while length > 0:
        piece = source.read(min(length, _PIECE))
        if not piece:
            raise unusable("вложение оборвано")
        sink(piece)
        length -= len(piece)


def _nowhere(_: bytes) -> None:
    raise unusable("содержимое там, где его не ждали")
