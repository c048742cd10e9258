"""Check digits of whole columns agree with the rule for one number."""

from __future__ import annotations

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.persons import enp_error, make_enp, make_snils, snils_error
from gateway.people.digits import all_enp, all_snils

right_enp = st.builds(
    make_enp, st.integers(0, 99), st.dates(date(1890, 1, 1), date(2026, 1, 1)), st.integers(1, 2), st.integers(0, 99999)
)
right_snils = st.integers(1_001_999, 999_999_999).map(make_snils)
digits = st.text("0123456789", min_size=9, max_size=17)
noise = st.one_of(digits, st.text(max_size=17), st.just("00000000000"), st.just("0000000000000000"))


@given(st.lists(st.one_of(right_enp, noise), max_size=12))
def test_enp(numbers):
    assert all_enp([one.encode() for one in numbers]) == all(enp_error(one) is None for one in numbers)


@given(st.lists(right_enp, min_size=1, max_size=300), st.data())
def test_one_wrong_enp_among_many_is_seen(numbers, data):
    assert all_enp([one.encode() for one in numbers])
    place = data.draw(st.integers(0, len(numbers) - 1))
    digit = data.draw(st.integers(0, 15))
    spoilt = list(numbers[place])
    spoilt[digit] = str((int(spoilt[digit]) + data.draw(st.integers(1, 9))) % 10)
    numbers[place] = "".join(spoilt)
    assert all_enp([one.encode() for one in numbers]) == (enp_error(numbers[place]) is None)


@given(st.lists(st.one_of(right_snils, digits.filter(lambda text: len(text) == 11), noise), max_size=12))
def test_snils(numbers):
    """The quick rule may refuse what the slow one takes (hyphens, old numbers), never the other way."""
    if all_snils([one.encode() for one in numbers]):
        assert all(snils_error(one) is None and len(one) == 11 for one in numbers)


@given(st.lists(right_snils, min_size=1, max_size=300))
def test_right_snils_are_taken(numbers):
    assert all_snils([one.encode() for one in numbers])


@given(st.lists(right_snils, min_size=1, max_size=40), digits.filter(lambda text: len(text) == 11))
def test_one_wrong_snils_among_many_is_seen(numbers, other):
    if snils_error(other) is not None:
        assert not all_snils([one.encode() for one in [*numbers, other]])
