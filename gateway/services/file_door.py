"""The HTTP door of files: GET, HEAD and PUT at ``/files/{id}``, with the same clients, rights and records as SOAP.

A body is read and an answer is sent on the event loop in pieces; a thread and a connection are held only while a piece
is stored or read, so that slow clients hold neither. A file that is put appears when its last byte has come, and not
before; a try that broke off is simply made again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from time import perf_counter
from typing import Any, TypeVar
from urllib.parse import parse_qs

from sqlalchemy import Connection

from gateway import logs, metrics
from gateway.access import calls
from gateway.access.model import Attempt, Call, Caller, Credentials, Denied, Outcome
from gateway.errors import GatewayError, Side
from gateway.operations import files
from gateway.operations.model import FileInfo
from gateway.services import credentials, file_headers, ownership, transfer
from gateway.services.contract import Desk
from gateway.services.edge import Gone, Receive, Scope, Send
from gateway.services.file_headers import Headers
from gateway.services.file_putting import Putting
from gateway.services.file_visit import SERVICE, Visit
from gateway.store import failures

T = TypeVar("T")

THREADS = 3
"""Threads of a process that store and read pieces; each may take a connection."""

TRANSFERS = 128
TRANSFERS_OF_CLIENT = 32
"""Files on their way at once in a process, in all and of one client."""

SLOWEST = 16 * 1024
"""Bytes a second that a transfer has to reach on the whole."""

_GIVEN_BYTES = 256 * 1024

_log = logging.getLogger("gateway.calls")


class FileDoor:
    """The ASGI application under ``/files/``; make it in the process that serves, `close` ends its threads."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._putting = Putting(desk)
        self._proxies = credentials.Proxies(desk.settings.trusted_proxies)
        self._certificate_header = desk.settings.certificate_header.lower()
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="files")
        self._transfers: Counter[int] = Counter()
        self._piece = min(files.PART_BYTES, desk.settings.file_part_bytes)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit = self._visit(scope)
        logs.trace.set(visit.trace)
        try:
            await self._serve(visit, receive, send)
        except Gone:
            self._leave_line(visit, "клиент отключился")
        except Exception as error:
            await self._refuse(visit, error, send)
            self._leave_line(visit)
        else:
            self._leave_line(visit)

    def _visit(self, scope: Scope) -> Visit:
        headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            headers[key] = f"{headers[key]},{text}" if key in headers else text
        peer = scope["client"][0] if scope.get("client") else ""
        asked = parse_qs(scope["query_string"].decode("latin-1"))
        return Visit(
            method=scope["method"],
            path=scope["path"],
            organisation=asked.get("organisation", [None])[-1],
            headers=headers,
            address=self._proxies.client(peer, headers.get("x-forwarded-for")),
            certificate=headers.get(self._certificate_header) if self._proxies.trust(peer) else None,
        )

    async def _serve(self, visit: Visit, receive: Receive, send: Send) -> None:
        if not visit.operation:
            raise GatewayError("file.method")
        caller = await self._caller(visit)
        with self._turn(caller):
            await self._hop(visit, self._let_in, visit, caller)
            if visit.method == "PUT":
                file = await self._take(visit, receive)
                body = file_headers.described(file)
                await self._send(visit, [(b"content-type", b"application/json; charset=utf-8")], body, send)
            else:
                await self._give(visit, receive, send)

    # who -------------------------------------------------------------------------------------------------------------

    async def _caller(self, visit: Visit) -> Caller:
        gate = self._desk.gate
        visit.presented = credentials.presented((), visit.headers, visit.certificate, self._desk.clock.now())
        remembered = gate.remembered(visit.presented, visit.address)
        if remembered is not None:
            return remembered
        return await asyncio.wrap_future(gate.submit(visit.presented, visit.address))

    @contextmanager
    def _turn(self, caller: Caller) -> Iterator[None]:
        """Counts a transfer. Raises ``server.busy`` where too many are on their way."""
        mine = self._transfers[caller.client_id]
        if mine >= TRANSFERS_OF_CLIENT or self._transfers.total() >= TRANSFERS:
            raise GatewayError("server.busy", retry_after=1)
        self._transfers[caller.client_id] += 1
        try:
            yield
        finally:
            self._transfers[caller.client_id] -= 1
            self._transfers += Counter()  # drops clients that have none

    def _let_in(self, visit: Visit, caller: Caller) -> None:
        """In a thread: rate and right."""
        visit.known = Call(
            caller=caller,
            service=SERVICE,
            operation=visit.operation,
            trace=visit.trace,
            at=self._desk.clock.now(),
            address=visit.address,
        )
        self._desk.gate.take(caller)
        if not caller.may(visit.operation):
            raise GatewayError("access.forbidden")

    async def _hop(self, visit: Visit, work: Callable[..., T], *args: Any) -> T:
        def traced() -> T:
            logs.trace.set(visit.trace)
            return work(*args)

        return await asyncio.get_running_loop().run_in_executor(self._threads, traced)

    # giving ----------------------------------------------------------------------------------------------------------

    async def _give(self, visit: Visit, receive: Receive, send: Send) -> None:
        file, chosen = await self._hop(visit, self._open, visit)
        start, end = chosen or (0, file.size)
        headers = file_headers.of_content(file)
        visit.status = 304 if file_headers.unchanged(visit.headers, file) else 206 if chosen else 200
        if chosen:
            headers.append((b"content-range", b"bytes %d-%d/%d" % (start, end - 1, file.size)))
        if visit.method == "HEAD" or visit.status == 304:
            await self._send(visit, headers, b"", send, None if visit.status == 304 else end - start)
            return
        gone = asyncio.create_task(_until_gone(receive))
        try:
            async with asyncio.timeout(self._desk.settings.write_seconds + (end - start) / SLOWEST):
                await self._start(visit, headers, end - start, send)
                for offset in range(start, end, _GIVEN_BYTES):
                    content = await self._hop(visit, self._read, file, offset, min(end, offset + _GIVEN_BYTES))
                    if gone.done():
                        raise Gone
                    visit.bytes_out += len(content)
                    await send({"type": "http.response.body", "body": content, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TimeoutError:
            raise Gone from None
        finally:
            gone.cancel()

    def _open(self, visit: Visit) -> tuple[FileInfo, tuple[int, int] | None]:
        """In a thread: the file and the range that is asked of it, with the record of the reading."""

        def opened(connection: Connection) -> tuple[FileInfo, tuple[int, int] | None]:
            call = visit.call
            file = ownership.file_of(connection, call, str(visit.file_id))
            visit.size = file.size
            unchanged = file_headers.unchanged(visit.headers, file)
            # a range is asked of GET alone (RFC 9110, section 14.2)
            chosen = None if unchanged or visit.method == "HEAD" else file_headers.range_of(visit.headers, file)
            transfer.note(call, file)
            if chosen:
                call.details |= {"offset": chosen[0], "length": chosen[1] - chosen[0]}
            if visit.method == "HEAD" or unchanged:
                call.details["content"] = False
            return file, chosen

        return calls.read(self._desk.store, visit.call, opened)

    def _read(self, file: FileInfo, start: int, end: int) -> bytes:
        with self._desk.store.begin() as connection:
            return files.read(connection, file.file_id, start, end - start)

    # taking ----------------------------------------------------------------------------------------------------------

    async def _take(self, visit: Visit, receive: Receive) -> FileInfo:
        """The whole body into a file; 201 for a new one, 200 for one that was there with the same content."""
        declared, limit = visit.headers.get("content-length", ""), self._desk.settings.file_bytes
        if declared.isdecimal() and int(declared[:20]) > limit:
            raise GatewayError("file.too-large", limit=limit)
        if visit.headers.get("content-encoding", "identity").lower() != "identity":
            raise GatewayError("request.compressed")
        coming = await self._hop(visit, self._putting.begin, visit)
        buffer = bytearray()
        while not visit.whole:
            buffer += await self._received(visit, receive)
            if visit.bytes_in > limit:
                raise GatewayError("file.too-large", limit=limit)
            while len(buffer) > self._piece:
                await self._hop(visit, self._putting.store, visit, coming, bytes(buffer[: self._piece]))
                del buffer[: self._piece]
        visit.status = 200 if coming.known else 201
        return await self._hop(visit, self._putting.finish, visit, coming, bytes(buffer))

    async def _received(self, visit: Visit, receive: Receive) -> bytes:
        """What has come next. Raises ``request.timeout`` for a body that stops or is slower than `SLOWEST` in all."""
        seconds = self._desk.settings.body_seconds
        began = perf_counter()
        try:
            async with asyncio.timeout(min(seconds, seconds + visit.bytes_in / SLOWEST - visit.waited)):
                message = await receive()
        except TimeoutError:
            raise GatewayError("request.timeout", limit=seconds) from None
        if message["type"] != "http.request":
            raise Gone
        visit.waited += perf_counter() - began
        content: bytes = message.get("body", b"")
        visit.bytes_in += len(content)
        visit.whole = not message.get("more_body", False)
        return content

    # its answer ------------------------------------------------------------------------------------------------------

    async def _refuse(self, visit: Visit, error: Exception, send: Send) -> None:
        """The refusal with its record; an answer that has begun is broken off. A wrong password has to wait."""
        named = failures.named(error)
        if named is None:
            _log.error("внутренняя ошибка вызова", exc_info=error)
            named = GatewayError("server.error")
        elif named.kind.side is Side.SERVER and named is not error:
            _log.warning("база данных не ответила", exc_info=error)
        visit.code = named.code
        record = visit.known or (self._attempt(visit) if named.code.startswith("access.") else None)
        if record is not None:
            await self._hop(visit, calls.refuse, self._desk.store, record, named)
        if visit.begun:
            return
        if isinstance(named, Denied):
            await asyncio.sleep(named.delay)
        visit.status = file_headers.status_of(named)
        headers, body = file_headers.refusal(named, visit.trace, visit.size)
        await self._send(visit, headers, body, send)

    @staticmethod
    def _attempt(visit: Visit) -> Attempt:
        login = visit.presented.login if isinstance(visit.presented, Credentials) else None
        return Attempt(SERVICE, visit.operation, visit.trace, visit.address, login)

    async def _send(self, visit: Visit, headers: Headers, body: bytes, send: Send, length: int | None = None) -> None:
        """A whole answer; ``length`` is what HEAD says of a body that is not sent."""
        await self._start(visit, headers, len(body) if length is None else length, send)
        visit.bytes_out = 0 if visit.method == "HEAD" else len(body)
        sent = b"" if visit.method == "HEAD" else body
        await send({"type": "http.response.body", "body": sent, "more_body": False})

    @staticmethod
    async def _start(visit: Visit, headers: Headers, length: int, send: Send) -> None:
        headers = [
            *headers,
            (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
            (b"x-request-id", visit.trace.encode()),
        ]
        if visit.status != 304:
            headers.append((b"content-length", b"%d" % length))
        if visit.method == "PUT" and not visit.whole:
            headers.append((b"connection", b"close"))
        visit.begun = True
        await send({"type": "http.response.start", "status": visit.status, "headers": headers})

    def _leave_line(self, visit: Visit, message: str = "вызов") -> None:
        seconds = perf_counter() - visit.since
        outcome = Outcome.OK
        if visit.code is not None:
            outcome = Outcome.FAULT if visit.code.startswith("server.") else Outcome.REFUSED
        metrics.count_call(SERVICE, visit.operation, outcome.value, seconds)
        _log.info(
            message,
            extra={
                "service": SERVICE,
                "operation": visit.operation,
                "client": visit.known.caller.login if visit.known else None,
                "address": visit.address,
                "outcome": outcome.value,
                "code": visit.code,
                "status": visit.status,
                "milliseconds": round(seconds * 1000, 1),
                "bytes": {"in": visit.bytes_in, "out": visit.bytes_out},
            },
        )


async def _until_gone(receive: Receive) -> None:
    """Returns when the client has left; what it still sends is dropped."""
    while (await receive())["type"] != "http.disconnect":
        pass
