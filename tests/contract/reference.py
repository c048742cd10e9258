"""The same contract served by spyne itself: what the gateway's own decoder and encoder are compared with."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

from lxml import etree

from gateway.services import spyne_import  # noqa: F401 - makes spyne importable
from gateway.services.contract import Operation, Service
from gateway.services.spyne_types import application
from gateway.services.types import Field, Model

SOAP = "http://schemas.xmlsoap.org/soap/envelope/"


class Reference:
    """A spyne application around a service; `call` sends an operation element and says what spyne saw and answered."""

    def __init__(self, service: Service) -> None:
        from spyne.server.wsgi import WsgiApplication

        self.service = service
        self._seen: list[tuple[Any, ...]] = []
        self._answer: Any = None
        self._app = application(service, self._run)
        self._wsgi = WsgiApplication(self._app)

    def _run(self, operation: Operation, arguments: tuple[Any, ...]) -> Any:
        self._seen.append(arguments)
        return self._answer

    def call(self, element: bytes, answer: Any = None) -> tuple[tuple[Any, ...] | None, bytes]:
        """The arguments that spyne decoded (None if it refused the request) and the bytes that it answered."""
        self._seen.clear()
        self._answer = answer
        body = f'<s:Envelope xmlns:s="{SOAP}"><s:Body>'.encode() + element + b"</s:Body></s:Envelope>"
        environ = {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": self.service.path,
            "SCRIPT_NAME": "",
            "QUERY_STRING": "",
            "SERVER_NAME": "reference",
            "SERVER_PORT": "80",
            "wsgi.url_scheme": "http",
            "CONTENT_TYPE": "text/xml; charset=utf-8",
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.input": io.BytesIO(body),
        }
        start: Callable[..., None] = lambda status, headers: None  # noqa: E731
        out = b"".join(self._wsgi(environ, start))
        return (self._seen[0] if self._seen else None), out

    def type_of(self, field: Field) -> Any:
        """The spyne class of a complex field, by which values are made."""
        assert isinstance(field.type, Model)
        return self._app.interface.classes[f"{{{self.service.namespace}}}{field.type.name}"]

    def value(self, field: Field, value: Any) -> Any:
        """A value of the gateway as spyne wants it."""
        if value is None:
            return None
        if field.many:
            return [self._one(field, one) for one in value]
        return self._one(field, value)

    def _one(self, field: Field, value: Any) -> Any:
        if not isinstance(field.type, Model):
            return [value] if field.type.base == "base64Binary" else value
        return self.type_of(field)(
            **{inner.name: self.value(inner, value.get(inner.attribute)) for inner in field.type.fields}
        )


@cache
def reference(service: Service) -> Reference:
    return Reference(service)


def plain(field: Field, value: Any) -> Any:
    """What spyne decoded, in the form of the gateway's decoder."""
    if field.many:
        return tuple(plain_one(field, one) for one in value or ())
    return None if value is None else plain_one(field, value)


def plain_one(field: Field, value: Any) -> Any:
    if not isinstance(field.type, Model):
        return b"".join(value) if field.type.base == "base64Binary" else value
    return SimpleNamespace(**{one.attribute: plain(one, getattr(value, one.name)) for one in field.type.fields})


def canonical(data: bytes) -> str:
    """Canonical XML 2.0 with prefixes rewritten: spyne writes a prefix where the gateway has a default namespace."""
    return etree.canonicalize(data.decode(), rewrite_prefixes=True)
