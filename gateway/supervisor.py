"""Child processes of one command: started, restarted when they die, and ended with it whatever happens to it."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

PARENT = "DN_GATEWAY_PARENT"
"""The variable by which a child knows whose child it is."""

_PR_SET_PDEATHSIG = 1
_STOP_SECONDS = 75.0
_CALM_SECONDS = 30.0
_LONGEST_PAUSE = 30.0

_log = logging.getLogger(__name__)


def end_with_parent() -> None:
    """In a child: asks the kernel for SIGTERM when the supervisor dies, even by `kill -9`. Linux only."""
    parent = os.environ.pop(PARENT, None)
    if parent is None:
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != int(parent):
        sys.exit(0)


@dataclass(slots=True)
class Child:
    """A command under supervision; ``pause`` is how long to wait before the next start, in seconds."""

    name: str
    command: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = 1.0
    due: float = 0.0


@dataclass(slots=True)
class Supervisor:
    """Children in order of start; they are stopped in the same order, so the door closes first."""

    environment: Mapping[str, str] = field(default_factory=dict)
    children: list[Child] = field(default_factory=list)

    def start(self, name: str, command: Sequence[str]) -> None:
        child = Child(name, command)
        self.children.append(child)
        self._launch(child)

    def tend(self) -> None:
        """Starts again what has died: at once at first, then after growing pauses. To be called often."""
        now = time.monotonic()
        for child in self.children:
            if child.process is not None and child.process.poll() is not None:
                code = child.process.returncode
                _end_group(child.process.pid)
                child.process = None
                child.pause = 1.0 if now - child.started > _CALM_SECONDS else min(child.pause * 2, _LONGEST_PAUSE)
                child.due = now + child.pause
                _log.error("Процесс %s завершился с кодом %d и будет запущен снова", child.name, code)
            if child.process is None and now >= child.due:
                self._launch(child)

    def stop(self) -> None:
        """Asks all to end, waits for what they are doing, then ends what is left of their groups."""
        for child in self.children:
            if child.process is not None:
                with contextlib.suppress(ProcessLookupError):
                    child.process.terminate()
        until = time.monotonic() + _STOP_SECONDS
        for child in self.children:
            if child.process is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.process.wait(max(0.1, until - time.monotonic()))
                _end_group(child.process.pid)
                child.process.wait()
                child.process = None

    def kill(self) -> None:
        """Ends all at once, whatever they are doing."""
        for child in self.children:
            if child.process is not None:
                _end_group(child.process.pid)

    def _launch(self, child: Child) -> None:
        environment = {**os.environ, **self.environment, PARENT: str(os.getpid())}
        child.started = time.monotonic()
        child.process = subprocess.Popen(
            child.command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True
        )


def _end_group(leader: int) -> None:
    """Ends what a dead child has left in its process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)
