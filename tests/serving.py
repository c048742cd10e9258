"""A running gateway for tests: the real server in child processes on a free port, over a database of its own.

`from tests.serving import gateway, running` in a conftest gives the fixture ``gateway``, one per module.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
import psycopg
import pytest
from lxml import etree
from sqlalchemy import text

from gateway.access import clients, rights
from gateway.access.model import ClientKind
from gateway.domain import persons
from gateway.people import organisations
from gateway.store.embedded import create_database
from gateway.store.engine import Store
from tests import markers

ROOT = Path(__file__).parent.parent
CLINIC, OTHER = "400001", "400002"
INSURER = "40001"
DOCTOR = persons.make_snils(112233445)
SOAP = "http://schemas.xmlsoap.org/soap/envelope/"
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
OBSERVATION, EXCHANGE = "urn:dn-gateway:observation:v1", "urn:dn-gateway:exchange:v1"
PATHS = {OBSERVATION: "/soap/observation/v1", EXCHANGE: "/soap/exchange/v1"}

_MAIN = "from gateway import logs, settings, web; s = settings.load(); logs.setup(s); raise SystemExit(web.serve(s))"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Login:
    """A client of the gateway under test."""

    login: str
    password: str
    organisations: tuple[str, ...] = ()

    @property
    def header(self) -> str:
        """The SOAP header with its UsernameToken."""
        return (
            f'<wsse:Security xmlns:wsse="{WSSE}" soap:mustUnderstand="1"><wsse:UsernameToken>'
            f"<wsse:Username>{self.login}</wsse:Username><wsse:Password>{self.password}</wsse:Password>"
            "</wsse:UsernameToken></wsse:Security>"
        )


def envelope(body: str, header: str = "") -> bytes:
    """A SOAP 1.1 request in UTF-8."""
    head = f"<soap:Header>{header}</soap:Header>" if header else ""
    return f'<soap:Envelope xmlns:soap="{SOAP}">{head}<soap:Body>{body}</soap:Body></soap:Envelope>'.encode()


@dataclass(frozen=True)
class Answer:
    """What came back, parsed."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def root(self) -> etree._Element:
        return etree.fromstring(self.content)

    @property
    def fault(self) -> str | None:
        """The code of a well-formed fault, ``None`` for an answer; fails for anything else, and for a fault that repeats
        a value of a person or a secret."""
        body = self.root.find(f"{{{SOAP}}}Body")
        assert body is not None and len(body) == 1, self.content[:300]
        if body[0].tag != f"{{{SOAP}}}Fault":
            return None
        assert markers.leaks(self.content.decode()) == []
        assert [child.tag for child in body[0]] == ["faultcode", "faultstring", "detail"]
        prefix, _, side = str(body[0].findtext("faultcode")).partition(":")
        assert body[0].nsmap[prefix] == SOAP
        assert side in ("Client", "Server", "MustUnderstand", "VersionMismatch")
        (detail,) = body[0].findall("detail/*")
        assert etree.QName(detail).localname == "GatewayFault"
        return str(detail.findtext("{*}code"))

    @property
    def result(self) -> etree._Element:
        """The element of a successful answer."""
        assert self.fault is None, self.content[:800].decode()
        (element,) = self.root.iterfind(f"{{{SOAP}}}Body/*")
        return element


