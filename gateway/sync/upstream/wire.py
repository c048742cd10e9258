"""HTTP below the clients: time-outs always, retries only of what is safe, caps on what comes back, and the breaker.

An answer is kept in a temporary file, never whole in memory, and counted after decompression.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from typing import IO, Protocol

import requests
from requests.exceptions import ConnectionError as Broken
from requests.exceptions import RequestException

from gateway.errors import GatewayError

ATTEMPTS = 4
_PIECE = 64 * 1024
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 20.0
_IN_MEMORY = 1 << 20
_FAULT = 500
_AGAIN = frozenset({408, 425, 429, _FAULT, 502, 503, 504})


class Breaker(Protocol):
    """Who decides whether a service that failed again and again is asked at all."""

    def allow(self) -> bool: ...

    def succeeded(self) -> None: ...

    def failed(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer as it came: ``body`` stands at its beginning, ``kind`` is its content type with parameters."""

    status: int
    kind: Message
    body: IO[bytes]

    def as_stated(self) -> None:
        """Only a SOAP fault comes with another status than 200: whoever has read something else calls this.

        Raises ``upstream.unusable``.
        """
        if self.status != requests.codes.ok:
            raise _unusable(self.status)


@dataclass(frozen=True, slots=True)
class Wire:
    """A service at an address. ``token`` is read anew for each call, so that a changed file counts at once."""

    url: str
    breaker: Breaker
    connect_seconds: float = 5.0
    read_seconds: float = 60.0
    most_bytes: int = 1 << 30
    token: Callable[[], str | None] = lambda: None
    session: requests.Session = field(default_factory=lambda: _direct())
    pause: Callable[[float], object] = time.sleep
    attempts: int = ATTEMPTS

    @contextmanager
    def call(self, action: str, envelope: bytes, *, safe: bool, most_bytes: int | None = None) -> Iterator[Raw]:
        """Sends a SOAP 1.1 call; ``safe`` calls only read and are repeated after failures that may pass.

        What comes is an answer with HTTP 200, or XML with HTTP 500, which should be a SOAP fault. Raises ``upstream.down``
        (no connection, time-out, HTTP 5xx, breaker open), ``upstream.fault`` for HTTP 401 and 403, ``upstream.unusable``
        for another status or an answer over the cap. Only the first counts for the breaker: in all others the service
        is there and answers.
        """
        token = self.token()
        if not self.breaker.allow():
            raise GatewayError("upstream.down", retry_after=60)
        with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as body:
            try:
                status, kind = self._tried(action, envelope, token, body, safe, most_bytes or self.most_bytes)
            except GatewayError as error:
                if error.code == "upstream.down":
                    self.breaker.failed()
                else:
                    self.breaker.succeeded()
                raise
            self.breaker.succeeded()
            body.seek(0)
            yield Raw(status, kind, body)

    def _tried(
        self, action: str, envelope: bytes, token: str | None, body: IO[bytes], safe: bool, most: int
    ) -> tuple[int, Message]:
        attempt = 1
        while True:
            body.seek(0)
            body.truncate()
            try:
                status, kind = self._once(action, envelope, token, body, most)
            except RequestException as error:
                # before a connection stands nothing was asked, so that any call may be repeated
                again = safe or (isinstance(error, Broken) and _never_sent(error))
                if not again or attempt >= self.attempts:
                    raise GatewayError("upstream.down", retry_after=60) from None
            else:
                if status == requests.codes.ok or (status == _FAULT and _is_xml(kind)):
                    return status, kind
                if status in (401, 403):
                    raise GatewayError("upstream.fault")
                if status not in _AGAIN:
                    raise _unusable(status)
                if not safe or attempt >= self.attempts:
                    raise GatewayError("upstream.down", retry_after=60)
            ceiling = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt)
            self.pause(random.uniform(ceiling / 2, ceiling))  # noqa: S311
            attempt += 1

    def _once(self, action: str, envelope: bytes, token: str | None, body: IO[bytes], most: int) -> tuple[int, Message]:
        headers = {
            "Content-Type": "text/xml; charset=utf-8",
            "SOAPAction": f'"{action}"',
            "Accept": "text/xml, multipart/related",
        }
        if token:
            headers["X-Auth-Token"] = token
        with self.session.post(
            self.url, data=envelope, headers=headers, timeout=(self.connect_seconds, self.read_seconds), stream=True,
            allow_redirects=False,
        ) as answer:  # fmt: skip
            deadline = time.monotonic() + self.read_seconds * 10
            for piece in answer.iter_content(_PIECE):
                most -= len(piece)
                if most < 0:
                    raise GatewayError("upstream.unusable", what="ответ больше допустимого")
                if time.monotonic() > deadline:
                    raise requests.exceptions.ReadTimeout
                body.write(piece)
            kind = Message()
            kind["content-type"] = answer.headers.get("content-type", "")
            return answer.status_code, kind


def _unusable(status: int) -> GatewayError:
    return GatewayError("upstream.unusable", what=f"HTTP {status}")


def _direct() -> requests.Session:
    """Past any proxy and password file of the environment: the service stands in a closed network."""
    session = requests.Session()
    session.trust_env = False
    return session


def _never_sent(error: Broken) -> bool:
    return "NewConnectionError" in repr(error) or "ConnectTimeout" in repr(error)


def _is_xml(kind: Message) -> bool:
    return kind.get_content_type() in ("text/xml", "application/xml", "application/soap+xml", "multipart/related")
