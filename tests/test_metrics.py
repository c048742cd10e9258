"""Metrics of one process and of several together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway import metrics

_CHILD = """
import os, sys
from pathlib import Path
from gateway import metrics
if len(sys.argv) > 1:
    metrics.prepare(Path(sys.argv[1]))
    code = sys.stdin.read()
    children = [os.spawnlp(os.P_NOWAIT, sys.executable, sys.executable, '-c', code) for _ in range(2)]
    [os.waitpid(child, 0) for child in children]
metrics.count_call('Exchange', 'Ping', 'OK', 0.01)
metrics.count_wrong_secret()
if len(sys.argv) > 1:
    print(metrics.exposition()[0].decode())
"""


def test_processes_are_added_up(tmp_path: Path) -> None:
    left = tmp_path / "counter_1.db"
    left.write_bytes(b"left by an earlier run")
    environ = {name: value for name, value in os.environ.items() if name != "PROMETHEUS_MULTIPROC_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, str(tmp_path)],
        input=_CHILD, capture_output=True, text=True, check=True, env=environ, timeout=60,
        cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    assert 'dn_gateway_calls_total{operation="Ping",outcome="OK",service="Exchange"} 3.0' in done.stdout
    assert "dn_gateway_wrong_secrets_total 3.0" in done.stdout
    assert not left.exists()


def test_one_process_without_a_shared_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    metrics.count_suspicion()
    metrics.count_rate_refusal()
    with metrics.pool_wait():
        pass
    body, kind = metrics.exposition()
    assert kind.startswith("text/plain")
    for name in ("guessing_suspected_total", "rate_refusals_total", "pool_wait_seconds_count"):
        assert f"dn_gateway_{name} " in body.decode()


def test_the_shared_place_must_come_first(tmp_path: Path) -> None:
    metrics.count_suspicion()
    with pytest.raises(RuntimeError):
        metrics.prepare(tmp_path)


def test_long_work_is_read_for_each_answer() -> None:
    text, _ = metrics.exposition({("EXPORT_LIST", "RUNNING"): 2, ("EXPORT_LIST", "DONE"): 5}, 3)
    lines = text.decode().splitlines()
    assert 'dn_gateway_operations{kind="EXPORT_LIST",state="DONE"} 5.0' in lines
    assert 'dn_gateway_operations{kind="EXPORT_LIST",state="RUNNING"} 2.0' in lines
    assert "dn_gateway_workers 3.0" in lines
    text, _ = metrics.exposition()
    assert not [
        line for line in text.decode().splitlines() if line.startswith(("dn_gateway_operations", "dn_gateway_workers"))
    ]
