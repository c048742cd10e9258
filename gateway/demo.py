"""`demo`: the whole gateway on one machine by one command, over an invented region.

The data folder keeps everything: the embedded database, `demo.json` (how to call the running gateway) and
`demo-clients.json` (secrets of the invented clients, kept for the next start); both are readable by their owner only.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import FrameType
from typing import Any
from zoneinfo import ZoneInfo

from gateway.domain.clock import Clock
from gateway.domain.periods import Month
from gateway.errors import GatewayError
from gateway.settings import Settings
from gateway.store.embedded import Server
from gateway.store.place import Place
from gateway.store.programs import make_folder
from gateway.supervisor import Supervisor
from gateway.upgrade import upgrade

Tell = Callable[[str], None]

_READY_SECONDS = 180.0
_PAUSE_SECONDS = 5.0

_log = logging.getLogger(__name__)


class Demo:
    """One run of the command; `run` returns when it is told to stop by SIGINT or SIGTERM."""

    def __init__(self, settings: Settings, persons: int, entries: int, seed: int, tell: Tell) -> None:
        self._settings = settings
        self._folder = Path(settings.data_dir)
        self._size = persons, entries, seed
        self._tell = tell
        self._stop = threading.Event()
        self._serving = False

    def run(self) -> None:
        make_folder(self._folder)
        with self._alone(), self._signals():
            (self._folder / "demo.json").unlink(missing_ok=True)
            _require_port(self._settings.host, self._settings.port)
            self._tell("Запускается встроенная база данных…")
            with Server(self._folder) as server:
                place = Place(server.url(), server.owner_url, server)
                upgrade(place, self._settings)
                clients = self._region(place)
                self._neighbours(place)
                self._serve(place, clients)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        descriptor = os.open(self._folder / "demo.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise GatewayError("demo.running") from None
            yield
        finally:
            os.close(descriptor)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        def note(number: int, frame: FrameType | None) -> None:
            self._stop.set()
            if not self._serving:
                raise KeyboardInterrupt

        former = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def _region(self, place: Place) -> list[dict[str, Any]]:
        """The invented region: made once, found again later."""
        from gateway.sandbox import region

        kept = self._folder / "demo-clients.json"
        if kept.exists():
            clients: list[dict[str, Any]] = json.loads(kept.read_text(encoding="utf-8"))
            return clients
        persons, entries, seed = self._size
        self._tell(f"Создаётся вымышленный регион: {persons} человек, {entries} записей…")
        filled = region.fill(
            place.owner(), self._settings, persons=persons, entries=entries, seed=seed, progress=self._progress()
        )
        clients = [
            {
                "login": client.login,
                "password": client.password,
                "organisations": sorted(client.organisations),
                "rights": sorted(client.rights),
            }
            for client in filled.clients
        ]
        _write_private(kept, clients)
        return clients

    def _neighbours(self, place: Place) -> None:
        """The invented register of insured persons, which lives through last month before the first start."""
        from gateway.sandbox.ferzl import life, queries

        values = self._settings
        month = Month.of(Clock(ZoneInfo(values.time_zone)).today()).shift(-1)
        with place.owner().begin() as connection:
            if queries.made(connection):
                return
            self._tell("Создаётся вымышленный регистр застрахованных…")
            queries.make(connection, values.region_okato, life.ELSEWHERE)
            queries.live_once(connection, month.number)
            life.pass_month(connection, month, okato=values.region_okato, seed=self._size[2])

    def _progress(self) -> Callable[[str, int], None]:
        """Says each stage once and the count of rows every five seconds."""
        said: tuple[str, float] = "", 0.0

        def progress(stage: str, done: int) -> None:
            nonlocal said
            now, stage = time.monotonic(), stage.split(":")[0]
            if stage != said[0] or now - said[1] > 5:
                said = stage, now
                self._tell(f"  {stage}: {done}" if done else f"  {stage}")

        return progress

    def _serve(self, place: Place, clients: list[dict[str, Any]]) -> None:
        port, token = free_port("127.0.0.1"), secrets.token_urlsafe(24)
        upstream = f"http://127.0.0.1:{port}"
        supervisor = Supervisor(self._environment(place) | _upstream(upstream, token))
        self._serving = True
        try:
            for name in ("serve", "worker", "calendar"):
                supervisor.start(name, [sys.executable, "-m", "gateway.cli", name])
            supervisor.start("sandbox", [sys.executable, "-m", "gateway.cli", "sandbox", "serve", "--port", str(port)])
            url = f"http://{_in_url(self._settings.host)}:{self._settings.port}"
            if self._until_ready(place, supervisor):
                description = {
                    "url": url,
                    "clients": clients,
                    "upstream": {"ferzl": upstream},
                    "upstreamToken": token,
                    "pid": os.getpid(),
                }
                _write_private(self._folder / "demo.json", description)
                self._tell(f"Шлюз работает: {url}/wsdl/ — описание служб, {url}/ready — готовность")
                self._tell(f"Учётные записи клиентов: {self._folder / 'demo.json'}. Остановка — Ctrl-C")
            while not self._stop.wait(0.2):
                self._tend(place, supervisor)
        finally:
            self._tell("Шлюз останавливается…")
            (self._folder / "demo.json").unlink(missing_ok=True)
            supervisor.stop()

    def _tend(self, place: Place, supervisor: Supervisor) -> None:
        """Brings up again what has died, the database first."""
        if place.server is not None and not place.server.running:
            _log.error("Встроенная база данных остановилась и запускается снова")
            try:
                place.server.start()
            except GatewayError as error:
                _log.error(error.message)
                self._stop.wait(_PAUSE_SECONDS)
        supervisor.tend()

    def _environment(self, place: Place) -> dict[str, str]:
        """Settings in force as the children read them; the database is the one that this process holds."""
        values = {name: getattr(self._settings, name) for name in Settings.__dataclass_fields__}
        values |= {"database_url": place.app_url, "database_owner_url": place.owner_url}
        if "DN_GATEWAY_LOG_LEVEL" not in os.environ:
            values["log_level"] = "WARNING"  # a person reads the terminal of a demo
        return {f"DN_GATEWAY_{name.upper()}": str(value) for name, value in values.items()}

    def _answers(self) -> bool:
        """Whether the web server says that it is ready; asked directly, past any proxy of the environment."""
        connection = HTTPConnection(_reached(self._settings.host), self._settings.port, timeout=5)
        try:
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def _until_ready(self, place: Place, supervisor: Supervisor) -> bool:
        until = time.monotonic() + _READY_SECONDS
        while not self._stop.wait(0.1):
            self._tend(place, supervisor)
            if self._answers():
                return True
            if time.monotonic() > until:
                raise GatewayError("demo.not-ready")
        return False


def _upstream(url: str, token: str) -> dict[str, str]:
    """Settings by which the gateway of a demonstration asks the invented register."""
    values = {"ferzl_url": url, "ferzl_token": token, "ferzl_poll_seconds": "1", "search_upstream": "ferzl"}
    return {f"DN_GATEWAY_{name.upper()}": value for name, value in values.items()}


def free_port(host: str) -> int:
    """A port nobody listens on now."""
    with socket.socket(_family(host)) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def _require_port(host: str, port: int) -> None:
    with socket.socket(_family(host)) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            raise GatewayError("demo.port", port=port) from None


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _reached(host: str) -> str:
    """Where to call a server that listens on ``host``: a wildcard is reached on the loopback."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104


def _in_url(host: str) -> str:
    host = _reached(host)
    return f"[{host}]" if ":" in host else host


def _write_private(path: Path, value: object) -> None:
    part = path.with_suffix(".part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=2)
    part.chmod(0o600)
    part.replace(path)
