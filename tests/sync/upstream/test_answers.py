"""What may come back and must never be read as "alive", "gone", "none" or "nobody": over HTTP, answer by answer."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from gateway.domain.insurance import Finding, verdict
from gateway.errors import GatewayError
from gateway.people.sources import Wanted
from gateway.settings import Settings
from gateway.sync.upstream import access
from gateway.sync.upstream.ident import Ident
from gateway.sync.upstream.wire import Wire
from tests.sync.upstream.spoken import (
    BIRTH,
    CLINIC,
    DEATH,
    ENP,
    NIL,
    OIP,
    OTHER_ENP,
    Always,
    Said,
    Spoken,
    client,
    error,
    item,
    pd,
    policy,
)

DAY = date(2026, 11, 1)
OTHER_ID = "00000000-0000-4000-8000-000000000009"


def finding(service: Spoken, inside: str) -> Finding:
    service.says(inside)
    person = client(service).person(ENP, DAY)
    assert person is not None
    return verdict(person, day=DAY, region="40000", known=CLINIC).finding


def refused(service: Spoken, inside: str, **values: object) -> str:
    service.says(inside, **values)
    with pytest.raises(GatewayError) as refusal:
        client(service).person(ENP, DAY)
    return refusal.value.code


def test_the_plain_ones(service: Spoken) -> None:
    assert finding(service, pd()) is Finding.SAME
    assert finding(service, pd(item(DEATH))) is Finding.DEAD
    assert finding(service, pd(item(f"<t:deathDate {NIL}/>"))) is Finding.SAME
    assert finding(service, pd(f"{item()}<t:personItems {NIL}/>")) is Finding.SAME


@pytest.mark.parametrize(
    "inside",
    [
        pd(beside=DEATH),
        pd() + DEATH,
        pd() + f"<t:extra>{DEATH}</t:extra>",
        pd(beside=f"<t:newer><t:personItems>{DEATH}</t:personItems></t:newer>"),
        pd(DEATH + item()),
        pd() + "<c:moCode>400002</c:moCode>",
        pd(f"{item()}<t:personItems {NIL}>{DEATH}</t:personItems>"),
        pd(item(DEATH.replace("deathDate", f"deathDate {NIL}", 1))),
    ],
    ids=[
        "in-pd", "beside-pd", "wrapper-beside-pd", "list-of-another-name", "in-the-list", "clinic-beside-pd", "nil-item",
        "nil-with-text",
    ],
)  # fmt: skip
def test_a_needed_field_in_another_place_is_no_life(service: Spoken, inside: str) -> None:
    assert refused(service, inside) == "upstream.unusable"


def test_items_that_disagree_about_death(service: Spoken) -> None:
    """The item in force counts only where it is the latest."""
    late, early = "2026-10-30T08:00:00", "2019-01-01T08:00:00"
    for status in ("Архивный", "Умер", "Действующий"):
        assert refused(service, pd(item(edited=early) + item(DEATH, status=status, edited=late))) == "upstream.unusable"
        assert refused(service, pd(item(edited=late) + item(DEATH, status=status, edited=late))) == "upstream.unusable"
    assert refused(service, pd(item(status="Новый", edited=late) + item(DEATH, status="Умер"))) == "upstream.unusable"
    assert finding(service, pd(item(edited=late) + item(DEATH, status="Архивный", edited=early))) is Finding.SAME
    assert finding(service, pd(item(DEATH, edited=late) + item(status="Архивный", edited=early))) is Finding.DEAD
    assert finding(service, pd(item(DEATH) + item(DEATH, status="Архивный", edited="неизвестно"))) is Finding.DEAD


def test_only_the_code_of_an_unknown_person_is_nobody(service: Spoken) -> None:
    service.says(error("409.00.1"))
    assert client(service).person(ENP, DAY) is None
    for code in ("409.77.2", "4096", "409", "409.00.11", "500", ""):
        assert refused(service, error(code)) == "upstream.refused", code
    assert refused(service, error("409.00.1") + error("500")) == "upstream.refused"
    for inside in (pd() + error("409.00.1"), f"<t:newer>{error('409.00.1')}</t:newer>"):
        assert refused(service, inside) == "upstream.unusable"
    assert refused(service, pd() + error("409.77.2")) == "upstream.refused"


def test_nobody_is_said_in_an_answer_to_the_question(service: Spoken) -> None:
    whole = (
        '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><t:{0} xmlns:t="{1}"'
        ' xmlns:c="http://ffoms.ru/types/commonTypes">' + error("409.00.1") + "</t:{0}></e:Body></e:Envelope>"
    )
    ours = "http://ffoms.ru/types/mpiPersonInfoSchema"
    for name, namespace in (("getInsuranceStatusResponse", ours), ("getPersonDataResponse", "urn:other")):
        assert refused(service, "", whole=whole.format(name, namespace).encode()) == "upstream.unusable"
    service.says(whole=whole.format("getPersonDataResponse", ours).encode())
    assert client(service).person(ENP, DAY) is None


def test_codes_of_an_unknown_person_are_a_setting(service: Spoken, store) -> None:
    service.says(error("409.77.2"))
    made = access.ferzl(replace(Settings(), ferzl_url=service.url, ferzl_nobody="409.00.1, 409.77.2"), store)
    assert made.person(ENP, DAY) is None


LISTS = "<c:processingStatus>COMPLETED</c:processingStatus>{}"


@pytest.mark.parametrize(
    "inside",
    [
        f"<t:newer><t:enpDeparted>{ENP}</t:enpDeparted></t:newer>",
        f"<t:enpDeparted><t:enp>{ENP}</t:enp></t:enpDeparted>",
        f"<t:enpArrived/><t:enpArrived><t:enpDeparted>{ENP}</t:enpDeparted></t:enpArrived>",
        f"<t:enpDeparted {NIL}>{ENP}</t:enpDeparted>",
        f"<t:newer>{error('500')}</t:newer>",
    ],
    ids=["wrapped", "elements-inside", "list-inside-another", "nil-with-text", "errors-wrapped"],
)
def test_a_hidden_list_of_changes_is_no_empty_one(service: Spoken, inside: str) -> None:
    service.says(LISTS.format(inside))
    with pytest.raises(GatewayError) as refusal:
        client(service).changes("t")
    assert refusal.value.code == "upstream.unusable"


def test_lists_of_changes(service: Spoken) -> None:
    service.says(LISTS.format(f"<t:enpArrived/><t:enpDeparted>{ENP} {OTHER_ENP}</t:enpDeparted><t:newer>1</t:newer>"))
    changes = client(service).changes("t")
    assert changes is not None
    assert (changes.arrived, changes.departed, changes.changed) == (frozenset(), {ENP, OTHER_ENP}, frozenset())


PAGE = (
    "<t:pagination><c:pageNumber>1</c:pageNumber><c:itemPerPage>100</c:itemPerPage><c:count>{}</c:count></t:pagination>"
)


def short(birth: str = "1956-10-02") -> str:
    return (
        f"<t:personDataShortItem><t:enp>{ENP}</t:enp><t:birthDay>{birth}</t:birthDay><t:oip>{OIP}</t:oip>"
        "</t:personDataShortItem>"
    )


def test_a_search(service: Spoken) -> None:
    names = ("Вымыслов", "Пётр", None, BIRTH)
    service.says(f"<t:persons>{short()}{PAGE.format(1)}</t:persons>")
    assert [one.enp for one in client(service).named(*names)] == [ENP]
    for inside in (
        f"<t:persons><t:newer>{short()}</t:newer>{PAGE.format(0)}</t:persons>",
        f"<t:persons>{PAGE.format(0)}</t:persons><t:persons2>{short()}</t:persons2>",
        f"<t:persons>{PAGE.format(1)}</t:persons>",
        f"<t:persons>{short('1957-10-02')}{PAGE.format(1)}</t:persons>",
    ):
        service.says(inside)
        with pytest.raises(GatewayError) as refusal:
            list(client(service).named(*names))
        assert refusal.value.code == "upstream.unusable"


def test_a_hidden_successor_is_not_none(service: Spoken) -> None:
    service.says()
    assert client(service).successor(OIP) is None
    merged = f"<t:mergeAncessorOip><t:whenMerged>2026-10-10</t:whenMerged><t:mergeAncessorOip>{OIP}</t:mergeAncessorOip></t:mergeAncessorOip>"
    service.says(merged)
    assert client(service).successor("100000000002") == OIP
    for inside in (f"<t:newer>{merged}</t:newer>", "<t:whenMerged>2026-10-10</t:whenMerged>", merged * 2):
        service.says(inside)
        with pytest.raises(GatewayError) as refusal:
            client(service).successor("100000000002")
        assert refusal.value.code == "upstream.unusable"


def test_an_answer_to_another_question(service: Spoken) -> None:
    assert refused(service, pd(), request_id=OTHER_ID) == "upstream.unusable"
    assert refused(service, error("409.00.1"), request_id=OTHER_ID) == "upstream.unusable"
    service.say = lambda question: Said(pd(), request_id=f" {question.value('externalRequestId')}".upper())
    assert client(service).person(ENP, DAY) is not None
    service.says(pd(), request_id="")
    assert client(service).person(ENP, DAY) is not None


def test_a_poll_of_another_operation(service: Spoken) -> None:
    service.says("<c:opToken>other</c:opToken>" + LISTS.format(""))
    with pytest.raises(GatewayError) as refusal:
        client(service).changes("t")
    assert refusal.value.code == "upstream.unusable"


MERGED = "<t:whenMerged>2026-10-10T00:00:00</t:whenMerged>"


def test_an_answer_about_somebody_else(service: Spoken) -> None:
    """By ЕНП, merged or not; by the register's number; by СНИЛС, of which the birth date is compared."""
    assert refused(service, pd(policies=policy(OTHER_ENP))) == "upstream.unusable"
    assert refused(service, pd(item(MERGED), policies=policy(OTHER_ENP))) == "upstream.unusable"
    assert finding(service, pd(item(MERGED))) is Finding.MERGED
    assert finding(service, pd(item(MERGED), policies="")) is Finding.MERGED
    service.says(pd())
    asked = client(service)
    assert asked.person_by_oip(OIP, DAY) is not None
    assert asked.person_by_oip(OIP, DAY, BIRTH) is not None
    assert asked.person_by_snils("11223344595", BIRTH, DAY) is not None
    for ask in (
        lambda: asked.person_by_oip("100000000002", DAY),
        lambda: asked.person_by_oip(OIP, DAY, date(1957, 10, 2)),
        lambda: asked.person_by_snils("11223344595", date(1957, 10, 2), DAY),
    ):
        with pytest.raises(GatewayError) as refusal:
            ask()
        assert refusal.value.code == "upstream.unusable"


