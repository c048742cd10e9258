"""Codes of МКБ-10: their form, look-alike letters, ranges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import diagnoses
from gateway.errors import GatewayError

codes = st.from_regex(r"\A[A-Z][0-9]{2}(\.[0-9]{1,2})?\Z")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("I10", "I10"),
        ("i20.8", "I20.8"),
        (" M00.01 ", "M00.01"),
        ("Е11.9", "E11.9"),
        ("с50.9", "C50.9"),
        ("А00", "A00"),
        ("В18.2", "B18.2"),
        ("К25.7", "K25.7"),
        ("М81.5", "M81.5"),
        ("Н40.1", "H40.1"),
        ("О10", "O10"),
        ("Р00.0", "P00.0"),
        ("Т90.5", "T90.5"),
        ("Х59.0", "X59.0"),
    ],
)
def test_read(text: str, code: str) -> None:
    assert diagnoses.parse(text) == code


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I",
        "I1",
        "I100",
        "I10.",
        "I20,8",
        "I20.888",
        "20.8",
        "II0",
        "IО1",
        "Ж10",
        "У10",
        "I10*",
        "I20.8†",
        "I 10",
        "I٢٠",
        "I10\x00",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(GatewayError, match=r"diagnosis\.format"):
        diagnoses.parse(text)


@given(st.text())
def test_any_text_is_a_code_or_refused(text: str) -> None:
    try:
        code = diagnoses.parse(text)
    except GatewayError as error:
        assert error.code == "diagnosis.format"
    else:
        assert diagnoses.parse(code) == code
        assert code.isascii()


@given(codes)
def test_a_code_lies_in_its_rubric(code: str) -> None:
    assert diagnoses.parse(code.lower()) == code
    assert diagnoses.within(code, diagnoses.rubric(code), diagnoses.rubric(code))
    assert diagnoses.within(code, code, code)
    assert diagnoses.key_of(code, "rubric") == diagnoses.rubric(code)
    assert diagnoses.key_of(code, "code") == code


@pytest.mark.parametrize(
    ("code", "first", "last", "inside"),
    [
        ("I10", "I10", "I15", True),
        ("I15.9", "I10", "I15", True),
        ("I16", "I10", "I15", False),
        ("I09.9", "I10", "I15", False),
        ("I20.8", "I20", "I20", True),
        ("I69.4", "I69.0", "I69.4", True),
        ("I69.8", "I69.0", "I69.4", False),
        ("I69", "I69.0", "I69.4", False),
        ("C97", "C00", "C97", True),
        ("D00.0", "C00", "C97", False),
        ("M00.01", "M00.0", "M00.0", True),
        ("M00.1", "M00.01", "M00.08", False),
    ],
)
def test_ranges(code: str, first: str, last: str, inside: bool) -> None:
    assert diagnoses.within(code, first, last) is inside
