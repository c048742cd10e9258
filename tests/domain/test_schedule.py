"""The product's table of 168н against the transcription, and terms by worked examples."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.diagnoses import within
from gateway.domain.periods import add_months
from gateway.domain.schedule import Appointment, Row, appointment, rows_of, table

BORN = date(1960, 5, 5)
NOW = date(2026, 11, 22)
PROFILES = ("THERAPIST", "CARDIOLOGIST", "SPECIALIST")


def term(code: str, since: str, visit: str | None = None, profile: str | None = None) -> Appointment:
    return appointment(
        code,
        profile=profile,
        birth_date=BORN,
        observed_since=date.fromisoformat(since),
        last_visit_on=date.fromisoformat(visit) if visit else None,
        on=NOW,
    )


def test_shape_of_the_table() -> None:
    rows = table()
    assert len(rows) == 154
    assert len({row.number for row in rows}) == 102
    for number, profile, count in ((1, PROFILES[0], 34), (2, PROFILES[1], 13), (3, PROFILES[2], 55)):
        own = [row for row in rows if row.profile == profile]
        assert {row.number for row in own} == {f"{number}.{row}" for row in range(1, count + 1)}
    assert {row.number for row in rows if row.rule == "NO_NUMBER"} == {"1.8", "3.2"}
    assert max(row.first_interval for row in rows) == 24
    assert min(row.first_interval for row in rows) == 3
    assert all(row.condition and row.duration for row in rows)


def transcribed(reference: Path) -> list[dict[str, str]]:
    with (reference / "dn" / "observation_168n.csv").open(encoding="utf-8-sig") as lines:
        return list(csv.DictReader(lines))


def as_read(line: dict[str, str]) -> tuple[object, ...]:
    """A transcribed line as the module's rules read it, written apart from the product's table."""
    text, row = line["interval_months"], f"{line['appendix']}.{line['row']}"
    head: tuple[object, ...] = (row, PROFILES[int(line["appendix"]) - 1], line["icd10_from"], line["icd10_to"])
    if not text:
        return (*head, 12, None, None, "NO_NUMBER")
    if ";" in text:
        first, then = map(int, text.split(";"))
        return (*head, first, 2 if row in ("3.24", "3.52") else 1, then, "TWO_PERIODS")
    for mark, rule in (("/", "BY_NOTE"), ("-", "SPAN")):
        if mark in text:
            return (*head, max(map(int, text.split(mark))), None, None, rule)
    return (*head, int(text), None, None, "FIXED")


def test_every_range_of_the_transcription_stands_in_the_table(reference: Path) -> None:
    ours = [
        (r.number, r.profile, r.first_code, r.last_code, r.first_interval, r.first_years, r.then_interval, r.rule)
        for r in table()
    ]
    assert ours == [as_read(line) for line in transcribed(reference)]


def test_every_range_resolves_to_codes_of_the_official_list(reference: Path) -> None:
    with (reference / "dn" / "icd10_nsi_1005_v2.27.csv").open(encoding="utf-8-sig") as lines:
        codes = {line["MKB_CODE"] for line in csv.DictReader(lines, delimiter=";") if line["ACTUAL"] == "1"}
    empty = {
        row.first_code for row in table() if not any(within(code, row.first_code, row.last_code) for code in codes)
    }
    ends = {code for row in table() for code in (row.first_code, row.last_code)} - codes
    assert empty == ends == {"J47.0"}
    assert "I14" not in codes
    assert rows_of("I14", None)
    assert {row.number for row in rows_of("J47", None)} == {"1.18"}


@pytest.mark.parametrize(
    ("code", "profile", "months", "row", "rule"),
    [
        ("I10", "THERAPIST", 12, "1.1", "FIXED"),
        ("I10", "CARDIOLOGIST", 6, "2.2", "FIXED"),
        ("I10", None, 12, "1.1", "FIXED"),
        ("I10", "OTHER", 12, "1.1", "FIXED"),
        ("I13.0", "CARDIOLOGIST", 6, "2.2", "FIXED"),
        ("E78.0", "CARDIOLOGIST", 6, "2.12", "FIXED"),
        ("E78.0", None, 12, "1.6", "FIXED"),
        ("E11.9", None, 12, "1.8", "NO_NUMBER"),
        ("B24", "OTHER", 12, "3.2", "NO_NUMBER"),
        ("J44.8", None, 12, "1.17", "SPAN"),
        ("J47", None, 12, "1.18", "SPAN"),
        ("J47.0", None, 12, "1.18", "SPAN"),
        ("K70.3", None, 4, "1.32", "SPAN"),
        ("K62.1", None, 6, "1.28", "BY_NOTE"),
        ("Q21.1", "CARDIOLOGIST", 12, "2.13", "BY_NOTE"),
        ("B18.2", "OTHER", 12, "3.1", "BY_NOTE"),
        ("D35.0", "OTHER", 24, "3.9", "FIXED"),
        ("D35.1", None, 12, "3.8", "FIXED"),
        ("D35.8", None, 12, "3.3", "FIXED"),
        ("K31.7", None, 12, "1.14", "FIXED"),
        ("I26.9", None, 3, "2.4", "FIXED"),
        ("N18.1", None, 3, "1.22", "FIXED"),
    ],
)
def test_interval(code: str, profile: str | None, months: int, row: str, rule: str) -> None:
    got = term(code, "2020-01-15", "2026-06-30", profile)
    assert (got.order, got.outside, got.interval_months, got.row, got.rule) == ("168N", None, months, row, rule)
    assert got.by == add_months(date(2026, 6, 30), months)


@pytest.mark.parametrize(
    ("code", "since", "visit", "months", "by"),
    [
        ("I69.3", "2026-01-15", None, 3, "2026-04-15"),
        ("I69.3", "2025-01-15", "2026-01-14", 3, "2026-04-14"),
        ("I69.3", "2025-01-15", "2026-01-15", 6, "2026-07-15"),
        ("D31.3", "2024-06-01", "2026-05-31", 6, "2026-11-30"),
        ("D31.3", "2024-06-01", "2026-06-01", 12, "2027-06-01"),
        ("D23.1", "2026-06-01", None, 6, "2026-12-01"),
        ("D23.1", "2024-06-01", "2026-06-01", 12, "2027-06-01"),
        ("N87.1", "2025-03-31", "2026-03-30", 6, "2026-09-30"),
        ("N87.1", "2025-03-31", "2026-03-31", 12, "2027-03-31"),
        ("N87.2", "2025-03-31", "2026-03-31", 6, "2026-09-30"),
        ("N84.0", "2025-08-31", None, 6, "2026-02-28"),
        ("M96.1", "2024-02-29", "2025-02-27", 3, "2025-05-27"),
        ("M96.1", "2024-02-29", "2025-02-28", 6, "2025-08-28"),
    ],
)
def test_two_periods(code: str, since: str, visit: str | None, months: int, by: str) -> None:
    got = term(code, since, visit)
    assert (got.interval_months, got.by, got.rule) == (months, date.fromisoformat(by), "TWO_PERIODS")


@pytest.mark.parametrize("profile", [None, "THERAPIST", "OTHER"])
@pytest.mark.parametrize(
    ("code", "since", "visit", "months", "by"),
    [
        ("C50.9", "2026-08-31", None, 3, "2026-11-30"),
        ("C50.9", "2025-08-31", "2026-08-30", 3, "2026-11-30"),
        ("C50.9", "2025-08-31", "2026-08-31", 6, "2027-02-28"),
        ("C61", "2024-08-31", "2026-08-31", 12, "2027-08-31"),
        ("D09.9", "2026-01-01", None, 3, "2026-04-01"),
        ("C97", "2010-01-01", "2026-01-01", 12, "2027-01-01"),
    ],
)
def test_oncology(profile: str | None, code: str, since: str, visit: str | None, months: int, by: str) -> None:
    got = term(code, since, visit, profile)
    assert (got.order, got.interval_months, got.by) == ("548N", months, date.fromisoformat(by))


@pytest.mark.parametrize("code", ["A00.0", "I16", "I70.2", "J47.1", "B18.9", "D10.8", "Z95.6", "I69.8", "D45"])
def test_outside_both_orders(code: str) -> None:
    assert term(code, "2026-01-01") == Appointment(None, "ORDER", None, None, "ORDER")


@pytest.mark.parametrize("code", ["I10", "C50.9", "A00.0"])
def test_children_have_no_term(code: str) -> None:
    birth = date(2008, 11, 23)
    child = appointment(code, profile=None, birth_date=birth, observed_since=NOW, last_visit_on=None, on=NOW)
    assert (child.outside, child.by, child.order) == ("CHILD", None, None)
    grown = appointment(
        "I10", profile=None, birth_date=birth, observed_since=NOW, last_visit_on=None, on=date(2026, 11, 23)
    )
    assert grown.by == date(2027, 11, 22)


def test_precision_of_a_row_matters_only_where_documented() -> None:
    """A narrower row decides only for D23.1: elsewhere the longest interval is the same without that rule."""
    codes = {row.first_code for row in table()} | {row.last_code for row in table()}
    differs = set()
    for code in codes:
        wide = [row for row in table() if within(code, row.first_code, row.last_code)]
        decided = rows_of(code, None)
        if decided and max(row.first_interval for row in wide) != max(row.first_interval for row in decided):
            differs.add(code)
    assert differs == {"D23.1"}


def _code(row: Row) -> str:
    return row.first_code


@given(
    st.sampled_from(sorted({_code(row) for row in table()})),
    st.sampled_from((None, "THERAPIST", "CARDIOLOGIST", "OTHER")),
    st.dates(date(2000, 1, 1), date(2026, 1, 1)),
    st.integers(0, 9000),
)
def test_a_term_is_always_given_and_never_later_without_need(
    code: str, profile: str | None, since: date, after: int
) -> None:
    visit = date.fromordinal(since.toordinal() + after)
    facts = {"birth_date": BORN, "observed_since": since, "last_visit_on": visit, "on": NOW}
    got = appointment(code, profile=profile, **facts)  # type: ignore[arg-type]
    unknown = appointment(code, profile=None, **facts)  # type: ignore[arg-type]
    assert got.interval_months is not None
    assert got.by is not None
    assert unknown.interval_months is not None
    assert 3 <= got.interval_months <= unknown.interval_months <= 24
    assert got.by > visit
