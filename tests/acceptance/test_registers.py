"""A register of accounts by SOAP: the clinic's system puts the packet in parts, the month's work takes it, the report waits in
the clinic's mailbox, and the list, its feed and its entries say where they come from."""

from __future__ import annotations

import base64
import csv
import io
import time
from datetime import date, timedelta
from uuid import uuid4

from lxml import etree

from gateway.domain.periods import Month
from gateway.sync import marks
from tests.acceptance.messages import people_with
from tests.serving import CLINIC, EXCHANGE, OTHER, Gateway, working
from tests.sync.registers import Bill, Register, Who

DAY = date.today().replace(day=1) - timedelta(days=1)
"""Of the month before this one."""
BIRTH = date(1950, 1, 1)
"""Of the first of `people_with`."""
PART = 700


def put(gateway: Gateway, register: Register) -> str:
    """Sends the packet in small parts; its fileId."""
    content, known = register.packet(), ""
    for offset in range(0, len(content), PART):
        piece = base64.b64encode(content[offset : offset + PART]).decode()
        fields = f"{known}<fileName>{register.name}.ZIP</fileName><offset>{offset}</offset><content>{piece}</content>"
        last = str(offset + PART >= len(content)).lower()
        answer = gateway.change("PutFilePart", f"{fields}<last>{last}</last>", namespace=EXCHANGE)
        known = f"<fileId>{answer.result.findtext('{*}fileId')}</fileId>"
    return known.removeprefix("<fileId>").removesuffix("</fileId>")


def mailbox(gateway: Gateway, client: str) -> list[etree._Element]:
    answer = gateway.call("ListFiles", "<recordCount>100</recordCount>", client, EXCHANGE)
    return [one for one in answer.result.findall("{*}files") if one.findtext("{*}kind") == "PROTOCOL"]


def content_of(gateway: Gateway, file: etree._Element) -> bytes:
    answer = gateway.call("GetFile", f"<fileId>{file.findtext('{*}fileId')}</fileId>", namespace=EXCHANGE).result
    return base64.b64decode(answer.findtext("{*}content") or "")


def extra(entry: etree._Element) -> dict[str, str]:
    return {str(one.findtext("{*}name")): str(one.findtext("{*}value")) for one in entry.findall("{*}extra/{*}item")}


def test_a_register_from_its_packet_to_the_list(gateway: Gateway) -> None:
    taken, elsewhere = people_with(gateway.store, 2, CLINIC)
    add = f"<organisation>{OTHER}</organisation><items><enp>{elsewhere}</enp><diagnosis>I10</diagnosis>"
    months = f"<plannedMonths>{date.today():%Y-%m}</plannedMonths><observedSince>{DAY - timedelta(5)}</observedSince>"
    assert gateway.change("AddEntries", f"{add}{months}</items>", "other").fault is None
    token = gateway.call("GetChanges", "<count>10</count>").result.findtext("{*}nextToken")
    register = Register(
        [
            Bill(Who(taken, birth=BIRTH), "I20.8", 2, day=DAY, id="77"),
            Bill(Who(elsewhere, birth=BIRTH + timedelta(1)), "I10", 2, day=DAY, id="78"),
        ],
        year=DAY.year, month=DAY.month,
    )  # fmt: skip
    put(gateway, register)
    with working(gateway):
        with gateway.store.begin() as connection:
            operation = marks.start(connection, Month(DAY.year, DAY.month), login="календарь", trace=uuid4().hex)
        while True:
            asked = f"<operationId>{operation}</operationId>"
            state = gateway.call("GetOperation", asked, "fund", EXCHANGE).result.findtext("{*}operation/{*}state")
            if state not in ("QUEUED", "RUNNING"):
                break
            time.sleep(0.1)
    assert state == "DONE"
    (report,) = mailbox(gateway, "clinic")
    assert mailbox(gateway, "other") == []
    assert report.findtext("{*}fileName") == f"{register.name}_marks.csv"
    (_, line) = csv.reader(io.StringIO(content_of(gateway, report).decode("utf-8-sig")), delimiter=";")
    assert (line[0], line[2], line[8]) == (register.name, "78", "observation.elsewhere")
    fields = f"<year>{DAY.year}</year><month>{DAY.month}</month><listType>OBSERVED</listType><enp>{taken}</enp>"
    (entry,) = gateway.call("GetList", fields).result.findall("{*}entries")
    said = {name: entry.findtext(f"{{*}}{name}") for name in ("enp", "source", "diagnosis", "observedSince")}
    assert said == {"enp": taken, "source": "REGISTER", "diagnosis": "I20.8", "observedSince": str(DAY)}
    changes = gateway.call("GetChanges", f"<token>{token}</token><count>10</count>").result.findall("{*}changes")
    told = [[one.findtext(f"{{*}}{name}") for name in ("kind", "cause", "source", "entry/{*}enp")] for one in changes]
    assert told == [["TAKEN", "MARK", "REGISTER", taken]]
    asked = f"<entryId>{entry.findtext('{*}entryId')}</entryId>"
    whole = gateway.call("GetEntry", asked).result
    where = {"registerFile": register.name, "registerCase": "77", "registerDate": str(DAY)}
    assert where.items() <= extra(whole.find("{*}entry")).items()  # type: ignore[arg-type]
    events = [(one.findtext("{*}kind"), one.findtext("{*}source")) for one in whole.findall("{*}events")]
    assert events == [("TAKEN", "REGISTER")]
    person = gateway.call("GetPersonEntries", f"<enp>{taken}</enp>").result
    assert where.items() <= extra(person.find("{*}entries/{*}entry")).items()  # type: ignore[arg-type]
