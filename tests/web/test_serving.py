"""The server lives through its workers and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import psutil
import pytest

from tests.serving import EXCHANGE, ROOT, Gateway, envelope, free_port


def _gone(pids: list[int], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while any(psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie" for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_ping(gateway: Gateway) -> None:
    answer = gateway.call("Ping", namespace=EXCHANGE)
    assert answer.status == 200
    assert answer.result.findtext("{*}version")
    assert len(answer.headers["x-request-id"]) == 32


def test_one_line_per_call(gateway: Gateway) -> None:
    answer = gateway.call("Ping", namespace=EXCHANGE)
    (line,) = [line for line in gateway.log_lines if line.get("trace") == answer.headers["x-request-id"]]
    assert {"service", "operation", "client", "outcome", "code", "milliseconds", "bytes"} <= line.keys()
    assert (line["operation"], line["client"], line["outcome"]) == ("Ping", "clinic", "OK")


def test_killed_worker_is_replaced(gateway: Gateway) -> None:
    before = gateway.workers()
    victim = gateway.kill_worker()
    gateway.http.close()
    gateway.http = type(gateway.http)(timeout=30, trust_env=False)
    for _ in range(20):
        assert gateway.call("Ping", namespace=EXCHANGE).fault is None
        gateway.http.close()
        gateway.http = type(gateway.http)(timeout=30, trust_env=False)
    deadline = time.monotonic() + 20
    while len(gateway.workers()) < len(before):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert victim not in gateway.workers()


def test_keep_alive_and_pipelining(gateway: Gateway) -> None:
    body = envelope(f'<Ping xmlns="{EXCHANGE}"/>', gateway.clients["clinic"].header)
    request = (
        b"POST /soap/exchange/v1 HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n%s"
        % (len(body), body)
    )
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        connection.sendall(request * 20 + b"GARBAGE\r\n\r\n")
        data = b""
        while part := connection.recv(65536):
            data += part
    assert data.count(b"HTTP/1.1 200 OK") == 20
    assert data.count(b"<version>") == 20


def test_call_in_progress_ends_before_the_server_does(running: Callable[..., Any]) -> None:
    with running(workers=1, body_seconds=20) as gateway:
        body = envelope(f'<Ping xmlns="{EXCHANGE}"/>', gateway.clients["clinic"].header)
        head = f"POST /soap/exchange/v1 HTTP/1.1\r\nHost: x\r\nContent-Type: text/xml\r\nContent-Length: {len(body)}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
            connection.sendall(head.encode() + body[:50])
            time.sleep(0.3)
            gateway.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            connection.sendall(body[50:])
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 OK")
        assert gateway.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stops_soon_and_leaves_no_process(running: Callable[..., Any], number: int) -> None:
    with running() as gateway:
        gateway.call("Ping", namespace=EXCHANGE)
        idle = socket.create_connection(("127.0.0.1", gateway.port))
        children = gateway.workers()
        gateway.process.send_signal(number)
        assert gateway.process.wait(10) == 0
        assert _gone(children, 1)
        idle.close()
        with pytest.raises(OSError):
            socket.create_connection(("127.0.0.1", gateway.port))


def test_workers_die_with_their_parent(running: Callable[..., Any]) -> None:
    with running() as gateway:
        children = gateway.workers()
        os.kill(gateway.process.pid, signal.SIGKILL)
        gateway.process.wait(5)
        assert _gone(children, 15)


def test_workers_that_cannot_live_end_the_server() -> None:
    code = (
        "import logging\nfrom gateway import web\nfrom gateway.services import serving\nfrom gateway.settings import Settings\n"
        "def make(): raise RuntimeError\n"
        f"s = Settings(port={free_port()})\n"
        "raise SystemExit(serving.serve(make, serving.Listening(s.host, s.port, 1, web.bounds_of(s))))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, capture_output=True)
    assert done.returncode == 1
