"""Cells that a table program would run, and those it would round."""

from __future__ import annotations

import pytest

from gateway.formats.cells import exact, harmless


@pytest.mark.parametrize("value", ['=1"&HYPERLINK("x")&"', "+7", "-1", "@a", "\t=1", "\r=1"])
def test_no_formula_is_left(value: str) -> None:
    assert harmless(value) == "'" + value


def test_other_values_stay() -> None:
    assert [harmless(one) for one in ("A=1", "Ёлкин-Иванов", "", None, 7)] == ["A=1", "Ёлкин-Иванов", "", "", "7"]
    assert (exact("0012"), exact(12), exact(None)) == ('="0012"', '="12"', "")
