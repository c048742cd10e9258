"""The guarding edge of the SOAP services: bytes from strangers become calls of operations, and every failure a fault.

A body is read on the event loop, counted and under a deadline, so that slow clients hold no thread. Then one hop into a
few threads parses, authenticates from memory, checks rights and schema and runs the operation. A secret that is not
remembered is verified by the gate in between. What waits is bounded in calls and in bytes; beyond it the answer is
``server.busy``. Nothing of a body reaches a log or a fault.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, TypeVar
from uuid import uuid4

from lxml import etree

from gateway import logs, metrics
from gateway.access import calls
from gateway.access.model import Attempt, Call, Caller, Credentials, Denied, Outcome
from gateway.errors import GatewayError, Side
from gateway.formats import xml
from gateway.services import credentials, envelope
from gateway.services.contract import Desk, Operation, Service, fault, perform
from gateway.store import failures

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
T = TypeVar("T")

WAITING_PER_THREAD = 20
"""Calls that may be in the threads or wait for them, per thread."""

BODIES_HELD = 32
"""How many bodies of the largest size a process holds at once, requests and unread answers together."""

_PIECE = 128 * 1024
"""Longer answers leave in pieces, so that a slow reader is judged by each of them."""

_STATUS = {
    "request.http": 400,
    "request.length": 400,
    "request.method": 405,
    "request.timeout": 408,
    "request.too-large": 413,
    "request.compressed": 415,
    "request.content-type": 415,
    "request.multipart": 415,
    "request.headers": 431,
    "server.busy": 503,
    "server.database": 503,
}
"""Where HTTP has a word of its own; every other fault is 500, as SOAP 1.1 wants it."""

_log = logging.getLogger("gateway.calls")


class Gone(Exception):
    """The client has left before its request was whole."""


@dataclass(slots=True)
class Arrival:
    """A call on its way through the edge, for its answer, its record and its line in the log."""

    service: Service
    method: str
    headers: Mapping[str, str]
    address: str
    certificate: str | None
    trace: str = field(default_factory=lambda: uuid4().hex)
    since: float = field(default_factory=perf_counter)
    known: bool = True
    operation: str = ""
    caller: Caller | None = None
    presented: credentials.Presented | None = None
    call: Call | None = None
    bytes_in: int = 0
    whole: bool = False
    code: str | None = None
    status: int = 200


@dataclass(frozen=True, slots=True)
class Unverified:
    """A call whose secret is not remembered: it goes on with ``operation`` and ``element`` once the gate knows it."""

    presented: credentials.Presented
    operation: Operation
    element: etree._Element


def status_of(error: GatewayError) -> int:
    """The HTTP status of a fault."""
    return _STATUS.get(error.code, 500)


class Edge:
    """The ASGI application under ``/soap/``; make it in the process that serves, `close` ends its threads."""

    def __init__(self, desk: Desk) -> None:
        settings = desk.settings
        self._desk = desk
        self._services = {service.path: service for service in desk.services}
        self._limits = xml.Limits(
            settings.xml_depth, settings.xml_elements, settings.xml_attributes, settings.xml_name_chars
        )
        self._proxies = credentials.Proxies(settings.trusted_proxies)
        self._certificate_header = settings.certificate_header.lower()
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="calls")
        self._most_calls = settings.threads * WAITING_PER_THREAD
        self._calls = 0
        self._most_bytes = settings.body_bytes * BODIES_HELD
        self._bytes = 0

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrival = self._arrival(scope)
        logs.trace.set(arrival.trace)
        refusal: GatewayError | None = None
        try:
            answer = await self._answer(arrival, receive)
        except Gone:
            self._leave_line(arrival, 0, "клиент отключился")
            return
        except Exception as error:
            refusal = self._refusal(error)
            answer = await self._refused(arrival, refusal)
        self._leave_line(arrival, len(answer))
        await self._send(arrival, answer, refusal, send)

    def _arrival(self, scope: Scope) -> Arrival:
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            headers[key] = f"{headers[key]},{text}" if key in headers else text
        peer = scope["client"][0] if scope.get("client") else ""
        service = self._services.get(scope["path"])
        return Arrival(
            service=service or self._desk.services[0],
            known=service is not None,
            method=scope["method"],
            headers=headers,
            address=self._proxies.client(peer, headers.get("x-forwarded-for")),
            certificate=headers.get(self._certificate_header) if self._proxies.trust(peer) else None,
        )

    # a call ----------------------------------------------------------------------------------------------------------

    async def _answer(self, arrival: Arrival, receive: Receive) -> bytes:
        if not arrival.known:
            raise GatewayError("request.operation")
        if arrival.method != "POST":
            raise GatewayError("request.method")
        charset = envelope.check_http(arrival.headers)
        body = await self._body(arrival, receive)
        try:
            entered = await self._hop(self._enter, arrival, body, charset)
        finally:
            self._bytes -= len(body)
            del body
        if isinstance(entered, bytes):
            return entered
        verified = self._desk.gate.submit(entered.presented, arrival.address)
        caller = await asyncio.wrap_future(verified)
        return await self._hop(self._run, arrival, caller, entered.operation, entered.element)

    async def _body(self, arrival: Arrival, receive: Receive) -> bytes:
        """The whole body, counted into the bytes held.

        Raises ``request.too-large`` before more than the limit is taken, ``request.timeout`` and ``server.busy``.
        """
        settings = self._desk.settings
        limit = settings.body_bytes
        declared = arrival.headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > limit:
            raise GatewayError("request.too-large", limit=limit)
        if self._bytes >= self._most_bytes:
            raise GatewayError("server.busy", retry_after=1)
        parts: list[bytes] = []
        taken = 0
        try:
            async with asyncio.timeout(settings.body_seconds):
                while not arrival.whole:
                    message = await receive()
                    if message["type"] != "http.request":
                        raise Gone
                    part = message.get("body", b"")
                    taken += len(part)
                    self._bytes += len(part)
                    arrival.bytes_in = taken
                    arrival.whole = not message.get("more_body", False)
                    if taken > limit:
                        raise GatewayError("request.too-large", limit=limit)
                    parts.append(part)
        except TimeoutError:
            self._bytes -= taken
            raise GatewayError("request.timeout", limit=settings.body_seconds) from None
        except BaseException:
            self._bytes -= taken
            raise
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _hop(self, work: Callable[..., T], *args: Any) -> T:
        """Runs ``work`` in the threads; raises ``server.busy`` at once when too much waits for them."""
        if self._calls >= self._most_calls:
            raise GatewayError("server.busy", retry_after=1)
        self._calls += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)
        finally:
            self._calls -= 1

    def _enter(self, arrival: Arrival, body: bytes, charset: str | None) -> bytes | Unverified:
        """In a thread: bytes to a call of a known client, which is run at once, or to an unverified one."""
        logs.trace.set(arrival.trace)
        read = envelope.read(xml.parse(body, self._limits, charset))
        operation = arrival.service.operation_of(str(read.operation.tag))
        if operation is None:
            raise GatewayError("request.operation")
        arrival.operation = operation.name
        action = arrival.headers.get("soapaction")
        envelope.check_action(action, operation.name, arrival.service.soap_action(operation))
        now = self._desk.clock.now()
        arrival.presented = credentials.presented(read.security, arrival.headers, arrival.certificate, now)
        caller = self._desk.gate.remembered(arrival.presented, arrival.address)
        if caller is None:
            return Unverified(arrival.presented, operation, read.operation)
        return self._run(arrival, caller, operation, read.operation)

    def _run(self, arrival: Arrival, caller: Caller, operation: Operation, element: etree._Element) -> bytes:
        """In a thread: rate, right, schema, and the operation itself. A refusal leaves its record."""
        logs.trace.set(arrival.trace)
        desk, service = self._desk, arrival.service
        arrival.caller = caller
        call = arrival.call = Call(
            caller=caller,
            service=service.name,
            operation=operation.name,
            trace=arrival.trace,
            at=desk.clock.now(),
            address=arrival.address,
        )
        try:
            desk.gate.take(caller)
            if not operation.open and not caller.may(operation.name):
                raise GatewayError("access.forbidden")
            if wrong := service.validate(element):
                raise GatewayError("request.schema", fields=wrong)
            return perform(desk, service, operation, call, element)
        except Exception as error:
            calls.refuse(desk.store, call, failures.named(error) or error)
            raise

    # its answer -------------------------------------------------------------------------------------------------------

    @staticmethod
    def _refusal(error: Exception) -> GatewayError:
        named = failures.named(error)
        if named is None:
            _log.error("внутренняя ошибка вызова", exc_info=error)
            return GatewayError("server.error")
        if named.kind.side is Side.SERVER and named is not error:
            _log.warning("база данных не ответила", exc_info=error)
        return named

    async def _refused(self, arrival: Arrival, refusal: GatewayError) -> bytes:
        """The fault; a failed authentication leaves its record first, and a wrong password has to wait."""
        arrival.code, arrival.status = refusal.code, status_of(refusal)
        if arrival.call is None and arrival.operation and refusal.code.startswith("access."):
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._threads, calls.refuse, self._desk.store, self._attempt(arrival), refusal)
        if isinstance(refusal, Denied):
            await asyncio.sleep(refusal.delay)
        return fault(arrival.service, refusal, arrival.trace)

    @staticmethod
    def _attempt(arrival: Arrival) -> Attempt:
        login = arrival.presented.login if isinstance(arrival.presented, Credentials) else None
        return Attempt(arrival.service.name, arrival.operation, arrival.trace, arrival.address, login)

    def _leave_line(self, arrival: Arrival, bytes_out: int, message: str = "вызов") -> None:
        seconds = perf_counter() - arrival.since
        outcome = Outcome.OK
        if arrival.code is not None:
            outcome = Outcome.FAULT if arrival.code.startswith("server.") else Outcome.REFUSED
        metrics.count_call(arrival.service.name, arrival.operation, outcome.value, seconds)
        _log.info(
            message,
            extra={
                "service": arrival.service.name,
                "operation": arrival.operation,
                "client": arrival.caller.login if arrival.caller else None,
                "address": arrival.address,
                "outcome": outcome.value,
                "code": arrival.code,
                "status": arrival.status,
                "milliseconds": round(seconds * 1000, 1),
                "bytes": {"in": arrival.bytes_in, "out": bytes_out},
            },
        )

    async def _send(self, arrival: Arrival, answer: bytes, refusal: GatewayError | None, send: Send) -> None:
        headers = [
            (b"content-type", b"text/xml; charset=utf-8"),
            (b"content-length", str(len(answer)).encode()),
            (b"x-request-id", arrival.trace.encode()),
        ]
        if refusal is not None and refusal.retry_after is not None:
            headers.append((b"retry-after", str(refusal.retry_after).encode()))
        if arrival.status == 405:
            headers.append((b"allow", b"POST"))
        if not arrival.whole:
            headers.append((b"connection", b"close"))
        self._bytes += len(answer)
        try:
            await send({"type": "http.response.start", "status": arrival.status, "headers": headers})
            for start in range(0, max(1, len(answer)), _PIECE):
                piece = answer if len(answer) <= _PIECE else answer[start : start + _PIECE]
                more = start + _PIECE < len(answer)
                await send({"type": "http.response.body", "body": piece, "more_body": more})
        finally:
            self._bytes -= len(answer)
