"""Children live as long as their supervisor: restarted, stopped with their own children, ended by its death."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from gateway.supervisor import Supervisor

CHILD = """
import os, subprocess, sys, time
from gateway.supervisor import end_with_parent
end_with_parent()
grandchild = subprocess.Popen(["sleep", "600"])
with open(sys.argv[1], "a") as file:
    file.write(f"{os.getpid()} {grandchild.pid}\\n")
time.sleep(600)
"""

PARENT = """
import sys, time
from gateway.supervisor import Supervisor
supervisor = Supervisor()
supervisor.start("child", [sys.executable, "-c", sys.argv[2], sys.argv[1]])
while True:
    time.sleep(0.05)
    supervisor.tend()
"""


def wait_for(right: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not right():
        assert time.monotonic() < until, "has not come"
        time.sleep(0.05)


def lines(notes: Path) -> list[list[int]]:
    return [[int(one) for one in line.split()] for line in notes.read_text().splitlines()] if notes.exists() else []


def alive(pid: int) -> bool:
    """Running, not a zombie that waits for its parent."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_stop_leaves_nobody(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    supervisor = Supervisor()
    supervisor.start("child", [sys.executable, "-c", CHILD, str(notes)])
    wait_for(lambda: len(lines(notes)) == 1)
    supervisor.stop()
    wait_for(lambda: not any(alive(pid) for pid in lines(notes)[0]))


def test_dead_child_is_started_again_without_leftovers(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    supervisor = Supervisor()
    supervisor.start("child", [sys.executable, "-c", CHILD, str(notes)])
    wait_for(lambda: len(lines(notes)) == 1)
    first = lines(notes)[0]
    supervisor.children[0].process.kill()

    def again() -> bool:
        supervisor.tend()
        return len(lines(notes)) == 2

    wait_for(again)
    wait_for(lambda: not any(alive(pid) for pid in first))
    supervisor.stop()


def test_child_ends_with_a_killed_supervisor(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(notes), CHILD])
    wait_for(lambda: len(lines(notes)) == 1)
    child, grandchild = lines(notes)[0]
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_for(lambda: not alive(child))
    subprocess.run(["kill", str(grandchild)], check=False)
