"""A service over HTTP that says what a test tells it to: answers of ФЕРЗЛ written by hand, whole or spoilt."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from lxml import etree

from gateway.domain.persons import make_enp
from gateway.sandbox.ferzl import replies
from gateway.sync.upstream.ferzl import Ferzl
from gateway.sync.upstream.wire import Breaker, Wire

BIRTH = date(1956, 10, 2)
ENP, OTHER_ENP = make_enp(40, BIRTH, 1, 11), make_enp(40, BIRTH, 1, 12)
OIP = "100000000001"
CLINIC = "400001"
NIL = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:nil="true"'
DEATH = "<t:deathDate>2026-10-14</t:deathDate>"


@dataclass(frozen=True)
class Said:
    """An answer: the inside of the message, or ``whole`` instead of an envelope."""

    inside: str = ""
    status: int = 200
    kind: str = "text/xml; charset=utf-8"
    whole: bytes | None = None
    request_id: str | None = None
    """What the answer repeats as the number of the question; the right one if None."""


@dataclass(frozen=True)
class Question:
    """What was asked: the operation and the message."""

    operation: str
    namespace: str
    message: etree._Element

    def value(self, name: str) -> str | None:
        return self.message.findtext(f".//{{*}}{name}")


@dataclass
class Spoken:
    """The service: what it is to say, and what it was asked."""

    url: str
    say: Callable[[Question], Said | None] = field(default=lambda _: Said())
    asked: list[Question] = field(default_factory=list)

    def says(self, inside: str = "", **values: Any) -> None:
        """The same to every question."""
        said = replace(Said(inside), **values)
        self.say = lambda _: said

    @property
    def operations(self) -> list[str]:
        return [one.operation for one in self.asked]


class Always:
    """A breaker that never opens; keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def allow(self) -> bool:
        return True

    def succeeded(self) -> None:
        self.told.append("succeeded")

    def failed(self) -> None:
        self.told.append("failed")


def client(service: Spoken, *, breaker: Breaker | None = None, version: str = "", **wire: Any) -> Ferzl:
    """The client of ФЕРЗЛ at the service."""
    values = {"read_seconds": 5.0, "pause": lambda _: None} | wire
    made = Wire(service.url, breaker or Always(), **values)
    return Ferzl(made, made, version=version, okato="40000")


@contextmanager
def spoken() -> Iterator[Spoken]:
    """Serves on a free port."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            message = etree.fromstring(body).find("{http://schemas.xmlsoap.org/soap/envelope/}Body")[0]
            named = etree.QName(message)
            question = Question(named.localname.removesuffix("Request"), str(named.namespace), message)
            service.asked.append(question)
            said = service.say(question)
            if said is None:
                self.close_connection = True
                return
            content = said.whole if said.whole is not None else _envelope(question, said)
            self.send_response(said.status)
            self.send_header("Content-Type", said.kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    service = Spoken(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _envelope(question: Question, said: Said) -> bytes:
    head, _, schema = question.namespace.rpartition("/")
    version = head.removeprefix("http://ffoms.ru/types").strip("/")
    number = said.request_id if said.request_id is not None else question.value("externalRequestId") or ""
    name = f"{question.operation}Response"
    return replies.envelope(name, schema, f"{version}/" if version else "", number, said.inside).encode()


# the parts of an answer about a person --------------------------------------------------------------------------------


def item(extra: str = "", *, status: str = "Действующий", edited: str = "2026-10-20T08:00:00") -> str:
    return (
        "<t:personItems><t:surname>Вымыслов</t:surname><t:firstName>Пётр</t:firstName><t:birthDay>1956-10-02</t:birthDay>"
        f"<t:gender>1</t:gender>{extra}<t:dateEdit>{edited}</t:dateEdit><t:status>{status}</t:status></t:personItems>"
    )


def policy(enp: str = ENP, okato: str = "40000") -> str:
    return (
        f"<t:policyItems><c:enp>{enp}</c:enp><c:pcyDateB>2020-02-01</c:pcyDateB><c:pcyStatus>Действующий</c:pcyStatus>"
        f"<c:okato>{okato}</c:okato></t:policyItems>"
    )


def attached(organisation: str = CLINIC) -> str:
    return (
        "<t:attachItems><c:areaType>1</c:areaType><c:dateAttachB>2021-04-05</c:dateAttachB>"
        f"<c:moCode>{organisation}</c:moCode><c:attachStatus>ДПП</c:attachStatus></t:attachItems>"
    )


def pd(people: str | None = None, *, policies: str | None = None, oip: str = OIP, beside: str = "") -> str:
    """`pd`; ``beside`` stands in it, beside its lists."""
    return (
        f"<t:pd><t:oip>{oip}</t:oip>{beside}<t:person>{item() if people is None else people}</t:person>"
        f"<t:policy>{policy() if policies is None else policies}</t:policy><t:attach>{attached()}</t:attach></t:pd>"
    )


def error(code: str) -> str:
    return replies.error(code, "отказ")
