"""The change feed at its edges: images forgotten while a page is read, fewer changes asked for than there are lists."""

from __future__ import annotations

import base64
import zlib
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from gateway.access.model import ClientKind
from gateway.errors import GatewayError
from gateway.lists import changes
from gateway.lists.changes import shares
from gateway.lists.tokens import Token
from tests.lists.feed import feed
from tests.lists.region import Region
from tests.lists.test_persons import renew


def test_who_left_an_insurer_is_not_lost_when_images_are_forgotten_meanwhile(place: Region) -> None:
    """The ledger was read, then the images went: the page must be refused, not shown without who left."""
    insurer = place.call(kind=ClientKind.INSURER, organisations=[], insurer="40001", client_id=8)
    place.add(enp := place.person())
    token = feed(place, None, organisation="400001", call=insurer).next_token
    with place.store.begin() as connection:
        connection.execute(text("UPDATE person SET insurer = '40002' WHERE enp = :enp"), {"enp": enp})
    renew(place, enp)
    end = feed(place, None, call=insurer).next_token
    reach = changes._Reach(dict(Token.parse(end).positions), dict(Token.parse(token).positions))
    with place.store.begin() as connection:
        place.lists.forget_images(connection, datetime.now(UTC) + timedelta(days=1))
    with place.store.driver() as driver, pytest.raises(GatewayError) as refusal:
        changes._read(driver, reach, "40001", 10)
    assert refusal.value.code == "changes.token-expired"


@pytest.mark.parametrize(
    "lines", [b"\n" * 60_000, b"400001 1\n", b"\n400001 1", b"400001 1\n\n400002 1", b"\0" * (1 << 24), b" " * 65_537]
)
def test_a_small_token_that_makes_much_work_is_refused(lines: bytes) -> None:
    with pytest.raises(GatewayError) as refusal:
        Token.parse("1.1-0123abcd.*." + base64.urlsafe_b64encode(zlib.compress(lines, 9)).decode())
    assert refusal.value.code == "changes.token"


@given(
    behind=st.dictionaries(st.text("abc", min_size=1, max_size=3), st.integers(1, 50), min_size=2, max_size=8),
    count=st.integers(1, 8),
)
@settings(max_examples=200, deadline=None)
def test_a_busy_list_does_not_hold_up_the_rest_whatever_the_count(behind: dict[str, int], count: int) -> None:
    given_ = shares(behind, count)
    least = min(behind.values())
    if count < len(behind):
        assert any(behind[name] == least for name in given_), "the list that waits for least gets nothing"
