"""`demo` as an operator meets it: ready, killed, started again, stopped without a trace."""

from __future__ import annotations

import json
import os
import signal
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

    third.send_signal(signal.SIGTERM)
    assert third.wait(timeout=120) == 0
    assert not (folder / "data" / "demo.json").exists()
    until = time.monotonic() + 30
    while (left := family(folder)) and time.monotonic() < until:
        time.sleep(0.1)
    assert left == []
