"""The checks of a SOAP 1.1 envelope and of the HTTP headers around it, as WS-I Basic Profile 1.1 narrows them.

Messages are literal: ``href`` and ``id`` of SOAP encoding mean nothing here, and the schema of a service has no place
for them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from lxml import etree

from gateway.errors import GatewayError

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
SOAP_12 = "http://www.w3.org/2003/05/soap-envelope"
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"

_ENVELOPE, _HEADER, _BODY = (f"{{{SOAP}}}{name}" for name in ("Envelope", "Header", "Body"))
_ENVELOPE_12 = f"{{{SOAP_12}}}Envelope"
_MUST_UNDERSTAND, _ACTOR = f"{{{SOAP}}}mustUnderstand", f"{{{SOAP}}}actor"
_SECURITY = f"{{{WSSE}}}Security"
_OURS = ("", "http://schemas.xmlsoap.org/soap/actor/next")
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([^\";\s]*)\"?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What an envelope carries for us: the element of the operation and the headers ``wsse:Security``."""

    operation: etree._Element
    security: tuple[etree._Element, ...]


def check_http(headers: Mapping[str, str]) -> str | None:
    """The charset that Content-Type names, if any.

    Raises ``request.compressed``, ``request.multipart``, ``request.soap-version`` (the type of SOAP 1.2) or
    ``request.content-type``.
    """
    if headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise GatewayError("request.compressed")
    given = headers.get("content-type", "")
    kind = given.split(";", 1)[0].strip().lower()
    if kind.startswith("multipart/"):
        raise GatewayError("request.multipart")
    if kind == "application/soap+xml":
        raise GatewayError("request.soap-version")
    if kind != "text/xml":
        raise GatewayError("request.content-type")
    charset = _CHARSET.search(given)
    return charset[1] if charset else None


def read(root: etree._Element) -> Envelope:
    """Takes an envelope apart.

    Raises ``request.soap-version``, ``request.envelope``, ``request.must-understand`` or ``request.body``.
    """
    if root.tag == _ENVELOPE_12:
        raise GatewayError("request.soap-version")
    if root.tag != _ENVELOPE:
        other = isinstance(root.tag, str) and root.tag.endswith("}Envelope")
        raise GatewayError("request.soap-version" if other else "request.envelope")
    tags = [child.tag for child in root]
    if tags not in ([_BODY], [_HEADER, _BODY]) or _has_text(root):
        raise GatewayError("request.envelope")
    security = _security(root[0]) if len(tags) == 2 else ()
    body = root[-1]
    if len(body) != 1 or _has_text(body):
        raise GatewayError("request.body")
    return Envelope(body[0], security)


def _has_text(element: etree._Element) -> bool:
    return any(text and not text.isspace() for text in (element.text, *(child.tail for child in element)))


def _security(header: etree._Element) -> tuple[etree._Element, ...]:
    """The security headers meant for us; any other header that has to be understood is refused."""
    found = []
    for block in header:
        if block.get(_ACTOR, "").strip() not in _OURS:
            continue
        if block.tag == _SECURITY:
            found.append(block)
        elif block.get(_MUST_UNDERSTAND, "").strip() in ("1", "true"):
            raise GatewayError("request.must-understand")
    return tuple(found)


def check_action(given: str | None, *right: str) -> None:
    """SOAPAction may be absent, empty or one of ``right``, in quotes or not; raises ``request.action``."""
    action = (given or "").strip()
    if len(action) >= 2 and action[0] == action[-1] == '"':
        action = action[1:-1].strip()
    if action and action not in right:
        raise GatewayError("request.action")
