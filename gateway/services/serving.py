"""The server: worker processes, each with its own listening socket on the shared port, watched by a parent.

The parent makes the sockets and holds them, so connections that wait for a worker that has died are taken up by its
successor. A worker that ends is started anew; workers die with their parent. Linux.
"""

from __future__ import annotations

import ctypes
import logging
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import uvicorn

from gateway.services.connection import Bounds, bounded

Application = Callable[[Any, Any, Any], Any]
"""An ASGI application."""

BACKLOG = 2048
CONNECTIONS = 4000
"""Open connections of one worker; more are closed at once."""

STOP_SECONDS = 8
_KILL_SECONDS = STOP_SECONDS + 4
_SHORT_LIFE = 5.0
_SHORT_LIVES = 5
_LONGEST_PAUSE = 5.0
_TICK = 0.1

_PR_SET_PDEATHSIG = 1
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 512 * 1024 * 1024
_MMAP_BYTES = 32 * 1024 * 1024

_log = logging.getLogger("gateway.serving")


@dataclass(frozen=True, slots=True)
class Listening:
    """Where to listen, how many processes and the bounds of a connection. ``workers`` 0: one per core."""

    host: str
    port: int
    workers: int
    bounds: Bounds

    @property
    def processes(self) -> int:
        return self.workers or len(os.sched_getaffinity(0))


def listen(listening: Listening) -> list[socket.socket]:
    """One socket per worker on the same port; port 0 takes a free one.

    The kernel ends a connection whose peer takes no data for ``write_seconds`` (TCP_USER_TIMEOUT is inherited). The
    protocol is named because asyncio turns Nagle's algorithm off only for sockets that say they are TCP.
    """
    sockets: list[socket.socket] = []
    port = listening.port
    family, kind, protocol, _, address = socket.getaddrinfo(
        listening.host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
    )[0]
    for _ in range(listening.processes):
        one = socket.socket(family, kind, protocol)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(listening.bounds.write_seconds * 1000))
        one.bind((address[0], port, *address[2:]))
        port = one.getsockname()[1]
        sockets.append(one)
    for one in sockets:
        one.listen(BACKLOG)
    return sockets


@dataclass(slots=True)
class _Worker:
    socket: socket.socket
    pid: int = 0
    born: float = 0.0
    short_lives: int = 0
    due: float = 0.0


@dataclass
class Supervisor:
    """The parent of the workers; `run` returns when it is told to stop by SIGTERM or SIGINT."""

    make: Callable[[], Application]
    listening: Listening
    workers: list[_Worker] = field(default_factory=list)
    stopping: bool = False

    def run(self) -> int:
        """0 after an orderly stop, 1 if the workers cannot live."""
        sockets = listen(self.listening)
        self.workers = [_Worker(one) for one in sockets]
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        _log.info("слушает %s:%d, процессов: %d", self.listening.host, sockets[0].getsockname()[1], len(sockets))
        while not self.stopping:
            self._look()
            if any(worker.short_lives >= _SHORT_LIVES for worker in self.workers):
                _log.critical("процессы веб-сервера завершаются сразу после запуска")
                self._end()
                return 1
            time.sleep(_TICK)
        self._end()
        return 0

    def _stop(self, *_: object) -> None:
        self.stopping = True

    def _look(self) -> None:
        now = time.monotonic()
        for worker in self.workers:
            if worker.pid and (ended := _ended(worker.pid)) is not None:
                lived = now - worker.born
                worker.pid = 0
                worker.short_lives = worker.short_lives + 1 if lived < _SHORT_LIFE and ended >= 0 else 0
                worker.due = now + min(_LONGEST_PAUSE, 0.2 * 2**worker.short_lives - 0.2)
                _log.error("процесс веб-сервера завершился (%d), запускается заново", ended)
            if not worker.pid and now >= worker.due and not self.stopping:
                self._start(worker)

    def _start(self, worker: _Worker) -> None:
        parent = os.getpid()
        worker.born = time.monotonic()
        worker.pid = os.fork()
        if worker.pid == 0:
            status = 1
            try:
                for other in self.workers:
                    if other is not worker:
                        other.socket.close()
                _settle(parent)
                _work(self.make(), worker.socket, self.listening.bounds)
                status = 0
            except BaseException:
                _log.critical("процесс веб-сервера не работает", exc_info=True)
            finally:
                os._exit(status)

    def _end(self) -> None:
        """Takes no more connections, lets calls in progress end, and leaves no process."""
        for worker in self.workers:
            worker.socket.close()
        living = [worker for worker in self.workers if worker.pid]
        for worker in living:
            os.kill(worker.pid, signal.SIGTERM)
        deadline = time.monotonic() + _KILL_SECONDS
        while living:
            living = [worker for worker in living if _ended(worker.pid) is None]
            if living and time.monotonic() > deadline:
                for worker in living:
                    os.kill(worker.pid, signal.SIGKILL)
            time.sleep(_TICK / 2)


def _ended(pid: int) -> int | None:
    """The exit status of a child that has ended, negative for a signal; ``None`` while it lives."""
    try:
        found, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return 0
    return os.waitstatus_to_exitcode(status) if found else None


def _settle(parent: int) -> None:
    """What a worker needs before its application: to die with its parent, files enough, and a lazy allocator.

    Pages of a list are made and dropped all the time; giving the memory back to the kernel each time costs up to 15 %.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(0)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
        libc.mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _work(application: Application, listener: socket.socket, bounds: Bounds) -> None:
    config = uvicorn.Config(
        application,
        http=bounded(bounds),
        ws="none",
        loop="uvloop",
        lifespan="on",
        backlog=BACKLOG,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=max(1, int(bounds.header_seconds)),
        timeout_graceful_shutdown=STOP_SECONDS,
        log_config=None,
    )
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    _Server(config).run(sockets=[listener])


class _Server(uvicorn.Server):
    """uvicorn's server, except that after an orderly stop it does not raise the signal once more."""

    async def _serve(self, sockets: list[socket.socket] | None = None) -> None:
        await super()._serve(sockets)
        self._captured_signals.clear()


def serve(make: Callable[[], Application], listening: Listening) -> int:
    """Serves the application that ``make`` builds in each worker until SIGTERM or SIGINT; the exit status."""
    return Supervisor(make, listening).run()