@dataclass
class Gateway:
    """A running gateway, its database, its clients and persons."""

    url: str
    port: int
    store: Store
    owner: Store
    clients: dict[str, Login]
    persons: list[str]
    environ: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30, trust_env=False))

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _MAIN], env=self.environ, cwd=ROOT, stdout=log, stderr=log
            )
        self.await_health()

    def await_health(self, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                with urllib.request.urlopen(self.url + "/health", timeout=2) as answer:
                    answer.read()
                return
            except OSError:
                dead = self.process is None or self.process.poll() is not None
                if dead or time.monotonic() > deadline:
                    pytest.fail("шлюз не запустился:\n" + self.log_text[-4000:])
                time.sleep(0.05)

    def workers(self) -> list[int]:
        """Process ids of the living workers."""
        assert self.process is not None
        try:
            return [child.pid for child in psutil.Process(self.process.pid).children()]
        except psutil.NoSuchProcess:
            return []

    def kill_worker(self, signal_number: int = signal.SIGKILL) -> int:
        """Kills one worker; its process id."""
        victim = self.workers()[0]
        os.kill(victim, signal_number)
        return victim

    def rss(self) -> int:
        """Bytes of memory of all workers."""
        return sum(psutil.Process(pid).memory_info().rss for pid in self.workers())

    def stop(self, seconds: float = 20) -> int:
        """SIGTERM and wait; the exit status. No child may be left, and nothing personal in log and metrics."""
        self.http.close()
        self.http = httpx.Client(timeout=30, trust_env=False)
        if self.process is None:
            return 0
        metrics = ""
        with suppress(httpx.TransportError):  # it may be ending already
            metrics = self.metrics()
        children = self.workers()
        self.process.terminate()
        status = self.process.wait(seconds)
        assert not [pid for pid in children if psutil.pid_exists(pid)]
        self.process = None
        assert markers.leaks(metrics) == []
        assert markers.leaks(self.log_text) == []
        return status

    def metrics(self) -> str:
        """The text of `/metrics`."""
        answer = self.http.get(self.url + "/metrics")
        assert answer.status_code == 200
        return answer.text

    @property
    def log_text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    @property
    def log_lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_text.splitlines()]

    def post(self, path: str, content: bytes, **headers: str) -> Answer:
        """One POST; underscores of header names are hyphens."""
        given = {"content-type": "text/xml; charset=utf-8"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        answer = self.http.post(self.url + path, content=content, headers=given)
        return Answer(answer.status_code, answer.headers, answer.content)

    def call(self, operation: str, fields: str = "", client: str = "clinic", namespace: str = OBSERVATION) -> Answer:
        """One call of an operation with the XML of its fields, unprefixed names."""
        body = f'<{operation} xmlns="{namespace}">{fields}</{operation}>'
        return self.post(PATHS[namespace], envelope(body, self.clients[client].header))

    def change(
        self,
        operation: str,
        fields: str,
        client: str = "clinic",
        request_id: str | None = None,
        namespace: str = OBSERVATION,
    ) -> Answer:
        """A changing call with a fresh ``requestId``."""
        return self.call(operation, f"<requestId>{request_id or uuid4()}</requestId>{fields}", client, namespace)

    def records(self) -> int:
        """How many audit records there are."""
        with self.owner.begin() as connection:
            return int(connection.execute(text("SELECT count(*) FROM audit_record")).scalar_one())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def people_of(store: Store, count: int = 20) -> list[str]:
    """Insured persons with valid ЕНП and names that are markers; their ЕНП."""
    made = []
    with store.begin() as connection:
        for number in range(count):
            birth = date(1950 + number, 3, 1 + number % 28)
            enp = persons.make_enp(40, birth, 1, 1000 + number)
            snils = persons.make_snils(200_000_000 + number)
            markers.note_numbers(enp, snils)
            names = (markers.LAST_NAME, markers.FIRST_NAME, markers.MIDDLE_NAME)
            connection.execute(
                text(
                    "INSERT INTO person (enp, snils, last_name, first_name, middle_name, name_key, birth_date, sex,"
                    " insurer, insured_in_region, attached_organisation)"
                    " VALUES (:enp, :snils, :last, :first, :middle, :key, :birth, 1, :insurer, true, :attached)"
                ),
                {
                    "enp": enp, "snils": snils, "last": names[0],
                    "first": names[1], "middle": names[2], "key": persons.name_key(*names), "birth": birth,
                    "insurer": INSURER, "attached": CLINIC if number % 2 else OTHER,
                },
            )  # fmt: skip
            made.append(enp)
    return made


def settle(store: Store) -> tuple[dict[str, Login], list[str]]:
    """Two organisations with a doctor, an insurer, some clients and persons."""
    made: dict[str, Login] = {}
    markers.note_numbers(DOCTOR)
    with store.begin() as connection:
        organisations.put(
            connection,
            [
                organisations.Organisation(code, f"Поликлиника {code}", True, date(2000, 1, 1))
                for code in (CLINIC, OTHER)
            ],
        )
        connection.execute(
            text("INSERT INTO insurer (code, name, valid_from) VALUES (:code, 'СК', '2000-01-01')"), {"code": INSURER}
        )
        for code in (CLINIC, OTHER):
            connection.execute(
                text(
                    "INSERT INTO doctor (organisation, snils, last_name, first_name, doctor_type, valid_from)"
                    " VALUES (:code, :snils, :last, :first, '1', '2000-01-01')"
                ),
                {
                    "code": code, "snils": DOCTOR, "last": markers.DOCTOR_LAST_NAME,
                    "first": markers.DOCTOR_FIRST_NAME,
                },
            )  # fmt: skip
        for login, kind, own, granted in (
            ("clinic", ClientKind.MO, (CLINIC,), rights.ALL),
            ("other", ClientKind.MO, (OTHER,), rights.ALL),
            ("region", ClientKind.MO, (CLINIC, OTHER), rights.ALL),
            ("reader", ClientKind.MO, (CLINIC,), rights.READING),
            ("nobody", ClientKind.MO, (CLINIC,), ()),
            ("insurer", ClientKind.INSURER, (), rights.READING),
            ("fund", ClientKind.FUND, (), rights.ALL),
        ):
            password = clients.add(
                connection,
                login,
                kind,
                organisations=own,
                insurer=INSURER if kind is ClientKind.INSURER else None,
                rights=granted,
                requests_per_minute=1_000_000,
            )
            markers.note_secrets(password)
            made[login] = Login(login, password, tuple(own))
    return made, people_of(store)


@contextmanager
def running_gateway(server: Any, template: str, **settings: object) -> Iterator[Gateway]:
    """A gateway over a fresh copy of the template database, with ``settings`` beside those of tests."""
    name = f"dn_gateway_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(server.admin_url(), autocommit=True) as admin:
        create_database(admin, name, template)
    store, owner = Store(server.url(name), size=4), Store(server.owner_url_of(name), size=4)
    with tempfile.TemporaryDirectory(prefix="dn-gateway-log-") as folder:
        try:
            made, enps = settle(store)
            port = free_port()
            values = {"database_url": server.url(name), "port": port, "workers": 2} | settings
            environ = {key: value for key, value in os.environ.items() if not key.startswith("DN_GATEWAY_")}
            environ |= {"DN_GATEWAY_" + key.upper(): str(value) for key, value in values.items()}
            gateway = Gateway(
                f"http://127.0.0.1:{port}", port, store, owner, made, enps, environ, Path(folder) / "log.jsonl"
            )
            gateway.start()
            try:
                yield gateway
            finally:
                gateway.stop()
        finally:
            store.close()
            owner.close()
            with psycopg.connect(server.admin_url(), autocommit=True) as admin:
                admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


@contextmanager
def working(gateway: Gateway) -> Iterator[subprocess.Popen[bytes]]:
    """A worker process over the database of a gateway, with a scratch folder of its own; its log is the gateway's."""
    with tempfile.TemporaryDirectory(prefix="dn-gateway-work-") as folder, gateway.log.open("ab") as log:
        environ = gateway.environ | {"DN_GATEWAY_DATA_DIR": folder}
        process = subprocess.Popen(
            [sys.executable, "-m", "gateway.cli", "worker"], env=environ, cwd=ROOT, stdout=log, stderr=log
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


@pytest.fixture(scope="module")
def gateway(server: Any, template: str) -> Iterator[Gateway]:
    """A running gateway, one per module."""
    with running_gateway(server, template) as running:
        yield running


@pytest.fixture
def running(server: Any, template: str) -> Callable[..., Any]:
    """`with running(body_bytes=1000) as gateway:` starts one with other settings."""

    def start(**settings: object) -> Any:
        return running_gateway(server, template, **settings)

    return start
