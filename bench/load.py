"""A load generator: a few keep-alive connections in one thread, each sends its next request when the answer is whole."""

from __future__ import annotations

import itertools
import selectors
import socket
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """Where to send which bodies, over and over."""

    port: int
    path: str
    bodies: Sequence[bytes]
    headers: str = ""

    def request(self, body: bytes) -> bytes:
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Type: text/xml; charset=utf-8\r\n"
            f"{self.headers}Content-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body


@dataclass
class Result:
    """What came back in a stretch of time."""

    answers: int
    seconds: float
    failed: int
    size: int

    @property
    def rate(self) -> float:
        return self.answers / self.seconds


class _Connection:
    def __init__(self, target: Target, requests: Iterator[bytes]) -> None:
        self.target, self.requests = target, requests
        self.buffer = bytearray()
        self.need = -1
        self.socket = self.connect()

    def connect(self) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.target.port), timeout=10)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        return made

    def send(self) -> None:
        self.buffer.clear()
        self.need = -1
        self.socket.sendall(next(self.requests))

    def receive(self) -> tuple[bool, bytes] | None:
        """(ok, head) when an answer is whole."""
        data = self.socket.recv(1 << 20)
        if not data:
            raise ConnectionError("closed")
        self.buffer += data
        if self.need < 0:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return None
            head = bytes(self.buffer[:end]).lower()
            at = head.find(b"content-length:")
            if at < 0:
                raise ConnectionError("no length")
            self.need = end + 4 + int(head[at + 15 :].split(b"\r\n", 1)[0])
        if len(self.buffer) < self.need:
            return None
        return self.buffer.startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")), bytes(self.buffer[:200])


def run(target: Target, seconds: float, connections: int = 8) -> Result:
    """Loads the target for ``seconds``; counts whole answers.

    The kernel deals connections to processes by chance: with few of them one process of two may get all.
    """
    requests = itertools.cycle([target.request(body) for body in target.bodies])
    chosen = selectors.DefaultSelector()
    live = [_Connection(target, requests) for _ in range(connections)]
    for one in live:
        one.send()
        chosen.register(one.socket, selectors.EVENT_READ, one)
    answers = failed = size = 0
    begin = time.perf_counter()
    until = begin + seconds
    while (now := time.perf_counter()) < until:
        for key, _ in chosen.select(max(0.0, until - now)):
            one = key.data
            try:
                done = one.receive()
                if done is None:
                    continue
                answers += done[0]
                failed += not done[0]
                size = one.need
                one.send()
            except ConnectionError:
                chosen.unregister(one.socket)
                one.socket.close()
                one.socket = one.connect()
                one.send()
                chosen.register(one.socket, selectors.EVENT_READ, one)
    elapsed = time.perf_counter() - begin
    for one in live:
        one.socket.close()
    return Result(answers, elapsed, failed, size)


def pairs(first: Target, second: Target, seconds: float, rounds: int) -> tuple[float, float, float]:
    """Medians of both rates and of the ratios of interleaved pairs, in turns A B, B A, A B, …"""
    ratios, ones, others = [], [], []
    for number in range(rounds):
        order = [first, second] if number % 2 == 0 else [second, first]
        found = {id(target): run(target, seconds) for target in order}
        for target in order:
            if found[id(target)].failed or not found[id(target)].answers:
                raise SystemExit(f"{target.path} on {target.port}: {found[id(target)]}")
        a, b = found[id(first)].rate, found[id(second)].rate
        ones.append(a)
        others.append(b)
        ratios.append(a / b)
    return statistics.median(ones), statistics.median(others), statistics.median(ratios)


def latency(target: Target, before: Sequence[Target], rounds: int) -> float:
    """The median time of one request, each after its own request out of ``before``; one connection."""
    times = []
    for number in range(rounds):
        for other in before:
            once(Target(other.port, other.path, [other.bodies[number % len(other.bodies)]], other.headers))
        begin = time.perf_counter()
        once(Target(target.port, target.path, [target.bodies[number % len(target.bodies)]], target.headers))
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def once(target: Target) -> bytes:
    """One request; the whole answer."""
    connection = _Connection(target, iter([target.request(target.bodies[0])]))
    connection.send()
    while (done := connection.receive()) is None:
        pass
    connection.socket.close()
    if not done[0]:
        raise SystemExit(bytes(connection.buffer).decode("utf-8", "replace")[:2000])
    return bytes(connection.buffer)
