"""One HTTP/1.1 connection: uvicorn's protocol with the deadlines and bounds that it lacks.

- headers have to arrive within ``header_seconds`` of the connection or of the last answer, however they trickle;
- headers, chunk extensions and trailers together stay under 64 KiB;
- a client that does not read its answer is cut off after ``write_seconds`` without progress;
- what is not HTTP is answered by a SOAP fault;
- an answer given before the whole body has come is followed by a short reading away, so that it gets through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from gateway.errors import GatewayError

HEADER_BYTES = 64 * 1024
LINGER_SECONDS = 2.0
LINGER_BYTES = 64 * 1024 * 1024

_OFFER = (b"connection", b"upgrade", b"http2-settings")


@dataclass(frozen=True, slots=True)
class Bounds:
    """``refusal`` makes status, request id and body of the answer to what never reaches the application."""

    header_seconds: float
    write_seconds: float
    connections: int
    refusal: Callable[[GatewayError], tuple[int, str, bytes]]


class Transport:
    """The transport of a connection whose ``close`` waits for a client that is still sending."""

    def __init__(self, transport: asyncio.Transport, unread: Callable[[], bool]) -> None:
        self._transport = transport
        self._unread = unread
        self.lingering = False
        self.discarded = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self.lingering or self._transport.is_closing()

    def close(self) -> None:
        if self.is_closing():
            return
        if not self._unread():
            self._transport.close()
            return
        self.lingering = True
        self._transport.resume_reading()
        self._transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER_SECONDS, self._transport.close)

    def discard(self, data: bytes) -> None:
        self.discarded += len(data)
        if self.discarded > LINGER_BYTES:
            self._transport.close()


class Connection(HttpToolsProtocol):
    """uvicorn makes one per connection; ``bounds`` is set by `bounded`."""

    bounds: Bounds
    transport: Any

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.transport = Transport(transport, self._receiving)
        self._header_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._idle_bytes = 0
        self._begun = False
        if len(self.connections) > self.bounds.connections:
            transport.abort()
            return
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timers()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """A client may close its side and still wait for the answer, but not in the middle of a request."""
        if self.transport.is_closing():
            return False
        if self._answering():
            self.cycle.keep_alive = False
            return True
        if self._begun:
            self._refuse(GatewayError("request.length"))
        return False

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            self.transport.discard(data)
            return
        self._idle_bytes += len(data)
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._go_on(data[upgrade.args[0] :])
            return
        except httptools.HttpParserError as error:
            self._refuse(GatewayError("request.length" if "Content-Length" in str(error) else "request.http"))
            return
        if self._idle_bytes > HEADER_BYTES and self._begun:
            self._refuse(GatewayError("request.headers", limit=HEADER_BYTES))

    def _go_on(self, rest: bytes) -> None:
        """An offer to change the protocol (Java asks for HTTP/2 so) is not taken up: the request is read without it.

        The parser stops after the headers of such a request, so another one gets them again without the offer.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(GatewayError("request.http"))
            return
        kept = [b"%s: %s\r\n" % header for header in self.headers if header[0] not in _OFFER]
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(b"%s %s HTTP/1.1\r\n%s\r\n%s" % (method, self.url, b"".join(kept), rest))

    def on_message_begin(self) -> None:
        self._begun = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._stop_header_timer()
        self._idle_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._idle_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self.parser.should_upgrade():
            return
        self._begun = False
        self._idle_bytes = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing() and not self.pipeline:
            self._await_headers()

    def pause_writing(self) -> None:
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(self.bounds.write_seconds, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def _receiving(self) -> bool:
        """Whether a request has begun and not ended."""
        return self._begun

    def _answering(self) -> bool:
        """Whether a request that came whole waits for its answer."""
        return self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body

    def _await_headers(self) -> None:
        self._stop_header_timer()
        self._header_timer = self.loop.call_later(self.bounds.header_seconds, self._headers_late)

    def _headers_late(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()

    def _stop_header_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _stop_timers(self) -> None:
        self._stop_header_timer()
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None

    def _refuse(self, error: GatewayError) -> None:
        """Answers what cannot reach the application, unless an earlier request of the connection is being answered."""
        cycle = self.cycle
        if self._answering():
            cycle.keep_alive = False
            return
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started or self.pipeline:
                self.transport.abort()
                return
        status, trace, body = self.bounds.refusal(error)
        head = (
            f"content-type: text/xml; charset=utf-8\r\ncontent-length: {len(body)}\r\n"
            f"x-request-id: {trace}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(STATUS_LINE[status] + head.encode() + body)
        self.transport.close()


def bounded(bounds: Bounds) -> type[Connection]:
    """The protocol class for a server with these bounds."""
    return type("BoundedConnection", (Connection,), {"bounds": bounds})
