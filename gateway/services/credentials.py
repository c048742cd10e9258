"""Who says to be calling: WS-Security UsernameToken, HTTP Basic, or a certificate that a trusted proxy vouches for.

UsernameToken Profile 1.0 with PasswordText; PasswordDigest would need the secret itself and is refused by name. Exactly
one kind may be presented, once.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from lxml import etree

from gateway.access.model import Certificate, Credentials
from gateway.errors import GatewayError
from gateway.services.envelope import WSSE

WSU = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
SKEW = timedelta(minutes=5)
"""How far the clock of a client may be off."""

_TOKEN, _USERNAME, _PASSWORD = (f"{{{WSSE}}}{name}" for name in ("UsernameToken", "Username", "Password"))
_TIMESTAMP, _CREATED, _EXPIRES = (f"{{{WSU}}}{name}" for name in ("Timestamp", "Created", "Expires"))
_TEXT, _DIGEST = "#PasswordText", "#PasswordDigest"
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")

Presented = Credentials | Certificate


class Proxies:
    """Addresses of reverse proxies that may say who is behind them: ``10.0.0.5, 192.168.0.0/24, ::1``."""

    def __init__(self, trusted: str) -> None:
        self._networks: list[IPv4Network | IPv6Network] = []
        for address in filter(None, (part.strip() for part in trusted.split(","))):
            try:
                self._networks.append(ip_network(address, strict=False))
            except ValueError:
                raise GatewayError("setting.invalid", name="trusted_proxies") from None

    def trust(self, address: str) -> bool:
        if not self._networks:
            return False
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._networks)

    def client(self, peer: str, forwarded: str | None) -> str:
        """The address of the client: the last one in X-Forwarded-For that is not a trusted proxy itself."""
        address = peer
        for hop in reversed((forwarded or "").split(",")):
            if not self.trust(address):
                break
            try:
                address = str(ip_address(hop.strip()))
            except ValueError:
                break
        return address


def presented(
    security: tuple[etree._Element, ...], headers: Mapping[str, str], certificate: str | None, now: datetime
) -> Presented:
    """The one credential of a call; ``certificate`` is what a trusted proxy has written, else ``None``.

    Raises ``access.no-credentials``, ``access.two-credentials``, ``access.security-header``,
    ``access.password-digest``, ``access.timestamp`` or ``access.certificate``.
    """
    if len(security) > 1:
        raise GatewayError("access.two-credentials")
    found: list[Presented] = []
    if security:
        found.extend(_tokens(security[0], now))
    if (authorization := headers.get("authorization")) is not None:
        found.append(_basic(authorization))
    if certificate is not None and certificate.strip():
        found.append(_certificate(certificate))
    if not found:
        raise GatewayError("access.no-credentials")
    if len(found) > 1:
        raise GatewayError("access.two-credentials")
    return found[0]


def _tokens(security: etree._Element, now: datetime) -> list[Presented]:
    stamps = [child for child in security if child.tag == _TIMESTAMP]
    tokens = [child for child in security if child.tag == _TOKEN]
    if len(stamps) + len(tokens) != len(security) or len(stamps) > 1:
        raise GatewayError("access.security-header")
    if len(tokens) > 1:
        raise GatewayError("access.two-credentials")
    if stamps:
        _check_timestamp(stamps[0], now)
    return [_token(token) for token in tokens]


def _token(token: etree._Element) -> Credentials:
    usernames = [child for child in token if child.tag == _USERNAME]
    passwords = [child for child in token if child.tag == _PASSWORD]
    if any(password.get("Type", _TEXT).endswith(_DIGEST) for password in passwords):
        raise GatewayError("access.password-digest")
    if len(usernames) != 1 or len(passwords) != 1 or len(usernames[0]) or len(passwords[0]):
        raise GatewayError("access.security-header")
    if not passwords[0].get("Type", _TEXT).endswith(_TEXT):
        raise GatewayError("access.security-header")
    return Credentials((usernames[0].text or "").strip(), passwords[0].text or "")


def _check_timestamp(stamp: etree._Element, now: datetime) -> None:
    created = [_moment(child) for child in stamp if child.tag == _CREATED]
    expires = [_moment(child) for child in stamp if child.tag == _EXPIRES]
    if len(created) > 1 or len(expires) > 1:
        raise GatewayError("access.security-header")
    late = any(moment + SKEW < now for moment in expires)
    early = any(moment - SKEW > now for moment in created)
    crossed = bool(created and expires) and expires[0] < created[0]
    if late or early or crossed:
        raise GatewayError("access.timestamp")


def _moment(element: etree._Element) -> datetime:
    """An ``xs:dateTime``; without a zone it is UTC, as WS-Security says."""
    try:
        moment = datetime.fromisoformat((element.text or "").strip())
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise GatewayError("access.timestamp") from None


def _basic(authorization: str) -> Credentials:
    scheme, _, given = authorization.strip().partition(" ")
    if scheme.lower() != "basic":
        raise GatewayError("access.no-credentials")
    try:
        login, colon, password = base64.b64decode(given.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, UnicodeError, ValueError):
        raise GatewayError("access.no-credentials") from None
    if not colon:
        raise GatewayError("access.no-credentials")
    return Credentials(login, password)


def _certificate(header: str) -> Certificate:
    fingerprint = header.replace(":", "").strip().lower()
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise GatewayError("access.certificate")
    return Certificate(fingerprint)
