"""Trials A2 and A5: what is too large is refused by name, soon, and without taking memory."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator

import pytest

from gateway.settings import Settings
from tests.attack import raw
from tests.serving import OBSERVATION, Answer, Gateway, envelope

LIMIT = Settings().body_bytes
PATH = "/soap/observation/v1"
MEGABYTE = 1024 * 1024


def _find(inner: str | bytes) -> bytes:
    inner = inner.encode() if isinstance(inner, str) else inner
    return envelope(f'<FindPerson xmlns="{OBSERVATION}">@</FindPerson>').replace(b"@", inner)


def _attributes(count: int) -> str:
    return "<a " + " ".join(f'a{number}="1"' for number in range(count)) + "/>"


BOMBS: dict[str, tuple[bytes, str]] = {
    "200,000 elements": (_find("<a/>" * 200_000), "элементов"),
    "2,000,000 elements": (_find("<a/>" * 1_900_000), "элементов"),
    "a million open elements": (_find("<a>" * 1_000_000), "элементов"),
    "depth of 10,000": (_find("<a>" * 10_000 + "</a>" * 10_000), "вложенность"),
    "20,000 attributes": (_find(_attributes(20_000)), "атрибутов"),
    "20,000 namespaces": (
        _find("<a " + " ".join(f'xmlns:a{number}="u"' for number in range(20_000)) + "/>"),
        "атрибутов",
    ),
    "a million attributes on many elements": (_find(_attributes(60) * 15_000), "атрибутов"),
    "name of 16 kB": (_find(f"<{'a' * 16_384}/>"), "знаков в имени"),
    "name of 1 MB": (_find(f"<{'a' * MEGABYTE}/>"), "знаков в имени"),
    "attribute name of 16 kB": (_find(f"<a {'a' * 16_384}='1'/>"), "знаков в имени"),
}
HEAVY: dict[str, tuple[bytes, str]] = {
    "text of 8 MB": (_find("<lastName>" + "x" * (LIMIT - 1000) + "</lastName>"), "access.no-credentials"),
    "namespace of 1 MB": (_find(f"<a xmlns='{'u' * MEGABYTE}'/>"), "access.no-credentials"),
    "equals signs": (_find("<lastName>" + "=" * 4_000_000 + "</lastName>"), "access.no-credentials"),
    "tags that never close": ((b"<a b='" + b'="' * 70) * 40_000, "request.malformed"),
    "comments that never close": (b"<!--" * 1_000_000, "request.doctype"),
    "many comments": (b"<!-- -->" * 900_000, "request.malformed"),
    "instructions that never close": (b"<?a" * 2_000_000, "request.malformed"),
    "blanks": (b" " * LIMIT, "request.empty"),
    "zeros": (b"\0" * LIMIT, "request.malformed"),
}


@pytest.fixture(autouse=True)
def bounded(gateway: Gateway) -> Iterator[None]:
    """Answered within two seconds, the same processes alive, memory about as before."""
    gateway.post(PATH, _find(""))
    workers, memory, since = gateway.workers(), gateway.rss(), time.monotonic()
    yield
    assert time.monotonic() - since < 2 + 1
    assert gateway.workers() == workers
    assert gateway.rss() - memory < 50 * MEGABYTE


@pytest.mark.parametrize("name", BOMBS)
def test_limit_is_named(gateway: Gateway, name: str) -> None:
    content, limit = BOMBS[name]
    assert len(content) <= LIMIT
    answer = gateway.post(PATH, content)
    assert answer.fault == "request.limits"
    assert limit in answer.content.decode()


@pytest.mark.parametrize("name", HEAVY)
def test_heavy(gateway: Gateway, name: str) -> None:
    content, code = HEAVY[name]
    assert gateway.post(PATH, content).fault == code


def _head(*lines: str) -> bytes:
    return "\r\n".join((f"POST {PATH} HTTP/1.1", "Host: x", "Content-Type: text/xml", *lines, "", "")).encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _until_answer(gateway: Gateway, head: bytes, part: Callable[[], bytes], most: int) -> tuple[Answer, int]:
    """Sends until the gateway answers; the answer and the bytes sent."""
    sent = 0
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=5) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)  # the system would take megabytes
        connection.sendall(head)
        connection.setblocking(False)
        answered = False
        pending = b""
        while sent < most and not answered:
            try:
                connection.recv(1, socket.MSG_PEEK)
                answered = True
            except BlockingIOError:
                pass
            pending = pending or part()
            try:
                taken = connection.send(pending)
                sent, pending = sent + taken, pending[taken:]
            except BlockingIOError:
                time.sleep(0.001)
            except (BrokenPipeError, ConnectionResetError):
                break
        connection.settimeout(5)
        return raw.read_answer(connection), sent


def test_declared_length_is_refused_before_the_body(gateway: Gateway) -> None:
    answer, sent = _until_answer(gateway, _head(f"Content-Length: {LIMIT + 1}"), lambda: b"x" * 1000, 10 * LIMIT)
    assert (answer.status, answer.fault) == (413, "request.too-large")
    assert str(LIMIT) in answer.content.decode()
    assert sent < LIMIT // 2


def test_one_byte_over_the_limit(gateway: Gateway) -> None:
    content = _find("<lastName>" + "x" * LIMIT)[:LIMIT]
    assert gateway.post(PATH, content).fault == "request.malformed"
    assert gateway.post(PATH, content + b"x").fault == "request.too-large"


def test_chunked_body_without_length(gateway: Gateway) -> None:
    answer, sent = _until_answer(
        gateway, _head("Transfer-Encoding: chunked"), lambda: _chunk(b"x" * 60_000), 100 * LIMIT
    )
    assert (answer.status, answer.fault) == (413, "request.too-large")
    assert sent < 3 * LIMIT


def test_chunked_body_under_the_limit(gateway: Gateway) -> None:
    body = envelope('<Ping xmlns="urn:dn-gateway:exchange:v1"/>', gateway.clients["clinic"].header)
    parts = b"".join(_chunk(body[start : start + 7]) for start in range(0, len(body), 7))
    head = _head("Transfer-Encoding: chunked").replace(PATH.encode(), b"/soap/exchange/v1")
    answer = raw.exchange(gateway, head + parts + b"0\r\n\r\n")
    assert answer.result.findtext("{*}version")


def test_three_megabytes_in_chunks_are_not_cut(gateway: Gateway) -> None:
    body = _find("<lastName>" + "x" * 3 * MEGABYTE + "</lastName>")
    answer = raw.exchange(gateway, _head("Transfer-Encoding: chunked") + _chunk(body) + b"0\r\n\r\n")
    assert answer.fault == "access.no-credentials"


@pytest.mark.parametrize("place", ["header", "many headers", "url", "chunk extension", "trailer"])
def test_endless_head(gateway: Gateway, place: str) -> None:
    head, part = {
        "header": (_head()[:-2] + b"X-Long: ", b"x" * 1000),
        "many headers": (_head()[:-2], b"X-Many: x\r\n" * 100),
        "url": (b"POST /soap/", b"x" * 1000),
        "chunk extension": (_head("Transfer-Encoding: chunked") + b"5;e=", b"x" * 1000),
        "trailer": (_head("Transfer-Encoding: chunked") + b"0\r\nX-Trailer: ", b"x" * 1000),
    }[place]
    answer, sent = _until_answer(gateway, head, lambda: part, 200 * MEGABYTE)
    assert answer.fault in ("request.headers", "request.http")
    assert sent < 64 * MEGABYTE


def test_answer_to_an_early_refusal_gets_through(gateway: Gateway) -> None:
    """A client that first sends everything and then reads still finds the fault."""
    data = _head(f"Content-Length: {LIMIT + 1}") + b"x" * (LIMIT + 1)
    answer = raw.exchange(gateway, data, half_close=False)
    assert answer.fault == "request.too-large"
    assert answer.headers["connection"] == "close"
