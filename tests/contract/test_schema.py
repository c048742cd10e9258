"""Refusals by the schema: each names the place and the kind of the error, none repeats what was sent."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from lxml import etree

from gateway.services.observation_v1 import SERVICE

NS = SERVICE.namespace
ID = "<requestId>0b9e3f5e-3c0a-4f6e-9d3c-6f0a4a1d9f11</requestId>"
VISIT = (
    "<items><entryId>1</entryId><conductedOn>2026-11-01</conductedOn><place>1</place><result>1</result>"
    "<doctorSnils>1</doctorSnils><doctorType>1</doctorType></items>"
)
MARK = "СЕКРЕТ"


def errors(operation: str, content: str, prefix: str = "") -> list[tuple[str, str]]:
    if prefix:
        content = content.replace("</", "<\0").replace("<", f"<{prefix}:").replace(f"<{prefix}:\0", f"</{prefix}:")
        text = f'<{prefix}:{operation} xmlns:{prefix}="{NS}">{content}</{prefix}:{operation}>'
    else:
        text = f'<{operation} xmlns="{NS}">{content}</{operation}>'
    found = SERVICE.validate(etree.fromstring(text))
    assert MARK not in repr(found)
    return [(one.field, one.code) for one in found]


@pytest.mark.parametrize("prefix", ["", "t"])
@pytest.mark.parametrize(
    ("operation", "content", "wanted"),
    [
        ("ConductObservations", ID + VISIT, []),
        ("ConductObservations", VISIT, [("requestId", "field.missing")]),
        ("ConductObservations", ID, [("items", "field.missing")]),
        ("ConductObservations", "", [("requestId", "field.missing")]),
        ("ConductObservations", ID + ID + VISIT, [("requestId", "field.count")]),
        ("ConductObservations", ID + VISIT * 1001, [("items", "field.count")]),
        (
            "ConductObservations",
            ID + VISIT * 2 + VISIT.replace("2026-11-01", MARK),
            [("items[3]/conductedOn", "field.format")],
        ),
        (
            "ConductObservations",
            ID + VISIT + VISIT.replace("<place>1</place>", ""),
            [("items[2]/place", "field.missing")],
        ),
        (
            "ConductObservations",
            ID + VISIT.replace("<place>1</place>", f"<place>1</place><x{MARK}>1</x{MARK}>"),
            [("items[1]/?", "field.unknown")],
        ),
        (
            "ConductObservations",
            ID + VISIT.replace("<place>1</place>", f"<place>{MARK * 9}</place>"),
            [("items[1]/place", "field.length")],
        ),
        (
            "ConductObservations",
            ID + VISIT.replace("<place>1</place>", "<place/>"),
            [("items[1]/place", "field.length")],
        ),
        (
            "ConductObservations",
            ID + VISIT.replace("<place>1</place>", "<place><place>1</place></place>"),
            [("items[1]/place", "field.unknown")],
        ),
        ("ConductObservations", ID + MARK + VISIT, [("", "field.format")]),
        ("ConductObservations", ID.replace("0b9e", MARK) + VISIT, [("requestId", "field.length")]),
        ("ConductObservations", ID.replace("0b9e", "zzzz") + VISIT, [("requestId", "field.format")]),
        ("GetList", f"<year>{MARK}</year><listType>OBSERVED</listType>", [("year", "field.format")]),
        ("GetList", "<year>99999999999</year><listType>OBSERVED</listType>", [("year", "field.format")]),
        ("GetList", "<listType>OBSERVED</listType><year>2026</year>", [("listType", "field.unknown")]),
        ("GetEntry", "", [("entryId", "field.missing")]),
        ("GetDoctors", "", []),
        ("GetDoctors", "<onDate>2026-02-30</onDate>", [("onDate", "field.format")]),
        (
            "AddEntries",
            ID
            + "<items><enp>1</enp><diagnosis>I10</diagnosis>"
            + "<plannedMonths>2026-01</plannedMonths>" * 25
            + "</items>",
            [("items[1]/plannedMonths", "field.count")],
        ),
    ],
)
def test_errors_are_named_by_place(operation: str, content: str, wanted: list[tuple[str, str]], prefix: str) -> None:
    assert errors(operation, content, prefix) == wanted


def test_several_errors_are_all_named() -> None:
    bad = VISIT.replace("2026-11-01", MARK).replace("<result>1</result>", "<result/>")
    assert errors("ConductObservations", ID + bad + VISIT + bad) == [
        ("items[1]/conductedOn", "field.format"),
        ("items[1]/result", "field.length"),
        ("items[3]/conductedOn", "field.format"),
        ("items[3]/result", "field.length"),
    ]


def test_at_most_a_hundred_errors_are_named() -> None:
    assert len(errors("ConductObservations", ID + VISIT.replace("2026-11-01", MARK) * 500)) == 100


def test_nil_and_foreign_attributes_are_refused() -> None:
    nil = '<onDate xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:nil="true"/>'
    assert errors("GetDoctors", nil) == [("onDate", "field.format")]
    assert errors("GetDoctors", f'<onDate a="{MARK}">2026-01-01</onDate>') == [("onDate", "field.unknown")]


def test_an_element_of_no_operation_is_refused() -> None:
    assert SERVICE.validate(etree.fromstring(f'<Drop xmlns="{NS}"/>'))
    assert SERVICE.operation_of(f"{{{NS}}}Drop") is None
    assert SERVICE.operation_of("{urn:other}GetList") is None
    assert SERVICE.operation_of("GetList") is None


def test_threads_do_not_read_each_others_errors() -> None:
    """One libxml2 schema object shared by threads gave 0.2 % of answers another thread's error."""

    def work(place: int) -> set[tuple[tuple[str, str], ...]]:
        content = ID + VISIT * place + VISIT.replace("2026-11-01", "x")
        return {tuple(errors("ConductObservations", content)) for _ in range(300)}

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(work, range(4)))
    assert found == [{((f"items[{place + 1}]/conductedOn", "field.format"),)} for place in range(4)]
