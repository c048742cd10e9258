"""FLK_P: names, the order of elements, windows-1251 and what it has no room for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from gateway.errors import KINDS
from gateway.formats import flk
from gateway.formats.flk import FlkProblem

NAME = "VGSM190006_2605_1.xml"


def written(*problems: FlkProblem) -> Any:
    data = b"".join(flk.protocol(NAME, "GSM190006_2605_1.xml", problems))
    assert data.startswith(b'<?xml version="1.0" encoding="windows-1251"?>')
    return etree.fromstring(data)


def remark(problem: FlkProblem) -> list[tuple[str, str]]:
    return [(element.tag, element.text) for element in written(problem).find("PR")]


@pytest.mark.parametrize(
    ("checked", "name"),
    [("GSM190006_2605_1.xml", NAME), ("GSM190006_2605_1.zip", NAME), ("список", "Vсписок.xml")],
)
def test_names(checked: str, name: str) -> None:
    assert flk.name_of(checked) == name


def test_an_accepted_file_has_no_remarks() -> None:
    assert [(element.tag, element.text) for element in written()] == [
        ("FNAME", "VGSM190006_2605_1"), ("FNAME_I", "GSM190006_2605_1"),
    ]  # fmt: skip


def test_a_remark_about_a_record() -> None:
    assert remark(FlkProblem("field.missing", "ENP", "ZAP", 12)) == [
        ("OSHIB", "902"), ("IM_POL", "ENP"), ("BAS_EL", "ZAP"), ("N_ZAP", "12"),
        ("COMMENT", f"field.missing: {KINDS['field.missing'].message}"),
    ]  # fmt: skip


def test_a_remark_about_the_file() -> None:
    assert remark(FlkProblem("file.structure", comment="Файл оборван")) == [
        ("OSHIB", "904"), ("COMMENT", "file.structure: Файл оборван"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "wanted"),
    [("field.unknown", "901"), ("field.missing", "902"), ("field.format", "903"), ("field.length", "903"),
     ("person.enp-check", "904"), ("diagnosis.unknown", "904"), ("upload.repeated", "905")],
)  # fmt: skip
def test_codes_of_f012(code: str, wanted: str) -> None:
    assert remark(FlkProblem(code))[0] == ("OSHIB", wanted)


def test_every_code_that_is_named_exists() -> None:
    assert set(flk._F012) <= set(KINDS)


def test_lengths() -> None:
    found = dict(remark(FlkProblem("field.format", "n" * 30, "b" * 30, comment="ж" * 300)))
    assert (len(found["IM_POL"]), len(found["BAS_EL"]), len(found["COMMENT"])) == (20, 20, 250)


@given(st.text(max_size=40))
def test_any_text_is_written(text: str) -> None:
    found = dict(remark(FlkProblem("field.format", comment=text)))["COMMENT"]
    assert found == f"field.format: {''.join(one if one.isprintable() else ' ' for one in text)}"


def test_many_remarks_come_in_portions() -> None:
    portions = list(flk.protocol(NAME, "a.xml", (FlkProblem("field.format", "ENP", "ZAP", n) for n in range(5_000))))
    assert len(portions) > 5
    root = etree.fromstring(b"".join(portions))
    assert [pr.findtext("N_ZAP") for pr in root.iter("PR")] == [str(n) for n in range(5_000)]
