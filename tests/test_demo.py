"""`demo` as an operator meets it: ready, killed, started again, its PostgreSQL killed, stopped without a trace."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from gateway.demo import free_port
from gateway.store.embedded import Server


@pytest.fixture
def started(folder: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Demos of a test; whatever happens none of them stays."""
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.wait()
    if (folder / "data").exists():
        Server(folder / "data").stop(force=True)


def start(folder: Path, port: int) -> subprocess.Popen[bytes]:
    command = ["demo", "--data", str(folder / "data"), "--port", str(port), "--persons", "300", "--entries", "400"]
    log = (folder / "log").open("ab")
    return subprocess.Popen([sys.executable, "-m", "gateway.cli", *command], stdout=log, stderr=log)


def description(folder: Path, process: subprocess.Popen[bytes]) -> dict:
    file = folder / "data" / "demo.json"
    until = time.monotonic() + 120
    while not file.exists() or json.loads(file.read_text())["pid"] != process.pid:
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < until, "has not become ready"
        time.sleep(0.1)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    return json.loads(file.read_text())


def ready(port: int) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/ready")
    return connection.getresponse().status


def family(folder: Path) -> list[str]:
    """Commands of all live processes that belong to the data folder."""
    found = []
    for place in Path("/proc").iterdir():
        if not place.name.isdigit() or int(place.name) == os.getpid():
            continue
        try:
            if str(folder).encode() in (place / "cmdline").read_bytes() + (place / "environ").read_bytes():
                found.append((place / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def test_demo_from_start_to_end(folder: Path, started) -> None:
    port = free_port("127.0.0.1")
    first = start(folder, port)
    started.append(first)
    told = description(folder, first)
    assert told["url"] == f"http://127.0.0.1:{port}"
    assert {"login", "password", "organisations", "rights"} == set(told["clients"][0])
    assert ready(port) == 200

    second = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "demo", "--data", str(folder / "data")], capture_output=True, text=True
    )
    assert second.returncode == 1
    assert "demo.running" in second.stderr

    first.kill()
    first.wait()
    third = start(folder, port)
    started.append(third)
    assert description(folder, third)["clients"] == told["clients"]
    assert ready(port) == 200

    os.kill(int((Server(folder / "data").data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
    until = time.monotonic() + 60
    while not reaches_the_database(told):
        assert time.monotonic() < until, "has not come up again by itself"
        time.sleep(0.1)

    stopped(folder, third, signal.SIGTERM)


def test_ctrl_c_stops_a_demo_that_is_ready_and_one_that_is_not(folder: Path, started) -> None:
    process = start(folder, free_port("127.0.0.1"))
    started.append(process)
    until = time.monotonic() + 60
    while "Создаётся вымышленный регион" not in (folder / "log").read_text():
        assert time.monotonic() < until
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 130
    assert left(folder) == []

    again = start(folder, free_port("127.0.0.1"))
    started.append(again)
    description(folder, again)
    stopped(folder, again, signal.SIGINT)


def test_a_port_that_is_taken_is_named(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = ["demo", "--data", str(folder / "data"), "--port", str(taken.getsockname()[1])]
        told = subprocess.run([sys.executable, "-m", "gateway.cli", *command], capture_output=True, text=True)
    assert told.returncode == 1
    assert "demo.port" in told.stderr


def stopped(folder: Path, process: subprocess.Popen[bytes], number: int) -> None:
    process.send_signal(number)
    assert process.wait(timeout=120) == 0
    assert not (folder / "data" / "demo.json").exists()
    assert left(folder) == []


def left(folder: Path) -> list[str]:
    until = time.monotonic() + 30
    while (found := family(folder)) and time.monotonic() < until:
        time.sleep(0.1)
    return found


def reaches_the_database(told: dict) -> bool:
    """A call that needs the database."""
    client = told["clients"][0]
    secret = base64.b64encode(f"{client['login']}:{client['password']}".encode()).decode()
    body = (
        '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
        '<GetDictionary xmlns="urn:dn-gateway:exchange:v1"><code>PLACES</code></GetDictionary></s:Body></s:Envelope>'
    )
    connection = HTTPConnection("127.0.0.1", int(told["url"].rpartition(":")[2]), timeout=10)
    try:
        connection.request(
            "POST", "/soap/exchange/v1", body, {"Content-Type": "text/xml", "Authorization": f"Basic {secret}"}
        )
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
