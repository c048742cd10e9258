"""Check digits, the structure of an ЕНП, the key of names, age; with a fuzz target: any text is a number or has a code."""

from __future__ import annotations

import string
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.persons import age_on, enp_error, make_enp, make_snils, name_key, snils_digits, snils_error

SPECIMEN = "6449020886006380"
births = st.dates(min_value=date(1890, 1, 1), max_value=date(2029, 12, 31))


@pytest.mark.parametrize(
    ("snils", "code"),
    [
        ("112-233-445 95", None),
        ("11223344595", None),
        ("112-233-445 96", "person.snils-check"),
        ("087-654-303 00", None),
        ("002-008-999 00", None),
        ("002-009-899 00", None),
        ("123-123-123 12", "person.snils-check"),
        ("123-123-123 84", None),
        ("001-001-998 77", None),
        ("001-001-999 77", "person.snils-check"),
        ("000-000-000 00", "person.snils-check"),
        ("1122334459", "person.snils-format"),
        ("112233445955", "person.snils-format"),
        ("11223344A95", "person.snils-format"),
        ("1122334459٥", "person.snils-format"),
        ("", "person.snils-format"),
    ],
)
def test_snils(snils: str, code: str | None) -> None:
    assert snils_error(snils) == code


@pytest.mark.parametrize(
    ("enp", "code"),
    [
        (SPECIMEN, None),
        ("6449020886006381", "person.enp-check"),
        ("7500000000000000", None),
        ("0000000910000206", "person.enp-check"),
        ("644902088600638", "person.enp-format"),
        ("64490208860063800", "person.enp-format"),
        ("6449 02088600638", "person.enp-format"),
        ("644902088600638٠", "person.enp-format"),
        ("", "person.enp-format"),
    ],
)
def test_enp(enp: str, code: str | None) -> None:
    assert enp_error(enp) == code


def test_specimen_is_made_from_its_parts() -> None:
    assert make_enp(64, date(1979, 10, 13), 2, 638) == SPECIMEN


def luhn(digits: str) -> int:
    doubled = [int(digit) * (2 - index % 2) for index, digit in enumerate(digits)]
    return sum(value - 9 * (value > 9) for value in doubled) % 10


def born(enp: str) -> tuple[date, int]:
    """Birth date and sex by the published structure, written apart from the code under test."""
    plain = "".join(str(9 - int(digit)) for digit in enp[2:10])
    month, year, day = int(plain[:2]), int(plain[5:1:-1]), int(plain[6:])
    month -= 20 if year <= 1950 else 40 if year <= 2000 else 0
    return date(year, month, day - 50 if day > 50 else day), 1 if day > 50 else 2


@given(st.integers(0, 99), births, st.sampled_from((1, 2)), st.integers(0, 99999))
def test_made_enp_is_right_and_tells_birth_and_sex(region: int, birth: date, sex: int, serial: int) -> None:
    enp = make_enp(region, birth, sex, serial)
    assert enp_error(enp) is None
    assert luhn(enp) == 0
    assert born(enp) == (birth, sex)
    assert enp[:2] == f"{region:02d}"
    assert enp[10:15] == f"{serial:05d}"


@given(st.text(alphabet=string.digits, min_size=16, max_size=16))
def test_enp_is_luhn(enp: str) -> None:
    assert (enp_error(enp) is None) == (luhn(enp) == 0)


@given(st.integers(1, 999_999_999))
def test_made_snils_is_right(number: int) -> None:
    snils = make_snils(number)
    assert snils_error(snils) is None
    assert snils_error(f"{snils[:3]}-{snils[3:6]}-{snils[6:9]} {snils[9:]}") is None
    if number > 1_001_998:
        wrong = f"{(int(snils[9:]) + 1) % 100:02d}"
        assert snils_error(snils[:9] + wrong) == "person.snils-check"


@pytest.mark.parametrize("number", [0, -1, 1_000_000_000])
def test_snils_of_an_impossible_number(number: int) -> None:
    with pytest.raises(ValueError, match="number"):
        make_snils(number)


@pytest.mark.parametrize(("region", "serial"), [(100, 0), (64, 100_000), (-1, 0)])
def test_enp_of_impossible_parts(region: int, serial: int) -> None:
    with pytest.raises(ValueError, match="region or serial"):
        make_enp(region, date(1980, 1, 1), 1, serial)


@given(st.text())
def test_any_text_is_right_or_has_a_code(text: str) -> None:
    assert enp_error(text) in (None, "person.enp-format", "person.enp-check")
    assert snils_error(text) in (None, "person.snils-format", "person.snils-check")
    assert set(snils_digits(text)).isdisjoint("- \u00a0")


@given(st.text(alphabet="0123456789- ٣５²", max_size=18))
def test_only_ascii_digits_count(text: str) -> None:
    if enp_error(text) is None:
        assert text.isascii()
        assert len(text) == 16
    if snils_error(text) is None:
        assert snils_digits(text).isascii()
        assert len(snils_digits(text)) == 11


@pytest.mark.parametrize(
    ("names", "key"),
    [
        (("Ёлкин", "Пётр", "Семёнович"), "ЕЛКИН ПЕТР СЕМЕНОВИЧ"),
        (("  Ким ", "Ир  Ина", None), "КИМ ИР ИНА"),
        (("Салтыков-Щедрин", "Андрей", ""), "САЛТЫКОВ-ЩЕДРИН АНДРЕЙ"),
        (("Е\u0308лкин", "Андреи\u0306", None), "ЕЛКИН АНДРЕЙ"),
        (("O'Neil", "Ann", None), "O'NEIL ANN"),
    ],
)
def test_name_key(names: tuple[str, str, str | None], key: str) -> None:
    assert name_key(*names) == key


@given(st.text(alphabet="абвёЁйЙ -'", max_size=20), st.text(alphabet="абвёЁйЙ -'", max_size=20))
def test_name_key_does_not_depend_on_case_and_blanks(last: str, first: str) -> None:
    assert name_key(last.upper(), f"  {first} ") == name_key(last.lower(), first)


@pytest.mark.parametrize(
    ("birth", "day", "age"),
    [
        (date(2008, 3, 10), date(2026, 3, 9), 17),
        (date(2008, 3, 10), date(2026, 3, 10), 18),
        (date(2008, 2, 29), date(2026, 2, 28), 17),
        (date(2008, 2, 29), date(2026, 3, 1), 18),
    ],
)
def test_age(birth: date, day: date, age: int) -> None:
    assert age_on(birth, day) == age
