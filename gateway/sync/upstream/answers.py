"""Answers of ФЕРЗЛ: bytes become facts, or are refused. Nothing doubtful is ever read as "alive", "gone" or "none".

Elements are found by their local names, so that the version of the namespace and newer fields do no harm. A needed field
that stands twice, in another place than its own, is nil but has content, or is absent where it must be, makes the whole
answer unusable; so does an answer to another question.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone

from lxml import etree

from gateway.domain.insurance import Attachment, Insured, Policy
from gateway.errors import GatewayError

_SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
_NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
_NAMESPACE = re.compile(r"http://ffoms\.ru/types/(?:[0-9.]+/)?\w+")
_DONE, _WORKING, _FAILED = (
    ("COMPLETED", "COMPLITE", "DONE"),
    ("NEW", "PROCESS", "PROCESSING", "QUEUED"),
    ("ERROR", "FAILED"),
)

_PERSON = frozenset(
    {"surname", "firstName", "patronymic", "birthDay", "gender", "deathDate", "whenMerged", "status", "dateEdit"}
)
_POLICY = frozenset({"enp", "pcyDateB", "pcyDateE", "pcyStatus", "okato", "insurfCode"})
_ATTACH = frozenset({"areaType", "dateAttachB", "dateAttachE", "moCode", "attachStatus"})
_NOWHERE_ELSE = _ATTACH | {"deathDate", "whenMerged", "pcyStatus", "pcyDateB", "pcyDateE"}
"""Needed fields whose names no other list of a person has."""

_CHANGES = ("enpArrived", "enpDeparted", "enpChanged")
_MOSCOW = timezone(timedelta(hours=3))
"""Of moments that the register gives without a zone."""


def unusable(what: str) -> GatewayError:
    """``upstream.unusable``: the answer is thrown away and the person stays as it is."""
    return GatewayError("upstream.unusable", what=what)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A business error of the service: its code and the path of the field it names, never a value."""

    code: str
    tag: str | None = None


@dataclass(frozen=True, slots=True)
class Short:
    """A line of a search."""

    enp: str
    oip: str
    birth_date: date


@dataclass(frozen=True, slots=True)
class Found:
    """A page of a search: ``total`` is what the service says it knows altogether."""

    persons: tuple[Short, ...]
    page: int
    per_page: int
    total: int


@dataclass(frozen=True, slots=True)
class Progress:
    """An answer to a poll: still working, or done."""

    done: bool


@dataclass(frozen=True, slots=True)
class Changes:
    """ЕНП whose insurance changed in a period: ``departed`` mixes departures, deaths and suspensions."""

    arrived: frozenset[str]
    departed: frozenset[str]
    changed: frozenset[str]


def message(root: etree._Element, name: str, asked: str) -> etree._Element:
    """The one element of the body, which must be ``name`` in a namespace of ФЕРЗЛ; where it names a question, it is ``asked``.

    Business errors are left to `accepted`. Raises ``upstream.fault`` for a SOAP fault, ``upstream.unusable``.
    """
    if root.tag != f"{{{_SOAP}}}Envelope":
        raise unusable("это не конверт SOAP 1.1")
    bodies = root.findall(f"{{{_SOAP}}}Body")
    if len(bodies) != 1 or len(bodies[0]) != 1:
        raise unusable("в конверте не одно сообщение")
    answer = bodies[0][0]
    if answer.tag == f"{{{_SOAP}}}Fault":
        raise GatewayError("upstream.fault")
    if _local(answer) != name or not _NAMESPACE.fullmatch(etree.QName(answer).namespace or ""):
        raise unusable("сообщение не того вида")
    _own(answer, "externalRequestId", asked)
    _nothing_astray(answer, {"errorItem"}, _children(answer, "errors"))
    return answer


def accepted(answer: etree._Element) -> etree._Element:
    """The same message, which carries no business errors. Raises ``upstream.refused`` with their codes."""
    if found := refusals(answer):
        raise GatewayError("upstream.refused", what=", ".join(sorted({one.code for one in found})))
    return answer


def refusals(answer: etree._Element) -> tuple[Refusal, ...]:
    """Business errors of a message, if it carries any."""
    found = []
    for errors in _children(answer, "errors"):
        items = _children(errors, "errorItem")
        if not items:
            raise unusable("errors без errorItem")
        for item in items:
            code = (_text(item, "code") or "").strip()
            found.append(Refusal(re.sub(r"[^0-9A-Za-z.\-]", "", code)[:20] or "—", _text(item, "tag")))
    return tuple(found)


def nobody(answer: etree._Element, codes: Collection[str]) -> bool:
    """Whether a message says, by nothing but errors of these codes, that there is no such person.

    Raises ``upstream.unusable`` where it shows a person beside that.
    """
    found = refusals(answer)
    if not found or any(one.code not in codes for one in found):
        return False
    _nothing_astray(answer, {"pd", "oip"} | _NOWHERE_ELSE, ())
    return True


