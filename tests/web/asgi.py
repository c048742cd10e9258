"""An edge in this process with operations invented for the test, called without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest

from gateway.access import clients
from gateway.access.gate import Gate
from gateway.access.model import ClientKind
from gateway.domain.clock import Clock
from gateway.services.contract import Desk, Operation, Service
from gateway.services.edge import Edge
from gateway.services.types import STRING, maybe, needed
from gateway.settings import Settings
from gateway.store.engine import Store
from tests.serving import Answer, Login, envelope

NAMESPACE = "urn:test:v1"
PATH = "/soap/test/v1"
Handler = Callable[..., Any]
Messages = Sequence[dict[str, Any]]


def service(*operations: tuple[str, str, Handler]) -> Service:
    """A service of ``(name, kind, handler)``; all take and give one optional text."""
    return Service.of(
        "Test",
        PATH,
        NAMESPACE,
        "Испытание",
        tuple(
            Operation(
                name,
                cast(Any, kind),
                handler,
                (
                    *((needed("requestId", STRING, "Номер"),) if kind == "change" else ()),
                    maybe("text", STRING, "Текст"),
                ),
                (maybe("text", STRING, "Текст"),),
                name,
            )
            for name, kind, handler in operations
        ),
    )


@dataclass
class Bench:
    """The edge, and a client that may call the operations named like real ones."""

    edge: Edge
    desk: Desk
    login: Login

    async def send(self, messages: Messages, *, method: str = "POST", path: str = PATH, client: str = "192.0.2.1",
                   headers: Iterable[tuple[str, str]] = (("content-type", "text/xml"),)) -> Answer | None:  # fmt: skip
        """One request as ASGI messages; ``None`` if the edge sent nothing."""
        sent: list[dict[str, Any]] = []
        left = list(messages)

        async def receive() -> dict[str, Any]:
            if not left:
                await asyncio.Event().wait()
            return left.pop(0)

        async def take(message: Any) -> None:
            sent.append(dict(message))

        scope = {
            "type": "http", "method": method, "path": path, "query_string": b"", "client": (client, 1),
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        }  # fmt: skip
        await self.edge(scope, receive, cast(Callable[[Any], Awaitable[None]], take))
        if not sent:
            return None
        found = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], found, b"".join(message["body"] for message in sent[1:]))

    async def post(self, body: bytes, **given: Any) -> Answer:
        answer = await self.send([{"type": "http.request", "body": body, "more_body": False}], **given)
        assert answer is not None
        return answer

    async def call(self, operation: str, fields: str = "", **given: Any) -> Answer:
        body = f'<{operation} xmlns="{NAMESPACE}">{fields}</{operation}>'
        return await self.post(envelope(body, self.login.header), **given)


_gates: list[Gate] = []


@pytest.fixture
def close_gates() -> Iterator[None]:
    """Ends the threads of the gates that a test has made."""
    yield
    while _gates:
        _gates.pop().close()


def bench(store: Store, made: Service, settings: Settings | None = None) -> Bench:
    """Names of operations have to be among the rights: FindPerson, GetList, Ping, AddEntries, …"""
    settings = replace(settings or Settings(), guess_delay_seconds=0.05)
    with store.begin() as connection:
        granted = ("FindPerson", "GetList", "AddEntries")
        password = clients.add(connection, "tester", ClientKind.FUND, rights=granted)
    clock = Clock()
    gate = Gate(store, settings, clock)
    _gates.append(gate)
    absent: Any = None
    desk = Desk(store, settings, clock, absent, absent, gate, "0", (made,))
    return Bench(Edge(desk), desk, Login("tester", password))
