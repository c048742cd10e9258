"""Months, quarters and the arithmetic of calendar months; with a fuzz target: any text is a month or refused."""

from __future__ import annotations

import re
from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.periods import Month, Period, add_months
from gateway.errors import GatewayError

months = st.builds(Month, st.integers(1, 9999), st.integers(1, 12))


@given(months)
def test_a_month_reads_back(month: Month) -> None:
    assert Month.parse(str(month)) == month
    assert Month.from_number(month.number) == month
    assert Month.of(month.first_day) == Month.of(month.last_day) == month


@given(st.text() | st.from_regex(r"\A[0-9٣]{3,5}[-.][0-9]{1,3}\n?\Z"))
def test_any_text_is_a_month_or_refused(text: str) -> None:
    try:
        month = Month.parse(text)
    except GatewayError as error:
        assert error.code == "plan.format"
        assert not re.fullmatch(r"(?!0000)[0-9]{4}-(0[1-9]|1[0-2])", text, re.ASCII)
    else:
        assert str(month) == text


@pytest.mark.parametrize(
    "text", ["", "2026", "2026-13", "2026-00", "2026-1", "0000-01", "2026-11-01", "2026-11\n", " 2026-11"]
)
def test_what_is_no_month(text: str) -> None:
    with pytest.raises(GatewayError, match=r"plan\.format"):
        Month.parse(text)


@given(st.integers())
def test_a_number_is_a_month_or_refused(number: int) -> None:
    try:
        assert Month.from_number(number).number == number
    except ValueError:
        assert not (1 <= number // 100 <= 9999 and 1 <= number % 100 <= 12)


@given(st.builds(Month, st.integers(1000, 8000), st.integers(1, 12)), st.integers(-9000, 9000))
def test_shift_goes_back(month: Month, by: int) -> None:
    assert month.shift(by).shift(-by) == month
    assert (month.shift(by) > month) == (by > 0)


def test_shift_crosses_years() -> None:
    assert str(Month(2026, 11).shift(3)) == "2027-02"
    assert str(Month(2026, 1).shift(-1)) == "2025-12"
    with pytest.raises(ValueError, match="range"):
        Month(9999, 12).shift(1)


def test_last_days() -> None:
    assert Month(2024, 2).last_day == date(2024, 2, 29)
    assert Month(2026, 2).last_day == date(2026, 2, 28)
    assert Month(9999, 12).last_day == date(9999, 12, 31)


@pytest.mark.parametrize(
    ("day", "by", "result"),
    [
        (date(2026, 1, 31), 1, date(2026, 2, 28)),
        (date(2024, 2, 29), 12, date(2025, 2, 28)),
        (date(2024, 2, 29), 48, date(2028, 2, 29)),
        (date(2026, 3, 31), -1, date(2026, 2, 28)),
        (date(2026, 12, 15), 1, date(2027, 1, 15)),
    ],
)
def test_add_months(day: date, by: int, result: date) -> None:
    assert add_months(day, by) == result


@given(st.dates(date(1900, 1, 1), date(2100, 1, 1)), st.integers(-600, 600))
def test_added_months_keep_the_day_or_clip_it(day: date, by: int) -> None:
    result = add_months(day, by)
    assert Month.of(result) == Month.of(day).shift(by)
    assert result.day == day.day or (result.day < day.day and (result + timedelta(days=1)).day == 1)


def test_quarter() -> None:
    period = Period.quarter(2026, 4)
    assert (period.first_day, period.last_day) == (date(2026, 10, 1), date(2026, 12, 31))
    assert [str(month) for month in period.months] == ["2026-10", "2026-11", "2026-12"]
    assert (period.label, str(period)) == ("IV квартал 2026 г.", "2026-Q4")


def test_month_period() -> None:
    period = Period.month(2026, 2)
    assert (period.first_day, period.last_day) == (date(2026, 2, 1), date(2026, 2, 28))
    assert (period.label, str(period)) == ("февраль 2026 г.", "2026-02")


@given(st.integers(1900, 2999))
def test_quarters_cover_the_year(year: int) -> None:
    days = [(quarter.first_day, quarter.last_day) for quarter in (Period.quarter(year, n) for n in (1, 2, 3, 4))]
    assert days[0][0] == date(year, 1, 1)
    assert days[-1][1] == date(year, 12, 31)
    assert all(this[1] + timedelta(days=1) == following[0] for this, following in pairwise(days))


@pytest.mark.parametrize(("year", "part"), [(2026, 0), (2026, 13), (1899, 1), (3000, 1), (-1, 1)])
def test_no_such_period(year: int, part: int) -> None:
    for make in (Period.month, Period.quarter):
        with pytest.raises(GatewayError, match=r"list\.period"):
            make(year, part)
