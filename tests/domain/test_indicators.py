"""Rules of indicators: the codes of ranges, shares, texts."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import diagnoses
from gateway.domain.indicators import (
    CARE,
    Attribution,
    Match,
    Rules,
    Span,
    care_of,
    codes_of,
    denominator_text,
    numerator_text,
    share,
)
from gateway.domain.periods import Month
from gateway.nsi.own import ranges

GROUP = "I05-I28 I33-I42 I44-I50 I51.0-I51.2 I51.4 I65.2 I67.8 I69.0-I69.4 I71"
CODES = st.from_regex(r"[A-Z][0-9]{2}(\.[0-9]{1,2})?", fullmatch=True)
BSK = {"group": "БСК", "care": "DN_SERVICE VISIT", "match": "GROUP", "attribution": "PERIOD_END"}


@given(CODES)
def test_codes_of_ranges_are_those_within_them(code: str) -> None:
    spans = ranges(GROUP)
    assert (code in codes_of(spans)) == any(diagnoses.within(code, first, last) for first, last in spans)


@given(CODES, CODES)
def test_a_range_over_letters_loses_nothing(one: str, other: str) -> None:
    first, last = sorted((one, other))
    found = set(codes_of(((first, last),)))
    assert first in found and last in found
    assert all(diagnoses.within(code, first, last) for code in found)


@pytest.mark.parametrize(
    ("numerator", "denominator", "expected"),
    [(0, 0, None), (0, 3, "0.00"), (1, 3, "33.33"), (2, 3, "66.67"), (1, 800, "0.13"), (7, 7, "100.00")],
)
def test_share_in_percent(numerator: int, denominator: int, expected: str | None) -> None:
    assert share(numerator, denominator) == (None if expected is None else Decimal(expected))


def test_rules_of_a_group_and_own_ranges() -> None:
    rules = Rules.of("BSK", "Доля", BSK, {"БСК": GROUP})
    assert (rules.ranges, rules.group, rules.care) == (GROUP, "БСК", ("VISIT", "DN_SERVICE"))
    assert (rules.match, rules.attribution) == (Match.GROUP, Attribution.PERIOD_END)
    assert dict(rules.settings)["care"] == "VISIT DN_SERVICE"
    own = Rules.of("X", "Доля", {**BSK, "ranges": "E10-E11", "group": None}, {})
    assert (own.ranges, own.group) == ("E10-E11", None)
    with pytest.raises(KeyError):
        Rules.of("BSK", "Доля", BSK, {})


@pytest.mark.parametrize("text", ["", " ", "VISITS", "VISIT,DN_SERVICE"])
def test_unknown_care_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        care_of(text)


def test_texts_say_how_it_was_counted() -> None:
    rules = Rules.of("BSK", "Доля", BSK, {"БСК": GROUP})
    span = Span(Month(2026, 10))
    assert (span.first, span.last) == (date(2026, 1, 1), date(2026, 10, 31))
    told = numerator_text(rules, span)
    assert CARE["VISIT"] in told and CARE["DN_SERVICE"] in told and CARE["TREATMENT"] not in told
    assert "31.10.2026" in told
    whole = denominator_text(rules, span, organisation=False, insurer=False)
    assert GROUP in whole and "последней" not in whole
    assert "последней" in denominator_text(rules, span, organisation=True, insurer=False)
    assert "СМО" in denominator_text(rules, span, organisation=False, insurer=True)