@pytest.mark.parametrize(
    ("status", "code", "times"),
    [(500, "upstream.unusable", 1), (404, "upstream.unusable", 1), (302, "upstream.unusable", 1), (203, "upstream.unusable", 1),
     (401, "upstream.fault", 1), (403, "upstream.fault", 1), (503, "upstream.down", 4), (429, "upstream.down", 4)],
)  # fmt: skip
def test_an_answer_with_another_status_is_no_fact(service: Spoken, status: int, code: str, times: int) -> None:
    assert refused(service, pd(), status=status) == code
    assert len(service.asked) == times


def test_a_fault_comes_with_any_of_both(service: Spoken) -> None:
    fault = (
        b'<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><e:Fault><faultcode>e:Server</faultcode>'
        b"<faultstring>x</faultstring></e:Fault></e:Body></e:Envelope>"
    )
    for status in (200, 500):
        assert refused(service, "", status=status, whole=fault) == "upstream.fault"


# the identification service -------------------------------------------------------------------------------------------


def identified(service: Spoken, status: int = 200, insurer: str = "<idSmo>1</idSmo>") -> bool:
    """Whether the person is said to be insured in the region."""

    def say(question: object) -> Said:
        inside = (
            f"<surname>Вымыслов</surname><name>Пётр</name><birthday>1956-10-02</birthday><polisN>{ENP}</polisN>{insurer}"
            "<numTest>1</numTest>"
        )
        body = (
            '<e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/"><e:Body><i:doIdentificationResponse'
            f' xmlns:i="http://identification.ws.eis.spb.ru/"><return>{inside}</return></i:doIdentificationResponse>'
            "</e:Body></e:Envelope>"
        )
        return Said(status=status, whole=body.encode())

    service.say = say
    asked = Ident(Wire(service.url, Always(), pause=lambda _: None), login="L", password="P")
    found = asked.person(Wanted(enp=ENP), DAY)
    assert found is not None
    return bool(found["insured_in_region"])


def test_an_insurer_proves_the_region(service: Spoken) -> None:
    assert identified(service)
    assert not identified(service, insurer="")


def test_an_identification_with_another_status_is_no_fact(service: Spoken) -> None:
    for status, code in ((500, "upstream.unusable"), (404, "upstream.unusable"), (503, "upstream.down")):
        with pytest.raises(GatewayError) as refusal:
            identified(service, status)
        assert refusal.value.code == code
