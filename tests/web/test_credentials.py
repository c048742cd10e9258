"""Who is believed about whom: certificates and addresses from proxies, clocks of clients."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from lxml import etree

from gateway.access.model import Certificate, Credentials
from gateway.errors import GatewayError
from gateway.services.credentials import WSU, Proxies, presented
from gateway.services.envelope import WSSE

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
PRINT = "AB" * 32


def _security(inner: str) -> tuple[etree._Element, ...]:
    return (etree.fromstring(f'<w:Security xmlns:w="{WSSE}" xmlns:u="{WSU}">{inner}</w:Security>'),)


TOKEN = "<w:UsernameToken><w:Username> мис </w:Username><w:Password> п ё </w:Password></w:UsernameToken>"


def _code(
    security: tuple[etree._Element, ...] = (), authorization: str | None = None, certificate: str | None = None
) -> str:
    headers = {} if authorization is None else {"authorization": authorization}
    with pytest.raises(GatewayError) as refused:
        presented(security, headers, certificate, NOW)
    return refused.value.code


def test_token_keeps_blanks_of_the_password() -> None:
    assert presented(_security(TOKEN), {}, None, NOW) == Credentials("мис", " п ё ")


def test_basic_is_utf_8_and_splits_at_the_first_colon() -> None:
    # мис:п:ё
    found = presented((), {"authorization": "basic 0LzQuNGBOtC/OtGR"}, None, NOW)
    assert found == Credentials("мис", "п:ё")


def test_certificate() -> None:
    colons = ":".join(PRINT[at : at + 2] for at in range(0, 64, 2))
    assert presented((), {}, colons, NOW) == Certificate(PRINT.lower())
    assert _code(certificate="xyz") == "access.certificate"
    assert _code(certificate="  ") == "access.no-credentials"
    assert _code(_security(TOKEN), certificate=PRINT) == "access.two-credentials"
    assert _code(authorization="Basic 0LzQuNGBOtC/OtGR", certificate=PRINT) == "access.two-credentials"


def _stamp(created: timedelta | None, expires: timedelta | None) -> tuple[etree._Element, ...]:
    parts = [("Created", created), ("Expires", expires)]
    inner = "".join(f"<u:{name}>{(NOW + at).isoformat()}</u:{name}>" for name, at in parts if at is not None)
    return _security(f"<u:Timestamp>{inner}</u:Timestamp>{TOKEN}")


@pytest.mark.parametrize(
    ("created", "expires", "right"),
    [
        (timedelta(), timedelta(minutes=5), True),
        (timedelta(minutes=4), timedelta(minutes=9), True),
        (timedelta(minutes=6), timedelta(minutes=11), False),
        (timedelta(minutes=-20), timedelta(minutes=-4), True),
        (timedelta(minutes=-20), timedelta(minutes=-6), False),
        (timedelta(minutes=1), timedelta(minutes=-1), False),
        (timedelta(days=-1), None, True),
        (None, timedelta(minutes=1), True),
        (None, None, True),
    ],
)
def test_timestamp(created: timedelta | None, expires: timedelta | None, right: bool) -> None:
    if right:
        assert presented(_stamp(created, expires), {}, None, NOW)
    else:
        assert _code(_stamp(created, expires)) == "access.timestamp"


@pytest.mark.parametrize(
    "moment", ["", "вчера", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-13-01"]
)
def test_moments_that_are_none(moment: str) -> None:
    stamp = f"<u:Timestamp><u:Created>{moment}</u:Created></u:Timestamp>"
    assert _code(_security(stamp + TOKEN)) == "access.timestamp"


def test_addresses() -> None:
    proxies = Proxies("10.0.0.5, 192.168.0.0/24,::1")
    assert proxies.trust("192.168.0.77")
    assert not proxies.trust("10.0.0.6")
    assert not proxies.trust("unix")
    assert proxies.client("203.0.113.9", "1.2.3.4") == "203.0.113.9"
    assert proxies.client("10.0.0.5", "1.2.3.4") == "1.2.3.4"
    assert proxies.client("10.0.0.5", "6.6.6.6, 1.2.3.4, 192.168.0.3") == "1.2.3.4"
    assert proxies.client("10.0.0.5", "evil") == "10.0.0.5"
    assert proxies.client("10.0.0.5", None) == "10.0.0.5"
    with pytest.raises(GatewayError, match="trusted_proxies"):
        Proxies("10.0.0.500")
