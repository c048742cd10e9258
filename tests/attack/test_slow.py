"""Trial A6: clients that are slow in headers, body or reading, and idle ones, neither stay for ever nor hurt others.

How others fare is compared within one run: quiet before, then beside the slow ones. The bound is loose on purpose; a
server that gives a slow client a thread or a process misses it by orders.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from statistics import quantiles
from typing import Any

import httpx
import pytest

from tests.serving import EXCHANGE, PATHS, Gateway, envelope, running_gateway

pytestmark = pytest.mark.trial

HEADER, BODY, WRITE = 3, 4, 3
MEGABYTE = 1024 * 1024
PATH = PATHS[EXCHANGE]


@pytest.fixture(scope="module")
def gateway(server: Any, template: str) -> Iterator[Gateway]:
    with running_gateway(
        server, template, header_seconds=HEADER, body_seconds=BODY, write_seconds=WRITE, log_level="WARNING"
    ) as gateway:
        yield gateway


class Crowd:
    """Many bare connections, fed and watched from one thread."""

    def __init__(self, gateway: Gateway, count: int, first: bytes, drop: bytes = b"", read: bool = True) -> None:
        self._sockets = [self._connect(gateway, read) for _ in range(count)]
        self._drop = drop
        self._read = read
        self._stop = threading.Event()
        self.left = count
        for one in self._sockets:
            one.sendall(first)
            one.setblocking(False)
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    @staticmethod
    def _connect(gateway: Gateway, read: bool) -> socket.socket:
        one = socket.socket()
        if not read:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        one.settimeout(10)
        one.connect(("127.0.0.1", gateway.port))
        return one

    def _feed(self) -> None:
        alive = list(self._sockets)
        while alive and not self._stop.wait(0.2):
            alive = [one for one in alive if self._lives(one)]
            self.left = len(alive)

    def _lives(self, one: socket.socket) -> bool:
        try:
            if self._drop:
                one.send(self._drop)
            if self._read and one.recv(65536) == b"":
                return False
        except BlockingIOError:
            return True
        except OSError:
            return False
        return True

    def await_end(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.left and time.monotonic() < deadline:
            time.sleep(0.1)
        return self.left == 0

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        for one in self._sockets:
            one.close()


def _p95(gateway: Gateway, seconds: float) -> float:
    """The 95th percentile of calls of an ordinary client, in seconds; every call is answered rightly."""
    content = envelope(f'<GetLimits xmlns="{EXCHANGE}"/>', gateway.clients["clinic"].header)
    times = []
    until = time.monotonic() + seconds
    with httpx.Client(trust_env=False, timeout=10) as http:
        while time.monotonic() < until:
            since = time.perf_counter()
            answer = http.post(gateway.url + PATH, content=content, headers={"content-type": "text/xml"})
            times.append(time.perf_counter() - since)
            assert answer.status_code == 200
    return quantiles(times, n=20)[-1]


def _connections(gateway: Gateway) -> int:
    import psutil

    return sum(
        connection.status == "ESTABLISHED" and connection.laddr.port == gateway.port
        for pid in gateway.workers()
        for connection in psutil.Process(pid).net_connections("tcp")
    )


HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\n".encode()
CROWDS: dict[str, tuple[Callable[[Gateway], Crowd], float]] = {
    "500 idle": (lambda gateway: Crowd(gateway, 500, b""), HEADER),
    "slow headers": (lambda gateway: Crowd(gateway, 200, HEAD, b"X-Drop: x\r\n"), HEADER),
    "slow body": (lambda gateway: Crowd(gateway, 200, HEAD + b"Content-Length: 5000\r\n\r\n<", b" "), BODY),
    "slow chunks": (
        lambda gateway: Crowd(gateway, 200, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        BODY,
    ),
}


@pytest.mark.parametrize("name", CROWDS)
def test_slow_senders(gateway: Gateway, name: str) -> None:
    make, deadline = CROWDS[name]
    quiet = _p95(gateway, 2)
    memory = gateway.rss()
    crowd = make(gateway)
    try:
        beside = _p95(gateway, 2)
        assert crowd.await_end(deadline + 4)
    finally:
        crowd.close()
    assert gateway.rss() - memory < 50 * MEGABYTE
    assert beside < 5 * quiet + 0.05
    print(f"{name}: p95 {quiet * 1000:.1f} -> {beside * 1000:.1f} ms")


def test_slow_readers(gateway: Gateway) -> None:
    """Answers larger than the buffers of the kernel, to clients that never read them."""
    request = f"GET {PATHS['urn:dn-gateway:observation:v1']}?wsdl HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    quiet = _p95(gateway, 2)
    memory = gateway.rss()
    crowd = Crowd(gateway, 50, request * 100, read=False)
    try:
        beside = _p95(gateway, 2)
        deadline = time.monotonic() + 3 * WRITE + 4
        while _connections(gateway) > 5 and time.monotonic() < deadline:
            time.sleep(0.2)
        assert _connections(gateway) <= 5
    finally:
        crowd.close()
    assert gateway.rss() - memory < 50 * MEGABYTE
    assert beside < 5 * quiet + 0.05
    print(f"slow readers: p95 {quiet * 1000:.1f} -> {beside * 1000:.1f} ms")


def test_a_slow_but_steady_reader_gets_everything(gateway: Gateway) -> None:
    request = f"GET {PATHS['urn:dn-gateway:observation:v1']}?wsdl HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(request.encode())
        data = b""
        while part := connection.recv(2000):
            data += part
            time.sleep(0.05)
    assert data.endswith(b"definitions>\n") or data.rstrip().endswith(b"definitions>")