def person(
    answer: etree._Element, *, enp: str | None = None, oip: str | None = None, birth_date: date | None = None
) -> Insured:
    """The facts of getPersonData; what the question named, ЕНП, oip or birth date, must be that of the answer."""
    pd = _one(answer, "pd")
    people = _items(pd, "person", "personItems", _PERSON)
    insured = _items(pd, "policy", "policyItems", _POLICY)
    attached = _items(pd, "attach", "attachItems", _ATTACH)
    _nothing_astray(answer, _NOWHERE_ELSE, [*people, *insured, *attached])
    main = _main(people)
    found = Insured(
        oip=_needed(pd, "oip"),
        last_name=_text(main, "surname") or "",
        first_name=_text(main, "firstName") or "",
        middle_name=_text(main, "patronymic") or None,
        birth_date=_day(main, "birthDay"),
        sex=_sex(main),
        death_date=_maybe_day(main, "deathDate"),
        merged_at=_maybe_day(main, "whenMerged"),
        policies=tuple(map(_policy, insured)),
        attachments=tuple(map(_attachment, attached)),
    )
    numbers = {policy.enp for policy in found.policies}
    # a merged person may have left all its policies to its successor
    if enp is not None and enp not in numbers and (numbers or found.merged_at is None):
        raise unusable("ответ не об этом лице")
    if oip not in (None, found.oip) or birth_date not in (None, found.birth_date):
        raise unusable("ответ не об этом лице")
    return found


def _main(persons: Sequence[etree._Element]) -> etree._Element:
    """The personal data in force. Where others disagree with them about death or merging, they must be the latest."""
    if not persons:
        raise unusable("нет сведений о лице")
    if len(persons) == 1:
        return persons[0]
    valid = [item for item in persons if (_text(item, "status") or "").upper().startswith("Д")] or list(persons)
    main = max(valid, key=_edited)
    for other in persons:
        if _fate(other) != _fate(main) and (other in valid or _edited(other) >= _edited(main)):
            raise unusable("сведения о смерти или объединении противоречат друг другу")
    return main


def _fate(item: etree._Element) -> tuple[date | None, date | None]:
    return _maybe_day(item, "deathDate"), _maybe_day(item, "whenMerged")


def _edited(item: etree._Element) -> datetime:
    text = _text(item, "dateEdit")
    if text is None:
        return datetime.min.replace(tzinfo=UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise unusable("dateEdit") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=_MOSCOW)


def _policy(item: etree._Element) -> Policy:
    okato = _needed(item, "okato")
    if not re.fullmatch(r"\d{5}(\d{3}){0,2}", okato):
        raise unusable("okato")
    return Policy(
        enp=_needed(item, "enp"),
        since=_day(item, "pcyDateB"),
        until=_maybe_day(item, "pcyDateE"),
        status=_needed(item, "pcyStatus"),
        okato=okato,
        insurer=_text(item, "insurfCode"),
    )


def _attachment(item: etree._Element) -> Attachment:
    organisation = _needed(item, "moCode")
    if not re.fullmatch(r"\d{6}", organisation):
        raise unusable("moCode")
    return Attachment(
        organisation=organisation,
        area=_needed(item, "areaType"),
        since=_day(item, "dateAttachB"),
        until=_maybe_day(item, "dateAttachE"),
        status=_needed(item, "attachStatus"),
    )


def found(answer: etree._Element) -> Found:
    """A page of findPersonsByPersCriteria. Nobody found is count 0 without an item, which its own schema forbids."""
    lists = _children(answer, "persons")
    if len(lists) != 1:
        raise unusable("нет списка лиц")
    page = _one(lists[0], "pagination")
    total, number, per_page = (_number(page, name) for name in ("count", "pageNumber", "itemPerPage"))
    _nothing_astray(answer, {"personDataShortItem"}, lists)
    items = tuple(
        Short(_needed(item, "enp"), _needed(item, "oip"), _day(item, "birthDay"))
        for item in _children(lists[0], "personDataShortItem")
    )
    if per_page < 1 or number < 1:
        raise unusable("страница без размера")
    expected = max(0, min(per_page, total - (number - 1) * per_page))
    if len(items) != expected:
        raise unusable("на странице не столько лиц, сколько объявлено")
    return Found(items, number, per_page, total)


def successor(answer: etree._Element) -> str | None:
    """The oip that a merged person went on as."""
    merged = _children(answer, "mergeAncessorOip")
    _nothing_astray(answer, {"mergeAncessorOip"}, [answer, *merged])
    _nothing_astray(answer, {"whenMerged"}, merged)
    if not merged:
        return None
    if len(merged) > 1:
        raise unusable("несколько преемников")
    return _needed(merged[0], "mergeAncessorOip")


def token(answer: etree._Element) -> str:
    """The token of a started operation."""
    return _needed(answer, "opToken")


def progress(answer: etree._Element, token: str) -> Progress:
    """The state of the operation that was started with a token; raises ``upstream.refused`` when it failed there."""
    _own(answer, "opToken", token)
    status = _needed(answer, "processingStatus").strip().upper()
    if status in _FAILED:
        raise GatewayError("upstream.refused", what=status)
    if status in _DONE:
        return Progress(True)
    if status in _WORKING:
        return Progress(False)
    raise unusable("processingStatus")


def changes(answer: etree._Element) -> Changes:
    """The lists of getInsuranceStatusChanges; an absent list is empty."""
    _nothing_astray(answer, _CHANGES, [answer])

    def numbers(name: str) -> frozenset[str]:
        listed = frozenset(enp for one in _children(answer, name) for enp in (_content(one) or "").split())
        if any(not re.fullmatch(r"\d{16}", enp) for enp in listed):
            raise unusable(name)
        return listed

    arrived, departed, changed = map(numbers, _CHANGES)
    return Changes(arrived, departed, changed)


# reading --------------------------------------------------------------------------------------------------------------


def _local(element: etree._Element) -> str:
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def _children(parent: etree._Element, name: str) -> list[etree._Element]:
    return [child for child in parent if _local(child) == name]


def _one(parent: etree._Element, name: str) -> etree._Element:
    found = _children(parent, name)
    if len(found) != 1:
        raise unusable(name)
    return found[0]


def _items(pd: etree._Element, list_name: str, item_name: str, needed: frozenset[str]) -> list[etree._Element]:
    """The items of a list that are not nil; a needed field may stand in an item at most once and only at its top."""
    items = [item for one in _children(pd, list_name) for item in _children(one, item_name) if not _is_nil(item)]
    for item in items:
        names = [_local(child) for child in item]
        if any(names.count(name) > 1 for name in needed):
            raise unusable("поле повторяется")
        if any(_local(deep) in needed for child in item for deep in child.iterdescendants()):
            raise unusable("поле не на своём месте")
    return items


def _nothing_astray(answer: etree._Element, names: Collection[str], parents: Iterable[etree._Element]) -> None:
    """Elements of these names stand nowhere in a message but directly in what is read."""
    read = set(parents)
    for element in answer.iterdescendants():
        if _local(element) in names and element.getparent() not in read:
            raise unusable("поле не на своём месте")


def _own(answer: etree._Element, name: str, asked: str) -> None:
    """What an answer repeats of the question, if it does, is what was asked; capitals are no difference."""
    for one in _children(answer, name):
        if (_content(one) or asked).casefold() != asked.casefold():
            raise unusable("ответ на другой вопрос")


def _is_nil(element: etree._Element) -> bool:
    """Whether an element is said to be absent. Raises ``upstream.unusable`` if it has content all the same."""
    if element.get(_NIL, "").strip() not in ("true", "1"):
        return False
    if len(element) or (element.text or "").strip():
        raise unusable("пустой элемент с содержимым")
    return True


def _content(element: etree._Element) -> str | None:
    """The text of an element that has no elements inside; None for an empty one."""
    if _is_nil(element):
        return None
    if len(element):
        raise unusable(_local(element))
    return (element.text or "").strip() or None


def _text(parent: etree._Element, name: str) -> str | None:
    for child in _children(parent, name):
        if (text := _content(child)) is not None:
            return text
    return None


def _needed(parent: etree._Element, name: str) -> str:
    if len(_children(parent, name)) > 1:
        raise unusable(name)
    text = _text(parent, name)
    if text is None:
        raise unusable(name)
    return text


def _day_of(text: str, name: str) -> date:
    try:
        return (
            date.fromisoformat(text[:10])
            if re.fullmatch(r"\d{4}-\d\d-\d\d(Z|[+-]\d\d:\d\d)?", text)
            else datetime.fromisoformat(text).date()
        )
    except ValueError:
        raise unusable(name) from None


def _day(parent: etree._Element, name: str) -> date:
    return _day_of(_needed(parent, name), name)


def _maybe_day(parent: etree._Element, name: str) -> date | None:
    text = _text(parent, name)
    return None if text is None else _day_of(text, name)


def _number(parent: etree._Element, name: str) -> int:
    text = _needed(parent, name)
    if not text.isascii() or not text.isdigit():
        raise unusable(name)
    return int(text)


def _sex(item: etree._Element) -> int:
    text = _needed(item, "gender")
    if text not in ("1", "2"):
        raise unusable("gender")
    return int(text)
